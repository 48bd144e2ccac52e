/* Names, limits, clocks, sleeping, usage, random bytes, the kernel's log, the keyboard, profiles. */
#include "sy.h"

struct timespec { i64 seconds, ns; };
struct timeval { i64 seconds; i32 us, pad; };
struct utsname { char sysname[65], nodename[65], release[65], version[65], machine[65]; };
struct rusage { struct timeval user, system; i64 rest[14]; };
struct sleep { i32 clock, flags; struct timespec *requested, *remaining; };
struct getres { i32 clock; struct timespec *result; };
struct keymap { u32 *maps[5]; void *name; word size; };
struct sigaction { void *handler; u32 mask; i32 flags; };
_Static_assert(sizeof(struct utsname) == 325 && sizeof(struct rusage) == 144 && sizeof(struct keymap) == 56, "layouts");

static i64 clock_now(int clock)
{
    struct timespec now = {-1, -1};
    return CALL2(SC_clock_gettime, clock, &now) ? -1 : now.seconds * 1000000000 + now.ns;
}
static i64 nap(int clock, int flags, i64 seconds, i64 ns, struct timespec *remaining)
{
    struct timespec requested = {seconds, ns};
    struct sleep params = {clock, flags, &requested, remaining};
    return CALL1(SC_clock_nanosleep, &params);
}
static i64 resolution(int clock, struct timespec *result)
{
    struct getres params = {clock, result};
    return CALL1(SC_clock_getres, &params);
}

static void names(void)
{
    struct utsname names;
    char host[65];
    CHECK(CALL1(SC_uname, &names) == 0 && CALL1(SC_uname, 16) == -EFAULT);
    CHECK(same(names.sysname, "SerenityOS") && same(names.machine, "x86_64") && same(names.release, "1.0-dev") && names.version[0]);
    CHECK(CALL2(SC_gethostname, host, sizeof host) == 0 && same(host, names.nodename));
    CHECK(CALL2(SC_gethostname, host, length(host)) == -ENAMETOOLONG && CALL2(SC_gethostname, host, length(host) + 1) == 0);
    CHECK(CALL2(SC_gethostname, host, -1) == -EINVAL && CALL2(SC_gethostname, 16, 65) == -EFAULT);
    if (CALL0(SC_geteuid) == 0) {
        CHECK(CALL2(SC_sethostname, host, 65) == -ENAMETOOLONG && CALL2(SC_sethostname, 16, 3) == -EFAULT);
        CHECK(CALL2(SC_sethostname, "courage", 7) == 0 && CALL2(SC_gethostname, host, 65) == 0 && same(host, "courage"));
    } else
        CHECK(CALL2(SC_sethostname, "courage", 7) == -EPERM);
}

static void limits(void)
{
    static const i64 known[] = {1, -1, -1, 1024, 64, 32, 4096, 4096, 250, 8, -EINVAL, 131072, 1024, -EINVAL};
    int as_known = 1;
    for (int n = 0; n < 14; n++) as_known &= known[n] == -1 || CALL1(SC_sysconf, n) == known[n];
    CHECK(as_known && CALL1(SC_sysconf, 1) >= 1 && CALL1(SC_sysconf, 2) >= 1 && CALL1(SC_sysconf, -1) == -EINVAL);
    CHECK((u64)CALL1(SC_sysconf, 8) == aux(AT_CLKTCK)->value);
}

