/* Mappings: what can be made, changed and taken away, and how it is refused (reference 1.14, 1.17, 6.9, 6.10). */
#include "sy.h"

#define PAGE 4096UL
#define TOP 0x1ffe000000UL
#define RW (PROT_READ | PROT_WRITE)
#define FRESH (MAP_ANONYMOUS | MAP_PRIVATE)

static i64 fresh(word size) { return map(NULL, size, RW, FRESH, -1, 0); }
static i64 fixed(word addr, word size, int prot, int flags) { return map((void *)addr, size, prot, flags | MAP_FIXED, -1, 0); }
static i64 protect(i64 addr, word size, int prot) { return CALL3(SC_mprotect, addr, size, prot); }
static i64 unmap(i64 addr, word size) { return CALL2(SC_munmap, addr, size); }
static i64 readable(i64 addr, word size) { return CALL3(SC_write, 5, addr, size); }      /* 5: a file to write to */

static void efault_table(void)
{
    i64 zero = open_file("/dev/zero", O_RDONLY, 0);
    i64 p = fresh(PAGE);
    CHECK(CALL3(SC_read, zero, p, PAGE) == PAGE);
    CHECK(CALL3(SC_read, zero, p, PAGE + 1) == -EFAULT);
    CHECK(CALL3(SC_read, zero, p - 1, PAGE) == -EFAULT);
    i64 q = fresh(2 * PAGE + PAGE * 2);
    CHECK(unmap(q, PAGE) == 0 && unmap(q + 3 * PAGE, PAGE) == 0);
    q += PAGE;
    int inner = 0;
    for (word at = 0; at < 2 * PAGE; at += 511)
        for (word size = 1; at + size <= 2 * PAGE; size += 1009) inner += CALL3(SC_read, zero, q + (i64)at, size) != (i64)size;
    CHECK(inner == 0);
    CHECK(CALL3(SC_read, zero, q, 2 * PAGE + 1) == -EFAULT);
    CHECK(CALL3(SC_read, zero, q - 1, 1) == -EFAULT);
    i64 low = p < q ? p : q, high = p < q ? q : p;
    CHECK(CALL3(SC_read, zero, low, high - low) == -EFAULT);
    int refused = 0;
    for (word at = TOP; at <= 0x203fffffffUL; at += 0x80000) refused += fixed(at, PAGE, RW, FRESH) == -EFAULT;
    CHECK(refused == (0x203fffffffUL - TOP) / 0x80000 + 1);
    CHECK(fixed(TOP - PAGE, PAGE, RW, FRESH) == (i64)(TOP - PAGE));
    CHECK(CALL3(SC_read, zero, TOP - PAGE, PAGE) == PAGE);
    CHECK(CALL3(SC_read, zero, TOP - PAGE, PAGE + 1) == -EFAULT);
    CHECK(CALL3(SC_read, zero, p, 0x50000000) == -EFAULT);
    CALL1(SC_close, zero);
}

