/* What programs of NetBSD 10 and 11 ask for that those of 9 did not: file systems with labels, semaphores of the kernel, events of
 * the newer size, counters, programs by descriptor; and what ps, top and sysctl ask.
 * builds: amd64 i386 */
#include "nb.h"

enum {
    SYS_swapctl = 271, SYS_dup2 = 90, SYS_fcntl = 92, SYS_timerfd_create = 177, SYS_timerfd_settime = 178, SYS_timerfd_gettime = 179,
    SYS_shmat = 228, SYS_shmdt = 230, SYS_shmget = 231, SYS_shmctl = 443, SYS_unlink = 10, SYS_extattr_get_file = 362, SYS_extattr_set_fd = 364, SYS_extattr_get_fd, SYS_extattr_delete_fd,
    SYS_extattr_list_fd = 370, SYS_getxattr = 378, ENOATTR = 93, SYS_pathconf = 191, SYS_sysctl = 202, SYS_ksem_init = 247, SYS_ksem_open, SYS_ksem_unlink, SYS_ksem_close, SYS_ksem_post,
    SYS_ksem_wait, SYS_ksem_trywait, SYS_ksem_getvalue, SYS_ksem_destroy, SYS_ksem_timedwait, SYS_eventfd = 267, SYS_kqueue = 344,
    SYS_uuidgen = 355, SYS_fexecve = 465, SYS_getvfsstat90 = 483, SYS_statvfs190, SYS_fstatvfs190, SYS_acl_get_file = 491,
    SYS_memfd_create = 500, SYS_kevent100 = 501, SYS_dup3100 = 505, ENXIO = 6, EEXIST = 17, EBUSY = 16, ENAMETOOLONG = 63,
    O_CREAT = 0x200, O_EXCL = 0x800, O_RDONLY = 0, O_DIRECTORY = 0x200000,
};

struct statvfs {
    word flag, bsize, frsize, iosize;
    u64 counts[12];
    int fsidx[2];
    word fsid, namemax;
    u32 owner;
    u64 spare[4];
    char fstypename[32], on[1024], from[1024], label[1024];
};
struct kevent { word ident; u32 filter, flags, fflags; i64 data; void *udata; u64 ext[4]; };

static char room[16384];

static void filesystems(void)
{
    static struct statvfs fs[16];
    word dir = CALL3(SYS_open, "/", O_RDONLY | O_DIRECTORY, 0).value;
    CHECK(gave(CALL3(SYS_fstatvfs190, dir, fs, 1), 0) && fs[0].on[0] == '/' && fs[0].bsize && fs[0].fstypename[0] && !fs[0].label[0]);
    CHECK(gave(CALL3(SYS_statvfs190, "/", fs + 1, 1), 0) && fs[0].fsid == fs[1].fsid && fs[0].namemax == fs[1].namemax);
    CHECK(failed(CALL3(SYS_statvfs190, "/no/such", fs, 1), ENOENT) && failed(CALL3(SYS_fstatvfs190, 99, fs, 1), EBADF));
    CHECK(failed(CALL3(SYS_statvfs190, "/", 8, 1), EFAULT));
    word all = CALL3(SYS_getvfsstat90, 0, 0, 1).value;
    CHECK(all > 0 && gave(CALL3(SYS_getvfsstat90, fs, sizeof fs, 1), all < 16 ? all : 16) && same(fs[0].on, "/"));
    CHECK(gave(CALL3(SYS_getvfsstat90, fs, sizeof *fs + 5, 2), 1));
    CHECK(gave(CALL2(SYS_pathconf, "/", 14), 0) && failed(CALL3(SYS_acl_get_file, "/", 2, room), EOPNOTSUPP));
    CALL1(SYS_close, dir);
}

