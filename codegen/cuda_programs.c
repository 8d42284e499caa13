// Programs of kernels. Templates take as long as half of a model's scalar kernels together and so
// have programs of their own, two each, first in the queue; other kernels are dealt to programs in
// turn, so that large neighbours fall apart. Threads take programs as they come, the longest texts
// first, so that none waits for another's long last one; each has an arena of its own, and what
// they give depends on the source alone, so bytes don't depend on their number.
//
// Every kernel's text begins with a #line that gives it its name as file: so NVRTC's complaints can
// be told by kernel, operator and place in the model.
#include "codegen/cuda_programs.h"

#include "codegen/cubin_cache.h"
#include "codegen/cuda_same.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { P_KERNEL = 855 };
enum { KERNELS_A_PROGRAM = 12, TEMPLATES_A_PROGRAM = 2, THREADS_MAX = 64 };

static bool is_template(const Kernel *k) {
    return kernel_kind_is_attention(k->kind);
}

static bool is_compiled(Kernel *const *kernel, const int *same, int i) {
    return cuda_has_code(kernel[i]) && same[i] == i;
}

// Kernels of one program under way.
typedef struct {
    int *kernel;
    int count;
} Deal;

// Which kernels stand together, the same for every architecture: of those that are the same the
// first. Returns how many programs.
static int deal_kernels(Arena *a, Kernel *const *kernel, int count, const int *same,
                        ProgramsCut cut, Deal *deal) {
    int templates = 0, others = 0;
    for (int i = 0; i < count; i++) {
        templates += is_compiled(kernel, same, i) && is_template(kernel[i]);
        others += is_compiled(kernel, same, i) && !is_template(kernel[i]);
    }
    const int of_templates = (templates + TEMPLATES_A_PROGRAM - 1) / TEMPLATES_A_PROGRAM;
    int programs = of_templates + (others + KERNELS_A_PROGRAM - 1) / KERNELS_A_PROGRAM;
    if (cut == PROGRAMS_WHOLE)
        programs = templates + others > 0;
    for (int i = 0; i < programs; i++)
        deal[i] = (Deal){.kernel = arena_array(a, int, count + 1)};
    int next_template = 0, next_other = 0;
    for (int i = 0; i < count; i++) {
        if (!is_compiled(kernel, same, i))
            continue;
        const int at = cut == PROGRAMS_WHOLE ? 0
                       : is_template(kernel[i])
                           ? next_template++ % of_templates
                           : of_templates + next_other++ % (programs - of_templates);
        deal[at].kernel[deal[at].count++] = i;
    }
    return programs;
}

static bool print_program(Arena *a, Diag *d, Kernel *const *kernel, const Deal *deal, GpuArch arch,
                          CudaProgram *out) {
    char *text = NULL;
    size_t bytes = 0;
    CudaParts parts = 0;
    for (int i = 0; i < deal->count; i++)
        parts |= cuda_parts(kernel[deal->kernel[i]], arch);
    FILE *memory = open_memstream(&text, &bytes);
    if (!memory)
        return diag_error(d, (Loc){0}, P_KERNEL, "no memory for the kernels' text");
    fputs(cuda_prelude(a, parts, arch), memory);
    bool good = true;
    for (int i = 0; i < deal->count && good; i++) {
        const Kernel *k = kernel[deal->kernel[i]];
        const char *printed = cuda_print(a, d, k, arch);
        good = printed != NULL;
        if (good)
            fprintf(memory, "#line 1 \"%s\"\n%s\n", k->name, printed);
    }
    good = fclose(memory) == 0 && good;
    *out = (CudaProgram){.nvrtc = {.source = arena_text(a, text), .arch = arch, .log = ""},
                         .kernel = deal->kernel,
                         .kernel_count = deal->count};
    free(text);
    return good;
}

