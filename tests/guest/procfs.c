/* What /proc says of the process that asks, and of the system: names, shapes and the facts that must agree with calls.
 * builds: x64 i386
 */
#include "case.h"
#include <dirent.h>
#include <sys/prctl.h>

static char text[1 << 16];
static char *slurp(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) { snprintf(text, sizeof text, "%s", errno_name(errno)); return text; }
    size_t have = 0;
    for (ssize_t n; have < sizeof text - 1 && (n = read(fd, text + have, sizeof text - 1 - have)) > 0;) have += (size_t)n;
    text[have] = 0;
    close(fd);
    return text;
}

static char *field(const char *name)
{
    static char value[256];
    char key[64], *at = slurp("/proc/self/status");
    snprintf(key, sizeof key, "%s:", name);
    for (; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        if (!strncmp(at, key, strlen(key))) { sscanf(at + strlen(key), " %255[^\n]", value); return value; }
    return "absent";
}

/* SigIgn without 32 and 33: what posix_spawn of glibc starts ignores them for good, all of `make test` for one. */
static unsigned long long ignored(void)
{
    return strtoull(field("SigIgn"), NULL, 16) & ~(3ull << 31);
}

CASE(status_fields)
{
    const char *names[] = {"Name", "Umask", "State", "TracerPid", "Uid", "Gid", "FDSize", "Groups", "Threads", "SigQ", "SigPnd", "ShdPnd",
                           "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp", "CapEff"};
    prctl(PR_SET_NAME, "with space\\x");
    umask(0123);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(names[i], "SigQ") || !strcmp(names[i], "FDSize") || !strcmp(names[i], "CapEff")) { IS(strcmp(field(names[i]), "absent") != 0); continue; }
        if (!strcmp(names[i], "Groups")) continue;
        if (!strcmp(names[i], "SigIgn")) { say("SigIgn %llx", ignored()); continue; }
        say("%s %s", names[i], field(names[i]));
    }
    IS(atoi(field("Pid")) == getpid());
    IS(atoi(field("Tgid")) == getpid());
    IS(atoi(field("PPid")) == getppid());
    IS(atoi(field("VmSize")) > 0 && atoi(field("VmRSS")) > 0);
    handle(SIGUSR1, tell, 0), handle(SIGHUP, SIG_IGN, 0);
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGRTMAX);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR2);
    kill(getpid(), SIGUSR2);
    say("blk %s", field("SigBlk"));
    say("ign %llx", ignored());
    say("cgt %s", field("SigCgt"));
    say("pnd %s", field("SigPnd"));
    say("shd %s", field("ShdPnd"));
}

CASE(stat_fields)
{
    prctl(PR_SET_NAME, "a) b (c");
    char *s = slurp("/proc/self/stat"), *end = strrchr(s, ')');
    int pid = 0, ppid, pgrp, session, count = 0;
    char state;
    sscanf(s, "%d", &pid);
    *end = 0;
    say("name %s", strchr(s, '('));
    sscanf(end + 1, " %c %d %d %d", &state, &ppid, &pgrp, &session);
    for (char *word = strtok(end + 1, " \n"); word; word = strtok(NULL, " \n")) count++;
    say("state %c and %d fields after the name", state, count);
    IS(pid == getpid() && ppid == getppid() && pgrp == getpgrp() && session == getsid(0));
    int n = 0;
    for (char *word = strtok(slurp("/proc/self/statm"), " \n"); word; word = strtok(NULL, " \n")) n++;
    T(n);
}

CASE(comm_and_cmdline)
{
    say("%s", slurp("/proc/self/comm"));
    int fd = open("/proc/self/comm", O_WRONLY);
    T(write(fd, "renamed-by-writing", 18));
    char name[17] = {0};
    prctl(PR_GET_NAME, name);
    say("%s", name);
    char *s = slurp("/proc/self/cmdline");
    IS(strcmp(strrchr(s, '/'), "/procfs") == 0);
    say("second argument %s", s + strlen(s) + 1);
    T(access("/proc/self/environ", R_OK));
}

