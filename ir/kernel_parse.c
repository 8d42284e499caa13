// Reads kernel text (docs/kernel-text.md). Recursive descent over one kernel, fields in a fixed
// order; the first mistake ends the kernel with a diagnostic. Trusts nothing: counts are limited
// before memory is taken, numbers are checked for overflow, operands must precede their users, and
// the finished kernel is verified.
#include "ir/kernel_text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { P_SYNTAX = 701, P_LIMIT = 703, P_NUMBER = 704, P_REF = 705, P_TYPES = 706 };
// A number of 48 characters is longer than any that the printer writes.
enum { NAME_MAX_BYTES = 64, NUMBER_MAX_BYTES = 48 };

typedef struct {
    Arena *arena;
    Diag *diag;
    const char *file;
    // Not ended by a NUL: bytes counts.
    const char *text;
    // All of the text, and the cursor in it.
    size_t bytes, at;
} Reader;

typedef struct {
    const char *at;
    size_t bytes;
} Word;

// Lines are counted only when somebody needs them.
static Loc loc_at(const Reader *r, size_t at) {
    Loc loc = {.file = r->file, .line = 1, .column = 1};
    size_t start = 0;
    for (const char *nl = memchr(r->text, '\n', at); nl;
         nl = memchr(r->text + start, '\n', at - start)) {
        start = (size_t)(nl - r->text) + 1;
        loc.line++;
    }
    loc.column = (int32_t)(at - start < INT32_MAX - 1 ? at - start : INT32_MAX - 2) + 1;
    return loc;
}

// Blanks, line ends and comments (# to the end of the line) separate words and mean nothing else.
static void skip_blank(Reader *r) {
    while (r->at < r->bytes) {
        const char c = r->text[r->at];
        if (c == '#') {
            const char *nl = memchr(r->text + r->at, '\n', r->bytes - r->at);
            r->at = nl ? (size_t)(nl - r->text) : r->bytes;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            r->at++;
        } else {
            return;
        }
    }
}

// What names consist of; isalnum would depend on the locale.
static bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// The word or number at the cursor, or the one character there; empty at the end.
static Word peek(Reader *r) {
    skip_blank(r);
    // A number's sign, point and exponent belong to the word: -1.5e+3 is one. Other characters
    // (brackets, %, :, =) stand alone.
    size_t end = r->at;
    while (end < r->bytes && (is_word_char(r->text[end]) || r->text[end] == '.' ||
                              r->text[end] == '-' || r->text[end] == '+'))
        end++;
    if (end == r->at && end < r->bytes)
        end++;
    return (Word){r->text + r->at, end - r->at};
}

// The word at the cursor, which moves past it.
static Word next(Reader *r) {
    const Word w = peek(r);
    r->at += w.bytes;
    return w;
}

static bool word_is(Word w, const char *text) {
    return w.bytes == strlen(text) && memcmp(w.at, text, w.bytes) == 0;
}

// An error at w, which is shown as far as it is printable.
static bool unexpected(Reader *r, Word w, const char *wanted) {
    const Loc loc = loc_at(r, (size_t)(w.at - r->text));
    if (w.bytes == 0)
        return diag_error(r->diag, loc, P_SYNTAX, "expected %s, found the end of the text", wanted);
    // At most 32 characters, so that a hostile word can't flood the message or the terminal.
    char shown[33];
    size_t n = 0;
    for (; n < w.bytes && n + 1 < sizeof shown; n++)
        shown[n] = w.at[n] >= ' ' && w.at[n] <= '~' ? w.at[n] : '?';
    shown[n] = '\0';
    return diag_error(r->diag, loc, P_SYNTAX, "expected %s, found '%s'", wanted, shown);
}

// Takes the word or says that it was wanted; moves on in either case, as a mistake ends the kernel.
static bool expect(Reader *r, const char *text) {
    const Word w = next(r);
    return word_is(w, text) || unexpected(r, w, text);
}

