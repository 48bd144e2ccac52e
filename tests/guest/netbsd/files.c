/* Files, directories and descriptors: layouts (reference: struct stat, dirent, flock, statvfs), numbers and NetBSD's own answers.
 * builds: amd64 i386 */
#include "nb.h"

enum { SYS_link = 9, SYS_unlink = 10, SYS_chdir = 12, SYS_fchdir = 13, SYS_chmod = 15, SYS_chflags = 34, SYS_access = 33, SYS_dup = 41,
       SYS_symlink = 57, SYS_readlink = 58, SYS_umask = 60, SYS_chroot = 61, SYS_dup2 = 90, SYS_fcntl = 92, SYS_fsync = 95,
       SYS_readv = 120, SYS_rename = 128, SYS_flock = 131, SYS_mkfifo = 132, SYS_mkdir = 136, SYS_rmdir = 137, SYS_pread = 173,
       SYS_pwrite = 174, SYS_pathconf = 191, SYS_truncate = 200, SYS_ftruncate = 201, SYS_preadv = 289, SYS_getcwd = 296,
       SYS_statvfs = 357, SYS_getdents = 390, SYS_fadvise = 416, SYS_stat = 439, SYS_fstat = 440, SYS_lstat = 441, SYS_mknod = 450,
       SYS_pipe2 = 453, SYS_dup3 = 454, SYS_linkat = 457, SYS_mkdirat = 461, SYS_faccessat = 462, SYS_fstatat = 466,
       SYS_utimensat = 467, SYS_openat = 468, SYS_readlinkat = 469, SYS_unlinkat = 471, SYS_futimens = 472, SYS_fallocate = 479,
       SYS_fdiscard = 480, SYS_lchmod = 274, SYS_fsync_range = 354, SYS_getvfsstat = 356 };
enum { O_RDWR = 2, O_NONBLOCK = 4, O_APPEND = 8, O_SHLOCK = 0x10, O_EXLOCK = 0x20, O_NOFOLLOW = 0x100, O_CREAT = 0x200, O_TRUNC = 0x400,
       O_EXCL = 0x800, O_DIRECTORY = 0x200000, O_CLOEXEC = 0x400000, O_NOSIGPIPE = 0x1000000 };
enum { EEXIST = 17, EISDIR = 21, ENOTTY = 25, ESPIPE = 29, EPIPE = 32, ERANGE = 34, ELOOP = 62, ENOTEMPTY = 66, EFTYPE = 79 };
#define HERE ((word)-100)

struct times { struct timespec access, change; };
struct stat {
    u64 dev; u32 mode; u64 ino; u32 nlink, uid, gid; u64 rdev; struct timespec atim, mtim, ctim, birth; i64 size, blocks;
    u32 blksize, flags, gen, spare[2];
};
struct flock { i64 start, len; int pid; short type, whence; };
struct statvfs {
    word flag, bsize, frsize, iosize; u64 blocks, bfree, bavail, bresvd, files, ffree, favail, fresvd, reads, writes, areads, awrites;
    int fsidx[2]; word fsid, namemax; u32 owner, spare[4]; char type[32], on[1024], from[1024];
};
static struct stat st;
static u8 room[4096];

/* Offsets are one word here, two there. */
#ifdef __x86_64__
#define SEEK(fd, offset, whence) CALL4(SYS_lseek, fd, 0, offset, whence)
#define PREAD(fd, to, size, offset) CALL5(SYS_pread, fd, to, size, 0, offset)
#define PWRITE(fd, from, size, offset) CALL5(SYS_pwrite, fd, from, size, 0, offset)
#define PREADV(fd, vectors, count, offset) CALL5(SYS_preadv, fd, vectors, count, 0, offset)
#define CUT(fd, size) CALL3(SYS_ftruncate, fd, 0, size)
#define ROOM(fd, size) CALL4(SYS_fallocate, fd, 0, 0, size)
#define ADVISE(fd, advice) CALL5(SYS_fadvise, fd, 0, 0, 0, advice)
#define SYNC(fd, flags) CALL4(SYS_fsync_range, fd, flags, 0, 0)
#define STAT_SIZE 152
#define STATVFS_SIZE 2256
#else
#define HIGH(offset) ((offset) < 0 ? -1 : 0)
#define SEEK(fd, offset, whence) CALL5(SYS_lseek, fd, 0, offset, HIGH(offset), whence)
#define PREAD(fd, to, size, offset) CALL6(SYS_pread, fd, to, size, 0, offset, 0)
#define PWRITE(fd, from, size, offset) CALL6(SYS_pwrite, fd, from, size, 0, offset, 0)
#define PREADV(fd, vectors, count, offset) CALL6(SYS_preadv, fd, vectors, count, 0, offset, 0)
#define CUT(fd, size) CALL4(SYS_ftruncate, fd, 0, size, 0)
#define ROOM(fd, size) CALL6(SYS_fallocate, fd, 0, 0, 0, size, 0)
#define ADVISE(fd, advice) CALL7(SYS_fadvise, fd, 0, 0, 0, 0, 0, advice)
#define SYNC(fd, flags) CALL6(SYS_fsync_range, fd, flags, 0, 0, 0, 0)
#define STAT_SIZE 124
#define STATVFS_SIZE 2228
#endif