static void clocks(void)
{
    struct timespec result = {9, 9};
    CHECK(clock_now(0) > 1600000000ll * 1000000000 && clock_now(1) > 0 && clock_now(2) > 0);
    CHECK(clock_now(3) > clock_now(0) - 1000000000 && clock_now(4) > clock_now(1) - 1000000000);
    CHECK(CALL2(SC_clock_gettime, 5, &result) == -EINVAL && CALL2(SC_clock_gettime, -1, &result) == -EINVAL);
    CHECK(CALL2(SC_clock_gettime, 0, NULL) == -EFAULT && CALL2(SC_clock_gettime, 9, NULL) == -EINVAL);
    CHECK(resolution(0, &result) == 0 && result.seconds == 0 && result.ns == 125000000);     /* a selector of sysconf, divided by */
    CHECK(resolution(4, &result) == 0 && resolution(5, &result) == -EINVAL && resolution(0, NULL) == -EFAULT);
    CHECK(CALL2(SC_clock_settime, 0, &result) == -EPERM);        /* the clock is the host's */
    if (CALL0(SC_geteuid) == 0) CHECK(CALL2(SC_clock_settime, 1, &result) == -EINVAL && CALL2(SC_clock_settime, 1, NULL) == -EFAULT);
    struct timeval old = {9, 9, 9}, delta = {1, 0, 0};
    CHECK(CALL2(SC_adjtime, NULL, &old) == 0 && old.seconds == 0 && old.us == 0);
    CHECK(CALL2(SC_adjtime, &delta, NULL) == -EPERM && CALL2(SC_adjtime, NULL, NULL) == 0 && CALL2(SC_adjtime, NULL, 16) == -EFAULT);
}
static void adjusts(void) { struct timeval delta = {1, 0, 0}; pledge("stdio", NULL); CALL2(SC_adjtime, &delta, NULL); }
static void asks_what_is_left(void) { struct timeval old; pledge("stdio", NULL); leave(CALL2(SC_adjtime, NULL, &old) ? 1 : 0); }

static void ring(int signo) { (void)signo; }
static void sleeping(void)
{
    i64 start = clock_now(1);
    CHECK(nap(1, 0, 0, 20000000, NULL) == 0 && clock_now(1) - start >= 20000000);
    CHECK(nap(0, 99, 1, 0, NULL) == 0 && nap(1, 99, 0, clock_now(1) + 10000000, NULL) == 0);         /* the past, and soon */
    CHECK(nap(1, 0, -5, 0, NULL) == 0 && nap(1, 0, 0, -1, NULL) == 0);                               /* no error there */
    CHECK(nap(1, 0, -1, 1010000000, NULL) == 0);                                                     /* ten milliseconds, added up */
    CHECK(nap(1, 1, 0, 0, NULL) == -EINVAL && nap(5, 0, 0, 0, NULL) == -EINVAL && nap(-1, 0, 0, 0, NULL) == -EINVAL);
    struct sleep params = {9, 7, NULL, NULL};
    CHECK(CALL1(SC_clock_nanosleep, &params) == -EFAULT && CALL1(SC_clock_nanosleep, 16) == -EFAULT);
    struct sigaction action = {ring, 0, 0};
    struct timespec left = {0, 0};
    CHECK(CALL3(SC_sigaction, SIGALRM, &action, NULL) == 0 && CALL1(SC_alarm, 1) == 0);
    CHECK(nap(1, 0, 30, 0, &left) == -EINTR && left.seconds >= 28 && left.seconds <= 29);
}

static void usage(void)
{
    u32 ticks[4] = {99, 99, 99, 99};
    struct rusage used;
    for (volatile int n = 0; n < 20000000; n++) { }
    i64 up = CALL1(SC_times, ticks);
    CHECK(up > 0 && up <= 0x7fffffff && ticks[0] > 0 && ticks[0] < 25000 && ticks[2] < 25000);
    CHECK(CALL1(SC_times, NULL) == -EFAULT);
    memset(&used, 1, sizeof used);
    CHECK(CALL2(SC_getrusage, 1, &used) == 0 && used.user.seconds * 1000000 + used.user.us > 0 && used.rest[0] == 0 && used.rest[13] == 0);
    CHECK(CALL2(SC_getrusage, 2, &used) == 0 && CALL2(SC_getrusage, 0, &used) == -EINVAL && CALL2(SC_getrusage, -1, &used) == -EINVAL);
    CHECK(CALL2(SC_getrusage, 1, NULL) == -EFAULT && CALL2(SC_getrusage, 3, NULL) == -EINVAL);
}

static void odds_and_ends(void)
{
    static u8 bytes[64];
    int some = 0;
    CHECK(CALL3(SC_getrandom, bytes, 64, 0) == 64 && CALL3(SC_getrandom, bytes, 0, 0xffff) == 0);
    for (int n = 0; n < 64; n++) some |= bytes[n];
    CHECK(some && CALL3(SC_getrandom, 16, 64, 0) == -EFAULT && CALL3(SC_getrandom, bytes, -1, 0) == -EINVAL);
    CHECK(CALL0(SC_emuctl) == -ENOSYS && CALL0(SC_beep) == -ENODEV);
    CHECK(CALL2(SC_dbgputstr, "hello log\n", 10) == 10 && CALL2(SC_dbgputstr, 16, 0) == 0 && CALL2(SC_dbgputstr, 16, 5) == -EFAULT);
    static char text[2000];
    for (int n = 0; n < 1500; n++) text[n] = 'x';
    CHECK(CALL2(SC_dbgputstr, text, 2000) == 1500 && CALL2(SC_dbgputstr, "a\0b", 3) == 3);           /* a long text ends at its zero */
    CHECK(CALL2(SC_dbgputstr, text, 1ul << 40) < 0 && CALL0(SC_dump_backtrace) == 0);
}

