// minimize: the loss, the learning rate and the parameters that the loss reaches become one
// operator, with the optimizer's numbers as attributes. Autodiff and the update passes make
// gradients and updates of it.
//
// On entry: the entry's graph so far. On exit: one `minimize` node more, and the parameters it
// trains are marked, so that a second minimize or a store of them in this entry is refused. Which
// parameters: those of the module that the loss is computed from, that `only` names, and that no
// rule froze. Cost: one walk over the graph for each minimize.
#include "frontend/elaborate.h"

#include "ir/check.h"

#include <string.h>

// What the block says.
typedef struct {
    const Optimizer *optimizer; // NULL: not said, or wrong
    Glob *only;                 // NULL: all parameters
    Loc only_loc;
    double clip;           // 0: none
    const char *precision; // "f32", "bf16", or NULL: not said
    bool fused;            // update = fused
    Loc fused_loc;
    int rule_count;
    Rule **rule; // the `at` blocks that could be read
} Plan;

static const char *const setting_known[] = {"optimizer", "accumulate", "clip",
                                            "precision", "only",       "update"};
// The order is that of setting_known.
enum {
    SETTING_OPTIMIZER,
    SETTING_ACCUMULATE,
    SETTING_CLIP,
    SETTING_PRECISION,
    SETTING_ONLY,
    SETTING_UPDATE,
    SETTING_COUNT
};

// precision = bf16, update = fused: bare words, which are no names of the text.
static const char *setting_word(const Setting *s) {
    return s->value->kind == EXPR_NAME ? s->value->as.text : "";
}

static void set_precision(Elab *e, const Setting *s, Plan *out) {
    const char *word = setting_word(s);
    if (strcmp(word, "f32") == 0 || strcmp(word, "bf16") == 0)
        out->precision = word;
    else
        elab_fail(e, s->loc, CODE_SETTING, NULL, "precision is f32 or bf16");
}

static void set_update(Elab *e, const Setting *s, Plan *out) {
    if (strcmp(setting_word(s), "fused") != 0) {
        elab_fail(e, s->loc, CODE_SETTING, NULL, "update can only be fused");
        return;
    }
    out->fused = true;
    out->fused_loc = s->loc;
}

static void set_only(Elab *e, const Setting *s, Plan *out) {
    const Datum d = elab_expr(e, s->value);
    if (d.kind == DATUM_TEXT)
        out->only = glob_parse(e->arena, e->diag, s->value->loc, d.as.text);
    else if (d.kind != DATUM_ERROR)
        elab_fail(e, s->loc, CODE_SETTING, NULL, "only is a path in quotes");
    out->only_loc = s->value->loc;
}

static void read_setting(Elab *e, const Setting *s, Plan *out) {
    int which = 0;
    while (which < SETTING_COUNT && strcmp(setting_known[which], s->name) != 0)
        which++;
    if (which == SETTING_COUNT) {
        elab_fail(e, s->loc, CODE_SETTING, elab_suggest(e, s->name, setting_known, SETTING_COUNT),
                  "minimize has no setting %s", s->name);
    } else if (which == SETTING_PRECISION) {
        set_precision(e, s, out);
    } else if (which == SETTING_UPDATE) {
        set_update(e, s, out);
    } else if (which == SETTING_ONLY) {
        set_only(e, s, out);
    } else if (which == SETTING_OPTIMIZER || which == SETTING_CLIP) {
        const Datum d = elab_expr(e, s->value);
        if (which == SETTING_OPTIMIZER && d.kind == DATUM_OPTIMIZER)
            out->optimizer = d.as.optimizer;
        else if (which == SETTING_CLIP && d.kind == DATUM_CLIP)
            out->clip = d.as.real;
        else if (d.kind != DATUM_ERROR)
            elab_fail(e, s->loc, CODE_SETTING, NULL, "%s, got %s",
                      which == SETTING_CLIP ? "clip is global_norm(x)"
                                            : "optimizer is adamw(rate, ...) or sgd(rate, ...)",
                      datum_describe(e->arena, d));
    } // accumulate was read before the entry began
}

