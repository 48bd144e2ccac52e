/* Local sockets, descriptors handed over them, poll, and ioctl of what is no terminal. */
#include "sy.h"

enum { AF_LOCAL = 1, AF_INET = 2, SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_NONBLOCK = 04000, SOCK_CLOEXEC = 02000000 };
enum { SO_RCVTIMEO, SO_SNDTIMEO, SO_TYPE, SO_ERROR, SO_PEERCRED, SO_RCVBUF, SO_ACCEPTCONN = 14 };
enum { FIONBIO = 42, FIONREAD, FIOCLEX, FIONCLEX };
enum { POLLIN = 1, POLLOUT = 4, MSG_DONTWAIT = 0x40, F_GETFD = 1, F_ISTTY = 5 };

struct sockaddr_un { u16 family; char path[108]; };
struct pollfd { i32 fd; u16 events, revents; };
struct timespec { i64 seconds, nanoseconds; };
struct poll_params { struct pollfd *fds; u32 nfds; struct timespec *timeout; u32 *sigmask; };
struct accept4_params { void *addr; u32 *length; i32 fd, flags; };
struct name_params { i32 fd; void *addr; u32 *length; };
struct pair_params { i32 domain, type, protocol; i32 *fds; };
struct get_params { i32 fd, level, option; void *value; u32 *size; };
struct set_params { const void *value; i32 fd, level, option; u32 size; };
struct iovec { void *base; word length; };
struct msghdr { void *name; u32 namelen; struct iovec *iov; i32 iovlen; void *control; u32 controllen; i32 flags; };
struct cred { i32 pid; u32 uid, gid; };
_Static_assert(sizeof(struct poll_params) == 32 && sizeof(struct accept4_params) == 24 && sizeof(struct pair_params) == 24, "layouts");
_Static_assert(sizeof(struct get_params) == 32 && sizeof(struct set_params) == 24 && sizeof(struct msghdr) == 48, "layouts");

static char buffer[256];
static int pair[2], ends[2];

static struct sockaddr_un named(const char *path)
{
    struct sockaddr_un addr = {AF_LOCAL, {0}};
    memcpy(addr.path, path, length(path));
    return addr;
}
static i64 bind_to(int fd, const char *path) { struct sockaddr_un addr = named(path); return CALL3(SC_bind, fd, &addr, sizeof addr); }
static i64 connect_to(int fd, const char *path)
{
    struct sockaddr_un addr = named(path);
    return CALL3(SC_connect, fd, &addr, sizeof addr);
}
static i64 make_pair(int domain, int type, int protocol, i32 *fds)
{
    struct pair_params params = {domain, type, protocol, fds};
    return CALL1(SC_socketpair, &params);
}
static i64 poll_for(struct pollfd *fds, u32 count, i64 milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    struct poll_params params = {fds, count, milliseconds < 0 ? NULL : &time, NULL};
    return CALL1(SC_poll, &params);
}
static i64 accept_from(int fd, void *addr, u32 *size, int flags)
{
    struct accept4_params params = {addr, size, fd, flags};
    return CALL1(SC_accept4, &params);
}
static i64 message(word call, int fd, void *data, word size, int flags, int pieces)
{
    struct iovec iov = {data, size};
    struct msghdr header = {NULL, 0, &iov, pieces, NULL, 0, -1};
    return CALL3(call, fd, &header, flags);
}
static i64 option(int fd, int level, int which, void *value, u32 *size)
{
    struct get_params params = {fd, level, which, value, size};
    return CALL1(SC_getsockopt, &params);
}
static i64 set_option(int fd, int which, const void *value, u32 size)
{
    struct set_params params = {value, fd, 1, which, size};
    return CALL1(SC_setsockopt, &params);
}

