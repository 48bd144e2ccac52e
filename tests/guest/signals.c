/* Signals as calls see them: dispositions, masks, queues and waits.
 * builds: x64 i386
 */
#include "case.h"

static sigset_t just(int number) { sigset_t set; sigemptyset(&set); sigaddset(&set, number); return set; }
static void block(int number) { sigset_t set = just(number); sigprocmask(SIG_BLOCK, &set, NULL); }
static void unblock(int number) { sigset_t set = just(number); sigprocmask(SIG_UNBLOCK, &set, NULL); }
static int pending(int number) { sigset_t set; sigpending(&set); return sigismember(&set, number); }

static void full(int number, siginfo_t *info, void *context)
{
    (void)context;
    say("%s signo %d code %d errno %d mine %d uid %d value %d", signal_name(number), info->si_signo == number, info->si_code, info->si_errno,
        info->si_pid == getpid(), info->si_uid == getuid(), info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
}

static void with_info(int number, int flags)
{
    struct sigaction action = {.sa_flags = flags | SA_SIGINFO};
    action.sa_sigaction = full;
    sigaction(number, &action, NULL);
}

CASE(actions)
{
    struct sigaction action = {.sa_handler = tell, .sa_flags = SA_RESTART}, old;
    T(sigaction(SIGUSR1, &action, NULL));
    T(sigaction(SIGUSR1, NULL, &old));
    IS(old.sa_handler == tell && old.sa_flags & SA_RESTART);
    T(raise(SIGUSR1));
    T(sigaction(SIGKILL, &action, NULL));
    T(sigaction(SIGSTOP, &action, NULL));
    T(sigaction(SIGKILL, NULL, &old));
    T(sigaction(0, &action, NULL));
    T(sigaction(65, &action, NULL));
    T(sigaction(SIGRTMAX, &action, NULL));
    T(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    T(syscall(SYS_rt_sigaction, SIGUSR1, (void *)1, NULL, 8));
    T(syscall(SYS_rt_sigprocmask, 9, &action, NULL, 8));
    T(syscall(SYS_rt_sigprocmask, 9, NULL, NULL, 8));
    T(syscall(SYS_rt_sigpending, (void *)1, 8));
}

CASE(info_of_each_sender)
{
    with_info(SIGUSR1, 0);
    T(kill(getpid(), SIGUSR1));
    T(raise(SIGUSR1));
    T(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42}));
    T(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1));
    with_info(SIGCHLD, SA_RESTART);
    pid_t pid = fork();
    if (pid == 0) _exit(3);
    reap(pid);
}

static siginfo_t got;
static void keep(int number, siginfo_t *info, void *context) { (void)number; (void)context; got = *info; }

CASE(info_of_a_child)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    action.sa_sigaction = keep;
    sigaction(SIGCHLD, &action, NULL);
    pid_t pid = fork();
    if (pid == 0) _exit(3);
    waitpid(pid, NULL, 0);
    say("code %d status %d mine %d", got.si_code, got.si_status, got.si_pid == pid);
    pid = fork();
    if (pid == 0) { kill(getpid(), SIGTERM); pause(); }
    waitpid(pid, NULL, 0);
    say("code %d status %d", got.si_code, got.si_status);
    pid = fork();
    if (pid == 0) { kill(getpid(), SIGSTOP); for (;;) pause(); }
    waitpid(pid, NULL, WUNTRACED);
    say("code %d status %d", got.si_code, got.si_status);
    kill(pid, SIGCONT);
    waitpid(pid, NULL, WCONTINUED);
    pause_ms(30);
    say("code %d status %d", got.si_code, got.si_status);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    say("code %d status %d", got.si_code, got.si_status);
}

static void nested(int number)
{
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    say("in %s: USR1 %d USR2 %d HUP %d", signal_name(number), sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2), sigismember(&now, SIGHUP));
    if (number == SIGUSR1) { raise(SIGUSR2); raise(SIGHUP); say("HUP pending %d", pending(SIGHUP)); }
    say("out %s", signal_name(number));
}

CASE(nesting_and_masks)
{
    struct sigaction action = {.sa_handler = nested};
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR2, &action, NULL), sigaction(SIGHUP, &action, NULL);
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    say("after: USR1 %d HUP %d", sigismember(&now, SIGUSR1), sigismember(&now, SIGHUP));
}

static int depth;
static void again(int number) { say("depth %d", ++depth); if (depth < 3) raise(number); say("leaving"); }

CASE(flags)
{
    handle(SIGUSR1, again, SA_NODEFER);
    raise(SIGUSR1);
    depth = 0;
    handle(SIGUSR1, again, 0);
    raise(SIGUSR1);
    handle(SIGUSR2, tell, SA_RESETHAND);
    raise(SIGUSR2);
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    IS(now.sa_handler == SIG_DFL);
    CHILD raise(SIGUSR2); REAPED
}

