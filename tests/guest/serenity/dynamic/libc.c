/* libc.so in small: what SerenityOS's LibC asks of the kernel behind the functions that every program uses, with its sizes, flags and
 * orders.  Nothing here makes a call itself: that is libsystem.so's.
 */
#define LIBRARY
#define BY_LOADER
#include "sy.h"
#include "libc.h"

enum { BLOCK = 65536, PAGE = 4096, FD_CLOEXEC = 1, F_DUPFD = 0, F_ISTTY = 5, STACK_ALIGNMENT = 4 << 20 };
enum { PURGEABLE_BLOCK = MAP_ANONYMOUS | MAP_PRIVATE | MAP_PURGEABLE | MAP_RANDOMIZED, SET_VOLATILE = 1, SET_NONVOLATILE = 2 };
enum { FUTEX_WAIT = 1, FUTEX_WAKE = 2, FUTEX_PRIVATE = 0x200 };

char **environ;
word __stack_chk_guard;
__thread int errno_storage;
static __thread void *stack_location;
static __thread word stack_size;
static __thread int cached_tid;
static char out[4096];
static word out_used;
static int out_mode = -1;

i64 check(i64 rc)               /* __RETURN_WITH_ERRNO: an int */
{
    int result = (int)rc;
    if (result < 0) { errno_storage = -result; return -1; }
    return result;
}

/* --- memory: one block of 64 KiB after the other; blocks that are given back are kept, empty */
static char *block, *cold;
static word used = BLOCK;
static char *os_alloc(word size, const char *name)
{
    struct mmap_params params = {NULL, size, BLOCK, PROT_READ | PROT_WRITE, PURGEABLE_BLOCK, 0, 0, string(name)};
    i64 found = CALL1(SC_mmap, &params);
    if (found < 0 && found > -83) fail("malloc");
    return (char *)found;
}
void *allocate(word size)
{
    size = (size + 15) & ~15ul;
    if (used + size > BLOCK) block = os_alloc(BLOCK, "malloc: ChunkedBlock(64)"), used = 64;
    used += size;
    return block + used - size;
}
void *allocate_big(void)
{
    if (!cold) return os_alloc(BLOCK, "malloc: BigAllocationBlock");
    char *found = cold;
    cold = NULL;
    if (CALL3(SC_madvise, found, BLOCK, SET_NONVOLATILE) < 0 || CALL3(SC_mprotect, found, BLOCK, PROT_READ | PROT_WRITE)) fail("madvise");
    return found;
}
void release_big(void *found)
{
    if (CALL3(SC_mprotect, found, BLOCK, PROT_NONE) || CALL3(SC_madvise, found, BLOCK, SET_VOLATILE)) fail("mprotect");
    cold = found;
}

/* --- stdio: standard output is buffered by lines for a terminal, whole for all else */
void flush(void)
{
    for (word done = 0; done < out_used;) {
        i64 rc = check(CALL3(SC_write, 1, out + done, out_used - done));
        if (rc < 0) break;
        done += (word)rc;
    }
    out_used = 0;
}
void print(const char *text)
{
    if (out_mode < 0) out_mode = check(CALL3(SC_fcntl, 1, F_ISTTY, 0)) > 0;
    for (; *text; text++) {
        if (out_used == sizeof out) flush();
        out[out_used++] = *text;
        if (*text == '\n' && out_mode) flush();
    }
}
void print_number(i64 n)
{
    char digits[24];
    int at = 23;
    digits[at] = 0;
    u64 rest = n < 0 ? (u64)-n : (u64)n;
    do digits[--at] = (char)('0' + (int)(rest % 10)), rest /= 10; while (rest);
    if (n < 0) digits[--at] = '-';
    print(digits + at);
}
void quit(int status)
{
    i64 none = 0;
    flush();
    check(CALL3(SC_lseek, 0, &none, 1));        /* where standard input is given back what was read of it in advance */
    leave(status);
}
void fail(const char *what)                     /* an assertion: the kernel's log, a core's properties, SIGABRT */
{
    struct { struct string key, value; } params = {string("assertion"), string(what)};
    char name[64] = "?";
    CALL2(SC_get_process_name, name, sizeof name);
    CALL2(SC_dbgputstr, what, length(what));
    CALL1(SC_set_coredump_metadata, &params);
    CALL2(SC_kill, CALL0(SC_getpid), SIGABRT);
    for (;;) leave(127);
}

/* --- directories: told whole, into a buffer that is made larger until they fit */
struct directory *open_directory(const char *path)
{
    i64 fd = check(open_file(path, O_RDONLY | O_DIRECTORY, 0));
    if (fd < 0) return NULL;
    struct directory *found = allocate(sizeof *found);
    struct stat st;
    *found = (struct directory){(int)fd, NULL, 0, 0};
    if (check(CALL2(SC_fstat, fd, &st))) return NULL;
    word room = (word)st.size > 64 ? (word)st.size : 64;
    for (;; room *= 2) {
        found->buffer = room > 4096 ? os_alloc(room, "malloc: BigAllocationBlock") : allocate(room);
        i64 rc = CALL3(SC_get_dir_entries, fd, found->buffer, room);
        if (rc >= 0) { found->size = (word)rc; return found; }
        if (rc != -EINVAL) return NULL;
    }
}
const char *next_entry(struct directory *found)
{
    if (found->at >= found->size) return NULL;
    u8 *entry = (u8 *)found->buffer + found->at;
    u32 n;
    memcpy(&n, entry + 9, 4);
    char *name = allocate(n + 1);
    memcpy(name, entry + 13, n);
    name[n] = 0, found->at += 13 + n;
    return name;
}

