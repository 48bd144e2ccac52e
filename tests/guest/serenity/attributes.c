/* What a file is and who may change it: stat, access, modes, owners, times. */
#include "fs.h"

static i64 change_mode(const char *path, int mode, int follow)
{
    struct chmod_params params = {AT_FDCWD, string(path), (u16)mode, follow};
    return CALL1(SC_chmod, &params);
}
static i64 change_owner(const char *path, u32 uid, u32 gid)
{
    struct chown_params params = {string(path), uid, gid, AT_FDCWD, 1};
    return CALL1(SC_chown, &params);
}
static i64 set_times(const char *path, const i64 *times, int flag)
{
    struct utimensat_params params = {AT_FDCWD, string(path), times, flag};
    return CALL1(SC_utimensat, &params);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    struct stat st;
    u32 me = (u32)CALL0(SC_getuid), mine = (u32)CALL0(SC_getgid);
    i64 fd = open_file("file", O_RDWR | O_CREAT, 0777);
    CHECK(fd >= 0 && CALL3(SC_write, fd, "hello", 5) == 5);
    CHECK(CALL2(SC_fstat, fd, &st) == 0 && st.size == 5 && st.mode == (S_IFREG | 0755) && st.nlink == 1);
    CHECK(st.uid == me && st.gid == mine && st.dev == 0 && st.ino != 0 && st.blksize > 0);
    CHECK(CALL2(SC_fstat, fd, 8) == -EFAULT && CALL2(SC_fstat, 99, &st) == -EBADF);
    CHECK(stat_path("", &st, 1) == -EINVAL && stat_path("missing", &st, 1) == -ENOENT && stat_path("file", (struct stat *)8, 1) == -EFAULT);

    CHECK(change_mode("file", 0640, 1) == 0 && mode_of("file") == (S_IFREG | 0640) && change_mode("missing", 0, 1) == -ENOENT);
    CHECK(CALL2(SC_fchmod, fd, 07777) == 0 && mode_of("file") == (S_IFREG | 07777));
    CHECK(change_owner("file", (u32)-1, (u32)-1) == 0 && mode_of("file") == (S_IFREG | 01777));
    CHECK(change_owner("file", me, mine) == 0 && change_owner("missing", me, mine) == -ENOENT);
    i32 ends[2];
    CHECK(CALL2(SC_pipe, ends, 0) == 0 && CALL2(SC_fchmod, ends[0], 0600) == -EBADF && CALL3(SC_fchown, ends[0], me, mine) == -EBADF);

    CHECK(access_path("file", 0) == 0 && access_path("file", 7) == 0 && access_path("missing", 0) == -ENOENT);
    struct access_params bad = {AT_FDCWD, string("file"), 4, 0x1};
    CHECK(CALL1(SC_faccessat, &bad) == -EINVAL);
    CHECK(change_mode("file", 0, 1) == 0);
    CHECK(me ? access_path("file", 4) == -EACCES && access_path("file", 1) == -EACCES : access_path("file", 7) == 0);
    CHECK(me ? open_file("file", O_RDONLY, 0) == -EACCES : 1);
    CHECK(change_mode("file", 0644, 1) == 0);

    i64 times[4] = {1000, 5, 2000, 7};
    CHECK(set_times("file", times, 0) == 0 && stat_path("file", &st, 1) == 0);
    CHECK(st.times[0] == 1000 && st.times[1] == 5 && st.times[2] == 2000 && st.times[3] == 7);
    times[0] = 1, times[1] = -1, times[3] = -2;         /* one stays, one is now */
    CHECK(set_times("file", times, 0) == 0 && stat_path("file", &st, 1) == 0 && st.times[0] == 1000 && st.times[2] > 1000000000);
    CHECK(set_times("missing", times, 0) == -ENOENT && set_times("file", (i64 *)8, 0) == -EFAULT);
    CHECK(set_times("file", NULL, 0) == 0 && stat_path("file", &st, 1) == 0 && st.times[0] > 1000000000);
    i64 seconds[2] = {11, 22};
    CHECK(CALL3(SC_utime, "file", 4, seconds) == 0 && stat_path("file", &st, 1) == 0 && st.times[0] == 11 && st.times[2] == 22);
    CHECK(CALL3(SC_utime, "file", 4, NULL) == 0 && CALL3(SC_utime, "", 0, NULL) == -EINVAL);
    CHECK(CALL1(SC_fsync, fd) == 0 && CALL0(SC_sync) == 0 && CALL1(SC_fsync, 99) == -EBADF);

    struct mount_params mount = {string("."), string("tmp"), -1, 0};
    CHECK(me ? CALL1(SC_mount, &mount) == -EPERM && CALL2(SC_umount, ".", 1) == -EPERM : CALL2(SC_umount, "file", 4) == -ENODEV);
    return 0;
}
