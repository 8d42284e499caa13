// Numbers and names as people read them, each into the caller's bytes. All give out.
#ifndef PLIM_TOOLS_DUMP_TEXT_H
#define PLIM_TOOLS_DUMP_TEXT_H

#include "runtime/plan.h"

enum { TEXT_NUMBER = 32 };

// "41,806,592"
char *text_count(uint64_t x, char out[TEXT_NUMBER]);
// "+1,024", "-3", "0"
char *text_change(uint64_t before, uint64_t after, char out[TEXT_NUMBER]);
// "12.3 ms"
char *text_time(double seconds, char out[TEXT_NUMBER]);
// "-3.2 %", "+0.01 %", "" where nothing was before
char *text_percent(double before, double after, char out[TEXT_NUMBER]);
// "33.5 MB", "1.07 G" + unit: thousands
char *text_rate(double x, const char *unit, char out[TEXT_NUMBER]);
// At most size - 1 bytes of the name: what is too long loses its middle ("model.la..c_attn"), and
// what no terminal should be sent becomes "?".
char *text_fit(const char *name, char *out, size_t size);
// "gpt2.plim:13:22": the place in the text without its folders. Points into where.
const char *text_place(const char *where);
// "bf16[16, 128, 512]", cut to size.
char *text_shape(PlanDType dtype, uint32_t rank, const int64_t *dim, char *out, size_t size);

#endif
