/* A little of everything for which a stub has to do something: signals, stacks, mappings, threads, forks, execs, futexes.

   It checks nothing: what is refused it goes without, and it always ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/syscall.h>
#include <unistd.h>
extern char **environ;
static volatile sig_atomic_t got;
static volatile double f = 1.5;
static void on(int s, siginfo_t *i, void *u) { (void)i; (void)u; got = s; f = f * 2; }
static void *work(void *p) { volatile char *c = malloc(300000); c[200000] = 1; free((void*)c); return p; }
static int grow(int n) { volatile char buf[4096]; buf[0] = n; return n ? grow(n - 1) + buf[0] : 0; }
int main(int argc, char **argv) {
    if (argc > 2) return 7;
    struct sigaction a = {.sa_sigaction = on, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGUSR1, &a, 0);
    stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536};
    if (ss.ss_sp) sigaltstack(&ss, 0);
    raise(SIGUSR1);
    char *m = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m != MAP_FAILED) {
        m[0] = 1; m[1 << 19] = 2;
        mprotect(m + 8192, 4096, PROT_READ);
        madvise(m, 1 << 20, MADV_DONTNEED);
        char *n = mremap(m, 1 << 20, 2 << 20, MREMAP_MAYMOVE);
        if (n != MAP_FAILED) m = n;
        m[0] = 3;
        munmap(m, 1 << 20);
    }
    char *s = mmap(0, 8192, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s != MAP_FAILED) { s[1] = 1; msync(s, 8192, MS_SYNC); }
    sbrk(100000);
    grow(200);
    pthread_t t[3];
    int made[3];
    for (int i = 0; i < 3; i++) made[i] = !pthread_create(&t[i], 0, work, 0);
    for (int i = 0; i < 3; i++) if (made[i]) pthread_join(t[i], 0);
    for (int i = 0; i < 2; i++) {
        pid_t p = fork();
        if (p == 0) { raise(SIGUSR1); execl(argv[0], "x", "y", "z", (char *)0); _exit(9); }
        int st; if (p > 0) waitpid(p, &st, 0);
    }
    pid_t p = vfork();
    if (p == 0) { execl(argv[0], "x", "y", "z", (char *)0); _exit(9); }
    int st; if (p > 0) waitpid(p, &st, 0);
    int fd = open("/tmp/faulty", O_RDWR | O_CREAT, 0600);
    if (fd >= 0) {
        ftruncate(fd, 10000);
        char *q = mmap(0, 10000, 3, MAP_SHARED, fd, 0);
        if (q != MAP_FAILED) { q[5] = 'x'; msync(q, 10000, MS_SYNC); munmap(q, 10000); }
    }
    syscall(SYS_futex, &got, 1, 1);
    printf("end\n");
    return 0;
}
