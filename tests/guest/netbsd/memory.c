/* Memory: mmap's flags and refusals, munmap, mprotect, madvise, mremap, minherit, the break. */
#include "nb.h"

enum { SHARED = 1, PRIVATE = 2, FIXED = 0x10, TRYFIXED = 0x400, ANON = 0x1000, STACKED = 0x2000 };
#define MMAP(addr, size, prot, flags, fd, pos) CALL7(SYS_mmap, addr, size, prot, flags, fd, 0, pos)
#define ALIGNED(n) ((word)(n) << 24)

static int is_page(struct result r) { return !r.carry && r.value && !(r.value & 4095); }

static void mapping(void)
{
    struct result r = MMAP(0, 8192, 3, ANON, -1, 0);
    CHECK(is_page(r) && *(int *)r.value == 0);
    *(int *)r.value = 5;
    CHECK(is_page(MMAP(0, 4096, 3, ANON | PRIVATE | STACKED, -1, 0)));
    CHECK(failed(MMAP(0, 4096, 3, ANON | PRIVATE | SHARED, -1, 0), EINVAL));
    CHECK(failed(MMAP(0, 4096, 3, ANON | PRIVATE, 0, 0), EINVAL));
    CHECK(failed(MMAP(0, 4096, 3, PRIVATE, 77, 0), EBADF));
    CHECK(failed(MMAP(0, 4096, 3, PRIVATE, -1, 0), EBADF));
    CHECK(failed(MMAP(0, 0, 3, ANON | PRIVATE, -1, 0), EINVAL));
    CHECK(failed(MMAP(0, (word)1 << 62, 3, ANON | PRIVATE, -1, 0), ENOMEM));
    CHECK(failed(MMAP(0x10001, 4096, 3, ANON | PRIVATE | FIXED, -1, 0), EINVAL));
    CHECK(failed(MMAP(0, 4096, 3, ANON | PRIVATE | FIXED, -1, 0), EINVAL));
    CHECK(failed(MMAP((word)1 << 62, 4096, 3, ANON | PRIVATE | FIXED, -1, 0), EFBIG));
    CHECK(failed(MMAP(-4096, 8192, 3, ANON | PRIVATE | FIXED, -1, 0), EOVERFLOW));
    word hint = 0xc000000000;
    CHECK(gave(MMAP(hint, 4096, 0, ANON | PRIVATE, -1, 0), hint));
    struct result other = MMAP(hint, 4096, 0, ANON | PRIVATE, -1, 0);
    CHECK(is_page(other) && other.value != hint);
    CHECK(gave(MMAP(hint, 4096, 3, ANON | PRIVATE | FIXED, -1, 0), hint));
    *(int *)hint = 1;
    r = MMAP(0, 4096, 3, ANON | PRIVATE | ALIGNED(21), -1, 0);
    CHECK(is_page(r) && !(r.value & 0x1fffff));
    CHECK(failed(MMAP(0, 4096, 3, ANON | PRIVATE | ALIGNED(5), -1, 0), EINVAL));
    CHECK(failed(MMAP(0x40001000, 4096, 3, ANON | PRIVATE | FIXED | ALIGNED(20), -1, 0), EINVAL));
    CHECK(gave(MMAP(0x40000000, 4096, 3, ANON | PRIVATE | FIXED | ALIGNED(20), -1, 0), 0x40000000));
    CHECK(failed(MMAP(0, 4096, 3, ANON | PRIVATE | ALIGNED(64), -1, 0), EINVAL));
}

static void files(const char *self)
{
    struct result fd = CALL3(SYS_open, self, 0, 0);
    CHECK(!fd.carry);
    struct result r = MMAP(0, 100, 1, PRIVATE, fd.value, 0);
    CHECK(is_page(r) && *(u32 *)r.value == 0x464c457f);
    /* An offset within a page: the result points as far into one. */
    r = MMAP(0, 100, 1, PRIVATE, fd.value, 1);
    CHECK(!r.carry && (r.value & 4095) == 1 && *(char *)r.value == 'E');
    CHECK(failed(MMAP(0, 4096, 3, SHARED, fd.value, 0), EACCES));
    CHECK(is_page(MMAP(0, 4096, 1, SHARED, fd.value, 0)));
    int ends[2];
    struct result pipe = CALL0(SYS_pipe);
    ends[0] = (int)pipe.value;
    if (!pipe.carry) CHECK(failed(MMAP(0, 4096, 1, PRIVATE, ends[0], 0), ENODEV));
}

static void unmapping(void)
{
    char *p = fresh(3 * 4096);
    CHECK(gave(CALL2(SYS_munmap, p, 0), 0));
    CHECK(gave(CALL2(SYS_munmap, p + 4100, 1), 0));                /* the page that it lies in */
    CHECK(gave(CALL2(SYS_munmap, p + 4096, 4096), 0));
    CHECK(failed(CALL3(SYS_write, 1, p + 4096, 1), EFAULT));
    p[8192] = 1;
    CHECK(failed(CALL2(SYS_munmap, (word)1 << 62, 4096), EINVAL));
}

