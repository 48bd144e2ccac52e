/* A pseudo-terminal: its settings in a struct of 56 bytes, its size, its group, and what it refuses. */
#include "sy.h"

enum { TIOCGPGRP, TIOCSPGRP, TCGETS, TCSETS, TCSETSW, TCSETSF, TCFLSH, TIOCGWINSZ, TIOCSCTTY, TIOCSTI, TIOCNOTTY, TIOCSWINSZ, TIOCGPTN };
enum { ICANON = 2, ECHO = 8, IEXTEN = 0100000, ICRNL = 0400, IXON = 02000, OPOST = 1, CREAD = 0200, CS8 = 060, FIONREAD = 43 };
enum { F_ISTTY = 5, VINTR = 0, VEOF = 4 };

struct termios { u32 iflag, oflag, cflag, lflag; u8 cc[32]; u32 ispeed, ospeed; };
struct winsize { u16 rows, columns, x, y; };
_Static_assert(sizeof(struct termios) == 56, "layout");

static int master, side;
static char buffer[64];
static struct termios settings, again;

static void without_tty(void) { pledge("stdio", NULL); CALL3(SC_ioctl, side, TIOCGWINSZ, buffer); }
static void with_tty(void) { pledge("stdio tty", NULL); leave((int)CALL3(SC_ioctl, side, TIOCGWINSZ, buffer)); }

static void own_session(void)
{
    i32 group = 0, before = (i32)CALL0(SC_getpgrp);
    struct { word handler; u32 mask; i32 flags; } ignore = {1, 0, 0};     /* giving the terminal up hangs up */
    leave(CALL3(SC_sigaction, SIGHUP, &ignore, NULL) == 0 && CALL0(SC_setsid) > 0 && CALL2(SC_ioctl, side, TIOCSCTTY) == 0 && CALL3(SC_ioctl, side, TIOCSPGRP, CALL0(SC_getpgrp)) == 0 &&
          CALL3(SC_ioctl, side, TIOCGPGRP, &group) == 0 && group == (i32)CALL0(SC_getpgrp) && CALL3(SC_ioctl, side, TIOCSPGRP, 0) == -EINVAL &&
          CALL3(SC_ioctl, side, TIOCSPGRP, 9999) == -EINVAL && CALL3(SC_ioctl, side, TIOCSPGRP, before) == -EPERM &&
          CALL2(SC_ioctl, side, TIOCNOTTY) == 0 ? 3 : 4);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    i32 which = -1;
    char name[] = "/dev/pts/0";
    master = (int)open_file("/dev/ptmx", O_RDWR, 0);
    CHECK(master >= 0 && CALL3(SC_ioctl, master, TIOCGPTN, &which) == 0 && which >= 0 && which < 10);
    name[9] = (char)('0' + which);
    side = (int)open_file(name, O_RDWR | 0x20, 0);
    CHECK(side >= 0 && CALL3(SC_fcntl, side, F_ISTTY, 0) == 1 && CALL3(SC_fcntl, master, F_ISTTY, 0) == 0);
    settings.cc[31] = 0xff;
    CHECK(CALL3(SC_ioctl, side, TCGETS, &settings) == 0 && settings.lflag & ICANON && settings.lflag & ECHO && settings.iflag & ICRNL);
    CHECK(settings.cc[VINTR] == 3 && settings.cc[VEOF] == 4 && settings.cc[31] == 0 && settings.ospeed == 38400);
    CHECK(!(settings.lflag & IEXTEN) && !(settings.iflag & IXON) && !(settings.cflag & CREAD) && (settings.cflag & CS8) == CS8);
    CHECK(CALL3(SC_ioctl, side, TCSETS, &settings) == 0);
    settings.lflag &= ~(u32)(ICANON | ECHO), settings.oflag &= ~(u32)OPOST;
    CHECK(CALL3(SC_ioctl, side, TCSETSW, &settings) == 0 && CALL3(SC_ioctl, side, TCGETS, &again) == 0 && again.lflag == settings.lflag);
    settings.lflag |= IEXTEN | ICANON;
    CHECK(CALL3(SC_ioctl, side, TCSETSF, &settings) == -ENOTIMPL && CALL3(SC_ioctl, side, TCGETS, &again) == 0 && again.lflag & ICANON);
    settings.lflag &= ~(u32)(IEXTEN | ICANON);
    settings.cflag &= ~(u32)CS8;
    CHECK(CALL3(SC_ioctl, side, TCSETS, &settings) == -ENOTIMPL && CALL3(SC_ioctl, side, TCGETS, &again) == 0 && (again.cflag & CS8) == CS8);
    CHECK(CALL3(SC_write, master, "typed", 5) == 5 && CALL3(SC_read, side, buffer, 64) == 5);
    CHECK(CALL3(SC_write, master, "gone", 4) == 4 && CALL3(SC_ioctl, side, TCFLSH, 0) == 0 && CALL3(SC_write, master, "x", 1) == 1);
    CHECK(CALL3(SC_read, side, buffer, 64) == 1 && CALL3(SC_ioctl, side, TCFLSH, 1) == 0 && CALL3(SC_ioctl, side, TCFLSH, 3) == -EINVAL);
    CHECK(CALL3(SC_write, side, "out\n", 4) == 4 && CALL3(SC_read, master, buffer, 64) == 4);
    struct winsize size = {50, 132, 1, 1}, told;
    CHECK(CALL3(SC_ioctl, side, TIOCSWINSZ, &size) == 0 && CALL3(SC_ioctl, side, TIOCGWINSZ, &told) == 0 && told.rows == 50 && told.columns == 132);
    size.rows = 24;
    CHECK(CALL3(SC_ioctl, master, TIOCSWINSZ, &size) == 0 && CALL3(SC_ioctl, side, TIOCGWINSZ, &told) == 0 && told.rows == 24);
    CHECK(CALL3(SC_ioctl, side, TIOCSTI, "x") == -EIO && CALL3(SC_ioctl, side, 13, buffer) == -EINVAL && CALL3(SC_ioctl, side, FIONREAD, buffer) == -EINVAL);
    CHECK(CALL3(SC_ioctl, master, TCGETS, buffer) == -EINVAL && CALL3(SC_ioctl, side, TIOCGPTN, buffer) == -EINVAL);
    CHECK(CALL3(SC_ioctl, side, TCGETS, 8) == -EFAULT && CALL3(SC_ioctl, side, TCSETS, 8) == -EFAULT && CALL3(SC_ioctl, side, TIOCGWINSZ, 8) == -EFAULT);
    CHECK(in_child(own_session) == 256 + 3);
    CHECK(in_child(without_tty) == SIGABRT && in_child(with_tty) == 256);
    return 0;
}
