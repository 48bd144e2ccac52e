/* Opening, reading, writing and describing files.
 * builds: x64 i386 gnu
 */
#include "case.h"
#include <sys/file.h>
#include <sys/sendfile.h>

static void sizes(int fd)
{
    struct stat st;
    fstat(fd, &st);
    say("size %ld offset %ld", (long)st.st_size, (long)lseek(fd, 0, SEEK_CUR));
}

CASE(open_flags)
{
    T(open("none", O_RDONLY));
    T(open("a", O_CREAT | O_EXCL | O_RDWR, 0600));
    T(open("a", O_CREAT | O_EXCL | O_RDWR, 0600));
    T(open("a", O_RDONLY | O_DIRECTORY));
    T(open(".", O_RDONLY | O_DIRECTORY));
    T(open(".", O_WRONLY));
    T(open(".", O_RDWR));
    T(open(".", O_RDONLY | O_CREAT, 0600));
    T(open("a/b", O_RDONLY));
    T(open("a/", O_RDONLY));
    T(open("", O_RDONLY));
    T(open("d/new", O_CREAT | O_WRONLY, 0600));
    T(open("new/", O_CREAT | O_WRONLY, 0600));
    T(symlink("a", "l"));
    T(open("l", O_RDONLY | O_NOFOLLOW));
    T(open("l", O_RDONLY));
    T(open("l", O_PATH | O_NOFOLLOW));
    T(symlink("loop2", "loop1"));
    T(symlink("loop1", "loop2"));
    T(open("loop1", O_RDONLY));
    T(symlink("gone", "dangling"));
    T(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0600));
    T(open("dangling", O_CREAT | O_WRONLY, 0600));
    T(access("gone", F_OK));
    T(open((char *)1, O_RDONLY));
}

CASE(open_names)
{
    char name[5000];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    T(open(name, O_CREAT | O_WRONLY, 0600));
    name[255] = 'n', name[256] = 0;
    T(open(name, O_CREAT | O_WRONLY, 0600));
    for (int i = 0; i < 5000; i++) name[i] = i % 2 ? '/' : '.';
    name[4095] = 0;
    T(open(name, O_RDONLY));
    name[4095] = '/', name[4096] = 0;
    T(open(name, O_RDONLY));
}

CASE(access_modes)
{
    char c;
    put("a", "hello", 5, 0600);
    T(open("a", O_RDONLY));
    T(open("a", O_WRONLY));
    T(open("a", O_RDWR));
    T(open("a", O_PATH));
    T(write(3, "x", 1));
    T(read(4, &c, 1));
    T(read(6, &c, 1));
    T(write(6, &c, 1));
    T(fchmod(6, 0600));
    T(ftruncate(6, 0));
    T(ftruncate(3, 0));
    T(read(5, &c, 1));
    T(read(99, &c, 1));
    T(write(-1, &c, 1));
    T(read(3, (void *)1, 1));
    T(write(4, (void *)1, 1));
    T(write(4, (void *)1, 0));
    T(close(6));
    T(close(6));
    T(fcntl(3, F_GETFL) & O_ACCMODE);
    T(fcntl(4, F_GETFL) & O_ACCMODE);
}

CASE(append)
{
    int fd = open("a", O_CREAT | O_RDWR | O_APPEND, 0600);
    T(write(fd, "one", 3));
    T(lseek(fd, 0, SEEK_SET));
    T(write(fd, "two", 3));
    sizes(fd);
    T(pwrite(fd, "three", 5, 0));
    sizes(fd);
    char all[32] = {0};
    T(pread(fd, all, 31, 0));
    say("%s", all);
    T(fcntl(fd, F_SETFL, 0));
    T(pwrite(fd, "T", 1, 0));
    T(pread(fd, all, 31, 0));
    say("%s", all);
}