static void refusals(void)
{
    int file = (int)open_file("file", O_RDWR | O_CREAT, 0644);
    u32 size = 4;
    i32 number = 7;
    CHECK(CALL3(SC_socket, AF_INET, SOCK_STREAM, 0) == -EAFNOSUPPORT && CALL3(SC_socket, 3, SOCK_STREAM, 0) == -EAFNOSUPPORT);
    CHECK(CALL3(SC_socket, 0, SOCK_STREAM, 0) == -EAFNOSUPPORT);
    CHECK(make_pair(AF_INET, SOCK_STREAM, 0, ends) == -EINVAL && make_pair(AF_LOCAL, SOCK_STREAM, 6, ends) == -EINVAL);
    CHECK(make_pair(AF_LOCAL, SOCK_STREAM, 0, (i32 *)8) == -EFAULT && CALL1(SC_socketpair, 8) == -EFAULT);
    CHECK(bind_to(99, "x") == -EBADF && bind_to(file, "x") == -41 && connect_to(file, "x") == -41);
    CHECK(CALL2(SC_listen, file, -1) == -EINVAL && CALL2(SC_listen, file, 1) == -41 && CALL2(SC_listen, 99, 1) == -EBADF);
    CHECK(accept_from(file, NULL, NULL, 0) == -41 && accept_from(99, NULL, NULL, 0) == -EBADF);
    CHECK(accept_from(99, &number, (u32 *)8, 0) == -EFAULT);
    CHECK(CALL2(SC_shutdown, 99, 4) == -EINVAL && CALL2(SC_shutdown, file, 1) == -41);
    CHECK(message(SC_sendmsg, 99, buffer, 1, 0, 2) == -74 && message(SC_recvmsg, 99, buffer, 1, 0, 0) == -74);
    CHECK(message(SC_sendmsg, 99, buffer, 1, 0, 1) == -EBADF && message(SC_recvmsg, file, buffer, 1, 0, 1) == -41);
    CHECK(option(file, 1, SO_TYPE, &number, &size) == -41 && set_option(99, SO_TYPE, &number, 4) == -EBADF);
    CHECK(CALL2(SC_sendfd, file, 0) == -41 && CALL2(SC_recvfd, file, 0) == -41 && CALL2(SC_recvfd, 99, 0) == -EBADF);
    CALL1(SC_close, file);
}