static void keyboard(void)
{
    static u32 maps[5][128], others[5][128];
    static char name[64];
    struct keymap params = {{maps[0], maps[1], maps[2], maps[3], maps[4]}, name, sizeof name};
    CHECK(CALL1(SC_getkeymap, &params) == 0 && same(name, "en-us") && maps[0][0x1e] == 'a' && maps[1][0x1e] == 'A' && maps[0][2] == '1');
    params.size = 4;
    CHECK(CALL1(SC_getkeymap, &params) == -ENAMETOOLONG);
    if (CALL0(SC_geteuid)) return;
    maps[0][0x1e] = 0xe4;
    params.name = "de", params.size = 2;
    CHECK(CALL1(SC_setkeymap, &params) == 0);
    struct keymap asked = {{others[0], others[1], others[2], others[3], others[4]}, name, sizeof name};
    CHECK(CALL1(SC_getkeymap, &asked) == 0 && name[0] == 'd' && name[1] == 'e' && others[0][0x1e] == 0xe4 && others[4][0x1e] == 'A');
    params.size = 0;
    CHECK(CALL1(SC_setkeymap, &params) == -EINVAL);
    params.name = maps[0], params.size = 60, maps[0][0] = 0x78787878;
    params.maps[3] = NULL;
    CHECK(CALL1(SC_setkeymap, &params) == -EFAULT);
}

static void profiles(void)
{
    u64 mask = 32768;
    i64 me = CALL0(SC_getpid);
    CHECK(CALL3(SC_perf_event, 32768, 1, 2) == 0 && CALL3(SC_perf_event, 3, 1, 2) == 0 && CALL2(SC_perf_register_string, 16, 3) == 0);
    CHECK(CALL1(SC_profiling_disable, me) == -EINVAL && CALL2(SC_profiling_enable, me, NULL) == -EFAULT);
    CHECK(CALL2(SC_profiling_enable, 99999, &mask) == -ESRCH && CALL1(SC_profiling_disable, 99999) == -ESRCH);
    CHECK(CALL2(SC_profiling_enable, me, &mask) == 0 && CALL1(SC_profiling_free_buffer, me) == -EINVAL);
    CHECK(CALL3(SC_perf_event, 32768, 1, 2) == 0 && CALL3(SC_perf_event, 2, 1, 2) == 0);         /* one that counts, one that does not */
    CHECK(CALL3(SC_perf_event, 32768 | 1, 1, 2) == -EINVAL);
    CHECK(CALL2(SC_perf_register_string, "a", 1) == 0 && CALL2(SC_perf_register_string, "b", 1) == 1);
    CHECK(CALL2(SC_perf_register_string, "a", 1) == 0 && CALL2(SC_perf_register_string, 16, 3) == -EFAULT);
    CHECK(CALL1(SC_profiling_disable, me) == 0 && CALL1(SC_profiling_disable, me) == -EINVAL && CALL1(SC_profiling_free_buffer, me) == 0);
    if (CALL0(SC_geteuid) == 0) CHECK(CALL2(SC_profiling_enable, -1, &mask) == 0 && CALL1(SC_profiling_disable, -1) == 0);
    CHECK(CALL1(SC_profiling_free_buffer, -1) == (CALL0(SC_geteuid) ? -EPERM : 0));
}
static void profiles_with_promises(void) { pledge("stdio rpath proc ptrace", NULL); CALL1(SC_profiling_disable, CALL0(SC_getpid)); }

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    names();
    limits();
    clocks();
    CHECK(in_child(adjusts) == SIGABRT && in_child(asks_what_is_left) == 256);
    sleeping();
    usage();
    odds_and_ends();
    keyboard();
    profiles();
    CHECK(in_child(profiles_with_promises) == SIGABRT);
    return 0;
}
