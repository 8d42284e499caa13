// What an error code means: the paragraphs of docs/errors.md, carried inside plimc.
#ifndef PLIM_TOOLS_EXPLAIN_H
#define PLIM_TOOLS_EXPLAIN_H

// Prints the paragraph of a code ("P0123"). 0, or 1 after a sentence where there is none.
int explain_code(const char *code);

#endif
