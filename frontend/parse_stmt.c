// Statements and their blocks. After a mistake the statement loop skips to the next line (over
// whole inner blocks), so that each wrong statement is reported and the others are still read.
//
// Blocks are read by one function, parse_block, with a function for their items: bodies, settings,
// and the block of a minimize. On exit of a block its closing brace is consumed, or an error was
// reported; at the end of the text the innermost open block is named, and the blocks around it say
// nothing more.
#include "frontend/parser.h"

#include "frontend/code.h"

// Placed at the current token. Zeroed memory is an empty list for all its parts.
static Stmt *stmt_new(Parser *p, StmtKind kind) {
    Stmt *s = arena_new(p->arena, Stmt);
    s->kind = kind;
    s->loc = p->token.loc;
    return s;
}

// Doubled names are kept: who reads the settings has the message for them.
static void settings_add(Parser *p, Settings *out, Setting setting) {
    if (out->count == out->capacity) {
        const int capacity = out->capacity ? out->capacity * 2 : 4;
        out->at =
            arena_grow(p->arena, out->at, (size_t)out->count, (size_t)capacity, sizeof(Setting));
        out->capacity = capacity;
    }
    out->at[out->count++] = setting;
}

// The end of a statement: a newline, or the block's end.
// The block's brace ends its last statement: `{ return x }` fits on one line.
static void end_stmt(Parser *p) {
    if (p->panic || p->token.kind == TOKEN_CLOSE_BODY || p->token.kind == TOKEN_END)
        return;
    parser_expect(p, TOKEN_NEWLINE, "the end of the line");
}

// Skips to the next line or the end of this block, over inner blocks.
static void resync(Parser *p) {
    if (p->stopped)
        return;
    p->panic = false;
    // An open bracket of the broken statement would hide the newline that ends it.
    p->lexer.depth = 0;
    // Blocks opened since the mistake and not yet closed.
    int inner = 0;
    while (p->token.kind != TOKEN_END) {
        if (p->token.kind == TOKEN_OPEN_BODY)
            inner++;
        // This block's own brace is left for parse_block.
        if (p->token.kind == TOKEN_CLOSE_BODY && inner-- == 0)
            return;
        const bool ended = p->token.kind == TOKEN_NEWLINE && inner == 0;
        parser_advance(p);
        // Brackets that are skipped don't count either.
        p->lexer.depth = 0;
        if (ended)
            return;
    }
}

// { item NL ... }: calls item for each. Braces count against the depth limit.
static bool parse_block(Parser *p, void (*item)(Parser *p, void *out), void *out) {
    // For the note at the end of a text that does not close this block.
    const Loc open = p->token.loc;
    if (!parser_expect(p, TOKEN_OPEN_BODY, "`{`"))
        return false;
    if (!parser_enter(p))
        return false;
    while (!p->stopped) {
        // Empty lines; a semicolon ends a statement as well, and several are one token.
        while (parser_accept(p, TOKEN_NEWLINE))
            continue;
        if (p->token.kind == TOKEN_CLOSE_BODY || p->token.kind == TOKEN_END)
            break;
        // A mistake in the item, or behind it on its line, costs this line only.
        item(p, out);
        end_stmt(p);
        if (p->panic)
            resync(p);
    }
    p->depth--;
    // An inner block has found the end of the text, or a limit was passed.
    if (p->stopped)
        return false;
    if (p->token.kind == TOKEN_END) {
        parser_fail(p, "`}`");
        diag_note(p->diag, open, "to match this");
        p->stopped = true; // the blocks around it would only say the same
        return false;
    }
    parser_advance(p);
    return true;
}

static void parse_body_item(Parser *p, void *out) {
    Body *body = out;
    Stmt *s = parse_stmt(p);
    // A statement that broke off is not kept; after an error nothing is elaborated.
    if (p->panic)
        return;
    if (body->count == body->capacity) {
        const int capacity = body->capacity ? body->capacity * 2 : 8;
        body->at =
            arena_grow(p->arena, body->at, (size_t)body->count, (size_t)capacity, sizeof(Stmt *));
        body->capacity = capacity;
    }
    body->at[body->count++] = s;
}