static void protecting(void)
{
    char *p = fresh(3 * 4096);
    CALL2(SYS_munmap, p + 4096, 4096);
    CHECK(gave(CALL3(SYS_mprotect, p + 1, 1, 8 | 1), 0));          /* the page it lies in; bits that mean nothing */
    CHECK(failed(CALL3(SYS_read, 0, p, 1), EFAULT));
    CHECK(gave(CALL3(SYS_mprotect, p, 3 * 4096, 1), 0));           /* a hole is nobody's business */
    CHECK(gave(CALL3(SYS_mprotect, p, 0, 0), 0));
    CHECK(failed(CALL3(SYS_read, 0, p + 8192, 1), EFAULT));
    CHECK(gave(CALL3(SYS_mprotect, p + 8192, 4096, 3), 0));
    p[8192] = 1;
    CHECK(failed(CALL3(SYS_madvise, p, 4096, 5), EINVAL));
    CHECK(failed(CALL3(SYS_madvise, p, 4096, 99), EINVAL));
    CHECK(gave(CALL3(SYS_madvise, p + 1, 4096, 0), 0));
    CHECK(gave(CALL3(SYS_madvise, p + 8192, 4096, 4), 0) && p[8192] == 1);    /* DONTNEED loses nothing here */
    CHECK(gave(CALL3(SYS_madvise, p + 8192, 4096, 6), 0) && (p[8192] == 1 || p[8192] == 0));
}

static void moving(void)
{
    char *p = fresh(4096);
    p[5] = 'x';
    struct result r = CALL5(SYS_mremap, p, 4096, 0, 65536, 0);
    CHECK(is_page(r) && ((char *)r.value)[5] == 'x' && ((char *)r.value)[65535] == 0);
    p = (char *)r.value;
    CHECK(gave(CALL5(SYS_mremap, p, 65536, 0, 4096, 0), (word)p));
    CHECK(failed(CALL3(SYS_write, 1, p + 4096, 1), EFAULT));
    word there = 0xd000000000;
    CHECK(gave(CALL5(SYS_mremap, p, 4096, there, 8192, FIXED), there) && ((char *)there)[5] == 'x');
    CHECK(failed(CALL5(SYS_mremap, there, 8192, there + 4096, 8192, FIXED), EINVAL));
    CHECK(failed(CALL5(SYS_mremap, there + 1, 4096, 0, 8192, 0), EINVAL));
    CHECK(failed(CALL5(SYS_mremap, there, 4096, 0, 0, 0), EINVAL));
    CHECK(failed(CALL5(SYS_mremap, p, 4096, 0, 8192, 0), EFAULT));
    r = CALL5(SYS_mremap, there, 8192, 0, 8192, ALIGNED(20));
    CHECK(is_page(r) && !(r.value & 0xfffff) && ((char *)r.value)[5] == 'x');
}

static int child_status(word pid)
{
    int status = -1;
    return CALL4(SYS_wait4, pid, &status, 0, 0).carry ? -1 : status;
}

static void inheriting(void)
{
    char *shared = fresh(4096), *zeroed = fresh(4096), *gone = fresh(4096), *copied = fresh(4096);
    shared[0] = zeroed[0] = gone[0] = copied[0] = 1;
    CHECK(gave(CALL3(SYS_minherit, shared, 4096, 0), 0) && shared[0] == 1);
    CHECK(gave(CALL3(SYS_minherit, gone, 4096, 2), 0));
    CHECK(gave(CALL3(SYS_minherit, zeroed, 4096, 4), 0));
    CHECK(failed(CALL3(SYS_minherit, copied, 4096, 9), EINVAL));
    struct result pid = CALL0(SYS_fork);
    if (pid.value == 0 && !pid.carry) {
        int good = shared[0] == 1 && zeroed[0] == 0 && copied[0] == 1 && failed(CALL3(SYS_write, 1, gone, 1), EFAULT);
        shared[0] = 2, copied[0] = 2;
        leave(good ? 7 : 8);
    }
    CHECK(child_status(pid.value) == 7 << 8);
    CHECK(shared[0] == 2 && copied[0] == 1 && zeroed[0] == 1);
}

static void heap(void)
{
    extern char end[];
    CHECK(failed(CALL1(SYS_break, 4096), EINVAL));
    word start = ((word)end + 4095) & ~(word)4095;
    CHECK(gave(CALL1(SYS_break, (word)end), 0) && gave(CALL1(SYS_break, (word)end + 1), 0) && failed(CALL1(SYS_break, 0), ENOMEM));   /* sbrk(0), sbrk(1) */
    CHECK(gave(CALL1(SYS_break, start + (16 << 20)), 0));
    word top = start + (16 << 20);
    ((char *)top)[-1] = 3;
    CHECK(gave(CALL1(SYS_break, top - 8192), 0));
    CHECK(failed(CALL3(SYS_write, 1, top - 1, 1), EFAULT));
    CHECK(gave(CALL1(SYS_break, top), 0) && ((char *)top)[-1] == 0);
}

static int cases(int argc, char **argv)
{
    (void)argc;
    mapping();
    files(argv[0]);
    unmapping();
    protecting();
    moving();
    inheriting();
    heap();
    return 0;
}
