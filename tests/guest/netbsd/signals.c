/* Signals: NetBSD's numbers, its frame, the way back by setcontext, masks, the alternate stack, faults, waiting. */
#include "nb.h"

static volatile int hits, seen_signo, seen_code, nested;
static volatile word seen_addr, seen_sp, seen_value;
static volatile u32 seen_flags, seen_trap;
static struct sigset seen_mask;
static struct ucontext *volatile seen_context;

static void note(int signo, struct siginfo *info, struct ucontext *uc)
{
    hits++;
    seen_signo = signo;
    seen_code = info->code;
    seen_addr = info->reason.fault.addr;
    seen_value = info->reason.sent.value;
    seen_trap = (u32)info->reason.fault.trap;
    seen_flags = uc->flags;
    seen_mask = uc->mask;
    seen_sp = (word)&uc;
    seen_context = uc;
    if (info->signo != signo) hits += 100;
}

/* A fault's instruction is passed over: it is so long. */
static volatile int fault_length;
static void skip(int signo, struct siginfo *info, struct ucontext *uc)
{
    note(signo, info, uc);
    uc->reg[RIP] += (word)fault_length;
}

static void plain(int signo, struct siginfo *info, struct ucontext *uc) { (void)info; (void)uc; seen_signo = signo; hits++; }

static void inner(int signo, struct siginfo *info, struct ucontext *uc)
{
    (void)info; (void)uc;
    hits++;
    if (hits == 1) {
        CALL2(SYS_kill, CALL0(SYS_getpid).value, signo);
        nested = hits;
    }
}

static void aligned(int signo, struct siginfo *info, struct ucontext *uc)
{
    (void)signo; (void)info; (void)uc;
    /* The caller pushed a return address: rsp was 8 modulo 16 when the first instruction ran. */
    seen_sp = (word)__builtin_frame_address(0);
    hits++;
}

static word me(void) { return CALL0(SYS_getpid).value; }

static void actions(void)
{
    struct sigaction old, ignore = {(void *)1, nothing, 0}, bad = {note, nothing, 0x100};
    CHECK(failed(CALL5(SYS_sigaction, 0, 0, &old, 0, 0), EINVAL));
    CHECK(failed(CALL5(SYS_sigaction, 64, 0, &old, 0, 0), EINVAL));
    CHECK(gave(CALL5(SYS_sigaction, 63, 0, &old, 0, 0), 0) && old.handler == NULL);
    CHECK(gave(CALL5(SYS_sigaction, SIGKILL, 0, &old, 0, 0), 0));
    CHECK(failed(handle(SIGKILL, note, 0), EINVAL));
    CHECK(failed(handle(SIGSTOP, note, 0), EINVAL));
    CHECK(failed(CALL5(SYS_sigaction, SIGUSR1, &bad, 0, trampoline, 2), EINVAL));
    bad.flags = 0;
    CHECK(failed(CALL5(SYS_sigaction, SIGUSR1, &bad, 0, 0, 2), EINVAL));
    CHECK(failed(CALL5(SYS_sigaction, SIGUSR1, &bad, 0, trampoline, 9), EINVAL));
    CHECK(gave(CALL5(SYS_sigaction, SIGUSR1, &ignore, 0, 0, 0), 0));
    CHECK(gave(CALL2(SYS_kill, me(), SIGUSR1), 0));
    struct sigaction new = {note, only(SIGTERM), SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    CHECK(gave(CALL5(SYS_sigaction, SIGUSR1, &new, &old, trampoline, 2), 0) && old.handler == (void *)1);
    CHECK(gave(CALL5(SYS_sigaction, SIGUSR1, 0, &old, 0, 0), 0));
    CHECK(old.handler == (void *)note && old.flags == (SA_SIGINFO | SA_RESTART | SA_ONSTACK) && old.mask.bits[0] == 1u << (SIGTERM - 1));
}

static void numbers(void)
{
    static const int all[] = {1, 2, 3, 5, 6, 7, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 47, 63};
    int good = 0;
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        seen_signo = 0;
        handle(all[i], note, SA_SIGINFO);
        CALL2(SYS_kill, me(), all[i]);
        good += seen_signo == all[i] && seen_code == 0;
        struct sigaction standard = {NULL, nothing, 0};
        CALL5(SYS_sigaction, all[i], &standard, 0, 0, 0);
    }
    CHECK(good == sizeof all / sizeof *all);
    CHECK(failed(CALL2(SYS_kill, me(), 64), EINVAL));
    CHECK(failed(CALL2(SYS_kill, me(), -1), EINVAL));
    CHECK(gave(CALL2(SYS_kill, me(), 0), 0));
    /* Ignored by default here, deadly on other systems. */
    CHECK(gave(CALL2(SYS_kill, me(), SIGIO), 0));
    CHECK(gave(CALL2(SYS_kill, me(), SIGPWR), 0));
    CHECK(gave(CALL2(SYS_kill, me(), SIGINFO), 0));
}