static void semaphores(void)
{
    word id = 0, other = 0;
    u32 value = 9;
    struct timespec past = {1, 0};
    CHECK(gave(CALL2(SYS_ksem_init, 2, &id), 0) && gave(CALL2(SYS_ksem_getvalue, id, &value), 0) && value == 2);
    CHECK(gave(CALL1(SYS_ksem_wait, id), 0) && gave(CALL1(SYS_ksem_trywait, id), 0) && failed(CALL1(SYS_ksem_trywait, id), EAGAIN));
    CHECK(failed(CALL2(SYS_ksem_timedwait, id, &past), ETIMEDOUT) && gave(CALL1(SYS_ksem_post, id), 0));
    CHECK(gave(CALL2(SYS_ksem_timedwait, id, &past), 0));
    CHECK(gave(CALL1(SYS_ksem_destroy, id), 0) && failed(CALL1(SYS_ksem_post, id), EINVAL) && failed(CALL1(SYS_ksem_close, id), EBADF));
    CHECK(failed(CALL1(SYS_ksem_post, 1), EINVAL) && failed(CALL2(SYS_ksem_init, 0, 8), EFAULT));

    CHECK(failed(CALL5(SYS_ksem_open, "/one", 0, 0, 0, &id), ENOENT));
    CHECK(failed(CALL5(SYS_ksem_open, "one", O_CREAT, 0600, 0, &id), EINVAL));
    CHECK(failed(CALL5(SYS_ksem_open, "/a/b", O_CREAT, 0600, 0, &id), EINVAL));
    CHECK(gave(CALL5(SYS_ksem_open, "/one", O_CREAT | O_EXCL, 0600, 0, &id), 0));
    CHECK(failed(CALL5(SYS_ksem_open, "/one", O_CREAT | O_EXCL, 0600, 0, &other), EEXIST));
    CHECK(gave(CALL5(SYS_ksem_open, "/one", 0, 0, 0, &other), 0) && other != id && failed(CALL1(SYS_ksem_destroy, id), EINVAL));
    int pid = (int)CALL0(SYS_fork).value, status = -1;
    if (!pid) {
        nap(20000000);
        leave(gave(CALL1(SYS_ksem_post, other), 0) ? 0 : 1);
    }
    CHECK(gave(CALL1(SYS_ksem_wait, id), 0));                       /* the child's, through another descriptor */
    CALL4(SYS_wait4, pid, &status, 0, 0);
    CHECK(status == 0 && gave(CALL1(SYS_ksem_unlink, "/one"), 0) && failed(CALL1(SYS_ksem_unlink, "/one"), ENOENT));
    CHECK(gave(CALL1(SYS_ksem_post, id), 0) && gave(CALL1(SYS_ksem_trywait, other), 0) && gave(CALL1(SYS_ksem_close, id), 0));
    CALL1(SYS_ksem_close, other);

    word shared = 0x50535244;                                       /* 'PSRD': all processes may use its number */
    CHECK(gave(CALL2(SYS_ksem_init, 0, &shared), 0) && (shared & 0xff000001) == 0x70000001);
    pid = (int)CALL0(SYS_fork).value;
    if (!pid) leave(gave(CALL1(SYS_ksem_post, shared), 0) ? 0 : 1);
    CHECK(gave(CALL1(SYS_ksem_wait, shared), 0));
    CALL4(SYS_wait4, pid, &status, 0, 0);
    CHECK(gave(CALL1(SYS_ksem_destroy, shared), 0) && failed(CALL1(SYS_ksem_post, shared), EINVAL));
}

struct shmid_ds { u32 uid, gid, cuid, cgid, mode; u16 seq, pad; long key; word size; int lpid, cpid; u32 attached; i64 times[3] __attribute__((aligned(sizeof(word)))); word none; }
    __attribute__((packed, aligned(sizeof(word))));
static void memory(void)
{
    static struct shmid_ds ds;
    struct result made = CALL3(SYS_shmget, 0, 5000, 0x200 | 0600);
    CHECK(!made.carry && failed(CALL3(SYS_shmget, 77, 5000, 0600), ENOENT));
    struct result at = CALL3(SYS_shmat, made.value, 0, 0);
    CHECK(!at.carry && !(at.value % 4096));
    int pid = (int)CALL0(SYS_fork).value, status = -1;
    if (!pid) {
        *(int *)at.value = 42;
        leave(0);
    }
    CALL4(SYS_wait4, pid, &status, 0, 0);
    CHECK(status == 0 && *(int *)at.value == 42);
    CHECK(sizeof ds == (sizeof(word) == 8 ? 88 : 72));
    CHECK(gave(CALL3(SYS_shmctl, made.value, 2, &ds), 0) && ds.size == 5000 && ds.attached == 1 && (ds.mode & 0777) == 0600);
    CHECK(ds.cpid == (int)CALL0(SYS_getpid).value && ds.times[0] > 1600000000 && ds.cuid == CALL0(SYS_getuid).value);
    ds.mode = 0640;
    CHECK(gave(CALL3(SYS_shmctl, made.value, 1, &ds), 0) && gave(CALL3(SYS_shmctl, made.value, 2, &ds), 0) && (ds.mode & 0777) == 0640);
    CHECK(gave(CALL1(SYS_shmdt, at.value), 0) && failed(CALL1(SYS_shmdt, at.value), EINVAL));
    CHECK(gave(CALL3(SYS_shmctl, made.value, 0, 0), 0) && CALL3(SYS_shmctl, made.value, 2, &ds).carry && failed(CALL3(SYS_shmctl, made.value, 9, 0), EINVAL));
}

