/* Clocks, sleeps and timers; only relations are printed.
 * builds: x64 i386
 */
#include "case.h"
#include <sys/times.h>

static volatile int fired;
static void count(int number) { (void)number; fired++; }

CASE(clocks)
{
    struct timespec a, b;
    clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW,
                       CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME};
    for (int i = 0; i < 8; i++) {
        int got = clock_gettime(ids[i], &a);
        clock_gettime(ids[i], &b);
        say("clock %d -> %d, forward %d", (int)ids[i], got, b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
    }
    T(clock_gettime(99, &a));
    T(clock_getres(CLOCK_MONOTONIC, &a));
    say("%ld.%09ld", (long)a.tv_sec, a.tv_nsec);
    struct timeval tv;
    gettimeofday(&tv, NULL);
    time_t now = time(NULL);
    IS(now - tv.tv_sec >= 0 && now - tv.tv_sec <= 1);
    struct tms tms;
    IS(times(&tms) != (clock_t)-1);
    CHILD setuid(1000); struct timespec set = {1, 0}; T(clock_settime(CLOCK_REALTIME, &set)); REAPED
    T(clock_settime(CLOCK_MONOTONIC, &a));
}

CASE(clocks_by_call)
{
    struct { long sec, nsec; } a = {0, 0}, b = {0, 0};
#if defined(__i386__)
    T(syscall(SYS_clock_gettime32, CLOCK_REALTIME, &a));
#else
    T(syscall(SYS_clock_gettime, CLOCK_REALTIME, &a));
#endif
    struct timespec vdso;
    clock_gettime(CLOCK_REALTIME, &vdso);
    IS(vdso.tv_sec - a.sec >= 0 && vdso.tv_sec - a.sec <= 1);
    (void)b;
}

