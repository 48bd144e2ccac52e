/* What is looked at before every call and at every fault, and what memory may never be (reference 1.15 to 1.17, 6.7, 6.8). */
#include "sy.h"

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)
#define FRESH (MAP_ANONYMOUS | MAP_PRIVATE)
#define COUNT_OF(a) ((int)(sizeof(a) / sizeof *(a)))

static const u8 code_bytes[] = {0x0f, 0x05, 0xc3};                  /* syscall; ret */
static i64 fresh(word size, int more) { return map(NULL, size, RW, FRESH | more, -1, 0); }
static i64 protect(i64 addr, word size, int prot) { return CALL3(SC_mprotect, addr, size, prot); }
static i64 annotate(i64 addr, int flags) { return CALL2(SC_annotate_mapping, addr, flags); }

/* Code that may be run: a file with it, mapped. */
static i64 code_file(void)
{
    i64 fd = open_file("code", O_RDWR | O_CREAT, 0700);
    static u8 page[PAGE];
    memcpy(page, code_bytes, sizeof code_bytes);
    CALL3(SC_write, fd, page, PAGE);
    return fd;
}

/* `number` made with another stack pointer; by the `syscall` at `from`, or by ours. */
static i64 with_stack(word sp, i64 from, word number, word argument)
{
    register word rdx __asm__("rdx") = argument;
    register word r12 __asm__("r12") = sp;
    register i64 r13 __asm__("r13") = from;
    i64 result = (i64)number;
    __asm__ volatile(
        "mov %%rsp, %%r14\n\tmov %%r12, %%rsp\n\ttest %%r13, %%r13\n\tjz 1f\n\tcall *%%r13\n\tjmp 2f\n1:\tsyscall\n2:\tmov %%r14, %%rsp"
        : "+a"(result) : "r"(rdx), "r"(r12), "r"(r13) : "rcx", "r11", "r14", "rdi", "rbx", "rsi", "memory");
    return result;
}
static i64 from(i64 code, word number) { word here; return with_stack(((word)&here - 512) & -16, code, number, 0); }

/* --- the stack pointer */
static i64 plain, stack;
static void call_from_stack_memory(void) { if (with_stack((word)stack + PAGE, 0, SC_getuid, 0) < 0) leave(9); }
static void call_from_plain_memory(void) { with_stack((word)plain + PAGE, 0, SC_getuid, 0); }
static void call_from_the_end(void) { with_stack((word)stack + 2 * PAGE, 0, SC_getuid, 0); }
static void call_from_nowhere(void) { with_stack(16, 0, SC_getuid, 0); }
static void call_from_the_kernel(void) { with_stack(0xffffffff80000000UL, 0, SC_getuid, 0); }
static void call_unknown(void) { with_stack((word)plain + PAGE, 0, 9999, 0); }
static void call_exit(void) { with_stack((word)plain + PAGE, 0, SC_exit, 5); }
static void fault_with(word sp) { __asm__ volatile("mov %0, %%rsp\n\tmovl $1, 8" :: "r"(sp)); }
static void fault_on_plain_memory(void) { fault_with((word)plain + PAGE); }
static void bus_on_plain_memory(void)
{
    i64 fd = open_file("nothing", O_RDWR | O_CREAT, 0600);
    i64 p = map(NULL, PAGE, RW, MAP_SHARED, (int)fd, 0);
    __asm__ volatile("mov %0, %%rsp\n\tmovl $1, (%1)" :: "r"(plain + (i64)PAGE), "r"(p));
}

static void stacks(void)
{
    plain = fresh(2 * PAGE, 0), stack = fresh(2 * PAGE, MAP_STACK);
    CHECK(in_child(call_from_stack_memory) == 256);
    CHECK(in_child(call_from_plain_memory) == SIGSEGV);
    CHECK(in_child(call_from_the_end) == SIGSEGV);
    CHECK(in_child(call_from_nowhere) == SIGSEGV);
    CHECK(in_child(call_from_the_kernel) == SIGSEGV);
    CHECK(in_child(call_unknown) == SIGSEGV);
    CHECK(in_child(call_exit) == SIGSEGV);
    CHECK(in_child(fault_on_plain_memory) == SIGSEGV);
    CHECK(in_child(bus_on_plain_memory) == SIGSEGV);
}

