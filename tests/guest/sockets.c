/* Sockets of the local family: pairs, names, descriptors and credentials passed along.
 * builds: x64 i386
 */
#include "case.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int s[2];
static struct sockaddr_un named(const char *path) { struct sockaddr_un a = {.sun_family = AF_UNIX}; strcpy(a.sun_path, path); return a; }

CASE(stream_pair)
{
    char b[16] = {0};
    T(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    T(write(s[0], "hello", 5));
    T(write(s[0], " you", 4));
    T(recv(s[1], b, 3, MSG_PEEK));
    T(read(s[1], b, 16));
    say("%s", b);
    T(send(s[1], "back", 4, 0));
    T(recv(s[0], b, 16, MSG_WAITALL | MSG_DONTWAIT));
    T(recv(s[0], b, 16, MSG_DONTWAIT));
    T(shutdown(s[0], SHUT_WR));
    T(read(s[1], b, 16));
    T(send(s[0], "x", 1, MSG_NOSIGNAL));
    T(write(s[1], "y", 1));
    T(read(s[0], b, 16));
    T(close(s[0]));
    T(send(s[1], "x", 1, MSG_NOSIGNAL));
    handle(SIGPIPE, tell, 0);
    T(write(s[1], "x", 1));
    T(read(s[1], b, 16));
    T(lseek(s[1], 0, SEEK_SET));
    T(socketpair(AF_INET, SOCK_STREAM, 0, s));
    T(socketpair(AF_UNIX, SOCK_STREAM, 77, s));
    T(socketpair(AF_UNIX, 99, 0, s));
}

CASE(datagram_pair)
{
    char b[4] = {0};
    T(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s));
    T(write(s[0], "first", 5));
    T(write(s[0], "", 0));
    T(write(s[0], "2nd", 3));
    T(recv(s[1], b, 4, MSG_TRUNC));
    T(read(s[1], b, 4));
    T(read(s[1], b, 4));
    T(read(s[1], b, 4));
    T(close(s[0]));
    T(write(s[1], "x", 1));
    T(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    T(write(s[0], "packet", 6));
    struct iovec io = {b, 4};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
    T(recvmsg(s[1], &message, 0));
    IS(message.msg_flags & MSG_TRUNC);
    T(close(s[0]));
    T(read(s[1], b, 4));
}

static long pass(int socket, int *fds, int n)
{
    char c = 'f';
    struct iovec io = {&c, 1};
    union { char room[CMSG_SPACE(16 * sizeof(int))]; struct cmsghdr align; } u;
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET, control->cmsg_type = SCM_RIGHTS, control->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
    memcpy(CMSG_DATA(control), fds, (size_t)n * sizeof(int));
    return sendmsg(socket, &message, 0);
}

static long take(int socket, int *fds, int n, int flags)
{
    char c;
    struct iovec io = {&c, 1};
    union { char room[CMSG_SPACE(16 * sizeof(int))]; struct cmsghdr align; } u;
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
    long got = recvmsg(socket, &message, flags);
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    if (got < 0) return got;
    say("flags %x control %s", message.msg_flags & ~MSG_CMSG_CLOEXEC, control && control->cmsg_type == SCM_RIGHTS ? "rights" : "none");
    if (control) memcpy(fds, CMSG_DATA(control), control->cmsg_len - CMSG_LEN(0));
    return got;
}

CASE(passing_descriptors)
{
    int fds[2] = {open("a", O_CREAT | O_RDWR, 0600), open("/dev/null", O_WRONLY)}, got[2] = {-1, -1};
    char b[8] = {0};
    write(fds[0], "content", 7);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    T(pass(s[0], fds, 2));
    T(take(s[1], got, 2, 0));
    T(got[0]);
    T(lseek(got[0], 0, SEEK_CUR));
    T(pread(got[0], b, 7, 0));
    say("%s", b);
    T(pass(s[0], fds, 1));
    T(take(s[1], got, 1, MSG_CMSG_CLOEXEC));
    T(fcntl(got[0], F_GETFD));
    int bad = 99;
    T(pass(s[0], &bad, 1));
    T(pass(s[0], fds, 2));
    T(read(s[1], b, 1));
    T(pass(s[0], fds, 2));
    T(take(s[1], got, 1, 0));
    CHILD int p[2]; pipe(p); T(pass(s[0], &p[0], 1)); write(p[1], "through", 7); REAPED
    T(take(s[1], got, 1, 0));
    T(read(got[0], b, 7));
    say("%s", b);
}

CASE(credentials)
{
    int on = 1;
    char c;
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    struct ucred peer;
    socklen_t size = sizeof peer;
    T(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &peer, &size));
    IS(peer.pid == getpid() && peer.uid == getuid());
    T(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    pid_t pid = fork();
    if (pid == 0) { write(s[0], "x", 1); _exit(0); }
    struct iovec io = {&c, 1};
    union { char room[128]; struct cmsghdr align; } u;
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof u};
    T(recvmsg(s[1], &message, 0));
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    if (control && control->cmsg_type == SCM_CREDENTIALS) {
        memcpy(&peer, CMSG_DATA(control), sizeof peer);
        say("from the child %d uid %d", peer.pid == pid, peer.uid == getuid());
    } else say("no credentials");
    reap(pid);
}

