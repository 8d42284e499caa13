// Cases for run_cases: an entry of a graph, its arguments, and what the reference evaluator says of
// it.
#ifndef PLIM_TESTS_GPU_CASE_FILE_H
#define PLIM_TESTS_GPU_CASE_FILE_H

#include "tests/numeric/op_sample.h"

#include <stdio.h>

// A graph's text and its cases, written side by side.
typedef struct {
    FILE *graphs, *cases;
} CaseFile;

// False where a file can't be written. The number of cases is known before the first.
bool case_file_open(const char *graphs, const char *cases, uint64_t count, CaseFile *out);
// The sample's node under that name, NAME_NUMBER.
void case_file_add(CaseFile *f, Sample *s, const char *name);
bool case_file_close(CaseFile *f);

#endif