CASE(links)
{
    char b[4096], cwd[4096];
    getcwd(cwd, sizeof cwd);
#define LINK(PATH) (memset(b, 0, sizeof b), readlink(PATH, b, sizeof b - 1) < 0 ? errno_name(errno) : b)
    IS(strcmp(LINK("/proc/self/cwd"), cwd) == 0);
    say("root %s", LINK("/proc/self/root"));
    IS(strcmp(strrchr(LINK("/proc/self/exe"), '/'), "/procfs") == 0);
    IS(atoi(LINK("/proc/self")) == getpid());
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    IS(strcmp(LINK("/proc/self/fd/3"), strcat(cwd, "/a")) == 0);
    unlink("a");
    say("%s", strrchr(LINK("/proc/self/fd/3"), '/'));
    int p[2];
    pipe(p);
    say("%.6s", LINK("/proc/self/fd/4"));
    say("%s", LINK("/proc/self/fd/99"));
    T(access("/proc/self/fd/3", F_OK));
    T(open("/proc/self/cwd/", O_RDONLY | O_DIRECTORY));
    T(open("/proc/self/exe", O_RDONLY));
    T(open("/proc/self/root/dev/null", O_RDONLY));
    T(open("/proc/self/fd/3", O_RDONLY));
    T(lseek(fd, 0, SEEK_CUR));
    struct stat a, l;
    stat("/proc/self/fd/4", &a), lstat("/proc/self/fd/4", &l);
    say("%o %o", a.st_mode & S_IFMT, l.st_mode);
    CHILD setuid(1000); say("%s", LINK("/proc/1/exe")); T(access("/proc/1/environ", R_OK)); REAPED
}

static int by_number(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

CASE(fd_directory)
{
    int numbers[32], n = 0;
    close(5);
    dup2(0, 9);
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e; (e = readdir(dir));) if (e->d_name[0] != '.' && n < 32) numbers[n++] = atoi(e->d_name);
    qsort(numbers, (size_t)n, sizeof *numbers, by_number);
    char line[256] = "";
    for (int i = 0; i < n; i++) snprintf(line + strlen(line), 16, " %d", numbers[i]);
    say("%s", line);
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    char *s = slurp(path);
    IS(strncmp(s, "pos:\t0\nflags:\t", 14) == 0);
}

static void shape(char *line)
{
    char range[64], protection[8], offset[32], device[16], name[4096] = "";
    unsigned long inode;
    if (sscanf(line, "%63s %7s %31s %15s %lu %4095[^\n]", range, protection, offset, device, &inode, name) < 5) { say("odd line %s", line); return; }
    char *base = strrchr(name, '/');
    say("%s %s %s", protection, base ? base : name, inode ? "inode" : "0");
}

CASE(maps_shape)
{
    char *copy = strdup(slurp("/proc/self/maps"));
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) if (!strstr(line, "[vvar") ) shape(line);
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    ftruncate(fd, 8192);
    char *m = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    char key[32];
    snprintf(key, sizeof key, "%08lx-", (unsigned long)m);
    char *found = strstr(slurp("/proc/self/maps"), key);
    if (found) { *strchr(found, '\n') = 0; shape(found); } else say("not listed");
    mprotect(m + 4096, 4096, PROT_NONE);
    found = strstr(slurp("/proc/self/maps"), key);
    if (found) { strtok(strchr(found, '\n') + 1, "\n"); *strchr(found, '\n') = 0; shape(found); }
    unlink("a");
    found = strstr(slurp("/proc/self/maps"), "(deleted)");
    IS(found != NULL);
}

CASE(own_memory)
{
    static char word[8] = "memory";
    char b[8] = {0};
    int fd = open("/proc/self/mem", O_RDWR);
    T(pread(fd, b, 7, (off_t)(uintptr_t)word));
    say("%s", b);
    T(pwrite(fd, "M", 1, (off_t)(uintptr_t)word));
    say("%s", word);
    T(pread(fd, b, 7, 8));
}

