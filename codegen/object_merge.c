// Every section of every part is kept as a section of its own (names may repeat), in the order of
// the parts; symbol tables are joined, local symbols first; relocations are renumbered. ELF-64,
// little-endian. The parts come from LLVM in this process, so a broken one is our mistake and not
// the user's.
#include "codegen/object_merge.h"

#include "ir/check.h"

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Strings of a table under construction; offset 0 is the empty one.
// Offsets into text are what ELF headers and symbols hold; text may move as it grows.
typedef struct {
    char *text;
    size_t used, capacity;
} Strings;

// One part's headers, and where its sections and symbols went.
typedef struct {
    const char *bytes;
    const Elf64_Shdr *section;
    int section_count;
    uint32_t *new_section; // 0 for those that are not kept
    const Elf64_Sym *symbol;
    int symbol_count;
    const char *symbol_names;
    // By the part's symbol number; 0 stays 0, the empty symbol.
    uint32_t *new_symbol;
} Part;

typedef struct {
    Arena *a;
    Part *part;
    int part_count;
    int symbol_most;      // of all parts together
    Elf64_Shdr *section;  // of the result; 0 is the empty one
    const char **content; // bytes of each
    uint32_t section_count;
    Elf64_Sym *symbol; // of the result; 0 is the empty one
    uint32_t symbol_count, local_count;
    Strings names;       // of sections and symbols
    uint32_t *slot;      // hash table of global symbols: index + 1, 0 empty
    uint32_t slot_count; // a power of two
} Merge;

// Repeated names are not shared: the table is read once, by the linker.
static uint32_t string_add(Merge *m, const char *text) {
    Strings *s = &m->names;
    const size_t bytes = strlen(text) + 1;
    if (bytes == 1)
        return 0;
    if (s->used + bytes > s->capacity) {
        const size_t capacity = 2 * (s->used + bytes);
        s->text = arena_grow(m->a, s->text, s->used, capacity, 1);
        s->capacity = capacity;
    }
    memcpy(s->text + s->used, text, bytes);
    s->used += bytes;
    return (uint32_t)(s->used - bytes);
}

// The objects stand in LLVM's buffers at any address: headers are copied to aligned memory.
// One byte more, so that an empty table is still an address.
static const void *aligned_copy(Merge *m, const char *from, size_t bytes) {
    void *copy = arena_alloc(m->a, 1, bytes + 1);
    memcpy(copy, from, bytes);
    return copy;
}

// Two walks: the symbol table first, then every section that carries something.
static void read_part(Merge *m, Part *p, const ObjectPart *object) {
    Elf64_Ehdr header;
    CHECK(object->size > sizeof header);
    memcpy(&header, object->bytes, sizeof header);
    CHECK(memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_type == ET_REL);
    CHECK(header.e_shoff + (uint64_t)header.e_shnum * sizeof(Elf64_Shdr) <= object->size);
    p->bytes = object->bytes;
    p->section_count = header.e_shnum;
    p->section =
        aligned_copy(m, object->bytes + header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr));
    p->new_section = arena_array(m->a, uint32_t, header.e_shnum + 1);
    for (int i = 0; i < p->section_count; i++) {
        const Elf64_Shdr *s = &p->section[i];
        if (s->sh_type != SHT_NOBITS)
            CHECK(s->sh_offset + s->sh_size <= object->size);
        if (s->sh_type != SHT_SYMTAB)
            continue;
        p->symbol_count = (int)(s->sh_size / sizeof(Elf64_Sym));
        p->symbol = aligned_copy(m, object->bytes + s->sh_offset, s->sh_size);
        p->symbol_names = object->bytes + p->section[s->sh_link].sh_offset;
        p->new_symbol = arena_array(m->a, uint32_t, p->symbol_count + 1);
    }
    m->symbol_most += p->symbol_count;
    const Elf64_Shdr *names = &p->section[header.e_shstrndx];
    for (int i = 1; i < p->section_count; i++) {
        const Elf64_Shdr *s = &p->section[i];
        // Neither COMDAT groups nor more than 65 000 sections come out of our kernels.
        CHECK(s->sh_type != SHT_GROUP && s->sh_type != SHT_SYMTAB_SHNDX);
        // The tables of symbols and strings are made anew.
        if (s->sh_type == SHT_SYMTAB || s->sh_type == SHT_STRTAB || s->sh_type == SHT_NULL)
            continue;
        const uint32_t at = m->section_count++;
        p->new_section[i] = at;
        m->section[at] = *s;
        m->section[at].sh_name = string_add(m, object->bytes + names->sh_offset + s->sh_name);
        m->content[at] = object->bytes + s->sh_offset;
    }
}

