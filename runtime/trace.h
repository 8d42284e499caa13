// --trace: a timeline that Perfetto (ui.perfetto.dev) and chrome://tracing open.
#ifndef PLIM_RUNTIME_TRACE_H
#define PLIM_RUNTIME_TRACE_H

#include "runtime/timeline.h"

typedef struct PlimTrace PlimTrace;

// Tracks that are no stream and no worker.
typedef enum { TRACE_STEPS, TRACE_LOADER, TRACE_TRACK_COUNT } TraceTrack;

// Begins the file; times count from now. The timeline outlives *out. PLIM_IO where the file can't
// be opened.
PlimStatus trace_open(const char *path, const Timeline *t, PlimTrace **out, PlimError *error);
// Every instruction of the timeline's step: on its stream a slice, after one named "wait" where it
// waited, and one on the track of each worker that took part.
void trace_step(PlimTrace *trace);
// One slice on another track, from begin to end in seconds of clock_seconds. Nothing where trace is
// NULL, and what began before the trace is cut.
void trace_slice(PlimTrace *trace, TraceTrack track, const char *name, double begin, double end);
// Ends the file; PLIM_IO where it could not be written whole. NULL is allowed.
PlimStatus trace_close(PlimTrace *trace, PlimError *error);

#endif