static void attributes(void)
{
    word fd = CALL3(SYS_open, "with", O_CREAT | 2, 0600).value, set = CALL5(SYS_extattr_set_fd, fd, 1, "color", "blue", 4).value;
    CHECK(failed(CALL4(SYS_extattr_list_fd, fd, 3, 0, 0), EINVAL) && failed(CALL5(SYS_extattr_get_fd, fd, 3, "a", 0, 0), EINVAL));
    if (set == 4) {                                                 /* the host's file system may have none of them */
        CHECK(gave(CALL5(SYS_extattr_get_file, "with", 1, "color", room, 9), 4) && room[0] == 'b');
        CHECK(gave(CALL4(SYS_extattr_list_fd, fd, 1, 0, 0), 6) && gave(CALL4(SYS_extattr_list_fd, fd, 1, room, 9), 6) && room[0] == 5);
        CHECK(gave(CALL4(SYS_getxattr, "with", "user.color", room, 9), 4) && gave(CALL3(SYS_extattr_delete_fd, fd, 1, "color"), 0));
        CHECK(failed(CALL5(SYS_extattr_get_fd, fd, 1, "color", 0, 0), ENOATTR) && gave(CALL4(SYS_extattr_list_fd, fd, 1, 0, 0), 0));
    }
    CALL1(SYS_close, fd);
    CALL1(SYS_unlink, "with");
}

static void events(void)
{
    word kq = CALL0(SYS_kqueue).value, fd = CALL2(SYS_eventfd, 0, 4).value;
    struct kevent change = {fd, 0, 1, 0, 0, room, {1, 2, 3, 4}}, found = {0};
    struct timespec none = {0, 0};
    u64 count = 3;
    struct kevent clocks[3] = {{1, 6, 1 | 0x10, 2, 20000, 0, {0}}, {2, 6, 1, 0x10 | 1, 1, 0, {0}}, {3, 6, 1, 8, 1, 0, {0}}};   /* us, a moment gone by */
    CHECK(gave(CALL6(SYS_kevent100, kq, clocks, 2, 0, 0, &none), 0) && failed(CALL6(SYS_kevent100, kq, clocks + 2, 1, 0, 0, 0), EINVAL));
    CHECK(gave(CALL6(SYS_kevent100, kq, 0, 0, &found, 1, 0), 1) && found.ident == 2 && found.data == 1);
    CHECK(gave(CALL6(SYS_kevent100, kq, 0, 0, &found, 1, 0), 1) && found.ident == 1 && found.data == 1);
    CHECK(sizeof change == (sizeof(word) == 8 ? 72 : 60) && gave(CALL6(SYS_kevent100, kq, &change, 1, &found, 1, &none), 0));
    CHECK(failed(CALL3(SYS_read, fd, &count, 8), EAGAIN) && gave(CALL3(SYS_write, fd, &count, 8), 8));
    CHECK(gave(CALL6(SYS_kevent100, kq, 0, 0, &found, 1, &none), 1) && found.ident == fd && found.udata == room);
    CHECK(gave(CALL3(SYS_read, fd, &count, 8), 8) && count == 3 && failed(CALL2(SYS_eventfd, 0, 1), EINVAL));
    word one = CALL2(SYS_eventfd, 2, 2).value;                      /* EFD_SEMAPHORE */
    CHECK(gave(CALL3(SYS_read, one, &count, 8), 8) && count == 1);
    struct { struct timespec interval, value; } wanted = {{0, 0}, {0, 1000000}}, left;
    word timer = CALL2(SYS_timerfd_create, 3, 0x400000).value;
    CHECK(failed(CALL2(SYS_timerfd_create, 1, 0), EINVAL) && gave(CALL4(SYS_timerfd_settime, timer, 0, &wanted, &left), 0));
    CHECK(gave(CALL3(SYS_read, timer, &count, 8), 8) && count == 1 && gave(CALL2(SYS_timerfd_gettime, timer, &left), 0));
    word memory = CALL2(SYS_memfd_create, "name", 2).value;
    CHECK(gave(CALL3(SYS_write, memory, "abc", 3), 3) && gave(CALL3(SYS_fcntl, memory, 17, 0), 0));
    CHECK(gave(CALL3(SYS_fcntl, memory, 16, 8), 0) && failed(CALL3(SYS_write, memory, "abc", 3), EPERM));
    CHECK(gave(CALL3(SYS_dup3100, fd, 40, 0), 40) && failed(CALL3(SYS_dup3100, fd, fd, 0), EINVAL));
    word dir = CALL3(SYS_open, "/", O_RDONLY, 0).value;
    CHECK(gave(CALL3(SYS_fcntl, dir, 15, room), 0) && same(room, "/") && failed(CALL3(SYS_fcntl, kq, 15, room), ENOENT));
}

