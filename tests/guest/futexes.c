/* The futex call itself, and the robust list.
 * builds: x64 i386
 */
#include "case.h"
#include <linux/futex.h>
#ifndef SYS_futex
#define SYS_futex SYS_futex_time32
#endif

struct old_timespec { long sec, nsec; };          /* what SYS_futex takes in both builds */
static int *word;                                 /* in memory shared with children */
static char stack[4][16384] __attribute__((aligned(64)));

static long futex(int *at, int op, int value, void *timeout, int *at2, int value3)
{
    return syscall(SYS_futex, at, op, value, timeout, at2, value3);
}

static void setup(void) { word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); }

/* A child that sleeps on the word and says how it was woken through its exit status. */
static pid_t sleeper(int *at, int op, int value3)
{
    pid_t pid = fork();
    if (pid == 0) _exit(futex(at, op, 0, NULL, NULL, value3) == 0 ? 0 : errno);
    wait_asleep(pid);
    return pid;
}

CASE(wait_and_wake)
{
    setup();
    T(futex(word, FUTEX_WAIT, 1, NULL, NULL, 0));
    T(futex(word, FUTEX_WAKE, 1, NULL, NULL, 0));
    pid_t pid = sleeper(word, FUTEX_WAIT, 0);
    T(futex(word, FUTEX_WAKE, 10, NULL, NULL, 0));
    reap(pid);
    pid_t a = sleeper(word, FUTEX_WAIT, 0), b = sleeper(word, FUTEX_WAIT, 0), c = sleeper(word, FUTEX_WAIT, 0);
    T(futex(word, FUTEX_WAKE, 2, NULL, NULL, 0));
    reap(a), reap(b);
    T(waitpid(c, NULL, WNOHANG));
    T(futex(word, FUTEX_WAKE, 2, NULL, NULL, 0));
    reap(c);
    pid = sleeper(word, FUTEX_WAIT, 0);
    T(futex(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0));
    T(futex(word, FUTEX_WAKE, 0, NULL, NULL, 0));
    reap(pid);
}

