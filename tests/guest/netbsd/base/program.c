/* A dynamic program as NetBSD's tools make them: start code that gets a clean-up function and ps_strings in registers, symbols of
 * libc.so.12, a weak one nobody has, and variables of its thread. */
#include "elf.h"

__attribute__((section(".note.netbsd.ident"), used, retain, aligned(4))) static const struct { u32 namesz, descsz, type; char name[8]; u32 version; }
netbsd_note = {7, 4, 1, "NetBSD\0", 1001000000};

__attribute__((section(".interp"), used, retain)) static const char interpreter[] = "/libexec/ld.elf_so";

extern int version, atexit(void (*)(void)), puts(const char *), open(const char *, int, int), entries(const char *), *__errno(void);
extern void exit(int), _libc_init(void), nobody(void) __attribute__((weak));
extern char **environ;
static __thread int mine = 42;
static __thread int none;
static int (*const table[])(const char *) = {puts, entries};        /* relocated, then read-only */
static volatile int constructed;
__attribute__((constructor)) static void construct(void) { constructed = constructed + 1; }
extern void (*const __init_array_start[])(void) HIDDEN, (*const __init_array_end[])(void) HIDDEN;

__asm__(".globl _start\n_start:\n\tand $-16, %rsp\n\tsub $8, %rsp\n\tmov %rdx, %rdi\n\tmov %rbx, %rsi\n\tjmp begin\n");

static int failures;
#define CHECK(condition) do { if (condition) puts("ok " #condition); else puts("FAILED " #condition), failures++; } while (0)

static int main(int argc, char **argv, char **envp)
{
    CHECK(version == 12 && nobody == NULL && constructed == 1 && envp == environ);
    CHECK(mine == 42 && none == 0 && *__errno() == 7);
    mine = 43;
    CHECK(open("/no/such", 0, 0) == -1 && *__errno() == 2 && mine == 43);
    CHECK(argc == 2 && table[0](argv[1]) == 0);
    CHECK(table[1]("/usr/lib") == 3 && table[1]("/usr/lib/libc.so.12") == -1 && *__errno() == 20);
    CHECK(CALL3(SYS_mprotect, (word)table & -PAGE, PAGE, 1) == 0);
    return failures;
}

__attribute__((used, noreturn)) HIDDEN void begin(void (*cleanup)(void), struct ps_strings *strings)
{
    environ = strings->envp;
    if (cleanup) atexit(cleanup);
    _libc_init();
    for (void (*const *f)(void) = __init_array_start; f < __init_array_end; f++) (*f)();
    exit(main(strings->argc, strings->argv, environ));
    for (;;) ;
}
