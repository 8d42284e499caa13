// The numbers of the frontend's errors: P0201 is 201. docs/errors.md has a paragraph for each.
#ifndef PLIM_FRONTEND_CODE_H
#define PLIM_FRONTEND_CODE_H

enum {
    // Lexer and parser.
    CODE_CHARACTER = 101, // a character the language does not use
    CODE_STRING = 102,    // a string that does not end, or a wrong escape
    CODE_NUMBER = 103,    // a number that can't be read
    CODE_SYNTAX = 104,    // something else was expected
    CODE_MISPLACED = 105, // a statement that can't stand here
    CODE_ASSIGN = 106,    // a left side that can't be assigned
    CODE_LABEL = 107,     // a label that names no call
    // Names and calls.
    CODE_NAME = 201,     // unknown name
    CODE_FIELD = 202,    // unknown name in a namespace, or unknown field
    CODE_ARGUMENT = 203, // unknown, doubled or surplus argument
    CODE_MISSING = 204,  // argument or size without a value
    CODE_NOT_FUNCTION = 205,
    CODE_RECURSION = 206,
    CODE_UNSUPPORTED = 207,
    CODE_LABEL_TWICE = 208,
    CODE_PARAM_TWICE = 209,
    CODE_CONFIG = 210, // unknown config
    CODE_SIZE = 211,   // unknown or unreadable size
    CODE_USE = 212,    // a file that can't be used
    CODE_USE_CYCLE = 213,
    CODE_DEFINED_TWICE = 214,
    CODE_MODEL = 215,       // no such model
    CODE_ENTRY = 216,       // no such entry, or a wrong one
    CODE_UNPACK = 217,      // names and values differ in number
    CODE_KIND = 218,        // another kind of value was expected
    CODE_STORE = 219,       // `<-` into something that is not state
    CODE_HOLE = 220,        // an open argument without a label
    CODE_VALUE = 221,       // a value out of its range
    CODE_PUBLISHED = 222,   // a published name with misplaced braces
    CODE_EMITTED = 224,     // a pattern that matches nothing emitted
    CODE_CONFIG_FILE = 229, // a published config that does not fit the model
    // Shapes and types.
    CODE_SHAPE = 331, // an argument's shape is not the signature's
    CODE_BROADCAST = 332,
    CODE_DTYPE = 333,
    CODE_INDEX = 334,
    CODE_WHOLE = 335,      // a size that is not a whole number
    CODE_PATTERN = 336,    // a pattern of axes that can't be read
    CODE_AXES = 337,       // a pattern that does not fit the shapes
    CODE_AXIS = 338,       // no such axis
    CODE_PRODUCT = 339,    // a matrix product whose sizes differ
    CODE_STATE_TYPE = 340, // state seen with two types
    CODE_OPERAND = 341,    // an operand of a wrong shape
    // Limits.
    CODE_DEPTH = 411,
    CODE_FILE_SIZE = 412,
    CODE_OPERATORS = 413,
    CODE_WORK = 414, // evaluation took too many steps
    CODE_RANK = 415,
    CODE_DIM = 416,
    CODE_OVERFLOW = 417,
    CODE_SYNTAX_SIZE = 418, // too many syntax nodes
    // Training and rules.
    CODE_MINIMIZE = 501, // a minimize in a wrong place or of a wrong thing
    CODE_SETTING = 502,  // unknown or wrong setting
    CODE_RULE = 503,     // a rule or glob that matches nothing
    CODE_GLOB = 504,     // a glob that can't be read
    CODE_ACCUMULATE = 505,
    CODE_TWICE_TRAINED = 506,
    CODE_FUSED = 507,
    CODE_RATE = 508, // a learning rate that depends on data
    CODE_INIT = 509,
    CODE_GRAD = 510, // a gradient that does not exist
    CODE_WRAP = 511,   // a wrap that is no call with two open arguments, or of nothing
    CODE_STORED = 512, // a parameter to be trained that is stored as bf16
};

#endif