// All settings are read before any complaint about what is missing.
static bool read_settings(Elab *e, const Stmt *s, Plan *out) {
    const int errors = diag_error_count(e->diag);
    for (int i = 0; i < s->settings.count; i++) {
        for (int k = 0; k < i; k++)
            if (s->settings.at[k].name == s->settings.at[i].name)
                elab_fail(e, s->settings.at[i].loc, CODE_SETTING, NULL, "%s is set twice",
                          s->settings.at[i].name);
        read_setting(e, &s->settings.at[i], out);
    }
    // Rules that can't be read have been reported and are left out.
    out->rule = arena_array(e->arena, Rule *, s->rule_count + 1);
    for (int i = 0; i < s->rule_count; i++) {
        Rule *rule = elab_rule(e, s->rule[i]);
        if (rule)
            out->rule[out->rule_count++] = rule;
    }
    // Only where nothing else was wrong: a broken optimizer has been reported itself.
    if (diag_error_count(e->diag) == errors && !out->optimizer)
        elab_fail(e, s->loc, CODE_SETTING, "optimizer = adamw(3e-4)",
                  "minimize needs an optimizer");
    if (out->fused && out->clip > 0)
        elab_fail(e, out->fused_loc, CODE_FUSED, NULL,
                  "update = fused applies each gradient as soon as it is known, but clipping needs "
                  "the norm of all of them first");
    if (out->fused && e->accumulate > 1)
        elab_fail(
            e, out->fused_loc, CODE_FUSED, NULL,
            "update = fused applies each gradient as soon as it is known, but accumulate sums "
            "them over the micro-batches first");
    return diag_error_count(e->diag) == errors;
}

// Marks by value id what v is computed from.
static bool *mark_reached(Elab *e, const Value *v) {
    const Graph *g = e->builder.g;
    bool *reached = arena_array(e->arena, bool, g->value_limit);
    // Depth first. Each value is pushed at most once, so the stack holds them all.
    const Value **stack = arena_array(e->arena, const Value *, g->value_limit);
    int count = 0;
    stack[count++] = v;
    reached[v->id] = true;
    while (count > 0) {
        const Node *n = stack[--count]->def;
        for (int i = 0; i < n->input_count; i++)
            if (!reached[n->input[i]->id]) {
                reached[n->input[i]->id] = true;
                stack[count++] = n->input[i];
            }
    }
    return reached;
}

// The update runs once a step, behind all micro-batches, and must not see the data of one.
static bool check_rate(Elab *e, const Stmt *s, const Value *rate) {
    const bool *reached = mark_reached(e, rate);
    for (int i = 0; i < e->builder.g->input_count; i++) {
        const Input *in = &e->builder.g->input[i];
        // Knobs, step, steps and seed are the same for all micro-batches.
        if (reached[in->value->id] && (source_by_slot(in->source) || in->source == FROM_CALLER)) {
            elab_fail(e, s->loc, CODE_RATE, "it may depend on knobs, the step and constants",
                      "the learning rate depends on the data");
            return false;
        }
    }
    return true;
}

// The parameter's decay: the optimizer's, then the model's rules, then those of this block; later
// wins.
static double decay_of(const Plan *plan, const State *s, bool *frozen) {
    // A negative decay: no rule of the model spoke of it.
    double decay = s->decay >= 0 ? s->decay : plan->optimizer->decay;
    *frozen = s->frozen;
    for (int i = 0; i < plan->rule_count; i++) {
        Rule *rule = plan->rule[i];
        if (!rule_match(rule, s))
            continue;
        if (rule->decay >= 0)
            decay = rule->decay;
        if (rule->frozen >= 0)
            *frozen = rule->frozen == 1;
    }
    return decay;
}

