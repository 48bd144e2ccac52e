/* Faults and signal frames: what a handler is told about the CPU, and what of it comes back.
 * builds: x64
 */
#include "case.h"
#include <cpuid.h>
#include <ucontext.h>

static sigjmp_buf escape;
static void *expected;

static void fault(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    say("%s code %d address %s trap %d error %x", signal_name(number), info->si_code,
        info->si_addr == expected ? "as expected" : info->si_addr ? "another" : "none",
        (int)uc->uc_mcontext.gregs[REG_TRAPNO], (unsigned)uc->uc_mcontext.gregs[REG_ERR]);
    siglongjmp(escape, 1);
}

static void catch(int number)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = fault;
    sigaction(number, &action, NULL);
}

#define FAULT(WHAT, ADDRESS, ...) do { expected = (void *)(ADDRESS); say("%s", WHAT); \
    if (sigsetjmp(escape, 1) == 0) { __VA_ARGS__; say("no fault"); } } while (0)

CASE(memory_faults)
{
    catch(SIGSEGV), catch(SIGBUS);
    char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    FAULT("write to nothing", 8, *(volatile int *)8 = 1);
    FAULT("read of nothing", 16, (void)*(volatile int *)16);
    say("%d", page[5]);             /* now it is there */
    FAULT("write to read-only", page + 5, *(volatile char *)(page + 5) = 1);
    FAULT("read past the end", page + 4096, (void)*(volatile int *)(page + 4096));
    mprotect(page, 4096, PROT_NONE);
    FAULT("read without permission", page, (void)*(volatile int *)page);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
    FAULT("execute data", page, ((void (*)(void))page)());
    FAULT("execute nothing", 0x10, ((void (*)(void))0x10)());
    FAULT("non-canonical", 0, *(volatile int *)0x8000000000000000 = 1);
    FAULT("kernel half", 0xffffffff80000000, *(volatile int *)0xffffffff80000000 = 1);
    int fd = open("a", O_CREAT | O_RDWR, 0600);
    ftruncate(fd, 5000);
    char *file = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    say("%d", file[6000]);
    FAULT("past the end of the file", file + 8192, *(volatile char *)(file + 8192) = 1);
    ftruncate(fd, 0);
    FAULT("after truncation", file, (void)*(volatile char *)file);
}

CASE(fault_on_an_untouched_page)
{
    catch(SIGSEGV);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FAULT("write to read-only", page + 5, *(volatile char *)(page + 5) = 1);
}

CASE(instruction_faults)
{
    volatile int zero = 0;
    catch(SIGFPE), catch(SIGILL), catch(SIGTRAP), catch(SIGSEGV);
    FAULT("division", 1, zero = 1 / zero);
    FAULT("ud2", 1, __asm__ volatile("ud2"));
    FAULT("int3", 0, __asm__ volatile("int3"));
    FAULT("hlt", 0, __asm__ volatile("hlt"));
    FAULT("cli", 0, __asm__ volatile("cli"));
    FAULT("in", 0, __asm__ volatile("inb $0x80, %%al" ::: "al"));
    FAULT("int 3 long", 0, __asm__ volatile(".byte 0xcd, 3"));
    FAULT("int 0x81", 0, __asm__ volatile("int $0x81"));
    FAULT("icebp", 0, __asm__ volatile(".byte 0xf1"));
    FAULT("float division", 1, {
        unsigned control = 0x1f80 & ~0x200u;
        __asm__ volatile("ldmxcsr %0" :: "m"(control));
        volatile double a = 1, b = 0;
        a = a / b;
    });
}

CASE(dying_of_faults)
{
    CHILD *(volatile int *)8 = 1; REAPED
    CHILD __asm__ volatile("ud2"); REAPED
    CHILD volatile int zero = 0; zero = 1 / zero; REAPED
    CHILD __asm__ volatile("int3"); REAPED
    CHILD __asm__ volatile("hlt"); REAPED
    CHILD sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, NULL); *(volatile int *)8 = 1; REAPED
    CHILD handle(SIGSEGV, SIG_IGN, 0); *(volatile int *)8 = 1; REAPED
    CHILD __asm__ volatile("movq $0, %rsp; pushq %rax"); REAPED
}

