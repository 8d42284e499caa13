// Child processes for solvers, and what they send back.
//
// The solver aborts the process on its internal errors, keeps state by thread, and can't be stopped
// from outside: so it never runs in this process. A child is a fork, which has the program in its
// memory; it sends one message of a fixed size over a pipe (header, values, trailer) and ends. The
// parent reads all pipes at once and takes a message only whole: anything else is a fault with a
// sentence. Children share nothing, so answers don't depend on how many run side by side.
//
// A fork copies the page tables of a process that may be large, which takes longer than a small
// program does. So where there are many tasks a child gets several, one after another, by their
// numbers alone; when it ends over one of them, another child takes those behind it.
//
// Forking in a process with threads: only the forking thread lives on in the child, where another's
// lock would stay locked for ever. The C library makes its allocator safe for this; the child uses
// no other lock of this process. In particular it ends by _exit and prints nothing: its standard
// files are /dev/null, since buffers it inherited would be written twice. It dies with its parent.
#include "passes/mip/mip_child.h"

#include "ir/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_MARK = 0x4d495031 }; // at both ends of a message

typedef struct {
    pid_t pid;       // 0: this place is free
    int task;        // that it is at
    int end;         // those before it are its own
    int from;        // the pipe's reading end
    double deadline; // by now()
    char *message;
    size_t used, room; // room: one byte more than a message, to see one that is too long
} Child;

typedef struct {
    MipSolver solver;
    MipTask *task;
    MipOutcome *outcome;
    Arena *a;
} Run;

// Monotonic: only differences mean something.
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Mark, reply, values, mark.
static size_t message_bytes(const MipTask *task) {
    return 2 * sizeof(int) + sizeof(MipReply) +
           (size_t)task->problem->program->column_count * sizeof(double);
}

// The rest is nobody's business where the parent has gone: SIGPIPE ends the child.
static void write_all(const void *bytes, size_t size) {
    const char *at = bytes;
    while (size > 0) {
        const ssize_t wrote = write(MIP_CHILD_OUT, at, size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            _exit(1);
        at += wrote;
        size -= (size_t)wrote;
    }
}

static void solve_task(const Run *run, const MipTask *task) {
    MipReply reply;
    memset(&reply, 0, sizeof reply); // padding is sent too
    run->solver(task, &reply);
    const int mark = MESSAGE_MARK;
    write_all(&mark, sizeof mark);
    write_all(&reply, sizeof reply);
    write_all(task->value, (size_t)task->problem->program->column_count * sizeof(double));
    write_all(&mark, sizeof mark);
}

// From here on in the child.
_Noreturn static void solve_in_child(const Run *run, const Child *c, int out, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // It may have gone before that was said.
    if (getppid() != parent)
        _exit(1);
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none); // an abort is a message here, not a file
    const int null = open("/dev/null", O_RDWR);
    // In this order: out may have the number of one of those that are replaced, but for its own.
    const int kept = fcntl(out, F_DUPFD, MIP_CHILD_OUT + 1);
    if (null < 0 || kept < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
        dup2(kept, MIP_CHILD_OUT) < 0)
        _exit(1);
    // Other children's pipes among them.
    close_range(MIP_CHILD_OUT + 1, ~0U, 0);
    for (int i = c->task; i < c->end; i++)
        solve_task(run, &run->task[i]);
    _exit(0);
}

// For the message of the task that it is at. Only behind the last one more bytes are too many.
static void expect(const Run *run, Child *c) {
    const MipTask *task = &run->task[c->task];
    c->room = message_bytes(task) + (c->task + 1 == c->end);
    c->used = 0;
    c->message = arena_array(run->a, char, c->room);
    c->deadline = now() + task->problem->limits.guard_seconds;
}

static void fail_all(const Run *run, Child *c, const char *what) {
    for (int i = c->task; i < c->end; i++)
        run->outcome[i].fault = arena_format(run->a, "%s: %s", what, strerror(errno));
    c->pid = 0;
}

// Leaves the place free, with faults as the outcomes, where no child can be made.
static void start(const Run *run, Child *c, int first, int last) {
    int end[2];
    const pid_t self = getpid();
    *c = (Child){.task = first, .end = last};
    if (pipe2(end, O_CLOEXEC) != 0) {
        fail_all(run, c, "no pipe to the solver");
        return;
    }
    c->pid = fork();
    if (c->pid == 0)
        solve_in_child(run, c, end[1], self);
    close(end[1]);
    c->from = end[0];
    if (c->pid < 0) {
        fail_all(run, c, "no process for the solver");
        close(end[0]);
        return;
    }
    expect(run, c);
}

