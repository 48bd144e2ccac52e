/* What a process can ask of and set in the system: identity, limits, names, random numbers.
 * builds: x64 i386
 */
#include "case.h"
#include <grp.h>
#include <sys/prctl.h>
#include <sys/fsuid.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/personality.h>

static void ids(void)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;
    getresuid(&r, &e, &s), getresgid(&rg, &eg, &sg);
    say("uid %d %d %d gid %d %d %d", (int)r, (int)e, (int)s, (int)rg, (int)eg, (int)sg);
}

CASE(user_ids_from_root)
{
    ids();
    T(seteuid(1000));
    ids();
    T(setuid(5));
    T(seteuid(0));
    T(setreuid(-1, 1000));
    ids();
    T(setreuid(1000, 0));
    ids();
    T(setresuid(7, 8, 9));
    ids();
    T(setresuid(9, 9, -1));
    ids();
    T(setuid(7));
    T(setuid(10));
    T(seteuid(0));
    T(setresuid(0, -1, -1));
}

CASE(dropping_for_good)
{
    gid_t groups[3] = {5, 6, 7}, got[8];
    T(setgroups(3, groups));
    T(getgroups(8, got));
    T(getgroups(0, NULL));
    T(getgroups(1, got));
    T(setgid(1000));
    T(setuid(1000));
    ids();
    T(setuid(0));
    T(setgid(0));
    T(setgroups(0, NULL));
    T(setreuid(0, 0));
    T(setfsuid(0));
    T(setfsgid(1000));
    T(setresuid(1000, 1000, 0));
    T(getgroups(8, got));
    T(setpriority(PRIO_PROCESS, 0, -5));
    T(nice(-1));
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_max++;
    T(setrlimit(RLIMIT_NOFILE, &limit));
    T(chroot("."));
}

CASE(group_ids)
{
    T(setegid(50));
    ids();
    T(setregid(60, -1));
    ids();
    T(setresgid(1, 2, 3));
    ids();
    T(setgid(4));
    ids();
    T(setfsuid(44));
    T(setfsuid(-1));
    T(setgroups(70000, NULL));
}