/* --- who one is: a line of /etc/passwd */
const char *user_name(u32 uid)
{
    i64 fd = check(open_file("/etc/passwd", O_RDONLY, 0));
    if (fd < 0) return NULL;
    char *text = allocate(8192);
    i64 n = check(CALL3(SC_read, fd, text, 8191));
    CALL1(SC_close, fd);
    text[n < 0 ? 0 : n] = 0;
    for (char *line = text; *line;) {
        char *end = line, *third = line;
        while (*end && *end != '\n') end++;
        for (int colons = 0; *third && colons < 2; third++) colons += *third == ':';
        u32 found = 0;
        while (*third >= '0' && *third <= '9') found = found * 10 + (u32)(*third++ - '0');
        if (found == uid && *third == ':') {
            char *colon = line;
            while (*colon != ':') colon++;
            *colon = 0;
            return line;
        }
        line = *end ? end + 1 : end;
    }
    return NULL;
}

/* --- time: the coarse clocks are read from a page */
i64 now(int clock)
{
    static volatile u8 *page;
    i64 time[2];
    if (!page) {
        i64 rc = CALL0(SC_map_time_page);
        if ((int)rc < 0 && (int)rc > -83) fail("map_time_page");
        page = (u8 *)rc;
    }
    u32 before;
    do {
        before = *(volatile u32 *)page;
        memcpy(time, (u8 *)page + 8 + 16 * clock, 16);
    } while (before != *(volatile u32 *)(page + 88));
    return time[0] * 1000 + time[1] / 1000000;
}

/* --- threads: a stack with a guard, the function and its argument in registers */
int own_tid(void)
{
    if (!cached_tid) cached_tid = (int)CALL0(SC_gettid);
    return cached_tid;
}
static void *thread_main(void *(*routine)(void *), void *argument, void *location, word size)
{
    stack_location = location, stack_size = size;
    void *value = routine(argument);
    CALL3(SC_exit_thread, value, stack_location, stack_size);
    fail("exit_thread");
    return NULL;
}
int start_thread(int *thread, void *(*routine)(void *), void *argument)
{
    struct { u32 detached; i32 priority; u32 guard, reported_guard, stack_size; void *stack, *rdi, *rsi, *rcx, *rdx; } params;
    params.detached = 0, params.priority = 30, params.guard = PAGE, params.reported_guard = PAGE, params.stack_size = STACK_ALIGNMENT;
    struct mmap_params stack = {
        NULL, STACK_ALIGNMENT + PAGE, 0, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, 0, 0, string("Thread stack"),
    };
    i64 memory = CALL1(SC_mmap, &stack);
    if (memory < 0 && memory > -83) return (int)-memory;
    if (CALL3(SC_mprotect, memory + PAGE, STACK_ALIGNMENT, PROT_READ | PROT_WRITE)) fail("mprotect of a stack");
    params.stack = (void *)(memory + PAGE);
    params.stack_size -= 8;                     /* a return address that is none */
    params.rdi = (void *)routine, params.rsi = argument, params.rdx = params.stack, params.rcx = (void *)(word)params.stack_size;
    i64 rc = CALL2(SC_create_thread, thread_main, &params);
    if (rc >= 0) *thread = (int)rc;
    return rc < 0 ? (int)-rc : 0;
}
int join_thread(int thread, void **value) { return (int)-CALL2(SC_join_thread, thread, value); }
static i64 futex(u32 *word_, int op, u32 value)
{
    struct { u32 *address; i32 op; u32 value; void *timeout; u32 *address2; u32 value3; } params = {word_, op, value, NULL, NULL, 0};
    return CALL1(SC_futex, &params);
}
void lock(u32 *mutex)
{
    u32 free = 0;
    if (__atomic_compare_exchange_n(mutex, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
    while (__atomic_exchange_n(mutex, 2, __ATOMIC_ACQUIRE)) futex(mutex, FUTEX_WAIT | FUTEX_PRIVATE, 2);
}
void unlock(u32 *mutex)
{
    if (__atomic_exchange_n(mutex, 0, __ATOMIC_RELEASE) == 2) futex(mutex, FUTEX_WAKE | FUTEX_PRIVATE, 1);
}

/* --- processes */
i64 spawn(const char *path, char **argv, int in, int more, int to)      /* fork, the file actions, execve */
{
    i64 pid = check(CALL0(SC_fork));
    if (pid) return pid;
    cached_tid = 0;
    if (in >= 0 && (check(CALL2(SC_dup2, in, 0)) < 0 || check(CALL1(SC_close, in)) < 0)) leave(127);
    if (to >= 0 && (check(CALL2(SC_dup2, to, 1)) < 0 || check(CALL1(SC_close, to)) < 0)) leave(127);
    if (more >= 0 && check(CALL1(SC_close, more)) < 0) leave(127);
    struct string arguments[8], variables[64];
    struct execve_params params = {string(path), {arguments, 0}, {variables, 0}};
    while (argv[params.arguments.count] && params.arguments.count < 8)
        arguments[params.arguments.count] = string(argv[params.arguments.count]), params.arguments.count++;
    while (environ[params.environment.count] && params.environment.count < 64)
        variables[params.environment.count] = string(environ[params.environment.count]), params.environment.count++;
    errno_storage = (int)-CALL1(SC_execve, &params);
    leave(127);
}
int wait_for(i64 pid)                           /* waitpid: the status it would tell */
{
    struct siginfo info;
    struct waitid_params params = {pid < 0 ? 1 : 2, (i32)pid, &info, 4};
    if (check(CALL1(SC_waitid, &params)) < 0) return -1;
    return info.code == 0 ? info.status << 8 : info.status;
}

void __libc_init(void)
{
    if (CALL0(SC_emuctl) != -ENOSYS) fail("an emulator");
    allocate(16);
}
