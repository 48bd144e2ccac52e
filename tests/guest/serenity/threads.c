/* Threads: beginning, ending, joining, names; futexes. */
#include "sy.h"

struct thread_params { u32 detach_state; i32 priority; u32 guard_size, reported_guard_size, stack_size; void *stack; word rdi, rsi, rcx, rdx; };
struct futex_params { void *address; i32 op; u32 value; word timeout; void *address2; u32 value3; };
struct timespec { i64 seconds, ns; };
struct sigaction { void *handler; u32 mask; i32 flags; };
_Static_assert(sizeof(struct thread_params) == 64 && sizeof(struct futex_params) == 40, "layouts");
enum { WAIT = 1, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET = 9, WAKE_BITSET, REALTIME = 0x100, PRIVATE = 0x200 };
enum { STACK_SIZE = 65536 };

static void *new_stack(void)
{
    return (void *)map(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
}
static i64 start_on(void *stack, void *entry, word argument, u32 detached, i32 priority)
{
    struct thread_params params = {detached, priority, 0, 0, STACK_SIZE, stack, argument, 2, 3, 4};
    return CALL2(SC_create_thread, entry, &params);
}
static i64 start(void *entry, word argument) { return start_on(new_stack(), entry, argument, 0, 30); }
static i64 join(i64 tid, word *value) { return CALL2(SC_join_thread, tid, value); }

static i64 futex(void *address, int op, u32 value, word timeout, void *address2, u32 value3)
{
    struct futex_params params = {address, op, value, timeout, address2, value3};
    return CALL1(SC_futex, &params);
}

static volatile word begun[8];
static volatile u32 word_a, word_b, counter, go;
__attribute__((used)) static void thread_body(word rdi, word rsi, word rdx, word rcx, word sp, word flags)
{
    begun[0] = rdi, begun[1] = rsi, begun[2] = rdx, begun[3] = rcx, begun[4] = sp, begun[5] = flags;
    u32 mask = 99;
    CALL3(SC_sigprocmask, 0, NULL, &mask);
    begun[6] = mask;
    CALL3(SC_exit_thread, 42, 0, 0);
}
__asm__("thread_entry:\n\tmov %rsp, %r8\n\tpushfq\n\tpop %r9\n\tand $-16, %rsp\n\tcall thread_body\n\thlt\n");
extern char thread_entry[] __attribute__((visibility("hidden")));

#define BODY(name) __asm__(#name "_entry:\n\tand $-16, %rsp\n\tcall " #name "\n\thlt\n"); \
    extern char name##_entry[] __attribute__((visibility("hidden")))
__attribute__((used, noreturn)) static void quit(word value) { CALL3(SC_exit_thread, value, 0, 0); for (;;); }
BODY(quit);
__attribute__((used, noreturn)) static void wait_for_go(word value)
{
    while (!go) futex((void *)&go, WAIT | PRIVATE, 0, 0, NULL, 0);
    CALL3(SC_exit_thread, value, 0, 0);
    for (;;);
}
BODY(wait_for_go);
__attribute__((used, noreturn)) static void sleeper(word address)
{
    i64 result = futex((void *)address, WAIT, 0, 0, NULL, 0);
    __atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST);
    CALL3(SC_exit_thread, result, 0, 0);
    for (;;);
}
BODY(sleeper);
__attribute__((used, noreturn)) static void leave_with_stack(word stack) { CALL3(SC_exit_thread, 5, stack, STACK_SIZE); for (;;); }
BODY(leave_with_stack);
__attribute__((used, noreturn)) static void suspend_forever(word value)
{
    u32 none = 0;
    begun[7] = value;
    for (;;) CALL1(SC_sigsuspend, &none);
}
BODY(suspend_forever);
static void release(void) { go = 1; futex((void *)&go, WAKE | PRIVATE, 100, 0, NULL, 0); }
static struct timespec many;            /* a count of those to move is read as a timeout: nothing but an address will do for one */
static void until_asleep(void *address, u32 want)       /* how many sleep there, asked by moving them onto themselves */
{
    while (futex(address, REQUEUE, 0, (word)&many, address, 0) < (i64)want) CALL0(SC_yield);
}

