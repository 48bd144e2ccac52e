/* What an exec is to those around it: a tracer, who waits through kqueue, the parent of one that stops; what it leaves and resets.
 * builds: amd64 i386 */
#include "nb.h"

enum { PT_TRACE_ME = 0, PT_READ_D = 2, PT_WRITE_D = 5, PT_CONTINUE = 7, PT_KILL = 8, PT_DETACH = 10 };
#define ptrace(request, pid, addr, data) CALL4(26, request, pid, addr, data)

static volatile u32 looked_at = 0x1234;
static const char *self;

static int status_of(struct result pid, int options)
{
    int status = -1;
    return gave(CALL4(SYS_wait4, pid.value, &status, options, 0), pid.value) ? status : -1;
}

static struct result child(const char *what, int traced)
{
    const char *argv[] = {self, what, 0}, *none[] = {0};
    struct result pid = CALL0(SYS_fork);
    if (!pid.carry && pid.value == 0) {
        if (traced && ptrace(PT_TRACE_ME, 0, 0, 0).carry) leave(90);
        if (traced && !failed(ptrace(PT_TRACE_ME, 0, 0, 0), 16)) leave(91);            /* EBUSY: only once */
        CALL3(SYS_execve, self, argv, none);
        leave(92);
    }
    return pid;
}

static int stopped(int signo) { return signo << 8 | 0x7f; }

static void traced(void)
{
    struct result pid = child("plain", 1);
    CHECK(status_of(pid, 0) == stopped(SIGTRAP));                       /* before the first instruction, told without WUNTRACED */
    CHECK(gave(ptrace(PT_READ_D, pid.value, &looked_at, 0), 0x1234));
    CHECK(gave(ptrace(PT_WRITE_D, pid.value, &looked_at, 7), 0));
    CHECK(failed(ptrace(PT_READ_D, pid.value, 8, 0), EFAULT));
    CHECK(failed(ptrace(77, pid.value, 1, 0), EINVAL));
    CHECK(failed(ptrace(PT_CONTINUE, pid.value, 1, 64), EINVAL) && failed(ptrace(PT_CONTINUE, pid.value, 1, -1), EINVAL));
    CHECK(gave(ptrace(PT_CONTINUE, pid.value, 1, 0), 0));
    CHECK(status_of(pid, 0) == 47 << 8);                                /* 40 and what was written */
    pid = child("signals", 1);
    CHECK(status_of(pid, 0) == stopped(SIGTRAP));
    CHECK(gave(ptrace(PT_CONTINUE, pid.value, 1, 0), 0));
    CHECK(status_of(pid, 0) == stopped(SIGUSR1));
    CHECK(gave(ptrace(PT_CONTINUE, pid.value, 1, 0), 0));               /* without it */
    CHECK(status_of(pid, 0) == stopped(SIGUSR1));
    CHECK(gave(ptrace(PT_CONTINUE, pid.value, 1, SIGUSR2), 0));         /* with another: its handler counts ten */
    CHECK(status_of(pid, 0) == stopped(SIGTERM));
    CHECK(gave(ptrace(PT_DETACH, pid.value, 1, 0), 0));
    struct result late = ptrace(PT_CONTINUE, pid.value, 1, 0);
    CHECK(failed(late, EPERM) || failed(late, ESRCH));                  /* nobody traces it; it may be gone already */
    CHECK(status_of(pid, 0) == 10 << 8);
    pid = child("signals", 1);
    CHECK(status_of(pid, 0) == stopped(SIGTRAP));
    CHECK(gave(ptrace(PT_KILL, pid.value, 0, 0), 0));
    CHECK(status_of(pid, 0) == SIGKILL);
    pid = child("signals", 1);
    CHECK(status_of(pid, 0) == stopped(SIGTRAP));
    CHECK(gave(ptrace(PT_CONTINUE, pid.value, 1, SIGTERM), 0));
    CHECK(status_of(pid, 0) == SIGTERM);
    CHECK(failed(ptrace(PT_READ_D, 99999, 0, 0), ESRCH));
    CHECK(failed(ptrace(PT_READ_D, CALL0(SYS_getppid).value, 0, 0), EPERM) || failed(ptrace(PT_READ_D, 1, 0, 0), ESRCH));
    CHECK(failed(CALL4(SYS_wait4, -1, 0, 1, 0), 10));
}

