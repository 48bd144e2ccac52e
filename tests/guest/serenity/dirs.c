/* Names: making, moving, removing, links and where they lead, directories as they are told, and watched. */
#include "fs.h"

static char text[8192];

static void directories(void)
{
    CHECK(make_dir("d", 0755) == 0 && make_dir("d", 0755) == -EEXIST && make_dir("/", 0755) == -EEXIST);
    CHECK(make_dir("slashes///", 0700) == 0 && mode_of("slashes") == (S_IFDIR | 0700));
    CHECK(make_dir("missing/d", 0755) == -ENOENT && make_dir("", 0755) == -EINVAL);
    i64 fd = open_file("f", O_RDWR | O_CREAT, 0644);
    CHECK(make_dir("f/d", 0755) == -ENOTDIR);
    CHECK(remove_dir("f") == -ENOTDIR && remove_dir("missing") == -ENOENT && remove_dir("/") == -EBUSY);
    CHECK(make_dir("d/e", 0755) == 0 && remove_dir("d") == -ENOTEMPTY);
    CHECK(unlink_path("d/e", 0) == -EISDIR && unlink_path("d/e", AT_REMOVEDIR) == 0 && unlink_path("d/e", 0x100) == -EINVAL);
    CHECK(remove_dir("slashes") == 0);
    CHECK(CALL2(SC_fchmod, fd, 0600) == 0 && CALL1(SC_fchdir, fd) == -ENOTDIR);
    CALL1(SC_close, fd);
    CHECK(CALL1(SC_umask, 077) == 022 && make_dir("masked", 0777) == 0 && mode_of("masked") == (S_IFDIR | 0700));
    CHECK(CALL1(SC_umask, 022) == 077);
}

static void entries(void)
{
    CHECK(make_dir("list", 0755) == 0);
    CALL1(SC_close, open_file("list/file", O_WRONLY | O_CREAT, 0644));
    CHECK(make_dir("list/sub", 0755) == 0 && symlink_path("file", "list/link") == 0);
    i64 fd = open_file("list", O_RDONLY, 0);
    i64 size = CALL3(SC_get_dir_entries, fd, text, sizeof text);
    CHECK(size == 5 * 13 + 1 + 2 + 4 + 3 + 4);
    int seen = 0, kinds = 0;
    for (i64 at = 0; at < size; ) {
        u32 n;
        memcpy(&n, text + at + 9, 4);
        kinds |= 1 << text[at + 8];
        seen++, at += 13 + n;
    }
    CHECK(seen == 5 && kinds == (1 << 4 | 1 << 8 | 1 << 10));
    CHECK(CALL3(SC_get_dir_entries, fd, text, sizeof text) == size);            /* whole, again */
    CHECK(CALL3(SC_get_dir_entries, fd, text, size - 1) == -EINVAL);
    CHECK(CALL3(SC_get_dir_entries, fd, 8, 4096) == -EFAULT);
    CALL1(SC_close, fd);
    fd = open_file("list/file", O_RDONLY, 0);
    CHECK(CALL3(SC_get_dir_entries, fd, text, sizeof text) == -ENOTDIR && CALL3(SC_get_dir_entries, 99, text, 1) == -EBADF);
    CALL1(SC_close, fd);
}