static void beginning(void)
{
    struct thread_params params = {0, 30, 0, 0, STACK_SIZE, new_stack(), 1, 2, 3, 4};
    word value = 0;
    CHECK(CALL2(SC_create_thread, thread_entry, 16) == -EFAULT);
    CHECK(start_on((void *)0x1000000000, thread_entry, 0, 0, 30) == -EFAULT && start_on(new_stack(), thread_entry, 0, 0, 0) == -EINVAL);
    CHECK(start_on(new_stack(), thread_entry, 0, 0, 100) == -EINVAL);
    CHECK(start_on((void *)~0ul, thread_entry, 0, 0, 30) == -EOVERFLOW);
    void *plain = (void *)map(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(start_on(plain, thread_entry, 0, 0, 30) == -EFAULT);          /* not stack memory */
    u32 usr1 = 1u << (SIGUSR1 - 1);
    CALL3(SC_sigprocmask, 2, &usr1, NULL);
    i64 tid = CALL2(SC_create_thread, thread_entry, &params);
    CHECK(tid > 0 && join(tid, &value) == 0 && value == 42);
    CHECK(begun[0] == 1 && begun[1] == 2 && begun[2] == 4 && begun[3] == 3);
    CHECK(begun[4] == (word)params.stack + STACK_SIZE && begun[5] == 0x202 && begun[6] == 0);    /* nothing is blocked in it */
    u32 none = 0;
    CALL3(SC_sigprocmask, 2, &none, NULL);
}

static void joining(void)
{
    word value = 0;
    char name[32];
    i64 tid = start(wait_for_go_entry, 7), second = start(wait_for_go_entry, 8);
    CHECK(join(31999, &value) == -ESRCH && join(CALL0(SC_gettid), &value) == -EDEADLK);
    CHECK(CALL3(SC_get_thread_name, tid, name, 32) == 0 && name[0] == 't' && name[8] == '[');     /* "threads [TID]" */
    CHECK(CALL1(SC_detach_thread, second) == 0 && CALL1(SC_detach_thread, second) == -EINVAL && join(second, NULL) == -EINVAL);
    CHECK(CALL1(SC_detach_thread, 31999) == -ESRCH);
    release();
    CHECK(join(tid, &value) == 0 && value == 7 && join(tid, &value) == -ESRCH);
    tid = start(quit_entry, 9);
    while (CALL2(SC_kill_thread, tid, 0) == 0) CALL0(SC_yield);          /* it has ended, and may be joined still */
    CHECK(join(tid, &value) == 0 && value == 9);
    tid = start(quit_entry, 9);
    CHECK(join(tid, (void *)16) == -EFAULT);
    tid = start_on(new_stack(), quit_entry, 0, 1, 30);
    i64 gone = join(tid, NULL);
    CHECK(gone == -EINVAL || gone == -ESRCH);                            /* detached: never */
    u8 *stack = new_stack();
    tid = start_on(stack, leave_with_stack_entry, (word)stack, 0, 30);
    CHECK(join(tid, &value) == 0 && value == 5);
    CHECK(CALL3(SC_mprotect, stack, STACK_SIZE, PROT_READ) == -EINVAL);  /* its stack is given back */
}

/* kill-pidtid-confusion: a thread is not a process, and a process is there while any thread is. */
static volatile int *where;                                          /* shared with the child */
static void main_thread_gone(void) { start(suspend_forever_entry, 1); *where = 1; CALL3(SC_exit_thread, 0, 0, 0); }
static void ids(void)
{
    go = 0;
    i64 tid = start(wait_for_go_entry, 0);
    CHECK(CALL2(SC_kill, tid, 0) == -ESRCH && CALL1(SC_getpgid, tid) == -ESRCH);
    release();
    join(tid, NULL);
    where = (volatile int *)map(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    i64 pid = CALL0(SC_fork);
    if (!pid) main_thread_gone();
    while (!*where) CALL0(SC_yield);
    CHECK(CALL2(SC_kill, pid, 0) == 0 && CALL2(SC_kill, pid, SIGTERM) == 0);
    struct siginfo info;
    struct waitid_params params = {2, (i32)pid, &info, 4};
    CHECK(CALL1(SC_waitid, &params) == 0 && info.code == 1 && info.status == SIGTERM);
}
static void last_one(void) { CALL3(SC_exit_thread, 77, 0, 0); }
static void whole_process(void) { start(suspend_forever_entry, 1); leave(3); }

static volatile i32 taken_by;
static void take(int signo) { (void)signo; taken_by = (i32)CALL0(SC_gettid); }
static void signals(void)
{
    struct sigaction action = {take, 0, 0};
    CALL3(SC_sigaction, SIGUSR1, &action, NULL);
    i64 tid = start(suspend_forever_entry, 6);
    while (begun[7] != 6) CALL0(SC_yield);
    CHECK(CALL2(SC_kill_thread, tid, SIGUSR1) == 0);
    while (!taken_by) CALL0(SC_yield);
    CHECK(taken_by == tid);
    CHECK(CALL2(SC_kill_thread, tid, -1) == -EINVAL);
    taken_by = 0;
    CALL2(SC_kill, CALL0(SC_getpid), SIGUSR1);                           /* to oneself: the calling thread */
    CHECK(taken_by == CALL0(SC_gettid));
    CALL1(SC_detach_thread, tid);
}

static void futexes(void)
{
    struct timespec soon = {0, 20000000};
    CHECK(CALL1(SC_futex, 16) == -EFAULT && futex((void *)&word_a, 0, 0, 0, NULL, 0) == -ENOSYS && futex((void *)&word_a, 6, 0, 0, NULL, 0) == -ENOSYS);
    CHECK(futex((void *)&word_a, WAKE | REALTIME, 1, 0, NULL, 0) == -ENOSYS);
    CHECK(futex((u8 *)&word_a + 1, WAIT, 0, 0, NULL, 0) == -EINVAL && futex((void *)16, WAIT, 0, 0, NULL, 0) == -EFAULT);
    CHECK(futex((void *)&word_a, WAIT, 1, 0, NULL, 0) == -EAGAIN && futex((void *)&word_a, WAIT, 0, 16, NULL, 0) == -EFAULT);
    CHECK(futex((void *)&word_a, WAIT, 0, (word)&soon, NULL, 0) == -ETIMEDOUT);
    CHECK(futex((void *)&word_a, WAIT_BITSET, 0, (word)&soon, NULL, 1) == -ETIMEDOUT);           /* absolute: long past */
    CHECK(futex((void *)&word_a, WAIT_BITSET | REALTIME, 0, (word)&soon, NULL, 1) == -ETIMEDOUT);
    CHECK(futex((void *)&word_a, WAIT_BITSET, 0, 0, NULL, 0) == -EINVAL && futex((void *)&word_a, WAKE_BITSET, 1, 0, NULL, 0) == -EINVAL);
    CHECK(futex((void *)&word_a, WAKE, 1, 0, NULL, 0) == 0);

    i64 tids[3];
    word value;
    for (int n = 0; n < 3; n++) tids[n] = start(sleeper_entry, (word)&word_a);
    until_asleep((void *)&word_a, 3);
    CHECK(futex((void *)&word_a, WAKE, 0, 0, NULL, 0) == 0);
    CHECK(futex((void *)&word_a, CMP_REQUEUE, 1, 1, (void *)&word_b, 9) == -EFAULT);
    CHECK(futex((void *)&word_a, CMP_REQUEUE, 1, (word)&many, (void *)&word_b, 9) == -EAGAIN);
    CHECK(futex((void *)&word_a, REQUEUE, 0, 0, (void *)1, 0) == -EINVAL && futex((void *)&word_b, REQUEUE, 0, 0, (void *)1, 0) == 0);
    CHECK(futex((void *)&word_a, REQUEUE | PRIVATE, 1, 0, (void *)&word_b, 0x7fffffff) == 1);    /* LibC's broadcast: one */
    CHECK(futex((void *)&word_a, CMP_REQUEUE, 1, (word)&many, (void *)&word_b, 0) == 2);
    CHECK(futex((void *)&word_b, WAKE_BITSET, 9, 0, NULL, 4) == 1 && futex((void *)&word_a, WAKE, 9, 0, NULL, 0) == 0);
    for (int n = 0; n < 3; n++) CHECK(join(tids[n], &value) == 0 && value == 0);
    CHECK(counter == 3);

    i64 tid = start(sleeper_entry, (word)&word_a);
    until_asleep((void *)&word_a, 1);
    word_b = 5;
    CHECK(futex((void *)&word_a, WAKE_OP, 1, 1, (void *)&word_b, 1u << 28 | 4u << 24 | 3u << 12 | 4) == 1 && word_b == 8);  /* += 3, > 4 */
    join(tid, NULL);
    CHECK(futex((void *)&word_a, WAKE_OP, 1, 1, (void *)&word_b, 7u << 28) == -EINVAL);
    CHECK(futex((void *)&word_a, WAKE_OP, 1, 1, (void *)&word_b, 8u << 28 | 3u << 12) == -EINVAL && word_b == 8);      /* = 1 << 3 */
    CHECK(futex((void *)&word_a, WAKE_OP, 1, 1, (void *)&word_b, 7u << 24) == -EINVAL && word_b == 0);
    CHECK(futex((void *)2, WAKE, 0, 0, NULL, 0) == 0 && futex((void *)2, WAKE, 1, 0, NULL, 0) == -EINVAL);

    struct sigaction action = {take, 0, 0};
    CALL3(SC_sigaction, SIGALRM, &action, NULL);
    taken_by = 0;
    CALL1(SC_alarm, 1);
    CHECK(futex((void *)&word_a, WAIT, 0, 0, NULL, 0) == 0 && taken_by); /* a signal ends a wait: that is a result */
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    beginning();
    joining();
    ids();
    CHECK(in_child(last_one) == 256 && in_child(whole_process) == 256 + 3);
    signals();
    word_a = 0;
    futexes();
    return 0;
}
