/* getppid as often as argv[1] says, by SerenityOS's rules: microseconds for each, three decimals. */
#include "sy.h"

static u64 now(void)
{
    i64 time[2] = {0, 0};
    CALL2(SC_clock_gettime, 1, time);
    return (u64)time[0] * 1000000000 + (u64)time[1];
}

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    word rounds = 0;
    for (const char *p = argc > 1 ? argv[1] : "20000"; *p; p++) rounds = rounds * 10 + (word)(*p - '0');
    u64 start = now();
    for (word i = 0; i < rounds; i++) CALL0(SC_getppid);
    u64 each = (now() - start) / rounds;
    number(each / 1000);
    put(".");
    number(each / 100 % 10), number(each / 10 % 10), number(each % 10);
    put("\n");
    return 0;
}