static void single_step(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    say("%s code %d stepping %d", signal_name(number), info->si_code, (uc->uc_mcontext.gregs[REG_EFL] & 0x100) != 0);
    uc->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
}

CASE(trap_flag)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = single_step;
    sigaction(SIGTRAP, &action, NULL);
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::: "cc", "memory");
    say("after");
}

static void edit(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)number, (void)info;
    uc->uc_mcontext.gregs[REG_RIP] += 2;               /* over ud2 */
    uc->uc_mcontext.gregs[REG_RAX] = 1234;
    uc->uc_mcontext.gregs[REG_R15] = 5678;
    uc->uc_mcontext.gregs[REG_EFL] |= 1;               /* carry */
    sigaddset(&uc->uc_sigmask, SIGUSR2);
}

CASE(handler_changes_registers)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = edit;
    sigaction(SIGILL, &action, NULL);
    long rax, r15;
    unsigned char carry;
    __asm__ volatile("xorl %%eax, %%eax; xorl %%r15d, %%r15d; clc; ud2; setc %2; movq %%r15, %1; movq %%rax, %0"
                     : "=r"(rax), "=r"(r15), "=r"(carry) :: "rax", "r15", "cc");
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    say("rax %ld r15 %ld carry %d blocked %d", rax, r15, carry, sigismember(&now, SIGUSR2));
}

static void wrecks(int number)
{
    (void)number;
    __asm__ volatile("fninit; fldz; fldz; pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm7, %%xmm7; pcmpeqd %%xmm15, %%xmm15" ::: "xmm0", "xmm7", "xmm15");
    unsigned control = 0x1f80 | 0x6000;
    __asm__ volatile("ldmxcsr %0; std; cld" :: "m"(control));
}

CASE(registers_survive)
{
    handle(SIGUSR1, wrecks, 0);
    long pid = getpid(), in[8] = {11, 22, 33, 44, 55, 66, 77, 88}, out[8];
    double x = 3.25, y = 0, x87 = 0;
    unsigned mxcsr = 0;
    __asm__ volatile(
        "movq 0(%[in]), %%rbx; movq 8(%[in]), %%r8; movq 16(%[in]), %%r9; movq 24(%[in]), %%r10; movq 32(%[in]), %%r12; movq 40(%[in]), %%r13\n"
        "movsd %[x], %%xmm7; fldl %[x]\n"
        "movq $62, %%rax; movq %[pid], %%rdi; movq $10, %%rsi; syscall\n"
        "movq %%rbx, 0(%[out]); movq %%r8, 8(%[out]); movq %%r9, 16(%[out]); movq %%r10, 24(%[out]); movq %%r12, 32(%[out]); movq %%r13, 40(%[out])\n"
        "movq %%rax, 48(%[out]); movsd %%xmm7, %[y]; fstpl %[x87]; stmxcsr %[mxcsr]\n"
        : [y] "=m"(y), [x87] "=m"(x87), [mxcsr] "=m"(mxcsr)
        : [in] "r"(in), [out] "r"(out), [x] "m"(x), [pid] "m"(pid)
        : "rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "xmm7", "memory");
    say("%ld %ld %ld %ld %ld %ld rax %ld xmm7 %.2f x87 %.2f mxcsr %x", out[0], out[1], out[2], out[3], out[4], out[5], out[6], y, x87, mxcsr & ~0x3fu);
}

CASE(flags_and_clobbers_of_a_call)
{
    long rcx = 0, r11 = 0, after = 0, flags = 0;
    __asm__ volatile("movq $39, %%rax; stc; std; syscall; pushfq; popq %3; cld; movq %%rcx, %0; movq %%r11, %1; leaq 0f(%%rip), %2; 0:"
                     : "=r"(rcx), "=r"(r11), "=r"(after), "=r"(flags) :: "rax", "rcx", "r11", "cc", "memory");
    IS(rcx < after && after - rcx < 64);
    say("carry %d direction %d; r11 the flags %d", (int)(flags & 1), (int)(flags >> 10 & 1), (int)((r11 ^ flags) & 0xcd5) == 0);
}

static int has_avx(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AVX) && (c & bit_OSXSAVE);
}