bool parse_body(Parser *p, Body *out) {
    return parse_block(p, parse_body_item, out);
}

// name = expr {, expr}
static Setting parse_setting(Parser *p) {
    Setting out = {.name = p->token.text, .loc = p->token.loc};
    if (!parser_expect(p, TOKEN_NAME, "a setting: name = value") ||
        !parser_expect(p, TOKEN_ASSIGN, "`=`"))
        return out;
    out.value = parse_exprs(p);
    return out;
}

static void parse_setting_item(Parser *p, void *out) {
    const Setting setting = parse_setting(p);
    if (!p->panic)
        settings_add(p, out, setting);
}

// at "glob", "glob" { name = value }
static RuleDecl *parse_rule(Parser *p) {
    RuleDecl *rule = arena_new(p->arena, RuleDecl);
    rule->loc = p->token.loc;
    parser_advance(p);
    // At least one glob. The two arrays have one capacity.
    do {
        const Token glob = p->token;
        if (!parser_expect(p, TOKEN_TEXT, "a path in quotes"))
            return rule;
        if (rule->glob_count == rule->glob_capacity) {
            const size_t old = (size_t)rule->glob_count, capacity = old ? old * 2 : 4;
            rule->glob = arena_grow(p->arena, rule->glob, old, capacity, sizeof *rule->glob);
            rule->glob_loc = arena_grow(p->arena, rule->glob_loc, old, capacity, sizeof(Loc));
            rule->glob_capacity = (int)capacity;
        }
        rule->glob[rule->glob_count] = glob.text;
        rule->glob_loc[rule->glob_count++] = glob.loc;
    } while (parser_accept(p, TOKEN_COMMA));
    parse_block(p, parse_setting_item, &rule->settings);
    return rule;
}

// `at` is a name unless a text follows.
static bool at_rule(const Parser *p) {
    return parser_word(p, "at") && p->next.kind == TOKEN_TEXT;
}

static void stmt_add_rule(Parser *p, Stmt *s) {
    if (s->rule_count == s->rule_capacity) {
        const int capacity = s->rule_capacity ? s->rule_capacity * 2 : 4;
        s->rule =
            arena_grow(p->arena, s->rule, (size_t)s->rule_count, (size_t)capacity, sizeof *s->rule);
        s->rule_capacity = capacity;
    }
    RuleDecl *rule = parse_rule(p);
    if (!p->panic)
        s->rule[s->rule_count++] = rule;
}

// A line of a minimize block: a rule or a setting.
static void parse_minimize_item(Parser *p, void *out) {
    Stmt *s = out;
    if (at_rule(p))
        stmt_add_rule(p, s);
    else
        parse_setting_item(p, &s->settings);
}

// minimize expr { setting | rule }
static Stmt *parse_minimize(Parser *p) {
    Stmt *s = stmt_new(p, STMT_MINIMIZE);
    parser_advance(p);
    // The loss.
    s->value = parse_expr(p);
    if (!p->panic)
        parse_block(p, parse_minimize_item, s);
    return s;
}

// "key" or "key": under which a published config may have the value.
static void parse_param_keys(Parser *p, Param *param) {
    do {
        const char **key = arena_array(p->arena, const char *, param->key_count + 1);
        for (int i = 0; i < param->key_count; i++)
            key[i] = param->key[i];
        key[param->key_count] = p->token.text;
        if (!parser_expect(p, TOKEN_TEXT, "a config key in quotes"))
            return;
        param->key = key;
        param->key_count++;
    } while (parser_accept(p, TOKEN_OR));
}

