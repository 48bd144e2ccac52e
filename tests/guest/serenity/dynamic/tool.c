/* Small tools in one program, as a user's: tied to libc.so, which is tied to libsystem.so.  `tool echo a b`, `cat`, `ls DIR`,
 * `pipeline DIR` (a shell's work), `threads`, `memory`, `whoami`, `clock`, `signals`, `abort`, `terminal`, `veiled` (pledges, unveils,
 * and starts another program), `where` (what it is told of paths).
 */
#define BY_LOADER
#include "sy.h"
#include "libc.h"

enum { PAGE = 4096, BLOCK = 65536, THREADS = 4, ROUNDS = 200 };
static const char *own_path;
static u32 mutex;
static int total;
static __thread int mine;
static volatile int taken;
static char alternate[32768] __attribute__((aligned(4096)));

static int cat(const char *path)
{
    i64 fd = path ? check(open_file(path, O_RDONLY, 0)) : 0;
    char *buffer = allocate(8192);
    if (fd < 0) return 1;
    for (i64 n; (n = check(CALL3(SC_read, fd, buffer, 8192))) > 0;)
        if (check(CALL3(SC_write, 1, buffer, n)) < 0) return 1;
    return 0;
}
static int list(const char *path)
{
    struct directory *found = open_directory(path);
    if (!found) { print("errno "), print_number(errno_storage), print("\n"); return 1; }
    for (const char *name; (name = next_entry(found));)
        if (name[0] != '.') print(name), print("\n");
    CALL1(SC_close, found->fd);
    return 0;
}
/* `ls DIR | cat`: a pipe that closes at exec, two children in a group of their own, both waited for. */
static int pipeline(char *directory)
{
    i32 fds[2];
    char *first[] = {"tool", "ls", directory, NULL}, *second[] = {"tool", "cat", NULL};
    if (check(CALL2(SC_pipe, fds, O_CLOEXEC)) < 0) return 2;
    i64 one = spawn(own_path, first, -1, -1, fds[1]), two = spawn(own_path, second, fds[0], -1, -1);
    if (check(CALL2(SC_setpgid, one, one)) < 0 && errno_storage != EPERM) return 3;
    CALL1(SC_close, fds[0]), CALL1(SC_close, fds[1]);
    int status = wait_for(one);
    return status ? status : wait_for(two);
}

static void *work(void *argument)
{
    for (int n = 0; n < ROUNDS; n++) {
        lock(&mutex);
        total++, mine++;
        unlock(&mutex);
        if (!(n % 50)) CALL0(SC_yield);
    }
    if (own_tid() == (int)CALL0(SC_getpid)) fail("a thread that is the process");
    return (void *)(word)(mine + (int)(word)argument);
}
static int threads(void)
{
    int tids[THREADS];
    for (word n = 0; n < THREADS; n++)
        if (start_thread(&tids[n], work, (void *)n)) return 2;
    for (int n = 0; n < THREADS; n++) {
        void *value;
        if (join_thread(tids[n], &value) || (int)(word)value != ROUNDS + n) return 3;
    }
    print_number(total), print(" "), print_number(mine), print("\n");
    return 0;
}

static int memory(void)
{
    char *big = allocate_big();
    if ((word)big & (BLOCK - 1)) return 2;
    memset(big, 7, BLOCK);
    release_big(big);
    if (allocate_big() != big) return 3;
    if (big[0] != 7 && big[0] != 0) return 4;           /* kept, or purged: never something else */
    static const u8 code[] = {0x0f, 0x05, 0xc3};
    memcpy(big, code, sizeof code);
    if (CALL3(SC_mprotect, big, BLOCK, PROT_READ | PROT_EXEC) != -EINVAL) return 5;
    print("memory\n");
    return 0;
}

static void take(int signo, struct siginfo *info, void *context)
{
    (void)info, (void)context;
    taken = signo;
    CALL0(SC_getpid);                                   /* from libsystem.so, from a handler */
}
__attribute__((noinline)) static int dive(volatile char *above) { volatile char here[512]; here[0] = above[0]; return dive(here) + here[0]; }
static void surface(int signo, struct siginfo *info, void *context)
{
    (void)info, (void)context;
    print(signo == SIGSEGV ? "surfaced\n" : "?\n");
    quit(0);
}
static int signals(void)
{
    struct { void *handler; u32 mask; i32 flags; } action = {take, 0, 4}, deep = {surface, 0, 0x08000000 | 4};
    struct { void *sp; i32 flags; word size; } stack = {alternate, 0, sizeof alternate};
    if (check(CALL3(SC_sigaction, 12, &action, NULL)) < 0 || check(CALL2(SC_kill, CALL0(SC_getpid), 12)) < 0) return 2;
    if (taken != 12) return 3;
    if (CALL2(SC_sigaltstack, &stack, NULL) != -EPERM && errno_storage) return 4;
    stack.sp = (char *)allocate_big() + PAGE;           /* data of a program is no place for a stack: not mmap's would be EPERM */
    if (check(CALL2(SC_sigaltstack, &stack, NULL)) < 0 || check(CALL3(SC_sigaction, SIGSEGV, &deep, NULL)) < 0) return 5;
    volatile char top = 0;
    return dive(&top);
}