static int make(const char *path, word flags) { return (int)CALL3(SYS_open, path, flags, 0644).value; }

static void stats(void)
{
    CHECK(sizeof st == STAT_SIZE);
    int fd = make("plain", O_RDWR | O_CREAT | O_TRUNC);
    CALL3(SYS_write, fd, "0123456789", 10);
    CHECK(gave(CALL2(SYS_fstat, fd, &st), 0) && st.size == 10 && st.mode == 0100644 && st.nlink == 1 && st.flags == 0);
    CHECK(st.mtim.seconds > 1600000000 && st.mtim.nanoseconds < 1000000000 && st.blksize >= 512);
    CHECK(gave(CALL2(SYS_symlink, "plain", "link"), 0));
    CHECK(gave(CALL2(SYS_stat, "link", &st), 0) && (st.mode & 0170000) == 0100000);
    CHECK(gave(CALL2(SYS_lstat, "link", &st), 0) && (st.mode & 0170000) == 0120000 && st.size == 5);
    CHECK(gave(CALL4(SYS_fstatat, HERE, "link", &st, 0x200), 0) && (st.mode & 0170000) == 0120000);
    CHECK(failed(CALL4(SYS_fstatat, HERE, "link", &st, 0x1000), EINVAL));
    CHECK(gave(CALL2(SYS_stat, "/dev/null", &st), 0) && (st.mode & 0170000) == 020000 && st.rdev == 0x103);
    CHECK(failed(CALL2(SYS_stat, "nothing", &st), ENOENT));
    CHECK(failed(CALL2(SYS_stat, "plain/x", &st), ENOTDIR));
    CHECK(failed(CALL2(SYS_fstat, fd, 8), EFAULT));
    struct timespec when[2] = {{1000, 5}, {2000, 6}};
    CHECK(gave(CALL4(SYS_utimensat, HERE, "plain", when, 0), 0));
    CALL2(SYS_stat, "plain", &st);
    CHECK(st.atim.seconds == 1000 && st.mtim.seconds == 2000 && st.mtim.nanoseconds == 6);
    when[0].nanoseconds = 0x3ffffffe, when[1].nanoseconds = 0x3fffffff;             /* UTIME_OMIT, UTIME_NOW */
    CHECK(gave(CALL2(SYS_futimens, fd, when), 0));
    CALL2(SYS_stat, "plain", &st);
    CHECK(st.atim.seconds == 1000 && st.mtim.seconds > 1600000000);
    CHECK(failed(CALL2(SYS_chflags, "plain", 1), EOPNOTSUPP) && gave(CALL2(SYS_chflags, "plain", 0), 0));
    CHECK(gave(CALL4(SYS_faccessat, HERE, "plain", 4, 0), 0) && failed(CALL2(SYS_access, "plain", 8), EINVAL));
    CHECK(gave(CALL2(SYS_pathconf, "plain", 4), 511) && gave(CALL2(SYS_pathconf, "plain", 5), 1024));
    CHECK(failed(CALL2(SYS_pathconf, "plain", 99), EINVAL));
    struct statvfs *fs = (void *)room;
    CHECK(sizeof *fs == STATVFS_SIZE && gave(CALL3(SYS_statvfs, ".", fs, 1), 0) && fs->bsize >= 512 && fs->on[0] == '/');
    CHECK(CALL3(SYS_getvfsstat, 0, 0, 1).value >= 1);
    CALL1(SYS_close, fd);
}

