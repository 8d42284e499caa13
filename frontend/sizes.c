// The model's sizes: the arguments in its header.
//
// A size is a number, true or false, a text, or none. Its value comes from -D, else from a
// published config.json (under the keys that stand behind `as`), else from the config block asked
// for, else from its default; and where the header says `in (...)`, it must be one of those. The
// default tells what kind of value a size takes, so that a published file can't smuggle in another.
//
// On entry: a parsed model. On exit: every size is bound in the frame, whole ones are listed in the
// module, and each override and published value that was taken knows it.
#include "frontend/elaborate.h"

#include "ir/check.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static SizeOverride *find_override(const Elab *e, const char *name) {
    for (int i = 0; i < e->in->size_count; i++)
        if (strcmp(e->in->size[i].name, name) == 0)
            return &e->in->size[i];
    return NULL;
}

// A value on the command line: a number, true, false; or, where the default is a text, a text.
static Datum parse_override(Elab *e, const SizeOverride *size, DatumKind kind) {
    char *end;
    if (kind == DATUM_TEXT)
        return datum_text(intern(e->names, size->value));
    // A number too large for 64 bits sets errno and is read again as a float.
    errno = 0;
    const long long whole = strtoll(size->value, &end, 10);
    if (*size->value && !*end && errno == 0)
        return datum_int(whole);
    const double real = strtod(size->value, &end);
    if (*size->value && !*end)
        return datum_float(real);
    if (strcmp(size->value, "true") == 0 || strcmp(size->value, "false") == 0)
        return datum_bool(size->value[0] == 't');
    return elab_fail(e, e->model->loc, CODE_SIZE, NULL, "-D %s=%s is no number, true or false",
                     size->name, size->value);
}

// The config asked for by --config; NULL where none was, or after a diagnostic.
static const ConfigDecl *find_config(Elab *e) {
    if (!e->in->config)
        return NULL;
    const Body *body = &e->model->body;
    const char **known = arena_array(e->arena, const char *, body->count + 1);
    int count = 0;
    for (int i = 0; i < body->count; i++) {
        if (body->at[i]->kind != STMT_CONFIG)
            continue;
        known[count++] = body->at[i]->config->name;
        if (strcmp(known[count - 1], e->in->config) == 0)
            return body->at[i]->config;
    }
    elab_fail(e, e->model->loc, CODE_CONFIG, elab_suggest(e, e->in->config, known, count),
              "model %s has no config %s", e->model->name, e->in->config);
    return NULL;
}

const Param *elab_find_size(const Elab *e, const char *name) {
    const Params *params = &e->model->params;
    for (int i = 0; i < params->count; i++)
        if (strcmp(params->at[i].name, name) == 0)
            return &params->at[i];
    return NULL;
}

static void unknown_size(Elab *e, Loc loc, const char *name) {
    const Params *params = &e->model->params;
    const char **known = arena_array(e->arena, const char *, params->count + 1);
    for (int i = 0; i < params->count; i++)
        known[i] = params->at[i].name;
    elab_fail(e, loc, CODE_SIZE, elab_suggest(e, name, known, params->count),
              "model %s has no size %s", e->model->name, name);
}

// Every config, chosen or not, may only name sizes; every -D too.
static void check_size_names(Elab *e) {
    const Body *body = &e->model->body;
    for (int i = 0; i < body->count; i++) {
        if (body->at[i]->kind != STMT_CONFIG)
            continue;
        const Settings *settings = &body->at[i]->config->settings;
        for (int k = 0; k < settings->count; k++)
            if (!elab_find_size(e, settings->at[k].name))
                unknown_size(e, settings->at[k].loc, settings->at[k].name);
        for (int k = 0; k < i; k++)
            if (body->at[k]->kind == STMT_CONFIG &&
                body->at[k]->config->name == body->at[i]->config->name)
                elab_fail(e, body->at[i]->config->loc, CODE_DEFINED_TWICE, NULL,
                          "config %s is defined twice", body->at[i]->config->name);
    }
    for (int i = 0; i < e->in->size_count; i++) {
        SizeOverride *size = &e->in->size[i];
        size->used = elab_find_size(e, size->name) != NULL;
        if (!size->used)
            unknown_size(e, e->model->loc, size->name);
    }
}

// --- published configs ---

