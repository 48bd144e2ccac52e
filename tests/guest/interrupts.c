/* Every call that sleeps, interrupted: with a plain handler it fails with EINTR, with SA_RESTART it goes on where it may.
 * builds: x64 i386
 */
#include "case.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

/* Runs the block in a child that gets SIGUSR1 when it sleeps and, if it sleeps on, SIGKILL.  FLAGS are the handler's. */
static volatile int *taken;                       /* shared with the child: the handler has run */
static void taking(int number) { (void)number; *taken = 1; }
#define SLEEPER(TITLE, FLAGS, ...) do { \
    if (!taken) taken = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); \
    *taken = 0; \
    pid_t pid_ = fork(); \
    if (pid_ == 0) { handle(SIGUSR1, taking, FLAGS); say("%s", TITLE); __VA_ARGS__; _exit(0); } \
    wait_asleep(pid_); kill(pid_, SIGUSR1); \
    for (int tries_ = 0; !*taken && tries_ < 1000; tries_++) pause_ms(5); \
    wait_asleep(pid_); \
    int status_ = 0; \
    if (waitpid(pid_, &status_, WNOHANG) == 0) { kill(pid_, SIGKILL); waitpid(pid_, &status_, 0); say("still sleeping"); } \
    else say("%s", ending(status_)); } while (0)
#define BOTH(TITLE, ...) do { SLEEPER(TITLE, 0, __VA_ARGS__); SLEEPER(TITLE " with SA_RESTART", SA_RESTART, __VA_ARGS__); } while (0)

static char c, big[1 << 20];
static int p[2];

CASE(pipes)
{
    pipe(p);
    BOTH("read", T(read(p[0], &c, 1)));
    BOTH("readv", struct iovec io = {&c, 1}; T(readv(p[0], &io, 1)));
    BOTH("write to a full pipe", pipe(p); fcntl(p[1], F_SETFL, O_NONBLOCK); write(p[1], big, 65536); fcntl(p[1], F_SETFL, 0); T(write(p[1], &c, 1)));
    BOTH("write half done", pipe(p); T(write(p[1], big, 100000)));
    BOTH("splice", int q[2]; pipe(q); T(splice(p[0], NULL, q[1], NULL, 10, 0)));
}

CASE(opening_a_fifo)
{
    mkfifo("f", 0600);
    BOTH("open for reading", T(open("f", O_RDONLY)));
    BOTH("open for writing", T(open("f", O_WRONLY)));
}

CASE(waiting_for_children)
{
    BOTH("waitpid", if (fork() == 0) { pause_ms(600); _exit(0); } T(waitpid(-1, NULL, 0)));
    BOTH("waitid", if (fork() == 0) { pause_ms(600); _exit(0); } T(waitid(P_ALL, 0, NULL, WEXITED)));
}

CASE(sockets)
{
    struct sockaddr_un a = {AF_UNIX, "s"};
    int l = socket(AF_UNIX, SOCK_STREAM, 0), s[2];
    bind(l, (void *)&a, sizeof a), listen(l, 1);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    BOTH("accept", T(accept(l, NULL, NULL)));
    BOTH("recv", T(recv(s[0], &c, 1, 0)));
    BOTH("recvmsg", struct iovec io = {&c, 1}; struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1}; T(recvmsg(s[0], &m, 0)));
    BOTH("send", fcntl(s[1], F_SETFL, O_NONBLOCK); while (send(s[1], big, 4096, 0) > 0) {} fcntl(s[1], F_SETFL, 0); T(send(s[1], big, 4096, 0)));
    BOTH("recv with a time-out", struct timeval tv = {1, 0}; setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv); T(recv(s[0], big, 1, MSG_PEEK) > 0));
}

CASE(polls)
{
    pipe(p);
    struct pollfd f = {p[0], POLLIN, 0};
    BOTH("poll", T(poll(&f, 1, -1)));
    BOTH("ppoll", T(ppoll(&f, 1, NULL, NULL)));
    BOTH("select", fd_set set; FD_ZERO(&set); FD_SET(p[0], &set); T(select(p[0] + 1, &set, NULL, NULL, NULL)));
    BOTH("pselect", T(pselect(0, NULL, NULL, NULL, NULL, NULL)));
    int e = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event);
    BOTH("epoll_wait", T(epoll_wait(e, &event, 1, -1)));
}

CASE(descriptors_that_count)
{
    uint64_t n;
    int e = eventfd(0, 0), t = timerfd_create(CLOCK_MONOTONIC, 0);
    BOTH("eventfd", T(read(e, &n, 8)));
    BOTH("timerfd", T(read(t, &n, 8)));
}

CASE(sleeps)
{
    struct timespec ten = {10, 0};
    BOTH("nanosleep", T(nanosleep(&ten, NULL)));
    BOTH("clock_nanosleep", R(clock_nanosleep(CLOCK_MONOTONIC, 0, &ten, NULL)));
    BOTH("pause", T(pause()));
    sigset_t none, one;
    sigemptyset(&none), sigemptyset(&one), sigaddset(&one, SIGUSR2);
    BOTH("sigsuspend", T(sigsuspend(&none)));
    BOTH("sigtimedwait", T(syscall(SYS_rt_sigtimedwait, &one, NULL, NULL, 8)));
}

CASE(locks)
{
    int fd = open("a", O_CREAT | O_RDWR, 0600), other = open("a", O_RDWR);
    flock(fd, LOCK_EX);
    BOTH("flock", T(flock(other, LOCK_EX)));
    struct flock lock = {.l_type = F_WRLCK};
    fcntl(fd, F_SETLK, &lock);
    BOTH("F_SETLKW", T(fcntl(other, F_SETLKW, &lock)));
}

CASE(ignored_and_stopped)
{
    pipe(p);
    pid_t pid = fork();
    if (pid == 0) { handle(SIGUSR1, SIG_IGN, 0); T(read(p[0], &c, 1)); say("%c", c); _exit(0); }
    wait_asleep(pid);
    kill(pid, SIGUSR1);
    pause_ms(10);
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    kill(pid, SIGCONT);
    pause_ms(10);
    write(p[1], "z", 1);
    reap(pid);
    struct pollfd f = {p[0], POLLIN, 0};
    pid = fork();
    if (pid == 0) { T(poll(&f, 1, 600)); _exit(0); }
    wait_asleep(pid);
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    kill(pid, SIGCONT);
    reap(pid);
}

CASE(killed_while_asleep)
{
    pipe(p);
    int numbers[] = {SIGTERM, SIGKILL, SIGALRM};
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) { read(p[0], &c, 1); _exit(0); }
        wait_asleep(pid);
        kill(pid, numbers[i]);
        reap(pid);
    }
}
