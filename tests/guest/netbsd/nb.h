/* A NetBSD program without a C library: start code, calls by hand, and cases that report what came of them.
 *
 * Everything a program is told at its start comes through one register (amd64 and i386: rbx/ebx holds ps_strings).  A call gives both
 * its result words and whether the carry flag was set.  CHECK(condition) prints one line: "ok" or "FAILED" with its text; a program
 * ends with status 0 when all held.  Built by build.py of this folder for amd64 and, where a source says so, i386.
 */
#ifndef NB_H
#define NB_H

typedef unsigned long word;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef unsigned long long u64;
typedef long long i64;
#define NULL ((void *)0)

struct ps_strings { char **argv; int argc; char **envp; int envc; };
static struct ps_strings *start_strings;

/* The note that makes it a NetBSD program: 24 bytes, built for 9.3. */
__attribute__((section(".note.netbsd.ident"), used, aligned(4))) static const struct {
    u32 namesz, descsz, type; char name[8]; u32 version;
} netbsd_note = {7, 4, 1, "NetBSD\0", 903000000};

struct result { word value, second; int carry; };

#ifdef __x86_64__
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rbx, %rdi\n\tmov %rsp, %rsi\n\tand $-16, %rsp\n\tcall begin\n\thlt\n");

static inline struct result call7(word number, word a, word b, word c, word d, word e, word f, word g)
{
    struct result r;
    u8 carry;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = f;
    word first = number, second = c;
    /* Below the red zone, a return address and the seventh argument, as a C function's call would leave them. */
    __asm__ volatile("sub $256, %%rsp\n\tmov %[g], 8(%%rsp)\n\tsyscall\n\tlea 256(%%rsp), %%rsp\n\tsetc %[carry]"
                     : "+a"(first), "+d"(second), [carry] "=r"(carry), "+r"(r10), "+r"(r8), "+r"(r9)
                     : "D"(a), "S"(b), [g] "r"(g)
                     : "rcx", "r11", "memory", "cc");
    r.value = first; r.second = second; r.carry = carry;
    return r;
}
#else
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %esp, %eax\n\tand $-16, %esp\n\tsub $8, %esp\n\tpush %eax\n\tpush %ebx\n\tcall begin\n\thlt\n");

#define INT80 "push %%ebp\n\tmov %%esp, %%ebp\n\tsub $36, %%esp\n\tmov %%esp, %%edi\n\tmov $9, %%ecx\n\tcld\n\trep movsl\n\tint $0x80\n\t" \
              "mov %%ebp, %%esp\n\tpop %%ebp\n\tsetc %%cl"

/* Arguments on the stack above a return address. */
static inline struct result call7(word number, word a, word b, word c, word d, word e, word f, word g)
{
    struct result r;
    word args[9] = {0, a, b, c, d, e, f, g, 0};       /* the last: the upper half of an offset that comes seventh */
    word first = number, second, count, *from = args;
    __asm__ volatile(INT80 : "+a"(first), "=d"(second), "=c"(count), "+S"(from) : : "edi", "memory", "cc");
    r.value = first; r.second = second; r.carry = (u8)count;
    return r;
}
#endif

#define CALL0(n) call7(n, 0, 0, 0, 0, 0, 0, 0)
#define CALL1(n, a) call7(n, (word)(a), 0, 0, 0, 0, 0, 0)
#define CALL2(n, a, b) call7(n, (word)(a), (word)(b), 0, 0, 0, 0, 0)
#define CALL3(n, a, b, c) call7(n, (word)(a), (word)(b), (word)(c), 0, 0, 0, 0)
#define CALL4(n, a, b, c, d) call7(n, (word)(a), (word)(b), (word)(c), (word)(d), 0, 0, 0)
#define CALL5(n, a, b, c, d, e) call7(n, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e), 0, 0)
#define CALL6(n, a, b, c, d, e, f) call7(n, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e), (word)(f), 0)
#define CALL7(n, a, b, c, d, e, f, g) call7(n, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e), (word)(f), (word)(g))

