/* A NetBSD program in a SerenityOS jail: the two processes behind its arguments are outside, and it knows nothing of them.
 *
 *     nbjailed … SLEEPER MAKER
 */
#include "nb.h"

enum { SYS_ptrace = 26, SYS_ktrace = 45, SYS_getpgid_ = 207, SYS_sysctl = 202, SYS_getsid_ = 286, SYS_kqueue = 344, SYS_kevent = 435 };
enum { PROC = 4, ADD = 1, NOTE_EXIT = (int)0x80000000 };
struct kevent { word ident; u32 filter, flags, fflags; i64 data; word udata; };

static word room[2048];
static struct result ask(int a, int b, int c, int d, word parts)
{
    word left = sizeof room;
    int name[6] = {a, b, c, d, 2000, 4};
    return CALL6(SYS_sysctl, name, parts, room, &left, 0, 0);
}
static int numeral(const char *s) { int n = 0; while (*s) n = 10 * n + *s++ - '0'; return n; }

static int cases(int argc, char **argv)
{
    int out = numeral(argv[argc - 2]), maker = numeral(argv[argc - 1]);
    struct kevent event = {(word)out, PROC, ADD, NOTE_EXIT, 0, 0};
    struct result queue = CALL0(SYS_kqueue);
    CHECK(gave(CALL2(SYS_kill, CALL0(SYS_getpid).value, 0), 0));
    CHECK(failed(CALL2(SYS_kill, out, 0), ESRCH) && failed(CALL2(SYS_kill, out, SIGKILL), ESRCH));
    CHECK(failed(CALL2(SYS_kill, maker, SIGKILL), ESRCH));
    CHECK(failed(CALL1(SYS_getpgid_, out), ESRCH) && failed(CALL1(SYS_getsid_, out), ESRCH));
    CHECK(failed(CALL4(SYS_ptrace, 9, out, 0, 0), ESRCH));
    CHECK(failed(CALL4(SYS_ktrace, 0, 1, 0x7fffffff, out), ESRCH));
    CHECK(failed(ask(1, 48, out, 1, 4), EINVAL));                       /* kern.proc_args says so of who is not there */
    CHECK(failed(ask(1, 48, maker, 1, 4), EINVAL));
    CHECK(failed(ask(10, out, 4, 0, 3), ESRCH));                        /* proc.PID */
    CHECK(failed(CALL6(SYS_kevent, queue.value, &event, 1, 0, 0, 0), ESRCH));
    return 0;
}