static void arguments(void)
{
    struct mmap_params params = {NULL, PAGE, 0, RW, FRESH, -1, 0, {NULL, 0}};
    CHECK(CALL1(SC_mmap, &params) > 0);
    CHECK(CALL1(SC_mmap, 1) == -EFAULT);
    params.alignment = 100;
    CHECK(CALL1(SC_mmap, &params) == -EINVAL);
    params.alignment = 1UL << 20;
    i64 aligned = CALL1(SC_mmap, &params);
    CHECK(aligned > 0 && aligned % (1L << 20) == 0);
    params.alignment = 3 * PAGE;
    CHECK(CALL1(SC_mmap, &params) == -EINVAL);
    params.alignment = 1UL << 63;
    CHECK(CALL1(SC_mmap, &params) == -ENOMEM);
    params.alignment = PAGE;
    CHECK(map(NULL, -1UL, RW, FRESH, -1, 0) == -EINVAL);
    CHECK(map(NULL, -PAGE, RW, FRESH, -1, 0) == -EFAULT);
    CHECK(map((void *)-PAGE, PAGE, RW, FRESH, -1, 0) == -EFAULT);
    CHECK(map(NULL, TOP, RW, FRESH | MAP_NORESERVE, -1, 0) == -ENOMEM);
    CHECK(map(NULL, 0, RW, FRESH, -1, 0) == -EINVAL);
    CHECK(map((void *)0x20000001, PAGE, RW, FRESH, -1, 0) == -EINVAL);
    CHECK(map(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0) == -EINVAL);
    CHECK(map(NULL, PAGE, RW, MAP_ANONYMOUS | MAP_PRIVATE | MAP_SHARED, -1, 0) == -EINVAL);
    CHECK(map((void *)0x20000000, PAGE, RW, FRESH | MAP_FIXED | MAP_RANDOMIZED, -1, 0) == -EINVAL);
    CHECK(map(NULL, PAGE, RW, MAP_ANONYMOUS | MAP_SHARED | MAP_STACK, -1, 0) == -EINVAL);
    CHECK(map((void *)0x30000000, PAGE, RW, FRESH, -1, 0) != 0x30000000);                /* a hint says nothing */
    params.name = (struct string){"x", PAGE + 1};
    CHECK(CALL1(SC_mmap, &params) == -ENAMETOOLONG);
    params.name = (struct string){(char *)1, 4};
    CHECK(CALL1(SC_mmap, &params) == -EFAULT);
    CHECK(fixed(0x1000, PAGE, RW, FRESH) == -ENOMEM);                                     /* below the space's range */
    CHECK(map((void *)0x40000000, PAGE, RW, FRESH | MAP_FIXED_NOREPLACE, -1, 0) == 0x40000000);
    CHECK(map((void *)0x40000000, PAGE, RW, FRESH | MAP_FIXED_NOREPLACE, -1, 0) == -ENOMEM);
    i64 a = map(NULL, PAGE, RW, FRESH | MAP_RANDOMIZED, -1, 0), b = map(NULL, PAGE, RW, FRESH | MAP_RANDOMIZED, -1, 0);
    CHECK(a > 0 && b > 0 && a - b > (i64)PAGE * 16 | b - a > (i64)PAGE * 16);
    i64 first = fresh(PAGE), second = fresh(PAGE);
    CHECK(second > first);                                                                /* the lowest place there is */
    CHECK(unmap(first, PAGE) == 0 && unmap(second, PAGE) == 0);
}

static void files(void)
{
    i64 fd = open_file("data", O_RDWR | O_CREAT, 0600);
    CHECK(CALL3(SC_write, fd, "hello", 5) == 5);
    CHECK(map(NULL, PAGE, PROT_READ, MAP_PRIVATE, (int)fd, -4096) == -EINVAL);
    CHECK(map(NULL, PAGE, PROT_READ, MAP_PRIVATE, (int)fd, 100) == -EINVAL);
    CHECK(map(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0) == -EBADF);
    i64 directory = open_file("/", O_RDONLY | O_DIRECTORY, 0), zero = open_file("/dev/zero", O_RDONLY, 0);
    CHECK(map(NULL, PAGE, PROT_READ, MAP_PRIVATE, (int)directory, 0) == -ENODEV);
    CHECK(map(NULL, PAGE, PROT_READ, MAP_PRIVATE, (int)zero, 0) == -ENODEV);
    i64 shared = map(NULL, PAGE, RW, MAP_SHARED, (int)fd, 0), private = map(NULL, PAGE, RW, MAP_PRIVATE, (int)fd, 0);
    CHECK(shared > 0 && private > 0);
    *(char *)shared = 'j', *(char *)private = 'p';
    CHECK(CALL3(SC_msync, shared, PAGE, 1) == 0);
    char back[8] = {0};
    i64 zero_offset = 0;
    CHECK(CALL4(SC_pread, fd, back, 5, &zero_offset) == 5 && back[0] == 'j');
    CHECK(CALL3(SC_msync, shared, PAGE, 3) == -EINVAL);
    CHECK(CALL3(SC_msync, shared, PAGE, 0) == -EINVAL);
    CHECK(CALL3(SC_msync, shared + 1, PAGE, 1) == -EINVAL);
    CHECK(CALL3(SC_msync, shared, 1L << 40, 1) == -ENOMEM);
    CHECK(CALL3(SC_msync, (word)aux(AT_BASE)->value, PAGE, 2) == -ENOMEM);
    i64 reader = open_file("data", O_RDONLY, 0), writer = open_file("data", O_WRONLY, 0);
    CHECK(map(NULL, PAGE, RW, MAP_SHARED, (int)reader, 0) == -EACCES);
    CHECK(map(NULL, PAGE, PROT_NONE, MAP_SHARED, (int)writer, 0) == -EACCES);
    i64 seen = map(NULL, PAGE, PROT_READ, MAP_SHARED, (int)reader, 0);
    CHECK(protect(seen, PAGE, RW) == -EACCES);
    i64 copy = map(NULL, PAGE, PROT_READ, MAP_PRIVATE, (int)reader, 0);
    CHECK(protect(copy, PAGE, RW) == 0);
    struct { i64 old; word old_size, new_size; i32 flags; } remap = {seen, PAGE, PAGE, MAP_PRIVATE};
    CHECK(CALL1(SC_mremap, &remap) == seen);
    CHECK(protect(seen, PAGE, RW) == 0 && (*(char *)seen = 'q'));
    CHECK(CALL1(SC_mremap, &remap) == -ENOTIMPL);
    remap.old = 0x50000000;
    CHECK(CALL1(SC_mremap, &remap) == -EINVAL);
}

