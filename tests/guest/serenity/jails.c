/* Jails: made, entered for good, and that who is in one knows of nobody outside. */
#include "sy.h"

struct create { u64 index; struct string name; };
static u64 first;
static i64 outside;

static i64 create(const char *name, word length_, u64 *index)
{
    struct create params = {~0ul, {name, length_}};
    i64 found = CALL1(SC_jail_create, &params);
    if (index) *index = params.index;
    return found;
}
static i64 attach(u64 index) { return CALL1(SC_jail_attach, &index); }
static i64 exists(i64 pid) { return CALL2(SC_kill, pid, 0); }

static void nothing(void) { }
static void grandchild(void) { leave(exists(outside) == -ESRCH && exists(CALL0(SC_getppid)) == 0 ? 0 : 1); }
static void inside(void)
{
    CHECK(exists(outside) == 0);
    CHECK(attach(first) == 0);
    CHECK(exists(outside) == -ESRCH && exists(CALL0(SC_getpid)) == 0);
    CHECK(CALL1(SC_getpgid, outside) == -ESRCH && CALL1(SC_getsid, outside) == -ESRCH && CALL1(SC_disown, outside) == -ESRCH);
    CHECK(CALL2(SC_setpgid, outside, 0) == -ESRCH);
    struct { i32 request, tid; void *addr; u64 data; } attach_to = {2, (i32)outside, NULL, 0};
    CHECK(CALL1(SC_ptrace, &attach_to) == -ESRCH);
    CHECK(CALL0(SC_getppid) == outside);                         /* that is not hidden */
    CHECK(attach(first) == -EPERM && attach(99) == -EPERM && create("b", 1, NULL) == -EPERM);
    CHECK(create("", 0, NULL) == -EINVAL && create("b", 51, NULL) == -ENAMETOOLONG);     /* looked at before that */
    CHECK(in_child(grandchild) == 256);
    leave(failures);
}
static void without_promise(void) { pledge("stdio", NULL); attach(first); }
static void with_promise(void) { pledge("stdio jail", NULL); leave(attach(first) == 0 ? 0 : 1); }

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    u64 second = ~0ul;
    static char name[64];
    for (int n = 0; n < 50; n++) name[n] = 'j';
    outside = CALL0(SC_getpid);
    CHECK(attach(0) == -EINVAL && attach(~0ul) == -EINVAL);
    CHECK(create("", 0, NULL) == -EINVAL && create(name, 51, NULL) == -ENAMETOOLONG && create((char *)16, 3, NULL) == -EFAULT);
    CHECK(CALL1(SC_jail_create, 16) == -EFAULT && CALL1(SC_jail_attach, 16) == -EFAULT);
    CHECK(create(name, 50, &first) == 0 && first != ~0ul);
    CHECK(create(name, 50, &second) == 0 && second != first);
    CHECK(in_child(inside) == 256);
    CHECK(in_child(nothing) == 256 && exists(outside) == 0);     /* the parent is where it was */
    CHECK(in_child(without_promise) == SIGABRT);
    CHECK(in_child(with_promise) == 256);
    CHECK(attach(first + 99) == -EINVAL);
    CHECK(attach(second) == 0 && exists(1) == -ESRCH);
    return 0;
}
