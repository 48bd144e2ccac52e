/* Many live processes: forks them, says so, keeps them until its standard input ends.  Argument: how many. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long wanted = argc > 1 ? atol(argv[1]) : 500;
    pid_t *pids = calloc((size_t)wanted, sizeof *pids);
    char c;
    for (long i = 0; i < wanted; i++) {
        pids[i] = fork();
        if (pids[i] == 0) for (;;) pause();
        if (pids[i] < 0) { printf("stopped at %ld\n", i); fflush(stdout); return 1; }
    }
    printf("%ld alive\n", wanted);
    fflush(stdout);
    while (read(0, &c, 1) > 0) {}
    for (long i = 0; i < wanted; i++) kill(pids[i], SIGKILL);
    while (wait(NULL) > 0) {}
    return 0;
}
