/* Processes: beginning, waiting, groups and sessions, names, priorities, the alarm, what a core file would tell. */
#include "sy.h"

enum { P_ALL = 1, P_PID = 2, P_PGID = 3 };
enum { WNOHANG = 1, WSTOPPED = 2, WEXITED = 4, WCONTINUED = 8, WNOWAIT = 0x1000000 };
enum { CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED };
enum { SA_NOCLDWAIT = 2, SA_SIGINFO = 4, SIGTTIN = 21 };

struct sigaction { void *handler; u32 mask; i32 flags; };
struct scheduler { i32 id; u8 mode; i32 priority; };
struct metadata { struct string key, value; };
_Static_assert(sizeof(struct scheduler) == 12 && sizeof(struct waitid_params) == 24, "layouts");

static struct siginfo told, info;
static volatile int chlds;
static void on_child(int signo, struct siginfo *what, void *context) { (void)signo, (void)context; chlds++, told = *what; }
static void nothing(int signo) { (void)signo; }
static void act(int signo, void *handler, u32 flags)
{
    struct sigaction action = {handler, 0, (i32)flags};
    CALL3(SC_sigaction, signo, &action, NULL);
}
static i64 wait_for(int kind, i64 id, int options)
{
    struct waitid_params params = {kind, (i32)id, &info, options};
    info = (struct siginfo){99, 99, 99, 99, 99, 0, NULL, 99, 99, NULL};
    return CALL1(SC_waitid, &params);
}
static i64 spawn(void (*what)(void)) { i64 pid = CALL0(SC_fork); if (!pid) what(), leave(0); return pid; }
static void sleep_long(void) { u32 none = 0; for (;;) CALL1(SC_sigsuspend, &none); }
static void leave_7(void) { leave(7); }
static void be_killed(void) { CALL2(SC_kill, CALL0(SC_getpid), SIGKILL); }
static void stop_once(void) { CALL2(SC_kill, CALL0(SC_getpid), SIGSTOP); sleep_long(); }

static void waiting(void)
{
    i64 pid = spawn(leave_7);
    CHECK(wait_for(9, 0, WEXITED) == -EINVAL && wait_for(P_PID, 32000, WEXITED) == -ECHILD);
    CHECK(wait_for(P_PID, CALL0(SC_getpid), WEXITED) == -ECHILD && wait_for(P_PGID, 32000, WEXITED) == -ECHILD);
    CHECK(CALL1(SC_waitid, 16) == -EFAULT);
    CHECK(wait_for(P_PID, pid, WEXITED | WNOWAIT) == 0 && info.signo == SIGCHLD && info.pid == pid && info.status == 7);
    CHECK(wait_for(P_ALL, 0, WEXITED) == 0 && info.pid == pid && info.code == CLD_EXITED && info.status == 7);
    CHECK(wait_for(P_PID, pid, WEXITED) == -ECHILD);                     /* told once */
    pid = spawn(be_killed);
    CHECK(wait_for(P_PID, pid, WEXITED) == 0 && info.code == CLD_KILLED && info.status == SIGKILL);
    CHECK(wait_for(P_ALL, 0, WEXITED | WNOHANG) == 0 && info.signo == 0 && info.pid == 0 && info.code == 0 && info.status == 0);

    pid = spawn(stop_once);
    CHECK(wait_for(P_PID, pid, WSTOPPED) == 0 && info.code == CLD_STOPPED && info.status == SIGSTOP && info.pid == pid);
    CHECK(wait_for(P_PID, pid, WSTOPPED | WEXITED | WNOHANG) == 0 && info.signo == 0);
    CHECK(CALL2(SC_kill, pid, SIGCONT) == 0);
    CHECK(wait_for(P_PID, pid, WCONTINUED | WNOHANG) == 0 && info.signo == 0);   /* not without WUNTRACED */
    CHECK(wait_for(P_PID, pid, WCONTINUED | WSTOPPED) == 0 && info.code == CLD_CONTINUED && info.status == 0);
    CALL2(SC_kill, pid, SIGTERM);
    CHECK(wait_for(P_PGID, CALL0(SC_getpgrp), WEXITED) == 0 && info.pid == pid && info.status == SIGTERM);

    pid = spawn(sleep_long);
    struct waitid_params bad = {P_PID, (i32)pid, (void *)16, WEXITED};
    CALL2(SC_kill, pid, SIGTERM);
    CHECK(CALL1(SC_waitid, &bad) == -EFAULT && wait_for(P_PID, pid, WEXITED) == -ECHILD);        /* it is gone all the same */
}

