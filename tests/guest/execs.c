/* What exec keeps, what it resets, and how it is asked: the program execs itself in a role and says what it sees.
 * builds: x64 i386 pie gnu
 */
#define HAS_ROLES
#include "case.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>

extern char **environ;
#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif

static char self[4096];
static void find_self(void) { if (self[0]) return; ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1); self[n > 0 ? n : 0] = 0; }

/* a copy of this program in the working directory, which other users can reach */
static void copy_self(const char *name)
{
    find_self();
    int from = open(self, O_RDONLY), to = open(name, O_CREAT | O_WRONLY, 0755);
    static char room[65536];
    for (ssize_t n; (n = read(from, room, sizeof room)) > 0;) write(to, room, (size_t)n);
    close(from), close(to);
    chmod(name, 0755), chmod(".", 0755);
}

/* exec this program again in a role; only returns on failure */
static int as(const char *name, const char *argument)
{
    find_self();
    char *argv[] = {"self", "--as", (char *)name, current[0] == '?' ? "x" : (char *)current, (char *)argument, NULL};
    return execve(self, argv, environ);
}

static void print_strings(const char *title, char **strings)
{
    for (int i = 0; strings[i]; i++) say("%s[%d] \"%.60s\" length %zu", title, i, strings[i], strlen(strings[i]));
}