// Its value, an offset in its section, stays: sections are kept whole.
static Elf64_Sym moved_symbol(Merge *m, const Part *p, const Elf64_Sym *s) {
    Elf64_Sym out = *s;
    CHECK(s->st_shndx != SHN_COMMON && s->st_shndx != SHN_XINDEX);
    out.st_name = string_add(m, p->symbol_names + s->st_name);
    // Reserved numbers, such as absolute symbols', name no section.
    if (s->st_shndx != SHN_UNDEF && s->st_shndx < SHN_LORESERVE)
        out.st_shndx = (uint16_t)p->new_section[s->st_shndx];
    return out;
}

// ELF wants all local symbols before the first global one.
static void add_locals(Merge *m, Part *p) {
    for (int i = 1; i < p->symbol_count; i++) {
        if (ELF64_ST_BIND(p->symbol[i].st_info) != STB_LOCAL)
            continue;
        p->new_symbol[i] = m->symbol_count;
        m->symbol[m->symbol_count++] = moved_symbol(m, p, &p->symbol[i]);
    }
}

static uint32_t name_hash(const char *name) {
    uint32_t h = 2166136261u; // FNV-1a
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    return h;
}

// The slot of a global symbol's name: its own, or the empty one where it belongs.
// Half of the slots are free, so that the walk ends at an empty one.
static uint32_t *find_slot(Merge *m, const char *name) {
    uint32_t at = name_hash(name) & (m->slot_count - 1);
    while (m->slot[at] && strcmp(m->names.text + m->symbol[m->slot[at] - 1].st_name, name) != 0)
        at = (at + 1) & (m->slot_count - 1);
    return &m->slot[at];
}

// A definition takes the place of a mere mention; two definitions are our mistake.
static void add_globals(Merge *m, Part *p) {
    for (int i = 1; i < p->symbol_count; i++) {
        const Elf64_Sym *s = &p->symbol[i];
        if (ELF64_ST_BIND(s->st_info) == STB_LOCAL)
            continue;
        uint32_t *slot = find_slot(m, p->symbol_names + s->st_name);
        if (*slot == 0) {
            m->symbol[m->symbol_count] = moved_symbol(m, p, s);
            *slot = ++m->symbol_count;
        } else if (s->st_shndx != SHN_UNDEF) {
            Elf64_Sym *known = &m->symbol[*slot - 1];
            CHECK(known->st_shndx == SHN_UNDEF);
            const uint32_t name = known->st_name;
            *known = moved_symbol(m, p, s);
            // Its name is in the table already; the slot was found by it.
            known->st_name = name;
        }
        p->new_symbol[i] = *slot - 1;
    }
}

// A relocation section with its symbols, and the section it is for, renumbered.
// Addends and types stay, as do offsets: only numbers of symbols and sections change.
static void move_relocations(Merge *m, const Part *p, int i, uint32_t symbol_table) {
    Elf64_Shdr *out = &m->section[p->new_section[i]];
    const size_t count = out->sh_size / sizeof(Elf64_Rela);
    Elf64_Rela *moved = arena_array(m->a, Elf64_Rela, count + 1);
    memcpy(moved, m->content[p->new_section[i]], count * sizeof *moved);
    for (size_t r = 0; r < count; r++) {
        const uint64_t symbol = ELF64_R_SYM(moved[r].r_info);
        CHECK(symbol < (uint64_t)p->symbol_count);
        moved[r].r_info =
            ELF64_R_INFO((uint64_t)p->new_symbol[symbol], (uint64_t)ELF64_R_TYPE(moved[r].r_info));
    }
    m->content[p->new_section[i]] = (const char *)moved;
    out->sh_link = symbol_table;
    out->sh_info = p->new_section[p->section[i].sh_info];
}

// The bytes are not copied: they must live until the object is written.
static void add_table(Merge *m, const char *name, uint32_t type, const void *bytes, size_t size) {
    m->section[m->section_count] = (Elf64_Shdr){
        .sh_name = string_add(m, name), .sh_type = type, .sh_size = size, .sh_addralign = 1};
    m->content[m->section_count++] = bytes;
}