// A default, its config keys and its allowed values; or a loader.
static void parse_param_tail(Parser *p, Param *param) {
    // What comes from a loader has no default.
    if (parser_accept_word(p, "from")) {
        param->loader = p->token.text;
        parser_expect(p, TOKEN_NAME, "a loader's name");
        return;
    }
    if (!parser_accept(p, TOKEN_ASSIGN))
        return;
    param->fallback = parse_expr(p);
    if (!p->panic && parser_accept_word(p, "as"))
        parse_param_keys(p, param);
    if (!p->panic && parser_accept(p, TOKEN_IN))
        param->allowed = parse_expr(p);
}

// name, name: type, each with `from loader` or `= default as "key"`.
static void parse_param(Parser *p, Params *out) {
    Param param = {.name = p->token.text, .loc = p->token.loc};
    // The lexer takes `name:` for a label, so a dotted one must be refused here.
    if (parser_accept(p, TOKEN_LABEL)) {
        for (const char *c = param.name; *c; c++)
            if (*c == '.') {
                diag_error(p->diag, param.loc, CODE_SYNTAX, "a parameter's name has no dots: %s",
                           param.name);
                p->panic = true;
                return;
            }
        param.type = parse_type(p);
    } else if (!parser_expect(p, TOKEN_NAME, "a parameter's name")) {
        return;
    }
    if (!p->panic)
        parse_param_tail(p, &param);
    if (out->count == out->capacity) {
        const int capacity = out->capacity ? out->capacity * 2 : 4;
        out->at =
            arena_grow(p->arena, out->at, (size_t)out->count, (size_t)capacity, sizeof(Param));
        out->capacity = capacity;
    }
    out->at[out->count++] = param;
}

// Newlines are blanks inside the brackets.
bool parse_params(Parser *p, Params *out) {
    const Loc open = p->token.loc;
    if (!parser_expect(p, TOKEN_OPEN, "`(`"))
        return false;
    // A comma may stand behind the last parameter.
    while (!p->panic && p->token.kind != TOKEN_CLOSE) {
        parse_param(p, out);
        if (!p->panic && p->token.kind != TOKEN_CLOSE &&
            !parser_expect(p, TOKEN_COMMA, "`,` or `)`"))
            diag_note(p->diag, open, "to match this");
    }
    return !p->panic && parser_accept(p, TOKEN_CLOSE);
}

// `in (...)` holds for a model's sizes, which are given from outside.
static bool params_allow_all(Parser *p, const Params *params) {
    for (int i = 0; i < params->count; i++)
        if (params->at[i].allowed) {
            p->panic = true;
            return diag_error(p->diag, params->at[i].allowed->loc, CODE_MISPLACED,
                              "only sizes of a model say which values they may have");
        }
    return true;
}

FnDecl *parse_fn(Parser *p) {
    FnDecl *fn = arena_new(p->arena, FnDecl);
    // Messages from inside the body are shown in this text, wherever it is called from.
    fn->source = p->lexer.source;
    parser_advance(p);
    fn->name = p->token.text;
    fn->loc = p->token.loc;
    if (parser_expect(p, TOKEN_NAME, "the function's name") && parse_params(p, &fn->params) &&
        params_allow_all(p, &fn->params))
        parse_body(p, &fn->body);
    return fn;
}

// entry name(params) [for s in sizes] { ... }
static EntryDecl *parse_entry(Parser *p) {
    EntryDecl *entry = arena_new(p->arena, EntryDecl);
    parser_advance(p);
    entry->name = p->token.text;
    entry->loc = p->token.loc;
    if (!parser_expect(p, TOKEN_NAME, "the entry's name") || !parse_params(p, &entry->params) ||
        !params_allow_all(p, &entry->params))
        return entry;
    // One graph for each size of a list, unless the sizes are left out.
    if (parser_accept(p, TOKEN_FOR)) {
        entry->variant = p->token.text;
        if (!parser_expect(p, TOKEN_NAME, "a name after `for`") ||
            !parser_expect(p, TOKEN_IN, "`in`"))
            return entry;
        entry->variants = parse_expr(p);
    }
    if (!p->panic)
        parse_body(p, &entry->body);
    return entry;
}

