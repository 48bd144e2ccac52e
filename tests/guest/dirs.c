/* Names: directories, links, renames, and the paths between them.
 * builds: x64 i386
 */
#include "case.h"
#include <dirent.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *path)
{
    char *names[64], line[2048] = "";
    int n = 0;
    DIR *dir = opendir(path);
    if (!dir) { say("opendir %s -> %s", path, errno_name(errno)); return; }
    for (struct dirent *entry; (entry = readdir(dir)) && n < 64;) {
        char text[300];
        snprintf(text, sizeof text, "%s/%d", entry->d_name, entry->d_type);
        names[n++] = strdup(text);
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) strcat(strcat(line, " "), names[i]);
    say("%s:%s", path, line);
}

CASE(mkdir_rmdir)
{
    T(mkdir("d", 0755));
    T(mkdir("d", 0755));
    T(mkdir("d/e/f", 0755));
    T(mkdir("slash/", 0755));
    T(mkdir("/", 0755));
    T(mkdir("", 0755));
    T(rmdir("d/."));
    T(rmdir("d/.."));
    T(rmdir("."));
    T(rmdir("/"));
    T(mkdir("d/e", 0755));
    T(rmdir("d"));
    T(rmdir("d/e"));
    T(rmdir("d/"));
    T(rmdir("d"));
    put("file", "", 0, 0600);
    T(rmdir("file"));
    T(mkdir("file/x", 0755));
    T(unlink("slash"));
    T(unlinkat(AT_FDCWD, "slash", AT_REMOVEDIR));
    T(unlinkat(AT_FDCWD, "file", AT_REMOVEDIR));
    T(unlinkat(AT_FDCWD, "file", 0x999));
    T(unlink("file/"));
    T(unlink("none"));
    T(unlink(""));
    list(".");
}

CASE(getdents)
{
    mkdir("d", 0755);
    put("f", "", 0, 0600);
    symlink("f", "l");
    mkfifo("p", 0600);
    list(".");
    list("d");
    list("f");
    list("none");
    T(open(".", O_RDONLY));
    char b[2048];
    T(read(3, b, 10));
    T(syscall(SYS_getdents64, 3, b, 4));
    IS(syscall(SYS_getdents64, 3, b, sizeof b) > 0);
    T(syscall(SYS_getdents64, 3, b, sizeof b));
    T(lseek(3, 0, SEEK_SET));
    IS(syscall(SYS_getdents64, 3, b, sizeof b) > 0);
    T(open("f", O_RDONLY));
    T(syscall(SYS_getdents64, 4, b, sizeof b));
    T(rmdir("d"));
    T(open("gone", O_RDONLY));
    mkdir("gone", 0700);
    T(open("gone", O_RDONLY));
    T(rmdir("gone"));
    T(syscall(SYS_getdents64, 5, b, sizeof b));
    T(openat(5, "new", O_CREAT | O_WRONLY, 0600));
}

CASE(many_entries)
{
    char name[32];
    int seen = 0, sum = 0;
    for (int i = 0; i < 500; i++) { snprintf(name, sizeof name, "entry%03d", i); close(open(name, O_CREAT | O_WRONLY, 0600)); }
    DIR *dir = opendir(".");
    for (struct dirent *entry; (entry = readdir(dir));) if (entry->d_name[0] == 'e') seen++, sum += atoi(entry->d_name + 5);
    say("%d entries, sum %d", seen, sum);
    rewinddir(dir);
    seen = 0;
    for (struct dirent *entry; (entry = readdir(dir));) { if (entry->d_name[0] == 'e') { unlink(entry->d_name); seen++; } }
    say("%d removed while reading", seen);
    closedir(dir);
    list(".");
}

CASE(renames)
{
    put("a", "A", 1, 0600);
    put("b", "B", 1, 0600);
    mkdir("d", 0755);
    mkdir("e", 0755);
    put("e/x", "X", 1, 0600);
    T(rename("a", "b"));
    T(rename("a", "c"));
    T(rename("b", "d"));
    T(rename("d", "b"));
    T(rename("d", "e"));
    T(rename("e", "d"));
    T(rename("d", "d/sub"));
    T(rename("d", "d"));
    T(rename("d/.", "q"));
    T(rename("d/..", "q"));
    T(rename(".", "q"));
    T(rename("b", "b/"));
    T(rename("d/", "q/"));
    T(rename("b", "none/b"));
    T(rename("", "b"));
    T(rename("b", ""));
    T(link("b", "same"));
    T(rename("b", "same"));
    T(access("b", F_OK));
    list(".");
    list("q");
    T(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "same", 1));
    T(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "fresh", 1));
    T(syscall(SYS_renameat2, AT_FDCWD, "fresh", AT_FDCWD, "q", 2));
    T(syscall(SYS_renameat2, AT_FDCWD, "fresh", AT_FDCWD, "none", 2));
    T(syscall(SYS_renameat2, AT_FDCWD, "fresh", AT_FDCWD, "q", 3));
    T(syscall(SYS_renameat2, AT_FDCWD, "fresh", AT_FDCWD, "q", 64));
    list(".");
}