static int terminal(void)
{
    u32 settings[14];
    struct { u16 rows, columns, x, y; } size;
    i64 tty = check(CALL3(SC_fcntl, 0, 5, 0));
    print_number(tty), print(" "), print_number(check(CALL3(SC_ioctl, 0, 2, settings)) < 0 ? -errno_storage : 0);
    if (tty) {
        CALL3(SC_ioctl, 0, 7, &size);
        print(" "), print_number(size.columns);
        settings[3] &= ~(u32)010;                       /* no echo, and as it was: getpass */
        print(" "), print_number(CALL3(SC_ioctl, 0, 5, settings));
        settings[3] |= 010;
        print(" "), print_number(CALL3(SC_ioctl, 0, 5, settings));
    }
    print("\n");
    return 0;
}

/* What most programs begin with: promises, the paths they need, the loader for those they start, and no more of either. */
static int veiled(void)
{
    char *child[] = {"tool", "whoami", NULL};
    if (check(pledge("stdio rpath proc exec unix", NULL)) < 0 || check(unveil("/etc/passwd", "r")) < 0) return 2;
    if (check(unveil("/usr/lib/Loader.so", "x")) < 0 || check(unveil(own_path, "x")) < 0) return 3;
    if (check(unveil("/etc/shadow-that-is-not-there", "r")) >= 0 || errno_storage != ENOENT) return 4;
    if (check(unveil(NULL, NULL)) < 0 || check(unveil("/", "r")) >= 0 || errno_storage != EPERM) return 5;
    print(user_name((u32)CALL0(SC_getuid))), print("\n"), flush();
    if (open_file("/etc/passwd", O_EXEC, 0) != -EACCES) return 6;
    if (open_file("/etc/group", O_RDONLY, 0) != -ENOENT || open_file("/usr/lib/libc.so", O_RDONLY, 0) != -ENOENT) return 7;
    if (open_file("/usr/lib/Loader.so", O_RDONLY, 0) != -EACCES || open_file("/usr/lib/../lib/libc.so", O_RDONLY, 0) != -ENOENT) return 8;
    return wait_for(spawn(own_path, child, -1, -1, -1));            /* whose veil is gone: it finds its libraries */
}

/* The names of files below the place where they are looked for first: those by which they are found. */
static int where(void)
{
    struct { struct string path; char *buffer; word size; } real = {string("/bin/../usr/lib/libc.so"), allocate(256), 256};
    char *here = allocate(256);
    if (check(CALL1(SC_realpath, &real)) < 0 || check(CALL2(SC_chdir, "/usr/lib", 8)) < 0) return 2;
    if (check(CALL2(SC_getcwd, here, 256)) != 9) return 3;
    print(own_path), print(" "), print(real.buffer), print(" "), print(here);
    if (check(CALL2(SC_chdir, "../..", 5)) < 0 || check(CALL2(SC_getcwd, here, 256)) != 2) return 4;
    print(" "), print(here), print("\n");
    return 0;
}

static int run(int argc, char **argv, char **envp)
{
    const char *what = argc > 1 ? argv[1] : "true";
    own_path = (const char *)aux(AT_EXECFN)->value;
    if (environ != envp) return 9;
    int status = 0;
    if (same(what, "echo")) for (int n = 2; n < argc; n++) print(argv[n]), print(n + 1 < argc ? " " : "\n");
    else if (same(what, "cat")) status = cat(argc > 2 ? argv[2] : NULL);
    else if (same(what, "ls")) status = list(argc > 2 ? argv[2] : ".");
    else if (same(what, "pipeline")) status = pipeline(argc > 2 ? argv[2] : ".");
    else if (same(what, "threads")) status = threads();
    else if (same(what, "memory")) status = memory();
    else if (same(what, "signals")) status = signals();
    else if (same(what, "terminal")) status = terminal();
    else if (same(what, "veiled")) status = veiled();
    else if (same(what, "where")) status = where();
    else if (same(what, "abort")) fail("ASSERTION FAILED: false");
    else if (same(what, "whoami")) {
        const char *name = user_name((u32)CALL0(SC_getuid));
        print(name ? name : "?"), print("\n");
    } else if (same(what, "clock")) {
        i64 coarse = now(4), then = coarse;
        for (int n = 0; n < 100000000 && then == coarse; n++) then = now(4);
        print(then > coarse && then - coarse < 10000 && now(3) > 1600000000000 ? "ticks\n" : "stands still\n");
    }
    quit(status);
}
