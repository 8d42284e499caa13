// The page of plim-dump --html without a plan; made from the other files here when the tool is
// built (page.cmake, then embed_text.cmake).
#ifndef PLIM_TOOLS_HTML_PAGE_TEXT_H
#define PLIM_TOOLS_HTML_PAGE_TEXT_H

#include <stddef.h>

// PAGE_PLAN stands once in the text, where the plan goes.
#define PAGE_PLAN "@PLAN@"
extern const size_t plim_page_size;
extern const unsigned char plim_page_text[];

#endif
