/* Processes: fork, vfork, clone, and waiting for them.
 * builds: x64 i386
 */
#include "case.h"
#include <sys/prctl.h>
#include <sys/resource.h>

CASE(exit_codes)
{
    int codes[] = {0, 1, 127, 255, 256, -1};
    for (int i = 0; i < 6; i++) { pid_t pid = fork(); if (pid == 0) _exit(codes[i]); reap(pid); }
    int signals[] = {SIGKILL, SIGTERM, SIGSEGV, SIGABRT, SIGUSR1, SIGPIPE, SIGALRM, SIGRTMIN};
    for (int i = 0; i < 8; i++) { pid_t pid = fork(); if (pid == 0) { kill(getpid(), signals[i]); pause(); } int s = reap(pid); T(WTERMSIG(s)); }
    pid_t pid = fork();
    if (pid == 0) abort();
    reap(pid);
}

CASE(wait_errors)
{
    int status;
    T(waitpid(-1, &status, 0));
    T(waitpid(1 << 30, &status, 0));
    T(waitpid(0, &status, WNOHANG));
    pid_t pid = fork();
    if (pid == 0) { pause_ms(60); _exit(3); }
    T(waitpid(pid, &status, 0x1000));
    T(waitpid(pid, &status, WNOHANG));
    T(waitpid(-getpgrp() - 100000, &status, WNOHANG));
    IS(waitpid(pid, &status, 0) == pid);
    T(WEXITSTATUS(status));
    T(waitpid(pid, &status, 0));
    T(syscall(SYS_waitid, 99, 0, NULL, WEXITED, NULL));
    T(syscall(SYS_waitid, P_ALL, 0, NULL, 0, NULL));
    CHILD T(waitpid(-1, NULL, 0)); REAPED
}

CASE(stops)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) { raise(SIGSTOP); pause_ms(20); raise(SIGTSTP); _exit(7); }
    IS(waitpid(pid, &status, WUNTRACED) == pid);
    say("%s", ending(status));
    T(waitpid(pid, &status, WNOHANG | WUNTRACED));
    kill(pid, SIGCONT);
    IS(waitpid(pid, &status, WCONTINUED) == pid);
    say("%s", ending(status));
    siginfo_t info;
    memset(&info, 0, sizeof info);
    T(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT));
    say("signo %s code %d status %s mine %d", signal_name(info.si_signo), info.si_code, signal_name(info.si_status), info.si_pid == pid);
    kill(pid, SIGCONT);
    reap(pid);
}

CASE(waitid_fields)
{
    siginfo_t info;
    pid_t pid = fork();
    if (pid == 0) _exit(42);
    memset(&info, 0xff, sizeof info);
    T(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
    say("signo %s code %d status %d uid %d mine %d", signal_name(info.si_signo), info.si_code, info.si_status, info.si_uid == getuid(), info.si_pid == pid);
    T(waitid(P_PID, (id_t)pid, &info, WEXITED));
    T(waitid(P_PID, (id_t)pid, &info, WEXITED));
    pid = fork();
    if (pid == 0) { kill(getpid(), SIGKILL); }
    T(waitid(P_ALL, 0, &info, WEXITED));
    say("code %d status %s", info.si_code, signal_name(info.si_status));
    pid = fork();
    if (pid == 0) { struct rlimit none = {0, 0}; setrlimit(RLIMIT_CORE, &none); abort(); }
    T(waitid(P_PGID, (id_t)getpgrp(), &info, WEXITED));
    say("code %d status %s", info.si_code, signal_name(info.si_status));
    pid = fork();
    if (pid == 0) { pause_ms(30); _exit(0); }
    info.si_pid = 5;
    T(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG));
    T(info.si_pid);
    reap(pid);
}

CASE(orphans)
{
    int p[2];
    char c;
    pipe(p);
    CHILD
        if (fork() == 0) {
            pid_t parent = getppid();
            while (getppid() == parent) pause_ms(2);
            say("orphan has another parent");
            write(p[1], "x", 1);
            _exit(0);
        }
        pause_ms(20);
    REAPED_SILENTLY
    T(read(p[0], &c, 1));
    T(waitpid(-1, NULL, 0));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    CHILD
        pid_t father = getppid();
        if (fork() == 0) { pid_t parent = getppid(); while (getppid() == parent) pause_ms(2); say("adopted by the reaper: %d", getppid() == father); _exit(5); }
        pause_ms(20);
    REAPED_SILENTLY
    int status;
    IS(waitpid(-1, &status, 0) > 0);
    say("%s", ending(status));
}