CASE(listening)
{
    struct sockaddr_un a = named("sock"), peer;
    socklen_t size = sizeof peer;
    char b[16] = {0};
    int l = (int)T(socket(AF_UNIX, SOCK_STREAM, 0)), c = (int)T(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    T(fcntl(c, F_GETFD));
    T(connect(c, (void *)&a, sizeof a));
    T(listen(l, 5));
    T(bind(l, (void *)&a, sizeof a));
    T(bind(c, (void *)&a, sizeof a));
    T(connect(c, (void *)&a, sizeof a));
    T(listen(l, 1));
    T(connect(c, (void *)&a, sizeof a));
    T(connect(c, (void *)&a, sizeof a));
    T(write(c, "early", 5));
    int d = (int)T(accept4(l, (void *)&peer, &size, SOCK_CLOEXEC));
    say("peer size %u", (unsigned)size);
    T(fcntl(d, F_GETFD));
    T(read(d, b, 16));
    say("%s", b);
    size = sizeof peer;
    T(getpeername(c, (void *)&peer, &size));
    say("%s", peer.sun_path);
    size = sizeof peer;
    T(getsockname(c, (void *)&peer, &size));
    say("size %u", (unsigned)size);
    T(fcntl(l, F_SETFL, O_NONBLOCK));
    T(accept(l, NULL, NULL));
    T(accept(c, NULL, NULL));
    struct stat st;
    stat("sock", &st);
    say("%o", st.st_mode & S_IFMT);
    T(open("sock", O_RDWR));
    T(unlink("sock"));
    int e = socket(AF_UNIX, SOCK_STREAM, 0);
    T(connect(e, (void *)&a, sizeof a));
    put("sock", "", 0, 0600);
    T(connect(e, (void *)&a, sizeof a));
    T(bind(e, (void *)&a, sizeof a));
    T(close(l));
    T(write(d, "z", 1));
    T(read(c, b, 1));
}

CASE(blocking_accept)
{
    struct sockaddr_un a = named("sock");
    int l = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(l, (void *)&a, sizeof a), listen(l, 5);
    for (int i = 0; i < 3; i++) if (fork() == 0) {
        int c = socket(AF_UNIX, SOCK_STREAM, 0);
        pause_ms(20 * (i + 1));
        connect(c, (void *)&a, sizeof a);
        char reply[8] = {0};
        write(c, "abc" + i, 1);
        read(c, reply, 8);
        _exit(reply[0] - 'A');
    }
    for (int i = 0; i < 3; i++) {
        int d = accept(l, NULL, NULL);
        char b = 0;
        read(d, &b, 1);
        say("%c", b);
        b = (char)(b - 32);
        write(d, &b, 1);
        close(d);
    }
    int sum = 0, status;
    while (wait(&status) > 0) sum += WEXITSTATUS(status);
    T(sum);
}

CASE(abstract_names)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX}, got;
    memcpy(a.sun_path, "\0ring3-test-name", 16);
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + 16, got_size = sizeof got;
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    T(bind(l, (void *)&a, size));
    T(bind(c, (void *)&a, size));
    T(listen(l, 1));
    T(connect(c, (void *)&a, size));
    T(getsockname(l, (void *)&got, &got_size));
    T((long)got_size - (long)offsetof(struct sockaddr_un, sun_path));
    T(close(l));
    int d = socket(AF_UNIX, SOCK_STREAM, 0);
    T(connect(d, (void *)&a, size));
    int u = socket(AF_UNIX, SOCK_DGRAM, 0);
    T(bind(u, (void *)&a, sizeof(sa_family_t)));
    got_size = sizeof got;
    T(getsockname(u, (void *)&got, &got_size));
    say("autobind length %u", (unsigned)(got_size - offsetof(struct sockaddr_un, sun_path)));
}

