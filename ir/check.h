// Our own mistakes: a failed CHECK names its place and exits 70.
#ifndef PLIM_IR_CHECK_H
#define PLIM_IR_CHECK_H

// Prints "plimsoll: internal error: FILE:LINE: TEXT", then exits 70 (abort() when the environment has
// PLIM_ABORT=1). There is no global context; a caller that knows more prints it with diag or stderr first.
_Noreturn void check_fail(const char *file, int line, const char *text);

#define CHECK(cond) ((cond) ? (void)0 : check_fail(__FILE__, __LINE__, #cond))
#define UNREACHABLE() check_fail(__FILE__, __LINE__, "this line can't be reached")

#endif