static int role(int argc, char **argv)
{
    const char *what = argv[2];
    if (argc > 3) current = argv[3];
    if (!strcmp(what, "nameless")) { say("argc 1, argv[0] empty"); return 0; }
    if (!strcmp(what, "exit")) return 7;
    if (!strcmp(what, "arguments")) { say("argc %d", argc); print_strings("argv", argv + 4); print_strings("env", environ); return 0; }
    if (!strcmp(what, "descriptors")) { for (int fd = 3; fd < 12; fd++) say("%d: %d", fd, fcntl(fd, F_GETFD)); return 0; }
    if (!strcmp(what, "signals")) {
        int numbers[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGCHLD, SIGRTMIN};
        sigset_t mask, pending;
        sigprocmask(SIG_SETMASK, NULL, &mask), sigpending(&pending);
        for (int i = 0; i < 5; i++) {
            struct sigaction action;
            sigaction(numbers[i], NULL, &action);
            say("%d: %s flags %x blocked %d pending %d", i, action.sa_handler == SIG_IGN ? "ignored" : action.sa_handler == SIG_DFL ? "default" : "caught",
                action.sa_flags & ~0x04000000, sigismember(&mask, numbers[i]), sigismember(&pending, numbers[i]));
        }
        stack_t stack;
        sigaltstack(NULL, &stack);
        say("alternate stack flags %d", stack.ss_flags);
        return 0;
    }
    if (!strcmp(what, "timers")) {
        struct itimerval real, virtual;
        struct itimerspec spec;
        getitimer(ITIMER_REAL, &real), getitimer(ITIMER_VIRTUAL, &virtual);
        say("real kept %d, virtual kept %d", real.it_value.tv_sec > 90, virtual.it_value.tv_sec > 90);
#ifdef SYS_timer_gettime32
        T(syscall(SYS_timer_gettime32, 0, &spec));
#else
        T(syscall(SYS_timer_gettime, 0, &spec));
#endif
        return 0;
    }
    if (!strcmp(what, "attributes")) {
        char name[17] = {0}, b[4096];
        int sig = -1;
        prctl(PR_GET_NAME, name), prctl(PR_GET_PDEATHSIG, &sig);
        say("comm %s pdeathsig %d dumpable %d keepcaps %d nnp %d", name, sig, prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        say("umask %o uid %d euid %d gid %d egid %d", umask(0), getuid(), geteuid(), getgid(), getegid());
        getcwd(b, sizeof b);
        say("cwd %s nice %d", strrchr(b, '/'), getpriority(PRIO_PROCESS, 0));
        uid_t r, e, s;
        getresuid(&r, &e, &s);
        say("%d %d %d", (int)r, (int)e, (int)s);
        void *head;
        size_t length;
        say("robust %d", (int)syscall(SYS_get_robust_list, 0, &head, &length));
        return 0;
    }
    if (!strcmp(what, "ids")) { uid_t r, e, s; gid_t g, f, t; getresuid(&r, &e, &s), getresgid(&g, &f, &t); say("%d %d %d / %d %d %d", (int)r, (int)e, (int)s, (int)g, (int)f, (int)t); return 0; }
    if (!strcmp(what, "thread")) { say("leader %d same %d", syscall(SYS_gettid) == getpid(), getpid() == atoi(argv[4])); return 0; }
    if (!strcmp(what, "pending_alarm")) { handle(SIGALRM, tell, 0); pause(); return 0; }
    if (!strcmp(what, "exe")) {
        char b[4096], name[32] = {0};
        ssize_t n = readlink("/proc/self/exe", b, sizeof b - 1);
        b[n > 0 ? n : 0] = 0;
        prctl(PR_GET_NAME, name);
        say("exe %s comm %s argv0 %s", strrchr(b, '/') ? strrchr(b, '/') : b, name, argv[0]);
        return 0;
    }
    if (!strcmp(what, "cmdline")) {
        char b[4096];
        int fd = open("/proc/self/cmdline", O_RDONLY);
        ssize_t n = read(fd, b, sizeof b);
        for (ssize_t i = 0; i < n; i++) if (!b[i]) b[i] = '|';
        say("%.*s", (int)n, b);
        fd = open("/proc/self/environ", O_RDONLY);
        n = read(fd, b, sizeof b);
        for (ssize_t i = 0; i < n; i++) if (!b[i]) b[i] = '|';
        say("%.*s", (int)n, b);
        return 0;
    }
    return 99;
}

CASE(arguments)
{
    find_self();
    char *argv[] = {"any name", "--as", "arguments", "arguments", "one", "", "two words", "\xff\x01", NULL}, *env[] = {"A=1", "", "no equals", "A=2", NULL}, *none[] = {NULL};
    CHILD T(execve(self, argv, env)); REAPED
    CHILD T(execve(self, argv, none)); REAPED
    CHILD T(execve(self, argv, NULL)); REAPED
    CHILD T(execve(self, none, env)); REAPED
    CHILD T(execve(self, NULL, env)); REAPED
    CHILD T(execve(self, (char *[]){"", NULL}, env)); REAPED
    CHILD T(execve(self, (char *[]){"argv0", "--as", "exit", NULL}, NULL)); REAPED
}

CASE(bad_pointers)
{
    find_self();
    char *bad[] = {(char *)8, NULL}, *fine[] = {"x", NULL};
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(edge + 4096, 4096);
    T(execve((char *)8, fine, NULL));
    T(execve(self, bad, NULL));
    T(execve(self, fine, bad));
    T(execve(self, (char **)8, NULL));
    T(execve(self, fine, (char **)8));
    char **run = (char **)(edge + 4096) - 2;
    run[0] = "x", run[1] = "y";
    T(execve(self, run, NULL));
    memset(edge, 'e', 4096);
    char *unended[] = {edge + 4000, NULL};
    T(execve(self, unended, NULL));
    T(execve("", fine, NULL));
    T(execve("none", bad, NULL));
    T(execve(".", bad, NULL));
}

static char *filled(size_t n) { char *s = malloc(n + 1); memset(s, 'z', n); s[n] = 0; return s; }

CASE(one_string_too_long)
{
    find_self();
    char *argv[] = {"x", "--as", "exit", NULL, NULL};
    argv[3] = filled(131071);
    CHILD T(execve(self, argv, NULL)); REAPED
    argv[3] = filled(131072);
    CHILD T(execve(self, argv, NULL)); REAPED
    argv[3] = NULL;
    CHILD T(execve(self, argv, (char *[]){filled(131072), NULL})); REAPED
    CHILD T(execve("none", (char *[]){filled(131072), NULL}, NULL)); REAPED
}

static int with_total(size_t strings, size_t length)
{
    char **argv = calloc(strings + 5, sizeof *argv), *one = filled(length);
    argv[0] = "x", argv[1] = "--as", argv[2] = "exit";
    for (size_t i = 0; i < strings; i++) argv[3 + i] = one;
    return execve(self, argv, NULL);
}

CASE(all_strings_too_long)
{
    find_self();
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    struct { rlim_t stack; size_t strings, length; } rows[] = {
        {8 << 20, 15, 131000}, {8 << 20, 16, 131000}, {8 << 20, 100, 131000}, {1 << 20, 1, 131000}, {1 << 20, 2, 131000},
        {1 << 20, 3, 131000}, {64 << 10, 1, 100000}, {64 << 20, 45, 131000}, {64 << 20, 48, 131000},
        {8 << 20, 100000, 1}, {8 << 20, 200000, 1}, {8 << 20, 250000, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        say("stack %ld, %zu strings of %zu", (long)rows[i].stack, rows[i].strings, rows[i].length);
        CHILD
            limit.rlim_cur = rows[i].stack;
            if (setrlimit(RLIMIT_STACK, &limit)) { say("setrlimit: %s", errno_name(errno)); _exit(0); }
            T(with_total(rows[i].strings, rows[i].length));
        REAPED
    }
}

CASE(exact_argument_limit)
{
    find_self();
    /* Two strings of 128 KiB less `spare` at a limit of 256 KiB: where exactly does it turn? */
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = 1 << 20;
    char *fixed = filled(131071);
    int last = -1;
    for (int spare = 0; spare < 4096; spare += 16) {
        pid_t pid = fork();
        if (pid == 0) {
            setrlimit(RLIMIT_STACK, &limit);
            execve("/bin/true", (char *[]){"x", fixed, filled((size_t)(131071 - spare)), NULL}, NULL);
            _exit(errno == E2BIG ? 100 : 101);
        }
        int status;
        waitpid(pid, &status, 0);
        if (status != last) say("spare %d: %s", spare, ending(status));
        last = status;
    }
}

CASE(descriptors)
{
    int fd = open("/dev/null", O_RDONLY);
    for (int i = 4; i < 12; i++) fcntl(dup2(fd, i), F_SETFD, i % 2);
    CHILD T(as("none-such", NULL)); REAPED
    CHILD T(as("descriptors", NULL)); REAPED
    pid_t pid = vfork();
    if (pid == 0) { as("descriptors", NULL); _exit(9); }
    reap(pid);
    for (int i = 3; i < 12; i++) say("kept here %d: %d", i, fcntl(i, F_GETFD));
}

CASE(descriptors_after_a_refusal)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    T(execl("/none", "none", (char *)NULL));
    T(fcntl(fd, F_GETFD));
}

CASE(signals)
{
    sigset_t set;
    handle(SIGUSR1, tell, SA_RESTART | SA_NODEFER);
    handle(SIGUSR2, SIG_IGN, SA_RESTART);
    handle(SIGCHLD, SIG_DFL, SA_NOCLDSTOP);
    handle(SIGRTMIN, tell, 0);
    sigemptyset(&set), sigaddset(&set, SIGHUP), sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    static char room[65536];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    sigaltstack(&stack, NULL);
    CHILD
        raise(SIGHUP);
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1});
        T(as("signals", NULL));
    REAPED
}

