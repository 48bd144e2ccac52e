/* Signals: actions, frames and the way back, masks, waiting, the alternate stack, sending. */
#include "sy.h"

enum { SIG_DFL = 0, SIG_IGN = 1, SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2 };
enum { SA_NOCLDSTOP = 1, SA_NOCLDWAIT = 2, SA_SIGINFO = 4, SA_ONSTACK = 0x08000000, SA_RESTART = 0x10000000,
       SA_NODEFER = 0x40000000 };
enum { SS_ONSTACK = 1, SS_DISABLE = 2, SI_NOINFO = 0x40000042, SIGURG = 23, SIGWINCH = 28 };
#define SA_RESETHAND 0x80000000u
#define BIT(signo) (1u << ((signo) - 1))

struct sigaction { void *handler; u32 mask; i32 flags; };
struct stack { void *sp; i32 flags; word size; };
struct ucontext { void *link; u32 mask; struct stack stack; u64 registers[21]; };
struct timespec { i64 seconds, ns; };
_Static_assert(sizeof(struct sigaction) == 16 && sizeof(struct stack) == 24 && sizeof(struct ucontext) == 208, "layouts");
enum { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_RIP };

static volatile int seen[33], order[16], orders;
static struct siginfo last_info;
static struct ucontext last_context;
static volatile word last_sp, last_flags;

static void note(int signo, struct siginfo *info, struct ucontext *context)
{
    word sp, flags;
    __asm__ volatile("mov %%rsp, %0; pushfq; popq %1" : "=r"(sp), "=r"(flags));
    seen[signo]++;
    if (orders < 16) order[orders++] = signo;
    last_info = *info, last_context = *context, last_sp = sp, last_flags = flags;
}
static void leave_0(int signo) { (void)signo; leave(0); }

static i64 act(int signo, void *handler, u32 mask, u32 flags)
{
    struct sigaction action = {handler, mask, (i32)flags};
    return CALL3(SC_sigaction, signo, &action, NULL);
}
static struct sigaction action_of(int signo)
{
    struct sigaction action = {(void *)99, 99, 99};
    CALL3(SC_sigaction, signo, NULL, &action);
    return action;
}
static u32 mask_now(void) { u32 mask = 99; CALL3(SC_sigprocmask, SIG_BLOCK, NULL, &mask); return mask; }
static u32 pending_now(void) { u32 mask = 99; CALL1(SC_sigpending, &mask); return mask; }
static void set_mask(u32 mask) { CALL3(SC_sigprocmask, SIG_SETMASK, &mask, NULL); }
static i64 raise(int signo) { return CALL2(SC_kill, CALL0(SC_getpid), signo); }

static void actions(void)
{
    CHECK(action_of(SIGUSR2).handler == (void *)SIG_DFL);                /* a fresh image: TestSigHandler */
    CHECK(CALL3(SC_sigaction, 0, NULL, NULL) == -EINVAL && CALL3(SC_sigaction, 33, NULL, NULL) == -EINVAL);
    CHECK(CALL3(SC_sigaction, SIGKILL, NULL, NULL) == -EINVAL && CALL3(SC_sigaction, SIGSTOP, NULL, NULL) == -EINVAL);
    CHECK(CALL3(SC_sigaction, SIGCANCEL, NULL, NULL) == 0);
    CHECK(CALL3(SC_sigaction, SIGUSR1, 16, NULL) == -EFAULT && CALL3(SC_sigaction, SIGUSR1, NULL, 16) == -EFAULT);
    CHECK(act(SIGUSR1, note, BIT(SIGINFO) | BIT(SIGCANCEL) | BIT(SIGKILL), SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP | SA_RESETHAND) == 0);
    struct sigaction now = action_of(SIGUSR1);
    CHECK(now.handler == (void *)note && now.mask == (BIT(SIGINFO) | BIT(SIGCANCEL) | BIT(SIGKILL)));
    CHECK((u32)now.flags == (SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP | SA_RESETHAND));
    CHECK(raise(SIGUSR1) == 0 && raise(SIGUSR1) == 0 && seen[SIGUSR1] == 2);             /* RESETHAND has no effect */
}