static void unmapping(void)
{
    CHECK(unmap(0, 15) == 0);
    CHECK(unmap(0, 0) == -EINVAL);
    CHECK(unmap(-1, 2) == -EINVAL);
    CHECK(unmap((i64)TOP, PAGE) == -EFAULT);
    CHECK(unmap((i64)(TOP - PAGE), 2 * PAGE) == -EFAULT);
    CHECK(fixed(0x60000000, PAGE, RW, FRESH) == 0x60000000 && fixed(0x60001000, PAGE, RW, FRESH) == 0x60001000);
    CHECK(unmap(0x60000000, 2 * PAGE) == 0);                                              /* two regions at once */
    CHECK(fixed(0x60000000, 4 * PAGE, RW, FRESH) == 0x60000000);
    *(volatile int *)0x60000000 = 1, *(volatile int *)0x60003000 = 2;
    CHECK(unmap(0x60001000, 2 * PAGE) == 0);
    CHECK(*(volatile int *)0x60000000 == 1 && *(volatile int *)0x60003000 == 2);
    CHECK(readable(0x60001000, 1) == -EFAULT);
    CHECK(fixed(0x60001000, 2 * PAGE, RW, FRESH) == 0x60001000);
    int local;
    CHECK(unmap((i64)&local, 1) == -EPERM);
    CHECK(unmap((i64)aux(AT_BASE)->value, PAGE) == -EPERM);
    CHECK(fixed((word)&local & -PAGE, PAGE, RW, FRESH) == -EPERM);
}

static void protecting(void)
{
    for (word at = 0x70000000; at < 0x70003000; at += PAGE) CHECK(fixed(at, PAGE, RW, FRESH) == (i64)at);
    CHECK(protect(0x70000000, 3 * PAGE, PROT_READ) == 0);
    CHECK(protect(0x70000000, 3 * PAGE, RW) == 0);
    CHECK(protect(0x70000800, 2 * PAGE, PROT_READ) == 0);                                 /* partly, unaligned: whole pages */
    CHECK(readable(0x70002000, 1) == 1 && protect(0x70000000, 3 * PAGE, RW) == 0);
    CHECK(unmap(0x70001000, PAGE) == 0);
    CHECK(protect(0x70000000, 3 * PAGE, PROT_READ) == -ENOMEM);
    CHECK((*(volatile int *)0x70000000 = 3) == 3);                                        /* nothing was changed */
    CHECK(protect(0x70001000, PAGE, PROT_READ) == -EINVAL);
    CHECK(protect(0x70000000, 0, PROT_READ) == -EINVAL);
    CHECK(protect((i64)TOP, PAGE, PROT_READ) == -EFAULT);
    CHECK(protect(-1, 4, PROT_READ) == -EINVAL);
    int local;
    CHECK(protect((i64)&local, 1, PROT_READ) == -EPERM);
    CHECK(protect((i64)aux(AT_BASE)->value, PAGE, PROT_READ) == -EPERM);
}

