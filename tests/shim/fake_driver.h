// What a fake library shares with the fake driver beside it: calls are counted and failed there,
// and work goes on its streams. Static, as the fakes are libraries of their own.
#ifndef PLIM_TESTS_SHIM_FAKE_DRIVER_H
#define PLIM_TESTS_SHIM_FAKE_DRIVER_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The driver is loaded by whom is tested; without it nothing can be tested.
static void *fake_driver_symbol(const char *name) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *found = driver ? dlsym(driver, name) : NULL;
    if (!found) {
        fprintf(stderr, "a fake library: there is no fake driver beside it\n");
        abort();
    }
    return found;
}

// Counts the call; the status it is to fail with, or 0.
static int fake_driver_enter(const char *name) {
    int (*enter)(const char *);
    void *found = fake_driver_symbol("plim_fake_enter");
    memcpy(&enter, &found, sizeof enter);
    return enter(name);
}

// Runs work(a copy of argument) in the stream's turn.
static int fake_driver_enqueue(void *stream, void (*work)(const void *), const void *argument,
                               size_t size) {
    int (*enqueue)(void *, void (*)(const void *), const void *, size_t);
    void *found = fake_driver_symbol("plim_fake_enqueue");
    memcpy(&enqueue, &found, sizeof enqueue);
    return enqueue(stream, work, argument, size);
}

#define ENTER(name)                                                                                \
    const int failed = fake_driver_enter(name);                                                    \
    if (failed)                                                                                    \
    return failed

#endif
