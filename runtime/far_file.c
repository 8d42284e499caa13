// Far memory's file.
//
// It is opened for direct input and output: bytes go between the disk and the program's memory, and
// the page cache, which would hold in memory what was put away to save memory, sees none of them.
// The disk then wants offsets, sizes and addresses that are multiples of a few hundred bytes (what
// statx says, else 4096). A plan that aligns what it moves, places it so, and these pieces are
// copied by nobody. Others pass through the caller's room: a read takes the blocks around the
// piece, and a write that covers a block in part reads it first. The blocks at a piece's ends may
// have other bytes in them that another thread is writing, so such writes come one after another.
//
// Where the file system has no direct access, or takes the flag and then refuses to transfer (one
// block is tried), the page cache is used and emptied at once: a write returns when its bytes are
// on the disk, and pages are given up behind it. That keeps memory bounded, and is slower; the
// caveat says so.
//
// Blocks are taken in advance, so a full disk is found before the first step.
#include "runtime/far_file.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/file_write.h"
#include "runtime/plan_report.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

// Larger than any disk's blocks: where nothing says how large they are.
enum { BLOCK_BYTES = 4096 };

static const char in_cache[] = ", through the page cache, as it can't be written directly";

struct FarFile {
    int fd;
    char *folder;
    const char *caveat;
    uint64_t block;        // offsets and sizes in the file are multiples of it
    uint64_t memory_block; // and addresses of this; both 1 with the page cache
    pthread_mutex_t edge;  // held while a block is written of which only a part is new
};

static uint64_t round_up(uint64_t bytes, uint64_t to) {
    return (bytes + to - 1) / to * to;
}

uint64_t far_file_pieces(uint64_t offset, uint64_t bytes) {
    return bytes == 0 ? 0 : (offset + bytes - 1) / FAR_PIECE_BYTES - offset / FAR_PIECE_BYTES + 1;
}

uint64_t far_file_piece(uint64_t offset, uint64_t bytes, uint64_t piece, uint64_t *piece_bytes) {
    const uint64_t low = (offset / FAR_PIECE_BYTES + piece) * FAR_PIECE_BYTES;
    const uint64_t begin = low > offset ? low : offset;
    const uint64_t high = low + FAR_PIECE_BYTES, last = offset + bytes;
    *piece_bytes = (high < last ? high : last) - begin;
    return begin;
}

// Whether the disk takes the piece as it is.
static bool is_straight(const FarFile *f, uint64_t offset, const void *memory, uint64_t bytes) {
    return offset % f->block == 0 && bytes % f->block == 0 &&
           (uintptr_t)memory % f->memory_block == 0;
}