static void sharing(void)
{
    i64 p = map(NULL, PAGE, RW, MAP_ANONYMOUS | MAP_SHARED, -1, 0), q = fresh(PAGE);
    i64 child = CALL0(SC_fork);
    if (!child) { *(volatile int *)p = 7, *(volatile int *)q = 7; leave(0); }
    struct siginfo info;
    struct waitid_params wait = {2, (i32)child, &info, 4};
    CALL1(SC_waitid, &wait);
    CHECK(*(volatile int *)p == 7 && *(volatile int *)q == 0);
    i64 anon = CALL2(SC_anon_create, 2 * PAGE, 0x800);
    CHECK(anon >= 0);
    CHECK(CALL2(SC_anon_create, 0, 0) == -EINVAL && CALL2(SC_anon_create, 100, 0) == -EINVAL);
    CHECK(CALL2(SC_anon_create, 1UL << 63, 0) == -EINVAL && CALL2(SC_anon_create, 1UL << 50, 0) == -ENOMEM);
    i64 one = map(NULL, 2 * PAGE, RW, MAP_SHARED, (int)anon, 0), two = map(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, (int)anon, 0);
    CHECK(one > 0 && two > 0 && one != two);
    *(volatile int *)(one + PAGE) = 9;
    CHECK(*(volatile int *)(two + PAGE) == 9);
    CHECK(map(NULL, PAGE, RW, MAP_SHARED, (int)anon, PAGE) == -EINVAL);
    CHECK(CALL3(SC_madvise, one, 2 * PAGE, 1) == 0 && CALL3(SC_madvise, one, 2 * PAGE, 2) == 0);
    CHECK(*(volatile int *)(two + PAGE) == 9);
}

static void purging(void)
{
    i64 p = map(NULL, 2 * PAGE, RW, FRESH | MAP_PURGEABLE, -1, 0), plain = fresh(PAGE);
    *(volatile int *)p = 5;
    CHECK(CALL3(SC_madvise, plain, PAGE, 1) == -EINVAL);
    CHECK(CALL3(SC_madvise, p, PAGE, 1) == -EINVAL);                                       /* not the whole region */
    CHECK(CALL3(SC_madvise, p, 2 * PAGE, 3) == -EINVAL);
    CHECK(CALL3(SC_madvise, p, 0, 1) == -EINVAL);
    CHECK(CALL3(SC_madvise, p, 2 * PAGE, 1) == 0 && CALL3(SC_madvise, p, 2 * PAGE, 2) == 0);
    CHECK(*(volatile int *)p == 5);
    if (CALL0(SC_geteuid) == 0) {
        CHECK(CALL3(SC_madvise, p, 2 * PAGE, 1) == 0 && CALL1(SC_purge, 3) == 2);
        CHECK(CALL3(SC_madvise, p, 2 * PAGE, 2) == 1 && *(volatile int *)p == 0);
        CHECK(CALL3(SC_madvise, p, 2 * PAGE, 2) == 0);
        p = map(NULL, PAGE, RW, MAP_ANONYMOUS | MAP_SHARED | MAP_PURGEABLE, -1, 0);
        *(volatile int *)p = 5;
        CHECK(CALL3(SC_madvise, p, PAGE, 1) == 0 && CALL1(SC_purge, 1) == 1);
        CHECK(CALL3(SC_madvise, p, PAGE, 2) == 1 && *(volatile int *)p == 0);
        p = map(NULL, PAGE, RW, MAP_SHARED, (int)CALL2(SC_anon_create, PAGE, 0), 0);
        *(volatile int *)p = 5;
        CHECK(CALL3(SC_madvise, p, PAGE, 1) == 0 && CALL1(SC_purge, 1) == 1);
        CHECK(CALL3(SC_madvise, p, PAGE, 2) == 1 && *(volatile int *)p == 0);
    }
    p = map(NULL, PAGE, RW, FRESH | MAP_PURGEABLE, -1, 0);
    *(volatile int *)p = 5;
    CHECK(CALL3(SC_madvise, p, PAGE, 1) == 0);
    i64 child = CALL0(SC_fork);
    if (!child) leave(CALL3(SC_madvise, p, PAGE, 2) == 1 && *(volatile int *)p == 0 ? 2 : 1);     /* a copy begins purged */
    struct siginfo info;
    struct waitid_params wait = {2, (i32)child, &info, 4};
    CALL1(SC_waitid, &wait);
    CHECK(info.status == 2 && CALL3(SC_madvise, p, PAGE, 2) == 0 && *(volatile int *)p == 5);
    int local;
    CHECK(CALL3(SC_madvise, &local, 4, 1) == -EINVAL);
}