CASE(system_files)
{
    IS(strstr(slurp("/proc/meminfo"), "MemTotal:") == text);
    IS(strstr(text, "MemAvailable:") && strstr(text, "SwapTotal:"));
    IS(strncmp(slurp("/proc/cpuinfo"), "processor\t: 0\n", 14) == 0);
    IS(strstr(text, "model name") && strstr(text, "flags"));
    IS(strncmp(slurp("/proc/stat"), "cpu  ", 5) == 0);
    IS(strstr(text, "\nbtime ") && strstr(text, "\nprocesses "));
    IS(strncmp(slurp("/proc/version"), "Linux version ", 14) == 0);
    IS(atof(slurp("/proc/uptime")) > 0);
    double a, b, c;
    IS(sscanf(slurp("/proc/loadavg"), "%lf %lf %lf", &a, &b, &c) == 3);
    IS(strstr(slurp("/proc/mounts"), " /proc proc ") != NULL);
    IS(strstr(slurp("/proc/self/mountinfo"), " /proc ") != NULL);
    IS(strstr(slurp("/proc/filesystems"), "proc") != NULL);
    IS(strncmp(slurp("/proc/sys/kernel/ostype"), "Linux\n", 6) == 0);
    IS(atoi(slurp("/proc/sys/kernel/pid_max")) > 1000);
    IS(strlen(slurp("/proc/sys/kernel/random/boot_id")) == 37);
    IS(strlen(slurp("/proc/sys/kernel/hostname")) > 1);
    IS(atoi(slurp("/proc/sys/vm/overcommit_memory")) <= 2);
    say("%s", slurp("/proc/none"));
    say("%s", slurp("/proc/999999999/status"));
    T(open("/proc/new", O_CREAT | O_WRONLY, 0600));
    T(mkdir("/proc/dir", 0700));
    T(unlink("/proc/version"));
}

CASE(other_processes)
{
    char path[64];
    pid_t pid = fork();
    if (pid == 0) { prctl(PR_SET_NAME, "the-child"); for (;;) pause(); }
    pause_ms(20);
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    say("%s", slurp(path));
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    say("state %c", *(strrchr(slurp(path), ')') + 2));
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    say("state %c", *(strrchr(slurp(path), ')') + 2));
    kill(pid, SIGKILL);
    pause_ms(20);
    say("state %c", *(strrchr(slurp(path), ')') + 2));
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    say("command line \"%s\"", slurp(path));
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    struct stat st;
    T(stat(path, &st));
    reap(pid);
    T(stat(path, &st));
    int n = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *e; (e = readdir(dir));) n += atoi(e->d_name) == getpid();
    say("listed %d time", n);
}

CASE(tasks)
{
    int n = 0;
    say("threads %s", field("Threads"));
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(dir));) if (e->d_name[0] != '.') n++;
    say("tasks %d", n);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", getpid());
    say("%s", slurp(path));
    char b[64] = {0};
    readlink("/proc/thread-self", b, 63);
    IS(strstr(b, "/task/") != NULL);
    T(access("/proc/self/task/1", F_OK));
}

CASE(limits_file)
{
    char *s = slurp("/proc/self/limits");
    IS(strncmp(s, "Limit                     Soft Limit           Hard Limit           Units     \n", 79) == 0);
    char *line = strstr(s, "Max core file size");
    IS(line != NULL);
    int n = 0;
    for (char *q = s; *q; q++) n += *q == '\n';
    T(n);
}

CASE(small_reads_and_seeks)
{
    char a[64] = {0}, b[64] = {0};
    int fd = open("/proc/self/status", O_RDONLY);
    T(read(fd, a, 5));
    T(read(fd, a + 5, 3));
    T(lseek(fd, 0, SEEK_SET));
    T(read(fd, b, 8));
    IS(memcmp(a, b, 8) == 0);
    T(pread(fd, b, 3, 2));
    say("%.3s", b);
    struct stat st;
    fstat(fd, &st);
    say("%o size %ld", st.st_mode, (long)st.st_size);
    T(write(fd, "x", 1));
    T(open("/proc/self/status", O_WRONLY));
}
