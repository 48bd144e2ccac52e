/* unveil: what may be asked for, what is shown then, and what fork and exec make of it. */
#include "sy.h"

struct faccessat_params { i32 dirfd; struct string path; i32 mode, flags; };
struct link_params { struct string old, new; };
struct symlink_params { struct string target, linkpath; i32 dirfd; };
struct readlink_params { struct string path, buffer; i32 dirfd; };
static char here[512];
static const char *self;

static i64 look(const char *path)
{
    struct faccessat_params params = {AT_FDCWD, string(path), 0, 0};
    return CALL1(SC_faccessat, &params);
}
static i64 raw(int flags, const void *path, word length_, const void *letters, word nletters)
{
    struct unveil_params params = {flags, {path, length_}, {letters, nletters}};
    return CALL1(SC_unveil, &params);
}
static i64 later(const char *path, const char *letters)
{
    struct unveil_params params = {2, string(path), string(letters)};
    return CALL1(SC_unveil, &params);
}
static i64 execute(const char *path, const char *argument)
{
    struct string words[2] = {string(path), string(argument)};
    struct execve_params params = {string(path), {words, 2}, {NULL, 0}};
    return CALL1(SC_execve, &params);
}
/* A name in the directory the program was started in; each of four calls has its own room. */
static const char *in(const char *name)
{
    static char rooms[4][700];
    static int next;
    char *room = rooms[next++ & 3], *to = room;
    for (const char *from = here; *from; ) *to++ = *from++;
    *to++ = '/';
    while (*name) *to++ = *name++;
    *to = 0;
    return room;
}
static void make(const char *name) { CALL1(SC_close, open_file(name, O_WRONLY | O_CREAT, 0644)); }
static i64 make_directory(const char *path) { return CALL4(SC_mkdir, AT_FDCWD, path, length(path), 0755); }
static i64 make_link(const char *target, const char *path)
{
    struct symlink_params params = {string(target), string(path), AT_FDCWD};
    return CALL1(SC_symlink, &params);
}
static i64 take_away(const char *path) { return CALL4(SC_unlink, AT_FDCWD, path, length(path), 0); }
static i64 opened(const char *path, int options)
{
    i64 fd = open_file(path, options, 0644);
    if (fd >= 0) CALL1(SC_close, fd);
    return fd < 0 ? fd : 0;
}

static void arguments(void)
{
    /* TestKernelUnveil: argument validation */
    CHECK(unveil("/etc", "aaaaaaaaaaaa") == -EINVAL);
    CHECK(unveil(NULL, "r") == -EINVAL);
    CHECK(unveil("/etc", NULL) == -EINVAL);
    CHECK(unveil("", "r") == -EINVAL);
    CHECK(unveil("test", "r") == -EINVAL);
    CHECK(unveil("/etc", "f") == -EINVAL);
    /* their order */
    CHECK(CALL1(SC_unveil, 16) == -EFAULT);
    CHECK(raw(0, (void *)16, 4, "r", 1) == -EINVAL && raw(4, "/etc", 4, "r", 1) == -EINVAL);
    CHECK(raw(1, (void *)16, 4, "rrrrrr", 6) == -EINVAL);
    CHECK(raw(1, (void *)16, 0, "r", 1) == -EINVAL && raw(1, (void *)16, 4097, "r", 1) == -ENAMETOOLONG);
    CHECK(raw(1, (void *)16, 4, "f", 1) == -EFAULT);
    CHECK(raw(1, "etc", 3, (void *)16, 1) == -EINVAL && raw(1, "/etc", 4, (void *)16, 1) == -EFAULT);
    CHECK(unveil("/etc/no such file", "f") == -EINVAL && unveil("/etc/no such file", "r") == -ENOENT);
    CHECK(unveil("/etc/passwd/x", "c") == -ENOTDIR);
    CHECK(look("/etc/passwd") == 0);                             /* nothing of all that unveiled anything */
}

