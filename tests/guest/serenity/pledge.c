/* pledge: what may be promised, what a broken promise does, what fork and exec make of it. */
#include "sy.h"

struct sigaction { void *handler; u32 mask; i32 flags; };
static char big[2048];
static const char *self;

static i64 raw(const void *promises, word length_, const void *execpromises, word execlength)
{
    struct pledge_params params = {{promises, length_}, {execpromises, execlength}};
    return CALL1(SC_pledge, &params);
}
static i64 execute(const char *path, const char *argument)
{
    struct string words[2] = {string(path), string(argument)};
    struct execve_params params = {string(path), {words, 2}, {NULL, 0}};
    return CALL1(SC_execve, &params);
}
static void handler(int signo) { (void)signo; leave(99); }
static void catch_abort(void)
{
    struct sigaction action = {handler, 0, 0};
    CALL3(SC_sigaction, SIGABRT, &action, NULL);
}

/* What children do; in_child gives the signal they died by, or 256 and their status. */
static void breaks_stdio(void) { pledge("", NULL); CALL0(SC_getuid); }
static void breaks_with_a_handler(void) { catch_abort(); pledge("stdio", NULL); open_file("/etc/passwd", O_RDONLY, 0); }
static void blocks_the_signal(void)
{
    u32 all = ~0u;
    CALL3(SC_sigprocmask, 2, &all, NULL);
    pledge("stdio", NULL);
    CALL0(SC_fork);
}
static void opens_to_write(void) { pledge("stdio rpath", NULL); open_file("/dev/null", O_RDWR, 0); }
static void opens_to_create(void) { pledge("stdio wpath", NULL); open_file("here", O_WRONLY | O_CREAT, 0600); }
static void opens_to_read(void) { pledge("stdio rpath", NULL); leave(open_file("/dev/null", O_RDONLY, 0) >= 0 ? 0 : 1); }
static void opens_for_nothing(void) { pledge("stdio", NULL); open_file("/dev/null", O_EXEC, 0); }
static void executes(void) { pledge("stdio", NULL); execute("/bin/sh", "x"); }
static void kills_itself_softly(void) { pledge("stdio", NULL); leave(CALL2(SC_kill, CALL0(SC_getpid), 0) == 0 ? 0 : 1); }
static void kills_another(void) { pledge("stdio", NULL); CALL2(SC_kill, CALL0(SC_getppid), 0); }
static void maps_code(void) { pledge("stdio", NULL); map(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
static void names_the_host(void) { pledge("stdio rpath wpath cpath proc id", NULL); CALL2(SC_sethostname, "x", 1); }
static void breaks_in_a_child(void) { pledge("stdio proc", NULL); leave(in_child(executes) == SIGABRT ? 0 : 1); }
static void exits_without_a_promise(void) { pledge("", NULL); leave(7); }
static void ends_thread_without_promise(void) { pledge("stdio", NULL); CALL3(SC_exit_thread, 0, 0, 0); }
static void prctl_needs_none(void) { pledge("", NULL); leave(CALL3(SC_prctl, 2, 0, 0) == 1 && CALL1(SC_sysconf, 6) == 4096 ? 0 : 1); }
static void exec_is_free_again(void) { pledge("stdio rpath exec", NULL); execute(self, "free"); leave(77); }
static void exec_is_held(void) { pledge("stdio rpath exec", "stdio rpath"); execute(self, "held"); leave(77); }
static void exec_is_clipped(void) { pledge("stdio rpath exec", "stdio"); execute(self, "raise"); leave(77); }
static void exec_twice(void) { pledge("stdio rpath exec", "stdio rpath exec"); execute(self, "again"); leave(77); }

/* What the next program finds, by its argument. */
static int as_next_program(const char *what)
{
    if (same(what, "free")) return CALL0(SC_getppid) > 0 && pledge("stdio proc id", NULL) == 0 ? 0 : 1;
    if (same(what, "held")) { open_file("/dev/null", O_WRONLY, 0); return 1; }
    if (same(what, "raise")) return pledge("stdio rpath", NULL) == -EPERM && pledge(NULL, "proc exec") == 0 ? 0 : 1;
    if (same(what, "again")) { execute(self, "free"); return 1; }       /* execpromises were used up: the next one is free */
    return 2;
}

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    self = (const char *)aux(AT_EXECFN)->value;
    if (argc > 1) return as_next_program(argv[1]);

    /* TestKernelPledge: nonexistent, argument validation, failures */
    CHECK(pledge("testing123", "notthere") == -EINVAL);
    for (int n = 0; n < 2048; n++) big[n] = 'x';
    CHECK(raw(big, 2048, "stdio", 5) == -E2BIG);
    CHECK(raw("stdio", 5, big, 2048) == -E2BIG);
    CHECK(raw(big, 2048, big, 2048) == -E2BIG);
    CHECK(raw(big, 1024, NULL, 0) == -EINVAL && raw(NULL, 1025, NULL, 0) == -E2BIG);
    CHECK(pledge("fake", "stdio") == -EINVAL);
    CHECK(pledge("stdio", "fake") == -EINVAL);
    CHECK(CALL1(SC_pledge, 16) == -EFAULT && raw((void *)16, 4, NULL, 0) == -EFAULT && raw(NULL, 0, (void *)16, 4) == -EFAULT);
    CHECK(raw((void *)16, 4, big, 1025) == -E2BIG);             /* lengths before strings */
    CHECK(pledge("STDIO", NULL) == -EINVAL && pledge("stdio\trpath", NULL) == -EINVAL && pledge("stdio\n", NULL) == -EINVAL);
    CHECK(pledge(NULL, NULL) == 0);
    CHECK(CALL0(SC_getuid) >= 0 && open_file("/dev/null", O_RDWR, 0) >= 0);      /* nothing was promised by all that */

    CHECK(in_child(breaks_stdio) == SIGABRT);
    CHECK(in_child(breaks_with_a_handler) == SIGABRT);
    CHECK(in_child(blocks_the_signal) == SIGABRT);
    CHECK(in_child(opens_to_write) == SIGABRT);
    CHECK(in_child(opens_to_create) == SIGABRT);
    CHECK(in_child(opens_to_read) == 256);
    CHECK(in_child(opens_for_nothing) == 256);
    CHECK(in_child(executes) == SIGABRT);
    CHECK(in_child(kills_itself_softly) == 256);
    CHECK(in_child(kills_another) == SIGABRT);
    CHECK(in_child(maps_code) == SIGABRT);
    CHECK(in_child(names_the_host) == SIGABRT);
    CHECK(in_child(breaks_in_a_child) == 256);
    CHECK(in_child(exits_without_a_promise) == 256 + 7);
    CHECK(in_child(ends_thread_without_promise) == SIGABRT);
    CHECK(in_child(prctl_needs_none) == 256);
    CHECK(in_child(exec_is_free_again) == 256);
    CHECK(in_child(exec_is_held) == SIGABRT);
    CHECK(in_child(exec_is_clipped) == 256);
    CHECK(in_child(exec_twice) == 256);

    CHECK(pledge("stdio  unix rpath proc ", "stdio") == 0);      /* more than one space between words */
    CHECK(pledge("stdio unix", "stdio unix") == -EPERM);         /* execpromises may not be raised ... */
    CHECK(CALL1(SC_disown, 99) == -ESRCH);                       /* ... and nothing was changed: proc is still held */
    CHECK(pledge("stdio unix rpath proc wpath", NULL) == -EPERM);
    CHECK(pledge("stdio rpath proc", "stdio") == 0);
    CHECK(pledge("stdio rpath proc no_error", NULL) == -EPERM);  /* no_error is a promise like others */
    CHECK(pledge("stdio", "stdio") == 0);
    return 0;
}
