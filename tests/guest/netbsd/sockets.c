/* Local sockets, and waiting for several files: sockaddr with its length, msghdr, cmsghdr, options, select and pollts (reference: 2.3,
 * 2.6).  builds: amd64 i386 */
#include "nb.h"

enum { SYS_recvmsg = 27, SYS_sendmsg = 28, SYS_recvfrom = 29, SYS_accept = 30, SYS_getpeername = 31, SYS_getsockname = 32, SYS_connect = 98,
       SYS_bind = 104, SYS_setsockopt = 105, SYS_listen = 106, SYS_getsockopt = 118, SYS_sendto = 133, SYS_shutdown = 134,
       SYS_socketpair = 135, SYS_poll = 209, SYS_socket = 394, SYS_select = 417, SYS_pselect = 436, SYS_pollts = 437, SYS_paccept = 456,
       SYS_unlink = 10, SYS_fcntl = 92 };
enum { EEXIST = 17, EPIPE = 32, ENOTSOCK = 38, ENOPROTOOPT = 42, EAFNOSUPPORT = 47, EADDRINUSE = 48, ENOTCONN = 57, ECONNREFUSED = 61 };
enum { SOL_SOCKET = 0xffff };

struct address { u8 len, family; char path[104]; };
struct message { void *name; u32 namelen; struct { void *base; word size; } *iov; int iovlen; void *control; u32 controllen; int flags; };
#ifdef __x86_64__
struct control { u32 len; int level, type, pad; int fds[2]; };
enum { HEADER = 16, CONTROL = 24, MESSAGE = 48 };              /* data stands at a multiple of a word */
#else
struct control { u32 len; int level, type; int fds[2]; };
enum { HEADER = 12, CONTROL = 16, MESSAGE = 28 };
#endif
struct timeval { i64 seconds; int micros; };
struct pollfd { int fd; short events, revents; };
static struct address here = {0, 1, "sock"}, there;
static u32 space;
static char text[256];

static struct result socket(void) { return CALL3(SYS_socket, 1, 1, 0); }

static void streams(void)
{
    int listener = (int)socket().value;
    CHECK(gave(CALL3(SYS_bind, listener, &here, 7), 0) && gave(CALL2(SYS_listen, listener, 5), 0));
    CHECK(failed(CALL3(SYS_bind, (int)socket().value, &here, 7), EADDRINUSE));
    space = sizeof there;
    CHECK(gave(CALL3(SYS_getsockname, listener, &there, &space), 0) && there.family == 1 && there.len == space && same(there.path, "sock"));
    int client = (int)CALL3(SYS_socket, 1, 1 | 0x10000000 | 0x20000000, 0).value;        /* SOCK_CLOEXEC, SOCK_NONBLOCK */
    CHECK(gave(CALL3(SYS_fcntl, client, 1, 0), 1) && gave(CALL3(SYS_fcntl, client, 3, 0), 2 | 4));
    CHECK(gave(CALL3(SYS_connect, client, &here, 7), 0));
    space = sizeof there;
    struct result r = CALL5(SYS_paccept, listener, &there, &space, 0, 0x10000000);
    int server = (int)r.value;
    CHECK(!r.carry && there.family == 1 && space == 2 && gave(CALL3(SYS_fcntl, server, 1, 0), 1));
    CHECK(gave(CALL6(SYS_sendto, client, "hello", 5, 0, 0, 0), 5));
    CHECK(gave(CALL6(SYS_recvfrom, server, text, 2, 2, 0, 0), 2) && gave(CALL6(SYS_recvfrom, server, text, 5, 0x40, 0, 0), 5));    /* PEEK, WAITALL */
    CHECK(failed(CALL6(SYS_recvfrom, server, text, 5, 0x80, 0, 0), EAGAIN));             /* DONTWAIT */
    int value = 0;
    space = 4;
    CHECK(gave(CALL5(SYS_getsockopt, server, SOL_SOCKET, 0x1008, &value, &space), 0) && value == 1);      /* SO_TYPE */
    CHECK(gave(CALL5(SYS_getsockopt, server, SOL_SOCKET, 0x1007, &value, &space), 0) && value == 0);      /* SO_ERROR */
    value = 1;
    CHECK(gave(CALL5(SYS_setsockopt, server, SOL_SOCKET, 4, &value, 4), 0) && failed(CALL5(SYS_setsockopt, server, 6, 1, &value, 4), ENOPROTOOPT));
    CHECK(failed(CALL5(SYS_setsockopt, server, SOL_SOCKET, 0x7777, &value, 4), ENOPROTOOPT));
    struct { int pid; u32 uid, gid; } peer = {0, 0, 0};
    space = sizeof peer;
    CHECK(gave(CALL5(SYS_getsockopt, server, 0, 3, &peer, &space), 0) && peer.pid == (int)CALL0(SYS_getpid).value);       /* LOCAL_PEEREID */
    struct timeval wait = {0, 10000};
    CHECK(gave(CALL5(SYS_setsockopt, server, SOL_SOCKET, 0x100c, &wait, sizeof wait), 0) && failed(CALL3(SYS_read, server, text, 1), EAGAIN));
    CHECK(gave(CALL2(SYS_shutdown, client, 1), 0) && gave(CALL3(SYS_read, server, text, 1), 0));
    CALL1(SYS_close, client);
    CHECK(gave(CALL5(SYS_setsockopt, server, SOL_SOCKET, 0x800, &value, 4), 0));         /* SO_NOSIGPIPE */
    CHECK(failed(CALL3(SYS_write, server, "x", 1), EPIPE));
    CALL1(SYS_close, server), CALL1(SYS_close, listener);
    CHECK(failed(CALL3(SYS_connect, (int)socket().value, &here, 7), ECONNREFUSED) && gave(CALL1(SYS_unlink, "sock"), 0));
    CHECK(failed(CALL3(SYS_connect, (int)socket().value, &here, 7), ENOENT));
    CHECK(failed(CALL3(SYS_socket, 99, 1, 0), EAFNOSUPPORT) && failed(CALL3(SYS_bind, 1, &here, 7), ENOTSOCK));
    struct address empty = {2, 1, ""};
    CHECK(failed(CALL3(SYS_bind, (int)socket().value, &empty, 3), ENOENT));              /* no names without a file */
}