static void failures_of_the_test(void)
{
    /* TestKernelUnveil: failures */
    CHECK(unveil("/etc", "r") == 0);
    CHECK(unveil("/etc", "w") == -EPERM && unveil("/etc", "x") == -EPERM && unveil("/etc", "c") == -EPERM);
    CHECK(unveil(in("doesnotexist"), "c") == 0);
    CHECK(unveil("/home", "b") == 0);
    CHECK(unveil("/home", "w") == -EPERM && unveil("/home", "x") == -EPERM && unveil("/home", "c") == -EPERM);
    CHECK(unveil(NULL, NULL) == 0);
    CHECK(unveil("/bin", "w") == -EPERM);
    CHECK(look("/bin/id") == -ENOENT);
    CHECK(look("/etc/passwd") == 0 && look("/etc/no such file") == -ENOENT);
    CHECK(opened("/etc/passwd", O_RDONLY) == 0 && opened("/etc/passwd", O_WRONLY) == -EACCES);
    CHECK(opened("/etc", O_RDONLY | O_DIRECTORY) == 0 && opened("/home", O_RDONLY | O_DIRECTORY) == 0);
    CHECK(opened("/home", O_RDONLY) == -EACCES);
    CHECK(CALL2(SC_chdir, "/", 1) == -ENOENT && CALL2(SC_chdir, "/etc", 4) == 0);
    CHECK(look("passwd") == 0 && look("../etc/passwd") == 0 && look("../bin") == -ENOENT);
    CHECK(unveil(NULL, NULL) == 0);                              /* locking twice is no error */
    CHECK(raw(2, "/etc", 4, "w", 1) == 0 && raw(3, "/etc", 4, "w", 1) == -EPERM);
    leave(failures);
}

static void of_a_tree(void)
{
    CHECK(unveil(in("d/deep"), "r") == 0);
    CHECK(look(in("d/deep/f")) == 0 && look(in("d/f")) == -ENOENT && look(in("d")) == -ENOENT && look("/") == -ENOENT);
    CHECK(unveil(in("d"), "rw") == 0);                           /* only on the way until now: it may be raised */
    CHECK(opened(in("d/f"), O_RDWR) == 0 && opened(in("d/deep/f"), O_RDWR) == -EACCES);
    CHECK(unveil(in("d/deep"), "rw") == -EPERM && unveil(in("d/deep"), "") == 0);
    CHECK(look(in("d/deep/f")) == -ENOENT && unveil(in("d/deep"), "r") == -EPERM);
    CHECK(unveil(in("d/new"), "rwc") == 0);                      /* what is not there yet, but may be made */
    CHECK(opened(in("d/new"), O_WRONLY | O_CREAT) == 0 && opened(in("d/other"), O_WRONLY | O_CREAT) == -EACCES);
    CHECK(take_away(in("d/f")) == -EACCES && take_away(in("d/new")) == 0);
    CHECK(make_link(in("d/f"), in("d/new")) == 0 && take_away(in("d/new")) == 0);      /* what is named is rw, and where it goes */
    CHECK(make_link("/etc/passwd", in("d/new")) == -ENOENT && make_link("/no such", in("d/new")) == 0 && take_away(in("d/new")) == 0);
    CHECK(unveil("/etc", "r") == 0 && make_link("/etc/passwd", in("d/new")) == -EACCES);
    struct link_params linked = {string(in("d/deep/f")), string(in("d/new"))};
    CHECK(CALL1(SC_link, &linked) == -ENOENT);
    CHECK(opened(self, O_EXEC) == -ENOENT && execute(self, "x") == -ENOENT);
    CHECK(unveil(self, "r") == 0 && execute(self, "x") == -EACCES);
    leave(failures);
}