// The trainable parameters the loss reaches, behind loss and rate in `operand`. Returns how many.
static int choose_params(Elab *e, const Stmt *s, const Plan *plan, const Value *loss,
                         Value **operand, double *decay) {
    // operand: loss, rate, parameters. decay[i] is that of operand[2 + i].
    const bool *reached = mark_reached(e, loss);
    int count = 0;
    bool only_matched = false;
    for (int i = 0; i < e->module->state_count; i++) {
        State *state = e->module->state[i];
        StateSlot *slot = elab_slot(e, state);
        if (state->kind != STATE_PARAM)
            continue;
        bool frozen;
        const double factor = decay_of(plan, state, &frozen);
        if (plan->only) {
            // By path or by published name, as the rules match.
            const bool wanted =
                glob_match(plan->only, state->name) || glob_match(plan->only, state->file);
            only_matched = only_matched || wanted;
            if (!wanted)
                continue;
        }
        // A parameter that this entry has not read can't have made the loss.
        if (frozen || !slot->read || !reached[slot->read->id])
            continue;
        if (slot->trained || slot->current)
            elab_fail(e, s->loc, CODE_TWICE_TRAINED, "split them by only = \"path.**\"",
                      "%s is changed twice in this entry", state->name);
        if (state->type.dtype == DT_BF16 && slot->type.dtype == DT_F32)
            elab_fail(e, s->loc, CODE_STORED, "freeze it, or leave its store rule out",
                      "%s is stored as %s, in which the steps of an optimizer would be lost",
                      state->name, dtype_name(state->type.dtype));
        slot->trained = loss;
        // The version at the entry's start, which the loss was computed from.
        operand[2 + count] = slot->read;
        decay[count++] = factor;
    }
    if (plan->only && !only_matched)
        elab_fail(e, plan->only_loc, CODE_RULE, NULL, "only matches no parameter");
    return count;
}

// A rule of the block that speaks of no parameter is most likely misspelled.
static void check_rules_matched(Elab *e, const Plan *plan) {
    for (int i = 0; i < plan->rule_count; i++)
        for (int k = 0; k < plan->rule[i]->glob_count; k++)
            if (!plan->rule[i]->matched[k])
                elab_fail(e, plan->rule[i]->decl->glob_loc[k], CODE_RULE, NULL,
                          "\"%s\" matches no parameter", plan->rule[i]->decl->glob[k]);
}

// As ops.def has them: sgd with a momentum is the optimizer "momentum".
static int optimizer_attrs(const Plan *plan, const double *decay, int params, Attr *out) {
    const Optimizer *o = plan->optimizer;
    int count = 0;
    out[count++] = attr_text("optimizer", o->momentum > 0 ? "momentum" : o->name);
    if (strcmp(o->name, "adamw") == 0) {
        out[count++] = attr_float("beta1", o->beta1);
        out[count++] = attr_float("beta2", o->beta2);
        out[count++] = attr_float("eps", o->eps);
    } else if (o->momentum > 0) {
        out[count++] = attr_float("momentum", o->momentum);
        out[count++] = attr_int("nesterov", o->nesterov);
    }
    if (plan->clip > 0)
        out[count++] = attr_float("clip", plan->clip);
    if (plan->fused)
        out[count++] = attr_text("update", "fused");
    if (plan->precision)
        out[count++] = attr_text("precision", plan->precision);
    out[count++] = attr_floats("decay", decay, params);
    return count;
}

