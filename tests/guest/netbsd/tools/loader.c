/* The part that ld.elf_so plays: it is told of the program by the auxiliary vector, maps the library of the program's system, hands the
 * program a function for its end, and starts it.  Built as position-independent code, without relocations.
 * builds: amd64-pie i386-pie */
#include "nb.h"

enum { AT_PHDR = 3, AT_PHNUM = 5, AT_BASE = 7, AT_ENTRY = 9, AT_STACKBASE = 13, AT_EXECNAME = 2014 };

#ifdef __x86_64__
struct phdr { u32 type, flags; word offset, vaddr, paddr, filesz, memsz, align; };
struct ehdr { u8 ident[16]; u16 type, machine; u32 version; word entry, phoff, shoff; u32 flags; u16 ehsize, phentsize, phnum; };
#else
struct phdr { u32 type, offset, vaddr, paddr, filesz, memsz, flags, align; };
struct ehdr { u8 ident[16]; u16 type, machine; u32 version; word entry, phoff, shoff; u32 flags; u16 ehsize, phentsize, phnum; };
#endif

static void at_the_end(void) { put("ld.elf_so: good-bye\n"); }

static void line(const char *what, int holds) { put("ld.elf_so: "); put(what); put(holds ? "\n" : " FAILED\n"); failures += !holds; }

/* The library's segments below each other; its one function is its entry point. */
static int (*library(const char *path))(void)
{
    static u8 head[1024];
    struct result fd = CALL3(SYS_open, path, 0, 0), got = CALL3(SYS_read, fd.value, head, sizeof head);
    if (fd.carry || got.carry) return NULL;
    struct ehdr *ehdr = (void *)head;
    struct phdr *phdr = (void *)(head + ehdr->phoff);
    struct result room = CALL7(SYS_mmap, 0, 0x10000, 0, 0x1002, -1, 0, 0);     /* MAP_ANON | MAP_PRIVATE, nothing allowed */
    for (int i = 0; i < ehdr->phnum && !room.carry; i++, phdr++) {
        if (phdr->type != 1) continue;
        int prot = (phdr->flags & 4 ? 1 : 0) | (phdr->flags & 2 ? 2 : 0) | (phdr->flags & 1 ? 4 : 0);
        word inside = phdr->vaddr & 4095;
        if (phdr->vaddr + phdr->memsz > 0x10000 || !phdr->filesz) continue;
        struct result at = CALL7(SYS_mmap, room.value + phdr->vaddr - inside, phdr->filesz + inside, prot, 0x12, fd.value, 0,
                                 phdr->offset - inside);                        /* MAP_FIXED | MAP_PRIVATE */
        if (at.carry) return NULL;
    }
    CALL1(SYS_close, fd.value);
    return room.carry ? NULL : (int (*)(void))(room.value + ehdr->entry);
}

static int cases(int argc, char **argv)
{
    word *sp = (word *)start_strings->argv - 1, *aux = (word *)start_strings->envp + start_strings->envc + 1;
    word found[16] = {0}, name = 0;
    for (; *aux; aux += 2) {
        if (*aux < 16) found[*aux] = aux[1];
        if (*aux == AT_EXECNAME) name = aux[1];
    }
    line("argc is on the stack", *sp == (word)argc && argv[argc] == NULL);
    line("AT_BASE is where I am", *(u8 *)found[AT_BASE] == 0x7f && found[AT_BASE] % 4096 == 0);
    line("AT_ENTRY lies in the program", found[AT_ENTRY] > found[AT_PHDR] && found[AT_PHNUM] > 2);
    line((const char *)name, name != 0);
    int (*answer)(void) = library("/usr/lib/libanswer.so");
    line("the library is the base set's", answer != NULL && answer() == 42);
    if (failures) return 1;
#ifdef __x86_64__
    __asm__ volatile("mov %0, %%rsp\n\tjmp *%1" : : "r"(sp), "r"(found[AT_ENTRY]), "b"(start_strings), "d"(at_the_end) : "memory");
#else
    __asm__ volatile("mov %0, %%esp\n\tjmp *%1" : : "r"(sp), "r"(found[AT_ENTRY]), "b"(start_strings), "d"(at_the_end) : "memory");
#endif
    return 1;
}
