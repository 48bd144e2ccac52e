/* The part of ld.elf_so: what NetBSD's own does with the system, call for call, in few lines.  It relocates itself, believes its
 * auxiliary vector, asks for the machine, looks through /etc/ld.so.conf and the usual directories, maps libraries whole and then piece
 * by piece, ties symbols, lays out thread-local storage, makes relocated data read-only, calls constructors, and hands over. */
#include "elf.h"

struct object {
    const char *name;
    char *base;
    struct dyn *dynamic;
    struct phdr *phdr;
    word phnum, tls_offset;
    const char *strings;
    struct sym *symbols;
    u32 *hash;
};
static struct object objects[4];
static int count;
static word static_tls;

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tmov %rbx, %rsi\n\tand $-16, %rsp\n\tcall rtld\n"
        "\tmov saved_sp(%rip), %rsp\n\tmov saved_strings(%rip), %rbx\n\tlea goodbye(%rip), %rdx\n\tjmp *%rax\n");
HIDDEN word saved_sp, saved_strings;

__attribute__((noreturn)) static void die(const char *why)
{
    say(2, "ld.elf_so: "), say(2, why), say(2, "\n");
    CALL1(SYS_exit, 1);
    for (;;) ;
}
static void must(int holds, const char *why) { if (!holds) die(why); }

__attribute__((used)) void *memset(void *to, int byte, word n) { for (volatile u8 *p = to; n--;) *p++ = (u8)byte; return to; }
__attribute__((used)) void *memcpy(void *to, const void *from, word n)
{
    volatile u8 *p = to;
    for (const u8 *q = from; n--;) *p++ = *q++;
    return to;
}

static word of(const struct object *o, i64 tag)
{
    for (struct dyn *d = o->dynamic; d->tag; d++) if (d->tag == tag) return d->value;
    return 0;
}

static struct object *add(const char *name, char *base, struct phdr *phdr, word phnum)
{
    struct object *o = &objects[count++];
    o->name = name, o->base = base, o->phdr = phdr, o->phnum = phnum;
    for (word i = 0; i < phnum; i++) if (phdr[i].type == PT_DYNAMIC) o->dynamic = (void *)(base + phdr[i].vaddr);
    must(o->dynamic != NULL, "not dynamically linked");
    o->strings = base + of(o, DT_STRTAB);
    o->symbols = (void *)(base + of(o, DT_SYMTAB));
    o->hash = (void *)(base + of(o, DT_HASH));
    return o;
}

static int prot(u32 flags) { return (flags & 4 ? PROT_READ : 0) | (flags & 2 ? PROT_WRITE : 0) | (flags & 1 ? PROT_EXEC : 0); }

