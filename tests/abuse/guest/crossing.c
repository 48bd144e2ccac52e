/* Calls made in ways that a gate may have forgotten; each says what the kernel answered.
 *
 *     crossing WAY
 *
 * i386: socketcall's connect, bind and sendto on half of a pair of sockets.  x64: fork by `int 0x80`, by x32's number, by a number
 * with garbage above it; kill from a thread that races the call's memory.
 * builds: x64 i386
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static long answer(long result) {
    if (result < 0 && result > -4096)
        printf("refused %s\n", strerror(-result));
    else
        printf("got %ld\n", result);
    return result;
}

static long raw(long number, long a, long b, long c) {
    long result = syscall(number, a, b, c);
    return result < 0 ? -errno : result;
}

#ifdef __i386__
static long socketcall(long which, unsigned long *args) {
    return raw(SYS_socketcall, which, (long)args, 0);
}
#else
static long int80(long number, long a, long b) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(0L), "S"(0L), "D"(0L) : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}
#endif

int main(int argc, char **argv) {
    const char *way = argc > 1 ? argv[1] : "";
    int pair[2];
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0nobody"};
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    setvbuf(stdout, NULL, _IOLBF, 0);
#ifdef __i386__
    unsigned long bind_args[] = {pair[0], (unsigned long)&name, 9};
    unsigned long send_args[] = {pair[0], (unsigned long)"x", 1, 0, (unsigned long)&name, 9};
    if (!strcmp(way, "bind"))
        answer(socketcall(2, bind_args));
    if (!strcmp(way, "connect"))
        answer(socketcall(3, bind_args));
    if (!strcmp(way, "sendto"))
        answer(socketcall(11, send_args));
    if (!strcmp(way, "socket")) {
        unsigned long made[] = {AF_UNIX, SOCK_STREAM, 0};
        answer(socketcall(1, made));
    }
    if (!strcmp(way, "clone"))
        answer(raw(SYS_clone, 17, 0, 0));
    if (!strcmp(way, "fchown"))
        answer(raw(95, open(argv[2], O_RDONLY), 1, 1));
#else
    if (!strcmp(way, "int80"))
        answer(int80(2, 0, 0));
    if (!strcmp(way, "int80 open"))
        answer(int80(5, (long)"/dev/null" & 0xffffffff, 1));
    if (!strcmp(way, "x32"))
        answer(raw(0x40000000 | SYS_fork, 0, 0, 0));
    if (!strcmp(way, "high"))
        answer(raw((1L << 32) | SYS_fork, 0, 0, 0));
    if (!strcmp(way, "clone"))
        answer(raw(SYS_clone, 17, 0, 0));
    if (!strcmp(way, "vfork"))
        answer(raw(SYS_vfork, 0, 0, 0));
    if (!strcmp(way, "clone3")) {
        unsigned long args[8] = {0, 0, 0, 0, 17};
        answer(raw(435, (long)args, 64, 0));
    }
#endif
    return 0;
}