static void blocked_without_children(void) { CALL1(SC_alarm, 1); wait_for(P_ALL, 0, WEXITED); }

static void child_signals(void)
{
    act(SIGCHLD, on_child, SA_SIGINFO);
    i64 pid = spawn(leave_7);
    CHECK(wait_for(P_PID, pid, WEXITED) == 0);                           /* SIGCHLD does not interrupt what it tells of */
    CHECK(chlds == 1 && told.signo == SIGCHLD && told.code == CLD_EXITED && told.status == 7 && told.pid == pid);
    pid = spawn(be_killed);
    wait_for(P_PID, pid, WEXITED);
    CHECK(chlds == 2 && told.code == CLD_KILLED && told.status == SIGKILL);
    act(SIGCHLD, on_child, SA_SIGINFO | SA_NOCLDWAIT);
    pid = spawn(leave_7);
    CHECK(wait_for(P_PID, pid, WEXITED) == 0 && info.status == 7 && chlds == 2);     /* no signal, and waited for nevertheless */
    act(SIGCHLD, (void *)1, 0);
    pid = spawn(leave_7);
    CHECK(wait_for(P_PID, pid, WEXITED) == 0 && info.status == 7);
    act(SIGCHLD, (void *)0, 0);
    CHECK(in_child(blocked_without_children) == SIGALRM);
}

static void interrupted(void)
{
    act(SIGALRM, nothing, 0);
    i64 pid = spawn(sleep_long);
    CALL1(SC_alarm, 1);
    int right = wait_for(P_PID, pid, WEXITED) == -EINTR;
    CALL2(SC_kill, pid, SIGKILL);
    leave(right ? 0 : 1);
}

static i64 disowned;
static void disown_late(void) { CALL1(SC_disown, CALL0(SC_getpid)); leave(0); }

static void relations(void)
{
    i64 pid = CALL0(SC_getpid);
    CHECK(CALL0(SC_getppid) == 0);                                       /* the kernel started it */
    CHECK(CALL1(SC_disown, 32000) == -ESRCH && CALL1(SC_disown, pid) == -ECHILD);
    disowned = spawn(sleep_long);
    CHECK(CALL1(SC_disown, disowned) == 0 && CALL1(SC_disown, disowned) == -ECHILD && wait_for(P_PID, disowned, WEXITED) == -ECHILD);
    CHECK(CALL2(SC_kill, disowned, SIGKILL) == 0);
    CHECK(in_child(disown_late) == 256);

    CHECK(CALL1(SC_getpgid, 32000) == -ESRCH && CALL1(SC_getsid, 32000) == -ESRCH);
    CHECK(CALL1(SC_getpgid, 0) == CALL0(SC_getpgrp) && CALL1(SC_getpgid, pid) == CALL0(SC_getpgrp));
    i64 child = spawn(sleep_long);
    CHECK(CALL2(SC_setpgid, child, -1) == -EINVAL && CALL2(SC_setpgid, 32000, 0) == -ESRCH);
    CHECK(CALL2(SC_setpgid, child, 31999) == -EPERM);                    /* nobody's group */
    CHECK(CALL2(SC_setpgid, child, 0) == 0 && CALL1(SC_getpgid, child) == child);
    CHECK(CALL2(SC_killpg, child, SIGTERM) == 0 && wait_for(P_PGID, child, WEXITED) == 0 && info.status == SIGTERM);
}

static void session(void)
{
    i64 pid = CALL0(SC_getpid), parent = CALL0(SC_getppid);
    int right = CALL0(SC_setsid) == pid && CALL1(SC_getsid, 0) == pid && CALL0(SC_getpgrp) == pid && CALL0(SC_setsid) == -EPERM;
    right &= CALL2(SC_setpgid, 0, 0) == -EPERM && CALL1(SC_getsid, parent) == -EPERM;
    leave(right ? 0 : 1);
}
/* A group of another session, whose leader is gone: nobody moves into it. */
static i64 member;
static void leaderless(void)
{
    CALL0(SC_setsid);
    member = CALL0(SC_fork);
    if (!member) sleep_long();
    leave((int)(member & 127));
}

static void stop_alone(void) { CALL0(SC_setsid); CALL2(SC_kill, CALL0(SC_getpid), SIGTTIN); leave(0); }
static void orphans(void)                                                /* a group without anybody to continue it stops all the same */
{
    i64 pid = spawn(stop_alone);
    CHECK(wait_for(P_PID, pid, WSTOPPED | WEXITED) == 0 && info.code == CLD_STOPPED && info.status == SIGTTIN);
    CALL2(SC_kill, pid, SIGKILL);
    CHECK(wait_for(P_PID, pid, WEXITED) == 0 && info.status == SIGKILL);
}

