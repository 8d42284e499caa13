// Statements: assignment, loops, conditions, stores. A function's names live in one frame, so what
// a loop or a branch assigns is seen behind it.
//
// On entry: a frame and an application. On exit: the frame's names, and its result where a return
// was reached. A statement that fails binds its names to errors, so the next statement is still
// evaluated and independent mistakes are all told.
#include "frontend/elaborate.h"

#include "ir/check.h"

// A tensor's parts along axis 0, as one split and reshapes (so that gradients are one concat).
static bool split_rows(Elab *e, const Stmt *s, const Array *x, Datum *part) {
    const Type *type = &x->value->type;
    const int count = s->name_count;
    // x [count, ...] gives count parts [...].
    if (type->rank == 0 || type->dim[0] != count) {
        elab_fail(e, s->loc, CODE_UNPACK, NULL, "%d names for the %lld parts of %s", count,
                  (long long)(type->rank ? type->dim[0] : 1), type_text(e->arena, type));
        return false;
    }
    // Parts of size 1 along axis 0, an axis that the reshape below drops.
    int64_t *sizes = arena_array(e->arena, int64_t, count);
    for (int i = 0; i < count; i++)
        sizes[i] = 1;
    const Attr attr[] = {attr_int("axis", 0), attr_ints("sizes", sizes, count)};
    const Node *n = build_node(elab_at(e, s->loc), OP_SPLIT, &x->value, 1, attr, 2);
    // Where the split failed (n is NULL), each name still gets its error.
    for (int i = 0; i < count; i++) {
        Array *row = arena_new(e->arena, Array);
        if (n)
            row->value =
                build_reshape(elab_at(e, s->loc), &n->result[i], type->rank - 1, type->dim + 1);
        // The axes that stay keep their factors.
        for (int k = 1; k < type->rank; k++)
            row->factors[k - 1] = x->factors[k];
        part[i] = row->value ? datum_array(row) : elab_made(e, s->loc, NULL);
    }
    return true;
}

void elab_unpack(Elab *e, const Stmt *s, Datum value) {
    if (s->name_count == 1) {
        frame_set(e->frame, e->arena, s->name[0], value);
        return;
    }
    Datum *part = arena_array(e->arena, Datum, s->name_count);
    // A name that gets no value is bound to an error: one message is enough.
    for (int i = 0; i < s->name_count; i++)
        part[i] = datum_error();
    if (value.kind == DATUM_TENSOR) {
        split_rows(e, s, value.as.array, part);
    } else if (datum_is_items(value) && value.as.items->count == s->name_count) {
        for (int i = 0; i < s->name_count; i++)
            part[i] = value.as.items->at[i];
    } else if (value.kind != DATUM_ERROR) {
        elab_fail(e, s->loc, CODE_UNPACK, NULL, "%d names for %s", s->name_count,
                  datum_describe(e->arena, value));
    }
    for (int i = 0; i < s->name_count; i++)
        frame_set(e->frame, e->arena, s->name[i], part[i]);
}

static void exec_assign(Elab *e, const Stmt *s) {
    // A leaf must know its name, which becomes the end of its path.
    if (s->leaf) {
        frame_set(e->frame, e->arena, s->name[0], elab_leaf(e, s->leaf, s->name[0]));
        return;
    }
    const Datum value = elab_expr(e, s->value);
    // What an entry itself computes keeps its name in the graph.
    if (s->name_count == 1 && value.kind == DATUM_TENSOR && e->frame == e->entry_frame)
        elab_name_value(e, value.as.array->value, s->name[0]);
    elab_unpack(e, s, value);
}

// Runs the body once. False where the loop ends here: a return, a limit or an error.
static bool loop_round(Elab *e, const Stmt *s, Datum value) {
    if (!elab_spend(e, s->loc, 1))
        return false;
    const int errors = diag_error_count(e->diag);
    frame_set(e->frame, e->arena, s->name[0], value);
    elab_body(e, &s->body);
    // The rounds after a wrong one would say the same again.
    return !e->frame->returned && !e->stopped && diag_error_count(e->diag) == errors;
}

// The rounds are counted before the first.
static void exec_range_loop(Elab *e, const Stmt *s, const RangeEnds *ends) {
    if (ends->lo.kind != DATUM_INT || ends->hi.kind != DATUM_INT) {
        elab_fail(e, s->value->loc, CODE_KIND, NULL, "a loop runs over whole numbers: 0 .. n");
        return;
    }
    int64_t rounds;
    if (__builtin_sub_overflow(ends->hi.as.whole, ends->lo.as.whole, &rounds) ||
        rounds > LOOP_MAX) {
        elab_fail(e, s->value->loc, CODE_WORK, NULL, "a loop of more than %d rounds", LOOP_MAX);
        return;
    }
    // Where hi is below lo there are no rounds.
    for (int64_t i = 0; i < rounds; i++)
        if (!loop_round(e, s, datum_int(ends->lo.as.whole + i)))
            return;
}

