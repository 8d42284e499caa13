// Far memory of a run on the CPU: places on a disk that have addresses, and copies to and from
// them.
#ifndef PLIM_RUNTIME_FAR_MEMORY_H
#define PLIM_RUNTIME_FAR_MEMORY_H

#include "runtime/plim.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct FarMemory FarMemory;

// Takes a file of the size in the folder (as far_file_open says) and starts the threads that read
// and write it. PLIM_IO, PLIM_NO_MEMORY or PLIM_MACHINE with a sentence.
PlimStatus far_memory_new(const char *folder, uint64_t bytes, FarMemory **out, PlimError *error);
void far_memory_release(FarMemory *m); // NULL is allowed; no copy is under way

// Where its addresses begin. They are names of places: whoever reads or writes there, ends.
char *far_memory_base(const FarMemory *m);
// Whether the address is one of them; m NULL: of none.
bool far_memory_has(const FarMemory *m, const void *address);
// Copies bytes, where one of the addresses is far, and returns when they are there. Any number of
// threads; copies of one direction come one after another. False with a sentence.
bool far_memory_copy(FarMemory *m, void *to, const void *from, uint64_t bytes, PlimError *error);

const char *far_memory_folder(const FarMemory *m);
const char *far_memory_caveat(const FarMemory *m); // as far_file_caveat

#endif