static void of_links(void)
{
    /* unveil-symlinks: a link is shown by itself, not by what it leads to */
    CHECK(unveil(in("d"), "r") == 0 && unveil(NULL, NULL) == 0);
    CHECK(opened(in("d/deep"), O_RDONLY) == 0);
    CHECK(opened(in("link/deep"), O_RDONLY) == -ENOENT && look(in("link")) == -ENOENT && look(in("link/f")) == -ENOENT);
    CHECK(CALL2(SC_chdir, here, length(here)) == -ENOENT);       /* so that ./d/deep and ./link/deep cannot be tried, as there */
    leave(failures);
}
static void of_a_link_unveiled(void)
{
    CHECK(unveil(in("link"), "r") == 0);                         /* what it leads to is unveiled, not the link */
    CHECK(opened(in("d/f"), O_RDONLY) == 0 && opened(in("link/f"), O_RDONLY) == -ENOENT);
    CHECK(unveil(here, "b") == 0);                               /* now the link is there, to look at; not to read through */
    CHECK(look(in("link/f")) == 0 && opened(in("link/f"), O_RDONLY) == -EACCES && opened(in("d/f"), O_RDONLY) == 0);
    leave(failures);
}
static void locked_at_once(void)
{
    CHECK(unveil(NULL, NULL) == 0);
    CHECK(look("/") == -ENOENT && look("/etc/passwd") == -ENOENT && unveil("/etc", "r") == -EPERM);
    leave(failures);
}
static void child_unveils(void) { leave(unveil("/usr", "r") == 0 && look("/usr") == 0 ? 0 : 1); }
static void of_fork(void)
{
    CHECK(unveil("/etc", "r") == 0);
    CHECK(in_child(child_unveils) == 256);
    CHECK(look("/usr") == -ENOENT && look("/etc") == 0);         /* the child's veil is its own */
    CHECK(unveil(NULL, NULL) == 0 && in_child(child_unveils) == 256 + 1);
    leave(failures);
}
static void exec_clears_the_veil(void) { unveil(self, "rx"); unveil(NULL, NULL); execute(self, "clear"); leave(77); }
static void exec_takes_the_later_one(void) { later("/etc", "r"); look("/usr") == 0 ? execute(self, "inherited") : 0; leave(77); }
static void exec_once(void) { later("/etc", "r"); later(self, "rx"); execute(self, "twice"); leave(77); }

static int as_next_program(const char *what)
{
    if (same(what, "clear")) return look("/") == 0 && look("/etc/passwd") == 0 && unveil("/etc", "r") == 0 && look("/usr") == -ENOENT ? 0 : 1;
    if (same(what, "inherited")) {
        if (look("/usr") != -ENOENT || look("/etc/passwd") || opened("/etc/passwd", O_WRONLY) != -EACCES) return 1;
        if (unveil("/usr", "r") || look("/usr") != -ENOENT) return 2;                /* it succeeds and does nothing */
        if (raw(3, "/usr", 4, "r", 1) || unveil("/no such", "r") || raw(1, NULL, 0, "r", 1)) return 3;
        if (unveil(NULL, NULL) || unveil("/usr", "r") != -EPERM) return 4;           /* now it is locked by itself */
        return 0;
    }
    if (same(what, "twice")) { if (look("/usr") != -ENOENT) return 1; execute(self, "clear"); return 2; }
    return 9;
}

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    self = (const char *)aux(AT_EXECFN)->value;
    if (argc > 1) return as_next_program(argv[1]);
    CHECK(CALL2(SC_getcwd, here, sizeof here) > 1);
    make_directory("d"), make_directory("d/deep"), make("d/f"), make("d/deep/f");
    CHECK(make_link("d", "link") == 0);
    arguments();
    CHECK(in_child(failures_of_the_test) == 256);
    CHECK(in_child(of_a_tree) == 256);
    CHECK(in_child(of_links) == 256);
    CHECK(in_child(of_a_link_unveiled) == 256);
    CHECK(in_child(locked_at_once) == 256);
    CHECK(in_child(of_fork) == 256);
    CHECK(in_child(exec_clears_the_veil) == 256);
    CHECK(in_child(exec_takes_the_later_one) == 256);
    CHECK(in_child(exec_once) == 256);
    CHECK(look("/usr") == 0);
    return 0;
}