// Through the page cache: none of the bytes stay there.
static void give_up_pages(const FarFile *f, uint64_t offset, uint64_t bytes) {
    if (f->block == 1)
        (void)posix_fadvise(f->fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static int read_bytes(const FarFile *f, uint64_t offset, void *to, uint64_t bytes) {
    const int why = file_read_at(f->fd, to, bytes, offset) ? 0 : errno;
    give_up_pages(f, offset, bytes);
    return why;
}

static int write_bytes(const FarFile *f, uint64_t offset, const void *from, uint64_t bytes) {
    if (!file_write_at(f->fd, from, bytes, offset))
        return errno;
    // Pages can only be given up once they are on the disk. Some file systems can't say; theirs go
    // when the system wants them.
    const unsigned all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (f->block == 1 && sync_file_range(f->fd, (off_t)offset, (off_t)bytes, all) != 0 &&
        (errno == EIO || errno == ENOSPC))
        return errno;
    give_up_pages(f, offset, bytes);
    return 0;
}

int far_file_read(FarFile *f, uint64_t offset, void *to, uint64_t bytes, void *room) {
    if (is_straight(f, offset, to, bytes))
        return read_bytes(f, offset, to, bytes);
    // All blocks around the piece; they end where pieces do, so the room holds them.
    const uint64_t before = offset % f->block;
    const int why = read_bytes(f, offset - before, room, round_up(before + bytes, f->block));
    if (why == 0)
        memcpy(to, (char *)room + before, (size_t)bytes);
    return why;
}

int far_file_write(FarFile *f, uint64_t offset, const void *from, uint64_t bytes, void *room) {
    if (is_straight(f, offset, from, bytes))
        return write_bytes(f, offset, from, bytes);
    const uint64_t before = offset % f->block, low = offset - before;
    const uint64_t all = round_up(before + bytes, f->block), last = all - f->block;
    const bool partial_end = before + bytes < all;
    int why = 0;
    if (before > 0 || partial_end)
        pthread_mutex_lock(&f->edge);
    if (before > 0)
        why = read_bytes(f, low, room, f->block);
    // The first and the last block may be the same one.
    if (why == 0 && partial_end && (before == 0 || last > 0))
        why = read_bytes(f, low + last, (char *)room + last, f->block);
    if (why == 0) {
        memcpy((char *)room + before, from, (size_t)bytes);
        why = write_bytes(f, low, room, all);
    }
    if (before > 0 || partial_end)
        pthread_mutex_unlock(&f->edge);
    return why;
}

static PlimStatus cannot(const FarFile *f, uint64_t bytes, int why, PlimError *error) {
    char size[32];
    return error_set(error, PLIM_IO, "far memory takes %s on disk, which %s can't hold: %s",
                     plan_size_text(bytes, size), f->folder, strerror(why));
}

// Bytes that the folder's disk has left; UINT64_MAX where it does not say.
static uint64_t free_bytes(const FarFile *f) {
    struct statvfs v;
    if (fstatvfs(f->fd, &v) != 0 || v.f_blocks == 0)
        return UINT64_MAX;
    return (uint64_t)v.f_bavail * v.f_frsize;
}

static PlimStatus no_space(const FarFile *f, uint64_t bytes, uint64_t left, PlimError *error) {
    char needed[32], there[32];
    return error_set(error, PLIM_IO,
                     "far memory takes %s on disk, and %s has %s free: choose another folder by "
                     "--far-dir or TMPDIR, or compile for less",
                     plan_size_text(bytes, needed), f->folder, plan_size_text(left, there));
}

// O_TMPFILE: it never has a name. Without it, the name lasts for the two calls; it is drawn, as
// containers that share the folder may have equal process numbers.
static int open_nameless(const char *folder) {
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    char path[4096];
    const int length = snprintf(path, sizeof path, "%s/.plimsoll-far-XXXXXX", folder);
    if (length < 0 || (size_t)length >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

static PlimStatus take_blocks(const FarFile *f, uint64_t bytes, PlimError *error) {
    struct rlimit limit;
    // Beyond it the system would end the program by a signal.
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes > limit.rlim_cur)
        return cannot(f, bytes, EFBIG, error);
    // Asked first: some file systems hand out all they have before they say that it isn't enough,
    // and whoever else writes in between finds the disk full.
    const uint64_t left = free_bytes(f);
    if (bytes > left)
        return no_space(f, bytes, left, error);
    int why;
    do
        why = posix_fallocate(f->fd, 0, (off_t)bytes);
    while (why == EINTR);
    return why == 0 ? PLIM_OK : cannot(f, bytes, why, error);
}

// A block there and back, of the zeros that the file has anyway: 0, or an error number.
static int try_block(const FarFile *f) {
    const uint64_t align = f->memory_block > BLOCK_BYTES ? f->memory_block : BLOCK_BYTES;
    const uint64_t bytes = round_up(f->block, align);
    char *room = aligned_alloc((size_t)align, (size_t)bytes);
    if (!room)
        return ENOMEM;
    memset(room, 0, (size_t)bytes);
    const bool good =
        file_write_at(f->fd, room, f->block, 0) && file_read_at(f->fd, room, f->block, 0);
    const int why = good ? 0 : errno;
    free(room);
    return why;
}

// After the blocks are taken: the C library writes them by the byte where the system has no call.
static int go_direct(FarFile *f) {
    struct statx s = {0};
    struct statfs disk = {0};
    f->block = f->memory_block = 1;
    if (fstatfs(f->fd, &disk) == 0 && (disk.f_type == TMPFS_MAGIC || disk.f_type == RAMFS_MAGIC)) {
        f->caveat = ", which is itself in memory";
        return 0;
    }
    const int flags = fcntl(f->fd, F_GETFL);
    if (flags < 0 || fcntl(f->fd, F_SETFL, flags | O_DIRECT) != 0) {
        f->caveat = in_cache;
        return 0;
    }
    f->block = f->memory_block = BLOCK_BYTES;
    if (statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &s) == 0 && s.stx_dio_offset_align > 0 &&
        FAR_PIECE_BYTES % s.stx_dio_offset_align == 0 && s.stx_dio_mem_align > 0) {
        f->block = s.stx_dio_offset_align;
        f->memory_block = s.stx_dio_mem_align;
    }
    const int why = try_block(f);
    if (why != EINVAL && why != EOPNOTSUPP)
        return why;
    f->block = f->memory_block = 1;
    f->caveat = in_cache;
    return fcntl(f->fd, F_SETFL, flags) == 0 ? 0 : errno;
}

PlimStatus far_file_open(const char *folder, uint64_t bytes, FarFile **out, PlimError *error) {
    FarFile *f = calloc(1, sizeof *f);
    const char *standard = getenv("TMPDIR");
    if (!folder)
        folder = standard && *standard ? standard : ".";
    if (f) {
        *f = (FarFile){.fd = -1, .folder = strdup(folder), .caveat = ""};
        pthread_mutex_init(&f->edge, NULL);
    }
    if (!f || !f->folder) {
        far_file_close(f);
        return error_set(error, PLIM_NO_MEMORY, "out of memory preparing far memory");
    }
    // The last piece is whole: a read may take the blocks around what it wants.
    const uint64_t size = round_up(bytes, FAR_PIECE_BYTES);
    f->fd = open_nameless(folder);
    PlimStatus status = f->fd < 0 ? cannot(f, bytes, errno, error) : take_blocks(f, size, error);
    const int why = status == PLIM_OK ? go_direct(f) : 0;
    if (why != 0)
        status = cannot(f, bytes, why, error);
    if (status != PLIM_OK) {
        far_file_close(f);
        return status;
    }
    *out = f;
    return PLIM_OK;
}

void far_file_close(FarFile *f) {
    if (!f)
        return;
    if (f->fd >= 0)
        (void)close(f->fd); // Nobody will read it again
    pthread_mutex_destroy(&f->edge);
    free(f->folder);
    free(f);
}

const char *far_file_folder(const FarFile *f) {
    return f->folder;
}

const char *far_file_caveat(const FarFile *f) {
    return f->caveat;
}
