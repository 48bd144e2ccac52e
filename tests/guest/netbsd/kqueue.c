/* kqueue and kevent: every filter, and what each flag does (kqueue(2); numbers of sys/event.h).  builds: amd64 i386 */
#include "nb.h"

enum { SYS_unlink = 10, SYS_dup2 = 90, SYS_ftruncate = 201, SYS_kqueue = 344, SYS_kevent = 435, SYS_socketpair = 135, SYS_kqueue1 = 455,
       SYS_rename = 128, SYS_fchmod = 124, SYS_gettime = 427, SYS_mkdir = 136 };
enum { READ = 0, WRITE = 1, VNODE = 3, PROC = 4, SIGNAL = 5, TIMER = 6, USER = 8 };
enum { ADD = 1, DELETE = 2, ENABLE = 4, DISABLE = 8, ONESHOT = 0x10, CLEAR = 0x20, RECEIPT = 0x40, DISPATCH = 0x80, ERROR = 0x4000,
       END = 0x8000 };
enum { NOTE_DELETE = 1, NOTE_WRITE = 2, NOTE_EXTEND = 4, NOTE_ATTRIB = 8, NOTE_RENAME = 0x20 };
#define NOTE_EXIT 0x80000000u
#define NOTE_FORK 0x40000000u
#define NOTE_EXEC 0x20000000u
enum { NOTE_TRACK = 1, NOTE_CHILD = 4 };
#define NOTE_TRIGGER 0x01000000u
#define NOTE_FFCOPY 0xc0000000u
enum { ENOTTY = 25 };

struct kevent { word ident; u32 filter, flags, fflags; i64 data; word udata; };
static struct kevent got[8];
static const struct timespec at_once = {0, 0}, soon = {2, 0};
static int kq;

static struct result change(word ident, u32 filter, u32 flags, u32 fflags, i64 data, word udata)
{
    struct kevent event = {ident, filter, flags, fflags, data, udata};
    return CALL6(SYS_kevent, kq, &event, 1, 0, 0, &at_once);
}
static word events(const struct timespec *timeout)
{
    struct result r = CALL6(SYS_kevent, kq, 0, 0, got, 8, timeout);
    return r.carry ? ~0ul : r.value;
}
static int is(struct kevent *event, word ident, u32 filter, word udata)
{
    return event->ident == ident && event->filter == filter && event->udata == udata;
}

static void pipes(void)
{
    char bytes[16];
    struct result ends = CALL0(SYS_pipe);
    int in = (int)ends.value, out = (int)ends.second;
    CHECK(gave(change(in, READ, ADD, 0, 0, 77), 0));
    CHECK(events(&at_once) == 0);
    CALL3(SYS_write, out, "abc", 3);
    CHECK(events(&at_once) == 1 && is(got, in, READ, 77) && got->data == 3 && !(got->flags & END));
    CHECK(events(&at_once) == 1);                                   /* level triggered */
    CALL3(SYS_read, in, bytes, 16);
    CHECK(events(&at_once) == 0);
    CHECK(gave(change(out, WRITE, ADD | ONESHOT, 0, 0, 5), 0));
    CHECK(events(&at_once) == 1 && is(got, out, WRITE, 5) && got->data >= 512);
    CHECK(events(&at_once) == 0);                                   /* once */
    CHECK(failed(change(out, WRITE, DELETE, 0, 0, 0), ENOENT));     /* and gone */
    CHECK(gave(change(in, READ, DISABLE, 0, 0, 78), 0));
    CALL3(SYS_write, out, "d", 1);
    CHECK(events(&at_once) == 0);
    CHECK(gave(change(in, READ, ENABLE, 0, 0, 79), 0));
    CHECK(events(&at_once) == 1 && is(got, in, READ, 79) && got->data == 1);
    CALL1(SYS_close, out);
    CHECK(events(&at_once) == 1 && got->flags & END && got->data == 1);
    CHECK(gave(change(in, READ, DELETE, 0, 0, 0), 0));
    CHECK(failed(change(in, READ, DELETE, 0, 0, 0), ENOENT));
    CALL1(SYS_close, in);
    CHECK(failed(change(in, READ, ADD, 0, 0, 0), EBADF));
}

