// Checks every index of a plan by the field tables: buffers, kernels, segments, streams, events.
#include "runtime/plan_fields.h"

#include <stdio.h>

typedef struct {
    const Plan *plan;
    const PlanSegment *segment; // being walked, for events
    PlimError *error;
} RefWalk;

// False after naming the field; where and at are the element's kind and number.
static bool check_index(RefWalk *w, const Field *f, uint32_t index, const char *where,
                        uint32_t at) {
    const uint32_t limit = field_ref_limit(w->plan, w->segment, f->ref);
    if (index < limit)
        return true;
    snprintf(w->error->text, sizeof w->error->text, "%s %u: there is no %s %u, only %u", where, at,
             field_ref_noun(f->ref), index, limit);
    return false;
}

// Fills and copies have no kernel, and both forms say so; calls must have one.
static bool check_ref(RefWalk *w, const Field *f, const void *object, const char *where,
                      uint32_t at) {
    const uint32_t index = field_u32(object, f->offset);
    if (f->ref == REF_CALLED) {
        const PlanInstr *instr = object;
        if (instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT)
            return check_index(w, f, index, where, at);
        if (index == UINT32_MAX)
            return true;
        snprintf(w->error->text, sizeof w->error->text, "%s %u: a fill or copy has a kernel", where,
                 at);
        return false;
    }
    // UINT32_MAX stands for none where the field allows it.
    return (f->omit == OMIT_NONE && index == UINT32_MAX) || check_index(w, f, index, where, at);
}

static bool check_struct(RefWalk *w, const FieldStruct *s, const void *object, uint32_t at);

// Of structs, which are walked, or of indices.
static bool check_list(RefWalk *w, const Field *f, const void *object, const char *where,
                       uint32_t at) {
    const uint32_t count = field_u32(object, f->count_offset);
    const char *list = field_list(object, f);
    for (uint32_t i = 0; i < count; i++) {
        if (f->of ? !check_struct(w, f->of, list + (size_t)i * f->of->size, i)
                  : !check_index(w, f, field_u32(list, (size_t)i * 4), where, at))
            return false;
    }
    return true;
}

// at: the number of the element in its list, for the message.
static bool check_struct(RefWalk *w, const FieldStruct *s, const void *object, uint32_t at) {
    // Instructions and operands have no word of their own in text.
    const char *where = *s->word ? s->word : s->label ? "instruction" : "operand";
    if (s->events)
        // Events of what follows are this segment's, until the next one.
        w->segment = object;
    for (uint32_t i = 0; i < s->count; i++) {
        const Field *f = &s->field[i];
        if (f->type == FIELD_REF && !check_ref(w, f, object, where, at))
            return false;
        const bool list =
            f->type == FIELD_LIST_REF || f->type == FIELD_INLINE || f->type == FIELD_LINES;
        if (list && !check_list(w, f, object, where, at))
            return false;
    }
    return true;
}

PlimStatus plan_check_refs(const Plan *p, PlimError *error) {
    RefWalk w = {.plan = p, .error = error};
    // Bounds first: the verifier's memory grows with the square of the streams.
    if (p->stream_count > PLAN_STREAMS_MAX) {
        snprintf(error->text, sizeof error->text, "%u streams are more than %d", p->stream_count,
                 PLAN_STREAMS_MAX);
        return PLIM_BAD_PLAN;
    }
    if (p->entry_count > PLAN_ENTRIES_MAX) {
        snprintf(error->text, sizeof error->text, "%u entries are more than %d", p->entry_count,
                 PLAN_ENTRIES_MAX);
        return PLIM_BAD_PLAN;
    }
    return check_struct(&w, plan_fields(), p, 0) ? PLIM_OK : PLIM_BAD_PLAN;
}