static void machine(char **argv)
{
    u32 mib[6] = {1, 47, 1, (u32)CALL0(SYS_getpid).value, 680, 1};
    word size = 680;
    CHECK(gave(CALL6(SYS_sysctl, mib, 6, room, &size, 0, 0), 0) && size == 680 && ((u32 *)room)[29] == mib[3]);
    CHECK(room[648] == 'n' && room[360] == 2);                      /* its emulation, and that it runs */
    size = sizeof room;
    mib[2] = 0, mib[5] = 20;
    CHECK(gave(CALL6(SYS_sysctl, mib, 6, room, &size, 0, 0), 0) && size >= 2 * 680 && size % 680 == 0);
    u32 threads[5] = {1, 64, mib[3], 128, 4};
    size = sizeof room;
    CHECK(gave(CALL6(SYS_sysctl, threads, 5, room, &size, 0, 0), 0) && size == 128 && ((u32 *)room)[8] == 1);
    u32 args[4] = {1, 48, mib[3], 1};
    size = sizeof room;
    CHECK(gave(CALL6(SYS_sysctl, args, 4, room, &size, 0, 0), 0) && same(room, argv[0]));
    static char *told[] = {"a new title", NULL};
    start_strings->argv = told;                                     /* setproctitle(3) */
    start_strings->argc = 1;
    size = sizeof room;
    CHECK(gave(CALL6(SYS_sysctl, args, 4, room, &size, 0, 0), 0) && same(room, "a new title") && size == 12);
    int clock[5];
    u32 rate[2] = {1, 12}, memory[2] = {2, 5}, ticks[2] = {1, 51};
    size = sizeof clock;
    CHECK(gave(CALL6(SYS_sysctl, rate, 2, clock, &size, 0, 0), 0) && clock[0] == 100 && clock[1] == 10000 && clock[3] == 100);
    size = sizeof room;
    CHECK(gave(CALL6(SYS_sysctl, memory, 2, room, &size, 0, 0), 0) && size == 712 && ((u64 *)room)[0] == 4096);
    size = 40;
    CHECK(gave(CALL6(SYS_sysctl, ticks, 2, room, &size, 0, 0), 0) && size == 40);
    u8 id[32];
    CHECK(gave(CALL2(SYS_uuidgen, id, 2), 0) && (id[7] & 0xf0) == 0x40 && (id[8] & 0xc0) == 0x80 && failed(CALL2(SYS_uuidgen, id, 0), EINVAL));
    CHECK(gave(CALL3(SYS_swapctl, 3, 0, 0), 0) && failed(CALL3(SYS_swapctl, 8, 0, 0), ENXIO) && failed(CALL3(SYS_swapctl, 1, "/", 0), EPERM));
}

/* Itself once more, by a descriptor. */
static void again(char **argv)
{
    word fd = CALL3(SYS_open, argv[0], O_RDONLY, 0).value;
    char *words[] = {"again", "7", NULL};
    int pid = (int)CALL0(SYS_fork).value, status = -1;
    if (!pid) {
        CALL3(SYS_fexecve, fd, words, words + 2);
        leave(1);
    }
    CALL4(SYS_wait4, pid, &status, 0, 0);
    CHECK(status == 7 << 8 && failed(CALL3(SYS_fexecve, 99, words, words + 2), EBADF));
}

static int cases(int argc, char **argv)
{
    if (argc == 2 && same(argv[0], "again")) return argv[1][0] - '0';
    again(argv);
    filesystems();
    semaphores();
    memory();
    attributes();
    events();
    machine(argv);
    return 0;
}
