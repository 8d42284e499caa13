// Running the tools that link: the C compiler's driver and binutils.
#ifndef PLIM_CODEGEN_CHILD_H
#define PLIM_CODEGEN_CHILD_H

#include "ir/diag.h"

#include <signal.h>

// Runs a program (found on PATH) with the words up to NULL, to its end. False after a diagnostic
// that has what it said as notes. old: the signals' mask it gets.
bool child_run(Arena *a, Diag *d, const char *const *word, const sigset_t *old);
// Holds back the signals that end a process at a person's wish; *old is the mask to go back to.
void child_block_signals(sigset_t *old);
// All of the bytes, readable by this user alone, as a temporary should be. False after a
// diagnostic.
bool child_write_file(Diag *d, const char *path, const char *bytes, size_t size);
// "can't WHAT 'PATH': ...", by errno. False, always.
bool child_io_error(Diag *d, const char *what, const char *path);

#endif
