/* Random calls with random arguments: argv[1] is a seed, argv[2] how many children make 400 each.  A child that hangs is killed.
 * builds: amd64 i386 */
#include "nb.h"

static u64 state;
static char room[65536];

static u64 dice(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static word argument(void)
{
    static const u64 values[] = {0, 1, 2, 3, 4, 5, 8, 16, 31, 63, 64, 128, 255, 4096, 0x1002, 0x1012, ~0ull, 1ull << 63, 0x7fffffff,
                                 0x80000000, 1ull << 47};
    switch (dice() % 5) {
    case 0: return (word)values[dice() % (sizeof values / sizeof *values)];
    case 1: return (word)(room + dice() % 60000);
    case 2: return (word)(dice() % 64);
    case 3: return (word)dice();
    default: return ((word)room & ~(word)4095) + 4096 * (word)(dice() % 8);
    }
}

/* Calls that mostly end or stop a child at once, or take its memory away, are made more rarely. */
static int is_rare(word number)
{
    static const u16 rare[] = {1, 4, 17, 37, 73, 74, 121, 165, 197, 281, 294, 308, 310, 317, 411, 430, 449, 477, 481};
    for (unsigned i = 0; i < sizeof rare / sizeof *rare; i++)
        if (rare[i] == number) return 1;
    return 0;
}

static void child(void)
{
    CALL0(147);                     /* a session of its own: signals to its group stay with it */
    for (int i = 0; i < 400; i++) {
        word number = (word)(dice() % 512);
        if (is_rare(number) && dice() % 20) continue;
        for (int k = 0; k < 64; k++) ((u64 *)room)[dice() % 8000] = dice() % 3 ? dice() % 300 : (u64)argument();
        call7(number, argument(), argument(), argument(), argument(), argument(), argument(), argument());
    }
    leave(0);
}

static u64 parse(const char *text)
{
    u64 n = 0;
    for (; *text; text++) n = n * 10 + (u64)(*text - '0');
    return n;
}

static int cases(int argc, char **argv)
{
    u64 seed = argc > 1 ? parse(argv[1]) : 1, children = argc > 2 ? parse(argv[2]) : 20;
    for (u64 c = 0; c < children; c++) {
        state = (seed * 1000003 + c) * 0x9e3779b97f4a7c15 + 1;
        for (int i = 0; i < 10; i++) dice();
        struct result pid = CALL0(SYS_fork);
        if (!pid.carry && pid.value == 0) child();
        int status;
        nap(60000000);
        if (CALL4(SYS_wait4, pid.value, &status, 1, 0).value == 0) {
            CALL2(SYS_kill, pid.value, SIGKILL);
            CALL4(SYS_wait4, pid.value, &status, 0, 0);
        }
    }
    put("done\n");
    return 0;
}
