/* A SerenityOS program without a C library: start code, calls by hand, and checks that report what came of them.
 *
 * A program is entered with argc, argv and envp in rdi, rsi and rdx; behind envp's end stands the auxiliary vector.  The number of a
 * call is in rax, its arguments in rdx, rdi, rbx and rsi; rax is the result, minus the error's number where it failed.
 * CHECK(condition) prints one line: "ok" or "FAILED" with its text; a program ends with status 0 when all held.
 */
#ifndef SY_H
#define SY_H

typedef unsigned long word;
typedef unsigned long long u64;
typedef long long i64;
typedef unsigned int u32;
typedef int i32;
typedef unsigned short u16;
typedef unsigned char u8;
#define NULL ((void *)0)

#ifdef BY_LOADER                        /* a program that its loader has tied to libsystem.so: only that may make calls */
#ifndef LIBRARY
__attribute__((used, retain, section(".interp"))) static const char interpreter[] = "/usr/lib/Loader.so";
#endif
extern word syscall4(word number, word a, word b, word c, word d);
static inline i64 call4(word number, word a, word b, word c, word d) { return (i64)syscall4(number, a, b, c, d); }
#else
static inline i64 call4(word number, word a, word b, word c, word d)
{
    i64 result = (i64)number;
    register word rdx __asm__("rdx") = a;
    register word rdi __asm__("rdi") = b;
    register word rbx __asm__("rbx") = c;
    register word rsi __asm__("rsi") = d;
    __asm__ volatile("syscall" : "+a"(result) : "r"(rdx), "r"(rdi), "r"(rbx), "r"(rsi) : "rcx", "r11", "memory");
    return result;
}
#endif
#define CALL0(n) call4(n, 0, 0, 0, 0)
#define CALL1(n, a) call4(n, (word)(a), 0, 0, 0)
#define CALL2(n, a, b) call4(n, (word)(a), (word)(b), 0, 0)
#define CALL3(n, a, b, c) call4(n, (word)(a), (word)(b), (word)(c), 0)
#define CALL4(n, a, b, c, d) call4(n, (word)(a), (word)(b), (word)(c), (word)(d))

enum {
    SC_accept4, SC_adjtime, SC_alarm, SC_allocate_tls, SC_anon_create, SC_annotate_mapping, SC_beep, SC_bind, SC_chdir, SC_chmod,
    SC_chown, SC_clock_gettime, SC_clock_nanosleep, SC_clock_getres, SC_clock_settime, SC_close, SC_connect, SC_create_inode_watcher,
    SC_create_thread, SC_dbgputstr, SC_detach_thread, SC_disown, SC_dump_backtrace, SC_dup2, SC_emuctl, SC_execve, SC_exit,
    SC_exit_thread, SC_faccessat, SC_fchdir, SC_fchmod, SC_fchown, SC_fcntl, SC_fork, SC_fstat, SC_fstatvfs, SC_fsync, SC_ftruncate,
    SC_futex, SC_get_dir_entries, SC_get_process_name, SC_get_stack_bounds, SC_get_thread_name, SC_getcwd, SC_getegid, SC_geteuid,
    SC_getgid, SC_getgroups, SC_gethostname, SC_getkeymap, SC_getpeername, SC_getpgid, SC_getpgrp, SC_getpid, SC_getppid, SC_getrandom,
    SC_getresgid, SC_getresuid, SC_getrusage, SC_getsid, SC_getsockname, SC_getsockopt, SC_gettid, SC_getuid,
    SC_inode_watcher_add_watch, SC_inode_watcher_remove_watch, SC_ioctl, SC_join_thread, SC_jail_create, SC_jail_attach, SC_kill,
    SC_kill_thread, SC_killpg, SC_link, SC_listen, SC_lseek, SC_madvise, SC_map_time_page, SC_mkdir, SC_mknod, SC_mmap, SC_mount,
    SC_mprotect, SC_mremap, SC_msync, SC_munmap, SC_open, SC_perf_event, SC_perf_register_string, SC_pipe, SC_pledge, SC_poll,
    SC_posix_fallocate, SC_prctl, SC_profiling_disable, SC_profiling_enable, SC_profiling_free_buffer, SC_ptrace, SC_purge, SC_read,
    SC_pread, SC_readlink, SC_readv, SC_realpath, SC_recvfd, SC_recvmsg, SC_rename, SC_rmdir, SC_scheduler_get_parameters,
    SC_scheduler_set_parameters, SC_sendfd, SC_sendmsg, SC_set_coredump_metadata, SC_set_mmap_name, SC_set_process_name,
    SC_set_thread_name, SC_setegid, SC_seteuid, SC_setgid, SC_setgroups, SC_sethostname, SC_setkeymap, SC_setpgid, SC_setregid,
    SC_setresgid, SC_setresuid, SC_setreuid, SC_setsid, SC_setsockopt, SC_setuid, SC_shutdown, SC_sigaction, SC_sigaltstack,
    SC_sigpending, SC_sigprocmask, SC_sigreturn, SC_sigsuspend, SC_sigtimedwait, SC_socket, SC_socketpair, SC_stat, SC_statvfs,
    SC_symlink, SC_sync, SC_sysconf, SC_times, SC_umask, SC_umount, SC_uname, SC_unlink, SC_unveil, SC_utime, SC_utimensat, SC_waitid,
    SC_write, SC_pwritev, SC_yield, SC_count
};
_Static_assert(SC_count == 157, "the table of 2022-12-30");

