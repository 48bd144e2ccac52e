/* Calls whose arguments strace decodes, by subject: the first argument of the program says which subject.
 * What the calls answer does not matter; what a trace prints of them is compared with what strace prints. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#define BAD ((void *)16)
#define CALL(name, ...) syscall(SYS_##name, ##__VA_ARGS__)

static char data[4096];
static struct termios unset;

static void paths(void) {
    int fd = open("note", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    CALL(write, fd, "hello\tworld\n", 12);
    CALL(pwrite64, fd, "abc\0\1\2\177\377", 8, 100);
    CALL(pread64, fd, data, 20, 4);
    CALL(lseek, fd, 0, SEEK_SET);
    CALL(lseek, fd, -1, SEEK_END);
    CALL(lseek, fd, 7, 99);
    CALL(read, fd, data, 100);
    CALL(fsync, fd);
    CALL(fdatasync, fd);
    CALL(ftruncate, fd, 3);
    CALL(fallocate, fd, 0, 0, 10);
    CALL(fallocate, fd, 3, 0, 5);
    CALL(fadvise64, fd, 0, 10, 3);
    CALL(fchmod, fd, 0600);
    CALL(fchown, fd, -1, -1);
    CALL(dup, fd);
    CALL(dup2, fd, 10);
    CALL(dup3, fd, 11, O_CLOEXEC);
    CALL(close, 10);
    CALL(close, 99);
    CALL(close_range, 11, 20, 0);
    CALL(close_range, 30, ~0U, 4);
    CALL(open, "none", O_RDONLY | O_NOFOLLOW | O_DIRECTORY);
    CALL(openat, AT_FDCWD, "/tmp", O_RDWR | O_TMPFILE, 0600);
    CALL(openat, AT_FDCWD, "none", O_WRONLY | O_APPEND | O_EXCL | O_CREAT | O_NONBLOCK | O_SYNC, 0);
    CALL(openat, 77, "x", O_PATH | O_NOCTTY | O_NOATIME | O_DSYNC);
    struct { unsigned long long flags, mode, resolve; } how = {O_RDONLY | O_CLOEXEC, 0, 8};
    CALL(openat2, AT_FDCWD, "note", &how, sizeof how);
    CALL(creat, "made", 0644);
    CALL(mkdir, "dir", 0755);
    CALL(mkdirat, AT_FDCWD, "dir/deep", 0700);
    CALL(rmdir, "dir/deep");
    CALL(link, "note", "hard");
    CALL(linkat, AT_FDCWD, "note", AT_FDCWD, "hard2", AT_SYMLINK_FOLLOW);
    CALL(symlink, "note", "soft");
    CALL(symlinkat, "note", AT_FDCWD, "soft2");
    CALL(readlink, "soft", data, 100);
    CALL(readlinkat, AT_FDCWD, "soft2", data, 100);
    CALL(readlink, "note", data, 100);
    CALL(rename, "hard", "hard3");
    CALL(renameat, AT_FDCWD, "hard3", AT_FDCWD, "hard4");
    CALL(renameat2, AT_FDCWD, "hard4", AT_FDCWD, "hard5", 1);
    CALL(access, "note", R_OK | W_OK);
    CALL(access, "note", F_OK);
    CALL(faccessat, AT_FDCWD, "note", X_OK);
    CALL(faccessat2, AT_FDCWD, "note", R_OK, AT_EACCESS);
    CALL(chmod, "note", 0644);
    CALL(fchmodat, AT_FDCWD, "note", 0600);
    CALL(chown, "note", 0, -1);
    CALL(lchown, "soft", 0, 0);
    CALL(fchownat, AT_FDCWD, "soft", 0, 0, AT_SYMLINK_NOFOLLOW);
    CALL(umask, 027);
    CALL(umask, 0);
    CALL(mknod, "fifo", S_IFIFO | 0600, 0);
    CALL(mknodat, AT_FDCWD, "plain", S_IFREG | 0600, 0);
    CALL(truncate, "note", 5);
    CALL(unlink, "hard5");
    CALL(unlinkat, AT_FDCWD, "hard2", 0);
    CALL(unlinkat, AT_FDCWD, "dir", AT_REMOVEDIR);
    CALL(chdir, "/");
    CALL(getcwd, data, 100);
    CALL(getcwd, data, 1);
    CALL(fchdir, 88);
    CALL(chroot, "/nowhere");
    CALL(open, BAD, O_RDONLY);
    CALL(open, "", O_RDONLY);
    CALL(open, "a\"b\\c\n\x01\xff", O_RDONLY);
    CALL(write, 1, BAD, 5);
    CALL(write, 1, "", 0);
    CALL(read, 0, BAD, 5);
}

static void stats(void) {
    struct stat st;
    struct statx stx;
    struct statfs fs;
    close(open("note", O_RDWR | O_CREAT, 0640));
    CALL(stat, "/", &st);
    CALL(lstat, "/dev/null", &st);
    CALL(fstat, 99, &st);
    CALL(stat, "/nowhere", &st);
    CALL(newfstatat, AT_FDCWD, "note", &st, 0);
    CALL(newfstatat, AT_FDCWD, "/dev/zero", &st, AT_SYMLINK_NOFOLLOW);
    CALL(newfstatat, 1000, "", &st, AT_EMPTY_PATH);
    CALL(statx, AT_FDCWD, "/", 0, 0x7ff, &stx);
    CALL(statx, AT_FDCWD, "note", AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0x25e, &stx);
    CALL(statx, AT_FDCWD, "note", 0x2000, 0xfff, &stx);
    CALL(statx, AT_FDCWD, "/nowhere", 0x4000, 1, &stx);
    CALL(statfs, "/proc", &fs);
    CALL(statfs, "/nowhere", &fs);
    CALL(fstatfs, 99, &fs);
    struct timespec now[2] = {{1, 2}, {0, 1073741823}}, omit[2] = {{0, 1073741822}, {0, 1073741822}};
    CALL(utimensat, AT_FDCWD, "note", now, 0);
    CALL(utimensat, AT_FDCWD, "note", omit, AT_SYMLINK_NOFOLLOW);
    CALL(utimensat, AT_FDCWD, "note", NULL, 0);
    struct timeval tv[2] = {{1, 2}, {3, 4}};
    CALL(utimes, "note", tv);
    CALL(futimesat, AT_FDCWD, "note", tv);
    struct utimbuf ut = {5, 6};
    CALL(utime, "note", &ut);
    CALL(utime, "note", NULL);
    CALL(setxattr, "note", "user.a", "value", 5, 1);
    CALL(getxattr, "note", "user.none", data, 100);
    CALL(listxattr, "/nowhere", data, 100);
    CALL(removexattr, "/nowhere", "user.a");
    CALL(fgetxattr, 99, "user.a", data, 10);
    CALL(flistxattr, 99, NULL, 0);
}

static void descriptors(void) {
    int fd = open("note", O_RDWR | O_CREAT, 0640), p[2];
    CALL(fcntl, fd, F_GETFD);
    CALL(fcntl, fd, F_SETFD, FD_CLOEXEC);
    CALL(fcntl, fd, F_GETFL);
    CALL(fcntl, fd, F_SETFL, O_NONBLOCK | O_APPEND);
    CALL(fcntl, fd, F_DUPFD, 20);
    CALL(fcntl, fd, F_DUPFD_CLOEXEC, 25);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    CALL(fcntl, fd, F_SETLK, &lock);
    CALL(fcntl, fd, F_GETLK, &lock);
    lock.l_type = F_UNLCK;
    CALL(fcntl, fd, F_SETLKW, &lock);
    CALL(fcntl, fd, 36, &lock);
    CALL(fcntl, fd, F_GETOWN);
    CALL(fcntl, fd, F_SETOWN, 0);
    CALL(fcntl, fd, F_GETSIG);
    CALL(fcntl, fd, F_GETLEASE);
    CALL(fcntl, fd, 1032);
    CALL(fcntl, 99, F_GETFD);
    CALL(fcntl, fd, 7777, 5);
    CALL(flock, fd, LOCK_EX | LOCK_NB);
    CALL(flock, fd, LOCK_UN);
    CALL(pipe, p);
    CALL(pipe2, p, O_CLOEXEC | O_NONBLOCK);
    CALL(fcntl, p[0], 1032);
    CALL(read, p[0], data, 10);
    struct iovec iov[3] = {{"one", 3}, {"second", 6}, {NULL, 0}}, in[2] = {{data, 4}, {data + 100, 40}};
    CALL(writev, p[1], iov, 3);
    CALL(readv, p[0], in, 2);
    CALL(pwritev, fd, iov, 2, 5);
    CALL(preadv, fd, in, 2, 0);
    CALL(pwritev2, fd, iov, 1, 0, 0);
    CALL(preadv2, fd, in, 1, 0, 0);
    CALL(writev, p[1], BAD, 2);
    CALL(writev, 99, iov, 0);
    CALL(sendfile, p[1], fd, NULL, 3);
    off_t off = 1;
    CALL(sendfile, p[1], fd, &off, 2);
    loff_t loff = 0;
    CALL(splice, p[0], NULL, fd, &loff, 5, 1);
    CALL(tee, p[0], p[1], 5, 2);
    CALL(vmsplice, p[1], iov, 1, 0);
    CALL(copy_file_range, fd, NULL, fd, NULL, 1, 0);
    CALL(eventfd2, 5, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    CALL(eventfd, 0);
    CALL(memfd_create, "memo", 3);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    CALL(signalfd4, -1, &set, 8, SFD_CLOEXEC);
    int t = CALL(timerfd_create, CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec its = {{1, 0}, {2, 500}}, old;
    CALL(timerfd_settime, t, 0, &its, &old);
    CALL(timerfd_settime, t, TFD_TIMER_ABSTIME, &its, NULL);
    CALL(timerfd_gettime, t, &old);
    int n = CALL(inotify_init1, IN_CLOEXEC | IN_NONBLOCK);
    CALL(inotify_add_watch, n, ".", IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR);
    CALL(inotify_rm_watch, n, 1);
    CALL(inotify_rm_watch, n, 9);
    int d = open("/proc/sys", O_RDONLY | O_DIRECTORY);
    CALL(getdents64, d, data, sizeof data);
    CALL(getdents64, fd, data, sizeof data);
    CALL(syncfs, fd);
    CALL(sync_file_range, fd, 0, 10, 2);
    CALL(readahead, fd, 0, 10);
}

static void ioctls(void) {
    int fd = open("note", O_RDWR | O_CREAT, 0640), p[2], n = 0;
    struct termios tio;
    struct winsize size;
    if (pipe(p) != 0)
        return;
    CALL(ioctl, fd, TCGETS, &tio);
    CALL(ioctl, fd, TIOCGWINSZ, &size);
    CALL(ioctl, p[0], FIONREAD, &n);
    n = 1;
    CALL(ioctl, p[0], FIONBIO, &n);
    CALL(ioctl, fd, FIOCLEX);
    CALL(ioctl, fd, FIONCLEX);
    CALL(ioctl, fd, TIOCGPGRP, &n);
    CALL(ioctl, fd, 0x5421, BAD);
    CALL(ioctl, 99, TCSETSW, &unset);
    CALL(ioctl, fd, 0x12345678, 5);
    CALL(ioctl, fd, TIOCSCTTY, 0);
    CALL(ioctl, fd, TIOCNOTTY);
}

static void memory(void) {
    char *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CALL(mmap, NULL, 4096, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE | MAP_STACK, -1, 0);
    CALL(mmap, NULL, 0, PROT_READ, MAP_PRIVATE, 99, 0x3000);
    CALL(mmap, NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_LOCKED | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, 99, 0);
    CALL(mprotect, at, 4096, PROT_READ | PROT_EXEC);
    CALL(mprotect, at, 4096, PROT_NONE);
    CALL(mprotect, (char *)1, 1, PROT_READ | 0x40000000);
    CALL(madvise, at, 4096, MADV_DONTNEED);
    CALL(madvise, at, 4096, MADV_WILLNEED);
    CALL(madvise, at, 4096, 77);
    CALL(msync, at, 4096, MS_SYNC | MS_INVALIDATE);
    CALL(mlock, at, 4096);
    CALL(mlock2, at, 4096, 1);
    CALL(munlock, at, 4096);
    CALL(mlockall, 3);
    CALL(munlockall);
    unsigned char vec[2];
    CALL(mincore, at, 8192, vec);
    at = (char *)CALL(mremap, at, 8192, 16384, MREMAP_MAYMOVE);
    CALL(mremap, at, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, 0x100000000);
    CALL(munmap, at, 16384);
    CALL(munmap, (char *)1, 5);
    CALL(brk, NULL);
    CALL(membarrier, 0, 0, 0);
    CALL(memfd_create, "m", 1);
    CALL(process_madvise, -1, NULL, 0, MADV_COLD, 0);
    CALL(pkey_alloc, 0, 5);
    CALL(shmget, 0, 4096, 01600);
    CALL(shmat, 99999, NULL, 0);
}

static void handler(int signo) { (void)signo; }

static void signals(void) {
    struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART | SA_NODEFER}, old;
    memset(&old, 0, sizeof old);
    sigset_t set, was;
    sigfillset(&act.sa_mask);
    sigaction(SIGUSR1, &act, &old);
    act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
    sigemptyset(&act.sa_mask);
    sigaddset(&act.sa_mask, SIGTERM);
    sigaction(SIGUSR2, &act, NULL);
    act.sa_handler = SIG_IGN;
    act.sa_flags = 0;
    sigaction(SIGPIPE, &act, NULL);
    sigaction(SIGUSR1, NULL, &old);
    sigaction(40, &act, &old);
    CALL(rt_sigaction, SIGKILL, &old, NULL, 8);
    CALL(rt_sigaction, 99, NULL, NULL, 8);
    CALL(rt_sigaction, SIGINT, BAD, NULL, 8);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, 40);
    CALL(rt_sigprocmask, SIG_BLOCK, &set, &was, 8);
    CALL(rt_sigprocmask, SIG_UNBLOCK, &set, NULL, 8);
    CALL(rt_sigprocmask, SIG_SETMASK, NULL, &was, 8);
    CALL(rt_sigprocmask, 77, &set, NULL, 8);
    kill(getpid(), SIGUSR1);
    CALL(tgkill, getpid(), getpid(), SIGUSR2);
    CALL(tkill, getpid(), SIGUSR1);
    CALL(kill, getpid(), 0);
    CALL(kill, 99999999, SIGTERM);
    CALL(kill, getpid(), 99);
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    info.si_pid = 1;
    info.si_uid = 2;
    info.si_value.sival_int = 77;
    CALL(rt_sigqueueinfo, getpid(), SIGUSR1, &info);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    CALL(rt_sigprocmask, SIG_BLOCK, &set, NULL, 8);
    struct timespec nothing = {0, 1000};
    CALL(rt_sigtimedwait, &set, &info, &nothing, 8);
    kill(getpid(), SIGCHLD);
    CALL(rt_sigpending, &was, 8);
    CALL(rt_sigtimedwait, &set, &info, NULL, 8);
    CALL(rt_sigsuspend, BAD, 8);
    stack_t stack = {.ss_sp = data, .ss_flags = 0, .ss_size = sizeof data}, before;
    CALL(sigaltstack, &stack, &before);
    CALL(sigaltstack, NULL, &before);
    stack.ss_flags = SS_DISABLE;
    CALL(sigaltstack, &stack, NULL);
    alarm(100);
    alarm(0);
    CALL(pidfd_send_signal, 99, SIGTERM, NULL, 0);
    signal(SIGSEGV, handler);
    signal(SIGALRM, handler);
    struct itimerval one = {{0, 0}, {0, 1000}}, off;
    CALL(setitimer, ITIMER_REAL, &one, &off);
    CALL(pause);
    CALL(getitimer, ITIMER_VIRTUAL, &off);
    CALL(setitimer, ITIMER_PROF, &one, NULL);
}

static void fault(void) { *(volatile int *)BAD = 1; }
static void aborts(void) { abort(); }
static void divides(void) { volatile int zero = 0; __asm__ volatile("idivl %0" ::"m"(zero), "a"(1), "d"(0)); }
static void illegal(void) { __asm__ volatile("ud2"); }
static void readonly(void) { *(volatile char *)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1; }
static void trapped(void) { __asm__ volatile("int3"); }

static void sockets(void) {
    int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), u = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, got;
    socklen_t len = sizeof got;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    socklen_t n = sizeof one;
    getsockopt(s, SOL_SOCKET, SO_ERROR, &one, &n);
    getsockopt(s, SOL_SOCKET, SO_TYPE, &one, &n);
    struct linger linger = {1, 5};
    setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    struct timeval tv = {1, 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    bind(u, (void *)&any, sizeof any);
    any.sin_port = htons(1);
    CALL(connect, s, &any, sizeof any);
    CALL(sendto, u, "datagram", 8, MSG_DONTWAIT | MSG_NOSIGNAL, &any, sizeof any);
    CALL(recvfrom, u, data, 100, MSG_DONTWAIT, NULL, NULL);
    CALL(shutdown, s, SHUT_RDWR);
    CALL(listen, s, 5);
    CALL(accept4, u, NULL, NULL, SOCK_CLOEXEC);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    CALL(connect, 99, &six, sizeof six);
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "nowhere.sock"}, abstract = {.sun_family = AF_UNIX, .sun_path = "\0hid"};
    CALL(connect, socket(AF_UNIX, SOCK_STREAM, 0), &name, sizeof name);
    CALL(connect, 99, &abstract, 6);
    CALL(getsockname, s, &got, &len);
    CALL(getpeername, s, &got, &len);
    CALL(socket, AF_NETLINK, SOCK_RAW, 0);
    CALL(socket, AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
    CALL(socket, 77, 99, 5);
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    struct iovec iov[2] = {{"first", 5}, {"second", 6}}, in = {data, 100};
    char control[CMSG_SPACE(sizeof(int))];
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &pair[0], sizeof(int));
    CALL(sendmsg, pair[0], &msg, MSG_NOSIGNAL);
    struct msghdr got_msg = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CALL(recvmsg, pair[1], &got_msg, MSG_CMSG_CLOEXEC);
    CALL(recvmsg, pair[1], &got_msg, MSG_DONTWAIT | MSG_PEEK);
    CALL(sendto, pair[0], "x", 1, 0, NULL, 0);
    CALL(recvfrom, pair[1], data, 10, 0, NULL, NULL);
    struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = iov, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = iov + 1, .msg_iovlen = 1}}};
    CALL(sendmmsg, pair[0], many, 2, 0);
    CALL(recvmmsg, pair[1], many, 2, MSG_DONTWAIT, NULL);
    struct ucred who;
    n = sizeof who;
    CALL(getsockopt, pair[0], SOL_SOCKET, SO_PEERCRED, &who, &n);
}

static void polls(void) {
    int p[2], e = CALL(epoll_create1, EPOLL_CLOEXEC);
    if (pipe(p) != 0)
        return;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.u64 = 0x1122334455667788}, got[4];
    CALL(epoll_create, 5);
    CALL(epoll_ctl, e, EPOLL_CTL_ADD, p[0], &event);
    event.events = EPOLLIN;
    event.data.u64 = 5;
    CALL(epoll_ctl, e, EPOLL_CTL_MOD, p[0], &event);
    CALL(epoll_ctl, e, EPOLL_CTL_ADD, 99, &event);
    CALL(epoll_wait, e, got, 4, 0);
    CALL(write, p[1], "x", 1);
    CALL(epoll_wait, e, got, 4, -1);
    CALL(epoll_pwait, e, got, 4, 10, NULL, 8);
    struct timespec zero = {0, 0}, ms = {0, 1000000};
    CALL(epoll_pwait2, e, got, 4, &zero, NULL, 8);
    CALL(epoll_ctl, e, EPOLL_CTL_DEL, p[0], NULL);
    struct pollfd fds[3] = {{p[0], POLLIN | POLLPRI, 0}, {p[1], POLLOUT, 0}, {-1, POLLIN, 0}};
    CALL(poll, fds, 3, -1);
    CALL(poll, fds, 1, 0);
    CALL(read, p[0], data, 1);
    CALL(poll, fds, 1, 1);
    CALL(ppoll, fds, 2, &ms, NULL, 8);
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(p[0], &in);
    FD_SET(p[1], &out);
    struct timeval tv = {0, 1000};
    CALL(select, p[1] + 1, &in, &out, NULL, &tv);
    FD_SET(p[0], &in);
    tv.tv_usec = 1000;
    CALL(select, p[0] + 1, &in, NULL, NULL, &tv);
    FD_SET(p[0], &in);
    CALL(pselect6, p[0] + 1, &in, NULL, NULL, &ms, NULL);
    CALL(select, 0, NULL, NULL, NULL, &tv);
    CALL(poll, NULL, 0, 1);
}

static void times_(void) {
    struct timespec ts = {0, 1000}, left;
    struct timeval tv;
    struct tms tms;
    struct timezone tz;
    CALL(clock_gettime, CLOCK_MONOTONIC, &ts);
    CALL(clock_gettime, CLOCK_REALTIME, BAD);
    CALL(clock_getres, CLOCK_REALTIME, &left);
    CALL(clock_gettime, 77, &left);
    CALL(clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &left);
    CALL(gettimeofday, &tv, NULL);
    CALL(gettimeofday, &tv, &tz);
    CALL(time, NULL);
    CALL(times, &tms);
    ts = (struct timespec){0, 1000};
    CALL(nanosleep, &ts, &left);
    CALL(nanosleep, &ts, NULL);
    CALL(clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL);
    CALL(clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL);
    ts.tv_nsec = -1;
    CALL(nanosleep, &ts, NULL);
    CALL(clock_settime, CLOCK_MONOTONIC, &ts);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    int timer = -1;
    CALL(timer_create, CLOCK_REALTIME, &event, &timer);
    struct itimerspec its = {{0, 0}, {100, 0}}, old;
    CALL(timer_settime, timer, 0, &its, &old);
    CALL(timer_gettime, timer, &old);
    CALL(timer_getoverrun, timer);
    CALL(timer_delete, timer);
}

static void futexes(void) {
    static int word = 1, other;
    struct timespec ms = {0, 1000000};
    CALL(futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
    CALL(futex, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, &ms, NULL, 0);
    CALL(futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    CALL(futex, &word, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0);
    CALL(futex, &word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, &ms, NULL, FUTEX_BITSET_MATCH_ANY);
    CALL(futex, &word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 5);
    CALL(futex, &word, FUTEX_REQUEUE, 1, 1, &other, 0);
    CALL(futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, &other, 1);
    CALL(futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1, &other, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0));
    word = 0;
    CALL(futex, &word, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    CALL(futex, &word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    CALL(futex, &word, 99, 0, NULL, NULL, 0);
    CALL(futex, BAD, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    CALL(set_robust_list, data, 24);
    CALL(get_robust_list, 0, data, data + 8);
    CALL(set_tid_address, &other);
    CALL(rseq, data + 32, 32, 0, 0x53053053);
    CALL(rseq, data + 64, 32, 1, 0x53053053);
}

static void prctls(void) {
    int n;
    CALL(prctl, PR_SET_NAME, "a \"name\"");
    CALL(prctl, PR_GET_NAME, data);
    CALL(prctl, PR_SET_PDEATHSIG, SIGTERM);
    CALL(prctl, PR_GET_PDEATHSIG, &n);
    CALL(prctl, PR_SET_DUMPABLE, 1);
    CALL(prctl, PR_GET_DUMPABLE);
    CALL(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    CALL(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    CALL(prctl, PR_CAPBSET_READ, 0);
    CALL(prctl, PR_CAPBSET_READ, 12);
    CALL(prctl, PR_SET_KEEPCAPS, 1);
    CALL(prctl, PR_SET_CHILD_SUBREAPER, 1);
    CALL(prctl, PR_GET_CHILD_SUBREAPER, &n);
    CALL(prctl, PR_GET_SECCOMP);
    CALL(prctl, PR_SET_TIMERSLACK, 50000);
    CALL(prctl, PR_GET_TIMERSLACK);
    CALL(prctl, PR_GET_SECUREBITS);
    CALL(prctl, 0x53564d41, 0, data, 4096, "label");
    CALL(prctl, PR_GET_TSC, &n);
    CALL(prctl, 9999, 1, 2, 3, 4);
    unsigned long base;
    CALL(arch_prctl, 0x1003, &base);
    CALL(arch_prctl, 0x1001, 0);
    CALL(arch_prctl, 0x3001, data);
    CALL(arch_prctl, 0x9999, 5);
}

static void who(void) {
    unsigned a, b, c;
    gid_t groups[3] = {1, 2, 3};
    CALL(getuid); CALL(getgid); CALL(geteuid); CALL(getegid);
    CALL(getpid); CALL(getppid); CALL(gettid); CALL(getpgrp); CALL(getpgid, 0); CALL(getsid, 0);
    CALL(getresuid, &a, &b, &c);
    CALL(getresgid, &a, &b, &c);
    CALL(getgroups, 0, NULL);
    CALL(setgroups, 3, groups);
    CALL(getgroups, 3, groups);
    CALL(setresuid, -1, -1, -1);
    CALL(setresgid, 0, -1, 0);
    CALL(setreuid, -1, 0);
    CALL(setregid, -1, 0);
    CALL(setuid, 0);
    CALL(setgid, 0);
    CALL(setfsuid, 0);
    CALL(setfsgid, 0);
    CALL(setpgid, 0, 0);
    CALL(setsid);
    struct { unsigned version; int pid; } head = {0x20080522, 0};
    unsigned sets[6];
    CALL(capget, &head, sets);
    CALL(capget, &head, NULL);
    sets[0] = 1 << 12;
    CALL(capset, &head, sets);
    struct rlimit lim = {1024, 4096};
    CALL(getrlimit, RLIMIT_STACK, &lim);
    CALL(prlimit64, 0, RLIMIT_NOFILE, NULL, &lim);
    lim = (struct rlimit){100, 2048};
    CALL(prlimit64, 0, RLIMIT_CORE, &lim, NULL);
    CALL(setrlimit, RLIMIT_CPU, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    CALL(prlimit64, 0, 99, NULL, &lim);
    struct rusage usage;
    CALL(getrusage, RUSAGE_SELF, &usage);
    CALL(getrusage, RUSAGE_CHILDREN, &usage);
    CALL(getrusage, 99, &usage);
    CALL(getpriority, PRIO_PROCESS, 0);
    CALL(setpriority, PRIO_PROCESS, 0, 5);
    struct utsname uts;
    CALL(uname, &uts);
    struct sysinfo si;
    CALL(sysinfo, &si);
    CALL(getrandom, data, 3, 0);
    CALL(getrandom, data, 0, 1);
    CALL(getrandom, BAD, 5, 2);
    CALL(sethostname, BAD, 3);
    CALL(sched_yield);
    CALL(sched_getscheduler, 0);
    struct sched_param param = {0};
    CALL(sched_getparam, 0, &param);
    CALL(sched_setscheduler, 0, SCHED_BATCH, &param);
    CALL(sched_get_priority_max, SCHED_FIFO);
    CALL(sched_getaffinity, 0, 2, data);
    unsigned long mask = 1;
    CALL(sched_setaffinity, 0, 8, &mask);
    CALL(getcpu, &a, NULL, NULL);
    CALL(personality, 0xffffffff);
    CALL(sync);
    CALL(mount, "none", "/nowhere", "tmpfs", MS_NOSUID | MS_RDONLY, "size=1k");
    CALL(umount2, "/nowhere", MNT_DETACH);
    CALL(kcmp, 1, 1, 0, 0, 0);
    CALL(ptrace, 0, 0, 0, 0);
    CALL(syslog, 10, NULL, 0);
    CALL(reboot, 1, 2, 3, NULL);
    CALL(pidfd_open, 1, 0);
    CALL(ioprio_get, 1, 0);
    CALL(seccomp, 99, 0, NULL);
    CALL(bpf, 0, NULL, 0);
    CALL(userfaultfd, 0);
    CALL(io_uring_setup, 1, NULL);
    syscall(500, 1, 2, 3);
}

static void children(void) {
    int status;
    struct rusage usage;
    siginfo_t info = {0};
    pid_t child = fork();
    if (child == 0)
        _exit(3);
    waitpid(child, &status, 0);
    child = CALL(vfork);
    if (child == 0)
        CALL(exit, 0);
    CALL(wait4, -1, &status, 0, &usage);
    child = fork();
    if (child == 0) {
        raise(SIGTERM);
        _exit(0);
    }
    CALL(waitid, P_PID, child, &info, WEXITED | WNOWAIT, NULL);
    CALL(wait4, child, &status, WNOHANG | WUNTRACED | WCONTINUED, NULL);
    CALL(wait4, -1, &status, WNOHANG, NULL);
    CALL(waitid, P_ALL, 0, NULL, WEXITED | WNOHANG, NULL);
    struct clone_args args = {.exit_signal = SIGCHLD};
    child = CALL(clone3, &args, sizeof args);
    if (child == 0)
        CALL(exit_group, 7);
    CALL(wait4, child, &status, 0x40000000, NULL);
    CALL(clone, 0x10000, 0, 0, 0, 0);
    CALL(clone3, BAD, 64);
    CALL(unshare, CLONE_FILES | CLONE_FS);
    CALL(setns, 99, CLONE_NEWNET);
    char *argv[] = {"sh", "-c", "exit 5", NULL}, *none[] = {NULL}, *env[] = {"A=b", NULL};
    CALL(execve, "/nowhere", argv, none);
    CALL(execveat, AT_FDCWD, "/nowhere", argv, env, AT_SYMLINK_NOFOLLOW);
    CALL(execve, "/bin/sh", argv, env);
}

static void *thread(void *arg) {
    CALL(getppid);
    CALL(prctl, PR_SET_NAME, "thread");
    return arg;
}

static void threads(void) {
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    if (fork() == 0)
        CALL(kill, getpid(), SIGKILL);
    wait(NULL);
}

static void masks(void) {
    int p[2], e = CALL(epoll_create1, 0);
    if (pipe(p) != 0)
        return;
    static const unsigned long usr1 = 1UL << 9, none, all = ~0UL, but_two = ~(3UL << 31);
    struct { const void *set; unsigned long size; } pair = {&usr1, 8}, bad = {BAD, 8}, null = {NULL, 8}, odd = {&usr1, 4};
    struct timespec zero = {0, 0};
    struct pollfd fds[1] = {{p[0], POLLIN, 0}};
    struct epoll_event event = {.events = EPOLLIN}, got[4];
    CALL(ppoll, fds, 1, &zero, &usr1, 8);
    CALL(ppoll, fds, 1, &zero, &none, 8);
    CALL(ppoll, fds, 1, &zero, &all, 8);
    CALL(ppoll, fds, 1, &zero, &but_two, 8);
    CALL(ppoll, fds, 1, &zero, &usr1, 4);
    CALL(ppoll, fds, 1, &zero, BAD, 8);
    CALL(ppoll, fds, 1, &zero, NULL, 5);
    CALL(ppoll, BAD, 1, &zero, &usr1, 8);
    CALL(pselect6, 0, NULL, NULL, NULL, &zero, &pair);
    CALL(pselect6, 0, NULL, NULL, NULL, &zero, &bad);
    CALL(pselect6, 0, NULL, NULL, NULL, &zero, &null);
    CALL(pselect6, 0, NULL, NULL, NULL, &zero, &odd);
    CALL(pselect6, 0, NULL, NULL, NULL, &zero, BAD);
    CALL(epoll_pwait, e, got, 4, 0, &usr1, 8);
    CALL(epoll_pwait, e, got, 4, 0, &but_two, 8);
    CALL(epoll_pwait, e, got, 4, 0, &usr1, 4);
    CALL(epoll_pwait, e, got, 4, 0, BAD, 8);
    CALL(epoll_pwait2, e, got, 4, &zero, &usr1, 8);
    CALL(epoll_pwait2, e, got, 4, &zero, BAD, 8);
    CALL(epoll_pwait2, e, got, 4, NULL, BAD, 8);
    CALL(epoll_ctl, e, EPOLL_CTL_ADD, p[0], &event);
    CALL(epoll_ctl, e, EPOLL_CTL_DEL, p[0], &event);
    CALL(epoll_ctl, e, EPOLL_CTL_ADD, p[0], BAD);
    CALL(epoll_ctl, 13, 9, 5, &event);
    CALL(epoll_ctl, 13, 0, 5, NULL);
}

static volatile int heard;

static void hear(int signo) { heard = signo; }

/* Sleeps, which a signal interrupts or not. */
static void sleeps(void) {
    struct timespec ms = {0, 1000000}, some = {3, 0}, wrong = {0, -1}, left = {7, 8}, end;
    struct itimerval soon = {.it_value = {0, 20000}};
    struct sigaction action = {.sa_handler = hear};
    sigaction(SIGALRM, &action, NULL);
    CALL(nanosleep, &ms, &left);
    CALL(nanosleep, &ms, BAD);
    CALL(nanosleep, BAD, &left);
    CALL(nanosleep, &wrong, &left);
    CALL(clock_nanosleep, CLOCK_MONOTONIC, 0, &ms, &left);
    CALL(clock_nanosleep, 99, 0, &ms, &left);
    CALL(clock_nanosleep, CLOCK_MONOTONIC, 6, &ms, &left);
    void *places[] = {&left, NULL, BAD};
    for (int i = 0; i < 3; i++) {
        CALL(setitimer, ITIMER_REAL, &soon, NULL);
        CALL(nanosleep, &some, places[i]);
        CALL(setitimer, ITIMER_REAL, &soon, NULL);
        CALL(clock_nanosleep, CLOCK_MONOTONIC, 0, &some, places[i]);
    }
    CALL(nanosleep, &wrong, &left);
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 3;
    CALL(setitimer, ITIMER_REAL, &soon, NULL);
    CALL(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &end, &left);
}

