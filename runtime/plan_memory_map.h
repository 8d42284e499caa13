// What the bytes of all arenas hold while the verifier executes a plan: a map from address to
// content.
//
// All spaces stand one after another in one range of addresses. Contents change only at edges known
// in advance; a run of bytes with one content is kept at its first edge.
#ifndef PLIM_RUNTIME_PLAN_MEMORY_MAP_H
#define PLIM_RUNTIME_PLAN_MEMORY_MAP_H

#include "runtime/plan_index_set.h"

typedef struct {
    bool known;       // some instruction, state or input put it there
    bool zero;        // by a fill with 0
    uint32_t carried; // 1 + the carried buffer whose sum so far it is or was made from; 0: none's
    bool accumulated; // made from it, by an instruction that read it there; or copied from such
    uint32_t stream;  // of the writer
    uint32_t writer;  // step of the writer, 0 before the entry began
    uint32_t segment; // of the writer
    uint64_t label;
    uint64_t distance; // of the run's first byte
} MapContent;

typedef struct {
    uint64_t *edge; // sorted addresses, all different once map_ready
    uint32_t edge_count;
    IndexSet start;      // edges where a run begins
    MapContent *content; // by edge
    uint32_t *reader;    // by edge and stream: last step that read the run; NULL for one stream
    uint32_t streams;
} MemoryMap;

// Room for that many edges. False when there is no memory.
bool map_init(MemoryMap *m, size_t edges, uint32_t streams, PlanMemory *pm);
void map_add_edge(MemoryMap *m, uint64_t address);
// All edges are there.
bool map_ready(MemoryMap *m, PlanMemory *pm);
// Forgets all contents.
void map_clear(MemoryMap *m);
// The number of an edge; the address must be one.
uint32_t map_edge(const MemoryMap *m, uint64_t address);
// Makes runs begin at low and at high, edges; afterwards low is the first run inside and map_next
// leads from run to run up to high.
void map_cut(MemoryMap *m, uint32_t low, uint32_t high);
uint32_t map_next(const MemoryMap *m, uint32_t run);
// The runs of [low, high) become one that nobody has read.
void map_set(MemoryMap *m, uint32_t low, uint32_t high, const MapContent *content);
uint32_t *map_readers(MemoryMap *m, uint32_t run); // one a stream

#endif
