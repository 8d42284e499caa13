// What a plan says about itself: the figures that plim-dump and `OUT info` show.
#ifndef PLIM_RUNTIME_PLAN_REPORT_H
#define PLIM_RUNTIME_PLAN_REPORT_H

#include "runtime/plan_uses.h"

typedef struct {
    uint32_t
        entry; // whose step has the largest load of the device; UINT32_MAX: there are no entries
    uint32_t position;                // linear position of that load
    uint64_t load;                    // live bytes there, padded, persistent buffers included
    uint64_t kind[BUFFER_KIND_COUNT]; // live bytes there, by kind: their sum is the load
    uint64_t flops; // of one step of the entry "train", or of the entry above where there is none
    uint64_t bytes; // moved by it
    uint64_t operators;   // instructions of all segments
    double fragmentation; // (arena - load) / load of the device space
} PlanReport;

void plan_report(const PlanUses *u, PlanReport *out);
// Live bytes of a kind of space by kind of buffer, at a position of an entry.
void plan_report_kinds(const PlanUses *u, PlanSpaceKind space, uint32_t entry, uint32_t position,
                       uint64_t kind[BUFFER_KIND_COUNT]);
// The entry whose steps are meant where none is named: "train", or that of the peak. UINT32_MAX
// where there are no entries.
uint32_t plan_main_entry(const PlanUses *u);

// "1.5 GiB", "12 KiB", "17 B": for people. Returns out.
char *plan_size_text(uint64_t bytes, char out[32]);
// A JSON string, quoted and escaped.
void plan_json_string(FILE *out, const char *text);

// What `OUT info` prints: one screen for people, and one JSON object with the figures.
void plan_print_info(const PlanUses *u, FILE *out);
void plan_print_info_json(const PlanUses *u, FILE *out);
// The members of that object, without the braces around them and a newline at the end.
void plan_json_figures(const PlanUses *u, FILE *out);

#endif