enum {
    SYS_syscall = 0, SYS_exit = 1, SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6, SYS_break = 17,
    SYS_getpid = 20, SYS_getuid = 24, SYS_kill = 37, SYS_getppid = 39, SYS_pipe = 42, SYS_getgid = 47, SYS_execve = 59,
    SYS_munmap = 73, SYS_mprotect = 74, SYS_madvise = 75, SYS_sysarch = 165, SYS_mmap = 197, SYS___syscall = 198, SYS_lseek = 199,
    SYS_sigqueueinfo = 245, SYS_minherit = 273, SYS_sigaltstack = 281, SYS_vfork = 282, SYS_clone = 287, SYS_sigpending = 292,
    SYS_sigprocmask = 293, SYS_sigsuspend = 294, SYS_issetugid = 305, SYS_getcontext = 307, SYS_setcontext = 308, SYS_lwp_create = 309,
    SYS_lwp_exit = 310, SYS_lwp_self = 311, SYS_lwp_wait = 312, SYS_lwp_suspend = 313, SYS_lwp_continue = 314,
    SYS_lwp_getprivate = 316, SYS_lwp_setprivate = 317, SYS_lwp_kill = 318, SYS_lwp_detach = 319, SYS_lwp_unpark = 321,
    SYS_lwp_unpark_all = 322, SYS_lwp_setname = 323, SYS_lwp_getname = 324, SYS_lwp_ctl = 325, SYS_sigaction = 340, SYS_rasctl = 343,
    SYS_sched_setparam = 346, SYS_sched_getparam = 347, SYS_sched_yield = 350, SYS_mremap = 411, SYS_nanosleep = 430,
    SYS_sigtimedwait = 431, SYS_wait4 = 449, SYS_posix_spawn = 474, SYS_lwp_park = 478,
};

enum {
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, ENOEXEC = 8, EBADF = 9, EDEADLK = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14,
    ENODEV = 19, ENOTDIR = 20, EINVAL = 22, EFBIG = 27, EAGAIN = 35, EALREADY = 37, EOPNOTSUPP = 45, ETIMEDOUT = 60, ENOSYS = 78,
    EOVERFLOW = 84,
};

enum {
    SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGFPE = 8, SIGKILL = 9, SIGBUS = 10, SIGSEGV = 11, SIGSYS = 12, SIGPIPE = 13, SIGALRM = 14,
    SIGTERM = 15, SIGURG = 16, SIGSTOP = 17, SIGCONT = 19, SIGCHLD = 20, SIGIO = 23, SIGWINCH = 28, SIGINFO = 29, SIGUSR1 = 30,
    SIGUSR2 = 31, SIGPWR = 32, SIGRTMIN = 33,
};

/* No errno anywhere: a call either failed with a number or succeeded with a value. */
static int failed(struct result r, int number) { return r.carry && r.value == (word)number; }
static int gave(struct result r, word value) { return !r.carry && r.value == value; }

static word length(const char *s) { word n = 0; while (s[n]) n++; return n; }
static void put(const char *s) { CALL3(SYS_write, 1, s, length(s)); }
__attribute__((unused)) static int same(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return *a == *b; }
__attribute__((unused)) static void number(u64 n)
{
    char digits[24];
    int at = 23;
    digits[at] = 0;
    do digits[--at] = (char)('0' + (int)(n % 10)), n /= 10; while (n);
    put(digits + at);
}

/* The compiler calls these for copies and clears. */
__attribute__((used)) void *memset(void *to, int byte, word n)
{
    for (volatile u8 *p = to; n--;) *p++ = (u8)byte;
    return to;
}
__attribute__((used)) void *memcpy(void *to, const void *from, word n)
{
    volatile u8 *p = to;
    for (const u8 *q = from; n--;) *p++ = *q++;
    return to;
}

static int failures;
#define CHECK(condition) do { if (condition) put("ok " #condition "\n"); else put("FAILED " #condition "\n"), failures++; } while (0)