bool cuda_programs_print(Arena *a, Diag *d, Kernel *const *kernel, int count, const GpuArchs *archs,
                         ProgramsCut cut, CudaPrograms *out) {
    Deal *deal = arena_array(a, Deal, count + 1);
    int *same = arena_array(a, int, count + 1);
    for (int i = 0; i < count; i++)
        same[i] = i;
    if (cut == PROGRAMS_SPLIT && !cuda_same_find(a, d, kernel, count, archs, same))
        return false;
    const int each = deal_kernels(a, kernel, count, same, cut, deal);
    *out = (CudaPrograms){.program = arena_array(a, CudaProgram, each * archs->count + 1)};
    for (int i = 0; i < archs->count; i++)
        for (int p = 0; p < each; p++) {
            CudaProgram *program = &out->program[out->count++];
            if (!print_program(a, d, kernel, &deal[p], archs->arch[i], program))
                return false;
            program->same = "";
            for (int k = 0; k < deal[p].count; k++)
                program->same = arena_format(
                    a, "%s%s", program->same,
                    cuda_same_names(a, kernel, count, archs->arch[i], same, deal[p].kernel[k]));
        }
    return true;
}

// The programs, dealt out under the lock, and what all threads read.
typedef struct {
    const Nvrtc *nvrtc;
    const CubinCache *cache;
    CudaPrograms *programs;
    Arena **arena;       // by program
    CudaProgram **order; // longest text first
    int next;
    pthread_mutex_t lock;
} ProgramQueue;

// Everything that decides a cubin's bytes, as text.
static const char *program_key(Arena *a, const Nvrtc *nvrtc, const NvrtcProgram *p) {
    return arena_format(a, "%s\n%s\n%s\n%s", nvrtc_identity(nvrtc), nvrtc_options(nvrtc, a),
                        gpu_arch_name(a, p->arch), p->source);
}

static void compile_program(const ProgramQueue *q, CudaProgram *p, Arena *a) {
    // PTX is for people to read: not worth keeping.
    const bool keeps = p->nvrtc.output == NVRTC_CUBIN;
    const char *key = keeps ? program_key(a, q->nvrtc, &p->nvrtc) : "";
    if (keeps)
        p->nvrtc.bytes = cubin_cache_find(q->cache, a, key, &p->nvrtc.size);
    p->cached = p->nvrtc.bytes != NULL;
    if (p->cached)
        return;
    nvrtc_compile(q->nvrtc, a, &p->nvrtc);
    if (keeps && p->nvrtc.bytes)
        cubin_cache_add(q->cache, a, key, p->nvrtc.bytes, p->nvrtc.size);
}

static void *run_worker(void *user) {
    ProgramQueue *q = user;
    for (;;) {
        pthread_mutex_lock(&q->lock);
        const int mine = q->next < q->programs->count ? q->next++ : -1;
        pthread_mutex_unlock(&q->lock);
        if (mine < 0)
            return NULL;
        CudaProgram *p = q->order[mine];
        compile_program(q, p, q->arena[p - q->programs->program]);
    }
}

// Of equal ones the first.
static int compare_length(const void *a, const void *b) {
    const CudaProgram *x = *(CudaProgram *const *)a, *y = *(CudaProgram *const *)b;
    const size_t of_x = strlen(x->nvrtc.source), of_y = strlen(y->nvrtc.source);
    return of_x != of_y ? (of_x < of_y) - (of_x > of_y) : (x > y) - (x < y);
}

// A thread that can't be had is not missed: the caller works too.
static void compile_all(ProgramQueue *q, int threads) {
    pthread_t helper[THREADS_MAX];
    int helpers = 0;
    const int most = threads < q->programs->count ? threads : q->programs->count;
    while (helpers + 1 < most && helpers < THREADS_MAX &&
           pthread_create(&helper[helpers], NULL, run_worker, q) == 0)
        helpers++;
    run_worker(q);
    for (int i = 0; i < helpers; i++)
        pthread_join(helper[i], NULL);
}