/* --- where the call comes from */
static i64 text;
static void call_from_writable(void)
{
    i64 fd = open_file("code", O_RDWR, 0);
    i64 view = map(NULL, PAGE, RX, MAP_SHARED, (int)fd, 0);         /* executable, and never writable itself */
    if (from(view, SC_getuid) < 0) leave(9);
    i64 p = fresh(PAGE, 0);                                         /* what no rule lets run: not executable either */
    memcpy((void *)p, code_bytes, sizeof code_bytes);
    from(p, SC_getuid);
}
static void enforced_here(void) { annotate(0, 1); CALL0(SC_getuid); }
static void enforced_elsewhere(void)
{
    if (annotate(text, 1) != 0 || annotate(0, 1) != 0) leave(9);
    if (from(text, SC_getuid) < 0) leave(8);
    if (from(text, 9999) != -ENOSYS) leave(7);
    with_stack((word)stack + PAGE, text, SC_exit, 3);
}
static void enforced_in_the_child(void)
{
    annotate(text, 1), annotate(0, 1);
    i64 child = with_stack((word)stack + PAGE, text, SC_fork, 0);
    if (child) {
        struct siginfo info;
        struct waitid_params params = {2, (i32)child, &info, 4};
        with_stack((word)stack + PAGE, text, SC_waitid, (word)&params);
        with_stack((word)stack + PAGE, text, SC_exit, info.code == 1 && info.status == SIGSEGV ? 4 : 6);
    }
    CALL0(SC_getuid);
    leave(0);
}
static void enforced_exec(void)
{
    struct string argv[] = {string(start_argv[0]), string("again")};
    struct execve_params params = {argv[0], {argv, 2}, {NULL, 0}};
    annotate(text, 1), annotate(0, 1);
    with_stack((word)stack + PAGE, text, SC_execve, (word)&params);
}

static void places(void)
{
    i64 fd = code_file();
    text = map(NULL, PAGE, RX, MAP_PRIVATE, (int)fd, 0);
    CHECK(text > 0 && from(text, SC_getuid) == CALL0(SC_getuid));
    CHECK(in_child(call_from_writable) == SIGSEGV);
    CHECK(in_child(enforced_here) == SIGSEGV);
    CHECK(in_child(enforced_elsewhere) == 256 + 3);
    CHECK(in_child(enforced_in_the_child) == 256 + 4);
    CHECK(in_child(enforced_exec) == 256 + 33);                     /* the new image is free again */
}

/* --- annotate_mapping */
static void annotations(void)
{
    i64 fd = open_file("code", O_RDWR, 0), p = map(NULL, 3 * PAGE, RX, MAP_PRIVATE, (int)fd, 0);
    CHECK(annotate(p, 0) == -EINVAL);
    CHECK(annotate(0, 0) == -EINVAL);
    CHECK(annotate(0x1ffe000000, 1) == -EFAULT);
    CHECK(annotate(-1, 1) == -EFAULT);
    CHECK(annotate(0x12345000, 1) == -EINVAL);
    CHECK(annotate((i64)aux(AT_BASE)->value, 1) == -EINVAL);
    CHECK(annotate(p + (i64)PAGE, 2) == 0);                         /* the whole region, whichever address in it */
    CHECK(annotate(p, 1) == -EPERM);
    CHECK(CALL2(SC_munmap, p, PAGE) == -EPERM && CALL2(SC_munmap, p, 3 * PAGE) == -EPERM);
    CHECK(protect(p, PAGE, PROT_READ) == -EPERM && protect(p + 2 * (i64)PAGE, PAGE, PROT_READ) == -EPERM);
    CHECK(CALL3(SC_madvise, p, 3 * PAGE, 1) == -EPERM);
    struct { i64 addr; word size; struct string name; } name = {p, 3 * PAGE, string("x")};
    CHECK(CALL1(SC_set_mmap_name, &name) == -EPERM);
    struct { i64 old; word old_size, new_size; i32 flags; } remap = {p, 3 * PAGE, PAGE, MAP_PRIVATE};
    CHECK(CALL1(SC_mremap, &remap) == -EPERM);
    CHECK(map((void *)p, PAGE, RW, FRESH | MAP_FIXED, -1, 0) == -EPERM);
    i64 child = CALL0(SC_fork);
    if (!child) leave(CALL2(SC_munmap, p, PAGE) == 0 ? 2 : 1);      /* the original forgets it at a fork */
    struct siginfo info;
    struct waitid_params params = {2, (i32)child, &info, 4};
    CALL1(SC_waitid, &params);
    CHECK(info.status == 2);
}