enum {
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8, EBADF = 9, ECHILD = 10, EAGAIN = 11,
    ENOMEM = 12, EACCES = 13, EFAULT = 14, EBUSY = 16, EEXIST = 17, EXDEV = 18, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22,
    EMFILE = 24, ENOTTY = 25, ETXTBSY = 26, ESPIPE = 29, EROFS = 30, EPIPE = 32, ERANGE = 33, ENAMETOOLONG = 34, ELOOP = 35,
    EOVERFLOW = 36, EOPNOTSUPP = 37, ENOSYS = 38, ENOTIMPL = 39, EAFNOSUPPORT = 40, ENOTSOCK = 41, EADDRINUSE = 42, ENOTEMPTY = 43,
    ECONNREFUSED = 45, EISCONN = 48, ENOBUFS = 59, ENOTCONN = 63, EDEADLK = 68, ETIMEDOUT = 69, EPROMISEVIOLATION = 80,
};

enum {
    SIGHUP = 1, SIGINT = 2, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9, SIGUSR1 = 10, SIGSEGV = 11,
    SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19, SIGINFO = 30, SIGSYS = 31,
    SIGCANCEL = 32,
};

enum { O_RDONLY = 1, O_WRONLY = 2, O_RDWR = 3, O_EXEC = 4, O_CREAT = 8, O_EXCL = 0x10, O_TRUNC = 0x40, O_APPEND = 0x80,
       O_NONBLOCK = 0x100, O_DIRECTORY = 0x200, O_NOFOLLOW = 0x400, O_CLOEXEC = 0x800 };
enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4 };
enum { MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20, MAP_STACK = 0x40, MAP_NORESERVE = 0x80,
       MAP_RANDOMIZED = 0x100, MAP_PURGEABLE = 0x200, MAP_FIXED_NOREPLACE = 0x400 };
enum { AT_FDCWD = -100 };

struct string { const char *data; word length; };
struct list { struct string *strings; word count; };
struct execve_params { struct string path; struct list arguments, environment; };
struct open_params { i32 dirfd; struct string path; i32 options; u16 mode; };
struct mmap_params { void *addr; word size, alignment; i32 prot, flags, fd; i64 offset; struct string name; };
struct pledge_params { struct string promises, execpromises; };
struct unveil_params { i32 flags; struct string path, permissions; };
struct waitid_params { i32 idtype, id; void *siginfo; i32 options; };
struct siginfo { i32 signo, code, error, pid, uid, pad; void *addr; i32 status, band; void *value; };
struct stat { u32 dev; u64 ino; u16 mode; u32 nlink, uid, gid, rdev; i64 size; u32 blksize, blocks; i64 times[6]; };
struct stat_params { struct string path; struct stat *buffer; i32 dirfd, follow; };
_Static_assert(sizeof(struct mmap_params) == 64 && sizeof(struct open_params) == 32 && sizeof(struct unveil_params) == 40, "layouts");
_Static_assert(sizeof(struct siginfo) == 48 && sizeof(struct stat) == 104, "layouts");

struct auxv { u64 type, value; };
enum { AT_NULL = 0, AT_IGNORE = 1, AT_EXECFD = 2, AT_PAGESZ = 6, AT_BASE = 7, AT_ENTRY = 9, AT_UID = 11, AT_EUID = 12, AT_GID = 13,
       AT_EGID = 14, AT_PLATFORM = 15, AT_HWCAP = 16, AT_CLKTCK = 17, AT_SECURE = 23, AT_RANDOM = 25, AT_EXECFN = 31 };

