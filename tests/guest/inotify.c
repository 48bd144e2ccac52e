/* Watching files: what is told of names, contents, attributes, and of watches themselves.
 * builds: x64 i386
 */
#include "case.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>

static int n;
static unsigned first_cookie;

static void tell_events(const char *what)
{
    static char buffer[8192] __attribute__((aligned(8)));
    long got;
    unsigned seen = 0;
    say("after %s", what);
    while ((got = read(n, buffer, sizeof buffer)) > 0)
        for (char *at = buffer; at < buffer + got;) {
            struct inotify_event *e = (void *)at;
            if (e->cookie && !first_cookie) first_cookie = e->cookie;
            say("%d: %#x%s len %u %s", e->wd, e->mask, !e->cookie ? "" : seen == e->cookie ? " same cookie" : " cookie", e->len, e->len ? e->name : "");
            seen = e->cookie;
            at += sizeof *e + e->len;
        }
    if (errno != EAGAIN) say("%s", errno_name(errno));
}
static void begin(void)
{
    char where[] = "watchedXXXXXX";
    if (!mkdtemp(where) || chdir(where)) say("no directory");
    n = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}
static void fill_in(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (*text && write(fd, text, strlen(text)) < 0) say("cannot write");
    close(fd);
}

CASE(names)
{
    begin();
    T(inotify_add_watch(n, ".", IN_ALL_EVENTS));
    tell_events("nothing");
    T(mkdir("d", 0700));
    T(mknod("file", S_IFREG | 0600, 0));
    T(symlink("file", "a-longer-name-of-a-link"));
    T(link("file", "other"));
    tell_events("making");
    T(rename("file", "moved"));
    tell_events("moving");
    T(rename("moved", "d/away"));
    tell_events("moving out");
    T(rename("d/away", "other"));
    tell_events("moving in");
    T(unlink("other"));
    T(unlink("a-longer-name-of-a-link"));
    T(rmdir("d"));
    tell_events("removing");
    T(unlink("nothing"));
    tell_events("nothing");
}

CASE(contents)
{
    char b[8];
    begin();
    T(inotify_add_watch(n, ".", IN_ALL_EVENTS));
    fill_in("f", "");
    tell_events("creating");
    fill_in("f", "text");
    tell_events("writing");
    int fd = open("f", O_RDWR);
    T(write(fd, "abc", 3));
    T(pwrite(fd, "x", 1, 10));
    T(pread(fd, b, 4, 0));
    T(lseek(fd, 0, SEEK_SET));
    T(read(fd, b, 2));
    T(ftruncate(fd, 1));
    T(fchmod(fd, 0640));
    T(close(fd));
    tell_events("all of it");
    fd = open("f", O_RDONLY);
    close(dup(fd));
    close(fd);
    tell_events("reading");
    T(chmod("f", 0600));
    T(truncate("f", 5));
    T(utimensat(AT_FDCWD, "f", 0, 0));
    tell_events("from outside");
    close(open("f", O_PATH));
    struct stat st;
    stat("f", &st);
    access("f", R_OK);
    tell_events("looking");
}

CASE(the_file_itself)
{
    begin();
    fill_in("f", "");
    fill_in("g", "");
    int f = inotify_add_watch(n, "f", IN_ALL_EVENTS), g = inotify_add_watch(n, "g", IN_DELETE_SELF | IN_MOVE_SELF);
    say("%d %d", f, g);
    fill_in("f", "x");
    tell_events("writing");
    T(link("f", "second"));
    T(unlink("second"));
    tell_events("another name");
    T(rename("f", "g"));
    tell_events("replacing");
    T(unlink("g"));
    tell_events("removing");
    T(inotify_rm_watch(n, f));
    mkdir("d", 0700);
    T(inotify_add_watch(n, "d", IN_ALL_EVENTS) > 0);
    T(rmdir("d"));
    tell_events("rmdir");
}

CASE(watches)
{
    int w, left;
    begin();
    fill_in("f", "");
    T(w = inotify_add_watch(n, "f", IN_OPEN));
    T(inotify_add_watch(n, "f", IN_MODIFY) == w);
    fill_in("f", "x");
    tell_events("another mask");
    T(inotify_add_watch(n, "f", IN_OPEN | IN_MASK_ADD) == w);
    fill_in("f", "x");
    tell_events("added");
    T(inotify_add_watch(n, "f", IN_OPEN | IN_MASK_CREATE));
    T(inotify_rm_watch(n, w));
    T(inotify_rm_watch(n, w));
    fill_in("f", "x");
    tell_events("removed");
    T(inotify_add_watch(n, "f", IN_OPEN | IN_ONESHOT));
    fill_in("f", "x");
    fill_in("f", "x");
    tell_events("one shot");
    T(inotify_add_watch(n, "f", 0));
    T(inotify_add_watch(n, "f", IN_ONLYDIR | IN_OPEN));
    T(inotify_add_watch(n, "none", IN_OPEN));
    T(inotify_add_watch(0, "f", IN_OPEN));
    T(inotify_add_watch(99, "f", IN_OPEN));
    T(inotify_add_watch(n, "f", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE));
    T(inotify_init1(1));
    symlink("f", "l");
    T(inotify_add_watch(n, "l", IN_ATTRIB | IN_DONT_FOLLOW) > 0);
    T(inotify_add_watch(n, "f", IN_MODIFY) > 0);
    fill_in("f", "x");
    fill_in("f", "x");
    T(ioctl(n, FIONREAD, &left));
    say("%d wait", left);
    T(read(n, &left, 4));
    T(write(n, &left, 4));
    T(lseek(n, 0, SEEK_CUR));
}

CASE(waiting)
{
    char b[512];
    begin();
    int flags = fcntl(n, F_GETFL);
    fcntl(n, F_SETFL, flags & ~O_NONBLOCK);
    T(inotify_add_watch(n, ".", IN_CREATE));
    if (!fork()) { struct timespec t = {0, 50000000}; nanosleep(&t, 0); mkdir("made", 0700); _exit(0); }
    struct pollfd p = {n, POLLIN, 0};
    T(poll(&p, 1, 5000));
    say("%#x", p.revents);
    T(read(n, b, sizeof b));
    say("%s", ((struct inotify_event *)b)->name);
    T(wait(0) > 0);
}
