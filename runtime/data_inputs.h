// The data of an entry: which of the files given feed which of its inputs.
#ifndef PLIM_RUNTIME_DATA_INPUTS_H
#define PLIM_RUNTIME_DATA_INPUTS_H

#include "runtime/data_feed.h"
#include "runtime/run.h"

typedef struct DataInputs DataInputs;

// given: texts FILE or NAME=FILE, NAME a loader or an input of any entry of the plan; FILE may be a
// folder, which stands for the files in it, by name. An input takes, in the order given, the files
// with its own name; where there are none those with its loader's; where there are none those
// without. Inputs of one loader have equally many examples, so that they stay together.
// The plan outlives *out, and so do the texts. Failing, the sentence names the file or the flag.
PlimStatus inputs_open(const Plan *p, const PlanEntry *entry, const char *const *given, int count,
                       const DataUse *use, DataInputs **out, PlimError *error);
void inputs_close(DataInputs *d); // NULL is allowed

// Bytes of one step of all inputs; 0 where the entry reads no data.
uint64_t inputs_bytes(const DataInputs *d);
// Prepares one step in inputs_bytes bytes, and puts what was prepared where the entry reads it:
// prepared is free to change afterwards.
PlimStatus inputs_fill(const DataInputs *d, uint64_t step, char *prepared, PlimError *error);
PlimStatus inputs_deliver(const DataInputs *d, const char *prepared, PlimRun *run,
                          PlimError *error);

// Tokens a step: those of the input that has most.
uint64_t inputs_tokens(const DataInputs *d);
// Whole steps in so many passes over the first input's examples; 0 where a step takes more, or
// there are no data. Loaders with fewer examples begin again, those with more do not come to their
// end.
uint64_t inputs_steps(const DataInputs *d, uint64_t passes);
// And the other way: the passes that so many steps make.
double inputs_passes(const DataInputs *d, uint64_t steps);

// What is read, as a number: for each input how many examples its part has and a step takes. Files
// with other examples but as many of them have the same one: bytes aren't read for it.
uint32_t inputs_digest(const DataInputs *d);

#endif
