/* Two systems in one kernel: a NetBSD program starts Linux ones, and is started by one.  Each sees the other's signals in its own
 * numbers.
 * builds: amd64 i386 */
#include "nb.h"

static int status_of(struct result pid)
{
    int status = -1;
    if (pid.carry || !gave(CALL4(SYS_wait4, pid.value, &status, 0, 0), pid.value)) return -1;
    return status;
}

static int shell(const char *script)
{
    const char *argv[] = {"sh", "-c", script, 0}, *env[] = {"PATH=/usr/bin:/bin", 0};
    struct result pid = CALL0(SYS_fork);
    if (!pid.carry && pid.value == 0) { CALL3(SYS_execve, "/bin/sh", argv, env); leave(99); }
    return status_of(pid);
}

static volatile int got;
static void on_signal(int signo) { got = signo; }

/* "die" and "wait" are what a Linux shell asks for; without arguments it is the one that asks. */
static int cases(int argc, char **argv)
{
    if (argc == 2 && same(argv[1], "die")) { CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGUSR1); return 1; }
    if (argc == 2 && same(argv[1], "wait")) {
        handle(SIGURG, on_signal, 0);
        put("waiting\n");
        for (int i = 0; !got && i < 5000; i++) nap(1000000);
        return got == SIGURG ? 23 : 1;
    }
    CHECK(shell("exit 7") == 7 << 8);
    CHECK(shell("kill -USR1 $$") == SIGUSR1);
    CHECK(shell("kill -BUS $$") == SIGBUS || shell("kill -BUS $$") == (SIGBUS | 0x80));
    struct sigset old;
    CALL3(SYS_sigprocmask, SIG_BLOCK, 0, &old);
    CHECK(old.bits[0] == 0);
    return 0;
}
