/* A main program as the loader starts one: relocated, tied to libsystem.so, with storage of its thread, and locked down. */
#define BY_LOADER
#include "sy.h"

static const char *const words[] = {"relocated", "twice"};
static __thread int counter = 41;
static __thread long empty[4];
static int constructed;
static struct stat st;

__attribute__((constructor)) static void construct(void) { constructed++; }

static i64 raw_call(void)
{
    i64 result = SC_getpid;
    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
    return result;
}
static void call_from_here(void) { raw_call(); }
static void overflow_text(void) { *(volatile char *)raw_call = 0; }
static void crash_again(void) { leave(in_child(call_from_here) == SIGSEGV ? 7 : 8); }

static int run(int argc, char **argv, char **envp)
{
    word rsp, fs;
    __asm__("mov %%rsp, %0\n\tmov %%fs:0, %1" : "=r"(rsp), "=r"(fs));
    word text = (word)raw_call & ~(word)4095;
    CHECK(argc >= 1 && argv[argc] == NULL && envp == argv + argc + 1 && rsp < (word)argv);
    CHECK(same(words[0], "relocated") && same(words[1], "twice") && constructed == 1);
    CHECK(counter == 41 && ++counter == 42 && !empty[0] && !empty[3]);
    CHECK((word)&counter < fs && fs - (word)&counter < 4096);
    CHECK(aux(AT_EXECFD)->value >= 3 && CALL3(SC_fcntl, aux(AT_EXECFD)->value, 1, 0) == -EBADF);
    CHECK(*(u32 *)aux(AT_BASE)->value == 0x464c457f && aux(AT_ENTRY)->value - aux(AT_BASE)->value < 0x100000);
    CHECK(aux(AT_SECURE)->value == 0);
    struct stat_params named = {string((char *)aux(AT_EXECFN)->value), &st, AT_FDCWD, 1};
    CHECK(CALL1(SC_stat, &named) == 0 && (st.mode & 0170000) == 0100000);
    CHECK(CALL3(SC_mprotect, text, 4096, PROT_READ) == -EPERM && CALL2(SC_munmap, text, 4096) == -EPERM);
    CHECK(CALL2(SC_annotate_mapping, text, 1) == -EPERM && CALL2(SC_annotate_mapping, text, 2) == -EPERM);
    CHECK(CALL3(SC_mprotect, aux(AT_BASE)->value, 4096, PROT_READ) == -EPERM);
    CHECK(CALL2(SC_allocate_tls, &st, 4096) == -EEXIST);
    CHECK(in_child(call_from_here) == SIGSEGV && in_child(crash_again) == 256 + 7);
    CHECK(in_child(overflow_text) == SIGSEGV);
    if (argc > 1) put(argv[1]), put("\n");
    return argc > 2 ? argc : 0;
}