struct timespec { i64 seconds; word nanoseconds; };
struct sigset { u32 bits[4]; };
static const struct sigset nothing = {{0, 0, 0, 0}};
__attribute__((unused)) static struct sigset only(int signo)
{
    struct sigset set = nothing;
    set.bits[(signo - 1) >> 5] |= 1u << ((signo - 1) & 31);
    return set;
}
struct siginfo { int signo, code, error;
#ifdef __x86_64__
    int pad;
#endif
    union {
        struct { int pid; u32 uid; word value; } sent;
        struct { int pid; u32 uid; int status; u32 utime, stime; } child;
        struct { word addr; int trap, trap2, trap3; } fault;
        u8 room[
#ifdef __x86_64__
            112
#else
            116
#endif
        ];
    } reason;
};
struct sigaction { void *handler; struct sigset mask; int flags; };
enum { SA_ONSTACK = 1, SA_RESTART = 2, SA_RESETHAND = 4, SA_NODEFER = 0x10, SA_SIGINFO = 0x40 };
enum { SIG_BLOCK = 1, SIG_UNBLOCK = 2, SIG_SETMASK = 3 };
struct stack { word sp, size; int flags; };
enum { SS_ONSTACK = 1, SS_DISABLE = 4 };

#ifdef __x86_64__
struct ucontext { u32 flags; struct ucontext *link; struct sigset mask; struct stack stack; word reg[26], tls; u8 fp[512]; };
enum { RDI, RSI, RDX, RCX, R8, R9, R10, R11, R12, R13, R14, R15, RBP, RBX, RAX, GS, FS, ES, DS, TRAPNO, ERR, RIP, CS, RFLAGS, RSP, SS };
#else
struct ucontext { u32 flags; struct ucontext *link; struct sigset mask; struct stack stack; word reg[19]; u8 fp[644]; word tls; u32 pad[4]; };
enum { GS, FS, ES, DS, EDI, ESI, EBP, ESP, EBX, EDX, ECX, EAX, TRAPNO, ERR, RIP, CS, RFLAGS, RSP, SS };
#endif
enum { UC_SIGMASK = 1, UC_STACK = 2, UC_CPU = 4, UC_FPU = 8, UC_SETSTACK = 0x10000, UC_CLRSTACK = 0x20000, UC_TLSBASE = 0x80000 };

/* libc's way back from a handler: the context is in a register, setcontext never returns. */
#ifdef __x86_64__
__asm__("trampoline:\n\tmov %r15, %rdi\n\tmov $308, %eax\n\tsyscall\n\tmov $-1, %rdi\n\tmov $1, %eax\n\tsyscall\n");
#else
__asm__("trampoline:\n\tlea 8(%esp), %eax\n\tmov (%eax), %eax\n\tpush %eax\n\tpush %eax\n\tmov $308, %eax\n\tint $0x80\n\tmov $1, %eax\n\tint $0x80\n");
#endif
extern char trampoline[];

__attribute__((unused)) static struct result handle(int signo, void *handler, int flags)
{
    struct sigaction action = {handler, nothing, flags};
    return CALL5(SYS_sigaction, signo, &action, 0, trampoline, 2);
}

/* Exactly one of a program's cases: what it has to say. */
static int cases(int argc, char **argv);

__attribute__((noreturn)) static void leave(int status)
{
    CALL1(SYS_exit, status);
    for (;;) ;
}

__attribute__((used, noreturn)) void begin(struct ps_strings *strings, word *sp)
{
    (void)sp;
    start_strings = strings;
    int status = cases(strings->argc, strings->argv);
    leave(failures ? 1 : status);
}

__attribute__((unused)) static void nap(word nanoseconds)
{
    struct timespec pause = {0, nanoseconds};
    CALL2(SYS_nanosleep, &pause, 0);
}

/* Memory nobody else has. */
__attribute__((unused)) static void *fresh(word size)
{
    struct result r = CALL7(SYS_mmap, 0, size, 3, 0x1002, -1, 0, 0);
    return r.carry ? NULL : (void *)r.value;
}
#endif