/* The head first, then room for all of it where its alignment wants it, its pieces over that, and nothing between them. */
static void map(const char *path, const char *name, int fd)
{
    struct { u32 dev[2]; u32 mode, pad; word ino; u32 nlink, uid, gid, pad2; word rdev, times[8]; i64 size; word rest[4]; } st;
    must(CALL2(SYS_fstat, fd, &st) == 0 && sizeof st == 152 && st.size > (i64)sizeof(struct ehdr), "fstat");
    struct ehdr *head = (void *)MMAP(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    must(!REFUSED(head) && *(u32 *)head->ident == 0x464c457f && head->machine == 62 && head->type == 3, "the head of a library");
    struct phdr *phdr = (void *)((char *)head + head->phoff), *first = NULL, *last = NULL;
    for (int i = 0; i < head->phnum; i++) if (phdr[i].type == PT_LOAD) last = &phdr[i], first = first ? first : last;
    word size = (last->vaddr + last->memsz + PAGE - 1) & -PAGE, bits = 0;
    while (first->align >> bits > 1) bits++;
    char *base = MMAP(NULL, size, prot(first->flags), MAP_PRIVATE | (first->align > PAGE ? MAP_ALIGNED(bits) : 0), fd, 0);
    must(!REFUSED(base) && (word)base % first->align == 0, "mmap of entire address space failed");
    word end = 0;
    for (struct phdr *p = first; p <= last; p++) {
        if (p->type != PT_LOAD) continue;
        word low = p->vaddr & -PAGE, file = (p->vaddr + p->filesz + PAGE - 1) & -PAGE, high = (p->vaddr + p->memsz + PAGE - 1) & -PAGE;
        must(low <= end || CALL3(SYS_mprotect, base + end, low - end, PROT_NONE) == 0, "mprotect of a gap");
        if (p != first)
            must(MMAP(base + low, file - low, prot(p->flags), MAP_FIXED | MAP_PRIVATE, fd, p->offset & -PAGE) == base + low, "mmap of data");
        if (p->flags & 2 && p->memsz > p->filesz) memset(base + p->vaddr + p->filesz, 0, file - p->vaddr - p->filesz);
        if (high > file) must(MMAP(base + file, high - file, prot(p->flags), MAP_FIXED | MAP_ANON | MAP_PRIVATE, -1, 0) == base + file, "bss");
        end = high;
    }
    word phoff = head->phoff, phnum = head->phnum;
    must(CALL2(SYS_munmap, head, PAGE) == 0 && CALL1(SYS_close, fd) == 0, "munmap");
    add(name, base, (void *)(base + phoff), phnum);
    say(1, "ld.elf_so: "), say(1, path), say(1, "\n");
}

static void join(char *to, const char *dir, const char *name)
{
    while (*dir) *to++ = *dir++;
    *to++ = '/';
    while ((*to++ = *name++)) ;
}

/* Directories of /etc/ld.so.conf (lines), then the usual one. */
static void load(const char *name)
{
    static char conf[512], path[1024], found[4][1024];
    i64 fd = CALL3(SYS_open, "/etc/ld.so.conf", 0x400000, 0), size = fd < 0 ? 0 : CALL3(SYS_read, fd, conf, sizeof conf - 1);
    if (fd >= 0) CALL1(SYS_close, fd);
    for (i64 at = 0, begin = 0; at < size; at++) {
        if (conf[at] != '\n') continue;
        conf[at] = 0;
        if (conf[begin] != '/') say(2, "ld.elf_so: No library entries for `"), say(2, conf + begin), say(2, "'\n");
        join(path, conf + begin, name);
        begin = at + 1;
        if ((fd = CALL3(SYS_open, path, 0x400000, 0)) >= 0) break;
        fd = -1;
    }
    if (fd < 0 || !size) join(path, "/usr/lib", name), fd = CALL3(SYS_open, path, 0x400000, 0);
    must(fd >= 0, "Shared object not found");
    memcpy(found[count], path, sizeof path);
    map(found[count], name, (int)fd);
}

static word hash_of(const char *name)
{
    u32 h = 0;
    while (*name) {
        h = (h << 4) + (u8)*name++;
        u32 g = h & 0xf0000000;
        h = (h ^ g >> 24) & ~g;
    }
    return h;
}

static struct sym *find(const char *name, struct object **where, struct object *not_in)
{
    word h = hash_of(name);
    for (struct object *o = objects; o < objects + count; o++) {
        if (o == not_in) continue;
        for (u32 i = o->hash[2 + h % o->hash[0]]; i; i = o->hash[2 + o->hash[0] + i])
            if (o->symbols[i].shndx && same(o->strings + o->symbols[i].name, name)) return *where = o, &o->symbols[i];
    }
    return NULL;
}

static void relocate(struct object *o, word table, word size)
{
    for (struct rela *r = (void *)(o->base + table), *end = (void *)(o->base + table + size); r < end; r++) {
        word *at = (void *)(o->base + r->offset);
        int kind = (int)(r->info & 0xffffffff);
        struct sym *asked = &o->symbols[r->info >> 32];
        if (kind == R_RELATIVE) { *at = (word)o->base + (word)r->addend; continue; }
        struct object *home = o;
        struct sym *s = r->info >> 32 ? find(o->strings + asked->name, &home, kind == R_COPY ? o : NULL) : NULL;
        if (!s && kind == R_TPOFF64 && !(r->info >> 32)) { *at = (word)r->addend - o->tls_offset; continue; }
        if (!s) { must(asked->info >> 4 == 2, "Undefined symbol"); *at = 0; continue; }              /* weak */
        if (kind == R_COPY) memcpy(at, home->base + s->value, s->size);
        else if (kind == R_TPOFF64) *at = s->value + (word)r->addend - home->tls_offset;
        else if (kind == R_64 || kind == R_GLOB_DAT || kind == R_JUMP_SLOT) *at = (word)home->base + s->value + (word)r->addend;
        else die("a relocation nobody knows");
    }
}

/* Variables of all objects below the thread's block. */
static void thread_local(void)
{
    for (struct object *o = objects; o < objects + count; o++)
        for (word i = 0; i < o->phnum; i++) {
            struct phdr *p = &o->phdr[i];
            if (p->type == PT_TLS) o->tls_offset = static_tls = (static_tls + p->memsz + p->align - 1) & -p->align;
        }
    char *room = MMAP(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_ANON, -1, 0);
    must(!REFUSED(room) && static_tls < PAGE, "room for a thread");
    struct tcb *tcb = (void *)(room + PAGE);
    tcb->self = tcb;
    for (struct object *o = objects; o < objects + count; o++)
        for (word i = 0; i < o->phnum; i++)
            if (o->phdr[i].type == PT_TLS) memcpy((char *)tcb - o->tls_offset, o->base + o->phdr[i].vaddr, o->phdr[i].filesz);
    must(CALL1(SYS_lwp_setprivate, tcb) == 0 && CALL0(SYS_lwp_getprivate) == (i64)tcb, "_lwp_setprivate");
}

static void each(struct object *o, i64 table, i64 size)
{
    void (**f)(void) = (void *)(o->base + of(o, table));
    for (word n = of(o, size) / sizeof *f; n; n--, f++) (*f)();
}

/* At the program's end: the libraries' destructors. */
__attribute__((used)) HIDDEN void goodbye(void)
{
    for (int i = 1; i < count; i++) each(&objects[i], DT_FINI_ARRAY, DT_FINI_ARRAYSZ);
    say(1, "ld.elf_so: good-bye\n");
}

extern struct dyn _DYNAMIC[] HIDDEN;
__attribute__((used)) HIDDEN word rtld(word *sp, struct ps_strings *strings)
{
    char **argv = (char **)sp + 1, **envp = argv + *sp + 1, *name = NULL;
    while (*envp) envp++;
    word told[16] = {0}, ids[4] = {0};
    for (struct aux *a = (void *)(envp + 1); a->type; a++) {
        if (a->type < 16) told[a->type] = a->value;
        if (a->type >= AT_EUID && a->type <= AT_RGID) ids[a->type - AT_EUID] = a->value;
        if (a->type == AT_EXECNAME) name = (char *)a->value;
    }
    char *me = (char *)told[AT_BASE];
    word rela = 0, size = 0;
    for (struct dyn *d = _DYNAMIC; d->tag; d++) rela = d->tag == DT_RELA ? d->value : rela, size = d->tag == DT_RELASZ ? d->value : size;
    for (struct rela *r = (void *)(me + rela); (char *)r < me + rela + size; r++)
        if (r->info == R_RELATIVE) *(word *)(me + r->offset) = (word)me + (word)r->addend;
    saved_sp = (word)sp, saved_strings = (word)strings;
    must(told[AT_PAGESZ] == PAGE && told[AT_PHENT] == sizeof(struct phdr) && told[AT_FLAGS] == 0, "the vector");
    must(ids[0] == ids[1] && ids[2] == ids[3] && name && name[0] == '/', "who runs what");
    must(strings->argv == argv && strings->envp == argv + *sp + 1 && told[AT_STACKBASE] > (word)strings, "ps_strings");

    char machine[32];
    u32 mib[2] = {6, 10};                                       /* hw.machine_arch, which hints are sorted by */
    word room = sizeof machine;
    must(CALL6(SYS_sysctl, mib, 2, machine, &room, 0, 0) == 0 && same(machine, "x86_64"), "sysctl");
    struct phdr *phdr = (void *)told[AT_PHDR];
    char *base = NULL;
    for (word i = 0; i < told[AT_PHNUM]; i++) if (phdr[i].type == PT_PHDR) base = (char *)phdr - phdr[i].vaddr;
    add(name, base, phdr, told[AT_PHNUM]);
    for (int i = 0; i < count; i++)
        for (struct dyn *d = objects[i].dynamic; d->tag; d++) {
            int there = 0;
            for (int j = 0; d->tag == DT_NEEDED && j < count; j++) there |= same(objects[j].name, objects[i].strings + d->value);
            if (d->tag == DT_NEEDED && !there) load(objects[i].strings + d->value);
        }
    thread_local();
    for (int i = count; i--;) {
        relocate(&objects[i], of(&objects[i], DT_RELA), of(&objects[i], DT_RELASZ));
        relocate(&objects[i], of(&objects[i], DT_JMPREL), of(&objects[i], DT_PLTRELSZ));
    }
    for (int i = count; i--;)
        for (word j = 0; j < objects[i].phnum; j++) {
            struct phdr *p = &objects[i].phdr[j];
            if (p->type != PT_RELRO) continue;
            word low = p->vaddr & -PAGE, high = (p->vaddr + p->memsz) & -PAGE;
            must(CALL3(SYS_mprotect, objects[i].base + low, high - low, PROT_READ) == 0, "mprotect of relocated data");
        }
    for (int i = count; --i;) each(&objects[i], DT_INIT_ARRAY, DT_INIT_ARRAYSZ);
    return told[AT_ENTRY];
}
