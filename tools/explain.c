// Finds a code's section in docs/errors.md: "## P0123: title" up to the next heading.
#include "tools/explain.h"

#include "tools/errors_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

int explain_code(const char *code) {
    char heading[16];
    const char *text = (const char *)plim_errors_text;
    // P and four digits, in either case of the letter.
    if (strlen(code) == 5 && (code[0] == 'P' || code[0] == 'p') &&
        isdigit((unsigned char)code[1])) {
        snprintf(heading, sizeof heading, "## P%.4s", code + 1);
        const char *at = strstr(text, heading);
        if (at) {
            // The last code's section ends with the text.
            const char *end = strstr(at + 1, "\n## ");
            const size_t length = end ? (size_t)(end - at) : strlen(at);
            // Without "## ".
            printf("%.*s\n", (int)(length - 3), at + 3);
            return 0;
        }
    }
    fprintf(stderr, "plimc: there is no error code %s; codes look like P0301\n", code);
    return 1;
}