CASE(lseek_ends)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    T(write(fd, "0123456789", 10));
    T(lseek(fd, 4, SEEK_SET));
    T(lseek(fd, 3, SEEK_CUR));
    T(lseek(fd, -2, SEEK_END));
    T(lseek(fd, -11, SEEK_END));
    T(lseek(fd, -1, SEEK_SET));
    T(lseek(fd, 0, 99));
    T(lseek(fd, 100, SEEK_END));
    T(write(fd, "x", 1));
    sizes(fd);
    char hole[4] = {1, 1, 1, 1};
    T(pread(fd, hole, 4, 50));
    say("%d %d %d %d", hole[0], hole[1], hole[2], hole[3]);
    int pipes[2];
    T(pipe(pipes));
    T(lseek(pipes[0], 0, SEEK_CUR));
    T(pread(pipes[0], hole, 1, 0));
    T(pread(fd, hole, 1, -1));
    T(lseek(77, 0, SEEK_SET));
}

CASE(seek_holes)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    T(ftruncate(fd, 1 << 20));
    T(pwrite(fd, "x", 1, 1 << 19));
    fsync(fd);
    T(lseek(fd, 0, SEEK_DATA));
    T(lseek(fd, 0, SEEK_HOLE));
    T(lseek(fd, 1 << 19, SEEK_HOLE));
    T(lseek(fd, (1 << 19) + 4096, SEEK_DATA));
    T(lseek(fd, 1 << 20, SEEK_HOLE));
    T(lseek(fd, 1 << 21, SEEK_DATA));
}

CASE(positional)
{
    char x[8] = {0}, y[8] = {0};
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    struct iovec out[3] = {{"abc", 3}, {"", 0}, {"defgh", 5}}, in[2] = {{x, 5}, {y, 7}};
    T(writev(fd, out, 3));
    T(pwritev(fd, out, 1, 100));
    T(lseek(fd, 0, SEEK_CUR));
    T(lseek(fd, 1, SEEK_SET));
    T(readv(fd, in, 2));
    say("%.5s %d %d", x, y[0], y[2]);
    T(preadv(fd, in, 1, 100));
    say("%.3s", x);
    T(readv(fd, in, -1));
    T(readv(fd, in, 1025));
    T(readv(fd, NULL, 0));
    in[1].iov_base = (void *)1;
    T(pread(fd, (void *)1, 4, 0));
    T(preadv(fd, in, 2, 0));
    in[0].iov_len = (size_t)-1;
    T(readv(fd, in, 1));
}

CASE(truncation)
{
    put("a", "0123456789", 10, 0600);
    T(truncate("a", 4));
    int fd = open("a", O_RDWR);
    sizes(fd);
    T(ftruncate(fd, 8));
    char b[8];
    T(read(fd, b, 8));
    say("%.4s %d%d%d%d", b, b[4], b[5], b[6], b[7]);
    T(truncate("a", -1));
    T(truncate("none", 0));
    T(truncate(".", 0));
    T(open("a", O_WRONLY | O_TRUNC));
    sizes(fd);
    T(read(fd, b, 8));
}

CASE(fallocating)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    T(write(fd, "0123456789", 10));
    T(fallocate(fd, 0, 0, 100));
    sizes(fd);
    T(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 9000));
    sizes(fd);
    T(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3));
    char b[11] = {0};
    T(pread(fd, b, 10, 0));
    for (int i = 0; i < 10; i++) if (!b[i]) b[i] = '_';
    say("%s", b);
    T(fallocate(fd, 0, -1, 1));
    T(fallocate(fd, 0, 0, 0));
    T(posix_fallocate(fd, 0, 200));
    sizes(fd);
    T(fallocate(0, 0, 0, 1));
}

