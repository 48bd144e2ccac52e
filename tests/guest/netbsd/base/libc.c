/* The part of libc.so.12: what a program's start code and first lines need, and what NetBSD's own asks of the system for it. */
#include "elf.h"

EXPORT char **environ;
EXPORT int version = 12;                         /* a program that looks at it has a copy of its own */
static __thread int error = 7;                   /* errno, and that it begins with what the library says */
static __thread word zero[4];
static void (*at_exit[8])(void);
static int registered;
static volatile int constructed;
static word guard[8];

EXPORT int *__errno(void) { return &error; }
static i64 result(i64 value) { return value < 0 ? error = (int)-value, -1 : value; }

__attribute__((constructor)) static void construct(void) { constructed = 1; }
__attribute__((destructor)) static void destruct(void) { say(1, "libc: destructed\n"); }

/* A guard of random words, how many CPUs there are, what /etc/malloc.conf says, and room as malloc takes it. */
EXPORT void _libc_init(void)
{
    u32 random[2] = {1, 81}, cpus[2] = {6, 16};
    word size = sizeof guard, online = 4;
    int ncpu = 0;
    char conf[64];
    int well = CALL6(SYS_sysctl, random, 2, guard, &size, 0, 0) == 0 && size == sizeof guard && (guard[0] | guard[7]);
    well &= CALL6(SYS_sysctl, cpus, 2, &ncpu, &online, 0, 0) == 0 && ncpu > 0 && CALL0(SYS_lwp_self) == 1;
    well &= CALL3(SYS_readlink, "/etc/malloc.conf", conf, sizeof conf) == -2 && CALL0(SYS_issetugid) == 0;
    char *arena = MMAP(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_ALIGNED(22), -1, 0);
    well &= !REFUSED(arena) && (word)arena % (4 << 20) == 0;
    arena[5000] = 1;
    well &= CALL3(SYS_madvise, arena, 8 << 20, 6) == 0 && CALL2(SYS_munmap, arena + (4 << 20), 4 << 20) == 0;
    if (!well || !constructed || zero[3]) say(2, "libc: FAILED\n");
}

EXPORT int atexit(void (*f)(void)) { return at_exit[registered++] = f, 0; }
EXPORT void _exit(int status) { CALL1(SYS_exit, status); }
EXPORT void exit(int status)
{
    while (registered) at_exit[--registered]();
    _exit(status);
}
EXPORT void abort(void) { _exit(134); }
EXPORT i64 write(int fd, const void *data, word n) { return result(CALL3(SYS_write, fd, data, n)); }
EXPORT int open(const char *path, int flags, int mode) { return (int)result(CALL3(SYS_open, path, flags, mode)); }
EXPORT int puts(const char *s) { say(1, s), say(1, "\n"); return 0; }
EXPORT i64 __syscall(i64 number, word a, word b, word c) { return result(call((word)number, a, b, c, 0, 0, 0, 0)); }
EXPORT int printf(const char *format, ...) { say(1, format); return 0; }
EXPORT __attribute__((weak)) int __gmon_start__(void);

/* opendir(3) asks what file system it is, then for entries until there are no more: how many. */
EXPORT int entries(const char *path)
{
    static struct { word head[4], counts[12]; int fsidx[2]; word fsid, namemax; u32 owner, pad; word spare[4]; char names[32 + 3072]; } fs;
    static char room[4096];
    i64 fd = result(CALL3(SYS_open, path, 0x200000 | 0x400000, 0)), got;
    if (fd < 0) return -1;
    if (result(CALL3(SYS_fstatvfs190, fd, &fs, 1)) || sizeof fs != 3296 || !fs.names[0]) return -1;
    int found = 0;
    while ((got = CALL3(SYS_getdents, fd, room, sizeof room)) > 0)
        for (i64 at = 0; at < got; at += *(u16 *)(room + at + 8)) found++;
    CALL1(SYS_close, fd);
    return (int)result(got) < 0 ? -1 : found;
}
