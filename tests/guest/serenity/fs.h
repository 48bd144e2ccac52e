/* What programs about files need: structs of parameters and short names for calls that take a path. */
#ifndef FS_H
#define FS_H
#include "sy.h"

struct two_strings { struct string first, second; };
struct rename_params { i32 olddirfd; struct string old; i32 newdirfd; struct string new; };
struct symlink_params { struct string target, linkpath; i32 dirfd; };
struct chmod_params { i32 dirfd; struct string path; u16 mode; i32 follow; };
struct chown_params { struct string path; u32 uid, gid; i32 dirfd, follow; };
struct access_params { i32 dirfd; struct string path; i32 mode, flags; };
struct buffer { void *data; word size; };
struct readlink_params { struct string path; struct buffer buffer; i32 dirfd; };
struct realpath_params { struct string path; struct buffer buffer; };
struct mknod_params { struct string path; u16 mode; u32 dev; };
struct utimensat_params { i32 dirfd; struct string path; const i64 *times; i32 flag; };
struct statvfs { u64 bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flag, namemax; char basetype[16]; };
struct statvfs_params { struct string path; struct statvfs *buffer; };
struct mount_params { struct string target, fs_type; i32 source_fd, flags; };
struct flock { u16 type, whence; i64 start, length; i32 pid; };
struct iovec { const void *base; word length; };
_Static_assert(sizeof(struct rename_params) == 48 && sizeof(struct chmod_params) == 32 && sizeof(struct chown_params) == 32, "layouts");
_Static_assert(sizeof(struct readlink_params) == 40 && sizeof(struct mknod_params) == 24 && sizeof(struct statvfs) == 104, "layouts");
_Static_assert(sizeof(struct flock) == 32 && sizeof(struct utimensat_params) == 40 && sizeof(struct symlink_params) == 40, "layouts");

enum { EDIRINTOSELF = 76, AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200, AT_EACCESS = 0x400 };
enum { S_IFMT = 0170000, S_IFREG = 0100000, S_IFDIR = 0040000, S_IFLNK = 0120000, S_IFIFO = 0010000, S_IFCHR = 0020000 };
enum { F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_ISTTY, F_GETLK, F_SETLK, F_SETLKW };

#define UNUSED __attribute__((unused))
UNUSED static i64 make_dir(const char *path, int mode) { return CALL4(SC_mkdir, AT_FDCWD, path, length(path), mode); }
UNUSED static i64 unlink_path(const char *path, int flags) { return CALL4(SC_unlink, AT_FDCWD, path, length(path), flags); }
UNUSED static i64 remove_dir(const char *path) { return CALL2(SC_rmdir, path, length(path)); }
UNUSED static i64 change_dir(const char *path) { return CALL2(SC_chdir, path, length(path)); }
UNUSED static i64 link_path(const char *old, const char *new)
{
    struct two_strings params = {string(old), string(new)};
    return CALL1(SC_link, &params);
}
UNUSED static i64 rename_path(const char *old, const char *new)
{
    struct rename_params params = {AT_FDCWD, string(old), AT_FDCWD, string(new)};
    return CALL1(SC_rename, &params);
}
UNUSED static i64 symlink_path(const char *target, const char *path)
{
    struct symlink_params params = {string(target), string(path), AT_FDCWD};
    return CALL1(SC_symlink, &params);
}
UNUSED static i64 stat_path(const char *path, struct stat *buffer, int follow)
{
    struct stat_params params = {string(path), buffer, AT_FDCWD, follow};
    return CALL1(SC_stat, &params);
}
UNUSED static i64 access_path(const char *path, int mode)
{
    struct access_params params = {AT_FDCWD, string(path), mode, 0};
    return CALL1(SC_faccessat, &params);
}
UNUSED static i64 read_link(const char *path, void *data, word size)
{
    struct readlink_params params = {string(path), {data, size}, AT_FDCWD};
    return CALL1(SC_readlink, &params);
}
UNUSED static i64 real_path(const char *path, void *data, word size)
{
    struct realpath_params params = {string(path), {data, size}};
    return CALL1(SC_realpath, &params);
}
UNUSED static i64 seek(int fd, i64 offset, int whence)
{
    i64 place = offset;
    i64 result = CALL3(SC_lseek, fd, &place, whence);
    return result ? result : place;
}
UNUSED static i64 truncate_fd(int fd, i64 size) { return CALL2(SC_ftruncate, fd, &size); }
UNUSED static i64 allocate_fd(int fd, i64 offset, i64 size) { return CALL3(SC_posix_fallocate, fd, &offset, &size); }
UNUSED static int mode_of(const char *path)
{
    struct stat buffer;
    return stat_path(path, &buffer, 0) ? -1 : buffer.mode;
}
#endif
