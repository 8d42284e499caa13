// Streams, events and graphs of the fake driver: queues whose work is done when somebody waits for
// it, in any order that the events allow, chosen by a seed. So a missing event shows as a wrong
// result.
#ifndef PLIM_TESTS_FAKE_STREAMS_H
#define PLIM_TESTS_FAKE_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct FakeStream FakeStream;
typedef struct FakeEvent FakeEvent;
typedef struct FakeGraph FakeGraph;

// Work is a function and a copy of its argument.
typedef void FakeWork(const void *argument);

FakeStream *fake_stream_new(void);
void fake_stream_free(FakeStream *s); // does what is left first
FakeEvent *fake_event_new(bool timed);
void fake_event_free(FakeEvent *e);
// All of them give a status of CUDA's, 0 for success.
int fake_enqueue(FakeStream *s, FakeWork *work, const void *argument, size_t size);
int fake_record(FakeEvent *e, FakeStream *s);
int fake_wait(FakeStream *s, FakeEvent *e);
int fake_synchronize(FakeStream *s);
int fake_event_synchronize(FakeEvent *e);
int fake_elapsed(const FakeEvent *from, const FakeEvent *to, float *milliseconds);

int fake_capture_begin(FakeStream *s);
int fake_capture_end(FakeStream *s, FakeGraph **out);
int fake_graph_launch(const FakeGraph *g, FakeStream *s);
FakeGraph *fake_graph_copy(const FakeGraph *g);
void fake_graph_free(FakeGraph *g);
// 0: what is waited for first and nothing else; 1: everything that may run; else at random.
void fake_seed(uint64_t seed);

#endif
