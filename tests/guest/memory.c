/* Address spaces: mapping, protecting, moving, sharing and giving back.
 * builds: x64 i386
 */
#include "case.h"
#include <sys/resource.h>

#define PAGE 4096
static sigjmp_buf escape;
static void out(int number) { siglongjmp(escape, number); }
static const char *probe(volatile char *at, int writing)
{
    handle(SIGSEGV, out, 0), handle(SIGBUS, out, 0);
    int number = sigsetjmp(escape, 1);
    if (number) return signal_name(number);
    if (writing) *at = 'w'; else (void)*at;
    return "fine";
}
#define TRY(AT) say("%s: read %s, write %s", #AT, probe((char *)(AT), 0), probe((char *)(AT), 1))
static char *anon(size_t n, int protection) { return mmap(NULL, n, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
#define RW (PROT_READ | PROT_WRITE)
#define MAPS(WHAT) ((WHAT) == MAP_FAILED ? (say("%s -> %s", #WHAT, errno_name(errno)), (char *)0) : (say("%s ok", #WHAT), (char *)1))

CASE(errors)
{
    int r = open("a", O_CREAT | O_RDWR, 0600), w = open("a", O_WRONLY), ro = open("a", O_RDONLY), p[2];
    pipe(p);
    MAPS(mmap(NULL, 0, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    MAPS(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0));
    MAPS(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0));
    MAPS(mmap(NULL, PAGE, RW, MAP_PRIVATE, 99, 0));
    MAPS(mmap(NULL, PAGE, RW, MAP_SHARED, ro, 0));
    MAPS(mmap(NULL, PAGE, RW, MAP_PRIVATE, ro, 0));
    MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, w, 0));
    MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, p[0], 0));
    MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, open(".", O_RDONLY), 0));
    MAPS(mmap((void *)(16 * PAGE + 1), PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    MAPS(mmap(NULL, (size_t)-PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    MAPS((void *)syscall(
#ifdef SYS_mmap2
        SYS_mmap2
#else
        SYS_mmap
#endif
        , 0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    MAPS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x8000000, r, 0));
    T(munmap((void *)1, PAGE));
    T(munmap((void *)0, 0));
    T(munmap((void *)(16 * PAGE), PAGE));
    T(mprotect((void *)1, PAGE, PROT_READ));
    T(mprotect((void *)(16 * PAGE), PAGE, PROT_READ));
    T(mprotect((void *)(16 * PAGE), 0, PROT_READ));
    T(msync((void *)(16 * PAGE), PAGE, MS_SYNC));
    T(madvise((void *)(16 * PAGE), PAGE, MADV_DONTNEED));
    T(madvise((void *)1, PAGE, MADV_DONTNEED));
    T(madvise((void *)(16 * PAGE), PAGE, 9999));
    void *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
    T(mprotect(map, PAGE, RW));
}

CASE(private_file)
{
    put("a", "0123456789", 10, 0600);
    int fd = open("a", O_RDWR);
    char *m = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0), b[11] = {0};
    m[0] = 'X';
    T(pread(fd, b, 10, 0));
    say("%s %.10s %d", b, m, m[10]);
    pwrite(fd, "Y", 1, 0);
    say("%.10s", m);
    CHILD say("%.3s", m); m[1] = 'C'; REAPED
    say("%.3s", m);
    close(fd);
    unlink("a");
    say("%.10s", m);
}

CASE(shared_file)
{
    put("a", "0123456789", 10, 0600);
    int fd = open("a", O_RDWR);
    char *m = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), *n = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), b[11] = {0};
    m[0] = 'X';
    T(pread(fd, b, 10, 0));
    say("%s %.10s", b, n);
    pwrite(fd, "Y", 1, 1);
    say("%.10s", m);
    CHILD m[2] = 'C'; REAPED
    say("%.10s", n);
    T(msync(m, PAGE, MS_SYNC));
    T(msync(m, PAGE, MS_SYNC | MS_ASYNC));
    T(munmap(m, PAGE));
    close(fd);
    n[3] = 'N';
    fd = open("a", O_RDONLY);
    T(read(fd, b, 10));
    say("%s", b);
    n[20] = 'Z';
    struct stat st;
    fstat(fd, &st);
    T((long)st.st_size);
    CHILD int g = open("a", O_RDWR); pwrite(g, "G", 1, 4); REAPED
    say("%.10s", n);
}

CASE(opened_before_the_write)
{
    put("a", "before", 6, 0600);
    int ro = open("a", O_RDONLY);
    char *m = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0), *q = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ro, 0);
    say("%.6s %.6s", m, q);
    int w = open("a", O_WRONLY);
    T(write(w, "after!", 6));
    say("%.6s %.6s", m, q);
    char b[7] = {0};
    T(pread(ro, b, 6, 0));
    say("%s", b);
}