// A whole number in low..high. The words are copied because strtoll wants a NUL.
static bool read_number(Reader *r, int64_t low, int64_t high, int64_t *out) {
    const Word w = next(r);
    char digits[NUMBER_MAX_BYTES + 1] = {0};
    char *end = digits;
    // strtoll also takes leading blanks and '+', which are no part of the text form.
    if (w.bytes == 0 || w.bytes > NUMBER_MAX_BYTES ||
        !(w.at[0] == '-' || (w.at[0] >= '0' && w.at[0] <= '9')))
        return unexpected(r, w, "a whole number");
    memcpy(digits, w.at, w.bytes);
    // strtoll tells overflow by errno alone.
    errno = 0;
    const long long value = strtoll(digits, &end, 10);
    if (*end != '\0' || end == digits)
        return unexpected(r, w, "a whole number");
    if (errno == ERANGE || value < low || value > high)
        return diag_error(r->diag, loc_at(r, (size_t)(w.at - r->text)), P_NUMBER,
                          "number %s is out of range %lld..%lld", digits, (long long)low,
                          (long long)high);
    *out = value;
    return true;
}

// A number, inf, -inf or nan, as a double; too large ones become inf, as strtod has it.
static bool read_float(Reader *r, double *out) {
    const Word w = next(r);
    char digits[NUMBER_MAX_BYTES + 1] = {0};
    char *end = digits;
    if (w.bytes == 0 || w.bytes > NUMBER_MAX_BYTES)
        return unexpected(r, w, "a number");
    memcpy(digits, w.at, w.bytes);
    // Hexadecimal and other spellings that strtod also takes are no part of the text form.
    const bool named = word_is(w, "inf") || word_is(w, "-inf") || word_is(w, "nan");
    if (!named && strspn(digits, "0123456789+-.e") != w.bytes)
        return unexpected(r, w, "a number");
    *out = strtod(digits, &end);
    return (*end == '\0' && end != digits) || unexpected(r, w, "a number");
}

// "[a, b, ...]" of exactly count numbers, or where count is 0 of 1..max numbers; returns how many,
// 0 after a diagnostic.
static int read_list(Reader *r, int count, int max, int64_t *out) {
    if (!expect(r, "["))
        return 0;
    const int most = count ? count : max;
    for (int i = 0; i < most; i++) {
        if (!read_number(r, 0, DIM_MAX, &out[i]))
            return 0;
        const Word w = next(r);
        // A list of a fixed count may end only there.
        if (word_is(w, "]") && (!count || i + 1 == count))
            return i + 1;
        if (i + 1 == most) {
            unexpected(r, w, count ? "]" : "] (a kernel has at most 8 dims)");
            return 0;
        }
        if (!word_is(w, ",")) {
            unexpected(r, w, ",");
            return 0;
        }
    }
    return 0;
}

// Index of the word among known ones; -1 after a diagnostic.
static int read_word(Reader *r, const char *const *known, int count, const char *what) {
    const Word w = next(r);
    for (int i = 0; i < count; i++)
        if (word_is(w, known[i]))
            return i;
    unexpected(r, w, what);
    return -1;
}

// Element types by their name (ir/type.h); the copy is for the NUL that dtype_find wants.
static bool read_dtype(Reader *r, DType *out) {
    const Word w = next(r);
    char name[16] = {0};
    if (w.bytes > 0 && w.bytes < sizeof name) {
        memcpy(name, w.at, w.bytes);
        if (dtype_find(name, out))
            return true;
    }
    return unexpected(r, w, "an element type");
}

// %N of an operation above. That it has a value (is no store) is for type_instr to say.
static bool read_ref(Reader *r, const Kernel *k, KRef *out) {
    int64_t ref;
    if (!expect(r, "%"))
        return false;
    skip_blank(r);
    const size_t start = r->at;
    if (!read_number(r, 0, KERNEL_INSTRS_MAX, &ref))
        return false;
    // Operations are appended as they are read, so this also keeps operands before users.
    if (ref >= k->instr_count)
        return diag_error(r->diag, loc_at(r, start), P_REF, "%%%lld is not defined above",
                          (long long)ref);
    *out = (KRef)ref;
    return true;
}

