// NVIDIA's runtime compiler, opened where it is found: CUDA C in, PTX or a cubin out. It needs no
// GPU and no driver.
#ifndef PLIM_CODEGEN_NVRTC_H
#define PLIM_CODEGEN_NVRTC_H

#include "ir/diag.h"
#include "ir/launch.h"

typedef struct Nvrtc Nvrtc;

// The library, in a; it stays open to the process's end. NULL after a diagnostic that says what to
// install.
const Nvrtc *nvrtc_open(Arena *a, Diag *d);
// What tells two compilers apart, for caches: "nvrtc 13.0, 105487112 bytes".
const char *nvrtc_identity(const Nvrtc *n);

typedef enum { NVRTC_CUBIN, NVRTC_PTX } NvrtcOutput;

// One compilation. Several may run at once, each with an arena of its own.
typedef struct {
    const char *source;
    GpuArch arch;
    NvrtcOutput output;
    // Out, in the arena given:
    const char *bytes; // NULL where it failed
    size_t size;       // of PTX without its NUL
    const char *log;   // the compiler's words, "" for none; registers and spills of each function
} NvrtcProgram;
void nvrtc_compile(const Nvrtc *n, Arena *a, NvrtcProgram *program);
// The options of every compilation by it, without the architecture, as one text: a part of caches'
// keys.
const char *nvrtc_options(const Nvrtc *n, Arena *a);

#endif