// Header, contents, section headers.
// malloc'ed; NULL where there is no memory. Also gives every section its offset.
static char *write_object(const Merge *m, uint32_t string_table, size_t *size) {
    size_t at = sizeof(Elf64_Ehdr);
    for (uint32_t i = 1; i < m->section_count; i++) {
        Elf64_Shdr *s = &m->section[i];
        const size_t align = s->sh_addralign > 1 ? s->sh_addralign : 1;
        at = (at + align - 1) / align * align;
        // NOBITS sections (.bss) have a size but no bytes in the file.
        s->sh_offset = at;
        at += s->sh_type == SHT_NOBITS ? 0 : s->sh_size;
    }
    // Section headers hold 8-byte numbers.
    at = (at + 7) / 8 * 8;
    *size = at + m->section_count * sizeof(Elf64_Shdr);
    char *out = calloc(1, *size);
    if (!out)
        return NULL;
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_REL,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_shoff = at,
        .e_ehsize = sizeof header,
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = (uint16_t)m->section_count,
        .e_shstrndx = (uint16_t)string_table,
    };
    memcpy(out, &header, sizeof header);
    for (uint32_t i = 1; i < m->section_count; i++)
        if (m->section[i].sh_type != SHT_NOBITS && m->section[i].sh_size)
            memcpy(out + m->section[i].sh_offset, m->content[i], m->section[i].sh_size);
    memcpy(out + at, m->section, m->section_count * sizeof(Elf64_Shdr));
    return out;
}

// Sections of the result at most, for arrays that need not grow.
static int section_bound(const ObjectPart *part, int count) {
    int sum = 3; // The empty one, the symbol table, the strings
    for (int i = 0; i < count; i++) {
        Elf64_Ehdr header;
        CHECK(part[i].size > sizeof header);
        memcpy(&header, part[i].bytes, sizeof header);
        sum += header.e_shnum;
    }
    CHECK(sum < SHN_LORESERVE);
    return sum;
}

char *object_merge(Arena *a, const ObjectPart *part, int count, size_t *size) {
    // Sections first, since symbols name them by their new numbers.
    const int bound = section_bound(part, count);
    Merge m = {.a = a, .part_count = count, .section_count = 1, .symbol_count = 1};
    m.part = arena_array(a, Part, count);
    m.section = arena_array(a, Elf64_Shdr, bound);
    m.content = arena_array(a, const char *, bound);
    m.names = (Strings){.text = arena_array(a, char, 4096), .used = 1, .capacity = 4096};
    for (int i = 0; i < count; i++)
        read_part(&m, &m.part[i], &part[i]);
    m.symbol = arena_array(a, Elf64_Sym, m.symbol_most + 1);
    // Globals may all be different; at most half of the slots are taken.
    for (m.slot_count = 64; m.slot_count < 2 * (uint32_t)m.symbol_most; m.slot_count *= 2)
        continue;
    m.slot = arena_array(a, uint32_t, m.slot_count);
    for (int i = 0; i < count; i++)
        add_locals(&m, &m.part[i]);
    // All locals of all parts are in; sh_info of the symbol table says where they end.
    m.local_count = m.symbol_count;
    for (int i = 0; i < count; i++)
        add_globals(&m, &m.part[i]);

    const uint32_t symbol_table = m.section_count, string_table = symbol_table + 1;
    for (int i = 0; i < count; i++)
        for (int s = 1; s < m.part[i].section_count; s++)
            if (m.part[i].section[s].sh_type == SHT_RELA)
                move_relocations(&m, &m.part[i], s, symbol_table);
    add_table(&m, ".symtab", SHT_SYMTAB, m.symbol, m.symbol_count * sizeof(Elf64_Sym));
    m.section[symbol_table].sh_link = string_table;
    m.section[symbol_table].sh_info = m.local_count;
    m.section[symbol_table].sh_entsize = sizeof(Elf64_Sym);
    m.section[symbol_table].sh_addralign = 8;
    // The string table contains its own name, so it is added before its size is taken.
    const uint32_t own_name = string_add(&m, ".strtab");
    add_table(&m, "", SHT_STRTAB, NULL, 0);
    m.section[string_table].sh_name = own_name;
    m.section[string_table].sh_size = m.names.used;
    m.content[string_table] = m.names.text;
    return write_object(&m, string_table, size);
}
