/* What a new image finds: stack, auxiliary vector, registers, break, bss.  The order and the invariants, never the addresses.
 * builds: x64 i386 pie gnu
 */
#define HAS_ROLES
#include "case.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

extern char **environ;
extern char end, edata, etext, __executable_start;

#define AUX(NAME) {AT_##NAME, #NAME}
static const struct { unsigned long type; const char *name; } aux_names[] = {
    AUX(NULL), AUX(EXECFD), AUX(PHDR), AUX(PHENT), AUX(PHNUM), AUX(PAGESZ), AUX(BASE), AUX(FLAGS), AUX(ENTRY), AUX(UID), AUX(EUID), AUX(GID),
    AUX(EGID), AUX(CLKTCK), AUX(PLATFORM), AUX(HWCAP), AUX(SECURE), AUX(RANDOM), AUX(EXECFN), AUX(SYSINFO), AUX(SYSINFO_EHDR),
    {24, "BASE_PLATFORM"}, {26, "HWCAP2"}, {27, "RSEQ_FEATURE_SIZE"}, {28, "RSEQ_ALIGN"}, {29, "HWCAP3"}, {30, "HWCAP4"}, {51, "MINSIGSTKSZ"},
};

static ElfW(auxv_t) *vector(void)
{
    char **p = environ;
    while (*p++) {}
    return (ElfW(auxv_t) *)p;
}

static const char *name_of(unsigned long type)
{
    static char other[24];
    for (size_t i = 0; i < sizeof aux_names / sizeof *aux_names; i++) if (aux_names[i].type == type) return aux_names[i].name;
    snprintf(other, sizeof other, "type %lu", type);
    return other;
}

static int role(int argc, char **argv)
{
    (void)argc;
    current = "again";
    if (!strcmp(argv[2], "secure")) {
        say("secure %lu uid %lu euid %lu", getauxval(AT_SECURE), getauxval(AT_UID), getauxval(AT_EUID));
        say("env %s", getenv("LD_PRELOAD") ? "kept" : "dropped");
    } else if (!strcmp(argv[2], "execfn")) say("execfn %s", (char *)getauxval(AT_EXECFN));
    else if (!strcmp(argv[2], "random")) write(1, (void *)getauxval(AT_RANDOM), 16);
    else if (!strcmp(argv[2], "places")) {
        uintptr_t places[4] = {(uintptr_t)&argc & ~0xfffUL, (uintptr_t)sbrk(0), (uintptr_t)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), (uintptr_t)&etext};
        write(1, places, sizeof places);
    }
    return 0;
}

CASE(auxv_order)
{
    for (ElfW(auxv_t) *a = vector(); ; a++) {
        switch (a->a_type) {
        case AT_PHENT: case AT_PHNUM: case AT_PAGESZ: case AT_FLAGS: case AT_UID: case AT_EUID: case AT_GID: case AT_EGID: case AT_CLKTCK:
        case AT_SECURE: case 27: case 28: case 51: case AT_HWCAP: case 26:
            say("%s = %lu", name_of(a->a_type), (unsigned long)a->a_un.a_val);
            break;
        case AT_PLATFORM:
            say("PLATFORM = %s", (char *)a->a_un.a_val);
            break;
        default:
            say("%s", name_of(a->a_type));
        }
        if (a->a_type == AT_NULL) return;
    }
}

CASE(auxv_meaning)
{
    ElfW(Phdr) *ph = (void *)getauxval(AT_PHDR);
    ElfW(Ehdr) *eh = (void *)&__executable_start;
    IS(memcmp(eh->e_ident, ELFMAG, 4) == 0);
    IS((char *)ph == (char *)eh + eh->e_phoff);
    IS(getauxval(AT_PHNUM) == eh->e_phnum);
    uintptr_t bias = eh->e_type == ET_DYN ? (uintptr_t)eh : 0;
    IS(getauxval(AT_ENTRY) == bias + eh->e_entry);
    say("type %d base %s", eh->e_type, getauxval(AT_BASE) ? "set" : "zero");
    ElfW(Ehdr) *vdso = (void *)getauxval(AT_SYSINFO_EHDR);
    IS(vdso && memcmp(vdso->e_ident, ELFMAG, 4) == 0 && vdso->e_type == ET_DYN);
    say("vdso class %d machine %d", vdso->e_ident[EI_CLASS], vdso->e_machine);
    IS(getauxval(AT_RANDOM) != 0);
    char *execfn = (char *)getauxval(AT_EXECFN);
    IS(strcmp(strrchr(execfn, '/'), "/startup") == 0);
}

