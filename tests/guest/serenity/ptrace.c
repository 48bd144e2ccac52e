/* Tracing: a child that asked for it stops at exec; attaching, registers, memory, calls; what tracing does to signals. */
#include "sy.h"

enum { TRACE_ME = 1, ATTACH, CONTINUE, SYSCALL, GETREGS, DETACH, PEEK, POKE, SETREGS, POKEDEBUG, PEEKDEBUG, PEEKBUF };
enum { P_PID = 2, WNOHANG = 1, WSTOPPED = 2, WEXITED = 4, CLD_EXITED = 0, CLD_KILLED = 1, CLD_STOPPED = 4 };
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, RIP, RFLAGS = 17 };

struct ptrace_params { i32 request, tid; word addr, data; };
struct registers { u64 r[18]; u32 segments[6]; };
struct buffer { void *data; word size; };
_Static_assert(sizeof(struct registers) == 168, "layouts");

static struct siginfo info;
static i64 trace(int request, i64 tid, const volatile void *addr, const volatile void *data)
{
    struct ptrace_params params = {request, (i32)tid, (word)addr, (word)data};
    return CALL1(SC_ptrace, &params);
}
static i64 wait_for(i64 pid, int options)
{
    struct waitid_params params = {P_PID, (i32)pid, &info, options};
    info = (struct siginfo){0};
    return CALL1(SC_waitid, &params);
}
static int stopped_by(i64 pid, int signo) { return wait_for(pid, WSTOPPED | WEXITED) == 0 && info.code == CLD_STOPPED && info.status == signo; }
static i64 spawn(void (*what)(void)) { i64 pid = CALL0(SC_fork); if (!pid) what(), leave(0); return pid; }
static void sleep_long(void) { u32 none = 0; for (;;) CALL1(SC_sigsuspend, &none); }
static void nothing(int signo) { (void)signo; leave(66); }

static volatile u64 target = 0x1122334455667788;
static const volatile u64 constant = 0x99;
static char *self;
static volatile int *ready;                                          /* shared with children */
static void until_ready(void) { while (!*ready) CALL0(SC_yield); *ready = 0; }
static void run_self(const char *mode)
{
    struct string words[2] = {{self, length(self)}, {mode, length(mode)}};
    struct execve_params params = {{self, length(self)}, {words, 2}, {NULL, 0}};
    CALL1(SC_execve, &params);
    leave(99);
}
static void ask_and_run(void) { trace(TRACE_ME, 0, NULL, NULL); run_self("once"); }
static void call_once(void) { CALL0(SC_getppid); CALL0(SC_getpgrp); leave(11); }
static void wait_then_call(void)
{
    u32 none = 0;
    (void)none;
    while (target == 0x1122334455667788) CALL0(SC_yield);
    call_once();
}
static void wait_then_return(void) { while (target == 0x1122334455667788) CALL0(SC_yield); leave((int)(target & 0xff) + (constant == 0x42)); }
static void caught(void)
{
    struct { void *handler; u32 mask; i32 flags; } action = {nothing, 0, 0};
    CALL3(SC_sigaction, SIGUSR1, &action, NULL), CALL3(SC_sigaction, SIGCONT, &action, NULL);
    *ready = 1;
    wait_then_return();
}

static void refusals(void)
{
    i64 pid = spawn(sleep_long);
    CHECK(CALL1(SC_ptrace, 16) == -EFAULT && trace(ATTACH, CALL0(SC_getpid), NULL, NULL) == -EINVAL);
    CHECK(trace(ATTACH, 31999, NULL, NULL) == -ESRCH && trace(CONTINUE, pid, NULL, NULL) == -EPERM && trace(77, pid, NULL, NULL) == -EPERM);
    CHECK(trace(ATTACH, pid, NULL, NULL) == 0 && trace(ATTACH, pid, NULL, NULL) == -EBUSY);
    CHECK(stopped_by(pid, SIGSTOP) && trace(77, pid, NULL, NULL) == -EINVAL);
    struct registers regs;
    CHECK(trace(GETREGS, pid, (void *)16, NULL) == -EFAULT && trace(SETREGS, pid, (void *)16, NULL) == -EFAULT);
    CHECK(trace(PEEK, pid, (void *)16, &regs) == -EFAULT && trace(PEEK, pid, &target, (void *)16) == -EFAULT);
    CHECK(trace(POKE, pid, (void *)16, NULL) == -EFAULT && trace(PEEKBUF, pid, &target, (void *)16) == -EFAULT);
    CHECK(trace(GETREGS, pid, &regs, NULL) == 0);
    regs.r[RIP] = 0x123456789abcdef0;
    CHECK(trace(SETREGS, pid, &regs, NULL) == -EINVAL);
    CHECK(trace(PEEKDEBUG, pid, (void *)4, &regs) == -EINVAL && trace(POKEDEBUG, pid, (void *)6, NULL) == -EINVAL);
    u64 word_read = 1;
    CHECK(trace(POKEDEBUG, pid, (void *)0, (void *)0x1234) == 0 && trace(PEEKDEBUG, pid, (void *)0, &word_read) == 0 && word_read == 0x1234);
    CHECK(CALL2(SC_kill, pid, SIGKILL) == 0 && wait_for(pid, WEXITED) == 0 && info.code == CLD_KILLED && info.status == SIGKILL);
}

