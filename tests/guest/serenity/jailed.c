/* Runs a program in a jail, with the ids of two processes outside of it behind its arguments: one that sleeps, and this one.
 *
 *     jailed PROGRAM [ARGUMENT …]
 *
 * What the program is given open beside its streams: 3 is /proc's directory of who sleeps, 4 what that has open, as a text.
 * At the end it is told whether who sleeps is still there; the status is the program's.
 */
#include "sy.h"

struct create { u64 index; struct string name; };
struct timespec { i64 seconds, nanoseconds; };

static char digits[2][24];
static char *numeral(int which, i64 n)
{
    int at = 23;
    do digits[which][--at] = (char)('0' + n % 10), n /= 10; while (n);
    return digits[which] + at;
}
static void sleep_on(void)
{
    struct timespec hour = {3600, 0};
    struct { i32 clock, flags; struct timespec *wanted, *left; } params = {1, 0, &hour, NULL};
    for (;;) CALL1(SC_clock_nanosleep, &params);
}
static const char *join(const char *left, const char *middle, const char *right)
{
    static char all[2][64];
    static int turn;
    char *to = all[turn ^= 1];
    for (const char *parts[3] = {left, middle, right}, **part = parts; part < parts + 3; part++)
        for (const char *from = *part; *from; from++) *to++ = *from;
    *to = 0;
    return all[turn];
}

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    struct string arguments[64];
    struct create create = {0, string("cage")};
    i64 sleeper = CALL0(SC_fork);
    if (!sleeper) sleep_on();
    char *asleep = numeral(0, sleeper);
    if (CALL1(SC_jail_create, &create) != 0 || argc > 60) leave(99);
    i64 inside = CALL0(SC_fork);
    if (!inside) {
        int count = 0;
        CALL2(SC_dup2, open_file(join("/proc/", asleep, ""), O_RDONLY, 0), 3);
        CALL2(SC_dup2, open_file(join("/proc/", asleep, "/fds"), O_RDONLY, 0), 4);
        if (CALL1(SC_jail_attach, &create.index) != 0) leave(98);
        for (int n = 1; n < argc; n++) arguments[count++] = string(argv[n]);
        arguments[count++] = string(asleep);
        arguments[count++] = string(numeral(1, CALL0(SC_getppid)));
        struct execve_params params = {arguments[0], {arguments, (word)count}, {NULL, 0}};
        CALL1(SC_execve, &params);
        leave(97);
    }
    struct siginfo info = {0};
    struct waitid_params params = {2, (i32)inside, &info, 4};
    CALL1(SC_waitid, &params);
    struct siginfo rest = {0};
    params = (struct waitid_params){2, (i32)sleeper, &rest, 4 | 1};
    CALL1(SC_waitid, &params);
    put(rest.signo == 0 && CALL2(SC_kill, sleeper, 0) == 0 ? "it sleeps\n" : "it is gone\n");
    CALL2(SC_kill, sleeper, SIGKILL);
    return info.code == 0 ? info.status : 128 + info.status;
}