// A whole message, and nothing but.
static bool take_message(const Run *run, const Child *c) {
    MipTask *task = &run->task[c->task];
    int first, last;
    if (c->used != message_bytes(task))
        return false;
    memcpy(&first, c->message, sizeof first);
    memcpy(&last, c->message + c->used - sizeof last, sizeof last);
    if (first != MESSAGE_MARK || last != MESSAGE_MARK)
        return false;
    const char *at = c->message + sizeof first;
    memcpy(&run->outcome[c->task].reply, at, sizeof(MipReply));
    memcpy(task->value, at + sizeof(MipReply),
           (size_t)task->problem->program->column_count * sizeof(double));
    return true;
}

// How a child that sent no whole message ended.
static const char *fault_text(const Run *run, const Child *c, int status) {
    if (WIFSIGNALED(status))
        return arena_format(run->a, "the solver died of signal %d", WTERMSIG(status));
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return arena_format(run->a, "the solver ended with status %d", WEXITSTATUS(status));
    return arena_format(run->a, "the solver sent %zu bytes where %zu were due", c->used,
                        message_bytes(&run->task[c->task]));
}

// A child whose pipe has ended should be gone in no time; a second allows for a slow machine.
// False where it did not end by itself.
static bool wait_for(const Child *c, int *status) {
    const struct timespec pause = {.tv_nsec = 1000000};
    const double until = now() + 1;
    for (;;) {
        const pid_t got = waitpid(c->pid, status, WNOHANG);
        // Where this process was started with SIGCHLD ignored there is nothing to wait for.
        if (got == c->pid || (got < 0 && errno == ECHILD))
            return true;
        if (now() >= until)
            return false;
        nanosleep(&pause, NULL);
    }
}

// The pipe has ended, holds too much or what is no message, or the time is up. The place is free
// afterwards, or another child's that takes the tasks left.
static void finish(const Run *run, Child *c, bool overdue) {
    int status = 0;
    close(c->from);
    const bool whole = !overdue && take_message(run, c);
    // One that sends too much may go on for ever.
    const bool ended = !overdue && c->used < c->room && wait_for(c, &status);
    if (!ended) {
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    // With the message here, how the child ended does not matter any more.
    if (overdue)
        run->outcome[c->task].fault =
            arena_format(run->a, "the solver hung and was stopped after %g s",
                         run->task[c->task].problem->limits.guard_seconds);
    else if (!whole)
        run->outcome[c->task].fault = fault_text(run, c, ended ? status : 0);
    c->pid = 0;
    if (c->task + 1 < c->end)
        start(run, c, c->task + 1, c->end);
}

// Reads what is there.
static void receive(const Run *run, Child *c) {
    const ssize_t got = read(c->from, c->message + c->used, c->room - c->used);
    if (got < 0 && errno == EINTR)
        return;
    c->used += got > 0 ? (size_t)got : 0;
    if (got > 0 && c->used < c->room)
        return;
    // A message, with others to come.
    if (got > 0 && c->task + 1 < c->end && take_message(run, c)) {
        c->task++;
        expect(run, c);
        return;
    }
    finish(run, c, false);
}

// Waits for something to happen to any child, and handles it.
static void attend_children(const Run *run, Child *child, int places) {
    struct pollfd set[MIP_CHILDREN_MAX];
    int place[MIP_CHILDREN_MAX], count = 0;
    double first = 0;
    for (int i = 0; i < places; i++)
        if (child[i].pid) {
            set[count] = (struct pollfd){.fd = child[i].from, .events = POLLIN};
            place[count++] = i;
            if (count == 1 || child[i].deadline < first)
                first = child[i].deadline;
        }
    const double left = first - now();
    // Rounded up, or the last millisecond would be spent turning. At most an hour at once.
    poll(set, (nfds_t)count, left <= 0 ? 0 : left > 3600 ? 3600000 : (int)(1000 * left) + 1);
    for (int i = 0; i < count; i++) {
        Child *c = &child[place[i]];
        if (set[i].revents)
            receive(run, c);
        if (c->pid && now() >= c->deadline)
            finish(run, c, true);
    }
}

// Tasks of a child: by their number, not by that of children, or answers might depend on it.
static int tasks_each(int count) {
    enum { FEW = 12, CHILDREN = 4 };
    return count < FEW ? 1 : (count + CHILDREN - 1) / CHILDREN;
}

void mip_child_run(MipSolver solver, MipTask *task, int count, int children, Arena *a,
                   MipOutcome *outcome) {
    Run run = {.solver = solver, .task = task, .outcome = outcome, .a = a};
    CHECK(children >= 1 && children <= MIP_CHILDREN_MAX);
    Child *child = arena_array(a, Child, children);
    const int each = tasks_each(count);
    for (int next = 0, running = 1; next < count || running > 0;) {
        for (int i = 0; i < children && next < count; i++) {
            if (child[i].pid)
                continue;
            const int end = count - next < each ? count : next + each;
            start(&run, &child[i], next, end);
            next = end;
        }
        running = 0;
        for (int i = 0; i < children; i++)
            running += child[i].pid != 0;
        if (running > 0)
            attend_children(&run, child, children);
    }
}