static void a_listener(void)
{
    int listener = (int)CALL3(SC_socket, AF_LOCAL, SOCK_STREAM, 0), client = (int)CALL3(SC_socket, AF_LOCAL, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;
    struct stat_params stat = {string("door"), &st, AT_FDCWD, 0};
    struct sockaddr_un name;
    u32 size = sizeof name;
    struct name_params asked = {client, &name, &size};
    CHECK(CALL3(SC_fcntl, client, F_GETFD, 0) == 1 && CALL3(SC_fcntl, listener, F_GETFD, 0) == 0);
    CHECK(connect_to(client, "door") == -ENOENT && connect_to(client, "file") == -ECONNREFUSED);
    CHECK(CALL1(SC_umask, 077) >= 0 && bind_to(listener, "door") == 0);
    CHECK(CALL1(SC_stat, &stat) == 0 && st.mode == (0140000 | 0666));
    CHECK(bind_to(client, "door") == -EADDRINUSE && bind_to(client, "file") == -EADDRINUSE);
    struct sockaddr_un long_name = named("door");
    CHECK(CALL3(SC_bind, client, &long_name, 111) == -EINVAL && CALL3(SC_bind, client, 8, 110) == -EFAULT);
    long_name.family = AF_INET;
    CHECK(CALL3(SC_bind, client, &long_name, 110) == -EINVAL && CALL3(SC_connect, client, &long_name, 16) == -EINVAL);
    CHECK(connect_to(client, "door") == -ECONNREFUSED);
    CHECK(CALL2(SC_listen, listener, 1) == 0);
    CHECK(open_file("door", O_RDWR, 0) == -ENXIO);
    CHECK(CALL2(SC_ioctl, listener, 9999) == -EINVAL);
    CHECK(CALL3(SC_ioctl, listener, FIONBIO, (i32[]){1}) == 0 && accept_from(listener, NULL, NULL, 0) == -EAGAIN);
    CHECK(connect_to(client, "door") == 0 && connect_to(client, "door") == -EISCONN);
    int second = (int)CALL3(SC_socket, AF_LOCAL, SOCK_STREAM, 0);
    CHECK(connect_to(second, "door") == -ECONNREFUSED);
    struct pollfd waiting = {listener, POLLIN | POLLOUT, 0};
    CHECK(poll_for(&waiting, 1, 0) == 1 && waiting.revents == POLLIN);
    int served = (int)accept_from(listener, &name, &size, SOCK_CLOEXEC);
    CHECK(served > 0 && size == 7 && name.family == AF_LOCAL && same(name.path, "door") && CALL3(SC_fcntl, served, F_GETFD, 0) == 1);
    size = sizeof name;
    CHECK(CALL1(SC_getsockname, &asked) == 0 && size == 7 && same(name.path, "door"));
    size = sizeof name;
    CHECK(CALL1(SC_getpeername, &asked) == 0 && size == 7 && same(name.path, "door"));
    size = 4;
    CHECK(CALL1(SC_getpeername, &asked) == 0 && size == 4);
    size = 0;
    CHECK(CALL1(SC_getpeername, &asked) == -EINVAL);
    struct cred cred = {0};
    size = sizeof cred;
    CHECK(option(served, 1, SO_PEERCRED, &cred, &size) == 0 && size == 12 && cred.pid == (i32)CALL0(SC_getpid) && cred.uid == (u32)CALL0(SC_getuid));
    size = 8;
    CHECK(option(served, 1, SO_PEERCRED, &cred, &size) == -EINVAL);
    i32 number = -1;
    size = 4;
    CHECK(option(listener, 1, SO_ACCEPTCONN, &number, &size) == 0 && number == 1);
    CHECK(option(client, 1, SO_TYPE, &number, &size) == 0 && number == SOCK_STREAM && option(client, 1, SO_ERROR, &number, &size) == 0 && number == 0);
    CHECK(option(client, 1, SO_RCVBUF, &number, &size) == -74 && option(client, 2, SO_TYPE, &number, &size) == -62);
    CHECK(option(client, 1, 77, &number, &size) == -62 && set_option(client, 77, &number, 4) == -62);
    struct { i64 seconds; i32 micro; } time = {0, 20000};
    CHECK(set_option(client, SO_RCVTIMEO, &time, 4) == -EINVAL && set_option(client, SO_RCVTIMEO, &time, 16) == 0);
    CHECK(CALL3(SC_read, client, buffer, 1) == -EAGAIN);
    CHECK(message(SC_sendmsg, client, "hello", 5, 0, 1) == 5 && message(SC_recvmsg, served, buffer, 64, 0, 1) == 5 && buffer[4] == 'o');
    CHECK(message(SC_recvmsg, served, buffer, 64, MSG_DONTWAIT, 1) == -EAGAIN);
    CHECK(CALL3(SC_write, served, "back", 4) == 4);
    CHECK(CALL3(SC_ioctl, client, FIONREAD, &number) == 0 && number == 4);
    CHECK(CALL2(SC_shutdown, served, 2) == 0 && CALL3(SC_read, client, buffer, 64) == 4 && CALL3(SC_read, client, buffer, 64) == 0);
    CHECK(CALL2(SC_shutdown, listener, 1) == -63 && CALL2(SC_shutdown, second, 3) == -63);
    CALL1(SC_close, client), CALL1(SC_close, served), CALL1(SC_close, listener), CALL1(SC_close, second);
    int late = (int)CALL3(SC_socket, AF_LOCAL, SOCK_STREAM, 0);
    CHECK(connect_to(late, "door") == -ECONNREFUSED);
    CALL1(SC_close, late);
}

static void unpiped(void)
{
    make_pair(AF_LOCAL, SOCK_STREAM, 0, pair);
    CALL1(SC_close, pair[1]);
    message(SC_sendmsg, pair[0], "x", 1, 0, 1);
}

static void descriptors(void)
{
    int file = (int)open_file("passed", O_RDWR | O_CREAT, 0644);
    int free_socket = (int)CALL3(SC_socket, AF_LOCAL, SOCK_STREAM, 0);
    CHECK(make_pair(AF_LOCAL, SOCK_STREAM, 0, pair) == 0);
    struct sockaddr_un name;
    u32 size = sizeof name;
    struct name_params asked = {pair[0], &name, &size};
    CHECK(CALL1(SC_getsockname, &asked) == 0 && same(name.path, "[socketpair]"));
    CHECK(CALL2(SC_sendfd, free_socket, file) == -63 && CALL2(SC_recvfd, free_socket, 0) == -EINVAL && CALL2(SC_sendfd, pair[0], 99) == -EBADF);
    CHECK(CALL2(SC_recvfd, pair[1], 0) == -EAGAIN);
    CALL3(SC_write, file, "contents", 8);
    CHECK(CALL2(SC_sendfd, pair[0], file) == 0 && CALL3(SC_write, pair[0], "!", 1) == 1);
    CALL1(SC_close, file);
    struct pollfd ready = {pair[1], POLLIN, 0};
    CHECK(poll_for(&ready, 1, 0) == 1 && CALL3(SC_read, pair[1], buffer, 8) == 1);
    int got = (int)CALL2(SC_recvfd, pair[1], O_CLOEXEC);
    i64 back = 0;
    CHECK(got >= 0 && CALL3(SC_fcntl, got, F_GETFD, 0) == 1);
    CHECK(CALL3(SC_lseek, got, &back, 0) == 0 && CALL3(SC_read, got, buffer, 64) == 8 && buffer[0] == 'c');
    int sent = 0;
    while (CALL2(SC_sendfd, pair[1], got) == 0) sent++;
    CHECK(sent == 129 && CALL2(SC_sendfd, pair[1], got) == -EBUSY && CALL2(SC_recvfd, pair[0], 0) > 0);
    CHECK(CALL2(SC_sendfd, pair[0], pair[1]) == 0 && CALL2(SC_sendfd, pair[1], pair[0]) == 0);      /* left behind on purpose */
    CHECK(in_child(unpiped) == SIGPIPE);
}

static void on_alarm(int signal) { (void)signal; }

static void waiting(void)
{
    struct pollfd fds[2] = {{ends[0], POLLIN, 9}, {ends[1], POLLOUT, 9}};
    CHECK(CALL2(SC_pipe, ends, 0) == 0);
    fds[0].fd = ends[0], fds[1].fd = ends[1];
    CHECK(poll_for(fds, 2, -1) == 1 && fds[0].revents == 0 && fds[1].revents == POLLOUT);
    CHECK(poll_for(fds, 1, 20) == 0 && fds[0].revents == 0);
    CHECK(poll_for(NULL, 0, 5) == 0 && poll_for(fds, 1024, 0) == -ENOBUFS && poll_for((struct pollfd *)8, 1, 0) == -EFAULT);
    struct pollfd bad[2] = {{ends[1], POLLOUT, 0}, {99, POLLIN, 0}};
    CHECK(poll_for(bad, 2, 0) == -EBADF && bad[0].revents == 0);
    struct poll_params params = {fds, 1, (struct timespec *)8, NULL};
    CHECK(CALL1(SC_poll, &params) == -EFAULT && CALL1(SC_poll, 8) == -EFAULT);
    struct { void (*handler)(int); u32 mask; i32 flags; } action = {on_alarm, 0, 0};
    u32 mask = 0, blocked = 1u << (SIGALRM - 1), now = 7;
    CHECK(CALL3(SC_sigaction, SIGALRM, &action, NULL) == 0 && CALL3(SC_sigprocmask, 2, &blocked, NULL) == 0);
    CHECK(CALL2(SC_kill, CALL0(SC_getpid), SIGALRM) == 0);
    params.timeout = NULL, params.sigmask = &mask;
    CHECK(CALL1(SC_poll, &params) == -EINTR);
    CHECK(CALL3(SC_sigprocmask, 0, NULL, &now) == 0 && now == blocked);
    CALL1(SC_close, ends[1]);
    CHECK(poll_for(fds, 1, 1000) == 1 && fds[0].revents == POLLIN && CALL3(SC_read, ends[0], buffer, 1) == 0);
}

static void requests(void)
{
    int file = (int)open_file("passed", O_RDONLY, 0), null = (int)open_file("/dev/null", O_RDWR, 0);
    i32 number = 0;
    CHECK(CALL3(SC_ioctl, file, FIONREAD, &number) == 0 && number == 8);
    CHECK(CALL3(SC_ioctl, file, 7, buffer) == -EINVAL && CALL3(SC_ioctl, ends[0], 7, buffer) == -ENOTTY && CALL3(SC_ioctl, null, 2, buffer) == -ENOTTY);
    CHECK(CALL3(SC_ioctl, 99, FIOCLEX, 0) == -EBADF && CALL3(SC_ioctl, file, FIONBIO, 8) == -EFAULT);
    CHECK(CALL3(SC_ioctl, null, FIOCLEX, 0) == 0 && CALL3(SC_fcntl, null, F_GETFD, 0) == 1);
    CHECK(CALL3(SC_ioctl, null, FIONCLEX, 0) == 0 && CALL3(SC_fcntl, null, F_GETFD, 0) == 0);
}

static void other_socket(void) { CALL3(SC_socket, AF_LOCAL, SOCK_STREAM, 0); }
static void without_unix(void) { pledge("stdio", NULL); other_socket(); }
static void without_inet(void) { pledge("stdio unix", NULL); CALL3(SC_socket, AF_INET, SOCK_STREAM, 0); }
static void with_unix(void) { pledge("stdio unix", NULL); other_socket(); leave(CALL3(SC_socket, 3, SOCK_STREAM, 0) == -EAFNOSUPPORT); }
static void without_sendfd(void) { pledge("stdio unix", NULL); CALL2(SC_sendfd, pair[0], 0); }
static void without_recvfd(void) { pledge("stdio unix", NULL); CALL2(SC_recvfd, pair[0], 0); }
static void without_accept(void) { pledge("stdio unix", NULL); accept_from(99, NULL, NULL, 0); }

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    refusals();
    a_listener();
    descriptors();
    waiting();
    requests();
    CHECK(in_child(without_unix) == SIGABRT && in_child(without_inet) == SIGABRT && in_child(with_unix) == 257);
    CHECK(in_child(without_sendfd) == SIGABRT && in_child(without_recvfd) == SIGABRT && in_child(without_accept) == SIGABRT);
    return 0;
}