static void names(void)
{
    struct { i64 addr; word size; struct string name; } params = {fresh(PAGE), PAGE, string("my memory")};
    CHECK(CALL1(SC_set_mmap_name, &params) == 0);
    params.size = 2 * PAGE;
    CHECK(CALL1(SC_set_mmap_name, &params) == -EINVAL);
    params.size = PAGE, params.name.length = 4097;
    CHECK(CALL1(SC_set_mmap_name, &params) == -ENAMETOOLONG);
    word base, size;
    CHECK(CALL2(SC_get_stack_bounds, &base, &size) == 0);
    CHECK(base < (word)&base && (word)&base < base + size && size >= 0x10000 && size % PAGE == 0);
    CHECK(CALL2(SC_get_stack_bounds, 1, &size) == -EFAULT);
    params.addr = (i64)base, params.size = size, params.name = string("mine");
    CHECK(CALL1(SC_set_mmap_name, &params) == -EPERM);
    static char maps[65536];
    i64 fd = open_file("/proc/self/vm", O_RDONLY, 0), n = 0, got;
    while ((got = CALL3(SC_read, fd, maps + n, sizeof maps - 1 - (word)n)) > 0) n += got;
    int found = 0;
    const char *wanted[] = {":\"my memory\"", ":\"Stack (Main thread)\"", ":\"Signal trampoline\"", "(data-rw)\""};
    for (int w = 0; w < 4; w++)
        for (i64 at = 0; at < n; at++) {
            word m = 0;
            while (wanted[w][m] && maps[at + (i64)m] == wanted[w][m]) m++;
            if (!wanted[w][m]) { found++; break; }
        }
    CHECK(found == 4);
}

static void clocks(void)
{
    i64 page = CALL0(SC_map_time_page);
    CHECK(page > 0);
    volatile u32 *update1 = (u32 *)page, *update2 = (u32 *)(page + 88);
    volatile i64 *times = (i64 *)(page + 8);
    CHECK(*update1 == *update2 && times[0] > 1600000000 && times[6] > 1600000000 && times[9] < 1000000000);
    i64 seconds = times[8], ns = times[9];
    u32 before = *update1;
    for (u64 n = 0; n < 4000000000UL && seconds == times[8] && ns == times[9]; n++) __asm__ volatile("pause");
    CHECK(*update1 != before && (times[8] > seconds || times[9] > ns));
    CHECK(unmap(page, PAGE) == -EPERM);
}

static i64 beyond;
static void touch_beyond(void) { *(volatile char *)(beyond + PAGE) = 1; }
static void write_null(void) { *(volatile char *)NULL = 1; }
static void write_read_only(void) { i64 p = fresh(PAGE); protect(p, PAGE, PROT_READ); *(volatile char *)p = 1; }

static void faults(void)
{
    i64 fd = open_file("short", O_RDWR | O_CREAT, 0600);
    CALL3(SC_write, fd, "x", 1);
    beyond = map(NULL, 4 * PAGE, RW, MAP_SHARED, (int)fd, 0);
    CHECK(*(volatile char *)beyond == 'x');
    CHECK(in_child(touch_beyond) == SIGBUS);
    beyond = map(NULL, 4 * PAGE, RW, MAP_PRIVATE, (int)fd, 0);
    CHECK(in_child(touch_beyond) == SIGBUS);
    i64 empty = open_file("empty", O_RDWR | O_CREAT, 0600);
    beyond = map(NULL, 4 * PAGE, RW, MAP_SHARED, (int)empty, 0);
    CHECK(beyond > 0 && in_child(touch_beyond) == SIGBUS);
    CHECK(CALL3(SC_msync, beyond, PAGE, 2) == 0 && unmap(beyond, 4 * PAGE) == 0);
    CHECK(in_child(write_null) == SIGSEGV && in_child(write_read_only) == SIGSEGV);
}

static int run(int argc, char **argv, char **envp)
{
    i64 sink = open_file("sink", O_RDWR | O_CREAT, 0600);
    CALL2(SC_dup2, sink, 5);
    efault_table(), arguments(), files(), unmapping(), protecting(), sharing(), purging(), names(), clocks(), faults();
    return 0;
}
