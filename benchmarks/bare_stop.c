/* The floor of the native machine: one stop per getppid by PTRACE_SYSEMU, wait4, GETREGS and SETREGS, without Python.
 *
 *     cc -O2 -o bare_stop benchmarks/bare_stop.c && taskset -c 0 ./bare_stop [stops]
 *
 * Prints microseconds per stop.  Tracer and tracee must share a CPU, as they do in ring3: say taskset. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYSEMU 31

static int stop(pid_t pid)
{
    int status;
    if (wait4(-1, &status, __WALL | __WNOTHREAD, NULL) != pid || !WIFSTOPPED(status)) {
        perror("wait4");
        exit(1);
    }
    return status;
}

int main(int argc, char **argv)
{
    long stops = argc > 1 ? atol(argv[1]) : 100000;
    struct user_regs_struct regs;
    struct timespec start, end;
    pid_t pid = fork();

    if (pid == 0) {
        for (;;)
            __asm__ volatile("syscall" : : "a"(110L) : "rcx", "r11", "memory");
    }
    if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) || ptrace(PTRACE_INTERRUPT, pid, 0, 0)) {
        perror("ptrace");
        return 1;
    }
    stop(pid);
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    for (long i = -1000; i < stops; i++) {
        if (i == 0)
            clock_gettime(CLOCK_MONOTONIC, &start);
        regs.rax = 1;
        regs.orig_rax = -1;
        ptrace(PTRACE_SETREGS, pid, 0, &regs);
        ptrace(SYSEMU, pid, 0, 0);
        stop(pid);
        ptrace(PTRACE_GETREGS, pid, 0, &regs);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    kill(pid, SIGKILL);
    wait4(pid, NULL, __WALL, NULL);
    printf("%.2f\n", ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / 1e3 / stops);
    return 0;
}
