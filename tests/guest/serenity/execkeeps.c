/* What exec keeps and what it resets: the program runs itself again, from a thread that is not the first. */
#include "sy.h"

enum { SIG_DFL = 0, SIG_IGN = 1, SS_DISABLE = 2, SIGWINCH = 28 };
#define BIT(signo) (1u << ((signo) - 1))
struct sigaction { void *handler; u32 mask; i32 flags; };
struct stack { void *sp; i32 flags; word size; };
struct thread_params { u32 detach_state; i32 priority; u32 guard_size, reported_guard_size, stack_size; void *stack; word rdi, rsi, rcx, rdx; };
struct metadata { struct string key, value; };
struct scheduler { i32 id; u8 mode; i32 priority; };

static char *self, digits[12], tid_digits[12];
static void handler(int signo) { (void)signo; }
static void act(int signo, void *what)
{
    struct sigaction action = {what, BIT(SIGHUP), 0x10000004};
    CALL3(SC_sigaction, signo, &action, NULL);
}
static int is(int signo, void *what)
{
    struct sigaction action;
    CALL3(SC_sigaction, signo, NULL, &action);
    return action.handler == what && action.mask == 0 && action.flags == 0;
}
static i64 describe(void) { struct metadata params = {{"key", 3}, {"value", 5}}; return CALL1(SC_set_coredump_metadata, &params); }
static void spell(char *to, i64 n)
{
    char reversed[12];
    int at = 0, out = 0;
    do reversed[at++] = (char)('0' + n % 10), n /= 10; while (n);
    while (at) to[out++] = reversed[--at];
    to[out] = 0;
}
static i64 value_of(const char *text) { i64 n = 0; while (*text) n = n * 10 + *text++ - '0'; return n; }

#define BODY(name) __asm__(#name "_entry:\n\tand $-16, %rsp\n\tcall " #name "\n\thlt\n"); \
    extern char name##_entry[] __attribute__((visibility("hidden")))
__attribute__((used, noreturn)) static void sleeper(void) { u32 none = 0; for (;;) CALL1(SC_sigsuspend, &none); }
BODY(sleeper);
__attribute__((used, noreturn)) static void runner(void)
{
    u32 blocked = BIT(SIGHUP) | BIT(SIGUSR1), mxcsr = 0x9f80;
    u16 control = 0x77f;
    struct stack alternate = {(void *)map(NULL, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 0, 32768};
    CALL2(SC_sigaltstack, &alternate, NULL);
    CALL3(SC_sigprocmask, 2, &blocked, NULL);
    CALL2(SC_kill, CALL0(SC_getpid), SIGUSR1);
    spell(tid_digits, CALL0(SC_gettid));
    __asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(mxcsr), "m"(control));
    struct string words[3] = {{self, length(self)}, {digits, length(digits)}, {tid_digits, length(tid_digits)}};
    struct execve_params params = {{self, length(self)}, {words, 3}, {NULL, 0}};
    CALL1(SC_execve, &params);
    leave(99);
}
BODY(runner);
static void start(void *entry)
{
    struct thread_params params = {0, 40, 0, 0, 65536, NULL, 0, 0, 0, 0};
    params.stack = (void *)map(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CALL2(SC_create_thread, entry, &params);
}

static void after(i64 pid, i64 tid)
{
    u32 mask = 0, pending = 0, mxcsr = 0;
    u16 control = 0;
    struct stack stack;
    char name[32];
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(control));
    CHECK(mxcsr == 0x1f80 && control == 0x37f);
    CHECK(CALL0(SC_getpid) == pid && CALL0(SC_gettid) == pid && tid != pid && CALL2(SC_kill_thread, tid, 0) == -ESRCH);
    CHECK(is(SIGTERM, (void *)SIG_IGN) && is(SIGCHLD, (void *)SIG_DFL) && is(SIGUSR2, (void *)SIG_DFL) && is(SIGINFO, (void *)SIG_IGN));
    CALL3(SC_sigprocmask, 0, NULL, &mask), CALL1(SC_sigpending, &pending);
    CHECK(mask == (BIT(SIGHUP) | BIT(SIGUSR1)) && pending == BIT(SIGUSR1));
    CHECK(CALL2(SC_sigaltstack, NULL, &stack) == 0 && stack.flags == SS_DISABLE);
    CHECK(CALL1(SC_alarm, 0) == 1000);
    CHECK(CALL2(SC_get_process_name, name, 32) == 0 && same(name, "execkeeps"));
    CHECK(CALL3(SC_get_thread_name, pid, name, 32) == 0 && same(name, "execkeeps"));
    CHECK(describe() == 0 && describe() == 0 && describe() == 0 && describe() == 0 && describe() == -ENOBUFS);
    CHECK(CALL1(SC_umask, 0) == 031 && CALL0(SC_getpgrp) == pid && CALL1(SC_getsid, 0) == pid);
    CHECK(CALL3(SC_join_thread, pid + 1, NULL, 0) == -ESRCH);
}

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    self = argv[0];
    if (argc == 3) { after(value_of(argv[1]), value_of(argv[2])); return 0; }
    i64 pid = CALL0(SC_fork);
    if (pid) {
        struct siginfo info;
        struct waitid_params params = {2, (i32)pid, &info, 4};
        return CALL1(SC_waitid, &params) || info.code ? 1 : info.status;
    }
    CALL0(SC_setsid);
    act(SIGUSR2, handler), act(SIGTERM, (void *)SIG_IGN), act(SIGCHLD, (void *)SIG_IGN), act(SIGINFO, (void *)SIG_IGN);
    for (int n = 0; n < 4; n++) describe();
    CALL1(SC_alarm, 1000), CALL1(SC_umask, 031), CALL2(SC_set_process_name, "before", 6);
    spell(digits, CALL0(SC_getpid));
    start(sleeper_entry), start(runner_entry);
    sleeper();
}