// Over a range or a list. A loop has no frame of its own: its name keeps the last value behind it.
static void exec_for(Elab *e, const Stmt *s) {
    const Datum over = elab_expr(e, s->value);
    if (over.kind == DATUM_RANGE) {
        exec_range_loop(e, s, over.as.range);
        return;
    }
    if (datum_is_items(over)) {
        for (int i = 0; i < over.as.items->count; i++)
            if (!loop_round(e, s, over.as.items->at[i]))
                return;
        return;
    }
    if (over.kind != DATUM_ERROR)
        elab_fail(e, s->value->loc, CODE_KIND, "for i in 0 .. n, or over a list",
                  "a loop can't run over %s", datum_describe(e->arena, over));
}

// Only the branch taken is evaluated, so the other may speak of what does not exist.
static void exec_if(Elab *e, const Stmt *s) {
    const Datum cond = elab_expr(e, s->value);
    if (cond.kind == DATUM_ERROR)
        return;
    if (cond.kind != DATUM_BOOL) {
        elab_fail(e, s->value->loc, CODE_KIND,
                  cond.kind == DATUM_TENSOR ? "where(c, a, b) chooses by element at run time"
                                            : NULL,
                  "if decides at compile time and needs true or false, got %s",
                  datum_describe(e->arena, cond));
        return;
    }
    elab_body(e, cond.as.truth ? &s->body : &s->other);
}

// Marks the frame; the loops and blocks on the way out see it and stop.
static void exec_return(Elab *e, const Stmt *s) {
    const Datum value = s->value ? elab_expr(e, s->value) : datum_none();
    // Without a call under way only the entry's frame may return: a model's body has no value.
    if (!e->frame->parent || (!e->call && e->frame != e->entry_frame)) {
        elab_fail(e, s->loc, CODE_MISPLACED, NULL, "return stands outside of a function or entry");
        return;
    }
    e->frame->result = value;
    e->frame->returned = true;
}

// Keeps the frame around it, not a copy: it sees names that are assigned below it as well.
static void exec_fn(Elab *e, const Stmt *s) {
    Function *f = arena_new(e->arena, Function);
    f->decl = s->fn;
    f->around = e->frame;
    frame_set(e->frame, e->arena, s->fn->name, (Datum){.kind = DATUM_FUNCTION, .as.function = f});
}

static void exec_expr(Elab *e, const Stmt *s) {
    const Datum value = elab_expr(e, s->value);
    // `G: gen(_)` as a statement binds G, to an error where gen is one: its uses stay silent.
    const Expr *x = s->value;
    if ((value.kind != DATUM_INSTANCE && value.kind != DATUM_ERROR) || x->kind != EXPR_CALL ||
        !x->as.label)
        return;
    const Label *label = x->as.label;
    // `a.b: f(_)` and `h.{i}: f(_)` are paths only; no name of the text is meant by them.
    if (label->count == 1 && !label->part[0].is_value)
        frame_set(e->frame, e->arena, label->part[0].text, value);
}

static void exec_stmt(Elab *e, const Stmt *s) {
    switch (s->kind) {
    case STMT_ASSIGN:
        exec_assign(e, s);
        return;
    case STMT_STORE:
        elab_store(e, s);
        return;
    case STMT_RETURN:
        exec_return(e, s);
        return;
    case STMT_FOR:
        exec_for(e, s);
        return;
    case STMT_IF:
        exec_if(e, s);
        return;
    case STMT_EMIT:
        elab_emit(e, s);
        return;
    case STMT_MINIMIZE:
        elab_minimize(e, s);
        return;
    case STMT_FN:
        exec_fn(e, s);
        return;
    case STMT_EXPR:
        exec_expr(e, s);
        return;
    // elab_entries has read the model's own before its body runs; these stand deeper.
    case STMT_RULE:
    case STMT_ENTRY:
    case STMT_CONFIG:
    case STMT_TOKENIZER:
        elab_fail(e, s->loc, CODE_MISPLACED, NULL, "this can stand only directly in a model");
        return;
    }
    UNREACHABLE();
}

// In order, until a return or a limit.
void elab_body(Elab *e, const Body *body) {
    for (int i = 0; i < body->count && !e->frame->returned && !e->stopped; i++)
        exec_stmt(e, body->at[i]);
}
