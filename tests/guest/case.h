/* The frame of a guest test program: named cases, and reports that read like a transcript.
 *
 * A program is a list of CASE(name) { ... }.  Run without arguments it runs them all, each in a process of its own; run with names,
 * those.  T(call) makes the call and prints what came of it, so that the host kernel and ring3 can be compared line by line.
 * Nothing printed may vary from run to run: no addresses, process ids or times.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct a_case { const char *name; void (*run)(void); };
static struct a_case cases[128];
static int ncases;
static const char *current = "?";

#define CASE(NAME) \
    static void case_##NAME(void); \
    __attribute__((constructor)) static void add_##NAME(void) { cases[ncases++] = (struct a_case){#NAME, case_##NAME}; } \
    static void case_##NAME(void)

/* One line of facts, written at once: nothing is left in a buffer for a fork to double. */
__attribute__((format(printf, 1, 2), unused)) static void say(const char *format, ...)
{
    char line[4096];
    int saved = errno, n = snprintf(line, sizeof line, "%s: ", current);
    va_list args;
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
    line[n++] = '\n';
    if (write(1, line, (size_t)n) != n) _exit(99);
    errno = saved;
}

#define E(NAME) [NAME] = #NAME
static const char *const errno_names[] = {
    E(EPERM), E(ENOENT), E(ESRCH), E(EINTR), E(EIO), E(ENXIO), E(E2BIG), E(ENOEXEC), E(EBADF), E(ECHILD), E(EAGAIN), E(ENOMEM),
    E(EACCES), E(EFAULT), E(ENOTBLK), E(EBUSY), E(EEXIST), E(EXDEV), E(ENODEV), E(ENOTDIR), E(EISDIR), E(EINVAL), E(ENFILE),
    E(EMFILE), E(ENOTTY), E(ETXTBSY), E(EFBIG), E(ENOSPC), E(ESPIPE), E(EROFS), E(EMLINK), E(EPIPE), E(EDOM), E(ERANGE),
    E(EDEADLK), E(ENAMETOOLONG), E(ENOLCK), E(ENOSYS), E(ENOTEMPTY), E(ELOOP), E(ENODATA), E(ETIME), E(EOVERFLOW), E(ELIBBAD),
    E(ENOTSOCK), E(EDESTADDRREQ), E(EMSGSIZE), E(EPROTOTYPE), E(ENOPROTOOPT), E(EPROTONOSUPPORT), E(ESOCKTNOSUPPORT),
    E(EOPNOTSUPP), E(EAFNOSUPPORT), E(EADDRINUSE), E(EADDRNOTAVAIL), E(ECONNABORTED), E(ECONNRESET), E(ENOBUFS), E(EISCONN),
    E(ENOTCONN), E(ETIMEDOUT), E(ECONNREFUSED), E(EALREADY), E(EINPROGRESS), E(ECANCELED), E(EOWNERDEAD), E(ENOTRECOVERABLE),
};
#undef E

__attribute__((unused)) static const char *errno_name(int number)
{
    static char other[24];
    if (number >= 0 && number < (int)(sizeof errno_names / sizeof *errno_names) && errno_names[number])
        return errno_names[number];
    snprintf(other, sizeof other, "errno %d", number);
    return other;
}

__attribute__((unused)) static long report(const char *what, long result)
{
    if (result == -1) say("%s -> %s", what, errno_name(errno));
    else say("%s -> %ld", what, result);
    return result;
}

/* T: the result or the errno.  OK: only whether it worked, for results that vary.  R: a result that is an error number itself. */
#define T(CALL) report(#CALL, (long)(CALL))
#define OK(CALL) ((CALL) != -1 ? (say("%s ok", #CALL), 0) : (say("%s -> %s", #CALL, errno_name(errno)), -1))
#define R(CALL) do { int error_ = (CALL); say("%s -> %s", #CALL, error_ ? errno_name(error_) : "0"); } while (0)
#define IS(CONDITION) say("%s: %s", #CONDITION, (CONDITION) ? "yes" : "no")

