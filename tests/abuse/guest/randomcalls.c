/* Random system calls with hostile arguments, the same ones for the same seed.
 *
 *     randomcalls SEED CHILDREN CALLS
 *
 * Each child of CHILDREN opens one descriptor of every kind, gives up root (three of four), and makes CALLS random calls, by
 * `syscall` or `int 0x80`.  A child that dies, hangs or stops is killed after a second; the next one starts with the next seed.  The
 * program prints one line at its end: whatever the calls answer is right, as long as they answer.
 * builds: x64
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64;

static u64 state;

static u64 next(void)                                   /* xorshift64* */
{
    state ^= state >> 12; state ^= state << 25; state ^= state >> 27;
    return state * 0x2545F4914F6CDD1DULL;
}

static unsigned pick(unsigned n) { return (unsigned)((next() >> 33) % n); }

#define NFDS 48
static int zoo[NFDS], nzoo;
static unsigned char *area, *hole, *low, *spare;             /* 16 pages; a page with nothing behind; an area below 4 GiB */
static int is_root;
static const char *const paths[] = {
    "/", ".", "..", "", "/proc/self/exe", "/proc/self/mem", "/proc/self/fd", "/proc/self/fd/3", "/proc/self/root", "/proc/self/cwd",
    "/proc/self/maps", "/proc/1/environ", "/proc/sys/kernel/pid_max", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx",
    "/dev/urandom", "/dev/fd/0", "/tmp", "a", "a/b", "b", "dir", "dir/", "dir/file", "link", "loop", "loop/x", "fifo", "sock", "file",
    "/etc/passwd", "/bin/true", "/usr/bin/env", "./////file", "../../../../../etc", "/nonexistent/x", "file/", "/proc/self/task/../comm",
    "/proc/self/ns/pid", "/proc/self/oom_score_adj", "/proc/self/setgroups", "/proc/self/uid_map", "/dev/pts/0", "/proc/thread-self/stat",
};
#define NPATHS (sizeof paths / sizeof *paths)

static void add(int fd) { if (fd >= 0 && nzoo < NFDS) zoo[nzoo++] = fd; }

