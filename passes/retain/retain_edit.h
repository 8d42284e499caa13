// Changes of a schedule's steps, one at a time.
#ifndef PLIM_PASSES_RETAIN_RETAIN_EDIT_H
#define PLIM_PASSES_RETAIN_RETAIN_EDIT_H

#include "passes/retain/retain_front.h"
#include "passes/retain/retain_index.h"

typedef struct RetainEdit RetainEdit;

// moves: values may be moved. Lives in a, but for a scratch arena that retain_edit_end releases.
RetainEdit *retain_edit(const RetainIndex *x, bool moves, RetainFront *front, Arena *a);
void retain_edit_end(RetainEdit *e);
// Adds to the front what becomes of the schedule, in which no value is cut, by every change that
// there is, until `work` steps are measured. The schedule is not the front's own. Returns the steps
// that were measured.
int64_t retain_edit_each(RetainEdit *e, const RetainSchedule *s, int64_t work);

#endif