static void flags(void)
{
    int pair[2];
    CALL4(SYS_socketpair, 1, 1, 0, pair);
    CHECK(gave(change(pair[0], READ, ADD | CLEAR, 0, 0, 1), 0));
    CALL3(SYS_write, pair[1], "abc", 3);
    CHECK(events(&at_once) == 1 && got->data == 3);
    CHECK(events(&at_once) == 0);                                   /* edge triggered */
    CALL3(SYS_write, pair[1], "d", 1);
    CHECK(events(&at_once) == 1 && got->data == 4);
    CHECK(gave(change(pair[1], WRITE, ADD | DISPATCH, 0, 0, 2), 0));
    CHECK(events(&at_once) == 1 && is(got, (word)pair[1], WRITE, 2));
    CHECK(events(&at_once) == 0);                                   /* disabled by giving it */
    CHECK(gave(change(pair[1], WRITE, ENABLE, 0, 0, 2), 0));
    CHECK(events(&at_once) == 1);
    CALL1(SYS_close, pair[1]);                                      /* closing removes its knote */
    CHECK(events(&at_once) == 1 && got->ident == (word)pair[0] && got->flags & END);
    CALL1(SYS_close, pair[0]);
    CHECK(events(&at_once) == 0);

    struct kevent list[2] = {{99, READ, ADD, 0, 0, 3}, {7, USER, ADD | RECEIPT, 0, 0, 4}};
    struct result r = CALL6(SYS_kevent, kq, list, 2, got, 8, 0);
    CHECK(gave(r, 2));
    CHECK(got[0].ident == 99 && got[0].flags == ERROR && got[0].data == EBADF && got[0].udata == 3);
    CHECK(got[1].ident == 7 && got[1].flags == ERROR && got[1].data == 0);
    CHECK(failed(CALL6(SYS_kevent, kq, list, 1, 0, 0, 0), EBADF));
    CHECK(failed(change(1, 55, ADD, 0, 0, 0), EINVAL));             /* no such filter */
    CHECK(gave(change(7, USER, ADD, NOTE_FFCOPY | 0x12, 0, 4), 0));
    CHECK(events(&at_once) == 0);
    CHECK(gave(change(7, USER, 0, NOTE_TRIGGER, 0, 4), 0));
    CHECK(events(&at_once) == 1 && is(got, 7, USER, 4));
    CHECK(gave(change(7, USER, DELETE, 0, 0, 0), 0));
    CHECK(failed(CALL6(SYS_kevent, 1, 0, 0, got, 8, &at_once), EBADF));
    CHECK(failed(CALL6(SYS_kevent, kq, 0, 0, 0, 8, 16), EFAULT));   /* the timeout is looked at first */
    struct timespec bad = {0, 2000000000};
    CHECK(failed(CALL6(SYS_kevent, kq, 0, 0, got, 8, &bad), EINVAL));
    CHECK(gave(CALL6(SYS_kevent, kq, 0, 0, got, 0, 0), 0));         /* room for nothing: no waiting */
}

static void files(void)
{
    int fd = (int)CALL3(SYS_open, "watched", 0x602, 0644).value;    /* O_RDWR, O_CREAT, O_TRUNC */
    CHECK(gave(change(fd, VNODE, ADD | CLEAR, NOTE_DELETE | NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | NOTE_RENAME, 0, 9), 0));
    CHECK(events(&at_once) == 0);
    CALL3(SYS_write, fd, "abc", 3);
    CHECK(events(&soon) == 1 && is(got, fd, VNODE, 9) && got->fflags == (NOTE_WRITE | NOTE_EXTEND));
    CALL2(SYS_fchmod, fd, 0600);
    CHECK(events(&soon) == 1 && got->fflags == NOTE_ATTRIB);
    CALL2(SYS_rename, "watched", "moved");
    CHECK(events(&soon) == 1 && got->fflags & NOTE_RENAME);
    CALL1(SYS_unlink, "moved");
    CHECK(events(&soon) == 1 && got->fflags & NOTE_DELETE);
    CHECK(gave(change(fd, READ, ADD, 0, 0, 0), 0));                 /* at its end: nothing to read */
    CHECK(events(&at_once) == 0);
    CALL5(SYS_lseek, fd, 0, 0, 0, 0);
    CHECK(events(&at_once) == 1 && got->filter == READ && got->data == 3);
    CALL1(SYS_close, fd);
}

