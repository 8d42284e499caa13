// Rules by parameter path: `at "**.bias" { decay = 0 }`, and the globs they and `only` use.
//
// A glob's {a,b} are spelled out when it is read, so a match is over plain components: `**` stands
// for any number of them, `*` inside a component for any characters. Matching is the usual table
// over (pattern component, path component), so no glob takes long.
//
// On entry: an `at` block of a model or of a minimize. On exit: its settings as numbers, and for
// each glob whether some state has matched it, since a rule that speaks of nothing is a mistake in
// the text.
//
//     "h.*.{q,v}_proj"  =>  h.*.q_proj, h.*.v_proj
//
// A pattern that fits a scope speaks of all that is in it: "net" of net.0.weight as well.
#include "frontend/elaborate.h"

#include "ir/check.h"

#include <string.h>

enum { GLOB_BYTES_MAX = 256, GLOB_CHOICES_MAX = 64, PATH_PARTS_MAX = 128 };

struct Glob {
    int count;
    const char **choice; // without braces
};

// Appends the texts that `text` stands for, its first brace spelled out and so on. False where
// there are too many or a brace is open. Each step removes one brace, so it ends.
static bool spell_out(Arena *a, Glob *g, const char *text) {
    const char *pending[GLOB_CHOICES_MAX * 2];
    int waiting = 0;
    // Texts that may still have braces. The order in which they are taken does not matter: a glob
    // matches where any of its choices does.
    pending[waiting++] = text;
    while (waiting > 0) {
        const char *at = pending[--waiting];
        const size_t head = strcspn(at, "{}");
        if (at[head] == '\0') {
            if (g->count == GLOB_CHOICES_MAX)
                return false;
            g->choice[g->count++] = at;
            continue;
        }
        const char *end = strchr(at + head, '}');
        // A } without its {, a { without its }, or one inside another.
        if (at[head] == '}' || !end || memchr(at + head + 1, '{', (size_t)(end - at) - head - 1))
            return false;
        for (const char *part = at + head + 1; part <= end;) {
            const size_t length = strcspn(part, ",}");
            if (waiting == GLOB_CHOICES_MAX * 2)
                return false;
            pending[waiting++] =
                arena_format(a, "%.*s%.*s%s", (int)head, at, (int)length, part, end + 1);
            part += length + 1;
        }
    }
    return true;
}

Glob *glob_parse(Arena *a, Diag *d, Loc loc, const char *text) {
    Glob *g = arena_new(a, Glob);
    g->choice = arena_array(a, const char *, GLOB_CHOICES_MAX);
    const size_t length = strlen(text);
    if (length > 0 && length <= GLOB_BYTES_MAX && spell_out(a, g, text))
        return g;
    diag_error(d, loc, CODE_GLOB, "\"%.60s\" is no path pattern", text);
    diag_help(
        d,
        "* stands for a part of a name, ** for any number of names, {a,b} for either; no nesting");
    return NULL;
}