// "const i32 7", "const bool 1" or "const 0.5", which is f32.
static bool read_const(Reader *r, KInstr *in) {
    const Word w = peek(r);
    if (word_is(w, "i32") || word_is(w, "bool")) {
        const bool is_i32 = w.at[0] == 'i';
        next(r);
        in->dtype = is_i32 ? DT_I32 : DT_BOOL;
        return read_number(r, is_i32 ? INT32_MIN : 0, is_i32 ? INT32_MAX : 1, &in->as.i);
    }
    double value;
    if (!read_float(r, &value))
        return false;
    in->dtype = DT_F32;
    // Rounded like the builder's constants; one NaN, so that equal kernels have equal bits.
    in->as.f = isnan(value) ? (double)NAN : (double)(float)value;
    return true;
}

// The result's type; for loads from the operand, which must exist.
static bool type_instr(Reader *r, const Kernel *k, KInstr *in, size_t start) {
    DType of[4] = {DT_F32, DT_F32, DT_F32, DT_F32};
    for (int j = 0; j < kop_arity(in->op); j++) {
        if (kop_is_effect(k->instr[in->arg[j]].op))
            return diag_error(r->diag, loc_at(r, start), P_REF, "%%%d is a store and has no value",
                              in->arg[j]);
        of[j] = k->instr[in->arg[j]].dtype;
    }
    // A plain store takes any type; kop_infer leaves it as it is.
    if (in->op == KOP_STORE)
        in->dtype = of[0];
    if (!kop_infer(in->op, of, &in->dtype))
        return diag_error(r->diag, loc_at(r, start), P_TYPES,
                          "%s does not take these types: %s, %s, %s", kop_name(in->op),
                          dtype_name(of[0]), dtype_name(of[1]), dtype_name(of[2]));
    if (in->op == KOP_LOAD || in->op == KOP_LOAD_AT) {
        const DType t = k->operand[in->operand].dtype;
        in->dtype = t == DT_BF16 ? DT_F32 : t;
    }
    return true;
}

// One operation, the cursor at its name.
static bool read_instr(Reader *r, Kernel *k, Word name, bool named) {
    const size_t start = (size_t)(name.at - r->text);
    KInstr in = {.arg = {-1, -1, -1, -1}, .operand = -1};
    in.as.i = 0;
    if (!kop_find(name.at, name.bytes, &in.op))
        return unexpected(r, name, "an operation");
    if (kop_is_effect(in.op) == named)
        return diag_error(r->diag, loc_at(r, start), P_SYNTAX, "%s %s", kop_name(in.op),
                          named ? "has no result" : "needs a result: %N = ...");
    // What follows the name, in this order: a constant, immediate or dim; the operand's number; the
    // values; limit and step. A kernel without immediates or operands has the range 0..-1, which
    // refuses every number.
    if (in.op == KOP_CONST && !read_const(r, &in))
        return false;
    if (in.op == KOP_IMM && !read_number(r, 0, k->imm_count - 1, &in.as.i))
        return false;
    if (in.op == KOP_INDEX && !read_number(r, 0, k->rank - 1, &in.as.i))
        return false;
    if (in.op == KOP_LOAD || in.op == KOP_LOAD_AT || kop_is_effect(in.op)) {
        int64_t operand;
        if (!read_number(r, 0, k->operand_count - 1, &operand))
            return false;
        in.operand = (int)operand;
    }
    for (int j = 0; j < kop_arity(in.op); j++)
        if (!read_ref(r, k, &in.arg[j]))
            return false;
    if (in.op == KOP_LOAD_AT || in.op == KOP_STORE_AT || in.op == KOP_ADD_AT)
        if (!expect(r, "limit") || !read_number(r, 1, INT32_MAX, &in.limit) || !expect(r, "step") ||
            !read_number(r, 0, DIM_MAX, &in.step))
            return false;
    if (!type_instr(r, k, &in, start))
        return false;
    // read_program has made room.
    k->instr[k->instr_count++] = in;
    return true;
}