CASE(timers)
{
    CHILD
        struct itimerval set = {{0, 0}, {100, 0}};
        timer_t timer;
        struct sigevent event = {.sigev_notify = SIGEV_NONE};
        setitimer(ITIMER_REAL, &set, NULL), setitimer(ITIMER_VIRTUAL, &set, NULL);
        T(timer_create(CLOCK_MONOTONIC, &event, &timer));
        T(as("timers", NULL));
    REAPED
    CHILD
        sigset_t mask;
        sigemptyset(&mask);
        alarm(1);
        T(as("pending_alarm", NULL));
    REAPED
}

CASE(attributes)
{
    mkdir("sub", 0755);
    CHILD
        chdir("sub");
        umask(0135);
        setpriority(PRIO_PROCESS, 0, 4);
        prctl(PR_SET_NAME, "before");
        prctl(PR_SET_PDEATHSIG, SIGUSR1);
        prctl(PR_SET_DUMPABLE, 0);
        prctl(PR_SET_KEEPCAPS, 1);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        T(as("attributes", NULL));
    REAPED
    copy_self("copy");
    strcpy(self, "./copy");
    CHILD setresuid(1000, 1001, 1002); T(as("ids", NULL)); REAPED
}

CASE(names)
{
    find_self();
    symlink(self, "a-link-with-a-rather-long-name");
    char *argv[] = {"zero", "--as", "exe", "names", NULL};
    CHILD T(execv("a-link-with-a-rather-long-name", argv)); REAPED
    CHILD T(execv("./a-link-with-a-rather-long-name", argv)); REAPED
    CHILD int fd = open("a-link-with-a-rather-long-name", O_RDONLY); T(syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH)); REAPED
    CHILD int fd = open(".", O_RDONLY); T(syscall(SYS_execveat, fd, "a-link-with-a-rather-long-name", argv, environ, 0)); REAPED
    char *shown[] = {"with args", "--as", "cmdline", "names", "a b", "", NULL};
    CHILD T(execve(self, shown, (char *[]){"X=1", "Y=2", NULL})); REAPED
}