static void masks(void)
{
    struct sigset usr = only(SIGUSR1), old, rt = only(63);
    handle(SIGUSR1, note, SA_SIGINFO);
    handle(63, note, SA_SIGINFO);
    hits = 0;
    CHECK(gave(CALL3(SYS_sigprocmask, SIG_BLOCK, &usr, &old), 0) && old.bits[0] == 0);
    CHECK(gave(CALL3(SYS_sigprocmask, SIG_BLOCK, &rt, 0), 0));
    CALL2(SYS_kill, me(), SIGUSR1);
    CALL2(SYS_kill, me(), SIGUSR1);
    CALL2(SYS_kill, me(), 63);
    CHECK(hits == 0);
    CHECK(gave(CALL1(SYS_sigpending, &old), 0) && old.bits[0] == 1u << (SIGUSR1 - 1) && old.bits[1] == 1u << (63 - 33));
    CHECK(gave(CALL3(SYS_sigprocmask, SIG_UNBLOCK, &usr, 0), 0));
    CHECK(hits == 1 && seen_signo == SIGUSR1);
    CHECK(gave(CALL3(SYS_sigprocmask, SIG_SETMASK, &nothing, &old), 0) && old.bits[1] == 1u << (63 - 33));
    CHECK(hits == 2 && seen_signo == 63);
    CHECK(failed(CALL3(SYS_sigprocmask, 0, &usr, 0), EINVAL));
    CHECK(failed(CALL3(SYS_sigprocmask, 4, &usr, 0), EINVAL));
    CHECK(gave(CALL3(SYS_sigprocmask, 9, 0, &old), 0));
    struct sigset all = {{~0u, ~0u, ~0u, ~0u}};
    CALL3(SYS_sigprocmask, SIG_SETMASK, &all, 0);
    CALL3(SYS_sigprocmask, SIG_SETMASK, &nothing, &old);
    CHECK(!(old.bits[0] & 1u << (SIGKILL - 1)) && !(old.bits[0] & 1u << (SIGSTOP - 1)) && old.bits[0] & 1u << (SIGUSR2 - 1));
    hits = nested = 0;
    handle(SIGUSR2, inner, 0);
    CALL2(SYS_kill, me(), SIGUSR2);
    CHECK(nested == 1 && hits == 2);
    hits = nested = 0;
    handle(SIGUSR2, inner, SA_NODEFER);
    CALL2(SYS_kill, me(), SIGUSR2);
    CHECK(nested == 2 && hits == 2);
    hits = 0;
    handle(SIGUSR2, plain, SA_RESETHAND);
    CALL2(SYS_kill, me(), SIGUSR2);
    struct sigaction old_action;
    CALL5(SYS_sigaction, SIGUSR2, 0, &old_action, 0, 0);
    CHECK(hits == 1 && old_action.handler == NULL);
}

static void frames(void)
{
    struct sigset term = only(SIGTERM);
    handle(SIGUSR1, note, SA_SIGINFO);
    CALL3(SYS_sigprocmask, SIG_SETMASK, &term, 0);
    CALL2(SYS_kill, me(), SIGUSR1);
    CHECK(seen_mask.bits[0] == term.bits[0]);
    CHECK(seen_flags == (UC_SIGMASK | UC_CPU | UC_FPU | UC_TLSBASE | UC_CLRSTACK));
    CHECK(seen_context->reg[CS] == 0x1b && seen_context->reg[SS] == 0x23);
    struct sigset now;
    CALL3(SYS_sigprocmask, SIG_SETMASK, &nothing, &now);
    CHECK(now.bits[0] == term.bits[0]);
    hits = 0;
    handle(SIGUSR1, aligned, 0);
    __asm__ volatile("sub $5, %%rsp\n\tsyscall\n\tadd $5, %%rsp" : : "a"((word)SYS_kill), "D"(me()), "S"((word)SIGUSR1) : "rcx", "rdx", "r11", "memory");
    CHECK(hits == 1);
    /* Registers and vector state survive a handler. */
    word rbx = 0x1122334455667788, out, low;
    __asm__ volatile("mov %[in], %%rbx\n\tmovq %[in], %%xmm7\n\tstc\n\tpushf\n\tpop %%r13\n\tsyscall\n\tmov %%rbx, %[out]\n\tmovq %%xmm7, %[low]"
                     : [out] "=&r"(out), [low] "=&r"(low) : "a"((word)SYS_kill), "D"(me()), "S"((word)SIGUSR1), [in] "r"(rbx)
                     : "rbx", "rcx", "rdx", "r11", "r13", "xmm7", "memory");
    CHECK(out == rbx && low == rbx && hits == 2);
}

