// A plan's kernels into one object. Kernels are dealt to parts in order, numbers of parts that
// depend on the numbers of kernels only: templates to few, since each part has helpers of its own
// for them (llvm_tile.h), which are as long as the templates; other kernels to many. Each part has
// an LLVM context of its own, and threads take parts as they come. Parts are put together in order,
// so the bytes do not depend on the threads. The last part holds the plan's bytes and the table of
// kernels.
#include "codegen/codegen.h"

#include "codegen/image.h"
#include "codegen/llvm_module.h"
#include "codegen/object_merge.h"
#include "codegen/plan_kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { P_KERNEL = 855, P_MEMORY = 856 };
// Large parts would leave threads idle at the end, small ones repeat the shared helpers.
enum { KERNELS_A_PART = 4, PARTS_MAX = 32, THREADS_MAX = 64 };
enum { TEMPLATES_A_PART = 8, TEMPLATE_PARTS_MAX = 4 };

// The work of one part and what became of it.
// Parts share nothing that is written: arena, context and result are each one's own.
typedef struct {
    Arena *arena;
    Kernel *const *kernel; // of the whole plan
    int count;             // of the whole plan
    int *mine;             // numbers of this part's kernels
    int mine_count;
    const CpuTarget *target;
    const Plan *plan; // with bytes: the part that holds the data; else NULL
    const uint8_t *bytes;
    size_t size;
    LLVMMemoryBufferRef object;
    const char *error; // NULL: fine
} Part;

// The parts, dealt out under the lock.
typedef struct {
    Part *part;
    int count, next;
    pthread_mutex_t lock;
} PartQueue;

// Products of libraries have no code of their own.
static bool has_code(const Kernel *k) {
    return k->kind != KERNEL_PRODUCT || k->product.library == PRODUCT_OWN;
}

// What the runtime looks for; of kernels those that have code.
static void add_data(LlvmBuild *b, const Part *p) {
    const char **symbol = arena_array(b->arena, const char *, p->count + 1);
    for (int i = 0; i < p->count; i++)
        symbol[i] = has_code(p->kernel[i]) ? p->kernel[i]->name : NULL;
    image_add(
        b, &(ImageData){
               .plan = p->bytes, .plan_size = p->size, .kernel = symbol, .kernel_count = p->count});
}

// False with b->error set, which then names the kernel.
static bool add_kernels(LlvmBuild *b, const Part *p) {
    for (int i = 0; i < p->mine_count; i++) {
        const Kernel *k = p->kernel[p->mine[i]];
        if (!has_code(k) || llvm_module_add(b, k))
            continue;
        b->error = arena_format(b->arena, "kernel %s: %s", k->name, b->error);
        return false;
    }
    return true;
}

// The data has no code to optimize. p->object stays NULL where p->error is set.
static void compile_part(Part *p) {
    LlvmBuild b;
    llvm_build_init(&b, p->arena, p->target, "plimsoll");
    if (!b.error && p->bytes)
        add_data(&b, p);
    else if (!b.error && add_kernels(&b, p))
        llvm_module_optimize(&b);
    if (!b.error)
        p->object = llvm_module_object(&b, LLVMObjectFile);
    p->error = b.error;
    llvm_build_release(&b);
}

// Parts differ in cost, so each thread takes the next one when it is done.
static void *run_worker(void *user) {
    PartQueue *queue = user;
    for (;;) {
        pthread_mutex_lock(&queue->lock);
        const int mine = queue->next < queue->count ? queue->next++ : -1;
        pthread_mutex_unlock(&queue->lock);
        if (mine < 0)
            return NULL;
        compile_part(&queue->part[mine]);
    }
}

