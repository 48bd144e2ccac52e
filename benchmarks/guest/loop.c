/* A loop that only computes: nanoseconds a round.  Argument: rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 100000000;
    unsigned long x = 88172645463325252UL;
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (long i = 0; i < rounds; i++) x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%.4f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)rounds);
    return x == 0;
}