/* Vector registers wider than NetBSD's context has room for: a handler that clears them must not be noticed. */
static void clears(int signo) { (void)signo; hits++; __asm__ volatile("vzeroall" : : : "memory"); }

static void vectors(void)
{
    u32 a = 1, b, c, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    if (!(c & 1u << 28)) return;
    u8 in[32], out[32];
    for (int i = 0; i < 32; i++) in[i] = (u8)(i + 1), out[i] = 0;
    hits = 0;
    handle(SIGUSR1, clears, 0);
    __asm__ volatile("vmovdqu (%[in]), %%ymm9\n\tsyscall\n\tvmovdqu %%ymm9, (%[out])"
                     : : "a"((word)SYS_kill), "D"(me()), "S"((word)SIGUSR1), [in] "b"(in), [out] "r"(out) : "rcx", "rdx", "r11", "memory");
    int good = 0;
    for (int i = 0; i < 32; i++) good += out[i] == i + 1;
    CHECK(good == 32 && hits == 1);
}

static void alternate(void)
{
    struct stack old, alt = {(word)fresh(65536), 65536, 0}, small = {alt.sp, 4096, 0}, off = {0, 0, SS_DISABLE}, odd = {alt.sp, 65536, 8};
    CHECK(gave(CALL2(SYS_sigaltstack, 0, &old), 0) && old.flags == SS_DISABLE);
    CHECK(failed(CALL2(SYS_sigaltstack, &small, 0), ENOMEM));
    CHECK(failed(CALL2(SYS_sigaltstack, &odd, 0), EINVAL));
    CHECK(gave(CALL2(SYS_sigaltstack, &alt, &old), 0));
    handle(SIGUSR1, note, SA_SIGINFO | SA_ONSTACK);
    CALL2(SYS_kill, me(), SIGUSR1);
    CHECK(seen_sp > alt.sp && seen_sp < alt.sp + alt.size);
    CHECK(gave(CALL2(SYS_sigaltstack, 0, &old), 0) && old.sp == alt.sp && old.size == alt.size && old.flags == 0);
    CHECK(gave(CALL2(SYS_sigaltstack, &off, 0), 0));
    CALL2(SYS_kill, me(), SIGUSR1);
    CHECK(seen_sp < alt.sp || seen_sp > alt.sp + alt.size);
}

static void on_alternate(int signo, struct siginfo *info, struct ucontext *uc)
{
    struct stack now, off = {0, 0, SS_DISABLE};
    (void)signo; (void)info;
    CALL2(SYS_sigaltstack, 0, &now);
    hits += now.flags == SS_ONSTACK;
    hits += failed(CALL2(SYS_sigaltstack, &off, 0), EINVAL);
    hits += (uc->flags & UC_CLRSTACK) != 0;
}

static void while_on_it(void)
{
    struct stack old, alt = {(word)fresh(65536), 65536, 0};
    CALL2(SYS_sigaltstack, &alt, 0);
    hits = 0;
    handle(SIGUSR1, on_alternate, SA_SIGINFO | SA_ONSTACK);
    CALL2(SYS_kill, me(), SIGUSR1);
    CHECK(hits == 3);
    CHECK(gave(CALL2(SYS_sigaltstack, 0, &old), 0) && old.flags == 0);
}

static void faults(void)
{
    char *page = fresh(4096);
    hits = 0;
    handle(SIGSEGV, skip, SA_SIGINFO);
    handle(SIGFPE, skip, SA_SIGINFO);
    handle(SIGILL, skip, SA_SIGINFO);
    handle(SIGTRAP, note, SA_SIGINFO);
    fault_length = 2;
    __asm__ volatile("mov %%eax, (%%rdi)" : : "D"(16L) : "memory");
    CHECK(hits == 1 && seen_signo == SIGSEGV && seen_code == 1 && seen_addr == 16 && seen_trap == 6);
    CALL3(SYS_mprotect, page, 4096, 1);
    __asm__ volatile("mov %%eax, (%%rdi)" : : "D"(page + 8) : "memory");
    CHECK(hits == 2 && seen_signo == SIGSEGV && seen_code == 2 && seen_addr == (word)page + 8);
    __asm__ volatile("mov %%eax, (%%rdi)" : : "D"(0x8000000000000000) : "memory");
    CHECK(hits == 3 && seen_signo == SIGSEGV && seen_code == 2 && seen_trap == 4);
    __asm__ volatile("xor %%ecx, %%ecx\n\tmov $1, %%eax\n\tcltd\n\tidiv %%ecx" : : : "rax", "rcx", "rdx");
    CHECK(hits == 4 && seen_signo == SIGFPE && seen_code == 1 && seen_trap == 8);
    __asm__ volatile("ud2");
    CHECK(hits == 5 && seen_signo == SIGILL && seen_code == 5 && seen_trap == 0);
    __asm__ volatile("int3");
    CHECK(hits == 6 && seen_signo == SIGTRAP && seen_code == 1 && seen_trap == 1);
}

