/* ELF64 as a loader needs it, and the calls by hand. */
#ifndef BASE_ELF_H
#define BASE_ELF_H

typedef unsigned long word;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef long i64;
#define NULL ((void *)0)
#define PAGE 4096ul
#define EXPORT __attribute__((visibility("default")))
#define HIDDEN __attribute__((visibility("hidden")))

struct ehdr { u8 ident[16]; u16 type, machine; u32 version; word entry, phoff, shoff; u32 flags; u16 ehsize, phentsize, phnum, rest[3]; };
struct phdr { u32 type, flags; word offset, vaddr, paddr, filesz, memsz, align; };
struct dyn { i64 tag; word value; };
struct sym { u32 name; u8 info, other; u16 shndx; word value, size; };
struct rela { word offset, info; i64 addend; };
struct aux { word type, value; };
struct ps_strings { char **argv; int argc; char **envp; int envc; };

enum { PT_LOAD = 1, PT_DYNAMIC = 2, PT_PHDR = 6, PT_TLS = 7, PT_RELRO = 0x6474e552 };
enum { DT_NEEDED = 1, DT_PLTRELSZ = 2, DT_HASH = 4, DT_STRTAB = 5, DT_SYMTAB = 6, DT_RELA = 7, DT_RELASZ = 8, DT_SONAME = 14,
       DT_JMPREL = 23, DT_INIT_ARRAY = 25, DT_FINI_ARRAY = 26, DT_INIT_ARRAYSZ = 27, DT_FINI_ARRAYSZ = 28 };
enum { R_64 = 1, R_COPY = 5, R_GLOB_DAT = 6, R_JUMP_SLOT = 7, R_RELATIVE = 8, R_TPOFF64 = 18 };
enum { AT_PHDR = 3, AT_PHENT = 4, AT_PHNUM = 5, AT_PAGESZ = 6, AT_BASE = 7, AT_FLAGS = 8, AT_ENTRY = 9, AT_STACKBASE = 13,
       AT_EUID = 2000, AT_RUID, AT_EGID, AT_RGID, AT_EXECNAME = 2014 };
enum { SYS_exit = 1, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6, SYS_readlink = 58, SYS_munmap = 73, SYS_mprotect = 74,
       SYS_madvise = 75, SYS_mmap = 197, SYS_lseek = 199, SYS_sysctl = 202, SYS_issetugid = 305, SYS_lwp_self = 311,
       SYS_lwp_getprivate = 316, SYS_lwp_setprivate = 317, SYS_getdents = 390, SYS_fstat = 440, SYS_fstatvfs190 = 485 };
enum { MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 0x10, MAP_ANON = 0x1000, PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4 };
#define MAP_ALIGNED(bits) ((bits) << 24)

/* The value, or minus the error: libc's stubs look at the carry flag as this does. */
static inline i64 call(word number, word a, word b, word c, word d, word e, word f, word g)
{
    u8 carry;
    word value = number, third = c;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = f;
    __asm__ volatile("sub $256, %%rsp\n\tmov %[g], 8(%%rsp)\n\tsyscall\n\tlea 256(%%rsp), %%rsp\n\tsetc %[carry]"
                     : "+a"(value), "+d"(third), [carry] "=r"(carry), "+r"(r10), "+r"(r8), "+r"(r9)
                     : "D"(a), "S"(b), [g] "r"(g) : "rcx", "r11", "memory", "cc");
    return carry ? -(i64)value : (i64)value;
}
#define CALL0(n) call(n, 0, 0, 0, 0, 0, 0, 0)
#define CALL1(n, a) call(n, (word)(a), 0, 0, 0, 0, 0, 0)
#define CALL2(n, a, b) call(n, (word)(a), (word)(b), 0, 0, 0, 0, 0)
#define CALL3(n, a, b, c) call(n, (word)(a), (word)(b), (word)(c), 0, 0, 0, 0)
#define CALL4(n, a, b, c, d) call(n, (word)(a), (word)(b), (word)(c), (word)(d), 0, 0, 0)
#define CALL6(n, a, b, c, d, e, f) call(n, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e), (word)(f), 0)
#define MMAP(addr, size, prot, flags, fd, pos) \
    ((char *)call(SYS_mmap, (word)(addr), (word)(size), (word)(prot), (word)(flags), (word)(fd), 0, (word)(pos)))
#define REFUSED(p) ((word)(p) > -4096ul)

__attribute__((unused)) static word length(const char *s) { word n = 0; while (s[n]) n++; return n; }
__attribute__((unused)) static int same(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return *a == *b; }
__attribute__((unused)) static void say(int fd, const char *s) { CALL3(SYS_write, fd, s, length(s)); }

/* A thread's block, above its variables (TLS variant II): it begins with its own address. */
struct tcb { struct tcb *self; void **dtv; void *pthread; };
#endif
