// Child processes for solvers, and what they send back.
//
// The solver aborts the process on its internal errors, keeps state by thread, and can't be stopped
// from outside: so it never runs in this process. A child is a fork, which has the program in its
// memory; it sends one message of a fixed size over a pipe (header, values, trailer) and ends. The
// parent reads all pipes at once and takes a message only whole: anything else is a fault with a
// sentence. Children share nothing, so answers don't depend on how many run side by side.
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
    pid_t pid; // 0: this place is free
    int task;
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

// From here on in the child.
_Noreturn static void solve_in_child(const Run *run, const MipTask *task, int out, pid_t parent) {
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
    MipReply reply;
    memset(&reply, 0, sizeof reply); // padding is sent too
    run->solver(task, &reply);
    const int mark = MESSAGE_MARK;
    write_all(&mark, sizeof mark);
    write_all(&reply, sizeof reply);
    write_all(task->value, (size_t)task->problem->program->column_count * sizeof(double));
    write_all(&mark, sizeof mark);
    _exit(0);
}

// Leaves the place free, with a fault as the outcome, where no child can be made.
static void start(Run *run, Child *c, int index) {
    int end[2];
    MipTask *task = &run->task[index];
    const pid_t self = getpid();
    *c = (Child){.task = index, .room = message_bytes(task) + 1};
    if (pipe2(end, O_CLOEXEC) != 0) {
        run->outcome[index].fault =
            arena_format(run->a, "no pipe to the solver: %s", strerror(errno));
        return;
    }
    c->message = arena_array(run->a, char, c->room);
    c->pid = fork();
    if (c->pid == 0)
        solve_in_child(run, task, end[1], self);
    close(end[1]);
    c->from = end[0];
    if (c->pid < 0) {
        run->outcome[index].fault =
            arena_format(run->a, "no process for the solver: %s", strerror(errno));
        close(end[0]);
        c->pid = 0;
        return;
    }
    c->deadline = now() + task->problem->limits.guard_seconds;
}

// A whole message, and nothing but.
static bool take_message(const Run *run, const Child *c) {
    MipTask *task = &run->task[c->task];
    int first, last;
    if (c->used != c->room - 1)
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
                        c->room - 1);
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

// The pipe has ended, holds too much, or the time is up. The place is free afterwards.
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
}

// Reads what is there.
static void receive(const Run *run, Child *c) {
    const ssize_t got = read(c->from, c->message + c->used, c->room - c->used);
    if (got < 0 && errno == EINTR)
        return;
    c->used += got > 0 ? (size_t)got : 0;
    if (got <= 0 || c->used == c->room)
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

void mip_child_run(MipSolver solver, MipTask *task, int count, int children, Arena *a,
                   MipOutcome *outcome) {
    Run run = {.solver = solver, .task = task, .outcome = outcome, .a = a};
    CHECK(children >= 1 && children <= MIP_CHILDREN_MAX);
    Child *child = arena_array(a, Child, children);
    for (int next = 0, running = 1; next < count || running > 0;) {
        for (int i = 0; i < children && next < count; i++)
            if (!child[i].pid)
                start(&run, &child[i], next++);
        running = 0;
        for (int i = 0; i < children; i++)
            running += child[i].pid != 0;
        if (running > 0)
            attend_children(&run, child, children);
    }
}