// One component against a pattern with `*`; both end at a dot or the text's end.
static bool part_match(const char *pattern, size_t pattern_length, const char *part,
                       size_t length) {
    // star: the last `*` passed, or the length where there was none; resume: where its text ends.
    size_t p = 0, i = 0, star = pattern_length, resume = 0;
    while (i < length) {
        if (p < pattern_length && pattern[p] == '*') {
            star = p++;
            resume = i;
        } else if (p < pattern_length && pattern[p] == part[i]) {
            p++;
            i++;
        } else if (star < pattern_length) {
            // Back to the last `*`, which now takes one character more.
            p = star + 1;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern_length && pattern[p] == '*')
        p++;
    return p == pattern_length;
}

typedef struct {
    int count;
    const char *at[PATH_PARTS_MAX];
    size_t length[PATH_PARTS_MAX];
} Parts;

// False where a path has more components than any path of a model.
static bool split_parts(const char *text, Parts *out) {
    out->count = 0;
    while (*text) {
        if (out->count == PATH_PARTS_MAX)
            return false;
        const size_t length = strcspn(text, ".");
        out->at[out->count] = text;
        out->length[out->count++] = length;
        text += length;
        text += *text == '.';
    }
    return true;
}

// match[k]: the pattern's components so far fit the path's first k. The path may go on behind them
// by so many.
static bool choice_match(const char *pattern, const Parts *path, int around) {
    Parts want;
    if (!split_parts(pattern, &want))
        return false;
    // Nothing of the pattern fits nothing of the path.
    bool match[PATH_PARTS_MAX + 1] = {true};
    for (int i = 0; i < want.count; i++) {
        const bool any = want.length[i] == 2 && memcmp(want.at[i], "**", 2) == 0;
        // Backwards, so that match[k - 1] is still that of the component before.
        for (int k = path->count; !any && k >= 1; k--)
            match[k] = match[k - 1] &&
                       part_match(want.at[i], want.length[i], path->at[k - 1], path->length[k - 1]);
        // Forwards: `**` goes on from wherever it may end.
        for (int k = 1; any && k <= path->count; k++)
            match[k] = match[k] || match[k - 1];
        if (!any)
            match[0] = false;
    }
    for (int k = path->count; k >= 1 && k >= path->count - around; k--)
        if (match[k])
            return true;
    return path->count == 0 && match[0];
}

static bool glob_match_prefix(const Glob *g, const char *path, int around) {
    Parts parts;
    if (!split_parts(path, &parts))
        return false;
    for (int i = 0; i < g->count; i++)
        if (choice_match(g->choice[i], &parts, around))
            return true;
    return false;
}

bool glob_match(const Glob *g, const char *path) {
    return glob_match_prefix(g, path, PATH_PARTS_MAX);
}

static bool setting_flag(Elab *e, const Setting *s, Datum d, int *out) {
    if (d.kind == DATUM_BOOL)
        *out = d.as.truth;
    else if (d.kind != DATUM_ERROR)
        elab_fail(e, s->loc, CODE_SETTING, NULL, "%s must be true or false, got %s", s->name,
                  datum_describe(e->arena, d));
    return d.kind == DATUM_BOOL;
}

// f32 or bf16.
static void setting_float(Elab *e, const Setting *s, Datum d, DType *out) {
    if (d.kind == DATUM_DTYPE && dtype_is_float(d.as.dtype))
        *out = d.as.dtype;
    else if (d.kind != DATUM_ERROR)
        elab_fail(e, s->loc, CODE_SETTING, NULL, "%s is f32 or bf16", s->name);
}

// wrap = lora(_, _, rank = 16): a call that is not made yet.
static void setting_wrap(Elab *e, Rule *rule, const Setting *s) {
    const Expr *call = s->value;
    int holes = 0;
    if (call->kind != EXPR_CALL || call->as.label) {
        elab_fail(e, s->loc, CODE_WRAP, "wrap = lora(_, _, rank = 16)",
                  "wrap is a call with two open arguments");
        return;
    }
    const Datum callee = elab_expr(e, call->left);
    const CallArg *args = elab_arguments(e, &call->args, &holes);
    if (callee.kind == DATUM_ERROR)
        return;
    if (holes != 2 || (callee.kind != DATUM_FUNCTION && callee.kind != DATUM_BUILTIN)) {
        elab_fail(e, s->loc, CODE_WRAP, "wrap = lora(_, _, rank = 16)",
                  "wrap calls a function with two open arguments: what is wrapped, and its "
                  "argument");
        return;
    }
    Wrap *wrap = arena_new(e->arena, Wrap);
    *wrap = (Wrap){callee, args, call->args.count};
    rule->wrap = wrap;
}

static const char *const rule_known[] = {"decay", "frozen",    "training",
                                         "store", "precision", "wrap"};
// The order is that of rule_known.
enum { RULE_DECAY, RULE_FROZEN, RULE_TRAINING, RULE_STORE, RULE_PRECISION, RULE_WRAP, RULE_COUNT };

// What a rule in a minimize can't say: it holds for all entries.
static bool is_of_model(int which) {
    return which == RULE_TRAINING || which >= RULE_STORE;
}

static void rule_setting(Elab *e, Rule *rule, const Setting *s) {
    int which = 0;
    while (which < RULE_COUNT && strcmp(rule_known[which], s->name) != 0)
        which++;
    if (which == RULE_COUNT) {
        elab_fail(e, s->loc, CODE_SETTING, elab_suggest(e, s->name, rule_known, RULE_COUNT),
                  "a rule has no setting %s", s->name);
        return;
    }
    if (e->entry && is_of_model(which)) {
        elab_fail(e, s->loc, CODE_SETTING, NULL,
                  "%s stands in a rule of the model: it holds for all entries", s->name);
        return;
    }
    if (which == RULE_WRAP) {
        setting_wrap(e, rule, s);
        return;
    }
    const Datum d = elab_expr(e, s->value);
    if (which == RULE_FROZEN)
        setting_flag(e, s, d, &rule->frozen);
    else if (which == RULE_TRAINING)
        setting_flag(e, s, d, &rule->training);
    else if (which == RULE_STORE)
        setting_float(e, s, d, &rule->store);
    else if (which == RULE_PRECISION)
        setting_float(e, s, d, &rule->precision);
    else if (datum_is_number(d) && datum_number(d) >= 0)
        rule->decay = datum_number(d);
    else if (d.kind != DATUM_ERROR)
        elab_fail(e, s->loc, CODE_SETTING, NULL, "decay must be a number of at least 0, got %s",
                  datum_describe(e->arena, d));
}

Rule *elab_rule(Elab *e, const RuleDecl *decl) {
    Rule *rule = arena_new(e->arena, Rule);
    *rule = (Rule){.decl = decl, .decay = -1, .frozen = -1, .training = -1};
    rule->store = rule->precision = DT_COUNT;
    rule->glob_count = decl->glob_count;
    rule->glob = arena_array(e->arena, Glob *, decl->glob_count);
    rule->matched = arena_array(e->arena, bool, decl->glob_count);
    for (int i = 0; i < decl->glob_count; i++) {
        rule->glob[i] = glob_parse(e->arena, e->diag, decl->glob_loc[i], decl->glob[i]);
        if (!rule->glob[i])
            return NULL;
    }
    for (int i = 0; i < decl->settings.count; i++)
        rule_setting(e, rule, &decl->settings.at[i]);
    return rule;
}

// All globs are tried, since each remembers whether it has matched. around: how many parts at the
// end of the path may be left out, so that a scope speaks of all in it.
static bool match_any(Rule *rule, const char *path, int around) {
    bool any = false;
    for (int i = 0; i < rule->glob_count; i++)
        if (glob_match_prefix(rule->glob[i], path, around))
            any = rule->matched[i] = true;
    return any;
}

bool rule_match_path(Rule *rule, const char *path) {
    return match_any(rule, path, PATH_PARTS_MAX);
}

bool rule_match_scope(Rule *rule, const char *scope) {
    return match_any(rule, scope, 0);
}

// Users may write a parameter's path or its published name.
bool rule_match(Rule *rule, const State *s) {
    const bool by_path = rule_match_path(rule, s->name);
    const bool by_file = s->file != s->name && rule_match_path(rule, s->file);
    return by_path || by_file;
}
