// A compiled model inside somebody's program. `plimc --emit lib` writes an archive in which these
// functions have the library's name in place of plim_model (gpt2_open, gpt2_call, ...), and a
// header that declares them with one more function for each entry; everything else of the runtime
// is local to the archive, so that several models and any names of the program live side by side.
#ifndef PLIM_RUNTIME_EMBED_H
#define PLIM_RUNTIME_EMBED_H

#include "runtime/plim.h"

// The only symbols of the runtime that an archive shows.
#define PLIM_API __attribute__((visibility("default")))

typedef struct PlimModel PlimModel;

// Starts the model in the caller's arena: at least the bytes the header names, aligned as it says,
// contents of no matter; it must outlive the model. threads 0: all processors this process may use,
// as far as the plan has room. No state has a value yet. A model for a GPU works in the GPU's
// memory, of the primary context of the first GPU that CUDA shows, or takes its own where arena is
// NULL; its far memory it always takes. Each of these functions leaves the calling thread's current
// context as it was. PLIM_MACHINE where this CPU lacks an instruction set, or there is no GPU;
// PLIM_BAD_INPUT for an arena or a number of threads that won't do.
PLIM_API PlimStatus plim_model_open(void *arena, size_t arena_bytes, int threads, PlimModel **out,
                                    PlimError *error);
// Ends the threads. The arena stays the caller's; NULL is allowed.
PLIM_API void plim_model_close(PlimModel *m);
// Gives every state its first value.
PLIM_API PlimStatus plim_model_init(PlimModel *m, int64_t seed, PlimError *error);
// Reads weights as the program's --weights does: a safetensors file or a folder; mismatches are
// told on stderr, a line each. Optimizer state that the files lack keeps its value.
PLIM_API PlimStatus plim_model_load(PlimModel *m, const char *path, PlimError *error);
// Runs an entry, by its number in the plan. input has a pointer to each input's bytes, every
// micro-batch after the other; result receives each result's bytes, or is NULL for those that don't
// matter. PLIM_BAD_INPUT where an index lies outside the model's tables.
PLIM_API PlimStatus plim_model_call(PlimModel *m, uint32_t entry, const void *const *input,
                                    void *const *result, PlimError *error);
// The state's own memory in the arena (a parameter, a statistic), by its path in the model; bytes
// gets its size unless it is NULL. On a GPU it is the GPU's address, or the pinned host memory's
// where the state lives far. NULL where there is none of the name, or the model keeps it on disk.
PLIM_API void *plim_model_state(PlimModel *m, const char *name, size_t *bytes);

#endif