CASE(resource_limits)
{
    struct rlimit limit, old;
    T(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 8;
    T(setrlimit(RLIMIT_NOFILE, &limit));
    int fd, last = -1;
    while ((fd = dup(1)) >= 0) last = fd;
    say("last %d, then %s", last, errno_name(errno));
    T(dup2(1, 8));
    T(dup2(1, 7));
    T(fcntl(1, F_DUPFD, 8));
    int p[2];
    T(pipe(p));
    close(7);
    T(pipe(p));
    T(open("/dev/null", O_RDONLY));
    T(getrlimit(99, &limit));
    limit = (struct rlimit){10, 5};
    T(setrlimit(RLIMIT_CORE, &limit));
    limit = (struct rlimit){5, 10};
    T(setrlimit(RLIMIT_CORE, &limit));
    T(getrlimit(RLIMIT_CORE, &old));
    say("%ld %ld", (long)old.rlim_cur, (long)old.rlim_max);
    CHILD getrlimit(RLIMIT_CORE, &old); say("%ld %ld", (long)old.rlim_cur, (long)old.rlim_max); REAPED
    T(prlimit(getpid(), RLIMIT_CORE, NULL, &old));
    T(prlimit(1 << 29, RLIMIT_CORE, NULL, &old));
    limit = (struct rlimit){3, 3};
    T(prlimit(0, RLIMIT_CORE, &limit, &old));
    say("%ld %ld", (long)old.rlim_cur, (long)old.rlim_max);
    T(getrlimit(RLIMIT_STACK, (void *)1));
}

CASE(cpu_limit)
{
    struct rlimit limit = {1, 2};
    pid_t pid = fork();
    if (pid == 0) { setrlimit(RLIMIT_CPU, &limit); for (volatile long i = 0;; i++) {} }
    reap(pid);
}

CASE(priorities)
{
    errno = 0;
    T(getpriority(PRIO_PROCESS, 0));
    T(setpriority(PRIO_PROCESS, 0, 5));
    T(getpriority(PRIO_PROCESS, 0));
    T(nice(3));
    T(syscall(SYS_getpriority, PRIO_PROCESS, 0));
    T(setpriority(PRIO_PROCESS, 0, 100));
    T(getpriority(PRIO_PROCESS, 0));
    T(setpriority(PRIO_PROCESS, 1 << 29, 0));
    T(setpriority(9, 0, 0));
    CHILD T(getpriority(PRIO_PROCESS, 0)); REAPED
    T(getpriority(PRIO_PGRP, 1 << 29));
}

CASE(scheduling)
{
    struct sched_param param = {0};
    cpu_set_t set;
    T(sched_yield());
    T(sched_getscheduler(0) == -1 ? (int)syscall(SYS_sched_getscheduler, 0) : 0);
    T(syscall(SYS_sched_getparam, 0, &param));
    T(sched_get_priority_max(SCHED_FIFO));
    T(sched_get_priority_min(SCHED_OTHER));
    T(sched_get_priority_max(99));
    IS(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == sysconf(_SC_NPROCESSORS_ONLN));
    T(sched_setaffinity(0, sizeof set, &set));
    CPU_ZERO(&set);
    T(sched_setaffinity(0, sizeof set, &set));
    T(syscall(SYS_sched_getaffinity, 0, 1, &set));
    T(syscall(SYS_sched_getaffinity, 1 << 29, sizeof set, &set));
    unsigned cpu = 999;
    T(syscall(SYS_getcpu, &cpu, NULL, NULL));
    IS(cpu < 1000);
}

CASE(names)
{
    struct utsname u;
    T(uname(&u));
    say("%s %s", u.sysname, u.machine);
    IS(atoi(u.release) >= 4 && strchr(u.release, '.') != NULL);
    IS(strlen(u.version) > 0 && strlen(u.nodename) > 0);
    T(uname((void *)1));
    char host[65];
    gethostname(host, sizeof host);
    IS(strcmp(host, u.nodename) == 0);
    CHILD setuid(1000); T(sethostname("x", 1)); T(setdomainname("x", 1)); REAPED
    T(sethostname("x", -1));
    T(sethostname("x", 65));
}

CASE(system_information)
{
    struct sysinfo info;
    T(sysinfo(&info));
    IS(info.uptime > 0 && info.totalram > 0 && info.freeram <= info.totalram && info.procs > 0);
    IS(info.mem_unit > 0);
    T(sysinfo((void *)1));
    IS(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    T(sysconf(_SC_PAGESIZE));
    T(sysconf(_SC_CLK_TCK));
    struct rusage usage;
    T(getrusage(RUSAGE_SELF, &usage));
    IS(usage.ru_maxrss > 0);
    T(getrusage(RUSAGE_THREAD, &usage));
}

CASE(random_bytes)
{
    char a[32], b[32];
    T(getrandom(a, 32, 0));
    T(getrandom(b, 32, GRND_NONBLOCK));
    IS(memcmp(a, b, 32) != 0);
    T(getrandom(a, 0, 0));
    T(getrandom(a, 32, 0x99));
    T(getrandom((void *)1, 32, 0));
    T(getrandom(a, 32, GRND_RANDOM));
}

CASE(prctls)
{
    char name[17] = {0};
    int value = -1;
    T(prctl(PR_SET_NAME, "a-name-longer-than-fifteen"));
    T(prctl(PR_GET_NAME, name));
    say("%s", name);
    T(prctl(PR_GET_PDEATHSIG, &value));
    T(value);
    T(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    T(prctl(PR_GET_PDEATHSIG, &value));
    T(value);
    T(prctl(PR_SET_PDEATHSIG, 99));
    CHILD prctl(PR_GET_PDEATHSIG, &value); T(value); REAPED
    T(prctl(PR_GET_DUMPABLE));
    T(prctl(PR_SET_DUMPABLE, 0));
    T(prctl(PR_GET_DUMPABLE));
    T(prctl(PR_SET_DUMPABLE, 2));
    T(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    T(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    T(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    T(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    T(prctl(PR_SET_CHILD_SUBREAPER, 1));
    T(prctl(PR_GET_CHILD_SUBREAPER, &value));
    T(value);
    T(prctl(PR_GET_KEEPCAPS));
    T(prctl(PR_SET_KEEPCAPS, 1));
    T(prctl(PR_SET_KEEPCAPS, 7));
    T(prctl(PR_GET_TIMERSLACK) > 0);
    T(prctl(9999));
    T(prctl(PR_GET_SECCOMP));
    T(prctl(PR_CAPBSET_READ, 0));
    T(prctl(PR_CAPBSET_READ, 999));
}

CASE(death_of_the_parent)
{
    int p[2];
    char c = 0;
    pipe(p);
    CHILD
        if (fork() == 0) {
            sigset_t set, none;
            sigemptyset(&none), sigemptyset(&set), sigaddset(&set, SIGUSR1);
            sigprocmask(SIG_BLOCK, &set, NULL);
            handle(SIGUSR1, tell, 0);
            prctl(PR_SET_PDEATHSIG, SIGUSR1);
            write(p[1], "r", 1);
            sigsuspend(&none);
            write(p[1], "d", 1);
            _exit(0);
        }
        read(p[0], &c, 1);
    REAPED_SILENTLY
    T(read(p[0], &c, 1));
    say("%c", c);
}

CASE(personalities)
{
    T(personality(0xffffffff) & 0xff);
    CHILD T(personality(ADDR_NO_RANDOMIZE) & 0xff); IS(personality(0xffffffff) & ADDR_NO_RANDOMIZE); REAPED
}

CASE(capabilities)
{
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    uint32_t data[6] = {0};
    T(syscall(SYS_capget, &header, data));
    IS(data[0] & 1);
    CHILD setuid(1000); T(syscall(SYS_capget, &header, data)); say("%x %x %x", data[0], data[1], data[2]); REAPED
    header.version = 7;
    T(syscall(SYS_capget, &header, data));
    say("%x", header.version);
    T(syscall(SYS_capget, &header, NULL));
}

CASE(missing_calls)
{
    T(syscall(5000));
    T(syscall(-1));
    T(syscall(999));
}

CASE(supplementary)
{
    char b[8];
    T(syscall(SYS_membarrier, 0, 0, 0) >= 0);
    T(syscall(SYS_getcpu, NULL, NULL, NULL));
    T(syscall(SYS_set_tid_address, NULL) == syscall(SYS_gettid));
    T(syscall(SYS_gettid) == getpid());
    T(syscall(SYS_umask, 022) == (long)umask(022));
    T(syscall(SYS_sync));
    T(syscall(SYS_sysinfo, NULL));
    T(getppid() > 0);
    T(syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0));
    (void)b;
}