// "N: dtype access stream? [strides]", the cursor after "operand". Numbers only confirm the order.
static bool read_operand(Reader *r, Kernel *k) {
    int64_t number;
    const size_t start = r->at;
    if (!read_number(r, 0, INT32_MAX, &number) || !expect(r, ":"))
        return false;
    // The limit is checked before the operand's slot is written.
    if (number != k->operand_count || number >= KERNEL_OPERANDS_MAX)
        return diag_error(r->diag, loc_at(r, start), P_LIMIT,
                          "operand %lld here; they are numbered 0, 1, ... up to %d",
                          (long long)number, KERNEL_OPERANDS_MAX - 1);
    KOperand *o = &k->operand[k->operand_count];
    if (!read_dtype(r, &o->dtype))
        return false;
    const int access = read_word(r, kernel_access_words, 3, "read, write or update");
    if (access < 0)
        return false;
    o->access = (Access)access;
    o->stream = word_is(peek(r), "stream");
    if (o->stream)
        next(r);
    if (!read_list(r, k->rank, 0, o->stride))
        return false;
    if (word_is(peek(r), "align")) {
        next(r);
        if (!read_number(r, 1, 8, &number))
            return false;
        o->align = (int)number;
    }
    k->operand_count++;
    return true;
}

// The lines of a scalar kernel up to the closing brace.
static bool read_program(Reader *r, Kernel *k) {
    int capacity = 0;
    for (Word w = next(r); !word_is(w, "}"); w = next(r)) {
        if (w.bytes == 0)
            return unexpected(r, w, "}");
        // Operands come first; among operations the word is an unknown one.
        if (word_is(w, "operand") && k->instr_count == 0) {
            if (!read_operand(r, k))
                return false;
            continue;
        }
        if (k->instr_count == KERNEL_INSTRS_MAX)
            return diag_error(r->diag, loc_at(r, (size_t)(w.at - r->text)), P_LIMIT,
                              "a kernel has at most %d operations", KERNEL_INSTRS_MAX);
        if (k->instr_count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            k->instr = arena_grow(r->arena, k->instr, (size_t)k->instr_count, (size_t)capacity,
                                  sizeof *k->instr);
        }
        // "%N = op ..." where there is a result. N is redundant but makes a shifted line an error.
        const bool named = word_is(w, "%");
        if (named) {
            int64_t number;
            const size_t start = r->at;
            if (!read_number(r, 0, KERNEL_INSTRS_MAX, &number) || !expect(r, "="))
                return false;
            if (number != k->instr_count)
                return diag_error(r->diag, loc_at(r, start), P_REF,
                                  "%%%lld here, but this is operation %d", (long long)number,
                                  k->instr_count);
            w = next(r);
        }
        if (!read_instr(r, k, w, named))
            return false;
    }
    return true;
}

// "[dims] (members N)? host? { imms N", then the program.
static bool read_scalar(Reader *r, Kernel *k) {
    // "imms N" stands only where there is one at least.
    int64_t imms = 0, members = 0;
    k->rank = read_list(r, 0, KERNEL_DIMS_MAX, k->dim);
    if (k->rank == 0)
        return false;
    if (word_is(peek(r), "members")) {
        next(r);
        if (!read_number(r, 2, KERNEL_OPERANDS_MAX, &members))
            return false;
    }
    k->members = (int)members;
    k->host = word_is(peek(r), "host");
    if (k->host)
        next(r);
    if (!expect(r, "{"))
        return false;
    if (word_is(peek(r), "imms")) {
        next(r);
        if (!read_number(r, 1, KERNEL_INSTRS_MAX, &imms))
            return false;
    }
    k->imm_count = (int)imms;
    return read_program(r, k);
}

// "name N" with N in 0..high; the verifier knows the finer limits.
static bool read_field(Reader *r, const char *name, int64_t high, int64_t *out) {
    return expect(r, name) && read_number(r, 0, high, out);
}

// "name [a, b, ...]" with exactly count numbers.
static bool read_strides(Reader *r, const char *name, int count, int64_t *out) {
    return expect(r, name) && read_list(r, count, 0, out) == count;
}

