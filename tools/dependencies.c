// Names are written as gcc -MD does: a space or # gets a backslash (and backslashes before a space
// are doubled), a $ is doubled. A newline in a name can't be said in a make rule at all. Names are
// relative where the command line's are, to the folder plimc runs in. What lies inside plimc (the
// standard library) is no file and is not listed: a build lists plimc itself.
#include "tools/dependencies.h"

#include "tools/tool_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_name(FILE *out, const char *name) {
    for (const char *at = name; *at; at++) {
        if (*at == ' ' || *at == '\t') {
            for (const char *back = at; back > name && back[-1] == '\\'; back--)
                fputc('\\', out);
            fputc('\\', out);
        } else if (*at == '#') {
            fputc('\\', out);
        } else if (*at == '$') {
            fputc('$', out);
        }
        fputc(*at, out);
    }
}

static void print_more(FILE *out, const char *name) {
    fputs(" \\\n  ", out);
    print_name(out, name);
}

bool dependencies_write(const PlimcRequest *r, const FrontendFiles *used, const char *out) {
    if (!r->dependencies)
        return true;
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) {
        fprintf(stderr, "plimc: error: out of memory\n");
        return false;
    }
    print_name(memory, out);
    fputs(": ", memory);
    print_name(memory, r->file);
    for (int i = 0; i < used->count; i++)
        // The model itself comes first already.
        if (strcmp(used->path[i], r->file) != 0)
            print_more(memory, used->path[i]);
    if (r->config_file)
        print_more(memory, r->config_file);
    if (r->rates)
        print_more(memory, r->rates);
    fputc('\n', memory);
    const bool good = fclose(memory) == 0 && tool_write("plimc", r->dependencies, text, size);
    free(text);
    return good;
}