CASE(pending_and_unblocking)
{
    handle(SIGUSR1, tell, 0), handle(SIGTERM, tell, 0), handle(SIGRTMIN, tell, 0);
    block(SIGUSR1), block(SIGTERM), block(SIGRTMIN);
    raise(SIGTERM), raise(SIGUSR1), raise(SIGUSR1), raise(SIGRTMIN), raise(SIGRTMIN);
    say("pending %d %d %d", pending(SIGUSR1), pending(SIGTERM), pending(SIGRTMIN));
    CHILD say("child pending %d", pending(SIGUSR1)); REAPED
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    block(SIGUSR1);
    raise(SIGUSR1);
    handle(SIGUSR1, SIG_IGN, 0);
    say("ignoring discards: %d", pending(SIGUSR1));
    raise(SIGUSR1);
    say("ignored while blocked: %d", pending(SIGUSR1));
    handle(SIGCHLD, SIG_DFL, 0);
    block(SIGCHLD);
    raise(SIGCHLD);
    say("default-ignored while blocked: %d", pending(SIGCHLD));
}

CASE(real_time_order)
{
    for (int i = 0; i < 3; i++) with_info(SIGRTMIN + i, 0), block(SIGRTMIN + i);
    for (int i = 0; i < 6; i++) sigqueue(getpid(), SIGRTMIN + 2 - i % 3, (union sigval){.sival_int = i});
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    say("all delivered");
}

CASE(suspend)
{
    handle(SIGUSR1, tell, 0), handle(SIGUSR2, tell, 0);
    block(SIGUSR1), block(SIGUSR2);
    raise(SIGUSR1);
    sigset_t all, now;
    sigfillset(&all);
    sigdelset(&all, SIGUSR1);
    T(sigsuspend(&all));
    sigprocmask(SIG_SETMASK, NULL, &now);
    say("restored %d %d", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));
    pid_t me = getpid();
    if (fork() == 0) { pause_ms(30); kill(me, SIGUSR1); _exit(0); }
    T(sigsuspend(&all));
    wait(NULL);
    if (fork() == 0) { pause_ms(30); kill(me, SIGUSR2); pause_ms(30); kill(me, SIGTERM); _exit(0); }
    handle(SIGTERM, tell, 0);
    unblock(SIGUSR2);
    T(pause());
    T(pause());
}

CASE(timed_waits)
{
    siginfo_t info;
    sigset_t set = just(SIGUSR1);
    block(SIGUSR1);
    struct timespec zero = {0, 0}, brief = {0, 30000000}, bad = {0, 2000000000};
    T(sigtimedwait(&set, &info, &zero));
    T(sigtimedwait(&set, &info, &brief));
    T(sigtimedwait(&set, &info, &bad));
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 9});
    T(sigtimedwait(&set, &info, &brief));
    say("code %d value %d", info.si_code, info.si_value.sival_int);
    pid_t me = getpid();
    if (fork() == 0) { pause_ms(30); kill(me, SIGUSR1); _exit(0); }
    int number;
    R(sigwait(&set, &number));
    T(number);
    wait(NULL);
    handle(SIGUSR2, tell, 0);
    if (fork() == 0) { pause_ms(30); kill(me, SIGUSR2); _exit(0); }
    T(syscall(SYS_rt_sigtimedwait, &set, &info, NULL, 8));
    wait(NULL);
}

CASE(restart_or_not)
{
    for (int flags = 0; flags < 2; flags++) {
        int p[2];
        char c = 0;
        pid_t me = getpid();
        pipe(p);
        handle(SIGUSR1, tell, flags ? SA_RESTART : 0);
        pid_t pid = fork();
        if (pid == 0) { pause_ms(30); kill(me, SIGUSR1); pause_ms(30); write(p[1], "x", 1); _exit(0); }
        T(read(p[0], &c, 1));
        int status;
        T(waitpid(pid, &status, 0) == pid);
    }
}

CASE(default_actions)
{
    for (int number = 1; number < 32; number++) {
        if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) continue;
        pid_t pid = fork();
        if (pid == 0) { raise(number); _exit(0); }
        int status;
        waitpid(pid, &status, 0);
        say("%s: %s", signal_name(number), ending(status));
    }
}

CASE(stop_and_continue)
{
    int status, p[2];
    pipe(p);
    pid_t pid = fork();
    if (pid == 0) { handle(SIGCONT, tell, 0); write(p[1], "r", 1); for (;;) pause(); }
    char c;
    read(p[0], &c, 1);
    kill(pid, SIGSTOP);
    waitpid(pid, &status, WUNTRACED);
    say("%s", ending(status));
    kill(pid, SIGTERM);
    pause_ms(30);
    T(waitpid(pid, &status, WNOHANG | WUNTRACED));
    kill(pid, SIGKILL);
    reap(pid);
    pid = fork();
    if (pid == 0) { block(SIGCONT); handle(SIGCONT, tell, 0); raise(SIGSTOP); say("runs on, pending %d", pending(SIGCONT)); unblock(SIGCONT); _exit(0); }
    waitpid(pid, &status, WUNTRACED);
    kill(pid, SIGCONT);
    reap(pid);
}

