// generate: the loop around the entries prefill and decode.
//
// The prompt's tokens go through the smallest prefill that holds them, in one call; where even the
// largest is too small, the rest of them goes through decode. Then each token that was drawn is
// decode's next one. The model's cache is transient state: it lives in the arena between calls, and
// what a longer variant left behind a prompt's end is overwritten before it is looked at.
//
// Generation ends at an end token, a stop string, --tokens, or the end of the context. Draws are
// keyed by the seed and the number of tokens so far, so the same command gives the same text.
#include "runtime/generate.h"

#include "runtime/error.h"
#include "runtime/progress.h"
#include "runtime/stop_text.h"
#include "runtime/tokenizer.h"
#include "runtime/watch.h"
#include "runtime/weights.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOKENS_DEFAULT = 256, PROMPT_MAX = 1 << 24 };

typedef struct {
    const PlanEntry *entry;
    const PlanInput *tokens, *length;
} Prefill;

typedef struct {
    PlimSession *s;
    const PlimOptions *o;
    PlimTokenizer *tokenizer; // NULL: ids instead of text
    PlimWatch *watch;         // of decode; or NULL
    const PlanEntry *decode;
    const PlanInput *token, *pos; // of decode
    int64_t context;              // positions there are
    TokenList prompt;
    TokenStream stream;
    StopText stop;
    char *piece; // tokenizer_decode_size bytes
    FILE *log;   // or NULL
    bool told_unknown;
    // Figures
    double start, prefilled; // seconds
    int64_t drawn;
} Generation;

// The input of that name with that many elements in its last axis (0: any), all others 1; or NULL.
static const PlanInput *find_input(const PlanEntry *entry, const char *name, uint32_t rank,
                                   int64_t last) {
    for (uint32_t i = 0; i < entry->input_count; i++) {
        const PlanInput *x = &entry->input[i];
        if (strcmp(x->name, name) != 0 || x->dtype != PLAN_I32 || x->rank != rank || x->slots != 1)
            continue;
        if (rank == 0 || (x->dim[0] == 1 && (last == 0 || x->dim[1] == last)))
            return x;
    }
    return NULL;
}

// Whether the entry gives one i32 first.
static bool gives_token(const PlanEntry *entry) {
    int64_t count = 1;
    if (entry->result_count == 0 || entry->result[0].dtype != PLAN_I32)
        return false;
    for (uint32_t i = 0; i < entry->result[0].rank; i++)
        count *= entry->result[0].dim[i];
    return count == 1;
}

// Whether the entry is a prefill, and its parts.
static bool is_prefill(const PlanEntry *entry, Prefill *out) {
    const bool named = strncmp(entry->name, "prefill", 7) == 0 &&
                       (entry->name[7] == '\0' || entry->name[7] == '_');
    *out = (Prefill){entry, find_input(entry, "tokens", 2, 0), find_input(entry, "length", 0, 0)};
    return named && out->tokens && out->length && gives_token(entry);
}

// The smallest prefill that holds count tokens; where none does, the largest. False: there is none.
static bool choose_prefill(const Plan *p, int64_t count, Prefill *out) {
    int64_t best = 0; // tokens it holds
    for (uint32_t i = 0; i < p->entry_count; i++) {
        Prefill x;
        if (!is_prefill(&p->entry[i], &x))
            continue;
        const int64_t holds = x.tokens->dim[1];
        if (best < count ? holds > best : holds >= count && holds < best) {
            *out = x;
            best = holds;
        }
    }
    return best > 0;
}

static PlimStatus find_entries(Generation *g, PlimError *error) {
    const Plan *p = g->s->plan;
    Prefill largest;
    g->decode = plan_find_entry(p, "decode");
    if (g->decode) {
        g->token = find_input(g->decode, "token", 2, 1);
        g->pos = find_input(g->decode, "pos", 0, 0);
    }
    if (!g->decode || !g->token || !g->pos || !gives_token(g->decode) ||
        !choose_prefill(p, INT64_MAX, &largest))
        return error_set(error, PLIM_BAD_INPUT,
                         "this program can't generate: it needs the entries prefill(tokens: i32[1, "
                         "s], length: i32) and decode(token: i32[1, 1], pos: i32), which give a "
                         "token");
    // Without a bound on positions, what is sure to fit.
    g->context = g->pos->bound > 0 ? g->pos->bound : largest.tokens->dim[1];
    return PLIM_OK;
}