static void links(void)
{
    CHECK(symlink_path("f", "link") == 0 && symlink_path("f", "link") == -EEXIST && symlink_path("", "x") == -EINVAL);
    struct stat one, two;
    CHECK(stat_path("link", &one, 1) == 0 && (one.mode & S_IFMT) == S_IFREG && one.dev == 0);
    CHECK(stat_path("link", &two, 0) == 0 && (two.mode & S_IFMT) == S_IFLNK && two.size == 1 && two.ino != one.ino);
    CHECK(read_link("link", text, 10) == 1 && text[0] == 'f');
    CHECK(symlink_path("absent/name", "longer") == 0 && read_link("longer", text, 3) == 11 && text[2] == 's');
    CHECK(read_link("f", text, 10) == -EINVAL && read_link("missing", text, 10) == -ENOENT);
    CHECK(open_file("link", O_RDONLY | O_NOFOLLOW, 0) == -ELOOP && open_file("longer", O_RDONLY, 0) == -ENOENT);
    CHECK(symlink_path("round", "round") == 0 && open_file("round", O_RDONLY, 0) == -ELOOP);
    char name[] = "chain0", to[] = "chain0";
    CALL1(SC_close, open_file("chain0", O_WRONLY | O_CREAT, 0644));
    for (char n = '1'; n <= '9'; n++) name[5] = n, to[5] = (char)(n - 1), symlink_path(to, name);
    CHECK(open_file("chain9", O_RDONLY, 0) == -ELOOP);
    i64 fd = open_file("chain8", O_RDONLY, 0);
    CHECK(fd >= 0);
    CALL1(SC_close, fd);
    CHECK(link_path("f", "hard") == 0 && stat_path("hard", &two, 1) == 0 && two.ino == one.ino && two.nlink == 2);
    CHECK(link_path("f", "hard") == -EEXIST && link_path("d", "dlink") == -EPERM && link_path("missing", "m") == -ENOENT);
    CHECK(link_path("link", "through") == 0 && (mode_of("through") & S_IFMT) == S_IFREG);
    CHECK(unlink_path("link", 0) == 0 && unlink_path("link", 0) == -ENOENT && unlink_path("f/", 0) == -ENOTDIR);
}

static void renames(void)
{
    CHECK(make_dir("r", 0755) == 0 && make_dir("r/s", 0755) == 0);
    CHECK(rename_path("r", "r/s/t") == -EDIRINTOSELF && rename_path("missing", "x") == -ENOENT);
    CHECK(rename_path("d", "r") == -ENOTEMPTY && rename_path("f", "r") == -EISDIR);
    CHECK(rename_path("/", "x") == -EPERM && rename_path("r/s/.", "x") == -EINVAL && rename_path("hard", "missing/x") == -ENOENT);
    CHECK(rename_path("f", "f") == 0 && rename_path("f", "hard") == 0 && mode_of("hard") > 0);
    CHECK(rename_path("hard", "moved") == 0 && mode_of("hard") == -1 && mode_of("moved") > 0);
    CHECK(rename_path("d", "r/s") == 0 && mode_of("d") == -1 && make_dir("r/s/in", 0755) == 0);
}

static void places(void)
{
    static char here[4096], there[4096];
    i64 size = CALL2(SC_getcwd, here, sizeof here);
    CHECK(size == (i64)length(here) + 1 && here[0] == '/');
    CHECK(CALL2(SC_getcwd, there, 2) == size && there[0] == '/' && there[2] == 0);      /* as much as fits, and all it needs */
    CHECK(CALL2(SC_getcwd, 8, 100) == -EFAULT);
    CHECK(real_path("./r/../r/s/", there, sizeof there) == size + 4 && same(there + size - 1, "/r/s"));
    CHECK(real_path("missing", there, 10) == -ENOENT && real_path("r", there, 1) == size + 2);
    i64 fd = open_file(".", O_RDONLY | O_DIRECTORY, 0);
    CHECK(change_dir("r/s") == 0 && CALL2(SC_getcwd, there, sizeof there) == size + 4);
    CHECK(change_dir("missing") == -ENOENT && change_dir("../../moved") == -ENOTDIR && change_dir("") == -EINVAL);
    CHECK(CALL1(SC_fchdir, fd) == 0 && CALL2(SC_getcwd, there, sizeof there) == size);
    CHECK(CALL1(SC_fchdir, 99) == -EBADF);
    CALL1(SC_close, fd);
    for (unsigned n = 0; n < 300; n++) text[n] = 'n';
    text[300] = 0;
    CHECK(open_file(text, O_RDONLY, 0) == -ENAMETOOLONG);
    struct open_params params = {AT_FDCWD, {text, 4097}, O_RDONLY, 0};
    CHECK(CALL1(SC_open, &params) == -ENAMETOOLONG);
}

