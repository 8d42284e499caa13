// A main for a fuzz harness where there is no libFuzzer: runs it over every file of the given
// folders, in order of their names, so that each build replays what fuzzing has found.
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX = 1 << 24, PATH_ROOM = 4096 };

static int complain(const char *path) {
    fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
    return -1;
}

// Runs one file from memory of exactly its size, so that a sanitizer sees a read past the end.
static int replay_file(const char *path) {
    FILE *in = fopen(path, "rbe");
    if (!in)
        return complain(path);
    uint8_t *room = malloc(FILE_MAX);
    const size_t size = room ? fread(room, 1, FILE_MAX, in) : 0;
    const int failed = !room || ferror(in);
    fclose(in);
    uint8_t *exact = failed ? NULL : realloc(room, size ? size : 1);
    if (!exact) {
        free(room);
        return complain(path);
    }
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

// The number of files run, or -1.
static int replay_folder(const char *folder) {
    struct dirent **entry;
    const int count = scandir(folder, &entry, is_visible, alphasort);
    if (count < 0)
        return complain(folder);
    int done = 0;
    for (int i = 0; i < count; i++) {
        char path[PATH_ROOM];
        snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
        if (done >= 0)
            done = replay_file(path) < 0 ? -1 : done + 1;
        free(entry[i]);
    }
    free(entry);
    return done;
}

int main(int argc, char **argv) {
    int total = 0;
    for (int i = 1; i < argc; i++) {
        const int done = replay_folder(argv[i]);
        if (done <= 0) {
            fprintf(stderr, "replay: nothing to run in %s\n", argv[i]);
            return 1;
        }
        total += done;
    }
    printf("%d inputs\n", total);
    return total > 0 ? 0 : 2;
}
