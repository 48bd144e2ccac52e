/* A dynamic program: its interpreter is NetBSD's, which hands it a function to be called at the end.
 * builds: amd64-dynamic i386-dynamic */
#include "nb.h"

__attribute__((section(".interp"), used, retain)) static const char interpreter[] = "/libexec/ld.elf_so";

/* The register comes first: nb.h's start code does not keep it. */
#ifdef __x86_64__
__asm__(".globl _dynamic\n_dynamic:\n\tmov %rdx, cleanup(%rip)\n\tjmp _start\n");
#else
__asm__(".globl _dynamic\n_dynamic:\n\tcall 1f\n1:\tpop %eax\n\tmov %edx, cleanup-1b(%eax)\n\tjmp _start\n");
#endif
__attribute__((used)) void (*cleanup)(void) __attribute__((visibility("hidden")));

static int cases(int argc, char **argv)
{
    put("program: ");
    put(argv[argc - 1]);
    put("\n");
    CHECK(cleanup != NULL && failed(CALL1(SYS_close, 77), EBADF));
    if (cleanup) cleanup();
    struct result fd = CALL3(SYS_open, "/etc/release", 0, 0);
    CHECK(gave(CALL1(SYS_close, fd.value), 0));
    return 0;
}
