/* A NetBSD program that makes one call in a way that a gate may have forgotten, and says whether it was refused for a promise.
 *
 *     nbcrossing WAY
 *
 * builds: amd64 i386
 */
#include "nb.h"

enum { SYS_sysctl = 202, SYS_ktrace = 45, SYS_chdir = 12 };
enum { O_RDWR = 2, O_CREATE = 0x202 };
struct action { int kind, fd; union { struct { const char *path; int flags; u32 mode; } open; int to; } how; };
struct actions { u32 room, count; struct action *list; };

static void say(struct result r, int spawned)
{
    word error = r.carry || spawned ? r.value : 0;
    if (error == EPERM) put("refused\n");
    else if (error) put("failed "), number(error), put("\n");
    else put("got\n");
}

static struct result ask(int a, int b, int c, int d, word parts, const void *new, word size)
{
    static char room[4096];
    word left = sizeof room;
    int name[4] = {a, b, c, d};
    return CALL6(SYS_sysctl, name, parts, room, &left, new, size);
}

static int child(void)
{
    struct result pid = CALL0(SYS_fork);
    if (!pid.carry && !pid.value)
        for (;;) CALL1(SYS_sigsuspend, &nothing);
    return (int)pid.value;
}

static int cases(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "", *words[] = {"/bin/true", 0}, *none[] = {0};
    struct action list[1] = {{0, 9, {.open = {"made", O_CREATE, 0600}}}};
    struct actions actions = {1, 1, list};
    int pid = 0, on = 1;
    if (same(way, "syscall fork") || same(way, "__syscall fork")) {
        struct result r = same(way, "syscall fork") ? CALL1(SYS_syscall, SYS_fork) : CALL2(SYS___syscall, SYS_fork, 0);
        if (!r.carry && !r.value) leave(0);
        say(r, 0);
    }
    if (same(way, "syscall open")) say(CALL4(SYS_syscall, SYS_open, "/dev/null", O_RDWR, 0), 0);
    if (same(way, "spawn")) say(CALL6(SYS_posix_spawn, &pid, "/bin/true", 0, 0, words, none), 1);
    if (same(way, "spawn creat")) say(CALL6(SYS_posix_spawn, &pid, "/bin/true", &actions, 0, words, none), 1);
    if (same(way, "spawn chdir")) {
        list[0] = (struct action){3, 0, {.open = {"/", 0, 0}}};
        say(CALL6(SYS_posix_spawn, &pid, "/bin/true", &actions, 0, words, none), 1);
    }
    if (same(way, "args")) {
        pid = child();
        say(ask(1, 48, pid, 3, 4, 0, 0), 0);
    }
    if (same(way, "node")) say(ask(10, (int)CALL0(SYS_getpid).value, 4, 0, 3, &on, 4), 0);
    if (same(way, "lwp")) say(CALL3(SYS_lwp_create, 0, 0, 0), 0);
    if (same(way, "ktrace")) say(CALL4(SYS_ktrace, "/dev/null", 0, 2, CALL0(SYS_getpid).value), 0);
    if (same(way, "ktrace file")) say(CALL4(SYS_ktrace, "/etc/passwd", 0, 2, CALL0(SYS_getpid).value), 0);
    if (pid > 0) CALL2(SYS_kill, pid, SIGKILL);
    return 0;
}