static void waiting(void)
{
    struct sigset usr = only(SIGUSR1), io = only(SIGIO);
    struct siginfo info;
    struct timespec soon = {0, 1000000}, wrong = {0, 2000000000};
    CALL3(SYS_sigprocmask, SIG_BLOCK, &usr, 0);
    CHECK(failed(CALL3(SYS_sigtimedwait, &usr, &info, &soon), EAGAIN));
    CHECK(failed(CALL3(SYS_sigtimedwait, &usr, &info, &wrong), EINVAL));
    CALL2(SYS_kill, me(), SIGUSR1);
    CHECK(gave(CALL3(SYS_sigtimedwait, &usr, &info, &soon), 0) && info.signo == SIGUSR1 && info.reason.sent.pid == (int)me());
    struct siginfo told = {.signo = SIGUSR1, .code = 5};
    told.reason.sent.value = 0xfeedface;
    CHECK(gave(CALL2(SYS_sigqueueinfo, me(), &told), 0));
    CHECK(gave(CALL3(SYS_sigtimedwait, &usr, &info, 0), 0) && info.code == -1 && info.reason.sent.value == 0xfeedface);
    (void)io;
    hits = 0;
    handle(SIGUSR1, note, SA_SIGINFO);
    CALL2(SYS_kill, me(), SIGUSR1);
    CHECK(hits == 0);
    CHECK(failed(CALL1(SYS_sigsuspend, &nothing), EINTR));
    CHECK(hits == 1);
    struct sigset now;
    CALL3(SYS_sigprocmask, SIG_SETMASK, &nothing, &now);
    CHECK(now.bits[0] == usr.bits[0]);
}

static volatile int turns;
static void contexts(void)
{
    struct ucontext here;
    turns = 0;
    struct result got = CALL1(SYS_getcontext, &here);
    turns++;
    CHECK(turns == 1 ? gave(got, 0) : got.value == SYS_getcontext);        /* what rax held when it was read */
    if (turns == 1) {
        CHECK(here.flags == (UC_SIGMASK | UC_STACK | UC_CPU | UC_TLSBASE | UC_FPU));
        CHECK(here.reg[CS] == 0x1b && here.reg[SS] == 0x23 && here.reg[RFLAGS] & 2);
        here.mask = only(SIGUSR2);
        struct ucontext bad = here;
        bad.reg[CS] = 0x33;
        CHECK(failed(CALL1(SYS_setcontext, &bad), EINVAL));
        bad = here;
        bad.reg[RFLAGS] |= 0x3000;
        CHECK(failed(CALL1(SYS_setcontext, &bad), EINVAL));
        bad = here;
        bad.reg[RIP] = 0xffff800000000000;
        CHECK(failed(CALL1(SYS_setcontext, &bad), EINVAL));
        bad = here;
        bad.flags &= ~UC_CPU;
        CHECK(failed(CALL1(SYS_setcontext, &bad), EINVAL));
        CHECK(failed(CALL1(SYS_setcontext, 8), EFAULT));
        bad = here;
        *(u32 *)(bad.fp + 24) = 0xffffffff;                         /* MXCSR with bits no CPU has */
        CHECK(failed(CALL1(SYS_setcontext, &bad), EINVAL));
        bad = here;
        *(u64 *)(bad.fp + 464) = 0x723366726e673373, *(u64 *)(bad.fp + 472) = 8;      /* as a frame says where more state is: it lies */
        CHECK(failed(CALL1(SYS_setcontext, &bad), EFAULT));
        *(u64 *)(bad.fp + 472) = (u64)&bad;                          /* or is nonsense */
        struct result odd = CALL1(SYS_setcontext, &bad);
        CHECK(odd.carry);
        bad = here;
        bad.reg[CS] = 0x47, bad.reg[SS] = bad.reg[DS] = 0x3f;
        CALL1(SYS_setcontext, &bad);
    }
    struct sigset now;
    CALL3(SYS_sigprocmask, SIG_SETMASK, &nothing, &now);
    CHECK(turns == 2 && now.bits[0] == only(SIGUSR2).bits[0]);
}

static const struct { const char *name; void (*run)(void); } table[] = {
    {"actions", actions}, {"numbers", numbers}, {"masks", masks}, {"frames", frames}, {"vectors", vectors}, {"alternate", alternate},
    {"while_on_it", while_on_it}, {"faults", faults}, {"waiting", waiting}, {"contexts", contexts},
};

static int cases(int argc, char **argv)
{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        if (argc < 2 || same(argv[1], table[i].name)) table[i].run();
    return 0;
}