// A knob for decode and every prefill.
static PlimStatus set_knob(Generation *g, const char *assignment, PlimError *error) {
    const Plan *p = g->s->plan;
    Prefill x;
    PlimStatus status = session_set_knob(g->s, g->decode, assignment, error);
    for (uint32_t i = 0; i < p->entry_count && status == PLIM_OK; i++)
        if (is_prefill(&p->entry[i], &x))
            status = session_set_knob(g->s, &p->entry[i], assignment, error);
    return status;
}

// value: as given, or NULL.
static PlimStatus set_number(Generation *g, const char *flag, const char *knob, const char *value,
                             double most, PlimError *error) {
    char assignment[128], *end;
    if (!value)
        return PLIM_OK;
    const double x = strtod(value, &end);
    if (end == value || *end || !(x >= 0) || x > most)
        return error_set(error, PLIM_BAD_INPUT, "%s %s: no number from 0 to %g", flag, value, most);
    snprintf(assignment, sizeof assignment, "%s=%.17g", knob, x);
    return set_knob(g, assignment, error);
}

// --set first, then the flags that are short for it: the flag wins.
static PlimStatus set_knobs(Generation *g, PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (int i = 0; i < g->o->set.count && status == PLIM_OK; i++)
        status = set_knob(g, g->o->set.item[i], error);
    if (status == PLIM_OK)
        status = set_number(g, "--temperature", "temperature", g->o->temperature, 1e6, error);
    return status == PLIM_OK ? set_number(g, "--top-p", "top_p", g->o->top_p, 1, error) : status;
}

