// Files named by a hash of their key:
//
//   "plimcub1" | key bytes | cubin bytes | checksum of both | key | cubin      numbers are u64
//
// Written under a temporary name and renamed. A hit sets the file's time, so the oldest times are
// those not needed for longest. Cost: a read of the file; trimming lists the folder once.
#include "codegen/cubin_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENTRY_BYTES_MAX = 256 << 20, NAME_DIGITS = 16, ENTRIES_MAX = 65536 };

typedef struct {
    char magic[8];
    uint64_t key_bytes, cubin_bytes, checksum;
} EntryHead;
static const char entry_magic[8] = "plimcub1";

// FNV-1a, 64 bits: names files and finds damage; equality of keys decides what is what.
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash;
}
static const uint64_t hash_start = 0xcbf29ce484222325u;

// Each folder of the path that is not there. False where one can't be made.
static bool make_folders(char *path) {
    for (char *at = path + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        const bool good = mkdir(path, 0700) == 0 || errno == EEXIST;
        *at = '/';
        if (!good)
            return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

CubinCache cubin_cache_open(Arena *a) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *folder = NULL;
    // Relative folders are to be ignored, says the XDG specification.
    if (cache && *cache == '/')
        folder = arena_format(a, "%s/plimsoll/cubins", cache);
    else if (home && *home == '/')
        folder = arena_format(a, "%s/.cache/plimsoll/cubins", home);
    return (CubinCache){.folder = folder && make_folders(folder) ? folder : NULL};
}

static const char *entry_path(const CubinCache *c, Arena *a, const char *key) {
    return arena_format(a, "%s/%016llx", c->folder,
                        (unsigned long long)hash_bytes(hash_start, key, strlen(key)));
}

// All of it, or false.
static bool read_bytes(int file, char *to, size_t size) {
    for (size_t at = 0; at < size;) {
        const ssize_t got = read(file, to + at, size - at);
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

static bool write_bytes(int file, const char *from, size_t size) {
    for (size_t at = 0; at < size;) {
        const ssize_t put = write(file, from + at, size - at);
        if (put <= 0)
            return false;
        at += (size_t)put;
    }
    return true;
}

static uint64_t checksum(const char *key, size_t key_bytes, const char *cubin, size_t size) {
    return hash_bytes(hash_bytes(hash_start, key, key_bytes), cubin, size);
}

// The cubin of an open entry, or NULL where it is another's or damaged.
static const char *read_entry(int file, Arena *a, const char *key, size_t *size) {
    EntryHead head;
    struct stat info;
    const size_t key_bytes = strlen(key);
    if (fstat(file, &info) != 0 || info.st_size > ENTRY_BYTES_MAX ||
        !read_bytes(file, (char *)&head, sizeof head) ||
        memcmp(head.magic, entry_magic, sizeof entry_magic) != 0 || head.key_bytes != key_bytes ||
        head.cubin_bytes > (uint64_t)info.st_size ||
        sizeof head + head.key_bytes + head.cubin_bytes != (uint64_t)info.st_size)
        return NULL;
    char *bytes = arena_alloc(a, key_bytes + head.cubin_bytes + 1, 1);
    if (!read_bytes(file, bytes, key_bytes + head.cubin_bytes) ||
        memcmp(bytes, key, key_bytes) != 0 ||
        checksum(key, key_bytes, bytes + key_bytes, head.cubin_bytes) != head.checksum)
        return NULL;
    *size = head.cubin_bytes;
    return bytes + key_bytes;
}

const char *cubin_cache_find(const CubinCache *c, Arena *a, const char *key, size_t *size) {
    if (!c->folder)
        return NULL;
    const char *path = entry_path(c, a, key);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return NULL;
    const char *cubin = read_entry(file, a, key, size);
    close(file);
    if (cubin)
        utimensat(AT_FDCWD, path, NULL, 0); // used just now; no matter where it fails
    return cubin;
}

void cubin_cache_add(const CubinCache *c, Arena *a, const char *key, const char *bytes,
                     size_t size) {
    const size_t key_bytes = strlen(key);
    if (!c->folder || key_bytes + size + sizeof(EntryHead) > ENTRY_BYTES_MAX)
        return;
    const char *path = entry_path(c, a, key);
    char *temporary = arena_format(a, "%s.XXXXXX", path);
    const int file = mkostemp(temporary, O_CLOEXEC);
    if (file < 0)
        return;
    EntryHead head = {.key_bytes = key_bytes,
                      .cubin_bytes = size,
                      .checksum = checksum(key, key_bytes, bytes, size)};
    memcpy(head.magic, entry_magic, sizeof head.magic);
    bool good = write_bytes(file, (const char *)&head, sizeof head) &&
                write_bytes(file, key, key_bytes) && write_bytes(file, bytes, size);
    good = close(file) == 0 && good;
    if (!good || rename(temporary, path) != 0)
        unlink(temporary);
}

typedef struct {
    const char *path;
    int64_t time; // nanoseconds
    uint64_t bytes;
} CacheFile;

static int compare_age(const void *a, const void *b) {
    const CacheFile *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return strcmp(x->path, y->path);
}

// Ours are named by 16 digits, temporaries by those and a suffix.
static bool is_entry(const char *name) {
    const size_t digits = strspn(name, "0123456789abcdef");
    return digits == NAME_DIGITS && (name[digits] == '\0' || name[digits] == '.');
}

static int list_files(const CubinCache *c, Arena *a, DIR *folder, CacheFile *file) {
    int count = 0;
    for (const struct dirent *item; (item = readdir(folder)) != NULL && count < ENTRIES_MAX;) {
        struct stat info;
        if (!is_entry(item->d_name))
            continue;
        const char *path = arena_format(a, "%s/%s", c->folder, item->d_name);
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode))
            file[count++] = (CacheFile){.path = path,
                                        .time = (int64_t)info.st_mtim.tv_sec * 1000000000 +
                                                info.st_mtim.tv_nsec,
                                        .bytes = (uint64_t)info.st_size};
    }
    return count;
}

void cubin_cache_trim(const CubinCache *c, Arena *a) {
    DIR *folder = c->folder ? opendir(c->folder) : NULL;
    if (!folder)
        return;
    CacheFile *file = arena_array(a, CacheFile, ENTRIES_MAX);
    const int count = list_files(c, a, folder, file);
    closedir(folder);
    uint64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += file[i].bytes;
    if (sum <= CUBIN_CACHE_BYTES)
        return;
    qsort(file, (size_t)count, sizeof *file, compare_age);
    // A quarter below the bound, so that not every compilation has to trim.
    for (int i = 0; i < count && sum > CUBIN_CACHE_BYTES / 4 * 3; i++) {
        unlink(file[i].path);
        sum -= file[i].bytes;
    }
}