static void furnish(void)
{
    int pair[2];
    char name[64];
    snprintf(name, sizeof name, "/tmp/rc%d", (int)getpid());
    mkdir(name, 0777);
    chmod(name, 0777);
    if (chdir(name)) _exit(1);
    add(open("file", O_RDWR | O_CREAT, 0666));
    if (zoo[0] >= 0 && write(zoo[0], "0123456789", 10) != 10) _exit(1);
    mkdir("dir", 0777);
    add(open("dir/file", O_RDWR | O_CREAT | O_APPEND, 0666));
    if (symlink("loop", "loop") || symlink("file", "link")) _exit(1);
    mkfifo("fifo", 0666);
    add(open("fifo", O_RDWR | O_NONBLOCK));
    add(open(".", O_RDONLY | O_DIRECTORY));
    add(open("/", O_PATH));
    add(open("file", O_PATH));
    add(open("link", O_PATH | O_NOFOLLOW));
    add(open("/etc/passwd", O_RDONLY));
    add(open("/proc/self", O_RDONLY | O_DIRECTORY));
    add(open("/proc/self/mem", O_RDWR));
    add(open("/proc/self/maps", O_RDONLY));
    add(open("/dev/null", O_RDWR));
    add(open("/dev/zero", O_RDWR));
    add(open("/dev/full", O_RDWR));
    add(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
    add(open("/dev/urandom", O_RDONLY));
    if (pipe(pair) == 0) { add(pair[0]); add(pair[1]); }
    if (pipe2(pair, O_NONBLOCK) == 0) { add(pair[0]); add(pair[1]); }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0) { add(pair[0]); add(pair[1]); }
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0) { add(pair[0]); add(pair[1]); }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0) { add(pair[0]); add(pair[1]); }
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {AF_UNIX, "sock"};
    if (listener >= 0 && bind(listener, (void *)&address, sizeof address) == 0) listen(listener, 4);
    add(listener);
    add(epoll_create1(0));
    add(eventfd(1, EFD_NONBLOCK));
    add(eventfd(0, EFD_SEMAPHORE));
    add(timerfd_create(CLOCK_MONOTONIC, 0));
    sigset_t set;
    sigfillset(&set);
    add(signalfd(-1, &set, SFD_NONBLOCK));
    add((int)syscall(SYS_memfd_create, "m", 3));
    add((int)syscall(SYS_pidfd_open, getpid(), 0));
    add(open("/dev/tty", O_RDWR | O_NONBLOCK));

    int rwx = PROT_READ | PROT_WRITE;
    area = mmap(NULL, 16 * 4096, rwx, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    hole = mmap(NULL, 3 * 4096, rwx, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(hole, 4096, PROT_NONE);
    munmap(hole + 2 * 4096, 4096);
    spare = mmap(NULL, 32 * 4096, rwx, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    low = mmap(NULL, 4 * 4096, rwx, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
}

static u64 a_number(void)
{
    static const u64 edges[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 24, 32, 64, 127, 128, 255, 256, 511, 512, 1024, 4095, 4096, 4097, 65535, 65536,
        1 << 20, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, (u64)-1, (u64)-2, (u64)-4096,
        (u64)-100, 1ULL << 40, 0x00007fffffffffff, 0xffff800000000000};
    switch (pick(8)) {
    case 0: return next();
    case 1: return next() & 0xffffffff;
    case 2: case 3: return 1ULL << pick(64);
    case 4: return (1ULL << pick(32)) | (1ULL << pick(32)) | (1ULL << pick(8));
    case 5: return pick(64);
    default: return edges[pick(sizeof edges / sizeof *edges)];
    }
}

static u64 a_descriptor(void)
{
    static const u64 odd[] = {(u64)-1, (u64)-100, 0, 1, 2, 9999, 0x7fffffff, 0x80000000};
    return pick(12) ? (u64)zoo[pick((unsigned)nzoo)] : odd[pick(8)];
}

/* Words that look like what structs hold: small numbers, descriptors, addresses. */
static void stir(unsigned char *at, unsigned nbytes)
{
    for (unsigned i = 0; i + 8 <= nbytes; i += 8) {
        u64 word = 0;
        switch (pick(9)) {
        case 0: word = a_number(); break;
        case 1: word = a_descriptor(); break;
        case 2: word = (u64)(uintptr_t)area + pick(16 * 4096); break;
        case 3: word = (u64)(uintptr_t)low + pick(4096); break;
        case 4: word = pick(16) | (u64)pick(16) << 32; break;
        case 5: word = pick(4096); break;
        case 6: word = a_descriptor() | (u64)pick(64) << 32; break;
        default: break;
        }
        memcpy(at + i, &word, 8);
    }
}

static u64 a_pointer(int narrow)
{
    unsigned char *base = narrow ? low : area;
    unsigned size = narrow ? 4 * 4096 : 16 * 4096;
    switch (pick(14)) {
    case 0: return 0;
    case 1: return 1 + pick(4096);
    case 2: return (u64)(uintptr_t)hole + 2 * 4096 - pick(64);      /* runs out of the mapping */
    case 3: return (u64)(uintptr_t)hole + pick(4096);               /* PROT_NONE */
    case 4: return 0xffff800000000000ULL + pick(65536);             /* the kernel half */
    case 5: return 0x00007ffffffff000ULL - pick(64);
    case 6: return narrow ? 0xfffffff0 : (u64)-1 - pick(16);
    case 7: return (u64)(uintptr_t)paths + pick(256);                /* read-only */
    case 8: case 9: {
        unsigned char *at = base + pick(size - 8192);
        strcpy((char *)at, paths[pick(NPATHS)]);
        return (u64)(uintptr_t)at;
    }
    default: {
        unsigned char *at = base + (pick(size - 4096) & (pick(4) ? ~7u : ~0u));
        stir(at, 8 * (1 + pick(24)));
        return (u64)(uintptr_t)at;
    }
    }
}

static u64 an_argument(int narrow)
{
    switch (pick(10)) {
    case 0: case 1: case 2: return a_pointer(narrow);
    case 3: case 4: case 5: return a_descriptor();
    case 6: return 0;
    case 7: return pick(8);
    default: return a_number();
    }
}

/* What each argument of the commoner calls looks like, so that more than their first check is reached.
 * f descriptor, d directory or AT_FDCWD, p path, b buffer, n size, x number, g flags, k small number, i process, s signal, t time, v iovec,
 * c command in the range of ioctl, a address of a page */
static const struct { int number; const char *like; } shapes[] = {
    {SYS_read, "fbn"}, {SYS_write, "fbn"}, {SYS_open, "pgg"}, {SYS_stat, "pb"}, {SYS_fstat, "fb"}, {SYS_lstat, "pb"}, {SYS_poll, "bkk"},
    {SYS_lseek, "fxk"}, {SYS_mmap, "angkfn"}, {SYS_mmap, "0nggfa"}, {SYS_mprotect, "ank"}, {SYS_munmap, "an"}, {SYS_brk, "a"},
    {SYS_rt_sigaction, "sbb8"}, {SYS_rt_sigprocmask, "kbb8"}, {SYS_ioctl, "fcb"}, {SYS_ioctl, "fcb"}, {SYS_ioctl, "fcx"},
    {SYS_pread64, "fbnx"}, {SYS_pwrite64, "fbnx"}, {SYS_readv, "fvk"}, {SYS_writev, "fvk"}, {SYS_access, "pk"}, {SYS_select, "kbbbt"},
    {SYS_mremap, "annka"}, {SYS_msync, "ank"}, {SYS_mincore, "anb"}, {SYS_madvise, "ank"}, {SYS_dup2, "ff"}, {SYS_nanosleep, "tb"},
    {SYS_setitimer, "ktb"}, {SYS_sendfile, "ffbn"}, {SYS_connect, "fbk"}, {SYS_accept, "fbb"}, {SYS_sendto, "fbngbn"},
    {SYS_recvfrom, "fbngbb"}, {SYS_sendmsg, "fbg"}, {SYS_recvmsg, "fbg"}, {SYS_shutdown, "fk"}, {SYS_bind, "fbn"}, {SYS_listen, "fx"},
    {SYS_getsockname, "fbb"}, {SYS_socketpair, "kkkb"}, {SYS_setsockopt, "f1kbn"}, {SYS_getsockopt, "f1kbb"}, {SYS_execve, "pbb"},
    {SYS_wait4, "ibgb"}, {SYS_kill, "is"}, {SYS_fcntl, "fkx"}, {SYS_fcntl, "fxb"}, {SYS_fcntl, "fxk"}, {SYS_flock, "fk"},
    {SYS_truncate, "px"}, {SYS_ftruncate, "fx"}, {SYS_getdents64, "fbn"}, {SYS_getcwd, "bn"}, {SYS_chdir, "p"}, {SYS_fchdir, "f"},
    {SYS_rename, "pp"}, {SYS_mkdir, "pg"}, {SYS_rmdir, "p"}, {SYS_creat, "pg"}, {SYS_link, "pp"}, {SYS_unlink, "p"}, {SYS_symlink, "pp"},
    {SYS_readlink, "pbn"}, {SYS_chmod, "pg"}, {SYS_fchmod, "fg"}, {SYS_chown, "pxx"}, {SYS_getrlimit, "kb"}, {SYS_sysinfo, "b"},
    {SYS_setrlimit, "kb"}, {SYS_ptrace, "kibb"}, {SYS_syslog, "kbn"}, {SYS_rt_sigtimedwait, "bbt8"}, {SYS_rt_sigqueueinfo, "isb"},
    {SYS_rt_sigsuspend, "b8"}, {SYS_sigaltstack, "bb"}, {SYS_utime, "pb"}, {SYS_mknod, "pgx"}, {SYS_statfs, "pb"}, {SYS_getpriority, "kk"},
    {SYS_setpriority, "kkk"}, {SYS_sched_setscheduler, "ikb"}, {SYS_prctl, "kbbbb"}, {SYS_prctl, "kkkkk"}, {SYS_arch_prctl, "cb"},
    {SYS_arch_prctl, "xb"}, {SYS_chroot, "p"}, {SYS_mount, "pppgb"}, {SYS_umount2, "pk"}, {SYS_readahead, "fxn"}, {SYS_setxattr, "ppbng"},
    {SYS_setxattr, "pbbng"}, {SYS_getxattr, "pbbn"}, {SYS_listxattr, "pbn"}, {SYS_fsetxattr, "fbbng"}, {SYS_flistxattr, "fbn"},
    {SYS_futex, "bgktbk"}, {SYS_futex, "bkktbk"}, {SYS_sched_setaffinity, "inb"}, {SYS_sched_getaffinity, "inb"}, {SYS_epoll_ctl, "fkfb"},
    {SYS_epoll_wait, "fbkk"}, {SYS_epoll_pwait2, "fbktb8"}, {SYS_remap_file_pages, "an0kk"}, {SYS_timer_create, "kbb"},
    {SYS_timer_settime, "kktb"}, {SYS_timer_gettime, "kb"}, {SYS_clock_gettime, "kb"}, {SYS_clock_nanosleep, "kktb"}, {SYS_tgkill, "iis"},
    {SYS_utimes, "pb"}, {SYS_mbind, "ankbkk"}, {SYS_waitid, "kibgb"}, {SYS_openat, "dpgg"}, {SYS_mkdirat, "dpg"}, {SYS_mknodat, "dpgx"},
    {SYS_fchownat, "dpxxg"}, {SYS_newfstatat, "dpbg"}, {SYS_unlinkat, "dpg"}, {SYS_renameat2, "dpdpk"}, {SYS_linkat, "dpdpg"},
    {SYS_symlinkat, "pdp"}, {SYS_readlinkat, "dpbn"}, {SYS_faccessat2, "dpkg"}, {SYS_pselect6, "kbbbtb"}, {SYS_ppoll, "bktb8"},
    {SYS_unshare, "g"}, {SYS_set_robust_list, "bn"}, {SYS_splice, "fbfbnk"}, {SYS_tee, "ffnk"}, {SYS_vmsplice, "fvkk"},
    {SYS_utimensat, "dpbg"}, {SYS_timerfd_settime, "fktb"}, {SYS_fallocate, "fgxx"}, {SYS_fallocate, "fkxx"}, {SYS_signalfd4, "fb8g"},
    {SYS_eventfd2, "xg"}, {SYS_dup3, "ffg"}, {SYS_pipe2, "bg"}, {SYS_preadv2, "fvkxxk"}, {SYS_pwritev2, "fvkxxk"}, {SYS_recvmmsg, "fbkgt"},
    {SYS_sendmmsg, "fbkg"}, {SYS_prlimit64, "ikbb"}, {SYS_process_vm_readv, "ivkvk0"}, {SYS_process_vm_writev, "ivkvk0"}, {SYS_kcmp, "iikkk"},
    {SYS_sched_setattr, "ibk"}, {SYS_sched_getattr, "ibnk"}, {SYS_getrandom, "bng"}, {SYS_memfd_create, "pg"}, {SYS_execveat, "dpbbg"},
    {SYS_mlock2, "ank"}, {SYS_copy_file_range, "fbfbn0"}, {SYS_statx, "dpggb"}, {SYS_pidfd_send_signal, "fsb0"}, {SYS_clone3, "bn"},
    {SYS_close_range, "xxk"}, {SYS_openat2, "dpbn"}, {SYS_pidfd_getfd, "ff0"}, {SYS_rseq, "bnkx"}, {SYS_socket, "kkk"}, {SYS_capget, "bb"},
    {SYS_capset, "bb"}, {SYS_setgroups, "kb"}, {SYS_fadvise64, "fxxk"}, {SYS_sync_file_range, "fxxk"}, {SYS_getitimer, "kb"},
    {SYS_personality, "x"}, {SYS_process_madvise, "fvkk0"}, {SYS_shmget, "xnx"}, {SYS_inotify_add_watch, "fpg"}, {SYS_setreuid, "xx"},
    {SYS_membarrier, "kkk"}, {SYS_close, "f"}, {SYS_dup, "f"}, {SYS_getgroups, "kb"}, {SYS_sethostname, "bn"}, {462, "an0"},
    {449, "vkktk"}, {452, "dpgg"}, {454, "bxgk"}, {455, "bxgxtk"}, {456, "bkkk"}, {463, "dpgbbn"},
};

static u64 an_argument_like(char like)
{
    static const u64 opens[] = {O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NONBLOCK, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC, O_PATH, O_TMPFILE, 1};
    switch (pick(24) ? like : 'z') {
    case 'f': return a_descriptor();
    case 'd': return pick(2) ? (u64)-100 : a_descriptor();
    case 'p': {
        unsigned char *at = area + pick(15 * 4096);
        strcpy((char *)at, paths[pick(NPATHS)]);
        return (u64)(uintptr_t)at;
    }
    case 'b': return a_pointer(0);
    case 'a': return pick(8) ? (u64)(uintptr_t)spare + 4096 * pick(32) : a_number() & ~4095ULL;
    case 'n': return pick(3) ? pick(2) ? pick(4096) : 4096 * pick(20) : a_number();
    case 'g': return pick(2) ? opens[pick(12)] | opens[pick(12)] : pick(2) ? 1u << pick(32) | 1u << pick(16) : pick(0x10000);
    case 'k': return pick(3) ? pick(5) : pick(64);
    case 'i': return pick(3) ? pick(2) ? 0 : (u64)getpid() : a_number();
    case 's': return pick(70);
    case 't': {
        struct timespec *at = (void *)(area + 64 * pick(64));
        for (int i = 0; i < 2; i++) { at[i].tv_sec = pick(3) ? 0 : (time_t)a_number(); at[i].tv_nsec = pick(3) ? pick(1000000) : (long)a_number(); }
        return (u64)(uintptr_t)at;
    }
    case 'v': {
        struct iovec { u64 base, size; } *at = (void *)(area + 64 * pick(64));
        for (int i = 0; i < 8; i++) { at[i].base = a_pointer(0); at[i].size = pick(8) ? pick(5000) : a_number(); }
        return (u64)(uintptr_t)at;
    }
    case 'c': return pick(3) ? 0x5400 + pick(0x70) : pick(2) ? 0x80045430 + pick(16) : a_number();
    case '0': return 0;
    case '1': return 1;
    case '8': return 8;
    case 'x': return a_number();
    default: return an_argument(0);
    }
}

static long call64(u64 number, u64 *a)
{
    long result;
    register u64 r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}

static long call32(u64 number, u64 *a)
{
    long result;
    register u64 first __asm__("r14") = a[0], last __asm__("r15") = a[5];
    __asm__ volatile("push %%rbp\n\tpush %%rbx\n\tmov %%r14, %%rbx\n\tmov %%r15, %%rbp\n\tint $0x80\n\tpop %%rbx\n\tpop %%rbp"
                     : "=a"(result) : "a"(number), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]), "r"(first), "r"(last)
                     : "r8", "r9", "r10", "r11", "memory");
    return result;
}

static int forbidden(u64 number, int narrow)
{
    static const int wide[] = {SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_fork, SYS_vfork, SYS_clone, SYS_pause, -1};
    static const int old[] = {1, 252, 119, 173, 2, 190, 120, 29, -1};
    for (const int *n = narrow ? old : wide; *n >= 0; n++)
        if (number == (u64)*n) return pick(16) != 0;     /* now and then */
    return 0;
}

static int signals_somebody(u64 number, int narrow)
{
    static const int wide[] = {SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_open, SYS_fcntl, SYS_ioctl,
        SYS_ptrace, SYS_process_vm_writev, SYS_clone3, SYS_clone, -1};
    static const int old[] = {37, 238, 270, 178, 335, 434, 55, 221, 54, 26, 348, 435, 120, -1};
    for (const int *n = narrow ? old : wide; *n >= 0; n++)
        if (number == (u64)*n) return 1;
    return 0;
}

static void no_action(int number) { (void)number; }

static void child(u64 seed, unsigned ncalls)
{
    state = seed * 0x9E3779B97F4A7C15ULL + 1;
    setsid();
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) if (null < 0) close(fd); else dup2(null, fd);       /* another child may have removed it */
    furnish();
    for (int i = 0; i < 8; i++) next();
    is_root = pick(4) == 0;
    struct rlimit files = {128, 128};
    setrlimit(RLIMIT_NOFILE, &files);
    struct rlimit processes = {40, 40};
    setrlimit(RLIMIT_NPROC, &processes);
    if (!is_root && (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))) _exit(1);
    struct sigaction nothing = {.sa_handler = no_action};
    sigaction(SIGALRM, &nothing, NULL);
    syscall(SYS_setitimer, 0, (long[]){0, 20000, 0, 20000}, NULL);      /* what sleeps goes on */
    unsigned favourite = pick(340);
    for (unsigned i = 0; i < ncalls; i++) {
        int narrow = pick(5) == 0;
        u64 number = pick(4) == 0 ? favourite + pick(4) : pick(20) == 0 ? a_number() : pick(narrow ? 462 : 470);
        if (number == SYS_rt_sigreturn && !narrow) { if (pick(8)) continue; }
        u64 a[6];
        for (int k = 0; k < 6; k++) a[k] = an_argument(narrow);
        if (pick(2)) a[0] = a_descriptor();
        if (pick(3)) {
            unsigned row = pick(sizeof shapes / sizeof *shapes);
            narrow = 0;
            number = (u64)shapes[row].number;
            for (int k = 0; shapes[row].like[k]; k++) a[k] = an_argument_like(shapes[row].like[k]);
        }
        if (forbidden(number, narrow) || (is_root && signals_somebody(number, narrow))) continue;
        if (narrow) call32(number, a); else call64(number, a);
    }
}