// The first instruction that calls the kernel, or NULL.
static const PlanInstr *find_call(const Plan *p, int kernel) {
    for (uint32_t s = 0; s < p->segment_count; s++)
        for (uint32_t i = 0; i < p->segment[s].instr_count; i++) {
            const PlanInstr *instr = &p->segment[s].instr[i];
            if (instr->kind == INSTR_KERNEL && (int)instr->kernel == kernel)
                return instr;
        }
    return NULL;
}

// The number of the kernel that the log's line is about: it begins "k12(3): error". -1: none.
static int kernel_of_line(const char *line) {
    int kernel, at = 0;
    return sscanf(line, "k%d(%*d)%n", &kernel, &at) == 1 && at > 0 ? kernel : -1;
}

// NVRTC's words as notes, and who asked for the kernel: of all programs, the first that failed.
static bool tell_failure(Arena *a, Diag *d, const Plan *p, const CudaProgram *program) {
    enum { LINES_MAX = 12 };
    const char *arch = gpu_arch_name(a, program->nvrtc.arch);
    const char *log = program->nvrtc.log;
    int kernel = program->kernel_count == 1 ? program->kernel[0] : -1;
    for (const char *at = log; at && kernel < 0; at = strchr(at, '\n')) {
        at += *at == '\n';
        kernel = strstr(at, "error") ? kernel_of_line(at) : -1;
    }
    const PlanInstr *call = p && kernel >= 0 ? find_call(p, kernel) : NULL;
    if (kernel >= 0)
        diag_error(d, (Loc){0}, P_KERNEL, "NVRTC does not compile kernel k%d for %s%s%s%s%s",
                   kernel, arch, call ? ": " : "", call ? call->name : "",
                   call && *call->where ? ", " : "", call ? call->where : "");
    else
        diag_error(d, (Loc){0}, P_KERNEL, "NVRTC does not compile a program of %d kernels for %s",
                   program->kernel_count, arch);
    int lines = 0;
    for (const char *at = log; *at && lines < LINES_MAX; lines++) {
        const size_t length = strcspn(at, "\n");
        if (length > 0)
            diag_note(d, (Loc){0}, "%.*s", (int)length, at);
        at += length + (at[length] == '\n');
    }
    return false;
}

// Out of the threads' arenas into the caller's.
static void keep_result(Arena *a, NvrtcProgram *p) {
    if (p->bytes) {
        char *bytes = arena_alloc(a, p->size + 1, 1);
        memcpy(bytes, p->bytes, p->size);
        p->bytes = bytes;
    }
    p->log = arena_text(a, p->log);
}

bool cuda_programs_compile(Arena *a, Diag *d, const Plan *p, NvrtcOutput output, int threads,
                           CudaPrograms *programs) {
    const Nvrtc *nvrtc = nvrtc_open(a, d);
    if (!nvrtc)
        return false;
    const CubinCache cache = cubin_cache_open(a);
    ProgramQueue queue = {.nvrtc = nvrtc,
                          .cache = &cache,
                          .programs = programs,
                          .arena = arena_array(a, Arena *, programs->count + 1),
                          .order = arena_array(a, CudaProgram *, programs->count + 1),
                          .lock = PTHREAD_MUTEX_INITIALIZER};
    for (int i = 0; i < programs->count; i++) {
        queue.arena[i] = arena_create();
        queue.order[i] = &programs->program[i];
        programs->program[i].nvrtc.output = output;
    }
    qsort(queue.order, (size_t)programs->count, sizeof *queue.order, compare_length);
    compile_all(&queue, threads);
    pthread_mutex_destroy(&queue.lock);
    bool good = true;
    for (int i = 0; i < programs->count; i++) {
        keep_result(a, &programs->program[i].nvrtc);
        arena_release(queue.arena[i]);
        if (good && !programs->program[i].nvrtc.bytes)
            good = tell_failure(a, d, p, &programs->program[i]);
    }
    if (output == NVRTC_CUBIN)
        cubin_cache_trim(&cache, a);
    return good;
}