CASE(memory_is_copied)
{
    static int value = 1;
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *private = 10;
    CHILD value = 2; *shared = 3; *private = 11; say("%d %d %d", value, *shared, *private); REAPED
    say("%d %d %d", value, *shared, *private);
    value = 5;
    CHILD say("%d", value); REAPED
}

CASE(files_are_shared)
{
    put("a", "0123456789", 10, 0600);
    int fd = open("a", O_RDONLY);
    char c;
    CHILD T(read(fd, &c, 1)); T(lseek(fd, 5, SEEK_SET)); T(close(fd)); REAPED
    T(lseek(fd, 0, SEEK_CUR));
    CHILD fcntl(fd, F_SETFL, O_NONBLOCK); fcntl(fd, F_SETFD, FD_CLOEXEC); umask(0111); chdir("/"); REAPED
    IS(fcntl(fd, F_GETFL) & O_NONBLOCK);
    T(fcntl(fd, F_GETFD));
    T(access("a", F_OK));
}

CASE(what_a_child_inherits)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    handle(SIGUSR2, tell, 0);
    alarm(100);
    umask(035);
    prctl(PR_SET_NAME, "named");
    CHILD
        sigset_t now;
        sigprocmask(SIG_SETMASK, NULL, &now);
        say("blocked %d", sigismember(&now, SIGUSR1));
        sigpending(&now);
        say("pending %d", sigismember(&now, SIGUSR1));
        raise(SIGUSR2);
        T(alarm(0));
        say("umask %o", umask(0));
        char name[16];
        prctl(PR_GET_NAME, name);
        say("%s", name);
    REAPED
    IS(alarm(0) > 90);
    sigpending(&set);
    say("pending %d", sigismember(&set, SIGUSR1));
}

CASE(vfork_shares)
{
    static volatile int value = 1;
    pid_t pid = vfork();
    if (pid == 0) { value = 2; _exit(3); }
    say("value %d", value);
    reap(pid);
    long started = now_ms();
    pid = vfork();
    if (pid == 0) { pause_ms(80); _exit(0); }
    IS(now_ms() - started >= 75);
    reap(pid);
    pid = vfork();
    if (pid == 0) { execl("/bin/true", "true", (char *)NULL); _exit(9); }
    reap(pid);
    pid = vfork();
    if (pid == 0) { execl("/none", "none", (char *)NULL); value = errno; _exit(9); }
    say("%s", errno_name(value));
    reap(pid);
    pid = vfork();
    if (pid == 0) { kill(getpid(), SIGKILL); _exit(0); }
    reap(pid);
}

static char stack[65536] __attribute__((aligned(64)));
static int number;

static int clone_body(void *argument) { number = (int)(intptr_t)argument; return 5; }
static int clone_close(void *argument) { close((int)(intptr_t)argument); chdir("/"); umask(0123); return 0; }

CASE(clone_flags)
{
    pid_t pid = clone(clone_body, stack + sizeof stack, SIGCHLD, (void *)7);
    reap(pid);
    T(number);
    pid = clone(clone_body, stack + sizeof stack, CLONE_VM | SIGCHLD, (void *)7);
    reap(pid);
    T(number);
    int fd = open(".", O_RDONLY);
    pid = clone(clone_close, stack + sizeof stack, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, (void *)(intptr_t)fd);
    reap(pid);
    T(fcntl(fd, F_GETFD));
    char b[64];
    getcwd(b, sizeof b);
    say("%s %o", b, umask(0));
    handle(SIGUSR1, SIG_IGN, 0);
    pid = clone(clone_body, stack + sizeof stack, CLONE_VM | SIGUSR1, (void *)8);
    T(waitpid(pid, NULL, WNOHANG));
    int status = 0;
    do { pid = waitpid(-1, &status, __WALL); } while (pid == -1 && errno == EINTR);
    say("%s", pid > 0 ? ending(status) : errno_name(errno));
    T(clone(clone_body, stack + sizeof stack, CLONE_SIGHAND | SIGCHLD, NULL));
    T(clone(clone_body, stack + sizeof stack, CLONE_THREAD | SIGCHLD, NULL));
    T(clone(clone_body, stack + sizeof stack, CLONE_FS | CLONE_NEWNS | SIGCHLD, NULL));
}

static long raw_clone(unsigned long flags, int *parent_tid, int *child_tid)
{
#ifdef __i386__
    return syscall(SYS_clone, flags, NULL, parent_tid, NULL, child_tid);
#else
    return syscall(SYS_clone, flags, NULL, parent_tid, child_tid, NULL);
#endif
}

