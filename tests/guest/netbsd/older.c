/* What programs built for NetBSD 2 to 5 still ask for: calls whose structs had seconds, devices or inodes of 32 bits.
 * builds: amd64 i386 */
#include "nb.h"

enum { SYS_unlink = 10, SYS_mkdir = 136, SYS_rmdir = 137, SYS_wait4_50 = 7, SYS_mknod_50 = 14, SYS_setitimer_50 = 83, SYS_getitimer_50 = 86, SYS_select_50 = 93, SYS_socket_30 = 97,
       SYS_gettimeofday_50 = 116, SYS_getrusage_50 = 117, SYS_settimeofday_50 = 122, SYS_utimes_50 = 138, SYS_adjtime_50 = 140,
       SYS_futimes_50 = 206, SYS_clock_gettime_50 = 232, SYS_clock_getres_50 = 234, SYS_timer_create = 235, SYS_timer_settime_50 = 237,
       SYS_timer_gettime_50, SYS_nanosleep_50 = 240, SYS_sigtimedwait_50 = 244, SYS_getdents_30 = 272, SYS_lutimes_50 = 276,
       SYS_stat_13 = 278, SYS_fstat_13, SYS_lstat_13, SYS_lwp_park_50 = 320, SYS_kqueue = 344, SYS_kevent_50, SYS_pselect_50 = 373, SYS_pollts_50,
       SYS_stat_30 = 387, SYS_fstat_30, SYS_lstat_30 };

struct timespec50 { int seconds; long nanoseconds; };
struct timeval50 { long seconds, micros; };
struct stat30 {
    u32 dev, mode;
    u64 ino __attribute__((aligned(sizeof(word))));
    u32 nlink, uid, gid, rdev;
    struct timespec50 atime, mtime, ctime, birth;
    i64 size __attribute__((aligned(sizeof(word)))), blocks;
    u32 blksize, flags, gen, spare[2];
} __attribute__((packed, aligned(sizeof(word))));
struct stat13 {
    u32 dev, ino, mode, nlink, uid, gid, rdev;
    struct timespec50 atime, mtime, ctime;
    i64 size __attribute__((aligned(sizeof(word)))), blocks;
    u32 blksize, flags, gen, spare;
    struct timespec50 birth;
    word pad[sizeof(word) == 4];
};
struct rusage50 { struct timeval50 user, system; long rest[14]; };

static char room[512];

static void stats(void)
{
    static struct stat30 st, same30;
    static struct stat13 old;
    CHECK(sizeof st == (sizeof(word) == 8 ? 136 : 100) && sizeof old == (sizeof(word) == 8 ? 128 : 96));
    int fd = (int)CALL3(SYS_open, "file", 0x200 | 2, 0640).value;
    CALL3(SYS_write, fd, "hello", 5);
    struct timeval50 times[2] = {{1000, 5}, {2000, 7}};
    CHECK(gave(CALL2(SYS_utimes_50, "file", times), 0) && gave(CALL2(SYS_stat_30, "file", &st), 0));
    CHECK(st.mode == 0100640 && st.size == 5 && st.nlink == 1 && st.mtime.seconds == 2000 && st.mtime.nanoseconds == 7000 && st.blksize);
    CHECK(st.atime.seconds == 1000 && gave(CALL2(SYS_fstat_30, fd, &same30), 0) && same30.ino == st.ino && same30.dev == st.dev);
    times[1].seconds = 3000;
    CHECK(gave(CALL2(SYS_futimes_50, fd, times), 0) && gave(CALL2(SYS_lutimes_50, "file", times), 0));
    CHECK(gave(CALL2(SYS_stat_13, "file", &old), 0) && old.size == 5 && old.mode == 0100640 && old.mtime.seconds == 3000 && old.ino == (u32)st.ino);
    CHECK(gave(CALL2(SYS_fstat_13, fd, &old), 0) && gave(CALL2(SYS_lstat_13, "file", &old), 0) && gave(CALL2(SYS_lstat_30, "file", &st), 0));
    CHECK(failed(CALL2(SYS_stat_30, "none", &st), ENOENT) && failed(CALL2(SYS_stat_30, "file", 8), EFAULT));
    times[0].micros = 1000000;
    CHECK(failed(CALL2(SYS_utimes_50, "file", times), EINVAL));
    CALL1(SYS_close, fd);
    CALL2(SYS_mkdir, "dir", 0755);
    fd = (int)CALL3(SYS_open, "dir", 0, 0).value;
    word got = CALL3(SYS_getdents_30, fd, room, sizeof room).value;
    CHECK(got == 24 && *(u16 *)(room + 4) == 12 && room[6] == 4 && room[7] == 1 && room[8] == '.' && room[12 + 7] == 2);
    CHECK(gave(CALL3(SYS_getdents_30, fd, room, sizeof room), 0) && failed(CALL3(SYS_getdents_30, 1, room, sizeof room), EINVAL));
    CALL1(SYS_close, fd);
    CALL1(SYS_rmdir, "dir");
    CALL1(SYS_unlink, "file");
}

