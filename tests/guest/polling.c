/* Waiting for many things: poll, select, epoll, and the descriptors made to be waited for.
 * builds: x64 i386
 */
#include "case.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static int p[2];

CASE(poll_states)
{
    struct pollfd fds[4];
    pipe(p);
    fds[0] = (struct pollfd){p[0], POLLIN, 0}, fds[1] = (struct pollfd){p[1], POLLOUT, 0}, fds[2] = (struct pollfd){99, POLLIN, 0}, fds[3] = (struct pollfd){-1, POLLIN, 7};
    T(poll(fds, 4, 0));
    say("%x %x %x %x", fds[0].revents, fds[1].revents, fds[2].revents, fds[3].revents);
    T(write(p[1], "x", 1));
    T(poll(fds, 2, 1000));
    say("%x %x", fds[0].revents, fds[1].revents);
    T(close(p[1]));
    T(poll(fds, 1, 0));
    say("%x", fds[0].revents);
    char c;
    T(read(p[0], &c, 1));
    T(poll(fds, 1, 0));
    say("%x", fds[0].revents);
    pipe(p);
    close(p[0]);
    fds[1].fd = p[1];
    T(poll(fds + 1, 1, 0));
    say("%x", fds[1].revents);
    fds[0].fd = open("a", O_CREAT | O_RDWR, 0600);
    fds[0].events = POLLIN | POLLOUT | POLLPRI;
    T(poll(fds, 1, 0));
    say("%x", fds[0].revents);
    T(poll((void *)1, 1, 0));
    T(poll(NULL, 0, 10));
    T(poll(fds, 1 << 30, 0));
}

CASE(poll_waits)
{
    struct pollfd fd;
    pipe(p);
    fd = (struct pollfd){p[0], POLLIN, 0};
    long start = now_ms();
    T(poll(&fd, 1, 30));
    IS(now_ms() - start >= 29);
    if (fork() == 0) { pause_ms(30); write(p[1], "x", 1); _exit(0); }
    T(poll(&fd, 1, -1));
    wait(NULL);
    struct timespec brief = {0, 10000000}, bad = {0, -1};
    char c;
    read(p[0], &c, 1);
    T(ppoll(&fd, 1, &brief, NULL));
    T(ppoll(&fd, 1, &bad, NULL));
    handle(SIGUSR1, tell, SA_RESTART);
    pid_t me = getpid();
    if (fork() == 0) { pause_ms(30); kill(me, SIGUSR1); _exit(0); }
    T(poll(&fd, 1, -1));
    wait(NULL);
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    T(poll(&fd, 1, 10));
    sigemptyset(&set);
    T(ppoll(&fd, 1, NULL, &set));
    sigprocmask(SIG_SETMASK, NULL, &set);
    IS(sigismember(&set, SIGUSR1));
}

CASE(selects)
{
    fd_set in, out, except;
    pipe(p);
    FD_ZERO(&in); FD_ZERO(&out); FD_ZERO(&except);
    FD_SET(p[0], &in), FD_SET(p[1], &out), FD_SET(p[0], &except);
    struct timeval tv = {0, 10000};
    T(select(p[1] + 1, &in, &out, &except, &tv));
    say("%d %d %d", FD_ISSET(p[0], &in), FD_ISSET(p[1], &out), FD_ISSET(p[0], &except));
    FD_SET(p[0], &in);
    tv = (struct timeval){0, 20000};
    T(select(p[1] + 1, &in, NULL, NULL, &tv));
    say("%d", FD_ISSET(p[0], &in));
    FD_SET(40, &in);                /* closed, and within every kernel's smallest table */
    T(select(41, &in, NULL, NULL, &tv));
    T(select(-1, NULL, NULL, NULL, &tv));
    tv = (struct timeval){0, -1};
    T(select(0, NULL, NULL, NULL, &tv));
    FD_ZERO(&in); FD_SET(p[0], &in);
    write(p[1], "x", 1);
    T(select(p[1] + 1, &in, NULL, NULL, NULL));
    struct timespec ts = {0, 1000000};
    T(pselect(0, NULL, NULL, NULL, &ts, NULL));
    sigset_t set;
    handle(SIGUSR1, tell, 0);
    sigemptyset(&set), sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    sigemptyset(&set);
    T(pselect(0, NULL, NULL, NULL, NULL, &set));
}

