// --digest: a checksum of every instruction's results.
#ifndef PLIM_RUNTIME_DIGEST_H
#define PLIM_RUNTIME_DIGEST_H

#include "runtime/program.h"

typedef struct Digest Digest;

// Watches one entry of the plan. NULL when there is no memory.
Digest *digest_new(const Plan *plan, const PlanEntry *entry);
void digest_release(Digest *d); // NULL is allowed
// To be told of the run, on any streams.
const RunObserver *digest_observer(const Digest *d);
// One line an instruction of the step that just ended, in the program's order:
//   STEP SEGMENT SLOT INDEX CHECKSUM WHERE NAME
// Equal bytes give equal lines, whatever the number of threads. PLIM_IO where out can't be written.
PlimStatus digest_write(const Digest *d, int64_t step, FILE *out, PlimError *error);

// A 64-bit hash of the bytes, going on from seed. No cryptographic one.
uint64_t digest_bytes(uint64_t seed, const void *bytes, size_t size);

#endif