static void reading(void)
{
    char got[16] = {0};
    int fd = make("plain", O_RDWR);
    CHECK(gave(PREAD(fd, got, 3, 4), 3) && got[0] == '4');                 /* a place that means nothing before the offset */
    CHECK(gave(PWRITE(fd, "xy", 2, 8), 2));
    CHECK(gave(SEEK(fd, 0, 1), 0));
    CHECK(gave(SEEK(fd, -3, 2), 7) && failed(SEEK(fd, -8, 1), EINVAL));
    struct { char *base; word size; } vectors[2] = {{got, 1}, {got + 8, 2}};
    CHECK(gave(PREADV(fd, vectors, 2, 0), 3) && got[0] == '0' && got[9] == '2');
    CHECK(gave(CUT(fd, 4), 0) && (CALL2(SYS_fstat, fd, &st), st.size == 4));
    CHECK(gave(ROOM(fd, 100), 0) && (CALL2(SYS_fstat, fd, &st), st.size == 100));
    CHECK(gave(ROOM(99, 100), EBADF));                             /* the error is the result, without carry */
    CHECK(gave(ADVISE(fd, 77), EINVAL));
    CHECK(gave(SYNC(fd, 0x20), 0) && failed(SYNC(fd, 0), EINVAL));
    struct result ends = CALL0(SYS_pipe);
    CHECK(failed(SEEK(ends.value, 0, 0), ESPIPE));
    CALL1(SYS_close, ends.value), CALL1(SYS_close, ends.second);
    CALL1(SYS_close, fd);
}

static void directories(void)
{
    CHECK(gave(CALL2(SYS_mkdir, "dir", 0755), 0) && failed(CALL2(SYS_mkdir, "dir", 0755), EEXIST));
    int at = make("dir", O_DIRECTORY);
    CHECK(!CALL4(SYS_openat, at, "one", O_CREAT | O_RDWR, 0600).carry);
    CHECK(gave(CALL3(SYS_mkdirat, at, "two", 0700), 0));
    word n = CALL3(SYS_getdents, at, room, sizeof room).value;
    int names = 0, ones = 0, kinds = 0;
    for (word offset = 0; offset < n;) {
        u8 *entry = room + offset;                                 /* fileno 0, reclen 8, namlen 10, type 12, name 13 */
        u16 size = *(u16 *)(entry + 8), length = *(u16 *)(entry + 10);
        if (size % 8 || size != ((13 + length + 1 + 7) & ~7) || entry[13 + length]) break;
        names++;
        if (same((char *)entry + 13, "one")) ones++, kinds += entry[12];
        if (same((char *)entry + 13, "two")) kinds += 16 * entry[12];
        offset += size;
    }
    CHECK(names == 4 && ones == 1 && kinds == 8 + 16 * 4);
    CHECK(gave(CALL3(SYS_getdents, at, room, sizeof room), 0));
    CHECK(failed(CALL3(SYS_getdents, 1, room, sizeof room), EINVAL));
    CHECK(failed(CALL1(SYS_unlink, "dir"), EPERM) && failed(CALL1(SYS_rmdir, "dir"), ENOTEMPTY));
    CHECK(gave(CALL3(SYS_unlinkat, at, "one", 0), 0) && gave(CALL3(SYS_unlinkat, at, "two", 0x800), 0));
    CHECK(failed(CALL3(SYS_unlinkat, at, "two", 0x200), EINVAL));
    CHECK(gave(CALL2(SYS_symlink, "dir", "todir"), 0) && gave(CALL1(SYS_rmdir, "todir/"), 0));      /* through the link */
    CHECK(gave(CALL2(SYS_mkdir, "todir/", 0755), 0) && gave(CALL2(SYS_lstat, "dir", &st), 0));
    CHECK(failed(CALL3(SYS_open, "todir", O_NOFOLLOW, 0), EFTYPE) && failed(CALL3(SYS_open, "dir", 0x2000000, 0), EFTYPE));
    word regular = CALL3(SYS_open, "plain", 0x2000000, 0).value;                         /* O_REGULAR */
    CHECK(regular > 2 && gave(CALL1(SYS_close, regular), 0) && failed(CALL3(SYS_open, "nowhere", 0x2000000, 0), ENOENT));
    CHECK(failed(CALL3(SYS_open, "plain", O_DIRECTORY, 0), ENOTDIR) && failed(CALL3(SYS_open, "dir", O_RDWR, 0), EISDIR));
    CHECK(gave(CALL2(SYS_symlink, "loop", "loop"), 0) && failed(CALL3(SYS_open, "loop", 0, 0), ELOOP));
    CHECK(gave(CALL3(SYS_readlink, "todir", room, 3), 3) && gave(CALL4(SYS_readlinkat, HERE, "todir", room, 99), 3));
    CHECK(failed(CALL3(SYS_readlink, "plain", room, 9), EINVAL));
    word length = CALL2(SYS_getcwd, room, sizeof room).value;
    CHECK(room[0] == '/' && room[length - 1] == 0 && failed(CALL2(SYS_getcwd, room, 1), ERANGE));
    CHECK(gave(CALL1(SYS_fchdir, at), 0) == 0 || gave(CALL1(SYS_chdir, ".."), 0));
    CHECK(gave(CALL2(SYS_mkfifo, "fifo", 0600), 0) && (CALL2(SYS_lstat, "fifo", &st), (st.mode & 0170000) == 0010000));
    CALL1(SYS_close, at);
}