/* Enough to be counted. */
static void busy(void) {
    struct tms tms;
    siginfo_t info;
    pid_t child = fork();
    if (child == 0) {
        struct itimerval soon = {.it_value = {0, 500000}};
        signal(SIGALRM, hear);
        setitimer(ITIMER_REAL, &soon, NULL);
        while (!heard)
            ;
        _exit(0);
    }
    CALL(waitid, P_PID, child, &info, WEXITED, NULL);
    CALL(times, &tms);
}

/* Numbers nobody would pass. */
static void odd(void) {
    int clone_flags[] = {0xff, 0x5ff, 1, 0x30101};
    struct timezone tz = {5, 6};
    struct timeval tv = {1, -2};
    CALL(open, "made", O_CREAT | O_RDWR, 0777777);
    CALL(openat, AT_FDCWD, "made", O_CREAT | O_RDWR, 01234567);
    CALL(open, "none", O_ASYNC | O_DIRECT | O_SYNC | O_NOATIME | 0x80000000);
    CALL(creat, "made", 0777777);
    CALL(chmod, "none", 0221505);
    CALL(fchmod, 99, 0221505);
    CALL(fchmodat, AT_FDCWD, "none", 0221505);
    CALL(mkdir, "/tmp", 0777777);
    CALL(mkdirat, AT_FDCWD, "/tmp", 0777777);
    CALL(umask, 0777777);
    CALL(umask, 0xffffffff);
    CALL(umask, 022);
    CALL(mknod, "/tmp", 0777777, 0);
    CALL(mknod, "/tmp", S_IFREG | 0123456, 0);
    CALL(mknodat, AT_FDCWD, "/tmp", 01034777, 0x103);
    CALL(mknod, "/tmp", 0130600, 0);
    CALL(mknod, "/tmp", 06000, 0);
    int p[2];
    if (pipe(p) != 0)
        return;
    CALL(fcntl, p[0], F_SETFL, O_ASYNC | O_NONBLOCK);
    CALL(fcntl, p[0], F_GETFL);
    CALL(mmap, NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_HUGETLB | (21 << 26), 99, 0);
    CALL(mmap, NULL, 4096, PROT_NONE, MAP_PRIVATE | 0x200000 | (1 << 26), 99, 0);
    CALL(mmap, NULL, 4096, PROT_NONE, 0x1f, 99, 0);
    CALL(mmap, NULL, 4096, PROT_NONE, 4, 99, 0);
    for (int i = 0; i < 4; i++)
        CALL(unshare, clone_flags[i]);
    CALL(setns, 99, 0xff);
    CALL(setns, 99, CLONE_FILES);
    CALL(timerfd_create, 77, 5);
    CALL(timerfd_create, CLOCK_BOOTTIME, 2 | TFD_CLOEXEC);
    CALL(dup3, 99, 98, 5);
    CALL(dup3, 99, 98, O_CLOEXEC | O_APPEND | O_RDWR | 1);
    CALL(dup3, 99, 98, O_ASYNC | O_TMPFILE);
    CALL(flock, 99, 32 | 192);
    CALL(flock, 99, 32 | 128 | LOCK_NB);
    CALL(flock, 99, 0xfff);
    CALL(flock, 99, 0x100);
    CALL(flock, 99, 0);
    CALL(setpriority, 9, 0, 5);
    CALL(getpriority, -1, 0);
    CALL(membarrier, 128, 1, 5);
    CALL(membarrier, 999, 7, -1);
    CALL(membarrier, 1, 2, 5);
    CALL(gettimeofday, NULL, &tz);
    CALL(gettimeofday, NULL, BAD);
    CALL(settimeofday, &tv, &tz);
    CALL(settimeofday, BAD, &tz);
}

