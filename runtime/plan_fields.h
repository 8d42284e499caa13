// One description of every struct of a plan: what encode, decode, print and parse have in common.
//
// A struct is a row of fields in the order of both its forms. A field says where it lies in the C
// struct, what it holds, the word that stands before it in text, and when text leaves it out.
// Adding a field to the plan is one row in plan_fields.c.
#ifndef PLIM_RUNTIME_PLAN_FIELDS_H
#define PLIM_RUNTIME_PLAN_FIELDS_H

#include "runtime/plan.h"

typedef enum {
    FIELD_U32,
    FIELD_U64,
    FIELD_HEX, // u64, hexadecimal in text
    FIELD_I64,
    FIELD_F64,       // finite
    FIELD_ENUM,      // u32 below name_count, a word in text
    FIELD_REF,       // u32 index of what ref names
    FIELD_NAME,      // string, bare in text where it looks like a word
    FIELD_STRING,    // string, quoted
    FIELD_BLOCK,     // string, a line each after "|"; last of its struct
    FIELD_SHAPE,     // dtype, rank and dims
    FIELD_FIXED_I64, // array of length numbers
    FIELD_LIST_I64,  // count and pointer
    FIELD_LIST_REF,  // count and pointer to u32 indices
    FIELD_INLINE,    // count and pointer to structs, in parentheses
    FIELD_LINES      // count and pointer to structs, a line each
} FieldType;

typedef enum { OMIT_NEVER, OMIT_ZERO, OMIT_NONE /* UINT32_MAX */ } FieldOmit;

typedef enum {
    REF_SPACE,
    REF_BUFFER,
    REF_STATE,
    REF_SEGMENT,
    REF_ENTRY,
    REF_KERNEL,
    REF_CALLED, // the kernel of an instruction: none for fills, copies and collectives
    REF_STREAM,
    REF_EVENT // of the segment
} FieldRef;

typedef struct FieldStruct FieldStruct;

typedef struct {
    FieldType type;
    const char *lead;         // text before the value: a word, a mark, or "" for none
    FieldOmit omit;           // when text leaves lead and value out
    size_t offset;            // in the C struct; FIELD_SHAPE: of the dtype
    size_t count_offset;      // lists: of the count; FIELD_SHAPE: of the rank
    size_t dim_offset;        // FIELD_SHAPE: of the dims
    uint32_t length;          // FIELD_FIXED_I64
    FieldRef ref;             // FIELD_REF, FIELD_LIST_REF
    const char *const *names; // FIELD_ENUM
    uint32_t name_count;      // FIELD_ENUM
    const FieldStruct *of;    // FIELD_INLINE, FIELD_LINES
} Field;

struct FieldStruct {
    const char *word;  // begins the line of an element; "" where its label does
    const char *label; // before the element's number: "b" in "buffer b12"; NULL for no number
    size_t size;       // of the C struct
    bool events;       // a segment: REF_EVENT inside it is checked against its events
    uint32_t count;
    const Field *field;
};

// The Plan itself; version and digest are the header's.
const FieldStruct *plan_fields(void);
// Fewest bytes the binary form of a struct or of one element of a list takes.
size_t field_struct_least(const FieldStruct *s);
size_t field_element_least(const Field *f);

// Reading and writing a field of the struct at object.
uint32_t field_u32(const void *object, size_t offset);
uint64_t field_u64(const void *object, size_t offset);
const char *field_string(const void *object, const Field *f); // "" for NULL
const void *field_list(const void *object, const Field *f);   // the list's first element
void field_set(void *object, size_t offset, const void *value, size_t size);
// The index of FIELD_REF; UINT32_MAX for none, and for an instruction without kernel.
uint32_t field_ref(const void *object, const Field *f);
// Whether text leaves the field out.
bool field_is_omitted(const void *object, const Field *f);
// Letter before the index in text, or "".
const char *field_ref_letter(FieldRef ref);
const char *field_ref_noun(FieldRef ref);
// How many there are to refer to.
uint32_t field_ref_limit(const Plan *p, const PlanSegment *segment, FieldRef ref);

// Every index in range, for a plan read from outside. error names the field.
PlimStatus plan_check_refs(const Plan *p, PlimError *error);
// Bytes of the UTF-8 character at text (size >= 1); 0 where there is none, or NUL.
size_t plan_utf8_character(const char *text, size_t size);
// Length of the longest valid UTF-8 prefix without NUL.
size_t plan_utf8_prefix(const char *text, size_t size);
// A new string of size bytes. NULL when there is no memory.
char *plan_string_new(PlanMemory *pm, const char *text, size_t size);

#endif
