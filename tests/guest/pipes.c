/* Pipes: ends, limits, blocking and the signals around them.
 * builds: x64 i386
 */
#include "case.h"
#include <sys/ioctl.h>

static int p[2];

CASE(basics)
{
    char b[16] = {0};
    T(pipe(p));
    T(p[0]);
    T(p[1]);
    T(write(p[1], "hello", 5));
    T(read(p[0], b, 2));
    T(read(p[0], b, 16));
    say("%s", b);
    T(read(p[1], b, 1));
    T(write(p[0], b, 1));
    T(close(p[1]));
    T(read(p[0], b, 1));
    T(pipe((int *)1));
    T(pipe2(p, O_CLOEXEC | O_NONBLOCK));
    T(fcntl(p[0], F_GETFD));
    IS(fcntl(p[1], F_GETFL) & O_NONBLOCK);
    T(read(p[0], b, 1));
    T(pipe2(p, 0x123));
}

CASE(broken)
{
    pipe(p);
    close(p[0]);
    CHILD T(write(p[1], "x", 1)); REAPED
    handle(SIGPIPE, tell, 0);
    T(write(p[1], "x", 1));
    T(write(p[1], "", 0));
    handle(SIGPIPE, SIG_IGN, 0);
    T(write(p[1], "x", 1));
}

CASE(full)
{
    static char big[70000];
    pipe2(p, O_NONBLOCK);
    T(fcntl(p[0], F_GETPIPE_SZ));
    T(write(p[1], big, sizeof big));
    T(write(p[1], big, 1));
    T(read(p[0], big, 4095));
    T(write(p[1], big, 10));
    T(read(p[0], big, 1));
    T(write(p[1], big, 4096));
    T(write(p[1], big, 5000));
    int n;
    ioctl(p[0], FIONREAD, &n);
    T(n);
}

CASE(sizes)
{
    pipe(p);
    T(fcntl(p[0], F_SETPIPE_SZ, 4096));
    T(fcntl(p[0], F_SETPIPE_SZ, 5000));
    T(fcntl(p[0], F_SETPIPE_SZ, 1 << 20));
    T(fcntl(p[1], F_GETPIPE_SZ));
    T(fcntl(p[0], F_SETPIPE_SZ, -1));
    static char big[20000];
    T(write(p[1], big, sizeof big));
    T(fcntl(p[0], F_SETPIPE_SZ, 4096));
    T(fcntl(open("/dev/null", O_RDWR), F_GETPIPE_SZ));
}

CASE(blocking_read)
{
    char b[16] = {0};
    pipe(p);
    CHILD close(p[1]); say("reading"); T(read(p[0], b, 16)); say("%s", b); T(read(p[0], b, 16)); _exit(0); }
    pause_ms(30);
    write(p[1], "late", 4);
    pause_ms(30);
    close(p[1]);
    reap(child_); }
}

CASE(blocking_write)
{
    static char big[200000];
    pipe(p);
    pid_t pid = fork();
    if (pid == 0) { close(p[0]); T(write(p[1], big, sizeof big)); _exit(0); }
    close(p[1]);
    long total = 0, n;
    while ((n = read(p[0], big, 3000)) > 0) total += n;
    reap(pid);
    T(total);
}

CASE(atomic_writes)
{
    char mark[512], got[512];
    pipe(p);
    for (int who = 0; who < 4; who++) if (fork() == 0) {
        memset(mark, 'a' + who, sizeof mark);
        for (int i = 0; i < 40; i++) write(p[1], mark, sizeof mark);
        _exit(0);
    }
    close(p[1]);
    int mixed = 0, blocks = 0;
    for (;;) {
        size_t have = 0;
        for (ssize_t n; have < sizeof got && (n = read(p[0], got + have, sizeof got - have)) > 0;) have += (size_t)n;
        if (have < sizeof got) break;
        blocks++;
        for (size_t i = 1; i < sizeof got; i++) mixed += got[i] != got[0];
    }
    while (wait(NULL) > 0) {}
    say("blocks %d mixed %d", blocks, mixed);
}

CASE(pipeline_of_three)
{
    int a[2], b[2];
    char c;
    pipe(a), pipe(b);
    if (fork() == 0) { for (int i = 0; i < 26; i++) { c = (char)('a' + i); write(a[1], &c, 1); } _exit(0); }
    if (fork() == 0) {
        close(a[1]);
        while (read(a[0], &c, 1) == 1) { c = (char)(c - 32); write(b[1], &c, 1); }
        _exit(0);
    }
    close(a[0]), close(a[1]), close(b[1]);
    char all[32] = {0};
    int n = 0;
    while (read(b[0], all + n, 1) == 1) n++;
    say("%s", all);
    while (wait(NULL) > 0) {}
}

CASE(end_after_last_writer)
{
    char c;
    pipe(p);
    for (int i = 0; i < 3; i++) if (fork() == 0) { pause_ms(10 * (i + 1)); _exit(0); }
    close(p[1]);
    T(read(p[0], &c, 1));
    int n = 0;
    while (wait(NULL) > 0) n++;
    T(n);
}

CASE(by_proc_fd)
{
    char path[32], c = 0;
    pipe(p);
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    IS(open(path, O_WRONLY) >= 0);
    T(write(5, "x", 1));
    T(read(p[0], &c, 1));
    snprintf(path, sizeof path, "/dev/fd/%d", p[1]);
    IS(open(path, O_RDONLY | O_NONBLOCK) >= 0);
    T(read(6, &c, 1));
    char link[64] = {0};
    readlink(path, link, 5);
    say("%s", link);
}

CASE(tee_and_splice)
{
    int a[2], b[2];
    char t[16] = {0};
    pipe(a), pipe(b);
    write(a[1], "abcdef", 6);
    T(tee(a[0], b[1], 4, 0));
    T(read(b[0], t, 16));
    T(read(a[0], t, 16));
    say("%s", t);
    T(splice(a[0], NULL, b[1], NULL, 10, SPLICE_F_NONBLOCK));
    write(a[1], "xyz", 3);
    T(splice(a[0], NULL, b[1], NULL, 10, 0));
    T(read(b[0], t, 16));
    T(tee(a[0], a[1], 1, 0));
}