static void frames(void)
{
    u64 rbx_after = 0, rax_after = 0, r12_after = 0;
    word sp_before;
    act(SIGUSR1, note, BIT(SIGUSR2), SA_SIGINFO);
    __asm__ volatile("mov %%rsp, %0" : "=r"(sp_before));
    word pid = (word)CALL0(SC_getpid);
    __asm__ volatile("mov $0x1234, %%r12; movq $0x55aa, -8(%%rsp); mov %3, %%rdx; mov $10, %%rdi; mov $70, %%eax; syscall\n\t"
                     "mov %%rax, %0; mov %%r12, %1; mov -8(%%rsp), %2"
                     : "=r"(rax_after), "=r"(r12_after), "=r"(rbx_after) : "r"(pid)
                     : "rax", "rcx", "rdx", "rdi", "r11", "r12", "memory");
    CHECK(seen[SIGUSR1] == 3 && rax_after == 0 && r12_after == 0x1234);
    CHECK(rbx_after == 0x55aa);                                          /* the red zone is as it was */
    CHECK(last_info.signo == SIGUSR1 && last_info.code == SI_NOINFO && last_info.pid == (i32)pid && last_info.addr == NULL);
    CHECK(last_context.mask == 0 && last_context.link == NULL && last_context.registers[REG_RDI] == 10);
    CHECK(last_context.registers[REG_RDX] == pid && last_context.registers[REG_RAX] == 0);
    CHECK(last_sp < sp_before - 128 - 1104 && (last_flags & ~0x246ul) == 0);
    CHECK(mask_now() == 0);

    act(SIGUSR1, note, 0, 0);                                            /* without SA_SIGINFO there is no reason */
    raise(SIGUSR1);
    CHECK(last_info.code == 0 && last_info.pid == (i32)pid);
}

static u32 mask_within;
static void look_at_mask(int signo) { mask_within = mask_now(); seen[signo]++; }
static void again(int signo) { if (++seen[signo] == 1) raise(signo), seen[0] = seen[signo]; }

static void masks(void)
{
    act(SIGUSR2, look_at_mask, BIT(SIGHUP) | BIT(SIGINFO), 0);
    raise(SIGUSR2);
    CHECK(mask_within == (BIT(SIGUSR2) | BIT(SIGHUP) | BIT(SIGINFO)) && mask_now() == 0);
    act(SIGUSR2, look_at_mask, BIT(SIGHUP), SA_NODEFER);
    raise(SIGUSR2);
    CHECK(mask_within == BIT(SIGHUP));
    act(SIGTERM, again, 0, SA_NODEFER), seen[SIGTERM] = seen[0] = 0;
    raise(SIGTERM);
    CHECK(seen[SIGTERM] == 2 && seen[0] == 2);
    act(SIGTERM, again, 0, 0), seen[SIGTERM] = seen[0] = 0;
    raise(SIGTERM);
    CHECK(seen[SIGTERM] == 2 && seen[0] == 1);                           /* held back until the first returned */

    u32 set = BIT(SIGUSR1), old = 99;
    CHECK(CALL3(SC_sigprocmask, 7, &set, NULL) == -EINVAL && CALL3(SC_sigprocmask, 7, NULL, &old) == 0 && old == 0);
    CHECK(CALL3(SC_sigprocmask, SIG_BLOCK, 16, NULL) == -EFAULT && CALL3(SC_sigprocmask, SIG_BLOCK, NULL, 16) == -EFAULT);
    CHECK(CALL3(SC_sigprocmask, SIG_BLOCK, &set, &old) == 0 && old == 0 && mask_now() == BIT(SIGUSR1));
    act(SIGUSR1, note, 0, 0), act(SIGHUP, note, 0, 0), act(SIGINFO, note, 0, 0), act(SIGCANCEL, note, 0, 0);
    set_mask(BIT(SIGHUP) | BIT(SIGUSR1) | BIT(SIGINFO) | BIT(SIGCANCEL));
    orders = 0;
    raise(SIGUSR1), raise(SIGINFO), raise(SIGHUP), raise(SIGINFO);
    CHECK(CALL2(SC_kill_thread, CALL0(SC_gettid), SIGCANCEL) == 0);
    CHECK(pending_now() == (BIT(SIGHUP) | BIT(SIGUSR1) | BIT(SIGINFO) | BIT(SIGCANCEL)));
    set_mask(0);
    CHECK(orders == 4 && order[0] == SIGHUP && order[1] == SIGUSR1);     /* lowest first, one after the other, each once */
    CHECK(pending_now() == 0);
    CHECK(CALL1(SC_sigpending, 16) == -EFAULT);
}

