// What a plan says about itself: the figures that plim-dump and `OUT info` show.
#ifndef PLIM_RUNTIME_PLAN_REPORT_H
#define PLIM_RUNTIME_PLAN_REPORT_H

#include "runtime/plan.h"

typedef struct {
    uint32_t entry; // whose step has the largest load; UINT32_MAX where no entry has instructions
    uint32_t position;                // linear position of that load
    uint64_t load;                    // live bytes there, persistent buffers included
    uint64_t kind[BUFFER_KIND_COUNT]; // live bytes there, by kind
    uint64_t flops; // of one step of the entry "train", or of the entry above where there is none
    uint64_t bytes; // moved by it
    uint64_t operators;   // instructions of all segments
    double fragmentation; // (arena - load) / load of the device space
} PlanReport;

void plan_report(const Plan *p, PlanReport *out);
// The count largest buffers live at the report's peak, largest first; returns how many were stored.
uint32_t plan_report_largest(const Plan *p, const PlanReport *r, uint32_t *buffer, uint32_t count);

// "1.5 GiB", "12 KiB", "17 B": for people. Returns out.
char *plan_size_text(uint64_t bytes, char out[32]);
// A JSON string, quoted and escaped.
void plan_json_string(FILE *out, const char *text);

// One screen for people, a table of memory by kind and entry, and one JSON object with everything
// scripts need.
void plan_print_summary(const Plan *p, FILE *out);
void plan_print_memory(const Plan *p, FILE *out);
void plan_print_json(const Plan *p, FILE *out);

#endif
