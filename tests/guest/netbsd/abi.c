/* How a call comes in and goes out: carry flag, two results, indirect calls, arguments on the stack, numbers that are none. */
#include "nb.h"

static volatile int sys_signals;
static void on_sys(int signo) { if (signo == SIGSYS) sys_signals++; }

static int cases(int argc, char **argv)
{
    (void)argv;
    CHECK(argc == 1);
    CHECK(failed(CALL3(SYS_read, 77, 0, 0), EBADF));
    CHECK(failed(CALL3(SYS_write, 1, 1, 5), EFAULT));
    CHECK(gave(CALL3(SYS_write, 1, "two words\n", 10), 10));
    struct result pid = CALL0(SYS_getpid);
    CHECK(!pid.carry && pid.value > 1 && pid.second == CALL0(SYS_getppid).value);
    struct result ids = CALL0(SYS_getuid);
    CHECK(!ids.carry && ids.value == ids.second);
    CHECK(CALL0(SYS_getppid).second == 0);
    CHECK(CALL3(SYS_read, 77, 0, 1234).second == 1234);
    CHECK(CALL0(SYS_getpid | 512).value == pid.value);
    CHECK(CALL1(SYS_syscall, SYS_getpid).value == pid.value);
    CHECK(CALL1(SYS___syscall, SYS_getpid).second == pid.second);
    CHECK(gave(CALL4(SYS_syscall, SYS_write, 1, "indirect\n", 9), 9));
    CHECK(failed(CALL2(SYS_syscall, SYS_syscall, SYS_getpid), ENOSYS));
    CHECK(failed(CALL2(SYS_syscall, SYS___syscall, SYS_getpid), ENOSYS));
    CHECK(failed(CALL1(SYS_syscall, 100000), ENOSYS));
    CHECK(gave(handle(SIGSYS, on_sys, 0), 0));
    CHECK(failed(CALL0(511), ENOSYS));
    CHECK(sys_signals == 1);
    CHECK(failed(CALL0(151), ENOSYS));
    CHECK(sys_signals == 2);

    char *page = fresh(8192);
    CHECK(page != NULL);
    CHECK(failed(CALL7(SYS_mmap, page, 4096, 3, 0x1012, 0, 0, 0), EINVAL));
    CHECK(gave(CALL2(SYS_munmap, page + 4096, 4096), 0));
    /* The seventh argument stands where nothing can be read: EFAULT, and nothing is mapped. */
    word value, carry;
    __asm__ volatile("mov %%rsp, %%r12\n\tmov %[sp], %%rsp\n\tmov $-1, %%r8\n\tmov $0x1002, %%r10d\n\tsyscall\n\tmov %%r12, %%rsp\n\t"
                     "setc %%cl\n\tmovzx %%cl, %%rcx"
                     : "=a"(value), "=&c"(carry)
                     : "a"((word)SYS_mmap), "D"(0), "S"(4096), "d"(3), [sp] "r"(page + 4096)
                     : "r8", "r10", "r11", "r12", "memory", "cc");
    CHECK(carry && value == EFAULT);
    /* The same table by int 0x80, the same registers. */
    __asm__ volatile("int $0x80\n\tsetc %%cl\n\tmovzx %%cl, %%rcx" : "=a"(value), "=&c"(carry) : "a"((word)SYS_getpid) : "rdx", "memory", "cc");
    CHECK(!carry && value == pid.value);
    CHECK(failed(CALL6(SYS_posix_spawn, 0, "/no/such", 0, 0, 0, 0), ENOENT) == 0);
    CHECK(gave(CALL6(SYS_posix_spawn, 0, "/no/such", 0, 0, &argv[argc], 0), ENOENT));
    CHECK(gave(CALL0(SYS_issetugid), 0));
    CHECK(failed(CALL3(SYS_rasctl, 0, 0, 2), EOPNOTSUPP));
    return 0;
}