CASE(offsets)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    ftruncate(fd, 4 * PAGE);
    for (int i = 0; i < 4; i++) pwrite(fd, "abcd" + i, 1, (off_t)i * PAGE);
    char *m = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 2 * PAGE);
    say("%c %c", m[0], m[PAGE]);
#ifndef SYS_mmap2
    T(syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 100));
#endif
    m = mmap(NULL, 3 * PAGE, RW, MAP_SHARED, fd, 3 * PAGE);
    TRY(m);
    TRY(m + PAGE);
    ftruncate(fd, 5 * PAGE);
    TRY(m + PAGE);
    ftruncate(fd, PAGE);
    TRY(m);
}

CASE(fixed)
{
    char *m = anon(8 * PAGE, RW);
    m[PAGE] = 'o';
    IS(mmap(m + PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m + PAGE);
    T(m[PAGE]);
    MAPS(mmap(m + PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | 0x100000 /* NOREPLACE */, -1, 0));
    munmap(m + 2 * PAGE, PAGE);
    IS(mmap(m + 2 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | 0x100000, -1, 0) == m + 2 * PAGE);
    munmap(m + 3 * PAGE, PAGE);
    IS(mmap(m + 3 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == m + 3 * PAGE);
    IS(mmap(m + 3 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == m + 3 * PAGE);
    munmap(m + 4 * PAGE, PAGE);
    IS(mmap(m + 4 * PAGE + 5, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == m + 4 * PAGE);
    MAPS(mmap((void *)0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    CHILD setuid(1000); MAPS(mmap((void *)0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)); REAPED
}

CASE(protections)
{
    char *m = anon(4 * PAGE, RW);
    T(mprotect(m + PAGE, 2 * PAGE, PROT_READ));
    TRY(m);
    TRY(m + PAGE);
    TRY(m + 3 * PAGE);
    T(mprotect(m, PAGE, PROT_NONE));
    TRY(m);
    T(mprotect(m, PAGE, PROT_WRITE));
    TRY(m);
    T(mprotect(m, 4 * PAGE, RW));
    TRY(m + PAGE);
    munmap(m + PAGE, PAGE);
    TRY(m + PAGE);
    T(mprotect(m, 4 * PAGE, PROT_READ));
    TRY(m);
    TRY(m + 3 * PAGE);
    T(munmap(m, 4 * PAGE));
    T(read(open("/dev/zero", O_RDONLY), m, 1));
    char *ro = anon(PAGE, PROT_READ);
    T(read(open("/dev/zero", O_RDONLY), ro, 1));
    T(write(open("/dev/null", O_WRONLY), anon(PAGE, PROT_NONE), 1));
}

CASE(copies_across_bad_pages)
{
    char *m = anon(2 * PAGE, RW);
    munmap(m + PAGE, PAGE);
    int zero = open("/dev/zero", O_RDONLY), fd = open("a", O_CREAT | O_RDWR, 0600), p[2];
    T(write(fd, m + PAGE - 10, 20));
    T(lseek(fd, 0, SEEK_CUR));
    T(pread(fd, m + PAGE - 4, 8, 0));
    (void)zero;
    pipe(p);
    T(write(p[1], m + PAGE - 10, 10));
    struct iovec io[2] = {{m, 4}, {m + PAGE, 4}};
    T(writev(fd, io, 2));
    T(open(m + PAGE - 3, O_RDONLY));
    memcpy(m + PAGE - 2, "a", 2);
    T(open(m + PAGE - 2, O_RDONLY));
}

CASE(remapping)
{
    char *m = anon(4 * PAGE, RW);
    for (int i = 0; i < 4; i++) m[i * PAGE] = (char)('a' + i);
    IS(mremap(m, 4 * PAGE, 2 * PAGE, 0) == m);
    TRY(m + 3 * PAGE);
    IS(mremap(m, 2 * PAGE, 3 * PAGE, 0) == m);
    T(m[2 * PAGE]);
    char *n = mremap(m, 3 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    say("%c %c %d", n[0], n[PAGE], n[40 * PAGE]);
    char *target = anon(8 * PAGE, RW);
    IS(mremap(n, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    say("%c %c", target[0], target[PAGE]);
    TRY(n);
    MAPS(mremap((void *)(16 * PAGE), PAGE, 2 * PAGE, 0));
    MAPS(mremap(target + 1, PAGE, 2 * PAGE, 0));
    MAPS(mremap(target, PAGE, 0, 0));
    MAPS(mremap(target, PAGE, PAGE, MREMAP_FIXED, n));
    MAPS(mremap(target, PAGE, PAGE, 0x999));
    char *tight = anon(2 * PAGE, RW);
    MAPS(mremap(tight, PAGE, 2 * PAGE, 0));
    char *shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *twin = mremap(shared, 0, PAGE, MREMAP_MAYMOVE);
    shared[0] = 's';
    T(twin[0]);
}

CASE(breaks)
{
    char *start = (char *)syscall(SYS_brk, 0);
    IS((char *)syscall(SYS_brk, start + 3 * PAGE) == start + 3 * PAGE);
    TRY(start + PAGE);
    start[0] = 'b';
    IS((char *)syscall(SYS_brk, start + 100) == start + 100);
    T(start[0]);
    IS((char *)syscall(SYS_brk, start + 2 * PAGE) == start + 2 * PAGE);
    T(start[PAGE]);
    IS((char *)syscall(SYS_brk, 1) == start + 2 * PAGE);
    IS((char *)syscall(SYS_brk, start - 10 * PAGE) == start + 2 * PAGE);
    CHILD IS((char *)syscall(SYS_brk, 0) == start + 2 * PAGE); syscall(SYS_brk, start + 5 * PAGE); REAPED
    IS((char *)syscall(SYS_brk, 0) == start + 2 * PAGE);
    struct rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_DATA, &limit);
    IS((char *)syscall(SYS_brk, start + (2 << 20)) == start + 2 * PAGE);
}

CASE(advice)
{
    char *m = anon(2 * PAGE, RW);
    m[0] = 'x', m[PAGE] = 'y';
    T(madvise(m, PAGE, MADV_DONTNEED));
    say("%d %c", m[0], m[PAGE]);
    put("a", "file", 4, 0600);
    char *f = mmap(NULL, PAGE, RW, MAP_PRIVATE, open("a", O_RDWR), 0);
    f[0] = 'X';
    T(madvise(f, PAGE, MADV_DONTNEED));
    say("%.4s", f);
    char *s = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    s[0] = 'k';
    T(madvise(s, PAGE, MADV_DONTNEED));
    T(s[0]);
    T(madvise(m, PAGE, MADV_WILLNEED));
    T(madvise(m, PAGE, MADV_FREE));
    T(madvise(m, PAGE, MADV_DONTFORK));
    CHILD TRY(m); TRY(m + PAGE); REAPED
    T(madvise(m, PAGE, MADV_DOFORK));
    T(madvise(m, PAGE, 18 /* WIPEONFORK */));
    m[0] = 'w';
    CHILD T(m[0]); REAPED
    T(m[0]);
}

CASE(locking_and_residence)
{
    char *m = anon(2 * PAGE, RW);
    unsigned char v[2] = {9, 9};
    m[0] = 1;
    T(mlock(m, PAGE));
    T(munlock(m, PAGE));
    T(mincore(m, PAGE, v));
    T(v[0] & 1);
    T(mincore((void *)(16 * PAGE), PAGE, v));
    T(mincore(m + 1, PAGE, v));
    T(munlockall());
}

CASE(growing_down)
{
    char *stack = mmap(NULL, 64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    TRY(stack);
    volatile char big[400000];
    memset((char *)big, 1, sizeof big);
    T(big[5]);
}

CASE(limits)
{
    struct rlimit limit = {64 << 20, 64 << 20};
    CHILD
        T(setrlimit(RLIMIT_AS, &limit));
        MAPS(mmap(NULL, 128 << 20, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        MAPS(mmap(NULL, 16 << 20, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REAPED
}

CASE(executing_written_code)
{
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};      /* mov eax, 42; ret: the same bytes in both modes */
    char *m = anon(PAGE, RW);
    memcpy(m, code, sizeof code);
    T(mprotect(m, PAGE, PROT_READ | PROT_EXEC));
    T(((int (*)(void))m)());
    T(mprotect(m, PAGE, RW | PROT_EXEC));
    m[1] = 43;
    T(((int (*)(void))m)());
}

CASE(many_mappings)
{
    char *m[300];
    for (int i = 0; i < 300; i++) { m[i] = anon(2 * PAGE, i % 2 ? RW : PROT_READ); if (i % 2) m[i][0] = (char)i; }
    int sum = 0;
    for (int i = 1; i < 300; i += 2) sum += (unsigned char)m[i][0];
    CHILD int again = 0; for (int i = 1; i < 300; i += 2) again += (unsigned char)m[i][0]; T(again); REAPED
    for (int i = 0; i < 300; i += 3) munmap(m[i], 2 * PAGE);
    T(sum);
}

CASE(big_and_sparse)
{
    if (sizeof(long) == 4) { say("64-bit only"); return; }
    char *m = mmap(NULL, (size_t)4 << 30, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t i = 0; i < 4; i++) m[i << 30] = 1;
    CHILD T(m[(size_t)3 << 30]); REAPED
    T(m[5]);
}

CASE(reading_other_memory)
{
    static char text[8] = "peer";
    char b[8] = {0};
    struct iovec to = {b, 5}, from = {text, 5}, bad = {(void *)8, 5};
    T(syscall(SYS_process_vm_readv, getpid(), &to, 1, &from, 1, 0));
    say("%s", b);
    T(syscall(SYS_process_vm_readv, getpid(), &to, 1, &bad, 1, 0));
    T(syscall(SYS_process_vm_readv, 1 << 29, &to, 1, &from, 1, 0));
}