CASE(execveat_flags)
{
    find_self();
    char *argv[] = {"x", "--as", "exit", NULL};
    symlink(self, "link");
    mkdir("d", 0755);
    int d = open(".", O_RDONLY), p = open("link", O_PATH), l = open("link", O_PATH | O_NOFOLLOW), s = open("d", O_RDONLY), r = open(self, O_RDONLY);
#define AT(FD, PATH, FLAGS) do { say(#FD " \"%s\" " #FLAGS, PATH); CHILD T(syscall(SYS_execveat, FD, PATH, argv, environ, FLAGS)); REAPED } while (0)
    AT(d, "link", 0);
    AT(d, "link", AT_SYMLINK_NOFOLLOW);
    AT(d, "d", 0);
    AT(d, "none", 0);
    AT(d, "", 0);
    AT(d, "", AT_EMPTY_PATH);
    AT(r, "", AT_EMPTY_PATH);
    AT(p, "", AT_EMPTY_PATH);
    AT(l, "", AT_EMPTY_PATH);
    AT(l, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    AT(s, "", AT_EMPTY_PATH);
    AT(99, "", AT_EMPTY_PATH);
    AT(99, "link", 0);
    AT(99, self, 0);
    AT(r, "link", 0);
    AT(AT_FDCWD, "link", 0);
    AT(AT_FDCWD, "", AT_EMPTY_PATH);
    AT(d, "link", 0x8000);
    AT(d, "link", AT_EXECVE_CHECK);
    AT(d, "none", AT_EXECVE_CHECK);
    AT(d, "d", AT_EXECVE_CHECK);
    AT(r, "", AT_EMPTY_PATH | AT_EXECVE_CHECK);
    put("plain", "no program", 10, 0644);
    AT(d, "plain", AT_EXECVE_CHECK);
    put("text", "no program", 10, 0755);
    AT(d, "text", AT_EXECVE_CHECK);
    AT(d, "text", 0);
}

CASE(scripts_by_descriptor)
{
    put("s", "#!/bin/sh\necho \"script $# $1\"\n", 30, 0755);
    char *argv[] = {"zero", "one", NULL};
    CHILD T(syscall(SYS_execveat, open("s", O_RDONLY), "", argv, environ, AT_EMPTY_PATH)); REAPED
    CHILD T(syscall(SYS_execveat, open("s", O_RDONLY | O_CLOEXEC), "", argv, environ, AT_EMPTY_PATH)); REAPED
    CHILD T(syscall(SYS_execveat, open(".", O_RDONLY), "s", argv, environ, 0)); REAPED
    CHILD T(syscall(SYS_execveat, open(".", O_RDONLY | O_CLOEXEC), "s", argv, environ, 0)); REAPED
    CHILD char path[32]; snprintf(path, sizeof path, "/proc/self/fd/%d", open("s", O_RDONLY)); T(execv(path, argv)); REAPED
}

static void *execs(void *argument)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    pause_ms(10);
    as(argument ? argument : "thread", pid);
    say("exec failed: %s", errno_name(errno));
    return NULL;
}
static void *spins(void *argument) { (void)argument; for (;;) sched_yield(); return NULL; }

