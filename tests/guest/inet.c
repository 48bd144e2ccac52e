/* IPv4 and IPv6 over the loopback: ports, connections, what ends them, datagrams.
 * builds: x64 i386
 */
#include "case.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define A(ADDRESS) (struct sockaddr *)&(ADDRESS), sizeof (ADDRESS)

static struct sockaddr_in at(const char *host, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &a.sin_addr);
    return a;
}
static struct sockaddr_in6 at6(const char *host, int port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, host, &a.sin6_addr);
    return a;
}
static struct sockaddr_in name_of(int fd)
{
    struct sockaddr_in a = {0};
    socklen_t n = sizeof a;
    getsockname(fd, (struct sockaddr *)&a, &n);
    return a;
}
static void say_name(const char *what, int (*ask)(int, struct sockaddr *, socklen_t *), int fd, int own_port)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    char text[64] = "?";
    if (ask(fd, (struct sockaddr *)&a, &n) < 0) { say("%s %s", what, errno_name(errno)); return; }
    struct sockaddr_in *v4 = (void *)&a;
    struct sockaddr_in6 *v6 = (void *)&a;
    inet_ntop(a.ss_family, a.ss_family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr, text, sizeof text);
    int port = ntohs(v4->sin_port);
    say("%s family %d, %s, %s, %d bytes", what, a.ss_family, text, !port ? "no port" : port == own_port ? "that port" : "a port", (int)n);
}
static void say_poll(const char *what, int fd)
{
    struct pollfd p = {fd, 0x3fff, 0};
    poll(&p, 1, 0);
    say("%s polls %#x", what, p.revents);
}
static int error_of(int fd)
{
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    return error;
}
static int listener(void)
{
    struct sockaddr_in a = at("127.0.0.1", 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bind(fd, A(a));
    listen(fd, 5);
    return fd;
}
static int c, s, l;                   /* client, server, listener */
static void connected(void)
{
    l = listener();
    struct sockaddr_in a = name_of(l);
    c = socket(AF_INET, SOCK_STREAM, 0);
    T(connect(c, A(a)));
    s = accept(l, 0, 0);
    say("accepted %s", s >= 0 ? "one" : errno_name(errno));
}
static void closed_port(struct sockaddr_in *a)
{
    int fd = listener();
    *a = name_of(fd);
    close(fd);
}

CASE(fresh)
{
    char b[4];
    c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    say_poll("fresh", c);
    say_name("name", getsockname, c, 0);
    say_name("peer", getpeername, c, 0);
    T(recv(c, b, 4, 0));
    T(send(c, b, 4, MSG_NOSIGNAL));
    T(shutdown(c, SHUT_WR));
    T(shutdown(c, 7));
    T(accept(c, 0, 0));
    handle(SIGPIPE, tell, 0);
    T(write(c, b, 4));
    T(socket(AF_INET, SOCK_SEQPACKET, 0));
    T(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    T(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    T(socket(AF_INET6, 99, 0));
}

CASE(names)
{
    struct sockaddr_in a = at("127.0.0.1", 0), other = at("8.8.8.8", 0);
    l = socket(AF_INET, SOCK_STREAM, 0);
    T(bind(l, A(other)));
    T(bind(l, (struct sockaddr *)&a, 4));
    T(bind(l, A(a)));
    T(bind(l, A(a)));
    a = name_of(l);
    say_name("name", getsockname, l, ntohs(a.sin_port));
    struct sockaddr_in any = a, second = a;
    any.sin_addr.s_addr = 0;
    second.sin_addr.s_addr = htonl(0x7f000002);
    c = socket(AF_INET, SOCK_STREAM, 0);
    T(bind(c, A(a)));
    T(bind(c, A(any)));
    T(bind(c, A(second)));
    int on = 1, one = socket(AF_INET, SOCK_STREAM, 0), two = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(one, SOL_SOCKET, SO_REUSEADDR, &on, 4);
    setsockopt(two, SOL_SOCKET, SO_REUSEADDR, &on, 4);
    a = at("127.0.0.1", 0);
    T(bind(one, A(a)));
    a = name_of(one);
    T(bind(two, A(a)));
    T(listen(one, 1));
    T(listen(two, 1));
    T(close(one));
    T(listen(two, 1));
    a.sin_family = AF_UNIX;
    T(bind(socket(AF_INET, SOCK_STREAM, 0), A(a)));
    a.sin_family = AF_UNSPEC;
    T(bind(socket(AF_INET, SOCK_STREAM, 0), A(a)));
}

CASE(connection)
{
    char b[16] = {0};
    int n;
    connected();
    say_name("client's peer", getpeername, c, ntohs(name_of(l).sin_port));
    say_name("server", getsockname, s, ntohs(name_of(l).sin_port));
    say_name("server's peer", getpeername, s, ntohs(name_of(c).sin_port));
    struct sockaddr_in a = name_of(l);
    T(connect(c, A(a)));
    T(listen(c, 1));
    T(connect(l, A(a)));
    say_poll("client", c);
    T(send(c, "hello", 5, 0));
    T(sendto(c, " you", 4, 0, A(a)));
    T(ioctl(s, FIONREAD, &n));
    say("%d bytes", n);
    T(recv(s, b, 16, MSG_PEEK));
    T(recv(s, b, 3, MSG_TRUNC));
    T(recv(s, b, 16, MSG_DONTWAIT));
    say("%.6s", b);
    T(recv(s, b, 16, MSG_DONTWAIT));
    T(recv(s, b, 0, MSG_DONTWAIT));
    struct iovec v[2] = {{"one", 3}, {"two", 3}};
    T(writev(s, v, 2));
    T(recv(c, b, 6, MSG_WAITALL));
    say("%.6s", b);
    T(lseek(c, 0, SEEK_CUR));
}

CASE(half_closed)
{
    char b[16];
    connected();
    T(shutdown(c, SHUT_WR));
    say_poll("client", c);
    say_poll("server", s);
    T(send(c, "x", 1, MSG_NOSIGNAL));
    T(recv(s, b, 16, 0));
    T(send(s, "still", 5, 0));
    T(recv(c, b, 16, 0));
    T(shutdown(s, SHUT_WR));
    say_poll("client", c);
    say_poll("server", s);
    T(recv(c, b, 16, 0));
    say_name("peer", getpeername, c, 0);
    T(shutdown(c, SHUT_RDWR));
    T(send(s, "x", 1, MSG_NOSIGNAL));
}

CASE(reading_ended)
{
    char b[16];
    connected();
    T(shutdown(s, SHUT_RD));
    say_poll("server", s);
    T(send(c, "all the same", 12, 0));
    say_poll("client", c);
    T(recv(s, b, 16, 0));
    T(recv(s, b, 16, 0));
}

CASE(other_side_closed)
{
    char b[16];
    connected();
    T(close(s));
    say_poll("client", c);
    T(recv(c, b, 16, 0));
    T(send(c, "x", 1, 0));
    say_poll("client", c);
    T(recv(c, b, 16, 0));
    T(error_of(c));
    handle(SIGPIPE, tell, 0);
    T(send(c, "x", 1, 0));
    say_poll("client", c);
    T(shutdown(c, SHUT_RDWR));
}

CASE(reset)
{
    char b[16];
    connected();
    T(send(c, "unread", 6, 0));
    T(send(s, "mine", 4, 0));
    T(close(s));
    say_poll("client", c);
    T(recv(c, b, 16, 0));
    T(recv(c, b, 16, 0));
    T(recv(c, b, 16, 0));
    T(send(c, "x", 1, MSG_NOSIGNAL));
    say_poll("client", c);
    struct linger now = {1, 0}, told = {0};
    socklen_t n = sizeof told;
    connected();
    T(setsockopt(s, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    T(getsockopt(s, SOL_SOCKET, SO_LINGER, &told, &n));
    say("linger %d %d", told.l_onoff, told.l_linger);
    T(close(s));
    T(send(c, "x", 1, MSG_NOSIGNAL));
    T(send(c, "x", 1, MSG_NOSIGNAL));
    connected();
    struct sockaddr none = {0};
    T(connect(c, &none, sizeof none));
    say_poll("client", c);
    say_poll("server", s);
    T(recv(s, b, 16, 0));
    T(error_of(c));
    struct sockaddr_in a = name_of(l);
    T(connect(c, A(a)));
}

CASE(refused)
{
    struct sockaddr_in a, away = at("8.8.8.8", 80);
    closed_port(&a);
    c = socket(AF_INET, SOCK_STREAM, 0);
    T(connect(c, A(a)));
    T(error_of(c));
    T(connect(c, (struct sockaddr *)&a, 3));
    away.sin_family = AF_INET6;
    T(connect(c, A(away)));
    c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    T(connect(c, A(a)));
    say_poll("client", c);
    T(error_of(c));
    say_poll("client", c);
    T(connect(c, A(a)));
    T(connect(c, A(a)));
}

CASE(events_of_a_connection)
{
    l = listener();
    struct sockaddr_in a = name_of(l);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    int e = epoll_create1(0);
    c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    fcntl(l, F_SETFL, O_NONBLOCK);
    T(accept(l, 0, 0));
    T(connect(c, A(a)));
    T(epoll_ctl(e, EPOLL_CTL_ADD, c, &event));
    T(epoll_wait(e, &event, 1, 1000));
    say("%#x", event.events);
    T(error_of(c));
    T(connect(c, A(a)));
    T(connect(c, A(a)));
    say_poll("listener", l);
    T((s = accept(l, 0, 0)) >= 0);
    T(epoll_wait(e, &event, 1, 0));
    T(send(s, "x", 1, 0));
    T(epoll_wait(e, &event, 1, 1000));
    say("%#x", event.events);
    T(epoll_wait(e, &event, 1, 0));
    T(shutdown(s, SHUT_WR));
    T(epoll_wait(e, &event, 1, 1000));
    say("%#x", event.events);
}

CASE(backlog)
{
    struct sockaddr_in a = at("127.0.0.1", 0);
    l = socket(AF_INET, SOCK_STREAM, 0);
    T(bind(l, A(a)));
    T(listen(l, 0));
    a = name_of(l);
    int first = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), second = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    T(connect(first, A(a)));
    T(connect(second, A(a)));
    say_poll("first", first);
    say_poll("second", second);
    T(connect(second, A(a)));
    T(send(second, "x", 1, 0));
    say_name("peer", getpeername, second, 0);
    T((s = accept(l, 0, 0)) >= 0);
    struct pollfd p = {second, POLLOUT, 0};
    T(poll(&p, 1, 10000));
    T(connect(second, A(a)));
    T((s = accept(l, 0, 0)) >= 0);
    close(l);
    T(send(second, "x", 1, 0));
}

CASE(listener_closed)
{
    char b[4];
    l = listener();
    struct sockaddr_in a = name_of(l);
    c = socket(AF_INET, SOCK_STREAM, 0);
    T(connect(c, A(a)));
    T(shutdown(l, SHUT_WR));
    say_poll("listener", l);
    T(close(l));
    say_poll("client", c);
    T(recv(c, b, 4, 0));
    T(recv(c, b, 4, 0));
    l = listener();
    T(shutdown(l, SHUT_RD));
    T(accept(l, 0, 0));
    say_poll("listener", l);
    T(listen(l, 1));
}

CASE(addresses)
{
    struct sockaddr_in any = at("0.0.0.0", 0), own = at("127.0.0.7", 0);
    l = socket(AF_INET, SOCK_STREAM, 0);
    T(bind(l, A(any)));
    T(listen(l, 5));
    int port = ntohs(name_of(l).sin_port);
    struct sockaddr_in to = at("127.0.0.5", port);
    c = socket(AF_INET, SOCK_STREAM, 0);
    T(bind(c, A(own)));
    T(connect(c, A(to)));
    say_name("client", getsockname, c, 0);
    T((s = accept(l, 0, 0)) >= 0);
    say_name("server", getsockname, s, port);
    c = socket(AF_INET, SOCK_STREAM, 0);
    T(connect(c, A(to)));
    say_name("client", getsockname, c, 0);
    to = at("0.0.0.0", port);
    c = socket(AF_INET, SOCK_STREAM, 0);
    T(connect(c, A(to)));
    say_name("peer", getpeername, c, port);
}

CASE(six)
{
    struct sockaddr_in6 any = at6("::", 0);
    int on = 1, port;
    l = socket(AF_INET6, SOCK_STREAM, 0);
    T(bind(l, A(any)));
    T(listen(l, 5));
    T(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
    port = ntohs(name_of(l).sin_port);
    struct sockaddr_in6 to = at6("::1", port), mapped = at6("::ffff:127.0.0.1", port);
    struct sockaddr_in four = at("127.0.0.1", port);
    T(bind(socket(AF_INET, SOCK_STREAM, 0), A(four)));
    c = socket(AF_INET6, SOCK_STREAM, 0);
    T(connect(c, (struct sockaddr *)&to, 20));
    T(connect(c, A(to)));
    say_name("client", getsockname, c, 0);
    c = socket(AF_INET6, SOCK_STREAM, 0);
    T(connect(c, A(mapped)));
    say_name("client", getsockname, c, 0);
    c = socket(AF_INET, SOCK_STREAM, 0);
    T(connect(c, A(four)));
    T((s = accept(l, 0, 0)) >= 0);
    T((s = accept(l, 0, 0)) >= 0);
    T((s = accept(l, 0, 0)) >= 0);
    say_name("server's peer", getpeername, s, 0);
    int only = socket(AF_INET6, SOCK_STREAM, 0);
    T(setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
    T(bind(only, A(any)));
    T(listen(only, 1));
    four.sin_port = htons(ntohs(name_of(only).sin_port));
    T(connect(socket(AF_INET, SOCK_STREAM, 0), A(four)));
    T(bind(socket(AF_INET, SOCK_STREAM, 0), A(four)));
    T(connect(only, A(mapped)));
}

CASE(datagrams)
{
    struct sockaddr_in a = at("127.0.0.1", 0), from;
    socklen_t n = sizeof from;
    char b[8], big[1] = {0};
    s = socket(AF_INET, SOCK_DGRAM, 0);
    c = socket(AF_INET, SOCK_DGRAM, 0);
    say_poll("fresh", c);
    T(send(c, "x", 1, 0));
    say_name("name", getsockname, c, 0);
    T(bind(s, A(a)));
    a = name_of(s);
    T(sendto(c, "first", 5, 0, A(a)));
    T(sendto(c, "", 0, 0, A(a)));
    T(sendto(c, "and the third", 13, 0, A(a)));
    T(recvfrom(s, b, 8, 0, (struct sockaddr *)&from, &n));
    say("from family %d, that port %d, %d bytes", from.sin_family, from.sin_port == name_of(c).sin_port, (int)n);
    T(recv(s, b, 8, 0));
    T(ioctl(s, FIONREAD, &n));
    say("%d", (int)n);
    T(recv(s, b, 8, MSG_PEEK | MSG_TRUNC));
    T(recv(s, b, 8, 0));
    T(recv(s, b, 8, MSG_DONTWAIT));
    T(sendto(s, "back", 4, 0, (struct sockaddr *)&from, n = sizeof from));
    T(recv(c, b, 8, 0));
    T(syscall(SYS_sendto, c, big, 70000, 0, &a, sizeof a));
    T(listen(s, 1));
    T(accept(s, 0, 0));
    T(shutdown(s, SHUT_WR));
    say_poll("server", s);
    a.sin_port = 0;
    T(sendto(c, "x", 1, 0, A(a)));
    a = at("255.255.255.255", 9);
    T(sendto(c, "x", 1, 0, A(a)));
}

CASE(connected_datagrams)
{
    struct sockaddr_in a = at("127.0.0.1", 0), closed;
    struct sockaddr none = {0};
    char b[8];
    closed_port(&closed);
    c = socket(AF_INET, SOCK_DGRAM, 0);
    s = socket(AF_INET, SOCK_DGRAM, 0);
    int third = socket(AF_INET, SOCK_DGRAM, 0);
    T(sendto(third, "x", 1, 0, A(closed)));
    say_poll("unconnected", third);
    T(bind(s, A(a)));
    a = name_of(s);
    T(connect(c, A(a)));
    say_name("peer", getpeername, c, ntohs(a.sin_port));
    struct sockaddr_in mine = name_of(c);
    T(sendto(third, "stranger", 8, 0, A(mine)));
    T(recv(c, b, 8, MSG_DONTWAIT));
    T(send(c, "hello", 5, 0));
    T(sendto(s, "hi", 2, 0, A(mine)));
    T(recv(c, b, 8, 0));
    T(connect(c, A(closed)));
    T(send(c, "x", 1, 0));
    say_poll("refused", c);
    T(send(c, "x", 1, 0));
    T(send(c, "x", 1, 0));
    T(error_of(c));
    T(recv(c, b, 8, MSG_DONTWAIT));
    T(shutdown(c, SHUT_RD));
    say_poll("half", c);
    T(recv(c, b, 8, 0));
    T(shutdown(c, SHUT_WR));
    say_poll("shut", c);
    T(send(c, "x", 1, 0));
    T(connect(c, &none, sizeof none));
    say_name("peer", getpeername, c, 0);
    T(send(c, "x", 1, MSG_NOSIGNAL));
}

CASE(a_full_connection)
{
    static char big[1 << 16];
    char b[4];
    long sent = 0, n;
    connected();
    fcntl(c, F_SETFL, O_NONBLOCK);
    while ((n = send(c, big, sizeof big, 0)) > 0) sent += n;
    T(send(c, big, sizeof big, 0));
    say("at least 100000: %d", sent >= 100000);
    say_poll("full", c);
    while ((n = recv(s, big, sizeof big, MSG_DONTWAIT)) > 0) sent -= n;
    struct pollfd p = {c, POLLOUT, 0};
    T(poll(&p, 1, 5000));
    say("%d left", sent > 0 && poll(&(struct pollfd){s, POLLIN, 0}, 1, 0) == 0);
    T(recv(s, b, 4, MSG_DONTWAIT));
}

CASE(between_processes)
{
    static char data[300000];
    l = listener();
    struct sockaddr_in a = name_of(l);
    if (!fork()) {
        c = socket(AF_INET, SOCK_STREAM, 0);
        connect(c, A(a));
        for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 7);
        for (int i = 0; i < 20; i++)
            if (send(c, data, sizeof data, 0) != sizeof data) _exit(1);
        shutdown(c, SHUT_WR);
        _exit(recv(c, data, 4, 0) == 4 ? 0 : 2);
    }
    unsigned long sum = 0, got = 0;
    long n;
    s = accept(l, 0, 0);
    while ((n = recv(s, data, sizeof data, 0)) > 0)
        for (long i = 0; i < n; i++, got++) sum = sum * 31 + (unsigned char)data[i] + got % 3;
    say("%lu bytes, %lx", got, sum & 0xffffffff);
    T(send(s, "done", 4, 0));
    int status;
    T(wait(&status) > 0);
    say("status %d", status);
}

CASE(urgent)
{
    char b[16] = {0};
    int at = 7, on = 1;
    connected();
    T(recv(s, b, 1, MSG_OOB));
    T(send(c, "before", 6, 0));
    T(send(c, "a!", 2, MSG_OOB));
    T(send(c, "after", 5, 0));
    say_poll("server", s);
    T(recv(s, b, 16, 0));
    say("%.7s", b);
    T(ioctl(s, SIOCATMARK, &at));
    say("at mark: %d", at);
    T(recv(s, b, 4, MSG_OOB));
    say("%.1s", b);
    T(recv(s, b, 4, MSG_OOB));
    T(recv(s, b, 16, 0));
    say("%.5s", b);
    T(ioctl(s, SIOCATMARK, &at));
    say("at mark: %d", at);
    T(setsockopt(s, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
    T(send(c, "x!", 2, MSG_OOB));
    T(recv(s, b, 4, MSG_OOB));
    T(recv(s, b, 16, 0));
    T(recv(s, b, 16, MSG_DONTWAIT));
}

CASE(waiting)
{
    char b[4];
    struct timeval soon = {0, 50000};
    connected();
    T(setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    T(recv(c, b, 4, 0));
    T(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    T(accept(l, 0, 0));
    if (!fork()) { struct timespec t = {0, 30000000}; nanosleep(&t, 0); close(c); shutdown(s, SHUT_RDWR); _exit(0); }
    setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0}, sizeof soon);
    T(recv(c, b, 4, 0));
    T(wait(0) > 0);
}

CASE(options)
{
    static const struct { int level, name; const char *text; } all[] = {
        {SOL_SOCKET, SO_TYPE, "SO_TYPE"}, {SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN"}, {SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL"},
        {SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"}, {SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"},
        {IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"}, {IPPROTO_TCP, TCP_CORK, "TCP_CORK"}, {IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT"},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"}, {IPPROTO_IP, IP_TTL, "IP_TTL"}, {IPPROTO_IP, IP_TOS, "IP_TOS"},
        {IPPROTO_IP, IP_MTU, "IP_MTU"}, {IPPROTO_UDP, 1, "UDP_CORK"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int value = -77, on = 1;
        socklen_t n = sizeof value;
        c = socket(AF_INET, SOCK_STREAM, 0);
        say("%s", all[i].text);
        T(getsockopt(c, all[i].level, all[i].name, &value, &n));
        say("%d in %d", value, (int)n);
        if (all[i].level == SOL_SOCKET && i < 3) continue;
        T(setsockopt(c, all[i].level, all[i].name, &on, sizeof on));
        if (getsockopt(c, all[i].level, all[i].name, &value, &n) == 0) say("%d now", value);
        T(setsockopt(c, all[i].level, all[i].name, &on, 2));
        close(c);
    }
}
