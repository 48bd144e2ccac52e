/* getppid as often as argv[1] says, by NetBSD's rules: microseconds for each, three decimals. */
#include "nb.h"

static i64 now(void)
{
    struct timespec t = {0, 0};
    CALL2(427, 3, &t);
    return t.seconds * 1000000000 + (i64)t.nanoseconds;
}

static int cases(int argc, char **argv)
{
    word rounds = 0;
    for (const char *p = argc > 1 ? argv[1] : "20000"; *p; p++) rounds = rounds * 10 + (word)(*p - '0');
    i64 start = now();
    for (word i = 0; i < rounds; i++) CALL0(SYS_getppid);
    u64 each = (u64)(now() - start) / rounds;
    number(each / 1000);
    put(".");
    number(each / 100 % 10), number(each / 10 % 10), number(each % 10);
    put("\n");
    return 0;
}