CASE(from_another_thread)
{
    pthread_t thread;
    CHILD pthread_create(&thread, NULL, execs, NULL); for (;;) pause(); REAPED
    CHILD
        for (int i = 0; i < 5; i++) pthread_create(&thread, NULL, spins, NULL);
        pthread_create(&thread, NULL, execs, NULL);
        spins(NULL);
    REAPED
    CHILD
        for (int i = 0; i < 5; i++) pthread_create(&thread, NULL, spins, NULL);
        execs(NULL);
    REAPED
    CHILD
        find_self();
        for (int i = 0; i < 3; i++) pthread_create(&thread, NULL, spins, NULL);
        T(execl("/none", "none", (char *)NULL));
        pthread_create(&thread, NULL, execs, "exit");
        pthread_exit(NULL);
    REAPED
}

CASE(vfork_parent_is_released)
{
    int p[2];
    pipe(p);
    pid_t pid = vfork();
    if (pid == 0) { dup2(p[0], 0); execl("/bin/sh", "sh", "-c", "read x; exit 4", (char *)NULL); _exit(9); }
    say("released while the child lives");
    write(p[1], "go\n", 3);
    reap(pid);
}

static char clone_stack[65536] __attribute__((aligned(64)));
static int exec_in_clone(void *argument) { (void)argument; as("exit", NULL); return 1; }

CASE(files_shared_by_clone)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = clone(exec_in_clone, clone_stack + sizeof clone_stack, CLONE_FILES | CLONE_FS | SIGCHLD, NULL);
    reap(pid);
    T(fcntl(fd, F_GETFD));
    pid = clone(exec_in_clone, clone_stack + sizeof clone_stack, CLONE_VM | CLONE_VFORK | SIGUSR1, NULL);
    int status = 0;
    handle(SIGUSR1, SIG_IGN, 0);
    T(waitpid(pid, &status, __WALL) == pid);
    say("%s", ending(status));
}

static int *word;
static int exec_with_tid_address(void *argument) { syscall(SYS_set_tid_address, word); return exec_in_clone(argument); }

CASE(clear_child_tid)
{
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *word = 5;
    reap(clone(exec_with_tid_address, clone_stack + sizeof clone_stack, CLONE_VM | SIGCHLD, NULL));
    T(*word);
    *word = 5;
    CHILD exec_with_tid_address(NULL); REAPED
    T(*word);
}

CASE(set_id)
{
    find_self();
    copy_self("copy");
    char *argv[] = {"copy", "--as", "ids", (char *)current, NULL};
    CHILD setgid(50); setuid(1000); T(execv("./copy", argv)); REAPED
    chown("copy", 77, 88), chmod("copy", 04755);
    CHILD setgid(50); setuid(1000); T(execv("./copy", argv)); REAPED
    chmod("copy", 02755);
    CHILD setgid(50); setuid(1000); T(execv("./copy", argv)); REAPED
    chmod("copy", 02745);
    CHILD setgid(50); setuid(1000); T(execv("./copy", argv)); REAPED
    chmod("copy", 06755);
    CHILD setgid(50); setuid(1000); T(execv("./copy", argv)); REAPED
    CHILD setgid(50); setuid(1000); prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); T(execv("./copy", argv)); REAPED
    chmod("copy", 0711);
    CHILD setgid(50); setuid(1000); T(execv("./copy", argv)); REAPED
    chmod("copy", 0644);
    CHILD T(execv("./copy", argv)); REAPED
    chmod("copy", 0100);
    CHILD T(execv("./copy", argv)); REAPED
    chmod("copy", 0070);
    CHILD setgid(88); setuid(1000); T(execv("./copy", argv)); REAPED
    CHILD setgid(50); setuid(1000); T(execv("./copy", argv)); REAPED
    chown("copy", 1000, 50), chmod("copy", 0077);
    CHILD setgid(50); setuid(1000); T(execv("./copy", argv)); REAPED
}

CASE(search_by_the_library)
{
    setenv("PATH", "/none:/bin", 1);
    CHILD T(execlp("true", "true", (char *)NULL)); REAPED
    CHILD T(execlp("no-such-program", "x", (char *)NULL)); REAPED
    put("no-magic", "echo from the shell\n", 20, 0755);
    CHILD T(execv("./no-magic", (char *[]){"no-magic", NULL})); REAPED
    CHILD setenv("PATH", ".", 1); T(execlp("no-magic", "no-magic", (char *)NULL)); REAPED
}