CASE(sleeping)
{
    struct timespec brief = {0, 30000000}, bad = {0, 1000000000}, negative = {-1, 0};
    long start = now_ms();
    T(nanosleep(&brief, NULL));
    IS(now_ms() - start >= 29);
    T(nanosleep(&bad, NULL));
    T(nanosleep(&negative, NULL));
    T(nanosleep((void *)1, NULL));
    R(clock_nanosleep(99, 0, &brief, NULL));
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    R(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    until.tv_nsec += 30000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    start = now_ms();
    R(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    IS(now_ms() - start >= 25);
}

CASE(interrupted_sleep)
{
    pid_t me = getpid();
    handle(SIGUSR1, count, SA_RESTART);
    if (fork() == 0) { pause_ms(50); kill(me, SIGUSR1); _exit(0); }
    struct timespec one = {1, 0}, left = {0, 0};
    T(nanosleep(&one, &left));
    IS(left.tv_sec == 0 && left.tv_nsec > 500000000);
    wait(NULL);
    if (fork() == 0) { pause_ms(50); kill(me, SIGUSR1); _exit(0); }
    R(clock_nanosleep(CLOCK_MONOTONIC, 0, &one, &left));
    IS(left.tv_sec == 0 && left.tv_nsec > 500000000);
    wait(NULL);
    if (fork() == 0) { pause_ms(50); kill(me, SIGUSR1); _exit(0); }
    IS(sleep(3) >= 2);
    wait(NULL);
    pid_t pid = fork();
    if (pid == 0) { struct timespec t = {0, 150000000}; T(nanosleep(&t, NULL)); _exit(0); }
    pause_ms(30);
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    kill(pid, SIGCONT);
    reap(pid);
}

CASE(interval_timer)
{
    struct itimerval set = {{0, 10000}, {0, 20000}}, got;
    handle(SIGALRM, count, 0);
    T(setitimer(ITIMER_REAL, &set, NULL));
    while (fired < 3) pause();
    T(getitimer(ITIMER_REAL, &got));
    say("interval %ld, value small %d", (long)got.it_interval.tv_usec, got.it_value.tv_usec <= 10000);
    set = (struct itimerval){{0, 0}, {0, 0}};
    T(setitimer(ITIMER_REAL, &set, &got));
    say("interval %ld", (long)got.it_interval.tv_usec);
    T(getitimer(ITIMER_REAL, &got));
    say("%ld %ld", (long)got.it_value.tv_usec, (long)got.it_interval.tv_usec);
    set.it_value.tv_usec = 1000000;
    T(setitimer(ITIMER_REAL, &set, NULL));
    T(setitimer(99, &set, NULL));
    T(getitimer(ITIMER_REAL, (void *)1));
}

CASE(alarms)
{
    handle(SIGALRM, tell, 0);
    T(alarm(5));
    T(alarm(1));
    CHILD T(alarm(0)); REAPED
    T(pause());
    T(alarm(0));
    CHILD handle(SIGALRM, SIG_DFL, 0); struct itimerval set = {{0, 0}, {0, 20000}}; setitimer(ITIMER_REAL, &set, NULL); for (;;) pause(); REAPED
}

CASE(cpu_timers)
{
    struct itimerval set = {{0, 0}, {0, 20000}};
    handle(SIGVTALRM, tell, 0), handle(SIGPROF, tell, 0);
    T(setitimer(ITIMER_VIRTUAL, &set, NULL));
    for (volatile long i = 0; i < 150000000; i++) {}
    T(setitimer(ITIMER_PROF, &set, NULL));
    for (volatile long i = 0; i < 150000000; i++) {}
}

static void valued(int number, siginfo_t *info, void *context)
{
    (void)context;
    fired++;
    say("%s code %d value %d overrun %d", signal_name(number), info->si_code, info->si_value.sival_int, info->si_overrun);
}

CASE(posix_timers)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    struct itimerspec set = {{0, 0}, {0, 20000000}}, got;
    action.sa_sigaction = valued;
    sigaction(SIGUSR1, &action, NULL);
    T(timer_create(CLOCK_MONOTONIC, &event, &timer));
    T(timer_gettime(timer, &got));
    say("%ld %ld", (long)got.it_value.tv_sec, got.it_value.tv_nsec);
    T(timer_settime(timer, 0, &set, NULL));
    T(pause());
    T(timer_gettime(timer, &got));
    say("%ld", got.it_value.tv_nsec);
    set.it_value.tv_sec = 100;
    T(timer_settime(timer, 0, &set, NULL));
    T(timer_settime(timer, 0, &set, &got));
    IS(got.it_value.tv_sec == 100 || (got.it_value.tv_sec == 99 && got.it_value.tv_nsec > 900000000));
    set = (struct itimerspec){{0, 5000000}, {0, 1}};
    T(timer_settime(timer, TIMER_ABSTIME, &(struct itimerspec){{0, 0}, {0, 1}}, NULL));
    while (fired < 2) pause_ms(1);
    T(timer_getoverrun(timer));
    T(timer_delete(timer));
    T(timer_delete(timer));
    T(timer_create(99, &event, &timer));
    event.sigev_signo = 99;
    T(timer_create(CLOCK_MONOTONIC, &event, &timer));
    set.it_value.tv_nsec = 1000000000;
    T(timer_settime(timer, 0, &set, NULL));
}

CASE(overruns)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec set = {{0, 5000000}, {0, 5000000}};
    sigset_t mask;
    siginfo_t info;
    sigemptyset(&mask), sigaddset(&mask, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &set, NULL);
    pause_ms(60);
    T(sigwaitinfo(&mask, &info));
    IS(info.si_overrun >= 5);
    IS(timer_getoverrun(timer) == info.si_overrun);
    event.sigev_notify = SIGEV_NONE;
    T(timer_create(CLOCK_REALTIME, &event, &timer));
    T(timer_settime(timer, 0, &set, NULL));
    CHILD T(timer_delete(timer)); REAPED
}

CASE(pending_kept_for_a_blocked_alarm)
{
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct itimerval soon = {{0, 0}, {0, 5000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    pause_ms(20);
    sigpending(&set);
    IS(sigismember(&set, SIGALRM));
}