// config name { ... }, config "124m" { ... }
static ConfigDecl *parse_config(Parser *p) {
    ConfigDecl *config = arena_new(p->arena, ConfigDecl);
    // A name or a text: parse_word_stmt has looked at it.
    parser_advance(p);
    config->name = p->token.text;
    config->loc = p->token.loc;
    parser_advance(p);
    parse_block(p, parse_setting_item, &config->settings);
    return config;
}

// param type ~ init as "key"; state type transient ~ init as "key"
static LeafDecl *parse_leaf(Parser *p) {
    LeafDecl *leaf = arena_new(p->arena, LeafDecl);
    leaf->loc = p->token.loc;
    // The current token is `param` or `state`; take_names has the name.
    leaf->is_param = p->token.kind == TOKEN_PARAM;
    parser_advance(p);
    leaf->type = parse_type(p);
    // Parameters are always saved, so only state can be transient.
    if (!p->panic && !leaf->is_param)
        leaf->transient = parser_accept_word(p, "transient");
    if (!p->panic && parser_accept(p, TOKEN_TILDE))
        leaf->init = parse_expr(p);
    if (!p->panic && parser_accept_word(p, "as")) {
        leaf->key = p->token.text;
        parser_expect(p, TOKEN_TEXT, "a published name in quotes");
    }
    return leaf;
}

// The left side of an assignment: one name or several.
static void take_names(Parser *p, Stmt *s, const Expr *left) {
    // `a, b = f(x)` and `(a, b) = f(x)` are the same tree.
    const bool several = left->kind == EXPR_TUPLE;
    s->name_count = several ? left->args.count : 1;
    s->name = arena_array(p->arena, const char *, s->name_count);
    s->name_loc = arena_array(p->arena, Loc, s->name_count);
    for (int i = 0; i < s->name_count; i++) {
        const Expr *name = several ? left->args.at[i].value : left;
        if (name->kind != EXPR_NAME) {
            diag_error(p->diag, name->loc, CODE_ASSIGN, "only names can be assigned");
            diag_help(p->diag, "values don't change; to store to state write `target <- value`");
            p->panic = true;
            return;
        }
        s->name[i] = name->as.text;
        s->name_loc[i] = name->loc;
    }
}

// names = exprs, name = leaf, left <- value, or an expression.
static Stmt *parse_simple(Parser *p) {
    Stmt *s = stmt_new(p, STMT_EXPR);
    // Read as expressions: only the token behind them tells what they are.
    Expr *left = parse_exprs(p);
    if (p->panic)
        return s;
    if (parser_accept(p, TOKEN_ASSIGN)) {
        s->kind = STMT_ASSIGN;
        take_names(p, s, left);
        if (p->panic)
            return s;
        // A leaf is no expression, since it must get a name here.
        if (p->token.kind != TOKEN_PARAM && p->token.kind != TOKEN_STATE) {
            s->value = parse_exprs(p);
            return s;
        }
        if (s->name_count != 1) {
            diag_error(p->diag, p->token.loc, CODE_ASSIGN, "one leaf can't have %d names",
                       s->name_count);
            p->panic = true;
            return s;
        }
        s->leaf = parse_leaf(p);
    } else if (parser_accept(p, TOKEN_STORE)) {
        s->kind = STMT_STORE;
        s->left = left;
        s->value = parse_expr(p);
    } else {
        s->value = left;
    }
    return s;
}

static Stmt *parse_return(Parser *p) {
    Stmt *s = stmt_new(p, STMT_RETURN);
    parser_advance(p);
    // With nothing behind it the value stays NULL, which is none.
    const TokenKind kind = p->token.kind;
    if (kind != TOKEN_NEWLINE && kind != TOKEN_CLOSE_BODY && kind != TOKEN_END)
        s->value = parse_exprs(p);
    return s;
}

