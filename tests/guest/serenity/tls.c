/* Thread-local storage: made by exec for this program's PT_TLS, for every thread; allocate_tls is the loader's (reference 1.12). */
#include "sy.h"

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)

static __thread volatile u64 first = 0x1122334455667788;
static __thread volatile char text[40] = "initial";
static __thread volatile u64 zero[100];
static __thread volatile u64 aligned __attribute__((aligned(64))) = 5;

static word self(void) { word value; __asm__("mov %%fs:0, %0" : "=r"(value)); return value; }

struct thread_params { u32 detach; i32 priority; u32 guard, reported_guard, stack_size; void *stack; word rdi, rsi, rcx, rdx; };
static volatile word other_self, other_first, other_zero, other_aligned, other_done;

__attribute__((used)) static void in_thread(void)
{
    other_self = self(), other_first = first, other_aligned = aligned + ((word)&aligned % 64);
    word sum = 0;
    for (int n = 0; n < 100; n++) sum += zero[n];
    other_zero = sum;
    first = 99;
    other_done = 1;
    CALL3(SC_exit_thread, 7, 0, 0);
    for (;;) {}
}

static void a_thread(void)
{
    i64 stack = map(NULL, 16 * PAGE, RW, MAP_ANONYMOUS | MAP_PRIVATE | MAP_STACK, -1, 0);
    struct thread_params params = {0, 30, 0, 0, 16 * PAGE - 64, (void *)stack, 0, 0, 0, 0};
    other_done = 0;
    i64 tid = CALL2(SC_create_thread, in_thread, &params);
    word value = 0;
    CHECK(tid > 0 && CALL2(SC_join_thread, tid, &value) == 0 && value == 7 && other_done);
    CHECK(other_self != self() && other_self != 0);
    CHECK(other_first == 0x1122334455667788 && other_zero == 0 && other_aligned == 5);
}

static void in_fork(void)
{
    first = 3;
    if (self() == 0 || aligned != 5) leave(1);
    i64 stack = map(NULL, 16 * PAGE, RW, MAP_ANONYMOUS | MAP_PRIVATE | MAP_STACK, -1, 0);
    struct thread_params params = {0, 30, 0, 0, 16 * PAGE - 64, (void *)stack, 0, 0, 0, 0};
    other_done = 0;
    i64 tid = CALL2(SC_create_thread, in_thread, &params);
    word value = 0;
    if (tid < 0 || CALL2(SC_join_thread, tid, &value) != 0) leave(2);
    leave(other_first == 0x1122334455667788 ? 0 : 3);
}

static int has_region(const char *wanted)
{
    static char maps[65536];
    i64 fd = open_file("/proc/self/vm", O_RDONLY, 0), n = 0, got;
    int found = 0;
    while ((got = CALL3(SC_read, fd, maps + n, sizeof maps - 1 - (word)n)) > 0) n += got;
    CALL1(SC_close, fd);
    for (i64 at = 0; at < n; at++) {
        word m = 0;
        while (wanted[m] && maps[at + (i64)m] == wanted[m]) m++;
        found += !wanted[m];
    }
    return found;
}

static int run(int argc, char **argv, char **envp)
{
    CHECK(self() != 0 && *(word *)self() == self());
    CHECK(first == 0x1122334455667788 && text[0] == 'i' && text[6] == 'l' && text[7] == 0);
    CHECK((word)&first < self() && (word)&zero < self());
    CHECK(aligned == 5 && (word)&aligned % 64 == 0);
    word sum = 0;
    for (int n = 0; n < 100; n++) sum += zero[n];
    CHECK(sum == 0);
    first = 42;
    CHECK(has_region("(master-tls)\"") == 1 && has_region("Thread-specific\"") >= 1);
    int before = has_region("Thread-specific\"");
    a_thread();
    CHECK(first == 42);
    a_thread();
    CHECK(has_region("Thread-specific\"") == before);               /* a thread's region goes with it */
    CHECK(in_child(in_fork) == 256);
    CHECK(CALL2(SC_munmap, self() & -PAGE, PAGE) == -EPERM);
    CHECK(CALL2(SC_allocate_tls, &sum, 0) == -EINVAL);
    CHECK(CALL2(SC_allocate_tls, &sum, 100) == -EINVAL);
    CHECK(CALL2(SC_allocate_tls, &sum, PAGE) == -EEXIST);
    CHECK(first == 42);
    return 0;
}
