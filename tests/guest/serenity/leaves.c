/* A program that tries to leave its own veil and its promises: every way we know, each in a child of its own, and none leads out.
 *
 * It sees `open` with all permissions, `readable` with r, and itself; `hidden`, with the secret, lies beside them.  It holds
 * descriptors of everything from before.  The veil is locked.
 */
#include "sy.h"

struct link_params { struct string old, new; };
struct rename_params { i32 olddirfd; struct string old; i32 newdirfd; struct string new; };
struct symlink_params { struct string target, linkpath; i32 dirfd; };
struct readlink_params { struct string path, buffer; i32 dirfd; };
static char here[512], proc_path[64];
static i64 hidden_fd, secret_path_fd;

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
static i64 open_at(i64 fd, const char *path, int options)
{
    struct open_params params = {(i32)fd, string(path), options, 0644};
    return CALL1(SC_open, &params);
}
/* Whether a file that was opened gives the secret away: 1, or 0 and not even opened. */
static int gave(i64 fd)
{
    char found = 0;
    if (fd < 0) return 0;
    CALL3(SC_read, fd, &found, 1);
    return found == 'S';
}
static int gives(const char *path) { return gave(open_at(AT_FDCWD, path, O_RDONLY)); }
static int written(const char *path, int options)
{
    i64 fd = open_at(AT_FDCWD, path, options);
    return fd >= 0 && CALL3(SC_write, fd, "X", 1) == 1;
}
static i64 make_link(const char *target, const char *path)
{
    struct symlink_params params = {string(target), string(path), AT_FDCWD};
    return CALL1(SC_symlink, &params);
}
static i64 hard_link(const char *old, const char *new)
{
    struct link_params params = {string(old), string(new)};
    return CALL1(SC_link, &params);
}
static i64 move(const char *old, const char *new)
{
    struct rename_params params = {AT_FDCWD, string(old), AT_FDCWD, string(new)};
    return CALL1(SC_rename, &params);
}
static i64 take_away(const char *path) { return CALL4(SC_unlink, AT_FDCWD, path, length(path), 0); }
static i64 call_82(word n, word a)                               /* the other instruction for calls */
{
    i64 result = (i64)n;
    register word rdx __asm__("rdx") = a;
    __asm__ volatile("int $0x82" : "+a"(result) : "r"(rdx) : "memory");
    return result;
}
static const char *descriptor(i64 fd, const char *rest)          /* /proc/self/fd/N and more */
{
    const char *front = "/proc/self/fd/";
    char *to = proc_path;
    while (*front) *to++ = *front++;
    if (fd >= 10) *to++ = (char)('0' + fd / 10);
    *to++ = (char)('0' + fd % 10);
    while (*rest) *to++ = *rest++;
    *to = 0;
    return proc_path;
}

/* Each attempt leaves with 1 when it came out. */
static void by_its_name(void) { leave(gives(in("hidden/secret")) || gives("../hidden/secret")); }
static void by_dots(void) { leave(gives(in("open/../hidden/secret")) || gives(in("readable/../../x/../hidden/secret"))); }
static void by_a_link(void) { make_link(in("hidden/secret"), in("open/l")); leave(gives(in("open/l"))); }
static void by_a_relative_link(void) { make_link("../hidden", in("open/d")); leave(gives(in("open/d/secret"))); }
static void by_a_chain(void) { make_link("l2", in("open/l1")); make_link("../hidden", in("open/l2")); leave(gives(in("open/l1/secret"))); }
static void by_a_link_that_was_there(void) { leave(gives(in("readable/out")) || gives(in("open/out"))); }
static void through_a_hidden_link(void) { leave(open_at(AT_FDCWD, in("hidden/in"), O_RDONLY) >= 0); }
static void by_a_hard_link(void) { leave(hard_link(in("hidden/secret"), in("open/h")) == 0 || gives(in("open/h"))); }
static void by_a_hard_link_of_a_link(void) { leave(hard_link(in("readable/out"), in("open/h")) == 0 || gives(in("open/h"))); }
static void by_moving_it(void) { leave(move(in("hidden/secret"), in("open/m")) == 0); }
static void by_moving_its_directory(void) { leave(move(in("hidden"), in("open/m")) == 0); }
static void by_moving_something_over_it(void) { leave(move(in("open/f"), in("hidden/secret")) == 0); }
static void by_removing_it(void) { leave(take_away(in("hidden/secret")) == 0 || CALL2(SC_rmdir, in("hidden"), length(in("hidden"))) == 0); }
static void from_a_descriptor(void) { leave(gave(open_at(hidden_fd, "secret", O_RDONLY)) || gave(open_at(hidden_fd, "./secret", O_RDONLY))); }
static void from_its_directory(void) { CALL1(SC_fchdir, hidden_fd); leave(gives("secret") || gives("./secret")); }
static void by_proc_fd(void) { leave(gives(descriptor(hidden_fd, "/secret")) || gives(descriptor(secret_path_fd, ""))); }
static void by_proc_cwd(void) { CALL1(SC_fchdir, hidden_fd); leave(gives("/proc/self/cwd/secret")); }
static void by_unveiling(void) { leave(unveil(in("hidden"), "r") == 0 || unveil("/", "rwxcb") == 0 || gives(in("hidden/secret"))); }
static void by_locking_again(void) { unveil(NULL, NULL); by_unveiling(); }
static void by_a_child(void) { leave(in_child(by_unveiling) != 256 || in_child(by_its_name) != 256); }
static void by_the_other_instruction(void)
{
    struct open_params params = {AT_FDCWD, string(in("hidden/secret")), O_RDONLY, 0};
    struct unveil_params more = {1, string(in("hidden")), string("r")};
    leave(gave(call_82(SC_open, (word)&params)) || call_82(SC_unveil, (word)&more) == 0);
}
static void to_write(void) { leave(written(in("readable/f"), O_WRONLY) || written(in("readable/f"), O_RDWR) || written(in("readable/n"), O_WRONLY | O_CREAT)); }
static void to_cut(void) { leave(open_at(AT_FDCWD, in("readable/f"), O_WRONLY | O_TRUNC) >= 0); }
static void to_write_by_a_hard_link(void) { leave(hard_link(in("readable/f"), in("open/w")) == 0 && written(in("open/w"), O_WRONLY)); }
static void to_write_by_moving(void) { leave(move(in("readable/f"), in("open/w")) == 0 && written(in("open/w"), O_WRONLY)); }
static void to_write_by_moving_the_directory(void) { leave(move(in("readable"), in("open/w")) == 0); }
static void to_write_by_a_link(void) { make_link(in("readable/f"), in("open/w")); leave(written(in("open/w"), O_WRONLY)); }
static void to_write_by_a_descriptor(void)
{
    i64 fd = open_at(AT_FDCWD, in("readable/f"), O_RDONLY);
    leave(fd < 0 || written(descriptor(fd, ""), O_WRONLY) || map(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0) > 0);
}
static void to_remove(void) { leave(take_away(in("readable/f")) == 0); }

