/* What a program finds at its start: arguments in registers, a stack without argc, the auxiliary vector in its order. */
#include "sy.h"

static const char *const words[] = {"relocated", "twice"};

static int run(int argc, char **argv, char **envp)
{
    word rsp;
    __asm__("mov %%rsp, %0" : "=r"(rsp));
    CHECK(argc >= 1 && argv[argc] == NULL);
    CHECK(argv[0] && length(argv[0]) > 0);
    CHECK((char **)argv < envp && envp == argv + argc + 1);
    CHECK(rsp < (word)argv && (word)argv - rsp < 4096);
    CHECK(same(words[0], "relocated") && same(words[1], "twice"));
    static const u64 order[] = {AT_PAGESZ, AT_BASE, AT_ENTRY, AT_UID, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK,
                                AT_SECURE, AT_RANDOM, AT_EXECFN, AT_IGNORE, AT_NULL};
    int in_order = 1;
    for (unsigned n = 0; n < sizeof order / sizeof *order; n++) in_order &= start_auxv[n].type == order[n];
    CHECK(in_order);
    CHECK(aux(AT_PAGESZ)->value == 4096);
    CHECK(*(u32 *)aux(AT_BASE)->value == 0x464c457f);
    CHECK(same((char *)aux(AT_PLATFORM)->value, "x86_64"));
    CHECK(*(char *)aux(AT_EXECFN)->value == '/');
    CHECK(aux(AT_RANDOM)->value > rsp);
    CHECK(aux(AT_UID)->value == (u64)CALL0(SC_getuid) && aux(AT_GID)->value == (u64)CALL0(SC_getgid));
    CHECK(CALL0(SC_getpid) > 0);
    CHECK(CALL0(SC_count) == -ENOSYS && CALL0(-1) == -ENOSYS);
    CHECK(CALL3(SC_write, 99, "x", 1) == -EBADF);
    return 0;
}