static void names(void) {
    static const unsigned char long_one[4000] = {77, 0, 'a', 'b'}, of_unix[300] = {AF_UNIX, 0, 'n', 'o'}, hidden[20] = {AF_UNIX, 0, 0, 'n'};
    static const unsigned char told[12] = {AF_NETLINK, 0, 0, 0, 5, 0, 0, 0, 3}, of_can[16] = {AF_CAN, 0, 1};
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_scope_id = 2};
    socklen_t lengths[] = {0, 1, 2, 3, 15, 16, 100, 128, 129, -1};
    for (int i = 0; i < 10; i++) {
        CALL(bind, 99, &any, lengths[i]);
        CALL(connect, 99, long_one, lengths[i]);
        CALL(connect, 99, of_unix, lengths[i]);
        CALL(sendto, 99, "x", 1, 0, long_one, lengths[i]);
    }
    for (int n = 23; n < 30; n++)
        CALL(connect, 99, &six, n);
    CALL(connect, 99, hidden, 4);
    CALL(connect, 99, hidden, 3);
    CALL(connect, 99, told, 12);
    CALL(connect, 99, told, 11);
    CALL(connect, 99, of_can, 4);
    CALL(bind, 99, NULL, 16);
    CALL(bind, 99, BAD, 16);
}