// The value under one of the size's keys, the first that the file has. null counts as absent.
static PublishedValue *find_published(const Elab *e, const Param *p) {
    for (int k = 0; k < p->key_count; k++)
        for (int i = 0; i < e->in->published_count; i++) {
            PublishedValue *v = &e->in->published[i];
            if (strcmp(v->key, p->key[k]) == 0 && v->kind != PUBLISHED_NULL)
                return v;
        }
    return NULL;
}

// "the number 3", for messages.
static const char *describe_published(Elab *e, const PublishedValue *v) {
    switch (v->kind) {
    case PUBLISHED_NULL:
        return "null";
    case PUBLISHED_BOOL:
        return v->text;
    case PUBLISHED_NUMBER:
        return arena_format(e->arena, "the number %s", v->text);
    case PUBLISHED_TEXT:
        return arena_format(e->arena, "the text \"%s\"", v->text);
    case PUBLISHED_LIST:
        return "a list or an object";
    }
    UNREACHABLE();
}

static Datum wrong_published(Elab *e, const Param *p, const PublishedValue *v, const char *wants) {
    return elab_fail(e, v->loc, CODE_CONFIG_FILE, NULL,
                     "%s is %s, but size %s of the model takes %s", v->key,
                     describe_published(e, v), p->name, wants);
}

// JSON does not tell 32 from 32.0: what has no fraction is a whole number.
static Datum published_whole(Elab *e, const Param *p, const PublishedValue *v, int64_t fallback) {
    char *end;
    errno = 0;
    long long whole = strtoll(v->text, &end, 10);
    if (*end || errno != 0) {
        const double real = strtod(v->text, &end);
        // Beyond 2^53 a double is no exact count.
        if (!(fabs(real) <= 9007199254740992.0) || real != floor(real))
            return wrong_published(e, p, v, "a whole number");
        whole = (long long)real;
    }
    // Layers, heads and widths: a file that says 0 is wrong.
    if (fallback > 0 && whole <= 0)
        return wrong_published(e, p, v, "a whole number from 1 on");
    return datum_int(whole);
}

// Numbers of a model end up in f32.
static Datum published_real(Elab *e, const Param *p, const PublishedValue *v) {
    const double real = strtod(v->text, NULL);
    if (!(fabs(real) <= (double)FLT_MAX))
        return wrong_published(e, p, v, "a number that f32 can hold");
    return datum_float(real);
}

// The value as the kind of datum that the default is; a size whose default is none takes any.
static Datum published_datum(Elab *e, const Param *p, const PublishedValue *v, Datum fallback) {
    const bool any = fallback.kind == DATUM_NONE;
    if (v->kind == PUBLISHED_NUMBER && fallback.kind == DATUM_INT)
        return published_whole(e, p, v, fallback.as.whole);
    if (v->kind == PUBLISHED_NUMBER && any && !v->text[strcspn(v->text, ".eE")])
        return published_whole(e, p, v, 0);
    if (v->kind == PUBLISHED_NUMBER && (any || fallback.kind == DATUM_FLOAT))
        return published_real(e, p, v);
    if (v->kind == PUBLISHED_BOOL && (any || fallback.kind == DATUM_BOOL))
        return datum_bool(v->text[0] == 't');
    if (v->kind == PUBLISHED_TEXT && (any || fallback.kind == DATUM_TEXT))
        return datum_text(intern(e->names, v->text));
    return wrong_published(e, p, v,
                           fallback.kind == DATUM_INT     ? "a whole number"
                           : fallback.kind == DATUM_FLOAT ? "a number"
                           : fallback.kind == DATUM_BOOL  ? "true or false"
                           : fallback.kind == DATUM_TEXT  ? "a text"
                                                          : "a number, true, false or a text");
}

// A file none of whose keys the model knows is of another model.
static void check_published_used(Elab *e) {
    bool keyed = false;
    for (int i = 0; i < e->model->params.count; i++)
        keyed = keyed || e->model->params.at[i].key_count > 0;
    for (int i = 0; i < e->in->published_count; i++)
        if (e->in->published[i].size)
            return;
    if (e->in->published_file)
        elab_fail(e, (Loc){.file = e->in->published_file}, CODE_CONFIG_FILE,
                  keyed ? NULL : "write layers = 12 as \"n_layer\" in its header",
                  "it has no key that the model %s knows", e->model->name);
}

