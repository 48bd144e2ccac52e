/* User and group ids: who may become whom, and that it makes a process undumpable. */
#include "sy.h"

static u32 r, e, s;
static int users(u32 real, u32 effective, u32 saved)
{
    return CALL3(SC_getresuid, &r, &e, &s) == 0 && r == real && e == effective && s == saved;
}
static int groups(u32 real, u32 effective, u32 saved)
{
    return CALL3(SC_getresgid, &r, &e, &s) == 0 && r == real && e == effective && s == saved;
}
static i64 dumpable(void) { return CALL3(SC_prctl, 2, 0, 0); }

static void as_root(void)
{
    CHECK(CALL3(SC_setresuid, 1, 2, 3) == 0 && users(1, 2, 3) && dumpable() == 0);
    CHECK(CALL3(SC_prctl, 1, 1, 0) == 0 && dumpable() == 1);
    CHECK(CALL1(SC_seteuid, 2) == -EPERM && CALL1(SC_seteuid, 4) == -EPERM && dumpable() == 1);      /* the real or the saved one */
    CHECK(CALL1(SC_seteuid, 3) == 0 && users(1, 3, 3) && dumpable() == 0);
    CHECK(CALL1(SC_setuid, 2) == -EPERM);
    CHECK(CALL3(SC_setresuid, 1, 3, 4) == -EPERM && CALL3(SC_setresuid, 3, -1, 1) == 0 && users(3, 3, 1));
    CHECK(CALL1(SC_setuid, 1) == -EPERM);                        /* the saved one is not setuid's */
    CHECK(CALL2(SC_setreuid, 5, -1) == -EPERM && CALL2(SC_setreuid, -1, -1) == -EINVAL && CALL2(SC_setreuid, 3, 1) == -EINVAL);
    CHECK(CALL1(SC_seteuid, 1) == 0 && CALL1(SC_setuid, 1) == 0 && users(1, 1, 1));
    CHECK(CALL1(SC_setuid, 0) == -EPERM && CALL1(SC_seteuid, 0) == -EPERM && CALL1(SC_setuid, 1) == 0);
    CHECK(CALL1(SC_setgid, 5) == -EPERM && CALL2(SC_setgroups, 0, NULL) == -EPERM && CALL2(SC_setgroups, 33, NULL) == -EINVAL);
    leave(failures);
}

static void groups_as_root(void)
{
    u32 list[34] = {7, 9, 7, 8, 0};
    CHECK(CALL2(SC_setgroups, 33, list) == -EINVAL && CALL2(SC_setgroups, 3, 16) == -EFAULT);
    CHECK(CALL1(SC_setgid, 8) == 0 && groups(8, 8, 8) && dumpable() == 0);
    CHECK(CALL2(SC_setgroups, 4, list) == 0);                    /* each once, and not one's own */
    CHECK(CALL2(SC_getgroups, 0, NULL) == 2);
    list[0] = list[1] = 0;
    CHECK(CALL2(SC_getgroups, 2, list) == 0 && list[0] + list[1] == 7 + 9);
    CHECK(CALL2(SC_getgroups, 3, list) == -EINVAL && CALL2(SC_getgroups, 1, list) == -EINVAL && CALL2(SC_getgroups, -1, list) == -EINVAL);
    CHECK(CALL2(SC_getgroups, 2, 16) == -EFAULT);
    CHECK(CALL3(SC_setresgid, 5, 6, 7) == 0 && groups(5, 6, 7));
    CHECK(CALL2(SC_setregid, 7, 5) == 0 && groups(7, 5, 7));     /* the saved one stays */
    CHECK(CALL2(SC_setregid, 9, -1) == -EPERM && CALL2(SC_setregid, -1, 9) == -EPERM);       /* root, too */
    CHECK(CALL1(SC_setegid, 9) == 0 && CALL2(SC_setgroups, 0, NULL) == 0 && CALL2(SC_getgroups, 0, NULL) == 0);
    leave(failures);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    /* TestInvalidUIDSet */
    CHECK(CALL1(SC_setuid, -1) == -EINVAL && CALL1(SC_seteuid, -1) == -EINVAL);
    CHECK(CALL1(SC_setgid, -1) == -EINVAL && CALL1(SC_setegid, -1) == -EINVAL);
    u32 uid = (u32)CALL0(SC_getuid), gid = (u32)CALL0(SC_getgid);
    CHECK(users(uid, uid, uid) && groups(gid, gid, gid));
    CHECK((u32)CALL0(SC_geteuid) == uid && (u32)CALL0(SC_getegid) == gid);
    CHECK(CALL3(SC_getresuid, &r, NULL, &s) == -EFAULT && CALL3(SC_getresgid, 16, &e, &s) == -EFAULT);
    CHECK(dumpable() == 1);
    CHECK(CALL1(SC_setuid, uid) == 0 && CALL1(SC_setegid, gid) == 0 && dumpable() == 1);        /* nothing changed */
    CHECK(CALL3(SC_setresuid, -1, -1, -1) == 0 && CALL3(SC_setresgid, -1, -1, -1) == 0 && CALL2(SC_setregid, -1, -1) == 0);
    CHECK(CALL2(SC_setreuid, -1, -1) == -EINVAL);                /* nobody ever sets them so */
    CHECK(CALL2(SC_setreuid, uid + 1, -1) == -EPERM);
    CHECK(in_child(groups_as_root) == 256 || uid);
    CHECK(in_child(as_root) == 256 || uid);
    /* TestProcFSWrite: prctl */
    CHECK(CALL3(SC_prctl, 1, 0, 0) == 0 && dumpable() == 0 && CALL3(SC_prctl, 1, 1, 0) == 0 && dumpable() == 1);
    CHECK(CALL3(SC_prctl, 1, 2, 0) == -EINVAL && CALL3(SC_prctl, 3, 0, 0) == -EINVAL && CALL3(SC_prctl, 0, 0, 0) == -EINVAL);
    return 0;
}