static void names(void)
{
    char name[64];
    CHECK(CALL2(SC_get_process_name, name, 64) == 0 && same(name, "procs"));
    CHECK(CALL2(SC_get_process_name, name, 5) == -ENAMETOOLONG && CALL2(SC_get_process_name, 16, 64) == -EFAULT);
    CHECK(CALL2(SC_set_process_name, "other name", 10) == 0 && CALL2(SC_get_process_name, name, 64) == 0 && same(name, "other name"));
    CHECK(CALL2(SC_set_process_name, "x", 257) == -ENAMETOOLONG && CALL2(SC_set_process_name, " \t", 2) == -EINVAL);
    CHECK(CALL2(SC_set_process_name, "", 0) == -EINVAL && CALL2(SC_set_process_name, 16, 4) == -EFAULT);
    i64 tid = CALL0(SC_gettid);
    CHECK(CALL3(SC_get_thread_name, tid, name, 64) == 0 && same(name, "procs"));
    CHECK(CALL3(SC_set_thread_name, tid, "thread", 6) == 0 && CALL3(SC_get_thread_name, tid, name, 64) == 0 && same(name, "thread"));
    CHECK(CALL2(SC_get_process_name, name, 64) == 0 && same(name, "other name"));
    CHECK(CALL3(SC_get_thread_name, tid, name, 0) == -EINVAL && CALL3(SC_get_thread_name, tid, name, 6) == -ENAMETOOLONG);
    CHECK(CALL3(SC_set_thread_name, tid, name, 65) == 0);                /* what counts ends at the zero */
    for (int n = 0; n < 64; n++) name[n] = 'a';
    CHECK(CALL3(SC_set_thread_name, 31999, name, 64) == -ESRCH && CALL3(SC_get_thread_name, 31999, name, 64) == -ESRCH);
}

static void priorities(void)
{
    struct scheduler params = {0, 1, 0};
    CHECK(CALL1(SC_scheduler_get_parameters, &params) == 0 && params.priority == 30);
    params.priority = 100;
    CHECK(CALL1(SC_scheduler_set_parameters, &params) == -EINVAL);
    params.priority = 50;
    CHECK(CALL1(SC_scheduler_set_parameters, &params) == 0);
    params.mode = 0, params.priority = 0;
    CHECK(CALL1(SC_scheduler_get_parameters, &params) == 0 && params.priority == 50);
    params.mode = 2, params.priority = 30;
    CHECK(CALL1(SC_scheduler_set_parameters, &params) == -EINVAL);       /* stated: the original falls */
    params.mode = 1, params.id = 31999;
    CHECK(CALL1(SC_scheduler_set_parameters, &params) == -ESRCH && CALL1(SC_scheduler_get_parameters, 16) == -EFAULT);
    CHECK(CALL0(SC_yield) == 0);
}

static volatile int rung;
static void on_alarm(int signo) { (void)signo; rung++; }
static void alarms(void)                                                 /* TestKernelAlarm */
{
    u32 none = 0;
    act(SIGALRM, on_alarm, 0);
    CHECK(CALL1(SC_alarm, 3600) == 0 && CALL1(SC_alarm, 0) == 3600 && CALL1(SC_alarm, 0) == 0);
    CALL1(SC_alarm, 1);
    CHECK(CALL1(SC_sigsuspend, &none) == -EINTR && rung == 1 && CALL1(SC_alarm, 0) == 0);
}

static i64 describe(const char *key, word nbytes)
{
    struct metadata params = {{key, nbytes}, {"value", 5}};
    return CALL1(SC_set_coredump_metadata, &params);
}
static void core(void)
{
    CHECK(CALL1(SC_set_coredump_metadata, 16) == -EFAULT && describe("", 0) == -EINVAL && describe("k", 16385) == -EINVAL);
    CHECK(describe("a", 1) == 0 && describe("b", 1) == 0 && describe("a", 1) == 0 && describe("c", 1) == 0);
    CHECK(describe("d", 1) == -ENOBUFS);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    waiting();
    child_signals();
    CHECK(in_child(interrupted) == 256);
    relations();
    CHECK(in_child(session) == 256);
    i64 group = spawn(leaderless);
    CHECK(wait_for(P_PID, group, WEXITED) == 0 && CALL2(SC_setpgid, 0, group) == -EPERM);
    CHECK(CALL2(SC_killpg, group, SIGKILL) == 0);
    orphans();
    names();
    priorities();
    alarms();
    core();
    return 0;
}