static void descriptors(void)
{
    int fd = make("locked", O_RDWR | O_CREAT | O_EXLOCK);
    CHECK(failed(CALL3(SYS_open, "locked", O_RDWR | O_SHLOCK | O_NONBLOCK, 0), EAGAIN));
    CHECK(failed(CALL3(SYS_open, "locked", O_RDWR | O_EXLOCK | O_SHLOCK, 0), EINVAL));
    CHECK(gave(CALL3(SYS_fcntl, fd, 3, 0), O_RDWR));                                     /* F_GETFL */
    CHECK(gave(CALL3(SYS_fcntl, fd, 4, O_APPEND | O_NONBLOCK), 0) && gave(CALL3(SYS_fcntl, fd, 3, 0), O_RDWR | O_APPEND | O_NONBLOCK));
    word copy = CALL3(SYS_fcntl, fd, 12, 20).value;                                      /* F_DUPFD_CLOEXEC */
    CHECK(copy == 20 && gave(CALL3(SYS_fcntl, 20, 1, 0), 1) && gave(CALL3(SYS_fcntl, 20, 11, 0), 20));      /* F_GETFD, F_MAXFD */
    CHECK(gave(CALL2(SYS_dup2, fd, 21), 21) && gave(CALL3(SYS_dup3, fd, 22, O_CLOEXEC), 22) && gave(CALL3(SYS_dup3, fd, fd, 0), (word)fd));
    CHECK(failed(CALL3(SYS_dup3, fd, 23, 1), EINVAL) && failed(CALL2(SYS_dup2, 99, 5), EBADF));
    CHECK(gave(CALL3(SYS_fcntl, 20, 10, 0), 0) && failed(CALL3(SYS_fcntl, 22, 1, 0), EBADF));       /* F_CLOSEM */
    struct flock lock = {0, 10, 0, 3, 0};                                                /* F_WRLCK */
    CHECK(sizeof lock == 24 && gave(CALL3(SYS_fcntl, fd, 8, &lock), 0));
    int pid = (int)CALL0(SYS_fork).value, status = -1;
    if (!pid) {
        struct flock ask = {5, 1, 0, 1, 0};
        leave(gave(CALL3(SYS_fcntl, fd, 7, &ask), 0) && ask.type == 3 && ask.start == 0 && ask.len == 10 &&
              ask.pid == (int)CALL0(SYS_getppid).value && failed(CALL3(SYS_fcntl, fd, 8, &lock), EAGAIN) ? 0 : 1);
    }
    CALL4(SYS_wait4, pid, &status, 0, 0);
    CHECK(status == 0);
    lock.type = 2;                                                                       /* F_UNLCK */
    CHECK(gave(CALL3(SYS_fcntl, fd, 8, &lock), 0) && failed(CALL3(SYS_fcntl, fd, 99, 0), EINVAL));
    CALL1(SYS_close, fd);

    int ends[2];
    CHECK(gave(CALL2(SYS_pipe2, ends, O_CLOEXEC | O_NONBLOCK | O_NOSIGPIPE), 0) && failed(CALL2(SYS_pipe2, ends, O_APPEND), EINVAL));
    CHECK(gave(CALL3(SYS_fcntl, ends[1], 13, 0), 1));                                    /* F_GETNOSIGPIPE */
    CHECK(failed(CALL3(SYS_read, ends[0], room, 1), EAGAIN));
    CALL1(SYS_close, ends[0]);
    CHECK(failed(CALL3(SYS_write, ends[1], "x", 1), EPIPE));                             /* and no signal */
    CALL1(SYS_close, ends[1]);
}

static int cases(int argc, char **argv)
{
    (void)argc, (void)argv;
    stats();
    reading();
    directories();
    descriptors();
    return 0;
}