CASE(stat_fields)
{
    struct stat st;
    umask(022);
    T(open("a", O_CREAT | O_RDWR, 0666));
    T(fstat(3, &st));
    say("mode %o nlink %d size %ld mine %d", st.st_mode, (int)st.st_nlink, (long)st.st_size, st.st_uid == geteuid());
    T(mkdir("d", 0777));
    T(stat("d", &st));
    say("mode %o", st.st_mode);
    T(mkfifo("f", 0644));
    T(stat("f", &st));
    say("mode %o nlink %d size %ld", st.st_mode, (int)st.st_nlink, (long)st.st_size);
    T(symlink("target", "l"));
    T(lstat("l", &st));
    say("mode %o size %ld", st.st_mode, (long)st.st_size);
    T(stat("l", &st));
    T(stat("/dev/null", &st));
    say("mode %o dev %x", st.st_mode & S_IFMT, (unsigned)st.st_rdev);
    T(fstatat(AT_FDCWD, "", &st, 0));
    T(fstatat(3, "", &st, AT_EMPTY_PATH));
    T(fstatat(3, "x", &st, 0));
    T(fstatat(99, "x", &st, 0));
    T(fstatat(99, "/", &st, 0));
    T(fstatat(AT_FDCWD, "a", &st, 0x40000000));
    int p[2];
    T(pipe(p));
    fstat(p[0], &st);
    say("mode %o", st.st_mode & S_IFMT);
    T(stat((char *)1, &st));
}

#ifdef STATX_BASIC_STATS
CASE(statx_fields)
{
    struct statx sx;
    put("a", "hello", 5, 0640);
    T(statx(AT_FDCWD, "a", 0, STATX_BASIC_STATS, &sx));
    say("mask %x mode %o size %ld nlink %d", sx.stx_mask & STATX_BASIC_STATS, sx.stx_mode, (long)sx.stx_size, (int)sx.stx_nlink);
    T(statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_TYPE, &sx));
    say("mode %o", sx.stx_mode & S_IFMT);
    T(statx(AT_FDCWD, "none", 0, STATX_SIZE, &sx));
    T(statx(AT_FDCWD, "a", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_SIZE, &sx));
    T(statx(AT_FDCWD, "a", 0, 0x80000000u, &sx));
}
#endif

CASE(modes)
{
    struct stat st;
    umask(077);
    say("umask %o", umask(027));
    T(open("a", O_CREAT | O_RDWR, 06777));
    stat("a", &st);
    say("mode %o", st.st_mode);
    T(chmod("a", 04711));
    stat("a", &st);
    say("mode %o", st.st_mode);
    T(fchmod(3, 0600));
    T(fchmodat(AT_FDCWD, "a", 0640, 0));
    stat("a", &st);
    say("mode %o", st.st_mode);
    T(chmod("none", 0600));
    T(mkdir("d", 01777));
    stat("d", &st);
    say("mode %o", st.st_mode);
    T(chown("a", 1, 2));
    stat("a", &st);
    say("owner %d:%d mode %o", st.st_uid, st.st_gid, st.st_mode);
    T(chmod("a", 06755));
    T(chown("a", -1, 3));
    stat("a", &st);
    say("owner %d:%d mode %o", st.st_uid, st.st_gid, st.st_mode);
    T(chmod("a", 06755));
    T(write(3, "x", 1));
    stat("a", &st);
    say("mode %o", st.st_mode);
    T(symlink("a", "l"));
    T(lchown("l", 7, 8));
    lstat("l", &st);
    say("owner %d:%d", st.st_uid, st.st_gid);
    T(fchown(3, 9, 9));
    T(fchownat(AT_FDCWD, "a", 1, 1, AT_SYMLINK_NOFOLLOW));
    stat("a", &st);
    say("owner %d:%d", st.st_uid, st.st_gid);
}