// Fields in the order of put_product; every one is required.
static bool read_product(Reader *r, ProductKernel *p) {
    int64_t tile[2], workspace;
    if (!expect(r, "{") || !expect(r, "library"))
        return false;
    const int library = read_word(r, kernel_library_words, 4, "own, onednn, openblas or cublaslt");
    if (library < 0)
        return false;
    p->library = (ProductLibrary)library;
    if (!expect(r, "a") || !read_dtype(r, &p->a) || !read_list(r, 4, 0, p->a_stride) ||
        !expect(r, "b") || !read_dtype(r, &p->b) || !read_list(r, 4, 0, p->b_stride) ||
        !expect(r, "c") || !read_dtype(r, &p->c))
        return false;
    // c is never only read: 0 is write, 1 update.
    const int access = read_word(r, &kernel_access_words[ACCESS_WRITE], 2, "write or update");
    if (access < 0 || !read_list(r, 4, 0, p->c_stride))
        return false;
    p->bias = word_is(peek(r), "bias");
    if ((p->bias && !expect(r, "bias")) || !read_strides(r, "batch", 2, p->batch) ||
        !read_field(r, "m", DIM_MAX, &p->m) || !read_field(r, "n", DIM_MAX, &p->n) ||
        !read_field(r, "k", DIM_MAX, &p->k) || !read_strides(r, "tile", 2, tile) ||
        !read_field(r, "workspace", DIM_MAX, &workspace))
        return false;
    p->accumulate = access == 1;
    p->tile_m = tile[0];
    p->tile_n = tile[1];
    p->workspace = (size_t)workspace;
    return expect(r, "}");
}

