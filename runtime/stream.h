// Streams: threads that each execute their share of a segment, ordered across each other by events.
#ifndef PLIM_RUNTIME_STREAM_H
#define PLIM_RUNTIME_STREAM_H

#include "runtime/plim.h"

#include <stdbool.h>

typedef struct PlimStreams PlimStreams;

// Executes what belongs to stream of the current segment: calls stream_wait and stream_signal as
// the plan says. False stops the other streams.
typedef bool (*StreamBody)(void *context, int stream);

// count >= 1 streams and room for events. The calling thread is stream 0. NULL without threads or
// memory.
PlimStreams *streams_new(int count, int events, StreamBody body, void *context);
// Ends and joins the threads. NULL is allowed. Not while a run is under way.
void streams_release(PlimStreams *s);
// Runs body on every stream and returns when all are done; all events start unsignalled. False
// where one failed.
bool streams_run(PlimStreams *s);
// From inside body. stream_wait returns false where another stream failed.
bool stream_wait(PlimStreams *s, uint32_t event);
void stream_signal(PlimStreams *s, uint32_t event);

#endif
