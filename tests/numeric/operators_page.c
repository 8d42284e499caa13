// Prints docs/operators.md from the operator table; a test compares the two.
#include "ir/op.h"

#include <stdio.h>

static const char *const family_name[] = {
    [FAMILY_LEAF] = "Leaf",
    [FAMILY_POINTWISE] = "Pointwise",
    [FAMILY_SHAPE] = "Shape",
    [FAMILY_REDUCE] = "Reduce",
    [FAMILY_ROWWISE] = "Rowwise",
    [FAMILY_CONTRACTION] = "Contraction",
    [FAMILY_CONVOLUTION] = "Convolution",
    [FAMILY_ATTENTION] = "Attention",
    [FAMILY_CHANNEL] = "Channel",
    [FAMILY_INDEXED] = "Indexed",
    [FAMILY_UPDATE] = "Update",
    [FAMILY_MOVE] = "Move",
    [FAMILY_TRAINING] = "Training",
};

static const char *const lowering_name[] = {
    [LOWER_NONE] = "nothing runs",        [LOWER_SCALAR] = "scalar program",
    [LOWER_ROWS] = "row program",         [LOWER_COLUMNS] = "column program",
    [LOWER_VIEW] = "view or copy",        [LOWER_PRODUCT] = "matrix product",
    [LOWER_CONVOLUTION] = "convolution",  [LOWER_ATTENTION] = "template",
    [LOWER_SCATTER] = "scatter program",  [LOWER_PART] = "part program",
    [LOWER_MOVE] = "copy between spaces", [LOWER_EXPANDED] = "other operators",
};

// "2 -> 1", "1 to 2 -> 1", "1 or more -> many".
static void print_counts(const OpInfo *info) {
    if (info->input_max < 0)
        printf("%d or more", info->input_min);
    else if (info->input_max > info->input_min)
        printf("%d to %d", info->input_min, info->input_max);
    else
        printf("%d", info->input_min);
    if (info->result_count < 0)
        printf(" -> many");
    else
        printf(" -> %d", info->result_count);
}

// A bar would end the cell.
static void print_cell(const char *text) {
    for (; *text; text++) {
        if (*text == '|')
            putchar('\\');
        putchar(*text);
    }
}

static void print_row(const OpInfo *info) {
    printf("| `%s` | ", info->name);
    print_counts(info);
    printf(" | %s%s%s | %s | %s | ", info->attrs[0] ? "`" : "", info->attrs,
           info->attrs[0] ? "`" : "", info->gradient ? "yes" : "", lowering_name[info->lowering]);
    print_cell(info->help);
    printf(" |\n");
}

int main(void) {
    printf("<!-- Made by tests/numeric/operators_page.c from ir/ops.def: don't edit. -->\n"
           "# Operators\n\n"
           "Operators of the graph text. Operands and results are counted; an attribute is "
           "`name:kind`, `?` when it\n"
           "may be left out. Shapes: pointwise operators want equal shapes, broadcasts are "
           "explicit; rowwise operators\n"
           "work along the last axis. docs/adding-an-operator.md says how to add one.\n");
    int family = -1;
    for (int op = 0; op < OP_COUNT; op++) {
        const OpInfo *info = op_info((Op)op);
        if ((int)info->family != family) {
            family = (int)info->family;
            printf(
                "\n## %s\n\n"
                "| operator | operands -> results | attributes | gradient | becomes | meaning |\n"
                "|---|---|---|---|---|---|\n",
                family_name[family]);
        }
        print_row(info);
    }
    return 0;
}