/* --- written or executed */
static void written_or_executed(void)
{
    i64 fd = open_file("code", O_RDWR, 0);
    CHECK(map(NULL, PAGE, PROT_EXEC, FRESH, -1, 0) == -EINVAL);
    CHECK(map(NULL, PAGE, RX, FRESH | MAP_STACK, -1, 0) == -EINVAL);
    CHECK(map(NULL, PAGE, RW | PROT_EXEC, MAP_PRIVATE, (int)fd, 0) == -EINVAL);
    CHECK(map(NULL, PAGE, RW | PROT_EXEC, MAP_SHARED, (int)fd, 0) == -EINVAL);
    i64 p = map(NULL, 2 * PAGE, RX, MAP_PRIVATE, (int)fd, 0);
    CHECK(protect(p, 2 * PAGE, RW) == -EINVAL);
    CHECK(protect(p, 2 * PAGE, PROT_READ) == 0 && protect(p, 2 * PAGE, RW) == -EINVAL);      /* it has been executable */
    CHECK(protect(p, PAGE, RX) == 0 && protect(p + (i64)PAGE, PAGE, RW) == -EINVAL);         /* a part too */
    p = map(NULL, 2 * PAGE, RW, MAP_PRIVATE, (int)fd, 0);
    CHECK(protect(p, PAGE, RX) == -EINVAL);                                                  /* no shared object */
    CHECK(protect(p, PAGE, PROT_NONE) == 0 && protect(p, PAGE, PROT_EXEC) == -EINVAL);
    p = fresh(PAGE, 0);
    CHECK(protect(p, PAGE, PROT_READ) == 0 && protect(p, PAGE, RX) == -EINVAL);
    i64 self = open_file(start_argv[0], O_RDONLY, 0);
    p = map(NULL, PAGE, RW, MAP_PRIVATE, (int)self, 0);
    CHECK(self >= 0 && p > 0 && protect(p, PAGE, PROT_EXEC) == -EINVAL);
    CHECK(protect(p, PAGE, RX) == 0);                                                        /* text that was relocated */
    CHECK(protect(p, PAGE, RW) == -EINVAL);
    p = map(NULL, PAGE, PROT_READ, MAP_SHARED, (int)self, 0);
    CHECK(protect(p, PAGE, RW) == -EACCES);
    CHECK(map((void *)p, PAGE, RW, MAP_SHARED | MAP_FIXED, (int)self, 0) == -EACCES);
    CHECK(open_file("/proc/self/mem", O_RDWR, 0) == -ENOENT);                                /* no way round */
    p = map(NULL, PAGE, PROT_READ, MAP_SHARED, (int)self, 0);
    i64 child = CALL0(SC_fork);
    if (!child) leave(protect(p, PAGE, RW) == -EACCES ? 2 : 1);
    struct siginfo info;
    struct waitid_params params = {2, (i32)child, &info, 4};
    CALL1(SC_waitid, &params);
    CHECK(info.status == 2);
}

/* --- other ways to crash */
static void divide(void) { __asm__ volatile("xor %%eax, %%eax\n\tcltd\n\tidivl %%eax" ::: "eax", "edx"); }
static void illegal(void) { __asm__ volatile("ud2"); }
static void port(void) { __asm__ volatile("outb %%al, $0x60" :: "a"(0)); }
static void int80(void) { __asm__ volatile("int $0x80" :: "a"(SC_getuid) : "memory"); }
static void int80_exit(void) { __asm__ volatile("int $0x80" :: "a"(1), "b"(7) : "memory"); }
static void sysenter(void) { __asm__ volatile("mov %%rsp, %%rbp\n\tsysenter" :: "a"(1), "b"(7) : "memory"); }
static void jump_to_data(void) { i64 p = fresh(PAGE, 0); *(u8 *)p = 0xc3; ((void (*)(void))p)(); }
static void jump_to_read_only(void) { i64 p = fresh(PAGE, 0); *(u8 *)p = 0xc3; protect(p, PAGE, PROT_READ); ((void (*)(void))p)(); }
static void read_the_kernel(void) { *(volatile int *)0xffffffff80000000UL; }
static void write_itself(void) { *(volatile u8 *)(word)code_bytes = 1; }

static void crashes(void)
{
    static const struct { const char *name; void (*what)(void); int signal; } all[] = {
        {"integer division by zero", divide, SIGFPE}, {"illegal instruction", illegal, SIGILL}, {"a port", port, SIGSEGV},
        {"int 0x80", int80, SIGSEGV}, {"exit by int 0x80", int80_exit, SIGSEGV}, {"a jump to data", jump_to_data, SIGSEGV}, {"a jump to what was data", jump_to_read_only, SIGSEGV},
        {"a read of the kernel's memory", read_the_kernel, SIGSEGV}, {"a write to its own text", write_itself, SIGSEGV},
    };
    int died[COUNT_OF(all)];
    for (int n = 0; n < COUNT_OF(all); n++) died[n] = in_child(all[n].what) == all[n].signal;
    for (int n = 0; n < COUNT_OF(all); n++)
        if (!died[n]) put("FAILED "), put(all[n].name), put("\n"), failures++;
    int by_sysenter = in_child(sysenter);
    CHECK(COUNT_OF(all) == 9 && (by_sysenter == SIGSEGV || by_sysenter == SIGILL));                  /* as the CPU has it */
}