static void processes(void)
{
    int pid = (int)CALL0(SYS_fork).value;
    if (!pid) {
        nap(30000000);
        if (!CALL0(SYS_fork).value) leave(5);
        nap(30000000);
        char *argv[] = {start_strings->argv[0], "child", 0};
        CALL3(SYS_execve, argv[0], argv, start_strings->envp);
        leave(9);
    }
    CHECK(gave(change(pid, PROC, ADD, NOTE_EXIT | NOTE_FORK | NOTE_EXEC | NOTE_TRACK, 0, 6), 0));
    u32 seen = 0;
    int child = 0, child_parent = 0;
    i64 status = -1, child_status = -1;
    for (int turns = 0; turns < 20 && !(status >= 0 && child_status >= 0); turns++) {
        struct result r = CALL6(SYS_kevent, kq, 0, 0, got, 1, &soon);
        if (r.carry || r.value != 1) break;
        if (got->ident == (word)pid) seen |= got->fflags;
        if (got->ident == (word)pid && got->fflags & NOTE_EXIT) status = got->data;
        if (got->fflags & NOTE_CHILD) child = (int)got->ident, child_parent = (int)got->data;
        if (child && got->ident == (word)child && got->fflags & NOTE_EXIT) child_status = got->data;
    }
    CHECK((seen & (NOTE_FORK | NOTE_EXEC | NOTE_EXIT)) == (NOTE_FORK | NOTE_EXEC | NOTE_EXIT));
    CHECK(status == 7 << 8);
    CHECK(child != 0 && child_parent == pid);
    CHECK(child_status == 5 << 8 || child_status == -1);            /* it may have ended between two looks */
    CALL4(SYS_wait4, pid, 0, 0, 0);
    CHECK(failed(change(pid, PROC, ADD, NOTE_EXIT, 0, 0), ESRCH));

    pid = (int)CALL0(SYS_fork).value;
    if (!pid) {
        /* A child has no kqueue of its parent's. */
        leave(failed(CALL6(SYS_kevent, kq, 0, 0, got, 1, &at_once), EBADF) ? 0 : 1);
    }
    int died;
    CALL4(SYS_wait4, pid, &died, 0, 0);
    CHECK(died == 0);

    pid = (int)CALL0(SYS_fork).value;
    if (!pid) for (;;) nap(100000000);
    CHECK(gave(change(pid, PROC, ADD, NOTE_EXIT, 0, 0), 0));
    CALL2(SYS_kill, pid, SIGUSR1);
    CHECK(events(&soon) == 1 && got->fflags == NOTE_EXIT && got->data == SIGUSR1 && got->flags & END);
    CALL4(SYS_wait4, pid, 0, 0, 0);
}

static void others(void)
{
    struct sigaction ignore = {(void *)1, nothing, 0};
    CALL5(SYS_sigaction, SIGUSR1, &ignore, 0, 0, 0);
    CHECK(gave(change(SIGUSR1, SIGNAL, ADD, 0, 0, 3), 0));
    CHECK(events(&at_once) == 0);
    CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGUSR1);
    CALL2(SYS_kill, CALL0(SYS_getpid).value, SIGUSR1);
    CHECK(events(&at_once) == 1 && is(got, SIGUSR1, SIGNAL, 3) && got->data == 2);      /* counted although ignored */
    CHECK(events(&at_once) == 0);
    CHECK(gave(change(SIGUSR1, SIGNAL, DELETE, 0, 0, 0), 0));

    CHECK(gave(change(42, TIMER, ADD | ONESHOT, 0, 20, 8), 0));
    CHECK(events(&at_once) == 0);
    CHECK(events(&soon) == 1 && is(got, 42, TIMER, 8) && got->data == 1);
    CHECK(failed(change(42, TIMER, DELETE, 0, 0, 0), ENOENT));
    CHECK(gave(change(43, TIMER, ADD, 0, 10, 8), 0));
    CHECK(events(&soon) == 1 && got->data >= 1);
    CHECK(events(&soon) == 1 && got->data >= 1);
    CHECK(gave(change(43, TIMER, DELETE, 0, 0, 0), 0));
    CHECK(failed(change(44, TIMER, ADD, 0, 0, 0), EINVAL));

    int inner = (int)CALL0(SYS_kqueue).value, outer = kq;
    CHECK(gave(change(inner, READ, ADD, 0, 0, 1), 0));
    kq = inner;
    change(1, USER, ADD, 0, 0, 0);
    change(1, USER, 0, NOTE_TRIGGER, 0, 0);
    kq = outer;
    CHECK(events(&at_once) == 1 && is(got, inner, READ, 1) && got->data == 1);
    CALL1(SYS_close, inner);
    CHECK(failed(CALL1(SYS_kqueue1, 0x1000), EINVAL));
    int cloexec = (int)CALL1(SYS_kqueue1, 0x400000).value;
    CHECK(gave(CALL3(92, cloexec, 1, 0), 1));                       /* F_GETFD */
}

static int cases(int argc, char **argv)
{
    if (argc > 1 && same(argv[1], "child")) return 7;
    kq = (int)CALL0(SYS_kqueue).value;
    pipes();
    flags();
    files();
    processes();
    others();
    return 0;
}
