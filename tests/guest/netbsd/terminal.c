/* Terminals: a pseudo-terminal's two sides, its settings in NetBSD's own struct and bits (reference: 2.9).  builds: amd64 */
#include "nb.h"

enum { SYS_ioctl = 54, SYS_setsid = 147 };
enum { TIOCPTSNAME = 0x48087448, TIOCGRANTPT = 0x20007447, TIOCGETA = 0x402c7413, TIOCGWINSZ = 0x40087468, TIOCGPGRP = 0x40047477,
       TIOCSCTTY = 0x20007461, FIONREAD = 0x4004667f, TIOCGSID = 0x40047463, TIOCDRAIN = 0x2000745e };
#define TIOCSETA 0x802c7414u
#define TIOCSETAF 0x802c7416u
#define TIOCSWINSZ 0x80087467u
#define TIOCFLUSH 0x80047410u
#define TIOCSPGRP 0x80047476u
enum { ISIG = 0x80, ICANON = 0x100, ECHO = 8, IEXTEN = 0x400, CS8 = 0x300, CREAD = 0x800, ICRNL = 0x100, IXON = 0x200, OPOST = 1, ONLCR = 2 };
enum { VEOF = 0, VERASE = 3, VINTR = 8, VQUIT = 9, VSUSP = 10, VMIN = 16, VTIME = 17 };
enum { ENOTTY = 25 };

struct termios { u32 iflag, oflag, cflag, lflag; u8 cc[20]; int ispeed, ospeed; };
struct ptmget { int cfd, sfd; char cn[1024], sn[1024]; };
static struct ptmget names;
static struct termios now, set;
static char text[64];

static int cases(int argc, char **argv)
{
    (void)argc, (void)argv;
    int master = (int)CALL3(SYS_open, "/dev/ptmx", 2 | 0x8000, 0).value;
    CHECK(sizeof now == 44 && sizeof names == 2056);
    CHECK(gave(CALL2(SYS_ioctl, master, TIOCGRANTPT), 0) && gave(CALL3(SYS_ioctl, master, TIOCPTSNAME, &names), 0));
    CHECK(names.sn[0] == '/' && names.sn[5] == 'p');
    CALL1(147, 0);
    int slave = (int)CALL3(SYS_open, names.sn, 2 | 0x8000, 0).value;
    CHECK(slave > 2 && gave(CALL3(SYS_ioctl, slave, TIOCGETA, &now), 0));
    CHECK(now.lflag & ICANON && now.lflag & ISIG && now.lflag & ECHO && now.lflag & IEXTEN);
    CHECK(now.iflag & ICRNL && now.iflag & IXON && (now.oflag & (OPOST | ONLCR)) == (OPOST | ONLCR));
    CHECK((now.cflag & CS8) == CS8 && now.cflag & CREAD && now.ispeed == 38400 && now.ospeed == 38400);
    CHECK(now.cc[VINTR] == 3 && now.cc[VQUIT] == 28 && now.cc[VEOF] == 4 && now.cc[VERASE] == 127 && now.cc[VSUSP] == 26 && now.cc[VMIN] == 1);
    CALL3(SYS_write, master, "typed\r", 6);
    CHECK(gave(CALL3(SYS_read, slave, text, 64), 6) && text[5] == '\n');
    CHECK(gave(CALL3(SYS_read, master, text, 64), 7) && text[5] == '\r' && text[6] == '\n');      /* the echo */
    set = now;
    set.lflag &= ~(u32)(ICANON | ECHO), set.iflag &= ~(u32)ICRNL, set.cc[VINTR] = 0xff, set.ospeed = set.ispeed = 9600;
    CHECK(gave(CALL3(SYS_ioctl, slave, TIOCSETAF, &set), 0) && gave(CALL3(SYS_ioctl, slave, TIOCGETA, &now), 0));
    CHECK(!(now.lflag & (ICANON | ECHO)) && now.lflag & ISIG && now.cc[VINTR] == 0xff && now.ospeed == 9600);
    CALL3(SYS_write, master, "x\r\003", 3);
    int waiting = 0;
    CHECK(gave(CALL3(SYS_ioctl, slave, FIONREAD, &waiting), 0) && waiting == 3);
    CHECK(gave(CALL3(SYS_read, slave, text, 64), 3) && text[1] == '\r' && text[2] == 3);
    set.ospeed = 12345;
    CHECK(failed(CALL3(SYS_ioctl, slave, TIOCSETA, &set), EINVAL));
    u16 size[4] = {24, 80, 0, 0}, told[4];
    CHECK(gave(CALL3(SYS_ioctl, master, TIOCSWINSZ, size), 0) && gave(CALL3(SYS_ioctl, slave, TIOCGWINSZ, told), 0) && told[1] == 80);
    int both = 0, group = 0;
    CALL3(SYS_write, master, "junk", 4);
    CHECK(gave(CALL3(SYS_ioctl, slave, TIOCFLUSH, &both), 0) && gave(CALL3(SYS_ioctl, slave, FIONREAD, &waiting), 0) && waiting == 0);
    CHECK(gave(CALL2(SYS_ioctl, slave, TIOCDRAIN), 0) && failed(CALL3(SYS_ioctl, slave, TIOCGPGRP, &group), ENOTTY));
    int pid = (int)CALL0(SYS_fork).value, status = -1;
    if (!pid) {
        int mine = (int)CALL0(SYS_setsid).value;
        leave(gave(CALL3(SYS_ioctl, slave, TIOCSCTTY, 0), 0) && gave(CALL3(SYS_ioctl, slave, TIOCGPGRP, &group), 0) && group == mine &&
              gave(CALL3(SYS_ioctl, slave, TIOCGSID, &group), 0) && group == mine && gave(CALL3(SYS_ioctl, slave, TIOCSPGRP, &mine), 0) ? 0 : 1);
    }
    CALL4(SYS_wait4, pid, &status, 0, 0);
    CHECK(status == 0);
    int ptm = (int)CALL3(SYS_open, "/dev/ptm", 2, 0).value, queue = 0, space = 0;      /* openpty(3) */
    CHECK(ptm > 0 && gave(CALL3(SYS_ioctl, ptm, 0x48087446, &names), 0) && names.cfd > ptm && names.sfd > names.cfd && names.sn[5] == 'p');
    CHECK(gave(CALL3(SYS_write, names.sfd, "ab", 2), 2) && gave(CALL3(SYS_ioctl, names.sfd, 0x40046678, &space), 0) && space <= 1024);
    CHECK(gave(CALL3(SYS_read, names.cfd, text, 9), 2) && failed(CALL3(SYS_ioctl, ptm, 0x48087446, 8), EFAULT));
    CHECK(gave(CALL3(SYS_ioctl, slave, 0x40207442, text), 0) && same(text, "termios"));        /* stty(1) */
    CHECK(gave(CALL3(SYS_ioctl, slave, 0x40047481, &queue), 0) && queue == 1024);
    int ends[2];
    CALL2(453, ends, 0);
    CHECK(failed(CALL3(SYS_ioctl, ends[0], 0x40207442, text), ENOTTY) && failed(CALL3(SYS_ioctl, ends[0], 0x48087446, &names), ENOTTY));
    return 0;
}
