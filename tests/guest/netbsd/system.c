/* The system and the process as such: sysctl, clocks, limits, ids, what is no terminal (reference: 2.5, 2.8, 2.9).  builds: amd64 i386 */
#include "nb.h"

enum { SYS_setuid = 23, SYS_geteuid = 25, SYS_ioctl = 54, SYS_getgroups = 79, SYS_setgroups = 80, SYS_setpriority = 96, SYS_getpriority = 100,
       SYS_setreuid = 126, SYS_seteuid = 183, SYS_getrlimit = 194, SYS_setrlimit = 195, SYS_sysctl = 202, SYS_gettimeofday = 418,
       SYS_setitimer = 425, SYS_gettime = 427, SYS_settime = 428, SYS_getres = 429, SYS_getrusage = 445, SYS_timer_create = 235,
       SYS_timer_settime = 446, SYS_timer_delete = 236, SYS_clock_nanosleep = 477, SYS_wait6 = 481, SYS_getcpuclockid = 482,
       SYS_getlogin = 49 };
enum { E2BIG = 7, EISDIR = 21, ENOTTY = 25 };

struct node { u32 flags; int num; char name[32]; u32 ver, rsvd; u64 un[2], size, func, parent, desc; };
struct rusage { struct { i64 sec; int usec; } utime, stime; word rest[14]; };
#ifdef __x86_64__
enum { USAGE = 144 };
#define MACHINE "amd64"
#define ARCH "x86_64"
#else
enum { USAGE = 80 };
#define MACHINE "i386"
#define ARCH "i386"
#endif
static char text[4096];
static word size;

static struct result ask(int a, int b, void *old, word room)
{
    int name[2] = {a, b};
    size = room;
    return CALL6(SYS_sysctl, name, b < 0 && b != -2 ? 1 : 2, old, &size, 0, 0);
}

static int by_name(int parent, const char *name)
{
    static struct node nodes[128];
    struct node query = {.flags = 0x01000000};
    int mib[2] = {parent ? parent : -2, -2};
    size = sizeof nodes;
    if (CALL6(SYS_sysctl, mib, parent ? 2 : 1, nodes, &size, &query, sizeof query).carry) return -1;
    for (word i = 0; i < size / sizeof query; i++) if (same(nodes[i].name, name)) return nodes[i].num;
    return -2;
}

static void variables(void)
{
    int n = 0;
    CHECK(sizeof(struct node) == 96);
    CHECK(gave(ask(1, 1, text, 64), 0) && same(text, "NetBSD") && size == 7);
    CHECK(gave(ask(1, 1, 0, 0), 0) && size == 7);                                        /* how much it would be */
    CHECK(failed(ask(1, 1, text, 3), ENOMEM) && size == 7);
    CHECK(gave(ask(1, 3, &n, 4), 0) && n >= 902000000);
    CHECK(gave(ask(6, 7, &n, 4), 0) && n == 4096);
    CHECK(gave(ask(6, 3, &n, 4), 0) && n >= 1);
    CHECK(gave(ask(6, 1, text, 64), 0) && same(text, MACHINE) && gave(ask(6, 10, text, 64), 0) && same(text, ARCH));
    u64 memory = 0;
    CHECK(gave(ask(6, 13, &memory, 8), 0) && memory > 1 << 20 && size == 8);
    CHECK(gave(ask(1, 8, &n, 4), 0) && n == 262144);
    struct timespec boot = {0, 0};
    CHECK(gave(ask(1, 83, &boot, sizeof boot), 0) && boot.seconds > 1600000000);
    int rate[5];
    CHECK(gave(ask(1, 12, rate, 20), 0) && rate[0] == 100 && rate[1] == 10000);
    CHECK(gave(ask(1, 81, text, 64), 0) && size == 64 && failed(ask(1, 81, text, 257), E2BIG));
    CHECK(failed(ask(1, 222, text, 64), ENOENT) && failed(ask(77, 1, text, 64), ENOENT));
    int root[] = {1};
    CHECK(failed(CALL6(SYS_sysctl, root, 1, text, &size, 0, 0), EISDIR));
    int deep[] = {1, 1, 1};
    CHECK(failed(CALL6(SYS_sysctl, deep, 3, text, &size, 0, 0), ENOTDIR));
    CHECK(failed(CALL6(SYS_sysctl, root, 13, text, &size, 0, 0), EINVAL) && failed(CALL6(SYS_sysctl, root, 0, text, &size, 0, 0), EINVAL));
    int type[] = {1, 1};
    CHECK(failed(CALL6(SYS_sysctl, type, 2, 0, 0, "x", 1), EPERM));
    CHECK(by_name(0, "kern") == 1 && by_name(1, "hostname") == 10 && by_name(1, "somaxconn") > 255 && by_name(1, "nothing") == -2);
    struct node old = {.flags = 0};
    int query[] = {-2};
    size = sizeof text;
    CHECK(failed(CALL6(SYS_sysctl, query, 1, text, &size, &old, sizeof old), EINVAL));   /* another version of the struct */
    int pid = (int)CALL0(SYS_getpid).value, args[] = {1, 48, pid, 1}, count[] = {1, 48, pid, 2}, path[] = {1, 48, pid, 5};
    size = sizeof text;
    CHECK(gave(CALL6(SYS_sysctl, args, 4, text, &size, 0, 0), 0) && same(text, start_strings->argv[0]));
    size = 4;
    CHECK(gave(CALL6(SYS_sysctl, count, 4, &n, &size, 0, 0), 0) && n == start_strings->argc);
    size = sizeof text;
    CHECK(gave(CALL6(SYS_sysctl, path, 4, text, &size, 0, 0), 0) && text[0] == '/');
    args[2] = 29999;
    CHECK(failed(CALL6(SYS_sysctl, args, 4, text, &size, 0, 0), EINVAL));
    args[3] = 9, args[2] = pid;
    CHECK(failed(CALL6(SYS_sysctl, args, 4, text, &size, 0, 0), EINVAL));
    int limit[] = {10, pid, 2, 9, 1}, stop[] = {10, pid, 4};
    size = 8;
    CHECK(gave(CALL6(SYS_sysctl, limit, 5, &memory, &size, 0, 0), 0) && memory >= 3);
    size = 4;
    CHECK(gave(CALL6(SYS_sysctl, stop, 3, &n, &size, 0, 0), 0) && n == 0);
}

