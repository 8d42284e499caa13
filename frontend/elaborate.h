// Elaboration: syntax trees to graphs, by evaluating the text at compile time. What the files of
// the elaborator share: the state of a run, errors, and the evaluation of each part of the syntax.
#ifndef PLIM_FRONTEND_ELABORATE_H
#define PLIM_FRONTEND_ELABORATE_H

#include "frontend/code.h"
#include "frontend/names.h"
#include "ir/build.h"

// Limits on what a text may unfold to; checked while counting, before memory is taken.
enum {
    OPERATORS_MAX = 1000000,
    STEPS_MAX = 4000000, // expressions evaluated and list elements copied
    NESTING_MAX = 512,   // expressions inside expressions, through calls
    LOOP_MAX = 1000000,  // rounds of one loop
    ITEMS_MAX = 1000000  // elements of one list
};

// One application of a labelled call (or the entry itself): the labels and leaves it has reached.
typedef struct Application {
    const char *scope; // interned path, "" at the top
    Table used;        // interned path -> 0
} Application;

// A call of a fn under way, innermost first.
typedef struct CallSite {
    const FnDecl *decl;
    Loc loc;         // of the call
    bool in_library; // the call stands in the standard library
    struct CallSite *up;
} CallSite;

// A rule: the parsed globs and the evaluated settings of an `at` block.
typedef struct {
    Datum callee;
    const struct CallArg *args; // as written, with two holes: what is wrapped, and its argument
    int count;
} Wrap;

typedef struct {
    const RuleDecl *decl;
    int glob_count;
    struct Glob **glob;
    bool *matched; // by glob: some state matched
    double decay;  // negative: not said
    int frozen;    // 1, 0, or -1: not said
    int training;  // 1, 0, or -1: not said
    const Wrap *wrap; // or NULL
    bool wrapped;     // a call was
    DType store;      // of the state itself; DT_COUNT: not said
    DType precision;  // of what is computed with it; DT_COUNT: not said
} Rule;

typedef struct {
    int count;
    Rule **at;
} Rules;

// A state and, while one entry is being elaborated, its versions there.
typedef struct {
    Init init;
    const char *key; // path that keys its first draw: of a copy, that of what it is a copy of
    const Value *trained; // loss of the minimize that changes it in this entry
    Value *read;          // its `state` node in this entry
    Value *current;       // what was stored last in this entry, or NULL
    Type type;            // as declared; the state itself may be stored in another element type
    const Factors *factors[RANK_MAX];
} StateSlot;

// A value that `emit` kept.
typedef struct {
    const char *path; // scope.name
    Datum value;
} Emitted;

// Parameters under one scope start as copies of those under another, and are not trained.
typedef struct {
    const char *scope, *of; // interned
} Copy;

typedef struct Elab {
    Arena *arena;
    Diag *diag;
    Intern *names;
    FrontendInput *in;
    FrontendFiles *files;
    Module *module;
    Builder builder;
    const FileDecl *file; // the file with the model
    const ModelDecl *model;
    Frame *file_frame;
    Rules rules; // of the model

    // The entry being elaborated.
    const EntryDecl *entry;
    bool training; // it has a minimize
    Value *step, *steps, *seed;
    Value *draw_step;   // what random draws take for the step: counts micro-batches
    Table draws;        // scope -> number of the last random draw made in it
    Table value_names;  // taken in this graph
    Table label_origin; // scope path -> index in origin[]: the syntax that made it
    const void **origin;
    int origin_count, origin_capacity;
    int64_t accumulate; // micro-batches
    int emitted_count, emitted_capacity;
    Emitted *emitted;   // in program order
    Frame *entry_frame; // minimize may stand only here

    // The place being evaluated.
    Frame *frame;
    Application *application;
    CallSite *call;
    const Source *source;
    Loc user_loc; // the innermost call outside the library
    int nesting;

    int slot_capacity;
    StateSlot *slot; // by State.id
    int64_t steps_done, operators_before;
    bool stopped; // a limit was passed: nothing more is evaluated

    Copy *copy; // in the order in which they were met
    int copy_count, copy_capacity;
    const char *part; // "q.weight": instances stand for their state of that name; NULL: for themselves

    const char *use_stack[64]; // files being read, against cycles
    int use_depth;
    Table used_files; // file name -> index in space[]
    const Namespace **space;
    int space_count, space_capacity;

    int reported_count;
    struct {
        Loc loc;
        int code;
    } reported[DIAG_ERRORS_MAX + 1]; // a mistake in a loop is told once
} Elab;