CASE(named_datagrams)
{
    struct sockaddr_un a = named("one"), b = named("two"), from;
    socklen_t size = sizeof from;
    char text[8] = {0};
    int x = socket(AF_UNIX, SOCK_DGRAM, 0), y = socket(AF_UNIX, SOCK_DGRAM, 0);
    T(bind(x, (void *)&a, sizeof a));
    T(bind(y, (void *)&b, sizeof b));
    T(sendto(x, "hey", 3, 0, (void *)&b, sizeof b));
    T(recvfrom(y, text, 8, 0, (void *)&from, &size));
    say("%s from %s", text, from.sun_path);
    T(connect(y, (void *)&a, sizeof a));
    T(send(y, "yo", 2, 0));
    T(recv(x, text, 8, 0));
    T(sendto(x, "no", 2, 0, (void *)&(struct sockaddr_un){AF_UNIX, "none"}, sizeof a));
    T(send(x, "no", 2, 0));
    T(listen(x, 1));
}

CASE(options)
{
    int value = 0, on = 1;
    socklen_t size = sizeof value;
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    T(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &value, &size));
    T(value);
    T(getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &value, &size));
    T(value);
    T(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &value, &size));
    T(value);
    T(getsockopt(s[0], SOL_SOCKET, SO_ACCEPTCONN, &value, &size));
    T(value);
    T(setsockopt(s[0], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    T(getsockopt(s[0], SOL_SOCKET, 9999, &value, &size));
    T(getsockopt(0, SOL_SOCKET, SO_TYPE, &value, &size));
    T(getsockopt(99, SOL_SOCKET, SO_TYPE, &value, &size));
    struct timeval tv = {0, 20000};
    T(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    T(read(s[0], &value, 1));
    T(socket(12345, SOCK_STREAM, 0));
    T(socket(AF_UNIX, 99, 0));
    T(shutdown(s[0], 9));
    T(shutdown(0, SHUT_RD));
    T(ioctl(s[0], FIONREAD, &value));
    T(value);
    T(sendto(s[0], "x", 1, 0, (void *)1, 20));
}

CASE(vectors)
{
    char x[4] = {0}, y[8] = {0};
    struct iovec out[2] = {{"abc", 3}, {"defg", 4}}, in[2] = {{x, 3}, {y, 8}};
    struct msghdr send = {.msg_iov = out, .msg_iovlen = 2}, receive = {.msg_iov = in, .msg_iovlen = 2};
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    T(sendmsg(s[0], &send, 0));
    T(recvmsg(s[1], &receive, 0));
    say("%s %s", x, y);
    struct mmsghdr many[2] = {{send, 0}, {send, 0}};
    T(sendmmsg(s[0], many, 2, 0));
    T(many[1].msg_len);
    T(recv(s[1], y, 8, 0));
    receive.msg_iovlen = 2000;
    T(recvmsg(s[1], &receive, 0));
    T(recvmsg(s[1], (void *)1, 0));
}

CASE(large_transfer)
{
    static char big[300000];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    pid_t pid = fork();
    if (pid == 0) { close(s[1]); for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 7); T(write(s[0], big, sizeof big)); _exit(0); }
    close(s[0]);
    long total = 0, wrong = 0, n;
    while ((n = read(s[1], big, 5000)) > 0) { for (long i = 0; i < n; i++) wrong += big[i] != (char)((total + i) * 7); total += n; }
    reap(pid);
    say("total %ld wrong %ld", total, wrong);
}
