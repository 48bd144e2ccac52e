/* ktrace(2): a program traces itself and its children, and reads what stands in the file.
 * builds: amd64 i386 */
#include "nb.h"

enum { SYS_ktrace = 45, SYS_fktrace = 288, SYS_utrace = 306, O_CREATE = 0x601 };
enum { SET = 0, CLEAR = 1, CLEARFILE = 2, DESCEND = 4, ALL = 0xffffff, INHERIT = 0x40000000, V2 = 0x02000000 };
enum { SYSCALL = 1, SYSRET, NAMEI, GENIO, PSIG, CSW, EMUL, USER, EXEC_ARG = 10, EXEC_ENV, EXEC_FD = 15 };

struct header { int length; short type, version; int pid; char comm[17]; char pad[3]; long long seconds, nanoseconds; int lid, pad2; };
static char file[1 << 18];
static word size;
static const char name[] = "/tmp/ktrace.out";

static void load(void)
{
    struct result fd = CALL3(SYS_open, name, 0, 0), got;
    size = 0;
    while (!(got = CALL3(SYS_read, fd.value, file + size, sizeof file - size)).carry && got.value) size += got.value;
    CALL1(SYS_close, fd.value);
}

static int equal(const char *a, const char *b, int n) { while (n && *a == *b) a++, b++, n--; return !n; }

/* How many records of a type there are, with `text` in front of their payload, of the process, or (0) of others than `not`. */
static int count(int type, const char *text, int pid, int not)
{
    int found = 0;
    for (word at = 0; at + sizeof(struct header) <= size; ) {
        struct header *h = (void *)(file + at);
        at += sizeof *h + (word)h->length;
        int n = (int)length(text);
        found += h->type == type && (pid ? h->pid == pid : h->pid != not) && n <= h->length && equal((char *)(h + 1), text, n);
    }
    return found;
}

static int whole(void)
{
    word at = 0;
    while (at + sizeof(struct header) <= size) {
        struct header *h = (void *)(file + at);
        if (h->version != 2 || h->lid != 1 || h->length < 0) return 0;
        at += sizeof *h + (word)h->length;
    }
    return at == size;
}

static void handler(int signo) { (void)signo; }

static void work(int me)
{
    const char *argv[] = {"a-name", "-x", 0}, *env[] = {"A=1", 0};
    CALL3(SYS_open, "/none", 0, 0);
    CALL3(SYS_utrace, "mark", "abc", 3);
    handle(SIGUSR1, (void *)handler, 0);
    CALL2(SYS_kill, me, SIGUSR1);
    CALL3(SYS_execve, "/none", argv, env);
    struct result pid = CALL0(SYS_fork);
    if (!pid.carry && pid.value == 0) { CALL3(SYS_execve, "/bin/true", argv, env); leave(9); }
    int status;
    CALL4(SYS_wait4, pid.value, &status, 0, 0);
}

static int cases(int argc, char **argv)
{
    int me = (int)CALL0(SYS_getpid).value;
    struct result fd = CALL3(SYS_open, name, O_CREATE, 0644);
    if (argc > 1 && same(argv[1], "dump")) {                /* the file goes to standard output */
        CALL4(SYS_ktrace, name, SET, ALL | INHERIT | V2, me);
        work(me);
        CALL4(SYS_ktrace, 0, CLEAR, ALL, me);
        load();
        CALL3(SYS_write, 1, file, size);
        return 0;
    }
    CHECK(gave(CALL4(SYS_fktrace, fd.value, SET, ALL | INHERIT | V2, me), 0));
    work(me);
    CHECK(gave(CALL4(SYS_ktrace, name, CLEARFILE, 0, 0), 0));
    CALL3(SYS_open, "/late", 0, 0);
    load();
    CHECK(size > 500 && whole());
    CHECK(((struct header *)file)->type == EMUL && ((struct header *)file)->pid == me);
    CHECK(count(EMUL, "netbsd", me, 0) == 1);
    CHECK(count(NAMEI, "/none", me, 0) == 2);
    CHECK(count(NAMEI, "/late", me, 0) == 0);
    CHECK(count(USER, "mark", me, 0) == 1);
    CHECK(count(PSIG, "", me, 0) == 1);                     /* its own; SIGCHLD is ignored by default, and not told of */
    CHECK(count(EMUL, "netbsd", 0, me) == 1);               /* the child, before its exec ... */
    CHECK(count(EMUL, "linux", 0, me) == 1);                /* ... and after */
    CHECK(count(EXEC_ARG, "a-name", 0, me) == 1 && count(EXEC_ENV, "A=1", 0, me) == 1);
    CHECK(count(NAMEI, "/bin/true", 0, me) >= 1);
    CHECK(count(SYSCALL, "", 0, me) > 5 && count(SYSRET, "", 0, me) > 5);
    CHECK(failed(CALL4(SYS_ktrace, name, SET, 0, me), EINVAL));
    CHECK(failed(CALL4(SYS_ktrace, "/none", SET, ALL, me), ENOENT));
    CHECK(failed(CALL4(SYS_ktrace, "/dev/null", SET, ALL, me), EACCES));
    CHECK(failed(CALL4(SYS_ktrace, name, SET, ALL, 29999), ESRCH));
    CHECK(failed(CALL4(SYS_fktrace, 77, SET, ALL, me), EBADF));
    CHECK(failed(CALL4(SYS_ktrace, 8, SET, ALL, me), EFAULT));
    return 0;
}