static void looking(void)
{
    u64 word_read = 0, copy[2] = {0, 0};
    struct registers regs;
    struct buffer buffer = {copy, 8};
    i64 pid = spawn(wait_then_return);
    CHECK(trace(ATTACH, pid, NULL, NULL) == 0 && stopped_by(pid, SIGSTOP));
    CHECK(trace(GETREGS, pid, &regs, NULL) == 0 && regs.r[RSP] > 0x10000 && regs.segments[0] == 0);
    CHECK(trace(PEEK, pid, &target, &word_read) == 0 && word_read == 0x1122334455667788);
    CHECK(trace(PEEKBUF, pid, &target, &buffer) == 0 && copy[0] == word_read && copy[1] == 0);
    CHECK(trace(POKE, pid, &constant, (void *)0x42) == 0 && trace(POKE, pid, &target, (void *)5) == 0);
    CHECK(target == 0x1122334455667788 && constant == 0x99);                     /* the tracer's own are other pages */
    CHECK(trace(CONTINUE, pid, NULL, NULL) == 0 && wait_for(pid, WEXITED) == 0 && info.code == CLD_EXITED && info.status == 6);
}

static void at_calls(void)
{
    struct registers regs;
    i64 pid = spawn(wait_then_call);
    CHECK(trace(ATTACH, pid, NULL, NULL) == 0 && stopped_by(pid, SIGSTOP));
    CHECK(trace(POKE, pid, &target, NULL) == 0);
    int calls = 0, right = 0, results = 0;
    while (calls++ < 40) {
        if (trace(SYSCALL, pid, NULL, NULL) || wait_for(pid, WSTOPPED | WEXITED) || info.code != CLD_STOPPED || info.status != SIGTRAP) break;
        trace(GETREGS, pid, &regs, NULL);
        if (regs.r[RAX] == SC_getpgrp && !right) {                               /* it begins: make it another call */
            right = 1;
            regs.r[RAX] = SC_getpid;
            trace(SETREGS, pid, &regs, NULL);
        } else if (right == 1) {                                                 /* it ends */
            right = 2;
            results = regs.r[RAX] == (u64)pid;
        }
    }
    CHECK(right == 2 && results && info.code == CLD_EXITED && info.status == 11);
}

static void signals_of_a_tracee(void)
{
    i64 pid = spawn(caught);
    until_ready();
    CHECK(trace(ATTACH, pid, NULL, NULL) == 0 && stopped_by(pid, SIGSTOP));
    CHECK(trace(CONTINUE, pid, NULL, NULL) == 0 && wait_for(pid, WEXITED) == 0 && info.status == 66);    /* CONT is not held back */
    pid = spawn(wait_then_return);
    trace(ATTACH, pid, NULL, NULL);
    CHECK(stopped_by(pid, SIGSTOP) && trace(CONTINUE, pid, NULL, NULL) == 0);
    CHECK(CALL2(SC_kill, pid, SIGUSR1) == 0 && stopped_by(pid, SIGUSR1));        /* it would die of it; now it is gone */
    CHECK(trace(CONTINUE, pid, NULL, NULL) == 0 && CALL2(SC_kill, pid, SIGSEGV) == 0 && stopped_by(pid, SIGSEGV));
    CHECK(trace(POKE, pid, &target, (void *)1) == 0 && trace(DETACH, pid, NULL, NULL) == 0);
    i64 after = trace(CONTINUE, pid, NULL, NULL);
    CHECK((after == -EPERM || after == -ESRCH) && wait_for(pid, WEXITED) == 0 && info.code == CLD_EXITED && info.status == 1);
}

static void at_exec(void)
{
    i64 pid = spawn(ask_and_run);
    CHECK(stopped_by(pid, SIGSTOP) && trace(GETREGS, pid, (void *)&info, NULL) == -EPERM);       /* nobody traces it yet */
    struct registers regs;
    CHECK(trace(ATTACH, pid, NULL, NULL) == 0 && trace(GETREGS, pid, &regs, NULL) == 0 && regs.r[RDI] == 2);
    CHECK(trace(CONTINUE, pid, NULL, NULL) == 0);
    CHECK(stopped_by(pid, SIGSTOP));                                             /* its next exec stops again */
    CHECK(trace(CONTINUE, pid, NULL, NULL) == 0 && wait_for(pid, WEXITED) == 0 && info.status == 12);
}

/* Whom a process traces ends with it; others cannot trace what is traced. */
static i64 victim;
static void trace_and_leave(void) { leave(trace(ATTACH, victim, NULL, NULL) == 0 ? 0 : 1); }
static void others(void)
{
    victim = spawn(sleep_long);
    i64 pid = spawn(trace_and_leave);
    CHECK(wait_for(pid, WEXITED) == 0 && info.status == 0);
    CHECK(wait_for(victim, WEXITED) == 0 && info.code == CLD_KILLED && info.status == SIGKILL);
    victim = spawn(sleep_long);
    CHECK(trace(ATTACH, victim, NULL, NULL) == 0 && stopped_by(victim, SIGSTOP));
    CHECK(in_child(trace_and_leave) == 256 + 1);
    CALL2(SC_kill, victim, SIGKILL);
    struct waitid_params params = {P_PID, (i32)victim, &info, WEXITED};
    CHECK(CALL1(SC_waitid, &params) == 0);
    CALL2(SC_prctl, 1, 1);
    victim = CALL0(SC_fork);
    if (!victim) { CALL2(SC_prctl, 1, 0); *ready = 1; sleep_long(); }
    until_ready();
    CHECK(trace(ATTACH, victim, NULL, NULL) == -EACCES);                         /* not dumpable */
    CALL2(SC_kill, victim, SIGKILL);
}

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    self = argv[0];
    if (argc == 2 && same(argv[1], "once")) run_self("twice");
    if (argc == 2) return 12;
    ready = (volatile int *)map(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    refusals();
    looking();
    at_calls();
    signals_of_a_tracee();
    at_exec();
    others();
    return 0;
}
