/* Prints files, a line for each: its path, and what it says or the error of opening or reading it.
 *
 *     tells [pledge=PROMISES] [unveil=PATH] [setuid=ID] [jail] [child] [list=DIRECTORY] [link=LINK] [write=FILE] FILE …
 *
 * Words are obeyed in their order; PATH is unveiled for "r".  "child": what comes now is asked by a child, the parent sleeps.
 */
#include "sy.h"

static char text[1 << 16];

static void say(const char *what, i64 error)
{
    put(what), put(" -> ");
    if (error < 0) put("error "), number((u64)-error);
}
static void file(const char *path)
{
    i64 fd = open_file(path, O_RDONLY, 0), got = 0;
    say(path, fd);
    if (fd >= 0) {
        while ((got = CALL3(SC_read, fd, text, sizeof text)) > 0) {
            if (text[got - 1] == '\n') got--;
            CALL3(SC_write, 1, text, got);
        }
        if (got < 0) put("error "), number((u64)-got);
        CALL1(SC_close, fd);
    }
    put("\n");
}
static void list(const char *path)
{
    i64 fd = open_file(path, O_RDONLY | O_DIRECTORY, 0), size = fd < 0 ? fd : CALL3(SC_get_dir_entries, fd, text, sizeof text);
    say(path, size);
    for (i64 at = 0; at < size;) {                  /* ino 8, type 1, length 4, name */
        u32 n = *(u32 *)(text + at + 9);
        CALL3(SC_write, 1, text + at + 13, n), put(" ");
        at += 13 + n;
    }
    if (fd >= 0) CALL1(SC_close, fd);
    put("\n");
}
static void link_(const char *path)
{
    struct { struct string path; struct { char *data; word size; } buffer; i32 dirfd; } params = {string(path), {text, 4096}, AT_FDCWD};
    i64 size = CALL1(SC_readlink, &params);
    say(path, size);
    if (size > 0) CALL3(SC_write, 1, text, size);
    put("\n");
}
static const char *after(const char *word_, const char *head)
{
    while (*head && *word_ == *head) word_++, head++;
    return *head ? NULL : word_;
}

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    const char *rest;
    i64 child = 0;
    for (int n = 1; n < argc; n++) {
        if ((rest = after(argv[n], "pledge="))) pledge(rest, NULL);
        else if ((rest = after(argv[n], "unveil="))) unveil(rest, "r");
        else if ((rest = after(argv[n], "list="))) list(rest);
        else if ((rest = after(argv[n], "link="))) link_(rest);
        else if ((rest = after(argv[n], "setuid="))) { i64 id = 0; while (*rest) id = 10 * id + *rest++ - '0'; CALL1(SC_setuid, id); }
        else if ((rest = after(argv[n], "dumpable="))) CALL2(SC_prctl, 1, *rest == '1');
        else if ((rest = after(argv[n], "write="))) {
            i64 fd = open_file(rest, O_WRONLY, 0);
            say(rest, fd < 0 ? fd : CALL3(SC_write, fd, "/tmp/cores\n", 11)), put("\n");
        } else if (same(argv[n], "jail")) {
            u64 index = 0;
            struct { u64 index; struct string name; } create = {0, string("cage")};
            CALL1(SC_jail_create, &create), index = create.index, CALL1(SC_jail_attach, &index);
        } else if (same(argv[n], "child")) {
            child = CALL0(SC_fork);
            if (child) break;
        } else file(argv[n]);
    }
    struct siginfo info = {0};
    struct waitid_params params = {2, (i32)child, &info, 4};
    if (child) CALL1(SC_waitid, &params);
    return 0;
}