static void vectors(void) {
    struct iovec three[3] = {{data, 10}, {BAD, 5}, {NULL, 0}}, two[2] = {{data, 4}, {data + 10, 5}};
    int p[2], zero = open("/dev/zero", O_RDONLY);
    if (pipe(p) != 0)
        return;
    CALL(readv, 99, three, 1);
    CALL(readv, 99, three, 3);
    CALL(readv, 99, BAD, 3);
    CALL(readv, 99, three, 0);
    CALL(readv, 99, NULL, 1);
    CALL(preadv, 99, three, 2, 7);
    CALL(preadv2, 99, three, 2, 7, 0, 1);
    CALL(readv, zero, three, 3);
    CALL(write, p[1], "abcdef", 6);
    CALL(readv, p[0], two, 2);
    CALL(write, p[1], "abc", 3);
    CALL(readv, p[0], two, 2);
}

/* Who would rule the machine: each refused, by its numbers. */
static void rulers(void) {
    static const unsigned long usr1 = 1UL << 9;
    static const int actions[] = {0x7fff0000, 0x50005};
    struct { unsigned short count; void *filter; } program = {1, data}, empty = {0, NULL};
    struct iovec room = {data, 8};
    int requests[] = {0, 1, 3, 7, 8, 10, 12, 16, 17, 19, 21, 24, 0x4200, 0x4202, 0x4204, 0x4206, 0x4207, 0x420a, 0x420e, 0x4333, -1};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        CALL(ptrace, requests[i], 99999999, 5, 6);
    CALL(ptrace, 2, 99999999, 0, 0);
    CALL(ptrace, 0x4206, 99999999, 0, 0x3001ff);
    CALL(ptrace, 0x4204, 99999999, 0x202, &room);
    CALL(ptrace, 0x4205, 99999999, 77, BAD);
    CALL(ptrace, 0x420b, 99999999, 8, &usr1);
    CALL(ptrace, 6, 99999999, 7 * 8 + 1, 9);
    CALL(ptrace, 6, 99999999, 22 * 8, 9);
    CALL(ptrace, 7, 99999999, 0, 99);
    CALL(seccomp, 0, 1, 5);
    CALL(seccomp, 1, 0xff, BAD);
    CALL(seccomp, 1, 0x40, &program);
    CALL(seccomp, 1, 0x40, &empty);
    CALL(seccomp, 2, 0, &actions[0]);
    CALL(seccomp, 2, 0, &actions[1]);
    CALL(seccomp, 2, 1, BAD);
    CALL(reboot, 5, 5, 0xa1b2c3d4, "hello");
    CALL(reboot, 5, 672274793, 0x01234567, data);
    CALL(reboot, 0xfee1dead, 5, 0xcdef0123, BAD);
    CALL(syslog, 3, data, 0);
    CALL(syslog, 3, NULL, 5);
    CALL(syslog, 8, NULL, 9);
    CALL(syslog, 99, data, 5);
    CALL(syslog, -1, NULL, -1);
    unsigned long flags[] = {256, 0, MS_BIND, MS_REMOUNT | MS_BIND, MS_PRIVATE | MS_REC, MS_MOVE, 0xC0ED0001, 0xC0ED0000, 1UL << 31, 512};
    for (int i = 0; i < 10; i++)
        CALL(mount, "none", "/nowhere", "tmpfs", flags[i], "size=1k");
    CALL(mount, "none", "/nowhere", BAD, MS_BIND, "size=1k");
    CALL(mount, NULL, "/nowhere", NULL, MS_SLAVE, NULL);
    CALL(mount, "none", "/nowhere", "tmpfs", 0, BAD);
    CALL(umount2, "/nowhere", 0xff);
}