CASE(times)
{
    struct stat st;
    put("a", "x", 1, 0600);
    struct timespec set[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    T(utimensat(AT_FDCWD, "a", set, 0));
    stat("a", &st);
    say("%ld.%ld %ld.%ld", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    set[0].tv_nsec = UTIME_OMIT, set[1].tv_nsec = UTIME_NOW;
    T(utimensat(AT_FDCWD, "a", set, 0));
    stat("a", &st);
    say("atime kept %d, mtime now %d", st.st_atim.tv_sec == 1000000000, st.st_mtim.tv_sec > 1700000000);
    set[0].tv_nsec = 2000000000;
    T(utimensat(AT_FDCWD, "a", set, 0));
    T(utimensat(AT_FDCWD, "none", NULL, 0));
    T(symlink("a", "l"));
    set[0] = set[1] = (struct timespec){5, 6};
    T(utimensat(AT_FDCWD, "l", set, AT_SYMLINK_NOFOLLOW));
    lstat("l", &st);
    say("%ld.%ld", (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    struct timeval tv[2] = {{10, 20}, {30, 40}};
    T(utimes("a", tv));
    stat("a", &st);
    say("%ld.%ld", (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    int fd = open("a", O_RDWR);
    T(futimens(fd, set));
    fstat(fd, &st);
    say("%ld.%ld", (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    T(write(fd, "y", 1));
    fstat(fd, &st);
    say("written now %d", st.st_mtim.tv_sec > 1700000000);
}

CASE(accesses)
{
    put("a", "", 0, 0);
    T(access("a", F_OK));
    T(access("a", R_OK | W_OK));
    T(access("a", X_OK));
    T(chmod("a", 0100));
    T(access("a", X_OK));
    T(access("a", 8));
    T(access("none", R_OK));
    T(access("a/x", F_OK));
    T(faccessat(AT_FDCWD, "a", X_OK, AT_EACCESS));
    T(mkdir("d", 0));
    T(access("d", X_OK));
    T(access("/proc/version", W_OK));
}

CASE(permissions_unprivileged)
{
    T(mkdir("locked", 0700));
    put("locked/a", "", 0, 0666);
    put("secret", "", 0, 0600);
    put("group", "", 0, 0640);
    T(chown("group", 0, 77));
    put("noexec", "", 0, 0644);
    T(chmod(".", 0755));
    CHILD
        gid_t groups[1] = {77};
        T(setgroups(1, groups));
        T(setgid(1000));
        T(setuid(1000));
        T(open("secret", O_RDONLY));
        T(open("group", O_RDONLY));
        T(open("group", O_WRONLY));
        T(open("locked/a", O_RDONLY));
        T(open("new", O_CREAT | O_WRONLY, 0600));
        T(unlink("secret"));
        T(rename("secret", "other"));
        T(chmod("secret", 0666));
        T(chown("secret", 1000, 1000));
        T(mkdir("d", 0700));
        T(link("noexec", "linked"));
        T(symlink("a", "b"));
        T(access("secret", R_OK));
        T(access("noexec", X_OK));
        T(chdir("locked"));
        T(utimensat(AT_FDCWD, "noexec", NULL, 0));
        T(truncate("noexec", 0));
    REAPED
    T(chmod(".", 01777));
    CHILD
        T(setgid(1000));
        T(setuid(1000));
        T(open("mine", O_CREAT | O_WRONLY, 0600));
        T(unlink("secret"));
        T(rename("noexec", "x"));
        T(unlink("mine"));
    REAPED
}

CASE(dups)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    T(dup(fd));
    T(write(4, "abc", 3));
    T(lseek(fd, 0, SEEK_CUR));
    T(dup2(fd, 10));
    T(dup2(fd, fd));
    T(dup2(99, 5));
    T(dup2(99, 99));
    T(dup2(fd, -1));
    T(dup3(fd, 11, O_CLOEXEC));
    T(dup3(fd, fd, 0));
    T(dup3(fd, 12, 0x123));
    T(fcntl(11, F_GETFD));
    T(fcntl(10, F_GETFD));
    T(fcntl(fd, F_DUPFD, 20));
    T(fcntl(fd, F_DUPFD_CLOEXEC, 20));
    T(fcntl(21, F_GETFD));
    T(fcntl(fd, F_DUPFD, -1));
    T(fcntl(fd, F_SETFD, FD_CLOEXEC));
    T(fcntl(fd, F_GETFD));
    T(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
    IS((fcntl(4, F_GETFL) & (O_APPEND | O_NONBLOCK)) == (O_APPEND | O_NONBLOCK));
    T(fcntl(fd, 9999));
    T(fcntl(99, F_GETFD));
    T(close(4));
    T(open("a", O_RDONLY));
#ifdef SYS_close_range
    T(syscall(SYS_close_range, 5, 15, 0));
    T(fcntl(10, F_GETFD));
    T(fcntl(20, F_GETFD));
    T(syscall(SYS_close_range, 20, 10, 0));
    T(syscall(SYS_close_range, 3, ~0u, 4));
    T(fcntl(20, F_GETFD));
#endif
}

CASE(flocks)
{
    int a = open("a", O_CREAT | O_RDWR, 0600), b = open("a", O_RDWR);
    T(flock(a, LOCK_SH));
    T(flock(b, LOCK_SH | LOCK_NB));
    T(flock(b, LOCK_EX | LOCK_NB));
    T(flock(a, LOCK_UN));
    T(flock(b, LOCK_EX | LOCK_NB));
    T(flock(a, LOCK_SH | LOCK_NB));
    T(close(b));
    T(flock(a, LOCK_SH | LOCK_NB));
    T(flock(a, 99));
    T(flock(99, LOCK_SH));
}

CASE(record_locks)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    T(fcntl(fd, F_SETLK, &lock));
    CHILD
        struct flock ask = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
        T(fcntl(fd, F_GETLK, &ask));
        say("type %d start %ld len %ld by parent %d", ask.l_type, (long)ask.l_start, (long)ask.l_len, ask.l_pid == getppid());
        T(fcntl(fd, F_SETLK, &ask));
        ask = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
        T(fcntl(fd, F_SETLK, &ask));
        ask.l_start = 15;
        T(fcntl(fd, F_SETLK, &ask));
    REAPED
    lock.l_type = F_UNLCK;
    lock.l_start = 12, lock.l_len = 2;
    T(fcntl(fd, F_SETLK, &lock));
    CHILD
        struct flock ask = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 12, .l_len = 2};
        T(fcntl(fd, F_SETLK, &ask));
        ask.l_len = 3;
        T(fcntl(fd, F_SETLK, &ask));
    REAPED
    T(close(dup(fd)));
    CHILD
        struct flock ask = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        T(fcntl(fd, F_SETLK, &ask));
    REAPED
}

CASE(copying)
{
    put("a", "0123456789", 10, 0600);
    int in = open("a", O_RDONLY), out = open("b", O_CREAT | O_RDWR, 0600);
    off_t from = 2;
    char b[32] = {0};
    T(copy_file_range(in, &from, out, NULL, 5, 0));
    say("from %ld", (long)from);
    sizes(out);
    T(copy_file_range(in, NULL, out, NULL, 100, 0));
    T(copy_file_range(in, NULL, out, NULL, 100, 0));
    T(pread(out, b, 31, 0));
    say("%s", b);
    T(copy_file_range(in, NULL, out, NULL, 1, 1));
    from = 1;
    T(sendfile(out, in, &from, 3));
    say("from %ld", (long)from);
    sizes(out);
    T(sendfile(in, out, NULL, 1));
    int p[2];
    T(pipe(p));
    from = 0;
    T(sendfile(p[1], in, &from, 100));
    T(read(p[0], b, 31));
    T(copy_file_range(in, NULL, p[1], NULL, 1, 0));
    from = 3;
    T(splice(in, &from, p[1], NULL, 4, 0));
    T(splice(p[0], NULL, out, NULL, 4, 0));
    sizes(out);
    T(splice(in, NULL, out, NULL, 4, 0));
    T(syscall(SYS_vmsplice, p[1], &(struct iovec){"vm", 2}, 1, 0));
    T(read(p[0], b, 31));
}

CASE(devices)
{
    char b[8];
    struct stat st;
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR);
    T(read(null, b, 8));
    T(write(null, b, 8));
    memset(b, 1, 8);
    T(read(zero, b, 8));
    say("%d %d", b[0], b[7]);
    T(write(zero, b, 8));
    T(read(full, b, 8));
    T(write(full, b, 8));
    T(lseek(null, 10, SEEK_SET));
    T(read(open("/dev/urandom", O_RDONLY), b, 8));
    T(stat("/dev/tty", &st));
    say("mode %o", st.st_mode & S_IFMT);
    T(ftruncate(null, 0));
    T(open("/dev/fd/0", O_RDONLY));
    T(access("/dev/stdout", F_OK));
    T(access("/dev/ptmx", R_OK));
}

CASE(unlinked_but_open)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    struct stat st;
    T(write(fd, "still", 5));
    T(unlink("a"));
    fstat(fd, &st);
    say("nlink %d size %ld", (int)st.st_nlink, (long)st.st_size);
    char b[8] = {0};
    T(pread(fd, b, 5, 0));
    say("%s", b);
    T(open("a", O_RDONLY));
    T(open("/proc/self/fd/3", O_RDWR));
    T(pread(4, b, 5, 0));
    T(open(".", O_TMPFILE | O_RDWR, 0600));
    T(write(5, "x", 1));
    fstat(5, &st);
    say("nlink %d", (int)st.st_nlink);
    T(linkat(AT_FDCWD, "/proc/self/fd/5", AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    T(access("named", F_OK));
}

CASE(memfds)
{
#ifdef SYS_memfd_create
    int fd = (int)T(syscall(SYS_memfd_create, "name", 3u));
    T(ftruncate(fd, 100));
    T(write(fd, "abc", 3));
    T(fcntl(fd, 1033 /* F_ADD_SEALS */, 4 | 2 /* GROW, SHRINK */));
    T(ftruncate(fd, 200));
    T(ftruncate(fd, 50));
    T(fcntl(fd, 1034 /* F_GET_SEALS */));
    T(write(fd, "x", 1));
    T(fcntl(fd, 1033, 8 /* WRITE */));
    T(write(fd, "x", 1));
    T(syscall(SYS_memfd_create, "name", 0x1000u));
#endif
}

CASE(extended_attributes)
{
    char b[16];
    put("a", "", 0, 0600);
    T(syscall(SYS_getxattr, "a", "user.none", b, sizeof b));
    T(syscall(SYS_getxattr, "none", "user.none", b, sizeof b));
    T(syscall(SYS_getxattr, "a", "nospace", b, sizeof b));
}

CASE(syncing)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600), p[2];
    pipe(p);
    T(fsync(fd));
    T(fdatasync(fd));
    T(fsync(p[0]));
    T(fsync(99));
    T(syncfs(fd));
    T(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    T(posix_fadvise(p[0], 0, 0, POSIX_FADV_DONTNEED));
    T(readahead(fd, 0, 10));
}

CASE(ioctls)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600), n = 0, on = 1, p[2];
    T(write(fd, "abcdef", 6));
    T(syscall(SYS_ioctl, fd, 0x5401 /* TCGETS */, &n));
    lseek(fd, 2, SEEK_SET);
    T(syscall(SYS_ioctl, fd, 0x541b /* FIONREAD */, &n));
    say("%d", n);
    T(syscall(SYS_ioctl, fd, 0x5421 /* FIONBIO */, &on));
    IS(fcntl(fd, F_GETFL) & O_NONBLOCK);
    T(syscall(SYS_ioctl, fd, 0x5451 /* FIOCLEX */, 0));
    T(fcntl(fd, F_GETFD));
    T(syscall(SYS_ioctl, fd, 0xdead, 0));
    pipe(p);
    T(write(p[1], "abc", 3));
    T(syscall(SYS_ioctl, p[0], 0x541b, &n));
    say("%d", n);
}

CASE(file_size_limit)
{
    CHILD
        T(syscall(SYS_prlimit64, 0, 1 /* FSIZE */, &(uint64_t[2]){8, 8}, NULL));
        handle(SIGXFSZ, tell, 0);
        int fd = open("a", O_CREAT | O_RDWR, 0600);
        T(write(fd, "0123456789", 10));
        T(write(fd, "0123456789", 10));
        T(ftruncate(fd, 20));
        handle(SIGXFSZ, SIG_DFL, 0);
        T(write(fd, "x", 1));
    REAPED
}