static void (*const attempts[])(void) = {
    by_its_name, by_dots, by_a_link, by_a_relative_link, by_a_chain, by_a_link_that_was_there, through_a_hidden_link, by_a_hard_link,
    by_a_hard_link_of_a_link, by_moving_it, by_moving_its_directory, by_moving_something_over_it, by_removing_it, from_a_descriptor,
    from_its_directory, by_proc_fd, by_proc_cwd, by_unveiling, by_locking_again, by_a_child, by_the_other_instruction, to_write, to_cut,
    to_write_by_a_hard_link, to_write_by_moving, to_write_by_moving_the_directory, to_write_by_a_link, to_write_by_a_descriptor,
    to_remove,
};
static void behind_the_veil(void)
{
    CHECK(unveil(in("open"), "rwxcb") == 0 && unveil(in("readable"), "r") == 0 && unveil("/proc", "r") == 0);
    CHECK(unveil(NULL, NULL) == 0 && gives(in("readable/s")) == 1);      /* what may be read, is */
    for (unsigned n = 0; n < sizeof attempts / sizeof *attempts; n++)
        if (in_child(attempts[n]) != 256) put("FAILED attempt "), number(n), put("\n"), failures++;
    leave(failures);
}

/* Promises: each of these ends by SIGABRT. */
static void promise(void) { pledge("stdio rpath proc", "stdio"); }
static void writes(void) { open_at(AT_FDCWD, in("open/p"), O_WRONLY); }
static void itself(void) { promise(); writes(); }
static void a_child(void) { promise(); leave(in_child(writes) == SIGABRT ? 0 : 1); }
static void after_asking_for_more(void) { promise(); pledge("stdio rpath proc wpath", NULL); pledge("wpath", "wpath"); writes(); }
static void by_another_instruction(void)
{
    struct open_params params = {AT_FDCWD, string(in("open/p")), O_WRONLY, 0};
    promise();
    call_82(SC_open, (word)&params);
}
static void by_a_bad_pointer(void) { promise(); CALL1(SC_execve, 16); }         /* before its arguments are looked at */
static void making_code(void)
{
    i64 at = map(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    promise();
    CALL3(SC_mprotect, at, 4096, PROT_READ | PROT_EXEC);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    static const char *const directories[] = {"open", "readable", "hidden"};
    static const char *const files[] = {"hidden/secret", "readable/s", "open/f", "readable/f", "open/p"};
    CHECK(CALL2(SC_getcwd, here, sizeof here) > 1);
    for (int n = 0; n < 3; n++) CALL4(SC_mkdir, AT_FDCWD, directories[n], length(directories[n]), 0755);
    for (int n = 0; n < 5; n++) {
        i64 fd = open_file(files[n], O_WRONLY | O_CREAT | O_TRUNC, 0644);
        CALL3(SC_write, fd, n < 2 ? "SECRET" : "public", 6);
        CALL1(SC_close, fd);
    }
    make_link("../hidden/secret", "readable/out"), make_link("../hidden/secret", "open/out"), make_link("../readable/f", "hidden/in");
    hidden_fd = open_file("hidden", O_RDONLY | O_DIRECTORY, 0), secret_path_fd = open_file("hidden/secret", O_EXEC, 0);
    CHECK(hidden_fd >= 0 && gives("hidden/secret") == 1);
    CHECK(in_child(behind_the_veil) == 256);
    CHECK(gives("hidden/secret") == 1 && gives("readable/f") == 0);
    CHECK(in_child(itself) == SIGABRT);
    CHECK(in_child(a_child) == 256);
    CHECK(in_child(after_asking_for_more) == SIGABRT);
    CHECK(in_child(by_another_instruction) == SIGABRT);
    CHECK(in_child(by_a_bad_pointer) == SIGABRT);
    CHECK(in_child(making_code) == SIGABRT);
    char first = 0;
    i64 fd = open_file("readable/f", O_RDONLY, 0);
    CHECK(CALL3(SC_read, fd, &first, 1) == 1 && first == 'p');
    return 0;
}