/* proc.PID.stopexec: stopped before the first instruction, a continuation that came before is none. */
static void stops(void)
{
    int pipe[2];
    CALL2(453, pipe, 0);
    struct result pid = CALL0(SYS_fork);
    if (pid.value == 0) {
        const char *argv[] = {self, "plain", 0}, *none[] = {0};
        struct sigset cont = only(SIGCONT);
        CALL3(SYS_sigprocmask, SIG_BLOCK, &cont, 0);
        CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGCONT);
        CALL3(SYS_read, pipe[0], &cont, 1);
        CALL3(SYS_execve, self, argv, none);
        leave(92);
    }
    int name[] = {10, (int)pid.value, 4}, on = 1;
    CHECK(gave(CALL6(202, name, 3, 0, 0, &on, sizeof on), 0));
    CALL3(SYS_write, pipe[1], "x", 1);
    CHECK(status_of(pid, 2) == stopped(SIGSTOP));                       /* WUNTRACED */
    struct result again = CALL4(SYS_wait4, pid.value, 0, 1 | 2, 0);
    CHECK(gave(again, 0));
    CALL2(SYS_kill, pid.value, SIGCONT);
    CHECK(status_of(pid, 0) == 40 << 8);
    CALL1(SYS_close, pipe[0]);
    CALL1(SYS_close, pipe[1]);
}

/* What lives on through an exec and what does not, as the new program finds it. */
static int found(void)
{
    struct sigset mask, pending;
    struct sigaction action;
    int good = gave(CALL0(SYS_lwp_self), 1);
    CALL3(SYS_sigprocmask, SIG_BLOCK, 0, &mask);
    good &= mask.bits[0] == (only(SIGUSR1).bits[0] | only(SIGWINCH).bits[0]);
    CALL1(SYS_sigpending, &pending);
    good &= pending.bits[0] == only(SIGUSR1).bits[0];                   /* SIGWINCH was caught, and does nothing by default */
    CALL5(SYS_sigaction, SIGUSR1, 0, &action, 0, 0);
    good &= action.handler == NULL;
    CALL5(SYS_sigaction, SIGUSR2, 0, &action, 0, 0);
    good &= action.handler == (void *)1;
    CALL5(SYS_sigaction, SIGCHLD, 0, &action, 0, 0);
    good &= action.handler == NULL;
    struct stack stack;
    CALL2(SYS_sigaltstack, 0, &stack);
    good &= stack.flags == SS_DISABLE;
    good &= failed(CALL1(SYS_close, 60), EBADF) && gave(CALL1(SYS_close, 61), 0);
    good &= gave(CALL0(SYS_issetugid), 0) && start_strings->envc == 0;
    return good ? 43 : 1;
}

static volatile int seconds;
static void on_signal(int signo) { (void)signo; seconds += 10; }

static void left_behind(void)
{
    struct result pid = CALL0(SYS_fork);
    if (pid.value == 0) {
        struct sigaction ignore = {(void *)1, nothing, 0};
        struct sigset both = {{only(SIGUSR1).bits[0] | only(SIGWINCH).bits[0], 0, 0, 0}};
        static u8 stack_room[16384];
        struct stack stack = {(word)stack_room, sizeof stack_room, 0};
        handle(SIGUSR1, on_signal, 0);
        handle(SIGWINCH, on_signal, 0);
        CALL5(SYS_sigaction, SIGUSR2, &ignore, 0, 0, 0);
        CALL5(SYS_sigaction, SIGCHLD, &ignore, 0, 0, 0);
        CALL2(SYS_sigaltstack, &stack, 0);
        CALL3(SYS_sigprocmask, SIG_SETMASK, &both, 0);
        CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGUSR1);
        CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGWINCH);
        CALL2(90, 1, 60);                                               /* dup2 */
        CALL2(90, 1, 61);
        CALL3(92, 60, 2, 1);                                            /* F_SETFD, FD_CLOEXEC */
        const char *argv[] = {self, "found", 0};
        CALL3(SYS_execve, self, argv, 0);                               /* no environment is none */
        leave(92);
    }
    CHECK(status_of(pid, 0) == 43 << 8);
}

static int cases(int argc, char **argv)
{
    self = argv[0];
    if (argc == 2 && same(argv[1], "plain")) return looked_at == 0x1234 ? 40 : 40 + (int)looked_at;
    if (argc == 2 && same(argv[1], "found")) return found();
    if (argc == 2 && same(argv[1], "signals")) {
        handle(SIGUSR2, on_signal, 0);
        CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGUSR1);
        CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGUSR1);
        CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGTERM);
        return seconds;
    }
    traced();
    stops();
    left_behind();
    return 0;
}