CASE(killing)
{
    T(kill(getpid(), 0));
    T(kill(1 << 29, 0));
    T(kill(getpid(), 65));
    T(kill(getpid(), -1));
    T(kill(-(1 << 29), 0));
    CHILD
        setpgid(0, 0);
        handle(SIGUSR1, tell, 0);
        pid_t pid = fork();
        if (pid == 0) { pause(); _exit(4); }
        pause_ms(30);
        kill(0, SIGUSR1);
        reap(pid);
        pid = fork();
        if (pid == 0) { setpgid(0, 0); handle(SIGUSR1, SIG_DFL, 0); pause(); }
        pause_ms(30);
        T(kill(-pid, SIGUSR1));
        reap(pid);
    REAPED
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    pause_ms(20);
    T(kill(pid, SIGKILL));
    reap(pid);
    T(kill(pid, 0));
}

CASE(killing_as_others)
{
    pid_t pid = fork();
    if (pid == 0) { for (;;) pause(); }
    CHILD T(setuid(1000)); T(kill(pid, SIGTERM)); T(kill(pid, 0)); T(kill(getpid(), 0)); REAPED
    kill(pid, SIGKILL);
    reap(pid);
}

CASE(queueing_rules)
{
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_USER};
    T(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    handle(SIGUSR1, tell, 0);
    T(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    pid_t pid = fork();
    if (pid == 0) { for (;;) pause(); }
    T(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info));
    info.si_code = SI_QUEUE;
    T(syscall(SYS_rt_sigqueueinfo, pid, SIGTERM, &info));
    reap(pid);
}

static sigjmp_buf escape;
static void jumps(int number) { siglongjmp(escape, number); }

CASE(jumping_out)
{
    handle(SIGUSR1, jumps, 0);
    for (volatile int i = 0; i < 3; i++) {
        int number = sigsetjmp(escape, 1);
        if (number == 0) raise(SIGUSR1);
        sigset_t now;
        sigprocmask(SIG_SETMASK, NULL, &now);
        say("round %d: from %s, blocked %d", i, signal_name(number), sigismember(&now, SIGUSR1));
    }
    handle(SIGSEGV, jumps, 0);
    if (sigsetjmp(escape, 1) == 0) *(volatile int *)16 = 1;
    if (sigsetjmp(escape, 0) == 0) *(volatile int *)16 = 1;
    CHILD *(volatile int *)16 = 1; REAPED
}

CASE(alternate_stack)
{
    stack_t stack, old;
    static char room[65536];
    T(sigaltstack(NULL, &old));
    say("flags %d", old.ss_flags);
    stack = (stack_t){.ss_sp = room, .ss_size = sizeof room};
    T(sigaltstack(&stack, NULL));
    T(sigaltstack(NULL, &old));
    IS(old.ss_sp == room && old.ss_size == sizeof room);
    stack.ss_size = 100;
    T(sigaltstack(&stack, NULL));
    stack.ss_flags = 77;
    T(sigaltstack(&stack, NULL));
    T(sigaltstack((stack_t *)1, NULL));
    stack.ss_flags = SS_DISABLE;
    T(sigaltstack(&stack, NULL));
    T(sigaltstack(NULL, &old));
    say("flags %d", old.ss_flags);
}

static char room[65536];
static void on_room(int number)
{
    char here;
    stack_t now, other = {.ss_sp = room, .ss_size = sizeof room};
    sigaltstack(NULL, &now);
    say("%s on the other stack %d flags %d", signal_name(number), &here > room && &here < room + sizeof room, now.ss_flags);
    T(sigaltstack(&other, NULL));
    if (number == SIGUSR1) raise(SIGUSR2);
}

CASE(running_on_the_alternate_stack)
{
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    sigaltstack(&stack, NULL);
    handle(SIGUSR1, on_room, SA_ONSTACK), handle(SIGUSR2, on_room, SA_ONSTACK), handle(SIGHUP, on_room, 0);
    raise(SIGUSR1);
    raise(SIGHUP);
    CHILD stack_t now; sigaltstack(NULL, &now); say("child flags %d", now.ss_flags); REAPED
}

static volatile int levels;
static void overflow_handler(int number) { say("%s after a deep fall", signal_name(number)); _exit(levels > 100 ? 0 : 1); }
static int fall(int level) { volatile char pad[4096]; pad[0] = (char)level; levels = level; return fall(level + 1) + pad[0]; }

CASE(stack_overflow)
{
    CHILD fall(0); REAPED
    CHILD
        stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
        sigaltstack(&stack, NULL);
        handle(SIGSEGV, overflow_handler, SA_ONSTACK);
        fall(0);
    REAPED
    CHILD handle(SIGSEGV, overflow_handler, 0); fall(0); REAPED
}