// All of standard input. The caller frees *out.
static PlimStatus read_prompt(char **out, size_t *bytes, PlimError *error) {
    *bytes = 0;
    *out = malloc(PROMPT_MAX + 1);
    if (!*out)
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading the prompt");
    // One byte more than allowed is read, to tell a full prompt from one that is too long.
    while (*bytes <= PROMPT_MAX) {
        const ssize_t got = read(STDIN_FILENO, *out + *bytes, PROMPT_MAX + 1 - *bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(error, PLIM_IO, "can't read the prompt: %s", strerror(errno));
        if (got == 0)
            return PLIM_OK;
        *bytes += (size_t)got;
    }
    return error_set(error, PLIM_BAD_INPUT, "the prompt has more than %d bytes", PROMPT_MAX);
}

// Every id inside the model's vocabulary, and not more than the context holds.
static PlimStatus check_prompt(const Generation *g, PlimError *error) {
    for (size_t i = 0; i < g->prompt.count; i++)
        if (g->token->bound > 0 && g->prompt.id[i] >= g->token->bound)
            return error_set(error, PLIM_BAD_INPUT,
                             "the prompt's token %ld is beyond the model's vocabulary of %lld; is "
                             "this the tokenizer that the model was trained with?",
                             (long)g->prompt.id[i], (long long)g->token->bound);
    if (g->prompt.count == 0)
        return error_set(error, PLIM_BAD_INPUT, "the prompt is empty");
    if ((int64_t)g->prompt.count > g->context)
        return error_set(error, PLIM_BAD_INPUT,
                         "the prompt has %zu tokens; the model's context holds %lld",
                         g->prompt.count, (long long)g->context);
    return PLIM_OK;
}

// --prompt-tokens: ids between commas.
static PlimStatus read_ids(Generation *g, PlimError *error) {
    const char *at = g->o->prompt_tokens;
    // As many ids as commas, and one more.
    g->prompt.id = calloc(strlen(at) + 1, sizeof *g->prompt.id);
    if (!g->prompt.id)
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading the prompt");
    while (*at) {
        char *end;
        errno = 0;
        const long id = strtol(at, &end, 10);
        if (errno || end == at || id < 0 || id > INT32_MAX || (*end != ',' && *end) ||
            (*end == ',' && !end[1]))
            return error_set(error, PLIM_BAD_INPUT,
                             "--prompt-tokens %s: no ids from 0 on with commas between them",
                             g->o->prompt_tokens);
        g->prompt.id[g->prompt.count++] = (int32_t)id;
        at = end + (*end == ',');
    }
    return check_prompt(g, error);
}

static PlimStatus encode_prompt(Generation *g, PlimError *error) {
    char *from_stdin = NULL;
    const char *text = g->o->prompt;
    if (g->o->prompt_tokens)
        return read_ids(g, error);
    if (!text)
        return error_set(error, PLIM_BAD_INPUT,
                         "generate needs --prompt TEXT, - for stdin, or --prompt-tokens");
    size_t bytes = strlen(text);
    PlimStatus status = PLIM_OK;
    if (strcmp(text, "-") == 0) {
        status = read_prompt(&from_stdin, &bytes, error);
        text = from_stdin;
    }
    if (status == PLIM_OK)
        status = tokenizer_encode(g->tokenizer, text, bytes, TOKENS_TEMPLATE, &g->prompt, error);
    free(from_stdin);
    return status == PLIM_OK ? check_prompt(g, error) : status;
}

// Runs an entry whose own inputs have been written. so_far: tokens that have been read after it.
static PlimStatus draw(Generation *g, const PlanEntry *entry, int64_t so_far, int32_t *token,
                       PlimError *error) {
    const PlanResult *r = &entry->result[0];
    PlimStatus status =
        session_set_scalars(g->s, entry, &(StepScalars){.step = so_far, .seed = g->o->seed}, error);
    if (status == PLIM_OK)
        status = run_entry(g->s->run, entry, error);
    if (status == PLIM_OK)
        status = run_read(g->s->run, r->buffer, r->offset, token, sizeof *token, error);
    if (status != PLIM_OK)
        return status;
    if (*token < 0 || (g->token->bound > 0 && *token >= g->token->bound))
        return error_set(error, PLIM_BAD_INPUT, "entry %s gave token %ld, which is none of %lld",
                         entry->name, (long)*token, (long long)g->token->bound);
    return PLIM_OK;
}

// *token: in, the one at pos; out, the one drawn behind it.
static PlimStatus decode_one(Generation *g, int64_t pos, int32_t *token, PlimError *error) {
    const int32_t at = (int32_t)pos;
    PlimStatus status = run_write(g->s->run, g->token->buffer, 0, token, sizeof *token, error);
    if (status == PLIM_OK)
        status = run_write(g->s->run, g->pos->buffer, 0, &at, sizeof at, error);
    return status == PLIM_OK ? draw(g, g->decode, pos + 1, token, error) : status;
}

// The whole prompt; *token is the first one drawn.
static PlimStatus prefill(Generation *g, int32_t *token, PlimError *error) {
    const int64_t count = (int64_t)g->prompt.count;
    Prefill x;
    if (!choose_prefill(g->s->plan, count, &x))
        return PLIM_BAD_PLAN; // find_entries has seen that there is one
    const int64_t room = x.tokens->dim[1];
    const int32_t length = (int32_t)(count < room ? count : room);
    // What stands behind the prompt must be inside the vocabulary, though nothing looks at it.
    int32_t *tokens = calloc((size_t)room, sizeof *tokens);
    if (!tokens)
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading the prompt");
    memcpy(tokens, g->prompt.id, (size_t)length * sizeof *tokens);
    PlimStatus status =
        run_write(g->s->run, x.tokens->buffer, 0, tokens, (uint64_t)room * sizeof *tokens, error);
    free(tokens);
    if (status == PLIM_OK)
        status = run_write(g->s->run, x.length->buffer, 0, &length, sizeof length, error);
    if (status == PLIM_OK)
        status = draw(g, x.entry, length, token, error);
    // What the largest prefill does not hold, token by token.
    for (int64_t i = length; i < count && status == PLIM_OK; i++) {
        *token = g->prompt.id[i];
        status = decode_one(g, i, token, error);
    }
    return status;
}

static PlimStatus print_text(Generation *g, size_t bytes, PlimError *error) {
    if (fwrite(g->stop.held, 1, bytes, stdout) != bytes || fflush(stdout) != 0)
        return error_set(error, PLIM_IO, "can't write the text: %s", strerror(errno));
    stop_text_printed(&g->stop, bytes);
    return PLIM_OK;
}

// The token's text to stdout; *stopped where a stop string has come.
static PlimStatus say(Generation *g, int32_t token, bool *stopped, PlimError *error) {
    if (!g->tokenizer) {
        if (printf("%s%ld", g->drawn > 1 ? " " : "", (long)token) < 0 || fflush(stdout) != 0)
            return error_set(error, PLIM_IO, "can't write the ids: %s", strerror(errno));
        return PLIM_OK;
    }
    if (token >= tokenizer_size(g->tokenizer) && !g->told_unknown) {
        fprintf(stderr, "token %ld is none of the tokenizer's %ld, so it has no text\n",
                (long)token, (long)tokenizer_size(g->tokenizer));
        g->told_unknown = true;
    }
    size_t ready;
    const size_t bytes = tokenizer_decode(&g->stream, token, g->piece);
    *stopped = stop_text_add(&g->stop, g->piece, bytes, &ready);
    if (ready == SIZE_MAX)
        return error_set(error, PLIM_NO_MEMORY, "out of memory printing the text");
    return print_text(g, ready, error);
}

// What was held back, when no stop string has come.
static PlimStatus say_rest(Generation *g, PlimError *error) {
    if (!g->tokenizer)
        return putchar('\n') == '\n'
                   ? PLIM_OK
                   : error_set(error, PLIM_IO, "can't write the ids: %s", strerror(errno));
    size_t ready;
    const size_t bytes = tokenizer_decode_end(&g->stream, g->piece);
    stop_text_add(&g->stop, g->piece, bytes, &ready);
    if (ready == SIZE_MAX)
        return error_set(error, PLIM_NO_MEMORY, "out of memory printing the text");
    return print_text(g, stop_text_end(&g->stop), error);
}

// One of the steps that --profile and its like are about.
static PlimStatus watched_step(Generation *g, int64_t pos, int32_t *token, PlimError *error) {
    StepTimes times = {.begins = clock_seconds()};
    times.data = times.begins;
    watch_begin(g->watch, g->drawn);
    const PlimStatus status = decode_one(g, pos, token, error);
    times.ends = clock_seconds();
    return status == PLIM_OK ? watch_end(g->watch, &times, error) : status;
}

// One token after the other, from the first drawn one on.
static PlimStatus go_on(Generation *g, int32_t token, PlimError *error) {
    const int64_t limit = g->o->tokens ? g->o->tokens : TOKENS_DEFAULT;
    int64_t so_far = (int64_t)g->prompt.count;
    double before = g->start; // The first token's time is the prompt's
    bool stopped = false;
    PlimStatus status = PLIM_OK;
    for (;;) {
        g->drawn++;
        if (g->log) {
            const double now = clock_seconds();
            fprintf(g->log, "{\"step\":%lld,\"position\":%lld,\"token\":%ld,\"ms\":%.3f}\n",
                    (long long)g->drawn, (long long)so_far, (long)token, 1e3 * (now - before));
            before = now;
        }
        // An end token is logged and counted, but has no text.
        if (g->tokenizer && tokenizer_is_end(g->tokenizer, token))
            break;
        status = say(g, token, &stopped, error);
        if (status != PLIM_OK || stopped || g->drawn == limit)
            break;
        // The text so far comes before the line about it, whatever stdout is.
        if (so_far == g->context) {
            fflush(stdout);
            fprintf(stderr, "the context of %lld tokens is full\n", (long long)g->context);
            break;
        }
        status = watched_step(g, so_far++, &token, error);
        if (status != PLIM_OK)
            break;
    }
    return status == PLIM_OK && !stopped ? say_rest(g, error) : status;
}

static void print_figures(const Generation *g) {
    const double end = clock_seconds();
    const double seconds = end - g->prefilled;
    // The first token is the prefill's.
    fprintf(stderr, "prompt: %zu tokens in %.1f ms; text: %lld tokens", g->prompt.count,
            1e3 * (g->prefilled - g->start), (long long)g->drawn);
    if (g->drawn > 1)
        fprintf(stderr, ", %.1f tokens/s", (double)(g->drawn - 1) / seconds);
    fputc('\n', stderr);
}

static bool has_weights(const Plan *p) {
    for (uint32_t i = 0; i < p->state_count; i++)
        if (p->state[i].kind == PLAN_STATE_PARAM)
            return true;
    return false;
}

// The model's, or the one that is named; none where ids are given and none is named.
static PlimStatus open_tokenizer(Generation *g, PlimError *error) {
    const char *name = g->o->tokenizer;
    if (g->o->prompt && g->o->prompt_tokens)
        return error_set(error, PLIM_BAD_INPUT, "--prompt and --prompt-tokens are two prompts");
    if (!name && g->o->prompt_tokens)
        return g->o->stop.count == 0
                   ? PLIM_OK
                   : error_set(
                         error, PLIM_BAD_INPUT,
                         "--stop with --prompt-tokens needs --tokenizer, for there to be text");
    const PlimStatus status =
        tokenizer_open_named(name ? name : g->s->plan->tokenizer, &g->tokenizer, error);
    if (status != PLIM_OK)
        return status;
    g->stream = (TokenStream){.tokenizer = g->tokenizer, .after_text = true};
    g->piece = malloc(tokenizer_decode_size(g->tokenizer));
    return g->piece ? PLIM_OK : error_set(error, PLIM_NO_MEMORY, "out of memory printing the text");
}

// Everything that can fail for the user's sake, then the weights.
static PlimStatus prepare(Generation *g, PlimError *error) {
    PlimStatus status = find_entries(g, error);
    for (int i = 0; i < g->o->stop.count && status == PLIM_OK; i++)
        if (!g->o->stop.item[i][0])
            status = error_set(error, PLIM_BAD_INPUT, "--stop needs a text that is not empty");
    if (status == PLIM_OK)
        status = set_knobs(g, error);
    if (status == PLIM_OK)
        status = open_tokenizer(g, error);
    if (status == PLIM_OK)
        status = encode_prompt(g, error);
    if (status != PLIM_OK)
        return status;
    if (g->o->log && !(g->log = fopen(g->o->log, "we")))
        return error_set(error, PLIM_IO, "can't open %s: %s", g->o->log, strerror(errno));
    if (has_weights(g->s->plan) && !g->o->weights)
        return error_set(error, PLIM_BAD_INPUT, "generate needs --weights PATH");
    status = weights_begin(g->s, g->o->weights, g->o->allow_missing ? WEIGHTS_SOME : WEIGHTS_ALL,
                           g->o->seed, error);
    return status == PLIM_OK ? watch_open(g->s, g->o, g->decode, &g->watch, error) : status;
}

PlimStatus generate_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    Generation g = {.s = s, .o = o, .stop = {.stop = o->stop.item, .stops = o->stop.count}};
    int32_t token = 0;
    PlimStatus status = prepare(&g, error);
    g.start = clock_seconds();
    if (status == PLIM_OK)
        status = prefill(&g, &token, error);
    g.prefilled = clock_seconds();
    if (status == PLIM_OK)
        status = go_on(&g, token, error);
    // A shell's prompt begins on a line of its own.
    if (status == PLIM_OK && g.tokenizer && isatty(STDOUT_FILENO))
        putchar('\n');
    if (status == PLIM_OK && !o->quiet)
        print_figures(&g);
    if (g.log && (ferror(g.log) | fclose(g.log)) && status == PLIM_OK)
        status = error_set(error, PLIM_IO, "can't write %s", o->log);
    PlimError closing;
    const PlimStatus closed = watch_close(g.watch, &closing);
    if (status == PLIM_OK && closed != PLIM_OK) {
        *error = closing;
        status = closed;
    }
    tokenizer_release(g.tokenizer);
    stop_text_release(&g.stop);
    free(g.prompt.id);
    free(g.piece);
    return status;
}