// --- values ---

static const Setting *find_setting(const ConfigDecl *config, const char *name) {
    for (int i = 0; config && i < config->settings.count; i++)
        if (config->settings.at[i].name == name)
            return &config->settings.at[i];
    return NULL;
}

// -D beats the published config beats --config NAME beats the text. *loc is where it stands.
static Datum size_value(Elab *e, const Param *p, const ConfigDecl *config, Loc *loc) {
    const SizeOverride *override = find_override(e, p->name);
    PublishedValue *published = find_published(e, p);
    const Setting *setting = find_setting(config, p->name);
    *loc = p->loc;
    // Evaluated in any case: it says what kind of value the size takes.
    const Datum fallback = p->fallback ? elab_expr(e, p->fallback) : datum_absent();
    if (published)
        published->size = p->name;
    if (override)
        return parse_override(e, override, fallback.kind);
    if (published) {
        *loc = published->loc;
        return published_datum(e, p, published, fallback);
    }
    if (setting) {
        *loc = setting->loc;
        return elab_expr(e, setting->value);
    }
    if (fallback.kind != DATUM_ABSENT)
        return fallback;
    return elab_fail(e, p->loc, CODE_MISSING, arena_format(e->arena, "give it by -D %s=1", p->name),
                     "size %s has no value", p->name);
}

// As it is written in the language.
static const char *datum_text_of(Elab *e, Datum d) {
    switch ((int)d.kind) {
    case DATUM_INT:
        return arena_format(e->arena, "%lld", (long long)d.as.whole);
    case DATUM_FLOAT:
        return arena_format(e->arena, "%g", d.as.real);
    case DATUM_BOOL:
        return d.as.truth ? "true" : "false";
    case DATUM_TEXT:
        return arena_format(e->arena, "\"%s\"", d.as.text);
    case DATUM_NONE:
        return "none";
    default:
        return datum_describe(e->arena, d);
    }
}

// `in (...)`: the model does not work for other values. One value alone is an expectation.
static void check_allowed(Elab *e, const Param *p, Datum value, Loc loc) {
    const Datum allowed = elab_expr(e, p->allowed);
    if (allowed.kind == DATUM_ERROR || value.kind == DATUM_ERROR)
        return;
    const int count = datum_is_items(allowed) ? allowed.as.items->count : 1;
    const char *list = "";
    for (int i = 0; i < count; i++) {
        const Datum one = datum_is_items(allowed) ? allowed.as.items->at[i] : allowed;
        const Datum same = arith_binary(e, p->allowed->loc, BINARY_EQ, value, one);
        if (same.kind == DATUM_BOOL && same.as.truth)
            return;
        list = arena_format(e->arena, "%s%s%s", list,
                            i == 0          ? ""
                            : i + 1 < count ? ", "
                                            : " or ",
                            datum_text_of(e, one));
    }
    const char *key = p->key_count > 0 ? p->key[0] : p->name;
    elab_fail(e, loc, CODE_VALUE, NULL, "%s is %s, but model %s is written for %s only", key,
              datum_text_of(e, value), e->model->name, list);
    diag_note(e->diag, p->allowed->loc, "said here");
}

// Binds all sizes in order, and lists the whole ones in the module.
void elab_sizes(Elab *e, Frame *frame) {
    const Params *params = &e->model->params;
    check_size_names(e);
    const ConfigDecl *config = find_config(e);
    e->frame = frame;
    e->module->size = arena_array(e->arena, ModelSize, params->count + 1);
    for (int i = 0; i < params->count; i++) {
        const Param *p = &params->at[i];
        Loc loc;
        if (frame_find_here(frame, p->name))
            elab_fail(e, p->loc, CODE_DEFINED_TWICE, NULL, "size %s is defined twice", p->name);
        // Evaluated in the frame of the sizes bound so far: n = 4 * d.
        const Datum d = size_value(e, p, config, &loc);
        if (p->allowed)
            check_allowed(e, p, d, loc);
        frame_set(frame, e->arena, p->name, d);
        // Fractions, bools and texts are values of the text only; the module lists whole sizes.
        if (d.kind == DATUM_INT)
            e->module->size[e->module->size_count++] =
                (ModelSize){p->name, p->key_count > 0 ? p->key[0] : NULL, d.as.whole};
    }
    check_published_used(e);
}