static void clocks(void)
{
    struct timespec50 now, later, pause = {0, 2000000}, bad = {0, 1000000000};
    struct timeval50 day, none = {0, 0};
    CHECK(gave(CALL2(SYS_clock_gettime_50, 3, &now), 0) && gave(CALL2(SYS_nanosleep_50, &pause, 0), 0));
    CHECK(gave(CALL2(SYS_clock_gettime_50, 3, &later), 0));
    CHECK((later.seconds - now.seconds) * 1000000000ll + later.nanoseconds - now.nanoseconds >= 2000000);
    CHECK(failed(CALL2(SYS_nanosleep_50, &bad, 0), EINVAL) && gave(CALL2(SYS_clock_getres_50, 0, &now), 0) && now.nanoseconds == 1);
    CHECK(gave(CALL2(SYS_gettimeofday_50, &day, 0), 0) && day.seconds > 1600000000 && day.micros < 1000000);
    CHECK(failed(CALL2(SYS_settimeofday_50, &day, 0), EPERM) && gave(CALL2(SYS_adjtime_50, 0, &day), 0) && !day.seconds);
    struct { struct timeval50 interval, value; } wanted = {{0, 0}, {100, 0}}, left;
    CHECK(gave(CALL3(SYS_setitimer_50, 0, &wanted, 0), 0) && gave(CALL2(SYS_getitimer_50, 0, &left), 0) && left.value.seconds >= 99);
    wanted.value.seconds = 0;
    CHECK(gave(CALL3(SYS_setitimer_50, 0, &wanted, &left), 0) && left.value.seconds >= 99);
    int id = -1;
    struct { struct timespec50 interval, value; } spec = {{0, 0}, {50, 0}}, rest;
    CHECK(gave(CALL3(SYS_timer_create, 3, 0, &id), 0) && gave(CALL4(SYS_timer_settime_50, id, 0, &spec, &rest), 0) && !rest.value.seconds);
    CHECK(gave(CALL2(SYS_timer_gettime_50, id, &rest), 0) && rest.value.seconds >= 49);
    CHECK(gave(CALL5(SYS_select_50, 0, 0, 0, 0, &none), 0) && gave(CALL6(SYS_pselect_50, 0, 0, 0, 0, &pause, 0), 0));
    struct { int fd; u16 events, got; } polled = {1, 4, 0};
    CHECK(gave(CALL4(SYS_pollts_50, &polled, 1, &pause, 0), 1) && polled.got & 4);
    struct { struct timespec interval, value; } far = {{0, 0}, {1ll << 40, 0}};
    CHECK(gave(CALL4(446, id, 0, &far, 0), 0) && gave(CALL2(SYS_timer_gettime_50, id, &rest), 0));      /* what does not fit is cut */
}

static void waits(void)
{
    struct rusage50 usage;
    struct timespec50 past = {1, 0}, soon = {0, 1000000};
    int pid = (int)CALL0(SYS_fork).value, status = -1;
    if (!pid) leave(9);
    CHECK(gave(CALL4(SYS_wait4_50, pid, &status, 0, &usage), (word)pid) && status == 9 << 8 && usage.user.seconds >= 0);
    CHECK(gave(CALL2(SYS_getrusage_50, 0, &usage), 0) && usage.rest[0] > 0 && failed(CALL2(SYS_getrusage_50, 5, &usage), EINVAL));
    CHECK(failed(CALL4(SYS_lwp_park_50, &past, 0, 0, 0), ETIMEDOUT));
    struct sigset set = only(SIGUSR1);
    CHECK(failed(CALL3(SYS_sigtimedwait_50, &set, 0, &soon), EAGAIN));
    word kq = CALL0(SYS_kqueue).value;
    CHECK(gave(CALL6(SYS_kevent_50, kq, 0, 0, room, 1, &soon), 0));
    CHECK(CALL3(SYS_socket_30, 1, 1, 0).value > kq && failed(CALL3(SYS_mknod_50, "device", 0644, 0), CALL0(SYS_getuid).value ? EPERM : EINVAL));
}

static int cases(int argc, char **argv)
{
    (void)argc, (void)argv;
    stats();
    clocks();
    waits();
    return 0;
}