static void nodes(void)
{
    struct mknod_params params = {string("fifo"), S_IFIFO | 0644, 0};
    CHECK(CALL1(SC_mknod, &params) == 0 && mode_of("fifo") == (S_IFIFO | 0644) && CALL1(SC_mknod, &params) == -EEXIST);
    CHECK(open_file("fifo", O_EXEC, 0) < 0 && open_file("fifo", 0, 0) == -EINVAL);
    struct mknod_params none = {string("none"), 0644, 0};
    CHECK(CALL1(SC_mknod, &none) < 0);
    struct stat st;
    CHECK(stat_path("/dev/zero", &st, 1) == 0 && (st.mode & S_IFMT) == S_IFCHR && st.rdev == (5 | 1 << 8));
    struct statvfs fs;
    struct statvfs_params vfs = {string("/"), &fs};
    CHECK(CALL1(SC_statvfs, &vfs) == 0 && fs.namemax == 255 && fs.fsid == 0 && fs.bsize > 0);
    i64 fd = open_file("/", O_RDONLY, 0);
    CHECK(CALL2(SC_fstatvfs, fd, &fs) == 0 && CALL2(SC_fstatvfs, 99, &fs) == -EBADF && CALL2(SC_fstatvfs, fd, 8) == -EFAULT);
    CALL1(SC_close, fd);
}

struct watch_params { struct string path; i32 fd; u32 mask; };
struct __attribute__((packed)) watch_event { i32 wd; u32 type; u64 name_length; char name[240]; };
static void in_a_while(void)
{
    i64 pause[2] = {0, 100000000};
    struct { i32 clock, flags; i64 *requested; void *remaining; } params = {1, 0, pause, NULL};
    CALL1(SC_clock_nanosleep, &params);
    make_dir("watched/later", 0755);
}
static void watching(void)
{
    static struct watch_event event;
    CHECK(make_dir("watched", 0755) == 0);
    i64 fd = CALL1(SC_create_inode_watcher, 1);
    struct watch_params params = {string("watched"), (i32)fd, 8 | 16};
    i64 wd = CALL1(SC_inode_watcher_add_watch, &params);
    CHECK(fd >= 0 && wd == 1 && CALL1(SC_inode_watcher_add_watch, &params) == -EEXIST);
    CHECK(CALL3(SC_read, fd, &event, sizeof event) == -EAGAIN);
    CHECK(make_dir("watched/now", 0755) == 0 && CALL3(SC_read, fd, &event, sizeof event) == 20);
    CHECK(event.wd == wd && event.type == 8 && event.name_length == 4 && same(event.name, "now"));
    CHECK(remove_dir("watched/now") == 0 && CALL3(SC_read, fd, &event, sizeof event) == 20 && event.type == 16);
    CHECK(CALL2(SC_inode_watcher_remove_watch, fd, wd) == 0 && CALL2(SC_inode_watcher_remove_watch, fd, wd) == -ENOENT);
    CALL1(SC_close, fd);
    params.fd = (i32)CALL1(SC_create_inode_watcher, 0);
    CHECK(CALL1(SC_inode_watcher_add_watch, &params) == 1);
    i64 pid = CALL0(SC_fork);
    if (!pid) { in_a_while(); leave(0); }
    CHECK(CALL3(SC_read, params.fd, &event, sizeof event) == 22 && event.type == 8 && same(event.name, "later"));
    struct siginfo info;
    struct waitid_params wait = {2, (i32)pid, &info, 4};
    CHECK(CALL1(SC_waitid, &wait) == 0);
    CALL1(SC_close, params.fd);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    directories();
    entries();
    links();
    renames();
    places();
    nodes();
    watching();
    return 0;
}