static int ended_within(pid_t pid, int ms, int *status)
{
    struct timespec tick = {0, 2000000};
    for (int waited = 0; waited < ms; waited += 2) {
        if (waitpid(pid, status, WNOHANG | __WALL) != 0) return 1;
        nanosleep(&tick, NULL);
    }
    return 0;
}

int main(int argc, char **argv)
{
    u64 seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned children = argc > 2 ? (unsigned)atoi(argv[2]) : 20, ncalls = argc > 3 ? (unsigned)atoi(argv[3]) : 200;
    unsigned died = 0, hung = 0;
    signal(SIGALRM, SIG_DFL);
    for (unsigned i = 0; i < children; i++) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) { child(seed + i, ncalls); syscall(SYS_exit_group, 0); }
        if (pid < 0) { printf("fork: %s\n", strerror(errno)); return 1; }
        if (!ended_within(pid, 1000, &status)) {
            kill(pid, SIGKILL);
            if (!ended_within(pid, 20000, &status)) { printf("child %u cannot be killed\n", i); return 1; }
            hung++;
        } else if (WIFSIGNALED(status)) died++;
        kill(-pid, SIGKILL);
    }
    fprintf(stderr, "%u ran, %u died, %u waited\n", children, died, hung);
    printf("done\n");
    return 0;
}