// A keyword and the name behind it: `for i`, `emit loss`.
static Stmt *parse_named(Parser *p, StmtKind kind) {
    Stmt *s = stmt_new(p, kind);
    parser_advance(p);
    s->name_count = 1;
    s->name = arena_new(p->arena, const char *);
    s->name_loc = arena_new(p->arena, Loc);
    s->name[0] = p->token.text;
    s->name_loc[0] = p->token.loc;
    parser_expect(p, TOKEN_NAME, "a name");
    return s;
}

// for name in expr { ... }
static Stmt *parse_for(Parser *p) {
    Stmt *s = parse_named(p, STMT_FOR);
    // A range or a list; which of them is seen when it is evaluated.
    if (p->panic || !parser_expect(p, TOKEN_IN, "`in`"))
        return s;
    s->value = parse_expr(p);
    if (!p->panic)
        parse_body(p, &s->body);
    return s;
}

// emit name = expr
static Stmt *parse_emit(Parser *p) {
    Stmt *s = parse_named(p, STMT_EMIT);
    if (!p->panic && parser_expect(p, TOKEN_ASSIGN, "`=`"))
        s->value = parse_expr(p);
    return s;
}

// A chain of `else if` nests, and so counts against the depth.
static Stmt *parse_if(Parser *p) {
    Stmt *s = stmt_new(p, STMT_IF);
    // Before the recursion: a long chain must not use up the stack.
    if (!parser_enter(p))
        return s;
    parser_advance(p);
    s->value = parse_expr(p);
    if (!p->panic && parse_body(p, &s->body)) {
        // `else` may stand on the next line.
        // Where it does not, the newline stays and ends this statement.
        if (p->token.kind == TOKEN_NEWLINE && p->next.kind == TOKEN_ELSE)
            parser_advance(p);
        if (parser_accept(p, TOKEN_ELSE)) {
            if (p->token.kind == TOKEN_IF) {
                // A body of one statement.
                s->other.at = arena_new(p->arena, Stmt *);
                s->other.at[0] = parse_if(p);
                s->other.count = 1;
            } else {
                parse_body(p, &s->other);
            }
        }
    }
    p->depth--;
    return s;
}

// Statements that begin with a word which is a name elsewhere. NULL where it is none.
static Stmt *parse_word_stmt(Parser *p) {
    Stmt *s = NULL;
    if (at_rule(p)) {
        s = stmt_new(p, STMT_RULE);
        stmt_add_rule(p, s);
    } else if (parser_word(p, "config") &&
               (p->next.kind == TOKEN_NAME || p->next.kind == TOKEN_TEXT)) {
        s = stmt_new(p, STMT_CONFIG);
        s->config = parse_config(p);
    } else if (parser_word(p, "emit") && p->next.kind == TOKEN_NAME) {
        s = parse_emit(p);
    } else if (parser_word(p, "tokenizer") && p->next.kind == TOKEN_TEXT) {
        s = stmt_new(p, STMT_TOKENIZER);
        s->text = p->next.text;
        parser_advance(p);
        parser_advance(p);
    }
    return s;
}

// Chosen by the first word; words that are names elsewhere need the token behind them too.
Stmt *parse_stmt(Parser *p) {
    Stmt *s = NULL;
    // What begins with no word of a statement is an expression or the left side of one.
    switch ((int)p->token.kind) {
    case TOKEN_RETURN:
        return parse_return(p);
    case TOKEN_FOR:
        return parse_for(p);
    case TOKEN_IF:
        return parse_if(p);
    case TOKEN_MINIMIZE:
        return parse_minimize(p);
    case TOKEN_FN:
        s = stmt_new(p, STMT_FN);
        s->fn = parse_fn(p);
        return s;
    case TOKEN_ENTRY:
        s = stmt_new(p, STMT_ENTRY);
        s->entry = parse_entry(p);
        return s;
    case TOKEN_NAME:
        s = parse_word_stmt(p);
        return s ? s : parse_simple(p);
    default:
        return parse_simple(p);
    }
}