// --- errors ---
// Reports an error (once for each place and code) and gives DATUM_ERROR. Inside the standard
// library it points at the user's call and notes the library's line. help may be NULL.
Datum elab_fail(Elab *e, Loc loc, int code, const char *help, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
Datum elab_vfail(Elab *e, Loc loc, int code, const char *help, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));
// Adds to FrontendInput.remarks, about the current scope.
void elab_remark(Elab *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
// "did you mean x?" or NULL.
const char *elab_suggest(Elab *e, const char *word, const char *const *known, int count);
// Counts work; false once the limit is passed.
bool elab_spend(Elab *e, Loc loc, int64_t steps);

// --- making operators ---
// The builder, set to make operators for the expression at loc.
Builder *elab_at(Elab *e, Loc loc);
// The place operators and errors of loc are shown at: the user's line.
Loc elab_user_loc(const Elab *e, Loc loc);
// Notes the library's line when a builder call inside it has failed since errors were counted.
Datum elab_made(Elab *e, Loc loc, Value *v);
// Gives the value a name for people if the name is still free in the graph.
void elab_name_value(Elab *e, Value *v, const char *name);
// Inputs that exist on use.
Value *elab_step(Elab *e);
Value *elab_steps(Elab *e);
Value *elab_seed(Elab *e);
// What a random draw takes for its step: another number in every micro-batch of every step.
Value *elab_draw_step(Elab *e);
// The entry's f32 argument of that name; where it declares none, a knob that is made on first use. NULL
// after a diagnostic.
Value *elab_knob(Elab *e, Loc loc, const char *name, double fallback);

// --- evaluation (elab_expr.c, elab_index.c, elab_call.c, elab_stmt.c) ---
Datum elab_expr(Elab *e, const Expr *expr);
// What `training` is worth in this scope.
bool elab_is_training(Elab *e);
Datum elab_index(Elab *e, const Expr *expr);
Datum elab_call(Elab *e, const Expr *expr);
// The new value of a state after value is stored to the indexed part of it.
Value *elab_update_part(Elab *e, const Expr *target, Value *old, Datum value);
typedef struct CallArg {
    const char *name; // NULL: positional
    Loc loc;
    Datum value;
    bool hole;
} CallArg;
// Arguments in the caller's scope; holes counts those left open.
CallArg *elab_arguments(Elab *e, const Args *args, int *holes);
// Calls any callable with evaluated arguments.
Datum elab_apply(Elab *e, Loc loc, Datum callee, const CallArg *args, int count);
void elab_body(Elab *e, const Body *body);
void elab_emit(Elab *e, const Stmt *s);
// Binds names to the parts of a value: tuples, lists, and tensors along axis 0.
void elab_unpack(Elab *e, const Stmt *s, Datum value);
// Sizes of a shape. False after diagnostics.
typedef struct {
    int rank;
    int64_t dim[RANK_MAX];
    const Factors *factors[RANK_MAX];
} Shape;
bool elab_shape(Elab *e, const Args *dims, Loc loc, Shape *out);
bool elab_dim(Elab *e, Loc loc, Datum d, int64_t *out);

// --- instances (elab_instance.c) ---
Datum elab_instance(Elab *e, Loc loc, const char *scope, Datum callee, const CallArg *args,
                    int count);
Datum elab_call_instance(Elab *e, Loc loc, const Instance *in, const CallArg *args, int count);
// A call as a new application of that scope, wrapped where a rule of the model says so.
Datum elab_apply_in(Elab *e, Loc loc, const char *scope, Datum callee, const CallArg *args,
                    int count);
// The instance over parameters of its own, under the scope of the application.
Datum elab_copy_instance(Elab *e, Loc loc, const Instance *of);
// The path that the state at path is a copy of, or NULL.
const char *elab_copied_path(Elab *e, const char *path);
// The value of the instance's state that e->part names.
Datum elab_instance_part(Elab *e, Loc loc, const Instance *in);
// target <- value for each of the instance's parameters and saved states.
void elab_store_instance(Elab *e, const Stmt *stmt, const Instance *target);

// --- arithmetic (arith.c) ---
Datum arith_binary(Elab *e, Loc loc, BinaryOp op, Datum x, Datum y);
Datum arith_negate(Elab *e, Loc loc, Datum x);
Datum arith_not(Elab *e, Loc loc, Datum x);
// A pointwise operator of two tensors or numbers, broadcast.
Datum arith_pointwise(Elab *e, Loc loc, Op op, Datum x, Datum y);
// A tensor: the datum itself, or a scalar constant of a number or bool. NULL after a diagnostic.
const Array *arith_tensor(Elab *e, Loc loc, Datum d);
const Array *arith_float_tensor(Elab *e, Loc loc, Datum d);
// The datum as a tensor of that shape: constants and broadcasts. NULL after a diagnostic.
Value *arith_shaped(Elab *e, Loc loc, Datum d, const Type *shape);
// The shape both broadcast to. False after a diagnostic.
bool arith_common_shape(Elab *e, Loc loc, const Array *x, const Array *y, Type *out,
                        const Factors **factors);

// --- leaves (elab_leaf.c) ---
Datum elab_leaf(Elab *e, const LeafDecl *leaf, const char *name);
// The tensor a state is worth now.
Datum elab_state_value(Elab *e, State *s);
void elab_store(Elab *e, const Stmt *s);
// All of the state gets the value.
void elab_store_whole(Elab *e, Loc loc, State *state, Datum value);
// A state at path that starts as the other one does, and is not trained.
State *elab_copy_state(Elab *e, const State *of, const char *path);
StateSlot *elab_slot(Elab *e, const State *s);
// Reaches the path once in this application; false after a diagnostic.
bool elab_reach(Elab *e, Loc loc, int code, const char *path, const void *syntax);
// The graph "init": every state's first value.
void elab_init_entry(Elab *e, Graph *init);
// A stable 63-bit key of a text and a number.
int64_t elab_key(const char *text, int64_t ordinal);

// --- sizes (sizes.c) ---
// Binds the model's sizes in the frame; diagnostics where a value is wrong.
void elab_sizes(Elab *e, Frame *frame);
// The size of that name in the model's header, or NULL.
const Param *elab_find_size(const Elab *e, const char *name);

// --- entries and training (elab_entry.c, elab_minimize.c, rules.c) ---
void elab_entries(Elab *e);
void elab_minimize(Elab *e, const Stmt *s);
// accumulate = N of the entry's minimize statements; 1 where none says so.
int64_t elab_find_accumulate(Elab *e, const Body *body);
// The name it is said by, accumulate = NAME; NULL where it is said otherwise or not at all.
const char *elab_accumulate_name(const Body *body);
bool elab_has_minimize(const Body *body);
// Parses an `at` block. NULL after diagnostics.
Rule *elab_rule(Elab *e, const RuleDecl *decl);
// Whether the rule speaks of the state: of its path, its published name, or a scope it is in.
// Remembers that it did.
bool rule_match(Rule *rule, const State *s);
// Whether it speaks of the scope or of one around it.
bool rule_match_path(Rule *rule, const char *path);
// Whether it speaks of the very scope.
bool rule_match_scope(Rule *rule, const char *scope);

// A path pattern: `*` inside a component, `**` for any number of components, {a,b} for either.
typedef struct Glob Glob;
Glob *glob_parse(Arena *a, Diag *d, Loc loc, const char *text);
bool glob_match(const Glob *g, const char *path);

#endif