static void clocks(void)
{
    struct timespec now, later, pause = {0, 5000000}, left;
    struct { i64 seconds; int micros; } day;
    CHECK(gave(CALL2(SYS_gettime, 0, &now), 0) && now.seconds > 1600000000);
    CHECK(gave(CALL2(SYS_gettime, 3, &now), 0) && gave(CALL2(SYS_nanosleep, &pause, &left), 0) && gave(CALL2(SYS_gettime, 3, &later), 0));
    CHECK((later.seconds - now.seconds) * 1000000000 + (i64)later.nanoseconds - (i64)now.nanoseconds >= 5000000);
    CHECK(gave(CALL2(SYS_gettime, 0x40000000, &now), 0) && gave(CALL2(SYS_gettime, 0x20000000, &now), 0) && gave(CALL2(SYS_gettime, 2, &now), 0));
    CHECK(failed(CALL2(SYS_gettime, 4, &now), EINVAL) && failed(CALL2(SYS_gettime, 0x40000000 | 29999, &now), ESRCH));
    CHECK(gave(CALL2(SYS_getres, 3, &now), 0) && now.seconds == 0 && now.nanoseconds > 0);
    CHECK(gave(CALL2(SYS_gettimeofday, &day, 0), 0) && day.seconds > 1600000000 && day.micros < 1000000);
    CHECK(failed(CALL2(SYS_settime, 3, &now), EINVAL));
    int clock = 0;
    CHECK(gave(CALL3(SYS_getcpuclockid, 1, 0, &clock), 0) && clock == (int)(0x40000000 | CALL0(SYS_getpid).value));
    CHECK(gave(CALL4(SYS_clock_nanosleep, 3, 0, &pause, 0), 0) && gave(CALL4(SYS_clock_nanosleep, 77, 0, &pause, 0), EINVAL));
    struct timespec bad = {0, 1000000000};
    CHECK(gave(CALL4(SYS_clock_nanosleep, 3, 0, &bad, 0), EINVAL) && failed(CALL2(SYS_nanosleep, &bad, 0), EINVAL));
    struct rusage used;
    CHECK(sizeof used == USAGE && gave(CALL2(SYS_getrusage, 0, &used), 0) && used.rest[0] > 0 && failed(CALL2(SYS_getrusage, 1, &used), EINVAL));
    int timer = -1;
    struct { struct timespec interval, value; } setting = {{0, 0}, {0, 10000000}};
    struct sigset alarm = only(SIGALRM);
    CALL3(SYS_sigprocmask, SIG_BLOCK, &alarm, 0);
    CHECK(gave(CALL3(SYS_timer_create, 3, 0, &timer), 0) && gave(CALL4(SYS_timer_settime, timer, 0, &setting, 0), 0));
    struct siginfo info;
    struct timespec second = {1, 0};
    CHECK(gave(CALL3(SYS_sigtimedwait, &alarm, &info, &second), SIGALRM) || info.signo == SIGALRM);
    CHECK(info.code == -2 && gave(CALL1(SYS_timer_delete, timer), 0) && failed(CALL1(SYS_timer_delete, timer), EINVAL));
}