CASE(errors)
{
    setup();
    T(futex((int *)1, FUTEX_WAKE, 1, NULL, NULL, 0));
    T(futex((int *)((char *)word + 1), FUTEX_WAKE, 1, NULL, NULL, 0));
    T(futex((int *)4, FUTEX_WAIT, 1, NULL, NULL, 0));
    T(futex(word, 99, 1, NULL, NULL, 0));
    struct old_timespec bad = {0, 2000000000};
    T(futex(word, FUTEX_WAIT, 0, &bad, NULL, 0));
    T(futex(word, FUTEX_WAIT, 0, (void *)1, NULL, 0));
    T(futex(word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
    T(futex(word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
    T(futex(word, FUTEX_CMP_REQUEUE, 1, (void *)1, word + 1, 5));
    T(futex(word, FUTEX_WAIT, -1, NULL, NULL, 0));
}

CASE(timeouts)
{
    setup();
    struct old_timespec brief = {0, 20000000};
    long start = now_ms();
    T(futex(word, FUTEX_WAIT, 0, &brief, NULL, 0));
    IS(now_ms() - start >= 19);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct old_timespec until = {(long)now.tv_sec, now.tv_nsec};
    T(futex(word, FUTEX_WAIT_BITSET, 0, &until, NULL, -1));
    until.sec += 1;
    until.nsec = 0;
    start = now_ms();
    T(futex(word, FUTEX_WAIT_BITSET, 0, &until, NULL, -1));
    IS(now_ms() - start < 1100);
    clock_gettime(CLOCK_REALTIME, &now);
    until.sec = (long)now.tv_sec, until.nsec = now.tv_nsec;
    T(futex(word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &until, NULL, -1));
    T(futex(word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0));
}

CASE(bitsets)
{
    setup();
    pid_t a = sleeper(word, FUTEX_WAIT_BITSET, 1), b = sleeper(word, FUTEX_WAIT_BITSET, 2), c = sleeper(word, FUTEX_WAIT, 0);
    T(futex(word, FUTEX_WAKE_BITSET, 10, NULL, NULL, 4));
    T(futex(word, FUTEX_WAKE_BITSET, 10, NULL, NULL, 2));
    reap(b);
    reap(c);
    T(futex(word, FUTEX_WAKE, 10, NULL, NULL, 0));
    reap(a);
}

CASE(requeue)
{
    setup();
    pid_t pids[3];
    for (int i = 0; i < 3; i++) pids[i] = sleeper(word, FUTEX_WAIT, 0);
    T(futex(word, FUTEX_CMP_REQUEUE, 1, (void *)1, word + 1, 7));
    T(futex(word, FUTEX_CMP_REQUEUE, 1, (void *)1, word + 1, 0));
    reap(pids[0]);
    T(futex(word, FUTEX_WAKE, 10, NULL, NULL, 0));
    IS(wait(NULL) > 0);             /* whichever of the two was left on the first word */
    T(futex(word + 1, FUTEX_WAKE, 10, NULL, NULL, 0));
    IS(wait(NULL) > 0);
    pids[0] = sleeper(word, FUTEX_WAIT, 0);
    T(futex(word, FUTEX_REQUEUE, 0, (void *)5, word + 1, 0));
    T(futex(word, FUTEX_WAKE, 5, NULL, NULL, 0));
    T(futex(word + 1, FUTEX_WAKE, 5, NULL, NULL, 0));
    reap(pids[0]);
}

CASE(wake_op)
{
    setup();
    pid_t a = sleeper(word, FUTEX_WAIT, 0), b = sleeper(word + 1, FUTEX_WAIT, 0);
    T(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1, FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 1)));
    T(word[1]);
    reap(a);
    T(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1, FUTEX_OP(FUTEX_OP_SET, 3, FUTEX_OP_CMP_GT, 4)));
    T(word[1]);
    reap(b);
    T(futex(word, FUTEX_WAKE_OP, 0, (void *)0, word + 1, FUTEX_OP(FUTEX_OP_OR, 12, FUTEX_OP_CMP_NE, 0)));
    T(word[1]);
    T(futex(word, FUTEX_WAKE_OP, 0, (void *)0, word + 1, FUTEX_OP(FUTEX_OP_ANDN, 5, FUTEX_OP_CMP_NE, 0)));
    T(word[1]);
    T(futex(word, FUTEX_WAKE_OP, 0, (void *)0, word + 1, FUTEX_OP(FUTEX_OP_XOR, 0xff, FUTEX_OP_CMP_NE, 0)));
    T(word[1]);
    T(futex(word, FUTEX_WAKE_OP, 0, (void *)0, (int *)1, FUTEX_OP(FUTEX_OP_XOR, 0xff, FUTEX_OP_CMP_NE, 0)));
}

CASE(interrupted)
{
    setup();
    pid_t pid = fork();
    if (pid == 0) { handle(SIGUSR1, no_action, 0); T(futex(word, FUTEX_WAIT, 0, NULL, NULL, 0)); _exit(0); }
    wait_asleep(pid);
    kill(pid, SIGUSR1);
    reap(pid);
    pid = fork();
    if (pid == 0) { handle(SIGUSR1, tell, SA_RESTART); T(futex(word, FUTEX_WAIT, 0, NULL, NULL, 0)); _exit(0); }
    wait_asleep(pid);
    kill(pid, SIGUSR1);
    pause_ms(30);
    long woken = futex(word, FUTEX_WAKE, 1, NULL, NULL, 0);
    reap(pid);
    T(woken);
    pid = fork();
    if (pid == 0) { handle(SIGUSR1, tell, SA_RESTART); struct old_timespec t = {0, 500000000}; T(futex(word, FUTEX_WAIT, 0, &t, NULL, 0)); _exit(0); }
    wait_asleep(pid);
    kill(pid, SIGUSR1);
    reap(pid);
}

CASE(shared_through_a_file)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    ftruncate(fd, 4096);
    int *one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pid_t pid = sleeper(one, FUTEX_WAIT, 0);
    T(futex(two, FUTEX_WAKE, 1, NULL, NULL, 0));
    reap(pid);
    int *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid = sleeper(private, FUTEX_WAIT, 0);
    T(futex(private, FUTEX_WAKE, 1, NULL, NULL, 0));
    kill(pid, SIGKILL);
    reap(pid);
}

struct robust { void *next; long offset; void *pending; };
struct held { void *next; int word; };

static int dies_holding(void *argument)
{
    static struct held lock;
    static struct robust head;
    head = (struct robust){&lock, offsetof(struct held, word), NULL};
    lock.next = &head;
    lock.word = (int)syscall(SYS_gettid) | FUTEX_WAITERS;
    *(struct held **)argument = &lock;
    syscall(SYS_set_robust_list, &head, sizeof head);
    return 0;
}

CASE(robust_list)
{
    struct held *lock = NULL;
    T(syscall(SYS_set_robust_list, NULL, 5));
    pid_t pid = clone(dies_holding, stack[0] + sizeof stack[0], CLONE_VM | SIGCHLD, &lock);
    reap(pid);
    IS(lock->word & FUTEX_OWNER_DIED);
    say("tid %x", lock->word & FUTEX_TID_MASK);
    struct robust *head;
    size_t length;
    T(syscall(SYS_get_robust_list, 1 << 29, &head, &length));
    T(syscall(SYS_get_robust_list, 0, &head, &length));
    T(length == sizeof(struct robust));
}

CASE(priority_inheritance)
{
    setup();
    T(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    IS(*word == syscall(SYS_gettid));
    T(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    T(futex(word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    T(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    T(*word);
    T(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
}