// A thread that can't be had is not missed: the caller works too.
static void compile_all(Part *part, int count, int threads) {
    PartQueue queue = {.part = part, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t helper[THREADS_MAX];
    int helpers = 0;
    const int most = threads < count ? threads : count;
    while (helpers + 1 < most && helpers < THREADS_MAX &&
           pthread_create(&helper[helpers], NULL, run_worker, &queue) == 0)
        // Not more threads than parts; one of them is the caller.
        helpers++;
    run_worker(&queue);
    for (int i = 0; i < helpers; i++)
        pthread_join(helper[i], NULL);
    pthread_mutex_destroy(&queue.lock);
}

static bool no_memory(Diag *d) {
    return diag_error(d, (Loc){0}, P_MEMORY, "no memory for the program's object");
}

// LLVM's buffer as malloc'ed bytes.
static bool take_bytes(Diag *d, const char *from, size_t size, char **bytes, size_t *out_size) {
    *bytes = malloc(size + 1);
    if (!*bytes)
        return no_memory(d);
    memcpy(*bytes, from, size);
    (*bytes)[size] = 0;
    *out_size = size;
    return true;
}

// All kernels as one module, for people to read: no plan, no table, one thread.
static bool emit_text(Diag *d, const Part *p, EmitKind kind, char **bytes, size_t *size) {
    LlvmBuild b;
    bool good = false;
    llvm_build_init(&b, p->arena, p->target, "plimsoll");
    if (!b.error && add_kernels(&b, p) && llvm_module_optimize(&b)) {
        if (kind == EMIT_LLVM) {
            const char *text = llvm_module_text(&b);
            good = take_bytes(d, text, strlen(text), bytes, size);
        } else {
            LLVMMemoryBufferRef text = llvm_module_object(&b, LLVMAssemblyFile);
            good = text &&
                   take_bytes(d, LLVMGetBufferStart(text), LLVMGetBufferSize(text), bytes, size);
            if (text)
                LLVMDisposeMemoryBuffer(text);
        }
    }
    if (b.error)
        diag_error(d, (Loc){0}, P_KERNEL, "%s", b.error);
    llvm_build_release(&b);
    return good;
}

// The first error by part is the one told, whichever thread met one first.
static bool join_parts(Diag *d, Arena *a, const Part *part, int count, char **bytes, size_t *size) {
    ObjectPart *object = arena_array(a, ObjectPart, count);
    for (int i = 0; i < count; i++) {
        if (part[i].error)
            return diag_error(d, (Loc){0}, P_KERNEL, "%s", part[i].error);
        object[i].bytes = LLVMGetBufferStart(part[i].object);
        object[i].size = LLVMGetBufferSize(part[i].object);
    }
    *bytes = object_merge(a, object, count, size);
    return *bytes || no_memory(d);
}

typedef enum { SORT_TEMPLATE, SORT_SCALAR } KernelSort;

static KernelSort sort_of(const Kernel *k) {
    return k->kind == KERNEL_SCALAR ? SORT_SCALAR : SORT_TEMPLATE;
}

// Parts that the kernels of one sort are dealt to.
static int parts_for(const Part *whole, KernelSort sort) {
    int count = 0;
    for (int i = 0; i < whole->count; i++)
        count += sort_of(whole->kernel[i]) == sort;
    const int each = sort == SORT_TEMPLATE ? TEMPLATES_A_PART : KERNELS_A_PART;
    const int most = sort == SORT_TEMPLATE ? TEMPLATE_PARTS_MAX : PARTS_MAX - TEMPLATE_PARTS_MAX;
    const int parts = (count + each - 1) / each;
    return parts < most ? parts : most;
}

// To each in turn: large neighbours fall to different parts.
static void deal(const Part *whole, KernelSort sort, Part *part, int parts) {
    int next = 0;
    for (int i = 0; i < whole->count; i++) {
        if (sort_of(whole->kernel[i]) != sort)
            continue;
        Part *p = &part[next++ % parts];
        p->mine[p->mine_count++] = i;
    }
}

// The parts of the kernels, templates first as they take longest, and last the data's, which has
// none.
static Part *make_parts(const Part *whole, int *count) {
    const int templates = parts_for(whole, SORT_TEMPLATE), others = parts_for(whole, SORT_SCALAR);
    *count = templates + others + 1;
    Part *part = arena_array(whole->arena, Part, *count);
    for (int i = 0; i < *count; i++) {
        part[i] = *whole;
        part[i].arena = arena_create();
        part[i].mine = arena_array(whole->arena, int, whole->count);
        part[i].mine_count = 0;
    }
    deal(whole, SORT_TEMPLATE, part, templates);
    deal(whole, SORT_SCALAR, part + templates, others);
    return part;
}

static bool emit_object(Diag *d, const Part *whole, int threads, char **bytes, size_t *size) {
    uint8_t *plan_bytes = NULL;
    size_t plan_size = 0;
    if (plan_encode(whole->plan, &plan_bytes, &plan_size) != PLIM_OK)
        return no_memory(d);
    int parts;
    Part *part = make_parts(whole, &parts);
    part[parts - 1].bytes = plan_bytes;
    part[parts - 1].size = plan_size;
    compile_all(part, parts, threads);
    // The result is a copy: the parts' buffers and arenas can go.
    const bool good = join_parts(d, whole->arena, part, parts, bytes, size);
    for (int i = 0; i < parts; i++) {
        if (part[i].object)
            LLVMDisposeMemoryBuffer(part[i].object);
        arena_release(part[i].arena);
    }
    free(plan_bytes);
    return good;
}

bool codegen_emit(Arena *a, Diag *d, const Plan *p, const CpuTarget *target, EmitKind kind,
                  int threads, char **bytes, size_t *size) {
    Kernel **kernel = plan_kernels(a, d, p);
    if (!kernel)
        return false;
    llvm_build_start();
    Part whole = {
        .arena = a, .kernel = kernel, .count = (int)p->kernel_count, .target = target, .plan = p};
    whole.mine = arena_array(a, int, whole.count);
    while (whole.mine_count < whole.count) {
        whole.mine[whole.mine_count] = whole.mine_count;
        whole.mine_count++;
    }
    if (kind != EMIT_OBJECT)
        return emit_text(d, &whole, kind, bytes, size);
    return emit_object(d, &whole, threads, bytes, size);
}
