// The syntax tree of the model language, as the parser leaves it. Nothing here has been checked
// beyond the grammar (docs/language.md); names are interned.
#ifndef PLIM_FRONTEND_AST_H
#define PLIM_FRONTEND_AST_H

#include "frontend/source.h"
#include "ir/type.h"

typedef struct Expr Expr;
typedef struct Stmt Stmt;

typedef enum {
    EXPR_NONE,
    EXPR_BOOL,
    EXPR_INT,
    EXPR_FLOAT,
    EXPR_TEXT,
    EXPR_NAME,
    EXPR_HOLE,     // _
    EXPR_LIST,     // [args]
    EXPR_TUPLE,    // (args)
    EXPR_CALL,     // left(args), with or without a label
    EXPR_INDEX,    // left[args]
    EXPR_FIELD,    // left.text
    EXPR_NEGATE,   // -left
    EXPR_NOT,      // not left
    EXPR_BINARY,   // left op right
    EXPR_RANGE,    // left .. right, either may be NULL
    EXPR_ELLIPSIS, // ... or ...text
} ExprKind;

typedef enum {
    BINARY_OR,
    BINARY_AND,
    BINARY_EQ,
    BINARY_NE,
    BINARY_LT,
    BINARY_LE,
    BINARY_GT,
    BINARY_GE,
    BINARY_ADD,
    BINARY_SUB,
    BINARY_MUL,
    BINARY_DIV,
    BINARY_MATMUL
} BinaryOp;

// A piece of a label: a name or number as written, or {name}. layer{i}.0 has three.
typedef struct {
    const char *text;
    bool is_value; // {text}: the value of that name
    bool joined;   // no dot before it
} LabelPart;

typedef struct {
    Loc loc;
    int count;
    LabelPart *part;
} Label;

// An argument or element. name is NULL where it is positional.
typedef struct {
    const char *name;
    Loc loc;
    Expr *value;
} Arg;

typedef struct {
    int count, capacity;
    Arg *at;
} Args;

struct Expr {
    ExprKind kind;
    BinaryOp op; // EXPR_BINARY
    Loc loc;
    union {
        bool truth;
        int64_t whole;
        double real;
        const char *text; // EXPR_TEXT, EXPR_NAME, EXPR_FIELD, EXPR_ELLIPSIS (or NULL)
        Label *label;     // EXPR_CALL, or NULL
    } as;
    Expr *left, *right;
    Args args;
};

// f32, f32[b, s], [b, s]. A dim is an expression or EXPR_ELLIPSIS.
typedef struct {
    Loc loc;
    bool has_dtype, has_shape;
    DType dtype;
    Args dims;
} TypeExpr;

// A parameter of a fn, model or entry.
typedef struct {
    const char *name;
    Loc loc;
    TypeExpr *type; // NULL: anything
    Expr *fallback; // NULL: none
    int key_count;
    const char **key;   // as "key" or "other key": where a published config has it
    Expr *allowed;      // in (values), or NULL: any
    const char *loader; // from loader, or NULL
} Param;

typedef struct {
    int count, capacity;
    Param *at;
} Params;

typedef struct {
    int count, capacity;
    Stmt **at;
} Body;

// name = value in config, at and minimize blocks.
typedef struct {
    const char *name;
    Loc loc;
    Expr *value;
} Setting;

typedef struct {
    int count, capacity;
    Setting *at;
} Settings;

typedef struct {
    Loc loc;
    int glob_count, glob_capacity;
    const char **glob;
    Loc *glob_loc;
    Settings settings;
} RuleDecl;

typedef struct {
    const char *name;
    Loc loc;
    const Source *source;
    Params params;
    Body body;
} FnDecl;

typedef struct {
    const char *name;
    Loc loc;
    Params params;
    const char *variant; // for variant in variants, or NULL
    Expr *variants;
    Body body;
} EntryDecl;

typedef struct {
    const char *name;
    Loc loc;
    Settings settings;
} ConfigDecl;

// param or state.
typedef struct {
    Loc loc;
    bool is_param, transient;
    TypeExpr *type;
    Expr *init;      // NULL: the default
    const char *key; // as "key", or NULL
} LeafDecl;

typedef enum {
    STMT_ASSIGN, // names = value, or name = leaf
    STMT_STORE,  // left <- value
    STMT_RETURN, // value may be NULL
    STMT_FOR,    // for names[0] in value body
    STMT_IF,     // if value body else other
    STMT_EMIT,   // emit names[0] = value
    STMT_MINIMIZE,
    STMT_RULE,
    STMT_FN,
    STMT_ENTRY,
    STMT_CONFIG,
    STMT_TOKENIZER, // tokenizer "text"
    STMT_EXPR
} StmtKind;

struct Stmt {
    StmtKind kind;
    Loc loc;
    int name_count;
    const char **name;
    Loc *name_loc;
    Expr *left, *value;
    LeafDecl *leaf;
    Body body, other;
    Settings settings; // minimize
    int rule_count, rule_capacity;
    RuleDecl **rule; // minimize: several; STMT_RULE: one
    FnDecl *fn;
    EntryDecl *entry;
    ConfigDecl *config;
    const char *text;
};

typedef struct {
    const char *name;
    Loc loc;
    Params params;
    Body body;
} ModelDecl;

typedef struct {
    Loc loc;
    const char *path;  // use "path" as alias, or NULL
    const char *alias; // the name it gets
} UseDecl;

// A whole file.
typedef struct {
    const Source *source;
    int use_count, use_capacity;
    UseDecl *use;
    int fn_count, fn_capacity;
    FnDecl **fn;
    int model_count, model_capacity;
    ModelDecl **model;
} FileDecl;

// Whether two expressions are written alike (names, numbers, operators; false for calls and for
// very long ones).
bool expr_same(const Expr *x, const Expr *y);

#endif