// minimize(loss, rate, parameters...). The loss is that of one micro-batch; autodiff scales it.
void elab_minimize(Elab *e, const Stmt *s) {
    if (e->frame != e->entry_frame) {
        elab_fail(e, s->loc, CODE_MINIMIZE, NULL, "minimize stands outside of an entry's body");
        return;
    }
    const Datum loss = elab_expr(e, s->value);
    Plan plan = {0};
    const bool settings = read_settings(e, s, &plan);
    if (loss.kind == DATUM_ERROR || !settings)
        return;
    const Value *v = loss.kind == DATUM_TENSOR ? loss.as.array->value : NULL;
    if (!v || v->type.rank != 0 || v->type.dtype != DT_F32) {
        elab_fail(e, s->value->loc, CODE_MINIMIZE, "mean(x) makes a scalar",
                  "minimize needs an f32 scalar, got %s", datum_describe(e->arena, loss));
        return;
    }
    // At most all states, behind loss and rate.
    Value **operand = arena_array(e->arena, Value *, e->module->state_count + 2);
    double *decay = arena_array(e->arena, double, e->module->state_count + 1);
    operand[0] = loss.as.array->value;
    operand[1] = plan.optimizer->rate;
    const int errors = diag_error_count(e->diag);
    const int params = choose_params(e, s, &plan, v, operand, decay);
    // Only now, since choosing the parameters is what matches the rules.
    check_rules_matched(e, &plan);
    if (!check_rate(e, s, plan.optimizer->rate) || diag_error_count(e->diag) > errors)
        return;
    if (params == 0) {
        elab_fail(e, s->loc, CODE_MINIMIZE, NULL,
                  "the loss reaches no parameter that may be trained");
        return;
    }
    enum { ATTRS_MAX = 10 };
    Attr attr[ATTRS_MAX];
    const int attrs = optimizer_attrs(&plan, decay, params, attr);
    build_node(elab_at(e, s->loc), OP_MINIMIZE, operand, 2 + params, attr, attrs);
}

// Decides what `training` says, before anything of the entry is evaluated.
bool elab_has_minimize(const Body *body) {
    for (int i = 0; i < body->count; i++) {
        const Stmt *s = body->at[i];
        if (s->kind == STMT_MINIMIZE || elab_has_minimize(&s->body) || elab_has_minimize(&s->other))
            return true;
    }
    return false;
}

// Looks into blocks too; found is 0 before the first.
static void find_accumulate(Elab *e, const Body *body, int64_t *found) {
    for (int i = 0; i < body->count; i++) {
        const Stmt *s = body->at[i];
        find_accumulate(e, &s->body, found);
        find_accumulate(e, &s->other, found);
        for (int k = 0; s->kind == STMT_MINIMIZE && k < s->settings.count; k++) {
            const Setting *setting = &s->settings.at[k];
            if (strcmp(setting->name, setting_known[SETTING_ACCUMULATE]) != 0)
                continue;
            const Datum d = elab_expr(e, setting->value);
            if (d.kind == DATUM_ERROR)
                continue;
            if (d.kind != DATUM_INT || d.as.whole < 1 || d.as.whole > INT32_MAX)
                elab_fail(e, setting->loc, CODE_ACCUMULATE, NULL,
                          "accumulate must be a whole number of at least 1, got %s",
                          datum_describe(e->arena, d));
            else if (*found && *found != d.as.whole)
                elab_fail(e, setting->loc, CODE_ACCUMULATE, NULL,
                          "an entry has one accumulate: %lld and %lld differ", (long long)*found,
                          (long long)d.as.whole);
            else
                *found = d.as.whole;
        }
    }
}

int64_t elab_find_accumulate(Elab *e, const Body *body) {
    int64_t found = 0;
    find_accumulate(e, body, &found);
    return found ? found : 1;
}

const char *elab_accumulate_name(const Body *body) {
    for (int i = 0; i < body->count; i++) {
        const Stmt *s = body->at[i];
        for (int k = 0; s->kind == STMT_MINIMIZE && k < s->settings.count; k++) {
            const Setting *setting = &s->settings.at[k];
            if (strcmp(setting->name, setting_known[SETTING_ACCUMULATE]) == 0 &&
                setting->value->kind == EXPR_NAME)
                return setting->value->as.text;
        }
        const char *name = elab_accumulate_name(&s->body);
        name = name ? name : elab_accumulate_name(&s->other);
        if (name)
            return name;
    }
    return NULL;
}