static void ignoring(void)
{
    set_mask(BIT(SIGCHLD) | BIT(SIGUSR1) | BIT(SIGINFO) | BIT(SIGURG));
    act(SIGINFO, SIG_DFL, 0, 0), act(SIGCHLD, SIG_DFL, 0, 0), act(SIGUSR1, (void *)SIG_IGN, 0, 0);
    raise(SIGCHLD), raise(SIGURG), raise(SIGINFO), raise(SIGUSR1), raise(SIGWINCH);
    CHECK(pending_now() == 0);                                           /* thrown away although blocked */
    act(SIGUSR1, note, 0, 0), raise(SIGUSR1);
    CHECK(pending_now() == BIT(SIGUSR1));
    act(SIGUSR1, (void *)SIG_IGN, 0, 0);
    CHECK(pending_now() == 0);
    set_mask(0);
}

static void nap_and_send(void)
{
    struct timespec nap = {0, 50000000};
    struct { i32 clock, flags; struct timespec *requested, *remaining; } sleep = {1, 0, &nap, NULL};
    i64 parent = CALL0(SC_getppid);
    CALL1(SC_clock_nanosleep, &sleep);
    CALL2(SC_kill, parent, SIGUSR1);
}
static void send_later(void) { nap_and_send(); leave(0); }
static void send_often(void) { for (int n = 0; n < 500; n++) nap_and_send(); leave(0); }
static i64 child_that(void (*what)(void))
{
    i64 pid = CALL0(SC_fork);
    if (!pid) what(), leave(0);
    return pid;
}
static void wait_for(i64 pid)
{
    struct siginfo info;
    struct waitid_params params = {2, (i32)pid, &info, 4};
    while (CALL1(SC_waitid, &params) == -EINTR);
}

static void waiting(void)
{
    u32 usr1 = BIT(SIGUSR1), none = 0, all = ~0u;
    struct siginfo info = {99, 99, 99, 99, 99, 99, NULL, 0, 0, NULL};
    struct timespec zero = {0, 0}, soon = {0, 20000000};
    act(SIGUSR1, note, 0, 0);
    set_mask(usr1);
    raise(SIGUSR1);
    CHECK(CALL3(SC_sigtimedwait, &usr1, &info, NULL) == SIGUSR1);        /* TestSigWait */
    CHECK(info.signo == SIGUSR1 && info.code == 0 && info.pid == 0);
    CHECK(CALL3(SC_sigtimedwait, &usr1, NULL, &zero) == -EAGAIN);
    CHECK(CALL3(SC_sigtimedwait, &usr1, NULL, &soon) == -EAGAIN);
    CHECK(CALL3(SC_sigtimedwait, 16, NULL, NULL) == -EFAULT);
    i64 pid = child_that(send_later);
    CHECK(CALL3(SC_sigtimedwait, &usr1, &info, NULL) == SIGUSR1);
    wait_for(pid);
    pid = child_that(send_later);
    seen[SIGUSR1] = 0;
    CHECK(CALL1(SC_sigsuspend, &none) == -EINTR && seen[SIGUSR1] == 1 && mask_now() == usr1);
    wait_for(pid);
    set_mask(0);

    int ends[2];
    u8 byte;
    CHECK(CALL2(SC_pipe, ends, 0) == 0);
    act(SIGUSR1, note, 0, SA_RESTART);                                   /* has no effect */
    pid = child_that(send_often);
    CHECK(CALL3(SC_read, ends[0], &byte, 1) == -EINTR);
    CALL2(SC_kill, pid, SIGKILL);
    wait_for(pid);
    set_mask(all);
    CHECK(mask_now() == (all & ~BIT(SIGKILL) & ~BIT(SIGSTOP)));          /* stated: those two cannot be blocked here */
    set_mask(0);
}

