/* Process groups, sessions and terminals.
 * builds: x64 i386
 */
#include "case.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

CASE(groups)
{
    CHILD
        T(setpgid(0, 0));
        IS(getpgrp() == getpid());
        IS(getpgid(0) == getpid());
        T(getpgid(1 << 29));
        T(setpgid(0, 1 << 29));
        T(setpgid(1 << 29, 0));
        T(setpgid(-1, 0));
        T(setpgid(0, -1));
        pid_t pid = fork();
        if (pid == 0) { for (;;) pause(); }
        T(setpgid(pid, pid));
        IS(getpgid(pid) == pid);
        T(setpgid(0, pid));
        IS(getpgrp() == pid);
        T(setpgid(pid, getpid()));
        kill(pid, SIGKILL);
        reap(pid);
        T(setpgid(0, 0));
    REAPED
}

CASE(sessions)
{
    CHILD
        T(setpgid(0, 0));
        T(setsid());
        CHILD
            IS(setsid() == getpid());
            IS(getsid(0) == getpid());
            IS(getpgrp() == getpid());
            T(setsid());
            T(setpgid(0, 0));
            CHILD T(setpgid(0, getppid())); IS(getsid(0) == getppid()); REAPED
        REAPED
        T(getsid(1 << 29));
        pid_t pid = fork();
        if (pid == 0) { setsid(); pause(); }
        pause_ms(20);
        T(setpgid(pid, pid));
        kill(pid, SIGKILL);
        reap(pid);
    REAPED
    T(open("/dev/tty", O_RDWR));
}

CASE(exec_closes_setpgid)
{
    int p[2];
    char c;
    pipe(p);
    pid_t pid = fork();
    if (pid == 0) { dup2(p[1], 1); execl("/bin/sh", "sh", "-c", "echo; sleep 5", (char *)NULL); }
    read(p[0], &c, 1);
    T(setpgid(pid, pid));
    kill(pid, SIGKILL);
    reap(pid);
}

static int master;

static int terminal(void)
{
    int number;
    master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master), unlockpt(master);
    ioctl(master, TIOCGPTN, &number);
    char name[32];
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    return open(name, O_RDWR | O_NOCTTY);
}