CASE(epoll_levels_and_edges)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 7}, got[4];
    char c;
    pipe(p);
    int e = (int)T(epoll_create1(0));
    T(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event));
    T(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event));
    T(epoll_wait(e, got, 4, 0));
    write(p[1], "ab", 2);
    T(epoll_wait(e, got, 4, 0));
    say("%x %u", got[0].events, got[0].data.u32);
    T(epoll_wait(e, got, 4, 0));
    event.events = EPOLLIN | EPOLLET;
    T(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &event));
    T(epoll_wait(e, got, 4, 0));
    T(epoll_wait(e, got, 4, 0));
    read(p[0], &c, 1);
    T(epoll_wait(e, got, 4, 0));
    write(p[1], "c", 1);
    T(epoll_wait(e, got, 4, 0));
    T(epoll_wait(e, got, 4, 0));
    event.events = EPOLLIN | EPOLLONESHOT;
    T(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &event));
    T(epoll_wait(e, got, 4, 0));
    T(epoll_wait(e, got, 4, 0));
    T(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &event));
    T(epoll_wait(e, got, 4, 0));
    T(epoll_ctl(e, EPOLL_CTL_DEL, p[0], NULL));
    T(epoll_ctl(e, EPOLL_CTL_DEL, p[0], NULL));
    T(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &event));
    event.events = EPOLLIN;
    T(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event));
    close(p[1]);
    T(epoll_wait(e, got, 4, 0));
    say("%x", got[0].events);
    close(p[0]);
    T(epoll_wait(e, got, 4, 0));
}

CASE(epoll_errors_and_nesting)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1}, got[4];
    T(epoll_create(0));
    T(epoll_create1(0x999));
    int e = (int)T(epoll_create1(EPOLL_CLOEXEC)), f = (int)T(epoll_create(1));
    T(fcntl(e, F_GETFD));
    T(epoll_ctl(e, EPOLL_CTL_ADD, e, &event));
    T(epoll_ctl(e, EPOLL_CTL_ADD, 99, &event));
    T(epoll_ctl(99, EPOLL_CTL_ADD, e, &event));
    T(epoll_ctl(0, EPOLL_CTL_ADD, e, &event));
    T(epoll_ctl(e, 9, f, &event));
    T(epoll_ctl(e, EPOLL_CTL_ADD, open("a", O_CREAT | O_RDWR, 0600), &event));
    T(epoll_wait(e, got, 0, 0));
    T(epoll_wait(0, got, 1, 0));
    T(epoll_ctl(e, EPOLL_CTL_ADD, f, &event));
    T(epoll_ctl(f, EPOLL_CTL_ADD, e, &event));
    pipe(p);
    T(epoll_ctl(f, EPOLL_CTL_ADD, p[0], &event));
    T(epoll_wait(e, got, 4, 0));
    write(p[1], "x", 1);
    T(epoll_wait(e, got, 4, 0));
    struct pollfd poller = {e, POLLIN, 0};
    T(poll(&poller, 1, 0));
    int d = dup(p[0]);
    T(epoll_ctl(f, EPOLL_CTL_ADD, d, &event));
    T(epoll_wait(f, got, 4, 0));
    close(p[0]);
    T(epoll_wait(f, got, 4, 0));
}

CASE(epoll_waits)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1}, got[4];
    int e = epoll_create1(0);
    pipe(p);
    epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event);
    if (fork() == 0) { pause_ms(30); write(p[1], "x", 1); _exit(0); }
    T(epoll_wait(e, got, 4, -1));
    wait(NULL);
    char c;
    read(p[0], &c, 1);
    T(epoll_wait(e, got, 4, 20));
    handle(SIGUSR1, tell, SA_RESTART);
    pid_t me = getpid();
    if (fork() == 0) { pause_ms(30); kill(me, SIGUSR1); _exit(0); }
    T(epoll_wait(e, got, 4, -1));
    wait(NULL);
    for (int i = 0; i < 3; i++) { int q[2]; pipe(q); event.data.u32 = (uint32_t)(10 + i); epoll_ctl(e, EPOLL_CTL_ADD, q[0], &event); write(q[1], "y", 1); }
    int sum = 0, n = (int)T(epoll_wait(e, got, 4, 0));
    for (int i = 0; i < n; i++) sum += (int)got[i].data.u32;
    T(sum);
    T(epoll_wait(e, got, 2, 0));
}