CASE(stack_layout)
{
    ElfW(auxv_t) *a = vector();
    char **arguments = environ - 1;
    while (arguments[-1] && (uintptr_t)arguments[-1] > 100) arguments--;
    long *bottom = (long *)arguments - 1;
    say("argc %ld at an aligned address %d", *bottom, (uintptr_t)bottom % 16 == 0);
    while (a->a_type) a++;
    uintptr_t after = (uintptr_t)(a + 1), random = getauxval(AT_RANDOM), platform = getauxval(AT_PLATFORM);
    IS(random > after && platform > random);
    IS(platform - random == 16);
    say("platform to first argument %s", (uintptr_t)arguments[0] > platform ? "above" : "below");
    uintptr_t at = (uintptr_t)arguments[0];
    int contiguous = 1;
    for (char **p = arguments; *p; p++) { contiguous &= (uintptr_t)*p == at; at += strlen(*p) + 1; }
    for (char **p = environ; *p; p++) { contiguous &= (uintptr_t)*p == at; at += strlen(*p) + 1; }
    IS(contiguous);
    IS(at == getauxval(AT_EXECFN));
    at += strlen((char *)at) + 1;
    say("%d bytes from the end of the file name to the end of the page", (int)(4096 - at % 4096));
    long last;
    memcpy(&last, (void *)at, sizeof last);
    IS(last == 0);
}

CASE(what_lies_where)
{
    uintptr_t stack = (uintptr_t)environ, heap = (uintptr_t)sbrk(0), map = (uintptr_t)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IS(heap >= (uintptr_t)&end);
    IS(map < stack);
    say("stack bits %d map bits %d text bits %d", (int)sizeof(long) * 8 - __builtin_clzl(stack), (int)sizeof(long) * 8 - __builtin_clzl(map),
        (uintptr_t)&etext < 0x10000000 ? 0 : (int)sizeof(long) * 8 - __builtin_clzl((uintptr_t)&etext));
    IS(heap - (uintptr_t)&end < (sizeof(long) == 8 ? 64UL << 20 : 64UL << 20) + (1UL << 30));
}

static char big_bss[100000];
static char small_data[] = "data";

CASE(bss_is_zero)
{
    int wrong = 0;
    for (size_t i = 0; i < sizeof big_bss; i++) wrong += big_bss[i] != 0;
    say("wrong %d data %s", wrong, small_data);
    char *p = &edata;
    uintptr_t page_end = ((uintptr_t)&end + 4095) & ~4095UL;
    wrong = 0;
    for (char *q = &end; (uintptr_t)q < page_end; q++) wrong += *q != 0;
    say("tail of the last page: wrong %d", wrong);
    (void)p;
}

static int differs(const char *what)
{
    char self[4096], one[64], two[64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n] = 0;
    for (int i = 0; i < 2; i++) {
        int p[2];
        pipe(p);
        if (fork() == 0) { dup2(p[1], 1); execl(self, "x", "--as", what, (char *)NULL); _exit(9); }
        close(p[1]);
        memset(i ? two : one, 0, 64);
        read(p[0], i ? two : one, 64);
        close(p[0]);
        wait(NULL);
    }
    return memcmp(one, two, 64) != 0;
}

CASE(randomness)
{
    say("AT_RANDOM differs %d", differs("random"));
    say("addresses differ %d", differs("places"));
}

CASE(secure_mode)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n] = 0;
    setenv("LD_PRELOAD", "", 1);
    CHILD execl(self, "x", "--as", "secure", (char *)NULL); REAPED
    symlink(self, "./link");
    CHILD execl("./link", "x", "--as", "execfn", (char *)NULL); REAPED
    CHILD execl("link", "x", "--as", "execfn", (char *)NULL); REAPED
    static char room[65536];
    int from = open(self, O_RDONLY), to = open("copy", O_CREAT | O_WRONLY, 0755);
    for (ssize_t k; (k = read(from, room, sizeof room)) > 0;) write(to, room, (size_t)k);
    close(to);
    chmod(".", 0755);
    chown("copy", 77, 88), chmod("copy", 06755);
    CHILD execl("./copy", "x", "--as", "secure", (char *)NULL); REAPED
    CHILD setgid(5); setuid(1000); execl("./copy", "x", "--as", "secure", (char *)NULL); REAPED
    chmod("copy", 0755);
    CHILD setresuid(0, 1000, 0); execl("./copy", "x", "--as", "secure", (char *)NULL); REAPED
}

#if defined(__x86_64__)
CASE(floating_point_state)
{
    unsigned short control;
    unsigned mxcsr;
    __asm__ volatile("fnstcw %0; stmxcsr %1" : "=m"(control), "=m"(mxcsr));
    say("x87 %x mxcsr %x", control, mxcsr & ~0x3fu);
}
#endif

CASE(segment_registers)
{
    unsigned short cs, ss, ds, es;
    __asm__ volatile("mov %%cs, %0; mov %%ss, %1; mov %%ds, %2; mov %%es, %3" : "=r"(cs), "=r"(ss), "=r"(ds), "=r"(es));
    say("cs %x ss %x ds %x es %x", cs, ss, ds, es);
}