__attribute__((unused)) static const char *signal_name(int number)
{
    static const char *const names[] = {"0", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV",
        "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM",
        "PROF", "WINCH", "IO", "PWR", "SYS"};
    static char other[24];
    if (number >= 0 && number < 32) return names[number];
    snprintf(other, sizeof other, "signal %d", number);
    return other;
}

/* How a process ended, as text; the status is waitpid's. */
__attribute__((unused)) static const char *ending(int status)
{
    static char text[64];
    if (WIFEXITED(status)) snprintf(text, sizeof text, "exit %d", WEXITSTATUS(status));
    else if (WIFSIGNALED(status)) snprintf(text, sizeof text, "killed by %s", signal_name(WTERMSIG(status)));
    else if (WIFSTOPPED(status)) snprintf(text, sizeof text, "stopped by %s", signal_name(WSTOPSIG(status)));
    else if (WIFCONTINUED(status)) snprintf(text, sizeof text, "continued");
    else snprintf(text, sizeof text, "status %x", (unsigned)status);
    return text;
}

/* Wait for this child and say how it ended. */
__attribute__((unused)) static int reap(pid_t pid)
{
    int status = 0;
    pid_t got;
    do got = waitpid(pid, &status, 0); while (got == -1 && errno == EINTR);
    if (got != pid) say("child -> %s", errno_name(errno));
    else say("child %s", ending(status));
    return status;
}

/* CHILD { ... } REAPED: a child that runs the block, exits 0, and is waited for. */
#define CHILD { pid_t child_ = fork(); if (child_ == 0) {
#define REAPED _exit(0); } reap(child_); }
#define REAPED_SILENTLY _exit(0); } waitpid(child_, NULL, 0); }

__attribute__((unused)) static void pause_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {}
}

__attribute__((unused)) static long now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (long)(ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

/* Until this process sleeps and goes on sleeping: what a fixed pause only hopes for.  Gives up after ten seconds or at its end. */
__attribute__((unused)) static void wait_asleep(pid_t pid)
{
    char path[32], stat[256];
    long end = now_ms() + 10000;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    for (int asleep = 0; asleep < 4 && now_ms() < end; pause_ms(5)) {
        int fd = open(path, O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
        if (fd >= 0) close(fd);
        if (n <= 0) return;
        stat[n] = 0;
        char *state = strrchr(stat, ')');
        if (!state || state[2] == 'Z') return;
        asleep = state[2] == 'S' ? asleep + 1 : 0;
    }
}

__attribute__((unused)) static void put(const char *path, const void *data, size_t nbytes, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, nbytes) != (ssize_t)nbytes || fchmod(fd, mode)) { say("put %s: %s", path, errno_name(errno)); _exit(98); }
    close(fd);
}

/* A handler that only says it ran. */
__attribute__((unused)) static void tell(int number) { say("handler %s", signal_name(number)); }
__attribute__((unused)) static void no_action(int number) { (void)number; }

__attribute__((unused)) static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, NULL);
}

/* Programs that exec themselves define this: what the image does when its first argument is "--as". */
#ifdef HAS_ROLES
static int role(int argc, char **argv);
#endif

int main(int argc, char **argv)
{
#ifdef HAS_ROLES
    if (argc > 1 && strcmp(argv[1], "--as") == 0) return role(argc, argv);
    if (argc == 0 || (argc == 1 && argv[0][0] == '\0')) { char *none[] = {"", "--as", "nameless", NULL}; (void)argc; return role(3, none); }
#endif
    int failed = 0;
    for (int i = 0; i < ncases; i++) {
        int wanted = argc < 2;
        for (int k = 1; k < argc; k++) wanted |= strcmp(argv[k], cases[i].name) == 0;
        if (!wanted) continue;
        current = cases[i].name;
        if (argc == 2) { cases[i].run(); return 0; }
        pid_t pid = fork();
        if (pid == 0) { cases[i].run(); exit(0); }
        int status = 0;
        waitpid(pid, &status, 0);
        if (status) { failed = 1; say("ended: %s", ending(status)); }
    }
    if (argc == 2) { fprintf(stderr, "%s: no such case: %s\n", argv[0], argv[1]); return 2; }
    return failed;
}
