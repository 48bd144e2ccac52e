/* A 32-bit program: int 0x80, arguments on the stack, 64-bit ones in two words, its own frames, GS as the private pointer.
 * builds: i386 */
#include "nb.h"

static word me(void) { return CALL0(SYS_getpid).value; }

static volatile int hits, seen_signo, seen_code;
static volatile word seen_addr, seen_sp;
static volatile u32 seen_flags;

static void note(int signo, struct siginfo *info, struct ucontext *uc)
{
    hits++;
    seen_signo = signo, seen_code = info->code, seen_addr = info->reason.fault.addr, seen_flags = uc->flags;
    seen_sp = (word)info - 16;                    /* where the frame begins: a return address, three arguments */
    if (info->signo != signo) hits += 100;
}

static volatile int fault_length;
static void skip(int signo, struct siginfo *info, struct ucontext *uc)
{
    note(signo, info, uc);
    uc->reg[RIP] += (word)fault_length;
}

static void calls(const char *self)
{
    CHECK(failed(CALL3(SYS_read, 77, 0, 0), EBADF));
    CHECK(failed(CALL3(SYS_write, 1, 1, 5), EFAULT));
    CHECK(gave(CALL3(SYS_write, 1, "two words\n", 10), 10));
    struct result pid = CALL0(SYS_getpid);
    CHECK(!pid.carry && pid.second == CALL0(SYS_getppid).value);
    CHECK(CALL1(SYS_syscall, SYS_getpid).value == pid.value);
    CHECK(CALL2(SYS___syscall, SYS_getpid, 0).value == pid.value);
    struct result fd = CALL3(SYS_open, self, 0, 0);
    CHECK(!fd.carry);
    u32 magic = 0;
    CHECK(gave(CALL3(SYS_read, fd.value, &magic, 4), 4) && magic == 0x464c457f);
    struct result shown = CALL7(SYS_mmap, 0, 4096, 1, 2, fd.value, 0, 0);
    CHECK(!shown.carry && *(u32 *)shown.value == magic);
    CHECK(gave(CALL1(SYS_close, fd.value), 0));
    char *page = fresh(8192);
    CHECK(page && !((word)page & 4095));
    page[8191] = 1;
    CHECK(gave(CALL3(SYS_mprotect, page, 4096, 1), 0));
    CHECK(failed(CALL3(SYS_read, 0, page, 1), EBADF) || failed(CALL3(SYS_read, 0, page, 1), EFAULT));
    CHECK(gave(CALL2(SYS_munmap, page, 8192), 0));
    extern char end[];
    word heap = ((word)end + 4095) & ~(word)4095;
    CHECK(gave(CALL1(SYS_break, heap + 65536), 0));
    ((char *)heap)[65535] = 1;
}

static void signals(void)
{
    CHECK(sizeof(struct ucontext) == 776 && sizeof(struct siginfo) == 128);
    CHECK(gave(handle(SIGUSR1, note, SA_SIGINFO), 0));
    CHECK(gave(CALL2(SYS_kill, me(), SIGUSR1), 0) && hits == 1 && seen_signo == SIGUSR1 && seen_code == 0);
    CHECK((seen_flags & (UC_SIGMASK | UC_CPU | UC_FPU | UC_CLRSTACK)) == (UC_SIGMASK | UC_CPU | UC_FPU | UC_CLRSTACK));
    CHECK((seen_sp + 4) % 16 == 0);
    struct sigset usr = only(SIGUSR1), old;
    CALL3(SYS_sigprocmask, SIG_BLOCK, &usr, 0);
    CALL2(SYS_kill, me(), SIGUSR1);
    CHECK(hits == 1);
    CALL3(SYS_sigprocmask, SIG_SETMASK, &nothing, &old);
    CHECK(hits == 2 && seen_signo == SIGUSR1);
    CHECK(old.bits[0] == usr.bits[0]);
    handle(SIGSEGV, skip, SA_SIGINFO);
    handle(SIGFPE, skip, SA_SIGINFO);
    fault_length = 2;
    __asm__ volatile("mov %%eax, (%%edi)" : : "D"(16) : "memory");
    CHECK(hits == 3 && seen_signo == SIGSEGV && seen_code == 1 && seen_addr == 16);
    __asm__ volatile("xor %%ecx, %%ecx\n\tmov $1, %%eax\n\tcltd\n\tidiv %%ecx" : : : "eax", "ecx", "edx");
    CHECK(hits == 4 && seen_signo == SIGFPE && seen_code == 1);
    struct stack alt = {(word)fresh(65536), 65536, 0};
    CHECK(gave(CALL2(SYS_sigaltstack, &alt, 0), 0));
    handle(SIGUSR1, note, SA_SIGINFO | SA_ONSTACK);
    CALL2(SYS_kill, me(), SIGUSR1);
    CHECK(seen_sp > alt.sp && seen_sp < alt.sp + alt.size);
    word ebx = 0x11223344, out;
    __asm__ volatile("sub $32, %%esp\n\tmov %[pid], 4(%%esp)\n\tmovl $30, 8(%%esp)\n\tmov %[in], %%esi\n\tint $0x80\n\tadd $32, %%esp\n\tmov %%esi, %[out]"
                     : [out] "=r"(out) : "a"(SYS_kill), [pid] "r"(me()), [in] "r"(ebx) : "esi", "edx", "memory");
    CHECK(out == ebx && hits == 6);
}

