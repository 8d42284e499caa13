// A cubin is an ELF file with a section .text.NAME a function; an instruction takes 16 bytes.
// NVIDIA documents no encodings: those below are what nvdisasm 13 tells of sm_90a, and a library
// that encoded otherwise would give no function with products, which the caller takes for a
// failure.
//
// Between products a function waits for all but the last group (DEPBAR 1) or for all (DEPBAR 0).
// Exponentials that stand behind a wait for all and before the next product, by address, run while
// the tensor cores are idle: ptxas has moved the wait from behind them.
#include "machine_code.h"

#include <elf.h>
#include <stdint.h>
#include <string.h>

enum {
    OPCODE = 0xfff,
    PRODUCT = 0x9f0,     // HGMMA, both operands in shared memory
    PRODUCT_OF = 0xdf0,  // one in registers
    WARPGROUP = 0x9c5,   // ARRIVE, or, with bit 47, DEPBAR
    FUNCTION_OF = 0x308, // MUFU; 8 in bits 8 to 11 of the second word: EX2
    REGISTERS = 0x9c8,   // USETMAXREG
    MATRICES = 0x844,    // STSM
    TILE_PRODUCTS = 5,   // of a pass that makes all gradients, which alone stores matrices
    A_FEW = 8            // exponentials at a tile's end, of a row each
};

typedef struct {
    int products, registers, matrices;
    int arrivals;     // before each product of a whole tile
    int exponentials; // since the last product or wait
    bool idle;        // the last of these was a wait for all
    bool exposed;
} Walk;

static void step(Walk *w, uint64_t low, uint64_t high) {
    switch (low & OPCODE) {
    case PRODUCT:
    case PRODUCT_OF:
        w->exposed = w->exposed || (w->idle && w->exponentials > A_FEW);
        w->products++;
        w->exponentials = 0;
        w->idle = false;
        break;
    case WARPGROUP:
        if (low >> 47 & 1) {
            w->exponentials = 0;
            w->idle = (high >> 8 & 0xff) == 0;
        } else {
            w->arrivals++;
        }
        break;
    case FUNCTION_OF:
        w->exponentials += (high >> 8 & 0xf) == 8;
        break;
    case REGISTERS:
        w->registers++;
        break;
    case MATRICES:
        w->matrices++;
        break;
    default:
        break;
    }
}

static void add_function(const char *name, const char *code, size_t size, MachineCode *out) {
    Walk w = {0};
    for (size_t at = 0; at + 16 <= size; at += 16) {
        uint64_t word[2];
        memcpy(word, code + at, sizeof word);
        step(&w, word[0], word[1]);
    }
    if (w.products == 0)
        return;
    out->functions++;
    out->exposed += w.exposed;
    out->undealt += w.registers < 2;
    const bool repeated = w.matrices > 0 && w.arrivals != TILE_PRODUCTS;
    out->repeated += repeated;
    if ((w.exposed || w.registers < 2 || repeated) && !out->bad)
        out->bad = name;
}

bool machine_code_read(const char *cubin, size_t size, MachineCode *out) {
    static const char text[] = ".text.";
    Elf64_Ehdr head;
    if (size < sizeof head)
        return false;
    memcpy(&head, cubin, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_shentsize != sizeof(Elf64_Shdr) ||
        head.e_shoff > size || (size - head.e_shoff) / sizeof(Elf64_Shdr) < head.e_shnum ||
        head.e_shstrndx >= head.e_shnum)
        return false;
    Elf64_Shdr names, section;
    memcpy(&names, cubin + head.e_shoff + head.e_shstrndx * sizeof names, sizeof names);
    for (int i = 0; i < head.e_shnum; i++) {
        memcpy(&section, cubin + head.e_shoff + (size_t)i * sizeof section, sizeof section);
        if (section.sh_type != SHT_PROGBITS)
            continue;
        if (section.sh_name >= names.sh_size || section.sh_offset > size ||
            section.sh_size > size - section.sh_offset || names.sh_offset > size ||
            names.sh_size > size - names.sh_offset)
            return false;
        const char *name = cubin + names.sh_offset + section.sh_name;
        if (strncmp(name, text, sizeof text - 1) == 0)
            add_function(name + sizeof text - 1, cubin + section.sh_offset, section.sh_size, out);
    }
    return true;
}