static u8 alternate[32768] __attribute__((aligned(4096)));
static void on_alternate(int signo, struct siginfo *info, struct ucontext *context)
{
    note(signo, info, context);
    struct stack now, other = {alternate, 0, sizeof alternate};
    seen[0] = CALL2(SC_sigaltstack, NULL, &now) == 0 && now.flags == SS_ONSTACK && CALL2(SC_sigaltstack, &other, NULL) == -EPERM;
}
static void alternate_stack(void)
{
    struct stack now = {NULL, 99, 99}, mine = {NULL, 0, 32768};
    CHECK(CALL2(SC_sigaltstack, NULL, &now) == 0 && now.flags == SS_DISABLE && now.size == 0);
    i64 memory = map(NULL, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mine.sp = (void *)memory;
    mine.size = 4096;
    CHECK(CALL2(SC_sigaltstack, &mine, NULL) == -ENOMEM);
    mine.size = ~0ul;
    CHECK(CALL2(SC_sigaltstack, &mine, NULL) == -ENOMEM);
    mine.size = 32768, mine.flags = SS_ONSTACK;
    CHECK(CALL2(SC_sigaltstack, &mine, NULL) == -EINVAL);
    mine.flags = 0;
    *(u8 *)memory = 7;
    CHECK(CALL2(SC_sigaltstack, &mine, NULL) == 0 && *(u8 *)memory == 0);        /* zeroed */
    struct stack here = {alternate, 0, sizeof alternate};
    CHECK(CALL2(SC_sigaltstack, &here, NULL) == -EPERM);                 /* the image's own memory is not mmap's */
    CHECK(CALL2(SC_sigaltstack, 16, NULL) == -EFAULT && CALL2(SC_sigaltstack, NULL, 16) == -EFAULT);
    act(SIGUSR1, on_alternate, 0, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK(last_sp > (word)memory && last_sp < (word)memory + 32768 && seen[0] == 1);
    CHECK(last_context.stack.sp == (void *)(memory + 32768) && last_context.stack.size == 32768);
    mine.flags = SS_DISABLE;
    CHECK(CALL2(SC_sigaltstack, &mine, NULL) == 0);
    raise(SIGUSR1);
    CHECK(last_sp < (word)memory || last_sp > (word)memory + 32768);
}

/* TestSigAltStack: the stack is used up, the handler runs on the other one. */
__attribute__((noinline)) static int recurse(volatile int n) { volatile u8 room[4096]; room[0] = (u8)n; return recurse(n + 1) + room[0]; }
static void on_overflow(int signo) { (void)signo; CALL0(SC_getuid); leave(0); }
static void overflow(void)
{
    struct stack mine = {(void *)map(NULL, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 0, 32768};
    CALL2(SC_sigaltstack, &mine, NULL);
    act(SIGSEGV, on_overflow, 0, SA_ONSTACK);
    recurse(0);
}

static void handler_kept(void) { leave(action_of(SIGUSR2).handler == (void *)look_at_mask ? 0 : 1); }
static void die_by_usr1(void) { act(SIGUSR1, (void *)SIG_DFL, 0, 0); raise(SIGUSR1); }
static void die_by_cancel(void) { act(SIGCANCEL, (void *)SIG_DFL, 0, 0); CALL2(SC_kill_thread, CALL0(SC_gettid), SIGCANCEL); }
static void no_frame(void) { act(SIGILL, leave_0, 0, 0); __asm__ volatile("mov $64, %%rsp; ud2" ::: "memory"); }
static void fault(void) { act(SIGSEGV, leave_0, 0, 0); *(volatile int *)16 = 1; }
static void illegal(void) { act(SIGILL, leave_0, 0, 0); __asm__ volatile("ud2"); }
static void blocked_fault(void) { act(SIGSEGV, leave_0, 0, 0); set_mask(BIT(SIGSEGV)); *(volatile int *)16 = 1; }

static void by_interrupt(void)                                           /* the other way into the kernel */
{
    word result, rcx = 0x77, r11 = 0x88;
    __asm__ volatile("mov $0x77, %%ecx; mov $0x88, %%r11d; mov $53, %%eax; int $0x82; mov %%rcx, %1; mov %%r11, %2"
                     : "=a"(result), "=r"(rcx), "=r"(r11) : : "rcx", "r11", "memory");
    CHECK(result == (word)CALL0(SC_getpid) && rcx == 0x77 && r11 == 0x88);
    __asm__ volatile("mov $9999, %%eax; int $0x82" : "=a"(result) : : "memory");
    CHECK((i64)result == -ENOSYS);
}
/* Frames that no handler left: what the CPU would refuse is SIGSEGV, what cannot be read EFAULT. */
struct frame { u8 state[832]; struct siginfo info; struct ucontext context; u64 rax; };
static struct frame made __attribute__((aligned(64)));
static word sigreturn_at(word sp)
{
    word result;
    __asm__ volatile("mov %%rsp, %%r12; mov %1, %%rsp; mov $135, %%eax; syscall; mov %%r12, %%rsp"
                     : "=a"(result) : "r"(sp) : "rcx", "r11", "r12", "memory");
    return result;
}
static void frame_on_stack(word rip, u32 mxcsr, u64 components, word flags)
{
    __attribute__((aligned(64))) struct frame here = made;
    here.state[0] = 0x7f, here.state[1] = 3;
    *(u32 *)(here.state + 24) = mxcsr;
    *(u64 *)(here.state + 512) = components;
    here.context.registers[REG_RIP] = rip, here.context.registers[REG_RSP] = (word)&here - 4096, here.context.registers[17] = flags;
    here.context.registers[18] = ~0ul, here.context.registers[19] = ~0ul, here.context.registers[20] = ~0ul;
    here.context.mask = BIT(SIGUSR1), here.rax = 5;
    sigreturn_at((word)&here);
    leave(9);
}
static void arrived(void)
{
    word flags, sp;
    __asm__ volatile("pushfq; popq %0; mov %%rsp, %1" : "=r"(flags), "=r"(sp));
    __asm__ volatile("and $-16, %%rsp" ::: "memory");
    leave((flags & ~0xdfful) == 0x200 && mask_now() == BIT(SIGUSR1) ? 0 : 1);
}
static void good_frame(void) { frame_on_stack((word)arrived, 0x1f80, 3, ~0ul & ~0x100ul); }       /* privileged flags are not taken */
static void kernel_half(void) { frame_on_stack(0xffffffff80000000, 0x1f80, 3, 0); }
static void no_address(void) { frame_on_stack(0x123456789abcdef0, 0x1f80, 3, 0); }
static void bad_mxcsr(void) { frame_on_stack((word)arrived, 0xffffffff, 3, 0); }
static void odd_components(void) { frame_on_stack((word)arrived, 0x1f80, ~0ul, 0); }
static void beyond_the_stack(void)
{
    struct { word *base; word size; } bounds;
    CALL2(SC_get_stack_bounds, &bounds.base, &bounds.size);
    leave(sigreturn_at((word)bounds.base + bounds.size - 64) == (word)-EFAULT ? 0 : 1);
}
static void hostile_frames(void)
{
    CHECK(in_child(good_frame) == 256);
    CHECK(in_child(kernel_half) == SIGSEGV && in_child(no_address) == SIGSEGV);
    CHECK(in_child(bad_mxcsr) == SIGSEGV);
    CHECK(in_child(odd_components) == 256);
    CHECK(in_child(beyond_the_stack) == 256);
}

static void sending(void)
{
    i64 pid = CALL0(SC_getpid);
    CHECK(CALL2(SC_kill, pid, 32) == -EINVAL && CALL2(SC_kill, pid, -1) == -EINVAL && CALL2(SC_kill, pid, 0) == 0);
    CHECK(CALL2(SC_kill, 32000, 0) == -ESRCH && CALL2(SC_kill, -32000, 0) == -ESRCH && CALL2(SC_kill, 0x80000000, 0) == -EINVAL);
    CHECK(CALL2(SC_kill, 0, 0) == -EPERM);
    CHECK(CALL2(SC_killpg, 0, 0) == -EINVAL && CALL2(SC_killpg, -1, SIGUSR1) == -EINVAL && CALL2(SC_killpg, 32000, SIGUSR1) == -ESRCH);
    CHECK(CALL2(SC_kill_thread, 32000, 0) == -ESRCH && CALL2(SC_kill_thread, CALL0(SC_gettid), 33) == -EINVAL);
    CHECK(in_child(handler_kept) == 256);
    CHECK(in_child(die_by_usr1) == SIGUSR1 && in_child(die_by_cancel) == SIGCANCEL);
    CHECK(in_child(overflow) == 256 && in_child(fault) == 256 && in_child(illegal) == 256);
    CHECK(in_child(blocked_fault) == SIGSEGV);
    CHECK(in_child(no_frame) == SIGILL);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    actions();
    frames();
    masks();
    ignoring();
    waiting();
    alternate_stack();
    sending();
    by_interrupt();
    hostile_frames();
    return 0;
}
