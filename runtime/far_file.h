// The file that holds a plan's far memory: bytes of a disk, read and written past the page cache.
#ifndef PLIM_RUNTIME_FAR_FILE_H
#define PLIM_RUNTIME_FAR_FILE_H

#include "runtime/plim.h"

#include <stdbool.h>
#include <stdint.h>

// A transfer is done in pieces that end at multiples of this many bytes of the file.
enum { FAR_PIECE_BYTES = 1 << 20 };

typedef struct FarFile FarFile;

// A file of the size in the folder, without a name wherever the system can do that, so that nothing
// is left of it however the program ends; all of its blocks are taken now. folder NULL: TMPDIR, or
// where that is not set the current folder. PLIM_IO where the folder or its disk can't hold it.
PlimStatus far_file_open(const char *folder, uint64_t bytes, FarFile **out, PlimError *error);
void far_file_close(FarFile *f); // NULL is allowed
const char *far_file_folder(const FarFile *f);
// What people should know of the place, as the rest of a sentence, or "".
const char *far_file_caveat(const FarFile *f);

// How many pieces the bytes from offset on lie in, and the piece'th of them: its offset in the
// file, and its bytes into *bytes.
uint64_t far_file_pieces(uint64_t offset, uint64_t bytes);
uint64_t far_file_piece(uint64_t offset, uint64_t bytes, uint64_t piece, uint64_t *piece_bytes);
// Reads or writes one piece. room: FAR_PIECE_BYTES at a multiple of 4096, the caller's own for as
// long as this runs. For any number of threads at once, on bytes that are not the same. 0, or an
// error number.
int far_file_read(FarFile *f, uint64_t offset, void *to, uint64_t bytes, void *room);
int far_file_write(FarFile *f, uint64_t offset, const void *from, uint64_t bytes, void *room);

#endif