/* What injections meet: an argument that cannot be read, a signal while a call is held up. */
static void tampered(void) {
    CALL(mkdir, BAD, 0700);
    CALL(mkdir, "/tmp", 0700);
    struct sigaction action = {.sa_handler = hear, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    CALL(getppid);
    CALL(getpgid, 0);
    CALL(getpgid, 0);
    struct itimerval soon = {.it_value = {0, 20000}};
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, NULL);
    CALL(setitimer, ITIMER_REAL, &soon, NULL);
    CALL(getsid, 0);
}

static const struct { const char *name; void (*run)(void); } SUBJECTS[] = {
    {"paths", paths}, {"stats", stats}, {"descriptors", descriptors}, {"ioctls", ioctls}, {"memory", memory}, {"signals", signals},
    {"fault", fault}, {"aborts", aborts}, {"divides", divides}, {"illegal", illegal}, {"readonly", readonly}, {"trapped", trapped},
    {"sockets", sockets}, {"polls", polls}, {"times", times_}, {"futexes", futexes}, {"prctls", prctls}, {"who", who},
    {"children", children}, {"threads", threads}, {"tampered", tampered}, {"masks", masks}, {"sleeps", sleeps}, {"busy", busy},
    {"odd", odd}, {"names", names}, {"vectors", vectors}, {"rulers", rulers},
};

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof SUBJECTS / sizeof *SUBJECTS; i++)
        if (argc > 1 && strcmp(argv[1], SUBJECTS[i].name) == 0)
            SUBJECTS[i].run();
    return 0;
}