/* --- a handler there */
struct action { void (*handler)(int); u32 mask; i32 flags; };
struct stack_t { void *sp; i32 flags; word size; };
static i64 the_stack;
static void on_fault(int signo) { leave(signo == SIGSEGV && CALL0(SC_getuid) >= 0 ? 21 : 1); }
static void on_fault_return(int signo) { (void)signo; stack = 1; }
static void handled(void)
{
    struct action action = {on_fault, 0, 0x08000000};
    struct stack_t alternate = {(void *)the_stack, 0, 8 * PAGE};
    if (CALL2(SC_sigaltstack, &alternate, NULL) != 0 || CALL3(SC_sigaction, SIGSEGV, &action, NULL) != 0) leave(9);
    with_stack((word)plain + PAGE, 0, SC_getuid, 0);
}
static void handled_and_masked(void)
{
    struct action action = {on_fault, 0, 0x08000000};
    struct stack_t alternate = {(void *)the_stack, 0, 8 * PAGE};
    u32 mask = 1 << (SIGSEGV - 1);
    CALL2(SC_sigaltstack, &alternate, NULL), CALL3(SC_sigaction, SIGSEGV, &action, NULL), CALL3(SC_sigprocmask, 0, &mask, NULL);
    with_stack((word)plain + PAGE, 0, SC_getuid, 0);
}
static void ignored(void)
{
    struct action action = {(void (*)(int))1, 0, 0};
    CALL3(SC_sigaction, SIGSEGV, &action, NULL);
    with_stack((word)plain + PAGE, 0, SC_getuid, 0);
}
static void handler_returns(void)
{
    struct action action = {on_fault_return, 0, 0x08000000};
    struct stack_t alternate = {(void *)the_stack, 0, 8 * PAGE};
    CALL2(SC_sigaltstack, &alternate, NULL), CALL3(SC_sigaction, SIGSEGV, &action, NULL);
    i64 result = with_stack((word)plain + PAGE, 0, SC_exit, 5);     /* not made: the number is still in its register */
    leave(result == SC_exit && stack == 1 ? 22 : 1);
}
static volatile int deep;
static int recurse(int n) { volatile char room[512]; room[0] = (char)n; deep = n; return recurse(n + 1) + room[0]; }
static void overflow(void)
{
    struct action action = {on_fault, 0, 0x08000000};
    struct stack_t alternate = {(void *)the_stack, 0, 8 * PAGE};
    CALL2(SC_sigaltstack, &alternate, NULL), CALL3(SC_sigaction, SIGSEGV, &action, NULL);
    recurse(0);
}

static void handlers(void)
{
    the_stack = fresh(8 * PAGE, 0);
    *(u8 *)the_stack = 7;
    CHECK(in_child(handled) == 256 + 21);
    CHECK(in_child(handled_and_masked) == SIGSEGV);
    CHECK(in_child(ignored) == SIGSEGV);
    CHECK(in_child(handler_returns) == 256 + 22);
    CHECK(in_child(overflow) == 256 + 21);
    struct stack_t alternate = {(void *)the_stack, 0, 8 * PAGE};
    CHECK(CALL2(SC_sigaltstack, &alternate, NULL) == 0 && *(u8 *)the_stack == 0);               /* zeroed */
    CHECK(protect(the_stack, PAGE, RX) == -EINVAL);
    alternate.flags = 2;
    CHECK(CALL2(SC_sigaltstack, &alternate, NULL) == 0);
    alternate = (struct stack_t){(void *)&alternate, 0, 8 * PAGE};
    CHECK(CALL2(SC_sigaltstack, &alternate, NULL) == -EPERM);                                    /* not mmap's */
    alternate.sp = (void *)map(NULL, 8 * PAGE, RW, MAP_ANONYMOUS | MAP_SHARED, -1, 0);
    CHECK(CALL2(SC_sigaltstack, &alternate, NULL) == -EINVAL);
    alternate.sp = (void *)0x1ffe000000;
    CHECK(CALL2(SC_sigaltstack, &alternate, NULL) == -EFAULT);
}

static int run(int argc, char **argv, char **envp)
{
    if (argc == 2) leave(CALL0(SC_getuid) >= 0 ? 33 : 1);
    stacks(), places(), annotations(), written_or_executed(), crashes(), handlers();
    return 0;
}