CASE(eventfds)
{
    uint64_t v = 5;
    int e = (int)T(eventfd(3, EFD_NONBLOCK));
    T(read(e, &v, 8));
    T((long)v);
    T(read(e, &v, 8));
    T(read(e, &v, 4));
    v = 2;
    T(write(e, &v, 8));
    T(write(e, &v, 8));
    T(read(e, &v, 8));
    T((long)v);
    v = (uint64_t)-1;
    T(write(e, &v, 8));
    v = (uint64_t)-2;
    T(write(e, &v, 8));
    v = 1;
    T(write(e, &v, 8));
    struct pollfd poller = {e, POLLIN | POLLOUT, 0};
    T(poll(&poller, 1, 0));
    say("%x", poller.revents);
    int s = (int)T(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
    T(read(s, &v, 8));
    T((long)v);
    T(read(s, &v, 8));
    T(read(s, &v, 8));
    T(eventfd(0, 0x999));
    int b = eventfd(0, 0);
    CHILD v = 9; pause_ms(20); write(b, &v, 8); _exit(0); }
    T(read(b, &v, 8));
    T((long)v);
    reap(child_); }
    T(lseek(b, 0, SEEK_SET));
}

CASE(timerfds)
{
    uint64_t n = 0;
    int t = (int)T(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    struct itimerspec set = {{0, 0}, {0, 20000000}}, got;
    T(read(t, &n, 8));
    T(timerfd_settime(t, 0, &set, NULL));
    T(timerfd_gettime(t, &got));
    IS(got.it_value.tv_nsec > 0 && got.it_value.tv_nsec <= 20000000);
    struct pollfd poller = {t, POLLIN, 0};
    T(poll(&poller, 1, 0));
    T(poll(&poller, 1, 5000));
    T(read(t, &n, 8));
    T((long)n);
    T(read(t, &n, 8));
    set = (struct itimerspec){{0, 5000000}, {0, 5000000}};
    T(timerfd_settime(t, 0, &set, NULL));
    pause_ms(40);
    T(read(t, &n, 8));
    IS(n >= 5);
    T(read(t, &n, 4));
    T(timerfd_create(99, 0));
    T(timerfd_settime(0, 0, &set, NULL));
    set.it_value.tv_nsec = -1;
    T(timerfd_settime(t, 0, &set, NULL));
    set = (struct itimerspec){{0, 0}, {1, 0}};
    int r = timerfd_create(CLOCK_REALTIME, 0);
    T(timerfd_settime(r, TFD_TIMER_ABSTIME, &set, NULL));
    T(read(r, &n, 8));
}

CASE(signalfds)
{
    sigset_t set;
    struct signalfd_siginfo info;
    sigemptyset(&set), sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int s = (int)T(signalfd(-1, &set, SFD_NONBLOCK));
    T(read(s, &info, sizeof info));
    T(read(s, &info, 10));
    raise(SIGUSR2);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 6});
    struct pollfd poller = {s, POLLIN, 0};
    T(poll(&poller, 1, 0));
    T(read(s, &info, sizeof info));
    say("signo %u code %d int %d mine %d", info.ssi_signo, info.ssi_code, info.ssi_int, info.ssi_pid == (unsigned)getpid());
    T(read(s, &info, sizeof info));
    say("signo %u code %d", info.ssi_signo, info.ssi_code);
    T(read(s, &info, sizeof info));
    sigemptyset(&set), sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    T(signalfd(s, &set, 0));
    pid_t pid = fork();
    if (pid == 0) _exit(3);
    poll(&poller, 1, 5000);
    T(read(s, &info, sizeof info));
    say("signo %u code %d status %d", info.ssi_signo, info.ssi_code, info.ssi_status);
    reap(pid);
    T(signalfd(0, &set, 0));
    T(signalfd(-1, &set, 0x999));
}
