/* Processes: fork, vfork, __clone, exit and wait statuses in NetBSD's signal numbers, posix_spawn, execve. */
#include "nb.h"

static int status_of(struct result pid)
{
    int status = -1;
    if (pid.carry || !gave(CALL4(SYS_wait4, pid.value, &status, 0, 0), pid.value)) return -1;
    return status;
}

static void ends(void)
{
    struct result pid = CALL0(SYS_fork);
    if (!pid.carry && pid.value == 0) leave(3);
    CHECK(!pid.carry && pid.second == 0);
    CHECK(status_of(pid) == 3 << 8);
    static const int deadly[] = {SIGKILL, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, 24, 25, SIGRTMIN, 63};
    int good = 0;
    for (unsigned i = 0; i < sizeof deadly / sizeof *deadly; i++) {
        pid = CALL0(SYS_fork);
        if (pid.value == 0) { CALL2(SYS_kill, CALL0(SYS_getpid).value, deadly[i]); leave(0); }
        good += status_of(pid) == deadly[i];
    }
    CHECK(good == sizeof deadly / sizeof *deadly);
    pid = CALL0(SYS_fork);
    if (pid.value == 0) { *(volatile int *)8 = 1; leave(0); }
    CHECK((status_of(pid) & 0x7f) == SIGSEGV);
    pid = CALL0(SYS_fork);
    if (pid.value == 0) { CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGSTOP); leave(9); }
    int status = 0;
    CHECK(gave(CALL4(SYS_wait4, pid.value, &status, 2, 0), pid.value) && status == (SIGSTOP << 8 | 0x7f));
    CALL2(SYS_kill, pid.value, SIGCONT);
    CHECK(status_of(pid) == 9 << 8);
    CHECK(failed(CALL4(SYS_wait4, -1, &status, 0, 0), 10));
}

static volatile int shared_word;
static volatile int child_code, child_status, child_pid;
static void on_child(int signo, struct siginfo *info, void *context)
{
    (void)signo; (void)context;
    child_code = info->code, child_pid = info->reason.child.pid, child_status = info->reason.child.status;
}

static void vforks(void)
{
    shared_word = 1;
    struct result pid = CALL0(SYS_vfork);
    if (!pid.carry && pid.value == 0) { shared_word = 2; CALL1(SYS_exit, 4); }
    CHECK(shared_word == 2 && status_of(pid) == 4 << 8);
    handle(SIGCHLD, on_child, SA_SIGINFO);
    pid = CALL0(SYS_fork);
    if (pid.value == 0) { CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGUSR2); leave(0); }
    while (!child_code) nap(1000000);
    CHECK(child_code == 2 && child_pid == (int)pid.value && child_status == SIGUSR2);
    CHECK(status_of(pid) == SIGUSR2);
    struct sigaction standard = {NULL, nothing, 0};
    CALL5(SYS_sigaction, SIGCHLD, &standard, 0, 0, 0);
}

static void clones(void)
{
    word *top = (word *)((char *)fresh(65536) + 65536) - 4;
    CHECK(failed(CALL2(SYS_clone, 0x10000 | SIGCHLD, 0), EINVAL));
    CHECK(failed(CALL2(SYS_clone, 0x800 | SIGCHLD, 0), EINVAL));
    shared_word = 1;
    word value;
    __asm__ volatile("syscall\n\tjc 1f\n\ttest %%rax, %%rax\n\tjnz 1f\n\tmovl $5, %[shared]\n\tmov $6, %%edi\n\tmov $1, %%eax\n\tsyscall\n1:"
                     : "=a"(value), [shared] "+m"(shared_word) : "a"((word)SYS_clone), "D"((word)(0x100 | SIGCHLD)), "S"(top)
                     : "rcx", "rdx", "r11", "memory");
    struct result pid = {value, 0, 0};
    CHECK(status_of(pid) == 6 << 8 && shared_word == 5);
}

struct action { int kind, fd; union { struct { const char *path; int flags; u32 mode; } open; int to; } how; };
struct actions { u32 room, count; struct action *list; };
struct attr { short flags; int pgroup, priority, policy; struct sigset standard, mask; };