CASE(rename_across_parents)
{
    struct stat st;
    mkdir("a", 0755), mkdir("b", 0755), mkdir("a/c", 0755);
    put("a/c/f", "x", 1, 0600);
    T(rename("a/c", "b/c"));
    stat("a", &st);
    say("a nlink %d", (int)st.st_nlink);
    stat("b", &st);
    say("b nlink %d", (int)st.st_nlink);
    T(access("b/c/f", F_OK));
    T(chdir("b/c"));
    T(rename("../../b", "../../moved"));
    char b[300];
    getcwd(b, sizeof b);
    say("%s", strrchr(b, '/') - 5);
    T(access("f", F_OK));
}

CASE(links)
{
    struct stat a, b;
    put("a", "x", 1, 0600);
    T(link("a", "b"));
    T(link("a", "b"));
    stat("a", &a), stat("b", &b);
    say("nlink %d same %d", (int)a.st_nlink, a.st_ino == b.st_ino);
    T(link("none", "c"));
    T(link(".", "c"));
    T(link("a", "c/"));
    T(symlink("a", "l"));
    T(link("l", "hard"));
    lstat("hard", &b);
    say("%o", b.st_mode & S_IFMT);
    T(linkat(AT_FDCWD, "l", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
    lstat("followed", &b);
    say("%o nlink %d", b.st_mode & S_IFMT, (int)b.st_nlink);
    int fd = open("a", O_RDWR);
    T(linkat(fd, "", AT_FDCWD, "by_fd", AT_EMPTY_PATH));
    T(linkat(AT_FDCWD, "a", AT_FDCWD, "z", 0x999000));
    T(unlink("a"));
    fstat(fd, &a);
    say("nlink %d", (int)a.st_nlink);
    list(".");
}

CASE(symlinks)
{
    char b[64];
    T(symlink("target", "l"));
    T(symlink("target", "l"));
    T(symlink("", "m"));
    T(symlink("x", "none/m"));
    memset(b, '#', sizeof b);
    T(readlink("l", b, sizeof b));
    say("%.8s", b);
    T(readlink("l", b, 3));
    T(readlink("l", b, 0));
    T(readlink(".", b, sizeof b));
    T(readlink("none", b, sizeof b));
    T(readlink("l/", b, sizeof b));
    int fd = open("l", O_PATH | O_NOFOLLOW);
    T(readlinkat(fd, "", b, sizeof b));
    mkdir("real", 0755);
    put("real/f", "x", 1, 0600);
    T(symlink("real", "dir"));
    T(access("dir/f", F_OK));
    T(access("dir/../real/f", F_OK));
    T(rmdir("dir"));
    T(mkdir("dir", 0755));
    T(open("dir/", O_RDONLY | O_NOFOLLOW));
    T(open("dir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    T(unlink("dir/"));
    T(unlink("dir"));
    T(symlink("self", "self"));
    T(access("self", F_OK));
    T(access("self/x", F_OK));
    T(mkdir("self", 0700));
    list(".");
}

CASE(link_depth)
{
    char from[16], to[16];
    put("n0", "", 0, 0600);
    for (int i = 1; i <= 41; i++) {
        snprintf(from, sizeof from, "n%d", i), snprintf(to, sizeof to, "n%d", i - 1);
        symlink(to, from);
    }
    T(access("n39", F_OK));
    T(access("n40", F_OK));
    T(access("n41", F_OK));
}

CASE(current_directory)
{
    char b[512], top[512];
    getcwd(top, sizeof top);
    size_t skip = strlen(top);
    T(mkdir("d", 0755));
    T(chdir("d"));
    T(syscall(SYS_getcwd, b, sizeof b) == (long)(skip + 3));
    say("%s", b + skip);
    T(syscall(SYS_getcwd, b, 2));
    T(chdir("none"));
    T(chdir(".."));
    put("f", "", 0, 0600);
    T(chdir("f"));
    int fd = open("d", O_RDONLY), file = open("f", O_RDONLY);
    T(fchdir(fd));
    T(fchdir(file));
    T(fchdir(99));
    T(rmdir("../d"));
    T(syscall(SYS_getcwd, b, sizeof b));
    T(open("new", O_CREAT | O_WRONLY, 0600));
    T(mkdir("sub", 0700));
    T(chdir(".."));
    T(access("../d", F_OK));
    CHILD T(chroot(".")); T(chdir("/")); T(access("/f", F_OK)); T(access("/../../f", F_OK)); getcwd(b, sizeof b); say("%s", b); REAPED
}

CASE(relative_to_descriptors)
{
    mkdir("d", 0755);
    put("f", "", 0, 0600);
    int d = open("d", O_RDONLY | O_DIRECTORY), f = open("f", O_RDONLY), p = open("d", O_PATH);
    T(openat(d, "a", O_CREAT | O_WRONLY, 0600));
    T(openat(p, "a", O_RDONLY));
    T(openat(f, "a", O_RDONLY));
    T(openat(99, "a", O_RDONLY));
    T(mkdirat(d, "sub", 0755));
    T(symlinkat("a", d, "l"));
    T(renameat(d, "a", AT_FDCWD, "moved"));
    T(linkat(AT_FDCWD, "moved", d, "back", 0));
    T(unlinkat(d, "l", 0));
    T(mknodat(d, "fifo", S_IFIFO | 0600, 0));
    T(mknodat(d, "plain", S_IFREG | 0600, 0));
    T(mknodat(d, "plain", S_IFREG | 0600, 0));
    T(mknodat(d, "odd", S_IFDIR | 0600, 0));
    T(fchownat(d, "plain", 1, 1, 0));
    T(faccessat(d, "sub", X_OK, 0));
    list("d");
    list(".");
}

#ifdef SYS_openat2
CASE(openat2_rules)
{
    struct { uint64_t flags, mode, resolve; } how = {O_RDONLY, 0, 0};
    mkdir("d", 0755);
    put("d/f", "", 0, 0600);
    put("out", "", 0, 0600);
    symlink("../out", "d/up");
    symlink("f", "d/in");
    symlink("/etc/passwd", "d/abs");
    int d = open("d", O_RDONLY);
#define AT2(PATH, FLAGS) (how.resolve = FLAGS, syscall(SYS_openat2, d, PATH, &how, sizeof how))
    T(AT2("f", 0));
    T(AT2("up", 8 /* BENEATH */));
    T(AT2("../out", 8));
    T(AT2("in", 8));
    T(AT2("abs", 8));
    T(AT2("in", 4 /* NO_SYMLINKS */));
    T(AT2("abs", 16 /* IN_ROOT */));
    T(AT2("../f", 16));
    T(AT2("/f", 16));
    T(AT2("f", 24));
    T(AT2("f", 0x1000));
    how.mode = 0600;
    T(AT2("f", 0));
    T(syscall(SYS_openat2, d, "f", &how, 8));
}
#endif

CASE(fifos)
{
    char b[8] = {0};
    T(mkfifo("p", 0600));
    T(mkfifo("p", 0600));
    T(open("p", O_WRONLY | O_NONBLOCK));
    T(open("p", O_RDONLY | O_NONBLOCK));
    T(read(3, b, 8));
    T(open("p", O_WRONLY | O_NONBLOCK));
    T(read(3, b, 8));
    T(write(4, "hello", 5));
    T(read(3, b, 8));
    say("%s", b);
    T(close(4));
    T(read(3, b, 8));
    T(close(3));
    pid_t pid = fork();
    if (pid == 0) { int fd = open("p", O_WRONLY); write(fd, "child", 5); _exit(0); }
    T(open("p", O_RDONLY));
    T(read(3, b, 5));
    say("%s", b);
    T(read(3, b, 5));
    reap(pid);
}

CASE(statfs_of_root)
{
    struct statfs fs;
    T(statfs("/proc", &fs));
    say("type %lx", (unsigned long)fs.f_type);
    T(statfs("none", &fs));
    T(fstatfs(99, &fs));
    T(statfs(".", &fs));
    IS(fs.f_bsize > 0 && fs.f_namelen == 255);
}