CASE(pty_lines)
{
    char b[64] = {0};
    int slave = terminal();
    IS(isatty(master) && isatty(slave));
    struct termios t;
    T(tcgetattr(slave, &t));
    say("i %x o %x c %x l %x", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
    T(write(master, "hello\n", 6));
    T(read(slave, b, 64));
    say("%.5s", b);
    T(read(master, b, 64));
    T(write(slave, "out\n", 4));
    T(read(master, b, 64));
    say("%d %d", b[3], b[4]);
    t.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
    t.c_oflag &= ~(tcflag_t)OPOST;
    T(tcsetattr(slave, TCSANOW, &t));
    T(write(master, "x", 1));
    T(read(slave, b, 64));
    T(write(slave, "a\n", 2));
    T(read(master, b, 64));
    struct winsize w = {24, 80, 0, 0}, got = {0};
    T(ioctl(master, TIOCSWINSZ, &w));
    T(ioctl(slave, TIOCGWINSZ, &got));
    say("%d %d", got.ws_row, got.ws_col);
    T(close(slave));
    T(read(master, b, 64));
}

CASE(pty_editing)
{
    char b[64] = {0};
    int slave = terminal();
    struct termios t;
    tcgetattr(slave, &t);
    t.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(slave, TCSANOW, &t);
    T(write(master, "ab\177c\n", 5));
    T(read(slave, b, 64));
    say("%.2s", b);
    T(write(master, "gone\025kept\n", 10));
    T(read(slave, b, 64));
    say("%.4s", b);
    T(write(master, "\004", 1));
    T(read(slave, b, 64));
    T(write(master, "part\004", 5));
    T(read(slave, b, 64));
    T(write(master, "two\nlines\n", 10));
    T(read(slave, b, 2));
    T(read(slave, b, 64));
    T(read(slave, b, 64));
    T(fcntl(slave, F_SETFL, O_NONBLOCK));
    T(write(master, "no end", 6));
    T(read(slave, b, 64));
    T(tcflush(slave, TCIFLUSH));
    T(write(master, "\r", 1));
    T(read(slave, b, 64));
    say("%d", b[0]);
}

CASE(controlling_terminal)
{
    int slave = terminal();
    CHILD T(ioctl(slave, TIOCSCTTY, 0)); REAPED
    CHILD
        setsid();
        T(tcgetpgrp(slave));
        T(ioctl(slave, TIOCSCTTY, 0));
        IS(tcgetpgrp(slave) == getpid());
        IS(open("/dev/tty", O_RDWR) >= 0);
        IS(tcgetsid(slave) == getpid());
        handle(SIGINT, tell, 0), handle(SIGQUIT, tell, 0);
        write(master, "\003", 1);
        pause_ms(20);
        write(master, "\034", 1);
        pause_ms(20);
        handle(SIGWINCH, tell, 0);
        ioctl(master, TIOCSWINSZ, &(struct winsize){10, 20, 0, 0});
        pause_ms(20);
        int status;
        pid_t pid = fork();
        if (pid == 0) { char c; setpgid(0, 0); handle(SIGTTIN, SIG_DFL, 0); read(slave, &c, 1); _exit(0); }
        waitpid(pid, &status, WUNTRACED);
        say("reading in the background: %s", ending(status));
        kill(pid, SIGKILL);
        reap(pid);
        pid = fork();
        if (pid == 0) { setpgid(0, 0); T(tcsetpgrp(slave, getpid())); _exit(0); }
        waitpid(pid, &status, WUNTRACED);
        say("taking the terminal: %s", ending(status));
        kill(pid, SIGKILL);
        reap(pid);
        pid = fork();
        if (pid == 0) { setpgid(0, 0); pause_ms(60); char c; T(read(slave, &c, 1)); pause(); }
        setpgid(pid, pid);
        T(tcsetpgrp(slave, pid));
        write(master, "y\n", 2);
        pause_ms(120);
        write(master, "\032", 1);
        waitpid(pid, &status, WUNTRACED);
        say("ctrl-Z: %s", ending(status));
        handle(SIGTTOU, SIG_IGN, 0);
        T(tcsetpgrp(slave, getpid()));
        kill(pid, SIGCONT);
        kill(pid, SIGKILL);
        reap(pid);
        T(tcsetpgrp(slave, 1 << 29));
    REAPED
    T(tcgetpgrp(slave));
}

CASE(hang_up)
{
    int slave = terminal(), p[2];
    char c = 0;
    pipe(p);
    CHILD
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        pid_t pid = fork();
        if (pid == 0) {
            sigset_t set, none;
            sigemptyset(&none), sigemptyset(&set), sigaddset(&set, SIGHUP);
            sigprocmask(SIG_BLOCK, &set, NULL);
            handle(SIGHUP, tell, 0);
            write(p[1], "r", 1);
            sigsuspend(&none);
            write(p[1], "h", 1);
            _exit(0);
        }
        read(p[0], &c, 1);
    REAPED_SILENTLY
    T(read(p[0], &c, 1));
    say("%c", c);
    CHILD
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        close(slave);
        handle(SIGHUP, tell, 0);
        close(master);
        pause_ms(20);
        T(open("/dev/tty", O_RDWR) >= 0);
    REAPED
}

CASE(orphaned_groups)
{
    int p[2];
    char c;
    pipe(p);
    CHILD
        pid_t pid = fork();
        if (pid == 0) {
            setpgid(0, 0);
            handle(SIGHUP, tell, 0);
            handle(SIGCONT, tell, 0);
            kill(getpid(), SIGSTOP);
            write(p[1], "c", 1);
            _exit(0);
        }
        int status;
        waitpid(pid, &status, WUNTRACED);
        say("%s", ending(status));
    REAPED_SILENTLY
    close(p[1]);
    T(read(p[0], &c, 1));
    CHILD
        setsid();
        pid_t pid = fork();
        if (pid == 0) { setpgid(0, 0); raise(SIGTSTP); say("not orphaned"); _exit(0); }
        int status;
        waitpid(pid, &status, WUNTRACED);
        say("%s", ending(status));
        kill(pid, SIGCONT);
        reap(pid);
        raise(SIGTSTP);
        say("the leader of an orphaned group does not stop");
    REAPED
}