static void spawns(const char *self)
{
    const char *argv[] = {self, "child", 0, 0}, *none[] = {0};
    int pid = 0;
    argv[2] = "plain";
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, self, 0, 0, argv, none), 0) && pid > 0);
    struct result child = {(word)pid, 0, 0};
    CHECK(status_of(child) == 40 << 8);
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, "/no/such/file", 0, 0, argv, none), ENOENT));
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, "/", 0, 0, argv, none), EACCES));
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, self, 8, 0, argv, none), EFAULT));
    struct action list[3] = {{0, 9, {.open = {"/dev/null", 0, 0}}}, {1, 9, {.to = 10}}, {2, 9, {.to = 0}}};
    struct actions actions = {3, 3, list};
    argv[2] = "descriptors";
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, self, &actions, 0, argv, none), 0));
    child.value = (word)pid;
    CHECK(status_of(child) == 41 << 8);
    list[2].fd = 55;
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, self, &actions, 0, argv, none), EBADF));
    list[0].how.open.path = "/no/such";
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, self, &actions, 0, argv, none), ENOENT));
    actions.count = 100;
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, self, &actions, 0, argv, none), EINVAL));
    struct attr attr = {0x02 | 0x20 | 0x10, 0, 0, 0, only(SIGUSR1), only(SIGUSR2)};
    struct sigaction ignore = {(void *)1, nothing, 0};
    CALL5(SYS_sigaction, SIGUSR1, &ignore, 0, 0, 0);
    argv[2] = "attributes";
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, self, 0, &attr, argv, none), 0));
    child.value = (word)pid;
    CHECK(status_of(child) == 42 << 8);
    int status;
    CHECK(failed(CALL4(SYS_wait4, -1, &status, 1, 0), 10));
}

/* A child that dies while a file action of its sleeps was spawned, and is waited for; its parent is as it was. */
static void spawned_and_killed(const char *self, int signo)
{
    const char *argv[] = {self, "child", "plain", 0}, *none[] = {0};
    struct action list[2] = {{0, 9, {.open = {"fifo", 0, 0}}}, {1, 9, {.to = 10}}};
    struct actions actions = {2, 2, list};
    int pid = 0;
    CALL2(132, "fifo", 0600);                                       /* mkfifo */
    struct result helper = CALL0(SYS_fork);
    if (helper.value == 0) {
        nap(50000000);
        CALL2(SYS_kill, CALL0(SYS_getpid).value + 1, signo);
        nap(10000000);
        CALL3(SYS_open, "fifo", 5, 0);                              /* O_WRONLY | O_NONBLOCK */
        leave(0);
    }
    CHECK(gave(CALL6(SYS_posix_spawn, &pid, self, &actions, 0, argv, none), 0) && (word)pid == helper.value + 1);
    struct result child = {(word)pid, 0, 0};
    CHECK(status_of(child) == signo);
    CHECK(status_of(helper) == 0);
    CHECK(failed(CALL1(SYS_close, 9), EBADF));
    CALL1(10, "fifo");                                              /* unlink */
}

static void execs(const char *self)
{
    const char *argv[] = {self, "child", "plain", 0}, *none[] = {0};
    struct result pid = CALL0(SYS_fork);
    if (pid.value == 0) { CALL3(SYS_execve, self, argv, none); leave(1); }
    CHECK(status_of(pid) == 40 << 8);
    CHECK(failed(CALL3(SYS_execve, "/no/such/file", argv, none), ENOENT));
    CHECK(failed(CALL3(SYS_execve, 0, 0, 0), EFAULT));
    CHECK(failed(CALL3(SYS_execve, "/", argv, none), EACCES));
    pid = CALL0(SYS_vfork);
    if (pid.value == 0) { CALL3(SYS_execve, self, argv, none); CALL1(SYS_exit, 1); }
    CHECK(status_of(pid) == 40 << 8);
}

/* What a spawned child says of itself, by its status. */
static int child(const char *what)
{
    if (same(what, "descriptors"))
        return failed(CALL1(SYS_close, 9), EBADF) && gave(CALL1(SYS_close, 10), 0) ? 41 : 1;
    if (same(what, "attributes")) {
        struct sigset mask;
        struct sigaction action;
        CALL3(SYS_sigprocmask, SIG_BLOCK, 0, &mask);
        CALL5(SYS_sigaction, SIGUSR1, 0, &action, 0, 0);
        return mask.bits[0] == only(SIGUSR2).bits[0] && action.handler == NULL && CALL0(81).value == CALL0(SYS_getpid).value ? 42 : 1;
    }
    return CALL0(SYS_lwp_self).value == 1 ? 40 : 1;
}

static int cases(int argc, char **argv)
{
    if (argc == 3 && same(argv[1], "child")) return child(argv[2]);
    ends();
    vforks();
    clones();
    spawns(argv[0]);
    spawned_and_killed(argv[0], SIGKILL);
    spawned_and_killed(argv[0], SIGTERM);
    execs(argv[0]);
    return 0;
}