static void process(void)
{
    struct { u64 now, most; } limit;
    CHECK(gave(CALL2(SYS_getrlimit, 8, &limit), 0) && limit.now >= 3 && limit.now <= limit.most);      /* NOFILE */
    u64 most = limit.most;
    limit.now = 16;
    CHECK(gave(CALL2(SYS_setrlimit, 8, &limit), 0) && gave(CALL2(SYS_getrlimit, 8, &limit), 0) && limit.now == 16 && limit.most == most);
    CHECK(failed(CALL2(90, 1, 16), EBADF));                                              /* dup2 beyond it */
    limit.now = 17, limit.most = 16;
    CHECK(failed(CALL2(SYS_setrlimit, 8, &limit), EINVAL) && failed(CALL2(SYS_getrlimit, 12, &limit), EINVAL));
    CHECK(gave(CALL2(SYS_getrlimit, 0, &limit), 0) && (limit.now == 0x7fffffffffffffff || limit.now > 0));
    CHECK(gave(CALL2(SYS_getrlimit, 11, &limit), 0));                                    /* NTHR */
    CHECK(gave(CALL2(SYS_getpriority, 0, 0), 0) && gave(CALL3(SYS_setpriority, 0, 0, 5), 0) && gave(CALL2(SYS_getpriority, 0, 0), 5));
    CHECK(failed(CALL2(SYS_getpriority, 7, 0), EINVAL) && failed(CALL2(SYS_getpriority, 0, 29999), ESRCH));
    struct result groups = CALL2(SYS_getgroups, 0, 0);
    CHECK(!groups.carry && groups.value <= 65536);
    CHECK(gave(CALL2(SYS_getlogin, text, 17), 0) && text[16] == 0);
    struct result ids = CALL0(SYS_getuid);
    if (ids.value == 0) {
        int status, pid = (int)CALL0(SYS_fork).value;
        if (!pid) {
            int good = gave(CALL2(SYS_setreuid, -1, 1000), 0) && CALL0(SYS_getuid).second == 1000 &&       /* saved: 1000 too */
                       gave(CALL1(SYS_setuid, 0), 0) && CALL0(SYS_getuid).second == 0 &&                  /* back to the real one */
                       gave(CALL1(SYS_seteuid, 7), 0) && failed(CALL1(SYS_seteuid, 8), EPERM) && failed(CALL1(SYS_setuid, 9), EPERM) &&
                       gave(CALL1(SYS_setuid, 0), 0) && gave(CALL1(SYS_setuid, 5), 0) && failed(CALL1(SYS_setuid, 0), EPERM) &&
                       failed(CALL2(SYS_setgroups, 0, 0), EPERM);
            leave(good ? 0 : 1);
        }
        CALL4(SYS_wait4, pid, &status, 0, 0);
        CHECK(status == 0);
    }
    CHECK(failed(CALL3(SYS_ioctl, 0, 0x402c7413, text), ENOTTY));                         /* TIOCGETA of what is none */
    CHECK(failed(CALL3(SYS_ioctl, 0, 0x40087468, text), ENOTTY) && failed(CALL3(SYS_ioctl, 0, 0x12345678, text), ENOTTY));
    CHECK(failed(CALL3(SYS_ioctl, 99, 0x40087468, text), EBADF));
    struct result ends = CALL0(SYS_pipe);
    int waiting = -1, on = 1;
    CALL3(SYS_write, ends.second, "abcde", 5);
    CHECK(gave(CALL3(SYS_ioctl, ends.value, 0x4004667f, &waiting), 0) && waiting == 5);   /* FIONREAD */
    CHECK(gave(CALL2(SYS_ioctl, ends.value, 0x20006601), 0) && gave(CALL3(92, ends.value, 1, 0), 1));      /* FIOCLEX */
    CHECK(gave(CALL3(SYS_ioctl, ends.value, 0x8004667e, &on), 0) && gave(CALL3(92, ends.value, 3, 0), 4)); /* FIONBIO */
    CHECK(gave(CALL0(271), 0) == 0 && failed(CALL3(SYS_ioctl, ends.value, 0x4004667f, 8), EFAULT));       /* swapctl */
}

static int cases(int argc, char **argv)
{
    (void)argc, (void)argv;
    variables();
    clocks();
    process();
    return 0;
}
