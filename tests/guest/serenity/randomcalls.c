/* Every call with hostile arguments: argv[1] is a seed, argv[2] how many children make 400 each.  A child that hangs is killed. */
#include "sy.h"

static u64 state;
static char room[65536] __attribute__((aligned(4096)));

static u64 dice(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static word argument(void)
{
    static const u64 values[] = {0, 1, 2, 3, 4, 5, 8, 16, 31, 63, 64, 128, 255, 4096, 0x1002, 0x1012, ~0ull, 1ull << 63, 0x7fffffff,
                                 0x80000000, 0xc0000001, 0x1ffe000000, 0x1ffdfff000, 1ull << 47, (word)-100};
    switch (dice() % 5) {
    case 0: return (word)values[dice() % (sizeof values / sizeof *values)];
    case 1: return (word)(room + dice() % 60000);
    case 2: return (word)(dice() % 64);
    case 3: return (word)dice();
    default: return (word)room + 4096 * (word)(dice() % 12);
    }
}

/* A struct of parameters: descriptors, lengths, and addresses of strings and of other structs. */
static word params(void)
{
    static const char *const strings[] = {"/", "/tmp", "/dev/null", "/proc/self", "name", "stdio", "r", "..", "/nowhere/x", "/proc/self/fd"};
    u64 *words = (u64 *)(room + 8 * (dice() % 4000));
    for (int n = 0; n < 10; n++) {
        const char *text = strings[dice() % (sizeof strings / sizeof *strings)];
        switch (dice() % 4) {
        case 0: words[n] = (u64)text, words[n + 1] = length(text), n++; break;
        case 1: words[n] = dice() % 16 | (dice() % 16) << 32; break;
        case 2: words[n] = (u32)-100 | (dice() % 4) << 32; break;
        default: words[n] = argument();
        }
    }
    return (word)words;
}

/* Calls that mostly end or stop a child at once, or take its memory or its freedom away, are made more rarely. */
static int is_rare(word number)
{
    static const u16 rare[] = {SC_exit, SC_exit_thread, SC_fork, SC_pledge, SC_unveil, SC_munmap, SC_mprotect, SC_sigreturn, SC_sigsuspend,
                               SC_waitid, SC_kill, SC_killpg, SC_kill_thread, SC_annotate_mapping, SC_sigtimedwait, SC_execve, SC_poll,
                               SC_sigaltstack, SC_ptrace, SC_create_thread, SC_futex, SC_clock_nanosleep, SC_jail_attach, SC_join_thread};
    for (unsigned i = 0; i < sizeof rare / sizeof *rare; i++)
        if (rare[i] == number) return 1;
    return 0;
}

/* Whether a call would stop or end the process that counts the children. */
static int hits_parent(word number, word first, i64 parent)
{
    if (number == SC_kill || number == SC_killpg || number == SC_kill_thread) return (i32)first == (i32)parent || (i32)first < 2;
    if (number != SC_ptrace) return 0;
    return first < (word)room || first > (word)room + 65000 || ((i32 *)first)[1] == (i32)parent;
}

static void child(void)
{
    i64 parent = CALL0(SC_getppid);
    CALL0(SC_setsid);               /* a session of its own: signals to its group stay with it */
    for (int i = 0; i < 400; i++) {
        word number = (word)(dice() % (SC_count + 2));
        if (is_rare(number) && dice() % 20) continue;
        for (int k = 0; k < 32; k++) ((u64 *)room)[dice() % 8000] = dice() % 3 ? dice() % 300 : (u64)argument();
        word first = dice() % 2 ? params() : argument();
        if (hits_parent(number, first, parent)) continue;
        CALL4(number, first, dice() % 4 ? argument() : params(), argument(), argument());
    }
    leave(0);
}

static void nap(i64 nanoseconds)
{
    i64 time[2] = {0, nanoseconds};
    struct { i32 clock, flags; void *wanted, *left; } params = {1, 0, time, NULL};
    if (CALL1(SC_clock_nanosleep, &params) == -ENOSYS) CALL0(SC_yield);
}

static u64 parse(const char *text)
{
    u64 n = 0;
    for (; *text; text++) n = n * 10 + (u64)(*text - '0');
    return n;
}

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    u64 seed = argc > 1 ? parse(argv[1]) : 1, children = argc > 2 ? parse(argv[2]) : 20;
    for (u64 c = 0; c < children; c++) {
        state = (seed * 1000003 + c) * 0x9e3779b97f4a7c15 + 1;
        for (int i = 0; i < 10; i++) dice();
        i64 pid = CALL0(SC_fork);
        if (!pid) child();
        struct siginfo info;
        struct waitid_params wait = {2, (i32)pid, &info, 4 | 1};
        for (int n = 0; n < 60; n++) {
            info.signo = 0;
            if (CALL1(SC_waitid, &wait) < 0 || info.signo) break;
            nap(2000000);
        }
        if (!info.signo) {
            CALL2(SC_kill, pid, SIGKILL);
            wait.options = 4;
            CALL1(SC_waitid, &wait);
        }
    }
    put("done\n");
    return 0;
}