static void messages(void)
{
    int pair[2], pipe[2];
    CHECK(gave(CALL4(SYS_socketpair, 1, 2, 0, pair), 0));
    struct result ends = CALL0(SYS_pipe);
    pipe[0] = (int)ends.value, pipe[1] = (int)ends.second;
    struct { void *base; word size; } data = {"data", 4}, got = {text, 2};
    struct control rights = {.len = HEADER + 4, .level = SOL_SOCKET, .type = 1, .fds = {pipe[1], 0}}, back = {0};
    struct message out = {0, 0, (void *)&data, 1, &rights, CONTROL, 0}, in = {0, 0, (void *)&got, 1, &back, sizeof back, 0};
    CHECK(sizeof out == MESSAGE && gave(CALL3(SYS_sendmsg, pair[0], &out, 0), 4));
    CHECK(gave(CALL3(SYS_recvmsg, pair[1], &in, 0x800), 2) && in.flags & 0x10);          /* CMSG_CLOEXEC; cut: MSG_TRUNC */
    CHECK(in.controllen == CONTROL && back.len == HEADER + 4 && back.level == SOL_SOCKET && back.type == 1);
    CHECK(gave(CALL3(SYS_fcntl, back.fds[0], 1, 0), 1) && gave(CALL3(SYS_write, back.fds[0], "through", 7), 7));
    CHECK(gave(CALL3(SYS_read, pipe[0], text, 16), 7));
    CALL1(SYS_close, pair[0]), CALL1(SYS_close, pair[1]), CALL1(SYS_close, back.fds[0]);

    struct pollfd fds[2] = {{pipe[0], 1, 0}, {pipe[1], 4, 0}};
    CHECK(gave(CALL3(SYS_poll, fds, 2, 0), 1) && fds[0].revents == 0 && fds[1].revents == 4);
    struct timespec soon = {0, 5000000};
    struct sigset mask = only(SIGUSR1);
    CHECK(gave(CALL4(SYS_pollts, fds, 1, &soon, &mask), 0));
    CHECK(soon.nanoseconds == 5000000);                                                  /* not what is left of it */
    u32 reads[8] = {1u << pipe[0]}, writes[8] = {1u << pipe[1]};
    struct timeval wait = {0, 5000};
    CHECK(gave(CALL5(SYS_select, pipe[1] + 1, reads, writes, 0, &wait), 1) && reads[0] == 0 && writes[0] == 1u << pipe[1] && wait.micros == 5000);
    reads[0] = 1u << pipe[0];
    CHECK(gave(CALL6(SYS_pselect, pipe[0] + 1, reads, 0, 0, &soon, &mask), 0));
    reads[0] = 1u << 31;
    CHECK(failed(CALL5(SYS_select, 32, reads, 0, 0, 0), EBADF) && failed(CALL5(SYS_select, -1, 0, 0, 0, 0), EINVAL));
    fds[0].fd = 77;
    CHECK(gave(CALL3(SYS_poll, fds, 1, 0), 1) && fds[0].revents == 0x20);                /* POLLNVAL */
    CALL1(SYS_close, pipe[1]);
    fds[0].fd = pipe[0];
    CHECK(gave(CALL3(SYS_poll, fds, 1, 1000), 1) && fds[0].revents & 0x10);              /* POLLHUP */
}

static int cases(int argc, char **argv)
{
    (void)argc, (void)argv;
    here.len = 7;
    streams();
    messages();
    return 0;
}