__attribute__((target("avx"))) static void avx_wrecks(int number)
{
    (void)number;
    __asm__ volatile("vzeroall" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm8", "xmm15");
}

__attribute__((target("avx"))) static void avx_survives(void)
{
    double in[4] = {1.5, 2.5, 3.5, 4.5}, out[4] = {0}, high[4] = {0};
    long pid = getpid();
    __asm__ volatile("vmovupd %[in], %%ymm3; vmovupd %[in], %%ymm15; movq $62, %%rax; movq %[pid], %%rdi; movq $10, %%rsi; syscall;"
                     "vmovupd %%ymm3, %[out]; vmovupd %%ymm15, %[high]"
                     : [out] "=m"(out), [high] "=m"(high) : [in] "m"(in), [pid] "m"(pid)
                     : "rax", "rcx", "rdi", "rsi", "r11", "xmm3", "xmm15", "memory");
    say("%.1f %.1f %.1f %.1f / %.1f", out[0], out[1], out[2], out[3], high[3]);
}

CASE(avx_state_survives)
{
    if (!has_avx()) { say("no AVX"); return; }
    handle(SIGUSR1, avx_wrecks, 0);
    avx_survives();
    CHILD avx_survives(); REAPED
}

CASE(xmm_state_over_fork_and_sleep)
{
    double in = 7.125, out = 0;
    long status = 0;
    struct timespec brief = {0, 20000000};
    __asm__ volatile("movsd %[in], %%xmm9; movq $57, %%rax; syscall; testq %%rax, %%rax; jz 1f;"
                     "movq %%rax, %%rdi; movq $61, %%rax; leaq %[status], %%rsi; xorl %%edx, %%edx; xorl %%r10d, %%r10d; syscall; jmp 2f;"
                     "1: movq $35, %%rax; leaq %[brief], %%rdi; xorl %%esi, %%esi; syscall;"
                     "cvttsd2si %%xmm9, %%rdi; movq $60, %%rax; syscall; 2: movsd %%xmm9, %[out]"
                     : [out] "=m"(out), [status] "+m"(status) : [in] "m"(in), [brief] "m"(brief)
                     : "rax", "rcx", "rdx", "rdi", "rsi", "r10", "r11", "xmm9", "memory");
    say("parent %.3f child %d", out, WEXITSTATUS((int)status));
}

static void frame_facts(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    struct _fpstate *fp = (void *)uc->uc_mcontext.fpregs;
    uint64_t here = (uint64_t)__builtin_frame_address(0);
    say("%s: handler stack aligned %d, info aligned %d, fp aligned %d", signal_name(number), (int)(here % 16 == 0), (int)((uintptr_t)info % 8 == 0), (int)((uintptr_t)fp % 64 == 0));
    say("flags %lx link %d cs %x magic1 %x", (unsigned long)uc->uc_flags & 1, uc->uc_link != NULL, (unsigned)(uc->uc_mcontext.gregs[REG_CSGSFS] & 0xffff), ((unsigned *)fp)[464 / 4]);
    say("red zone kept %d", (int)(uc->uc_mcontext.gregs[REG_RSP] - (int64_t)info > 128));
}

CASE(frame_shape)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = frame_facts;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
}

static void corrupt(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)number, (void)info;
    uc->uc_mcontext.gregs[REG_RIP] = (long)0x8000000000000000;
}
static void corrupt_fp(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)number, (void)info;
    uc->uc_mcontext.fpregs = (void *)8;
}

CASE(bad_frames)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = corrupt;
    CHILD sigaction(SIGUSR1, &action, NULL); raise(SIGUSR1); REAPED
    action.sa_sigaction = corrupt_fp;
    CHILD sigaction(SIGUSR1, &action, NULL); raise(SIGUSR1); REAPED
    CHILD __asm__ volatile("movq $15, %rax; movq $8, %rsp; syscall"); REAPED
}

static volatile long spins;
static void counts(int number) { (void)number; spins++; }

CASE(interrupting_a_loop)
{
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    handle(SIGALRM, counts, 0);
    setitimer(ITIMER_REAL, &often, NULL);
    double sum = 0;
    for (long i = 1; spins < 20; i++) sum += 1.0 / (double)(i * i);
    setitimer(ITIMER_REAL, &never, NULL);
    IS(sum > 1.6 && sum < 1.65);
    IS(spins >= 20);
}