static int status_of(struct result pid)
{
    int status = -1;
    if (pid.carry || !gave(CALL4(SYS_wait4, pid.value, &status, 0, 0), pid.value)) return -1;
    return status;
}

static void processes(const char *self)
{
    const char *argv[] = {self, "child", 0}, *none[] = {0};
    struct result pid = CALL0(SYS_fork);
    if (!pid.carry && pid.value == 0) { CALL2(SYS_kill, me(), SIGUSR2); leave(0); }
    CHECK(status_of(pid) == SIGUSR2);
    pid = CALL0(SYS_fork);
    if (pid.value == 0) { CALL3(SYS_execve, self, argv, none); leave(1); }
    CHECK(status_of(pid) == 40 << 8);
    pid = CALL0(SYS_vfork);
    if (pid.value == 0) { CALL3(SYS_execve, self, argv, none); CALL1(SYS_exit, 1); }
    CHECK(status_of(pid) == 40 << 8);
    int child = 0;
    CHECK(gave(CALL6(SYS_posix_spawn, &child, self, 0, 0, argv, none), 0));
    struct result spawned = {(word)child, 0, 0};
    CHECK(status_of(spawned) == 40 << 8);
    CHECK(failed(CALL3(SYS_execve, "/no/such", argv, none), ENOENT));
}

static volatile int finished, lid_seen;
static volatile word private_seen;
static void thread(void)
{
    static word block[2] = {0x1234, 0};
    lid_seen = (int)CALL0(SYS_lwp_self).value;
    CALL1(SYS_lwp_setprivate, block);
    __asm__ volatile("mov %%gs:0, %0" : "=r"(private_seen));
    CALL6(SYS_lwp_park, 3, 0, 0, 0, 0, 0);
    finished++;
    CALL0(SYS_lwp_exit);
}

static void lwps(void)
{
    static word mine[2] = {0x77, 0};
    struct ucontext uc;
    int lid = 0, departed = 0;
    CHECK(gave(CALL1(SYS_lwp_setprivate, mine), 0));
    CHECK(gave(CALL1(SYS_getcontext, &uc), 0) && uc.tls == (word)mine);
    uc.reg[RSP] = (word)fresh(65536) + 65536 - 20;
    uc.reg[RIP] = (word)thread;
    CHECK(gave(CALL3(SYS_lwp_create, &uc, 0, &lid), 0) && lid == 2);
    nap(2000000);
    CHECK(gave(CALL2(SYS_lwp_unpark, lid, 0), 0));
    CHECK(gave(CALL2(SYS_lwp_wait, lid, &departed), 0) && departed == lid && finished == 1);
    word again;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(again));
    CHECK(lid_seen == 2 && private_seen == 0x1234 && again == 0x77);
}

static int cases(int argc, char **argv)
{
    if (argc == 2 && same(argv[1], "child")) return 40;
    calls(argv[0]);
    signals();
    processes(argv[0]);
    lwps();
    return 0;
}