__attribute__((unused)) static int start_argc;
__attribute__((unused)) static char **start_argv, **start_envp;
static struct auxv *start_auxv;

__attribute__((unused)) static struct auxv *aux(u64 type)
{
    struct auxv *entry = start_auxv;
    while (entry->type != AT_NULL && entry->type != type) entry++;
    return entry->type == type ? entry : NULL;
}

static word length(const char *s) { word n = 0; while (s[n]) n++; return n; }
__attribute__((unused)) static struct string string(const char *s) { return (struct string){s, s ? length(s) : 0}; }
static void put(const char *s) { CALL3(SC_write, 1, s, length(s)); }
__attribute__((unused)) static int same(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return *a == *b; }
__attribute__((unused)) static void number(u64 n)
{
    char digits[24];
    int at = 23;
    digits[at] = 0;
    do digits[--at] = (char)('0' + (int)(n % 10)), n /= 10; while (n);
    put(digits + at);
}
__attribute__((unused, noreturn)) static void leave(int status) { CALL1(SC_exit, status); for (;;) __asm__ volatile("hlt"); }

/* The compiler calls these for copies and clears. */
__attribute__((used)) void *memset(void *to, int byte, word n)
{
    for (volatile u8 *p = to; n--;) *p++ = (u8)byte;
    return to;
}
__attribute__((used)) void *memcpy(void *to, const void *from, word n)
{
    volatile u8 *p = to;
    for (const u8 *q = from; n--;) *p++ = *q++;
    return to;
}

__attribute__((unused)) static int failures;
#define CHECK(condition) do { if (condition) put("ok " #condition "\n"); else put("FAILED " #condition "\n"), failures++; } while (0)

/* Relocations: of a program without a loader all are "the address plus where it was loaded" (R_X86_64_RELATIVE). */
struct rela { u64 offset, info; i64 addend; };
struct dyn { i64 tag; u64 value; };
extern struct dyn _DYNAMIC[] __attribute__((visibility("hidden")));
__attribute__((unused)) static void relocate(word base)
{
    struct rela *table = NULL;
    word size = 0;
    for (struct dyn *d = _DYNAMIC; d->tag; d++) {
        if (d->tag == 7) table = (struct rela *)(base + d->value);
        if (d->tag == 8) size = d->value;
    }
    for (word n = 0; n < size / sizeof *table; n++)
        if ((u32)table[n].info == 8) *(word *)(base + table[n].offset) = base + (word)table[n].addend;
}

#ifndef LIBRARY                         /* a program begins; what programs are tied to does not */
static int run(int argc, char **argv, char **envp);          /* the program */

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall begin\n\thlt\n");
__attribute__((used, noreturn)) void begin(int argc, char **argv, char **envp)
{
    char **end = envp;
    while (*end) end++;
    struct auxv *entry = (struct auxv *)(end + 1);
    start_argc = argc, start_argv = argv, start_envp = envp, start_auxv = entry;
#ifndef BY_LOADER
    relocate(aux(AT_BASE)->value);
#endif
    int status = run(argc, argv, envp);
    leave(status ? status : failures ? 1 : 0);
}
#endif

/* What most programs need. */
__attribute__((unused)) static i64 open_file(const char *path, int options, int mode)
{
    struct open_params params = {AT_FDCWD, string(path), options, (u16)mode};
    return CALL1(SC_open, &params);
}
__attribute__((unused)) static i64 map(void *addr, word size, int prot, int flags, int fd, i64 offset)
{
    struct mmap_params params = {addr, size, 4096, prot, flags, fd, offset, {NULL, 0}};
    return CALL1(SC_mmap, &params);
}
__attribute__((unused)) static i64 pledge(const char *promises, const char *execpromises)
{
    struct pledge_params params = {string(promises), string(execpromises)};
    return CALL1(SC_pledge, &params);
}
__attribute__((unused)) static i64 unveil(const char *path, const char *permissions)
{
    struct unveil_params params = {1, string(path), string(permissions)};
    return CALL1(SC_unveil, &params);
}
/* Run `what` in a child; the signal it died by, or 256 and its status. */
__attribute__((unused)) static int in_child(void (*what)(void))
{
    i64 pid = CALL0(SC_fork);
    if (!pid) { what(); leave(0); }
    struct siginfo info;
    struct waitid_params params = {2, (i32)pid, &info, 4};
    CALL1(SC_waitid, &params);
    return info.code == 0 ? 256 + info.status : info.status;
}
#endif
