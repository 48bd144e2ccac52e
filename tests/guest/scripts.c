/* Interpreter scripts: how a #! line is read, what becomes of the arguments, and how deep it goes.
 * builds: x64 i386
 */
#include "case.h"

extern char **environ;

static void run(const char *what, const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execve(path, (char *[]){"original zero", "one", "two words", NULL}, environ);
        say("%s -> %s", what, errno_name(errno));
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    say("%s: %s", what, ending(status));
}

static void script(const char *what, const char *line, size_t nbytes)
{
    put("s", line, nbytes, 0755);
    run(what, "./s");
}
#define SCRIPT(WHAT, LINE) script(WHAT, LINE, sizeof LINE - 1)

/* A script is shown by a shell that lists what it was given. */
#define LISTER "#!/bin/sh\nfor a in \"$0\" \"$@\"; do echo \"<$a>\"; done\n"
static void lister(void) { put("i", LISTER, sizeof LISTER - 1, 0755); }

CASE(blanks)
{
    lister();
    SCRIPT("plain", "#!./i\n");
    SCRIPT("no newline", "#!./i");
    SCRIPT("one argument", "#!./i arg\n");
    SCRIPT("argument with blanks", "#!./i a b  c\n");
    SCRIPT("leading blanks", "#!  \t./i\targ\n");
    SCRIPT("trailing blanks", "#!./i arg \t \n");
    SCRIPT("trailing blanks, no argument", "#!./i  \t\n");
    SCRIPT("argument, no newline", "#!./i arg");
    SCRIPT("CRLF", "#!./i\r\n");
    SCRIPT("CRLF after an argument", "#!./i arg\r\n");
    SCRIPT("zero in the line", "#!./i a\0b\n");
    SCRIPT("zero after the name", "#!./i\0 arg\n");
    SCRIPT("two bytes only", "#!");
    SCRIPT("three bytes", "#!\n");
    SCRIPT("blanks only", "#!   \t\n");
    SCRIPT("blanks only, no newline", "#!   ");
    SCRIPT("blank before the bang", "# !./i\n");
    SCRIPT("blank line first", "\n#!./i\n");
    SCRIPT("BOM", "\xef\xbb\xbf#!./i\n");
    SCRIPT("quotes", "#!./i \"a b\" 'c'\n");
    SCRIPT("hash in the argument", "#!./i # comment\n");
    SCRIPT("form feed", "#!./i\farg\n");
}

CASE(interpreters)
{
    lister();
    mkdir("dir", 0755);
    put("data", "no format", 9, 0755);
    put("private", LISTER, sizeof LISTER - 1, 0644);
    put("empty", "", 0, 0755);
    SCRIPT("missing", "#!./none\n");
    SCRIPT("directory", "#!./dir\n");
    SCRIPT("not executable", "#!./private\n");
    SCRIPT("garbage", "#!./data\n");
    SCRIPT("empty file", "#!./empty\n");
    SCRIPT("below a file", "#!./data/x\n");
    SCRIPT("relative to the working directory", "#!i\n");
    SCRIPT("device", "#!/dev/null\n");
    SCRIPT("itself", "#!./s\n");
    SCRIPT("absolute", "#!/bin/echo out\n");
    SCRIPT("env", "#!/usr/bin/env sh\nexit 5\n");
    SCRIPT("env with two words", "#!/usr/bin/env sh -e\n");
}

CASE(long_lines)
{
    char line[600];
    int lengths[] = {252, 253, 254, 255, 256, 257, 258, 400};
    lister();
    for (int k = 0; k < 8; k++) {
        char what[64];
        memset(line, 'x', sizeof line);
        memcpy(line, "#!./i ", 6);
        line[lengths[k] - 1] = '\n';
        snprintf(what, sizeof what, "argument, line of %d", lengths[k]);
        script(what, line, (size_t)lengths[k]);
        memcpy(line, "#!./i", 5);
        line[5] = 'x';
        snprintf(what, sizeof what, "name, line of %d", lengths[k]);
        script(what, line, (size_t)lengths[k]);
        memset(line + 2, ' ', (size_t)lengths[k] - 2);
        memcpy(line + lengths[k] - 4, "./i\n", 4);
        snprintf(what, sizeof what, "name at the end, line of %d", lengths[k]);
        script(what, line, (size_t)lengths[k]);
    }
    memset(line, 'y', sizeof line);
    memcpy(line, "#!./i ", 6);
    script("no newline, 255 bytes", line, 255);
    script("no newline, 256 bytes", line, 256);
    script("no newline, 300 bytes", line, 300);
    memset(line + 5, ' ', 300);
    script("blanks to the end of the buffer", line, 300);
}

CASE(nesting)
{
    lister();
    put("n0", LISTER, sizeof LISTER - 1, 0755);
    for (int depth = 1; depth <= 7; depth++) {
        char name[8], line[32], what[32];
        snprintf(name, sizeof name, "n%d", depth), snprintf(line, sizeof line, "#!./n%d arg%d\n", depth - 1, depth);
        put(name, line, strlen(line), 0755);
        snprintf(what, sizeof what, "depth %d", depth + 1);
        snprintf(line, sizeof line, "./n%d", depth);
        run(what, line);
    }
    put("a", "#!./b\n", 6, 0755), put("b", "#!./a\n", 6, 0755);
    run("each other", "./a");
}

CASE(arguments)
{
    put("s", LISTER, sizeof LISTER - 1, 0755);
    char *none[] = {NULL}, *many[] = {"zero", "", "last", NULL};
    mkdir("d", 0755);
    CHILD T(execve("./s", none, environ)); REAPED
    CHILD T(execve("./s", many, environ)); REAPED
    CHILD T(execve("s", many, environ)); REAPED
    CHILD T(execve("././/s", many, environ)); REAPED
    symlink("s", "l");
    CHILD T(execve("l", many, environ)); REAPED
    CHILD chdir("d"); T(execve("../s", many, environ)); REAPED
}

CASE(name_and_ids)
{
    FILE *f = fopen("a-long-script-name", "w");
    fputs("#!/bin/sh\ncat /proc/$$/comm; tr '\\0' '|' < /proc/$$/cmdline; echo\n", f);
    fclose(f);
    chmod("a-long-script-name", 06755);
    chown("a-long-script-name", 77, 88);
    chmod("a-long-script-name", 06755);
    run("name", "./a-long-script-name");
    put("ids", "#!/usr/bin/id -u\n", 17, 04755);
    chown("ids", 77, 88), chmod("ids", 04755);
    CHILD setuid(1000); chdir("."); run("set-id script", "./ids"); REAPED
}

CASE(permissions)
{
    chmod(".", 0755);
    put("unreadable", LISTER, sizeof LISTER - 1, 0711);
    CHILD setuid(1000); run("execute but not read", "./unreadable"); REAPED
    put("n", LISTER, sizeof LISTER - 1, 0644);
    run("no x", "./n");
    int fd = open("n", O_RDWR);
    chmod("n", 0755);
    run("open for writing", "./n");
    close(fd);
}
