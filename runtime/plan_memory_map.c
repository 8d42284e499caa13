// The memory map: runs in an array by edge, found through an IndexSet of the edges where one
// begins. Cutting and joining runs take a few words each; every access adds at most two runs and
// every write removes those it covers, so a whole execution is linear in the accesses but for the
// search of edges.
#include "runtime/plan_memory_map.h"

#include <stdlib.h>
#include <string.h>

bool map_init(MemoryMap *m, size_t edges, uint32_t streams, PlanMemory *pm) {
    // edges counts what map_add_edge will be given, duplicates and all.
    *m = (MemoryMap){.streams = streams};
    if (edges > UINT32_MAX / 2)
        return false;
    m->edge = plan_alloc(pm, edges, sizeof *m->edge);
    return m->edge != NULL;
}

void map_add_edge(MemoryMap *m, uint64_t address) {
    m->edge[m->edge_count++] = address;
}

static int compare_addresses(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

bool map_ready(MemoryMap *m, PlanMemory *pm) {
    qsort(m->edge, m->edge_count, sizeof *m->edge, compare_addresses);
    // Sorted, and each address once: edge i and i + 1 bound the smallest pieces there are.
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->edge_count; i++)
        if (i == 0 || m->edge[i] != m->edge[i - 1])
            m->edge[count++] = m->edge[i];
    m->edge_count = count;
    m->content = plan_alloc(pm, count, sizeof *m->content);
    // With one stream there is nothing to order between readers and writers.
    if (m->streams > 1) {
        m->reader = plan_alloc(pm, count, m->streams * sizeof *m->reader);
        if (!m->reader)
            return false;
    }
    return m->content && index_set_init(&m->start, count, pm);
}

// By stream: the step of its last read of the run.
uint32_t *map_readers(MemoryMap *m, uint32_t run) {
    return m->reader + (size_t)run * m->streams;
}

void map_clear(MemoryMap *m) {
    // Linear in the runs there are, not in the edges.
    for (uint32_t i = index_set_has(&m->start, 0) ? 0 : UINT32_MAX; i != UINT32_MAX;) {
        const uint32_t next = index_set_above(&m->start, i);
        index_set_remove(&m->start, i);
        i = next;
    }
    if (m->edge_count == 0)
        return;
    // One run over all addresses, of unknown content: from here on edge 0 always begins one.
    index_set_add(&m->start, 0);
    m->content[0] = (MapContent){0};
    if (m->reader)
        memset(map_readers(m, 0), 0, m->streams * sizeof *m->reader);
}

// Binary search: edges below low are smaller than the address, those from high on are not.
uint32_t map_edge(const MemoryMap *m, uint64_t address) {
    uint32_t low = 0, high = m->edge_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (m->edge[middle] < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Makes a run begin at the edge; its upper part keeps label and writer, and counts on in
// distance.
static void cut_at(MemoryMap *m, uint32_t edge) {
    if (index_set_has(&m->start, edge))
        return;
    const uint32_t run = index_set_below(&m->start, edge);
    m->content[edge] = m->content[run];
    m->content[edge].distance += m->edge[edge] - m->edge[run];
    if (m->reader)
        memcpy(map_readers(m, edge), map_readers(m, run), m->streams * sizeof *m->reader);
    index_set_add(&m->start, edge);
}

void map_cut(MemoryMap *m, uint32_t low, uint32_t high) {
    cut_at(m, low);
    cut_at(m, high);
}

uint32_t map_next(const MemoryMap *m, uint32_t run) {
    return index_set_above(&m->start, run);
}

void map_set(MemoryMap *m, uint32_t low, uint32_t high, const MapContent *content) {
    map_cut(m, low, high);
    // The runs inside join the first one.
    for (uint32_t i = map_next(m, low); i < high; i = map_next(m, i))
        index_set_remove(&m->start, i);
    m->content[low] = *content;
    // A new content has no readers yet.
    if (m->reader)
        memset(map_readers(m, low), 0, m->streams * sizeof *m->reader);
}