static bool read_attention_strides(Reader *r, Kernel *k) {
    AttentionKernel *t = &k->attention;
#define S(field)                                                                                   \
    if (!read_strides(r, #field, 3, t->field))                                                     \
        return false;
    ATTENTION_STRIDES(S)
    if (k->kind != KERNEL_ATTENTION) {
        S(dout)
    }
    if (k->kind == KERNEL_ATTENTION_GRAD) {
        ATTENTION_GRAD_STRIDES(S)
    }
#undef S
    return k->kind != KERNEL_ATTENTION_GRAD_BIAS || read_strides(r, "dbias", 4, t->dbias_at);
}

// Fields in the order of put_attention. Groups that don't divide the heads are for the verifier.
static bool read_attention(Reader *r, Kernel *k) {
    AttentionKernel *t = &k->attention;
    int64_t causal, interval = 0, documents = 0, offset = 0, slopes = 0;
    if (!expect(r, "{") || !expect(r, "dtype") || !read_dtype(r, &t->dtype))
        return false;
// The lists of fields are shared with the printer, so both have the same order.
#define N(field)                                                                                   \
    if (!read_field(r, #field, DIM_MAX, &t->field))                                                \
        return false;
    ATTENTION_NUMBERS(N)
#undef N
    if (!read_field(r, "causal", 1, &causal))
        return false;
    if (word_is(peek(r), "interval") && !read_field(r, "interval", 1, &interval))
        return false;
    if (word_is(peek(r), "documents") && !read_field(r, "documents", 1, &documents))
        return false;
    if (word_is(peek(r), "offset") && !read_field(r, "offset", 1, &offset))
        return false;
    if (word_is(peek(r), "slopes") && !read_field(r, "slopes", 1, &slopes))
        return false;
    if (!expect(r, "scale") || !read_float(r, &t->scale))
        return false;
    if (word_is(peek(r), "cap") && (!expect(r, "cap") || !read_float(r, &t->cap)))
        return false;
    t->causal = causal == 1;
    t->interval = interval == 1;
    t->documents = documents == 1;
    t->offset = offset == 1;
    t->slopes = slopes == 1;
    t->bias = word_is(peek(r), "bias");
    if (t->bias && (!expect(r, "bias") || !read_dtype(r, &t->bias_dtype) ||
                    read_list(r, 4, 0, t->bias_at) != 4))
        return false;
    t->mask = word_is(peek(r), "mask");
    if (t->mask && !read_strides(r, "mask", 4, t->mask_at))
        return false;
    return read_attention_strides(r, k) && expect(r, "}");
}

// Fields in the order of put_convolution.
static bool read_convolution(Reader *r, ConvolutionKernel *k) {
    Convolution *c = &k->shape;
    int64_t stride[2];
    if (!expect(r, "{") || !expect(r, "result"))
        return false;
    const int part = read_word(r, kernel_part_words, 3, "x, w or y");
    if (part < 0 || !expect(r, "dtypes"))
        return false;
    k->part = (ConvolutionPart)part;
    for (int i = 0; i < 3; i++)
        if (!read_dtype(r, &k->dtype[i]))
            return false;
#define N(field)                                                                                   \
    if (!read_field(r, #field, DIM_MAX, &c->field))                                                \
        return false;
    CONVOLUTION_NUMBERS(N)
#undef N
#define P(field)                                                                                   \
    if (!read_strides(r, #field, 2, c->field))                                                     \
        return false;
    CONVOLUTION_PAIRS(P)
#undef P
    if (!read_strides(r, "strides", 2, stride))
        return false;
    k->x_stride = stride[0];
    k->y_stride = stride[1];
    return expect(r, "}");
}

// The name becomes a symbol in generated code, hence letters, digits and _ only.
static bool read_name(Reader *r, Kernel *k) {
    const Word w = next(r);
    bool good = w.bytes > 0 && w.bytes <= NAME_MAX_BYTES && !(w.at[0] >= '0' && w.at[0] <= '9');
    for (size_t i = 0; good && i < w.bytes; i++)
        good = is_word_char(w.at[i]);
    if (!good)
        return unexpected(r, w, "a kernel name of at most 64 letters, digits and _");
    k->name = arena_text_span(r->arena, w.at, w.bytes);
    return true;
}

// "kernel NAME KIND" and what that kind has in its braces.
static bool read_kernel(Reader *r, Kernel *k) {
    if (!expect(r, "kernel") || !read_name(r, k))
        return false;
    // rows and columns are the two axes of a scalar kernel.
    const int kind = read_word(r, kernel_kind_words, WORD_KINDS,
                               "rows, columns, product, convolution, attention, "
                               "attention_grad or attention_grad_bias");
    switch (kind) {
    case WORD_ROWS:
    case WORD_COLUMNS:
        k->kind = KERNEL_SCALAR;
        k->axis = kind == WORD_ROWS ? KERNEL_ROWS : KERNEL_COLUMNS;
        return read_scalar(r, k);
    case WORD_PRODUCT:
        k->kind = KERNEL_PRODUCT;
        return read_product(r, &k->product);
    case WORD_CONVOLUTION:
        k->kind = KERNEL_CONVOLUTION;
        return read_convolution(r, &k->convolution);
    case WORD_ATTENTION:
    case WORD_ATTENTION_GRAD:
    case WORD_ATTENTION_GRAD_BIAS:
        k->kind = kind == WORD_ATTENTION        ? KERNEL_ATTENTION
                  : kind == WORD_ATTENTION_GRAD ? KERNEL_ATTENTION_GRAD
                                                : KERNEL_ATTENTION_GRAD_BIAS;
        return read_attention(r, k);
    default:
        return false;
    }
}

Kernel *kernel_parse(Arena *a, Diag *d, const char *file, const char *text, size_t bytes,
                     size_t *at) {
    Reader r = {.arena = a, .diag = d, .file = file, .text = text, .bytes = bytes, .at = *at};
    skip_blank(&r);
    // The verifier's diagnostics point here, at the word "kernel".
    const size_t start = r.at;
    *at = bytes; // After a mistake there is no telling where the next kernel begins
    if (start == bytes)
        return NULL;
    // Zeroed: fields of other kinds and dims past the rank are 0, on which kernel_equal counts.
    Kernel *k = arena_new(a, Kernel);
    if (!read_kernel(&r, k) || !kernel_verify(k, d, loc_at(&r, start)))
        return NULL;
    *at = r.at;
    return k;
}
