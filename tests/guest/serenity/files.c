/* Opening, reading, writing, seeking: what TestIo, TestPosixFallocate, TestKernelFilePermissions and crash-fcntl-invalid-cmd ask. */
#include "fs.h"

static char buffer[8192];

static void open_errors(void)
{
    CHECK(open_file("/dev/zero", O_RDONLY | O_DIRECTORY, 0) == -ENOTDIR);
    CHECK(open_file("made", O_DIRECTORY | O_CREAT | O_RDONLY, 0644) == -EINVAL);
    i64 fd = open_file("made", O_RDWR | O_CREAT, 0644);
    CHECK(fd >= 0 && CALL1(SC_close, fd) == 0);
    CHECK(open_file("made", O_RDWR | O_CREAT | O_EXCL, 0644) == -EEXIST);
    CHECK(open_file("missing/name", O_RDWR | O_CREAT, 0644) == -ENOENT);
    CHECK(open_file("missing", O_RDONLY, 0) == -ENOENT);
    CHECK(open_file("made/x", O_RDONLY, 0) == -ENOTDIR && open_file("made/", O_RDONLY, 0) == -ENOTDIR);
    CHECK(open_file("new/", O_RDWR | O_CREAT, 0644) == -ENOENT);
    CHECK(open_file(".", O_RDWR, 0) == -EISDIR);
    CHECK(open_file("/", O_WRONLY, 0) == (CALL0(SC_geteuid) ? -EACCES : -EISDIR));
    CHECK(open_file("", O_RDONLY, 0) == -EINVAL);
    struct open_params internal = {AT_FDCWD, string("made"), O_RDONLY | 1 << 29, 0};
    CHECK(CALL1(SC_open, &internal) == -EINVAL);
    struct open_params bad = {77, string("/dev/zero"), O_RDONLY, 0};
    CHECK(CALL1(SC_open, &bad) == -EBADF);
    bad.dirfd = 1;
    CHECK(CALL1(SC_open, &bad) < 0);
    CHECK(CALL1(SC_open, 8) == -EFAULT);
    i64 directory = open_file(".", O_RDONLY | O_DIRECTORY, 0);
    CHECK(directory >= 0 && CALL3(SC_read, directory, buffer, 16) == -EISDIR);
    CHECK(map(NULL, 4096, PROT_READ, MAP_SHARED, (int)directory, 0) == -ENODEV);
    struct open_params below = {(i32)directory, string("made"), O_RDONLY, 0};
    fd = CALL1(SC_open, &below);
    CHECK(fd >= 0 && CALL1(SC_close, fd) == 0 && CALL1(SC_close, fd) == -EBADF);
    CALL1(SC_close, directory);
}

static void neither_read_nor_written(void)
{
    i64 fd = open_file("made", 0, 0);
    struct stat st;
    CHECK(fd >= 0 && CALL2(SC_fstat, fd, &st) == 0 && (st.mode & S_IFMT) == S_IFREG);
    CHECK(CALL3(SC_read, fd, buffer, 1) == -EBADF && CALL3(SC_write, fd, "x", 1) == -EBADF);
    CHECK(map(NULL, 4096, PROT_READ, MAP_SHARED, (int)fd, 0) == -EACCES);
    CALL1(SC_close, fd);
    fd = open_file(".", O_DIRECTORY, 0);
    CHECK(CALL3(SC_get_dir_entries, fd, buffer, sizeof buffer) > 26 && seek((int)fd, 5, 0) == 5);
    CALL1(SC_close, fd);
    fd = open_file("made", O_WRONLY, 0);
    CHECK(CALL3(SC_read, fd, buffer, 1) == -EBADF && CALL3(SC_write, fd, "x", 1) == 1);
    CALL1(SC_close, fd);
    fd = open_file("made", O_RDONLY | O_TRUNC, 0);
    CHECK(CALL3(SC_write, fd, "x", 1) == -EBADF);
    CHECK(CALL3(SC_read, fd, buffer, 16) == 1);         /* O_TRUNC counts only for writing */
    CALL1(SC_close, fd);
}