CASE(clone_words)
{
    int *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    words[1] = 77;
    long pid = raw_clone(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, &words[0], &words[1]);
    if (pid == 0) _exit(words[1] == getpid() ? 1 : 2);
    IS(words[0] == pid);
    reap((pid_t)pid);
    words[1] = 77;
    pid = raw_clone(CLONE_CHILD_CLEARTID | SIGCHLD, NULL, &words[1]);
    if (pid == 0) _exit(3);
    reap((pid_t)pid);
    say("alone in its memory: %d", words[1]);
    pid = raw_clone(CLONE_VM | CLONE_VFORK | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, &words[1]);
    if (pid == 0) _exit(4);
    reap((pid_t)pid);
    say("sharing its memory: %d", words[1]);
}

#ifdef SYS_clone3
CASE(clone3_call)
{
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } a = {.exit_signal = SIGCHLD};
    int pidfd = -1;
    pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof a);
    if (pid == 0) _exit(6);
    reap(pid);
    T(syscall(SYS_clone3, &a, 8));
    a.exit_signal = 999;
    T(syscall(SYS_clone3, &a, sizeof a));
    a.exit_signal = SIGCHLD, a.flags = 0x1000 /* CLONE_PIDFD */, a.pidfd = (uintptr_t)&pidfd;
    pid = (pid_t)syscall(SYS_clone3, &a, sizeof a);
    if (pid == 0) { pause_ms(20); _exit(8); }
    T(pidfd);
    struct pollfd poller = {pidfd, POLLIN, 0};
    T(poll(&poller, 1, 0));
    T(poll(&poller, 1, 5000));
    T(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0));
    siginfo_t info;
    T(waitid(3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED));
    T(info.si_status);
    T(syscall(SYS_pidfd_open, pid, 0));
    T(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0));
}
#endif

CASE(children_without_zombies)
{
    handle(SIGCHLD, SIG_IGN, 0);
    if (fork() == 0) { pause_ms(20); _exit(1); }
    T(waitpid(-1, NULL, 0));
    handle(SIGCHLD, SIG_DFL, SA_NOCLDWAIT);
    if (fork() == 0) { pause_ms(20); _exit(1); }
    T(wait(NULL));
    handle(SIGCHLD, tell, SA_NOCLDWAIT);
    if (fork() == 0) _exit(1);
    int got;
    do got = wait(NULL); while (got == -1 && errno == EINTR);
    T(got);
    handle(SIGCHLD, tell, 0);
    pid_t pid = fork();
    if (pid == 0) _exit(1);
    reap(pid);
}

CASE(child_signals)
{
    handle(SIGCHLD, tell, SA_RESTART);
    pid_t pid = fork();
    if (pid == 0) { raise(SIGSTOP); _exit(0); }
    int status;
    waitpid(pid, &status, WUNTRACED);
    say("%s", ending(status));
    handle(SIGCHLD, tell, SA_RESTART | SA_NOCLDSTOP);
    kill(pid, SIGCONT);
    reap(pid);
    pid = fork();
    if (pid == 0) { raise(SIGSTOP); _exit(0); }
    waitpid(pid, &status, WUNTRACED);
    say("no signal for this stop");
    kill(pid, SIGCONT);
    reap(pid);
}

CASE(many)
{
    int n = 0, sum = 0, status;
    for (int i = 0; i < 60; i++) if (fork() == 0) _exit(i);
    while (wait(&status) > 0) n++, sum += WEXITSTATUS(status);
    say("%d children, sum %d", n, sum);
}

CASE(deep)
{
    int level = 0, status;
    for (pid_t pid; level < 12; level++) {
        pid = fork();
        if (pid) { waitpid(pid, &status, 0); if (level) _exit(WEXITSTATUS(status) + 1); say("%d", WEXITSTATUS(status)); return; }
    }
    _exit(1);
}

CASE(usage_of_children)
{
    struct rusage before, after;
    getrusage(RUSAGE_CHILDREN, &before);
    CHILD for (volatile long i = 0; i < 30000000; i++) {} REAPED
    getrusage(RUSAGE_CHILDREN, &after);
    IS(after.ru_utime.tv_sec * 1000000 + after.ru_utime.tv_usec > before.ru_utime.tv_sec * 1000000 + before.ru_utime.tv_usec);
    T(getrusage(99, &after));
    pid_t pid = fork();
    if (pid == 0) { for (volatile long i = 0; i < 30000000; i++) {} _exit(0); }
    int status;
    IS(wait4(pid, &status, 0, &after) == pid);
    IS(after.ru_utime.tv_sec + after.ru_utime.tv_usec > 0);
}