static void nothing(void)
{
    CHECK(CALL3(SC_write, 99, "x", 0) == 0);            /* before the descriptor is looked at */
    CHECK(CALL3(SC_read, 99, buffer, 0) == -EBADF);
    CHECK(CALL4(SC_pread, 99, buffer, 0, NULL) == 0);
}

static void offsets(void)
{
    i64 fd = open_file("offsets", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(CALL3(SC_write, fd, "0123456789", 10) == 10);
    CHECK(seek((int)fd, 2, 0) == 2 && seek((int)fd, 3, 1) == 5 && seek((int)fd, -1, 2) == 9);
    CHECK(seek((int)fd, -1, 0) == -EINVAL && seek((int)fd, 0, 3) == -EINVAL);
    CHECK(seek((int)fd, 0x7fffffffffffffffLL, 1) == -EOVERFLOW);
    CHECK(CALL3(SC_lseek, fd, 8, 0) == -EFAULT && CALL3(SC_lseek, 99, 8, 0) == -EBADF);
    i64 at = 4;
    CHECK(CALL4(SC_pread, fd, buffer, 3, &at) == 3 && buffer[0] == '4' && seek((int)fd, 0, 1) == 9);
    at = -1;
    CHECK(CALL4(SC_pread, fd, buffer, 3, &at) == -EINVAL);
    struct iovec two[] = {{"ab", 2}, {"cd", 2}};
    at = 1;
    CHECK(CALL4(SC_pwritev, fd, two, 2, &at) == 4 && seek((int)fd, 0, 1) == 9);
    at = -1;
    CHECK(CALL4(SC_pwritev, fd, two, 2, &at) == 4 && seek((int)fd, 0, 1) == 13);
    seek((int)fd, 0, 0);
    struct iovec parts[] = {{buffer, 5}, {buffer + 100, 100}};
    CHECK(CALL3(SC_readv, fd, parts, 2) == 13 && buffer[1] == 'a' && buffer[100] == '5' && buffer[107] == 'd');
    CHECK(CALL3(SC_readv, fd, parts, -1) == -EINVAL && CALL3(SC_readv, fd, parts, 1025) == -EFAULT);
    CHECK(truncate_fd((int)fd, 3) == 0 && seek((int)fd, 0, 2) == 3);
    CHECK(truncate_fd((int)fd, -1) == -EINVAL && truncate_fd(99, 0) == -EBADF);
    i64 reading = open_file("offsets", O_RDONLY, 0);
    CHECK(truncate_fd((int)reading, 0) == -EBADF);
    CALL1(SC_close, reading);
    CALL1(SC_close, fd);
    i32 ends[2];
    CHECK(CALL2(SC_pipe, ends, 0) == 0);
    CHECK(seek(ends[0], 0, 1) == -ESPIPE);
    at = 0;
    CHECK(CALL4(SC_pread, ends[0], buffer, 1, &at) == -EINVAL && CALL4(SC_pwritev, ends[1], two, 2, &at) == -EINVAL);
    CALL1(SC_close, ends[0]), CALL1(SC_close, ends[1]);
}

static void room(void)                                  /* TestPosixFallocate */
{
    i64 fd = open_file("room", O_RDWR | O_CREAT, 0600);
    struct stat st;
    CHECK(allocate_fd(-1, 0, 10) == -EBADF);
    CHECK(allocate_fd((int)fd, 0, 0) == -EINVAL && allocate_fd((int)fd, 0, -5) == -EINVAL && allocate_fd((int)fd, -1, 5) == -EINVAL);
    CHECK(allocate_fd((int)fd, 10, 90) == 0 && CALL2(SC_fstat, fd, &st) == 0 && st.size == 100);
    CHECK(allocate_fd((int)fd, 0, 10) == 0 && CALL2(SC_fstat, fd, &st) == 0 && st.size == 100);
    CHECK(CALL3(SC_posix_fallocate, fd, 8, 8) == -EFAULT);
    CALL1(SC_close, fd);
    fd = open_file("/dev/zero", O_RDWR, 0);
    CHECK(allocate_fd((int)fd, 0, 10) == -ENODEV);
    CALL1(SC_close, fd);
    i32 ends[2];
    CALL2(SC_pipe, ends, 0);
    CHECK(allocate_fd(ends[1], 0, 10) == -ESPIPE);
    CALL1(SC_close, ends[0]), CALL1(SC_close, ends[1]);
}

static void set_id_bits(void)                           /* TestKernelFilePermissions */
{
    i64 fd = open_file("suid", O_RDWR | O_CREAT | O_EXCL, 0600);
    struct stat st;
    CHECK(truncate_fd((int)fd, 0) == 0 && CALL2(SC_fchmod, fd, 06755) == 0);
    CHECK(mode_of("suid") == (S_IFREG | 06755));
    CHECK(CALL3(SC_write, fd, buffer, 8) == 8 && CALL2(SC_fstat, fd, &st) == 0 && st.mode == (S_IFREG | 0755));
    CALL2(SC_fchmod, fd, 06755);
    CHECK(CALL3(SC_fchown, fd, CALL0(SC_getuid), CALL0(SC_getgid)) == 0 && mode_of("suid") == (S_IFREG | 0755));
    CALL2(SC_fchmod, fd, 06755);
    CHECK(CALL2(SC_fchmod, fd, 0755) == 0 && mode_of("suid") == (S_IFREG | 0755));
    CALL2(SC_fchmod, fd, 06755);
    CHECK(rename_path("suid", "suid.renamed") == 0 && mode_of("suid.renamed") == (S_IFREG | 06755));
    CALL2(SC_fchmod, fd, 02644);
    CHECK(CALL3(SC_write, fd, buffer, 1) == 1 && mode_of("suid.renamed") == (S_IFREG | 0644));
    CALL1(SC_close, fd);
}

static void descriptors(void)
{
    CHECK(CALL3(SC_fcntl, 0, -42, 0) == -EINVAL);       /* crash-fcntl-invalid-cmd */
    CHECK(CALL3(SC_fcntl, 99, F_GETFD, 0) == -EBADF);
    i64 fd = open_file("made", O_RDWR | O_CLOEXEC | O_APPEND, 0);
    CHECK(CALL3(SC_fcntl, fd, F_GETFD, 0) == 1);
    CHECK((CALL3(SC_fcntl, fd, F_GETFL, 0) & (O_RDWR | O_APPEND | O_NONBLOCK)) == (O_RDWR | O_APPEND));
    CHECK(CALL3(SC_fcntl, fd, F_SETFL, O_NONBLOCK) == 0 && (CALL3(SC_fcntl, fd, F_GETFL, 0) & (O_APPEND | O_NONBLOCK)) == O_NONBLOCK);
    CHECK(CALL2(SC_dup2, fd, 200) == 200 && CALL3(SC_fcntl, 200, F_GETFD, 0) == 0);
    CHECK(CALL2(SC_dup2, fd, fd) == fd && CALL3(SC_fcntl, fd, F_GETFD, 0) == 1);
    CHECK(CALL2(SC_dup2, fd, -1) == -EINVAL && CALL2(SC_dup2, fd, 1024) == -EINVAL && CALL2(SC_dup2, 99, 5) == -EBADF);
    CHECK(CALL3(SC_fcntl, fd, F_DUPFD, 300) == 300 && CALL3(SC_fcntl, 300, F_GETFD, 0) == 0);
    CHECK(CALL3(SC_fcntl, fd, F_DUPFD, -1) == -EINVAL && CALL3(SC_fcntl, fd, F_DUPFD, 1024) == -EMFILE);
    CHECK(CALL3(SC_fcntl, 300, F_SETFD, 1) == 0 && CALL3(SC_fcntl, 300, F_GETFD, 0) == 1);
    CHECK(CALL3(SC_fcntl, fd, F_ISTTY, 0) == 0);
    struct flock lock = {1, 0, 0, 10, 0};
    CHECK(CALL3(SC_fcntl, fd, F_SETLK, &lock) == 0);
    i64 other = open_file("made", O_RDWR, 0);
    struct flock asked = {1, 0, 5, 0, 0};
    CHECK(CALL3(SC_fcntl, other, F_SETLK, &asked) == -EAGAIN);
    CHECK(CALL3(SC_fcntl, other, F_GETLK, &asked) == 0 && asked.type == 1 && asked.start == 0 && asked.length == 10);
    CHECK(asked.pid == CALL0(SC_getpid));
    lock.type = 2;
    CHECK(CALL3(SC_fcntl, fd, F_SETLK, &lock) == 0 && CALL3(SC_fcntl, other, F_GETLK, &asked) == 0 && asked.type == 2);
    CHECK(CALL3(SC_fcntl, fd, F_SETLK, 8) == -EFAULT);
    CALL1(SC_close, other), CALL1(SC_close, fd), CALL1(SC_close, 200), CALL1(SC_close, 300);
    i32 ends[2];
    CHECK(CALL2(SC_pipe, ends, O_APPEND) == -EINVAL);
    CHECK(CALL2(SC_pipe, ends, O_CLOEXEC | O_NONBLOCK) == 0 && CALL3(SC_fcntl, ends[0], F_GETFD, 0) == 1);
    CHECK(CALL3(SC_read, ends[0], buffer, 1) == -EAGAIN);
    CHECK(CALL3(SC_fcntl, ends[0], F_SETLK, &lock) == -EBADF);
    CALL1(SC_close, ends[0]), CALL1(SC_close, ends[1]);
    CHECK(CALL2(SC_pipe, 8, 0) == -EFAULT);
}

static void descriptor_links(void)                      /* TestProcFS */
{
    static const char *const paths[] = {"/proc/self/fd/255", "/proc/self/fd/215", "/proc/self/fd/216", "/proc/self/fd/1023"};
    static const int numbers[] = {255, 215, 216, 1023};
    static char own[300], other[300];
    i64 size = read_link("/proc/self/fd/0", own, sizeof own);
    CHECK(size > 0);
    for (int n = 0; n < 4; n++) {
        CHECK(CALL2(SC_dup2, 0, numbers[n]) == numbers[n]);
        CHECK(read_link(paths[n], other, sizeof other) == size && same(own, other));
        CALL1(SC_close, numbers[n]);
    }
}

static void bad_memory(void)                            /* TestEFault */
{
    char *page = (char *)map(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    i64 fd = open_file("/dev/zero", O_RDONLY, 0);
    if ((i64)page < 0) {
        CHECK(fd >= 0);
        return;
    }
    CHECK(CALL2(SC_munmap, page, 4096) == 0 && CALL2(SC_munmap, page + 8192, 4096) == 0);
    char *p = page + 4096;
    CHECK(CALL3(SC_read, fd, p, 4096) == 4096);
    CHECK(CALL3(SC_read, fd, p, 4097) == -EFAULT && CALL3(SC_read, fd, p - 1, 4096) == -EFAULT);
    CHECK(CALL3(SC_read, fd, p, 0x50000000) == -EFAULT && CALL3(SC_read, fd, 0x1ffe000000, 1) == -EFAULT);
    CALL1(SC_close, fd);
    fd = open_file("few", O_RDWR | O_CREAT, 0600);
    CHECK(CALL3(SC_write, fd, p, 4097) == -EFAULT && CALL3(SC_write, fd, "0123", 4) == 4);
    seek((int)fd, 0, 0);
    CHECK(CALL3(SC_read, fd, p + 4094, 2) == 2 && CALL3(SC_read, fd, p + 4095, 2) == -EFAULT && seek((int)fd, 0, 1) == 2);
    CHECK(CALL3(SC_read, fd, p + 4094, 100) == 2);      /* what the file does not have need not be there */
    CALL1(SC_close, fd);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    open_errors();
    neither_read_nor_written();
    nothing();
    offsets();
    room();
    set_id_bits();
    descriptors();
    descriptor_links();
    bad_memory();
    return 0;
}
