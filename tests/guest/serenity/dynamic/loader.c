/* The part of /usr/lib/Loader.so: gets the main program as an open file, maps it and its libraries, ties them together, makes the
 * thread's storage, marks what may make calls, forbids them to everybody else, and hands over.  Steps in the order in which the real
 * one makes them; of its checks and relocations those that the programs of this folder need.
 */
#include "sy.h"

enum { PT_LOAD = 1, PT_DYNAMIC = 2, PT_TLS = 7, PF_X = 1, PF_W = 2 };
enum { DT_NEEDED = 1, DT_HASH = 4, DT_STRTAB = 5, DT_SYMTAB = 6, DT_RELA = 7, DT_RELASZ = 8, DT_PLTRELSZ = 2, DT_JMPREL = 23,
       DT_INIT_ARRAY = 25, DT_INIT_ARRAYSZ = 27, DT_MOST = 32 };
enum { SYSCALL_CODE = 1, IMMUTABLE = 2, PAGE = 4096, MOST = 4 };

struct header { u8 ident[16]; u16 type, machine; u32 version; u64 entry, phoff, shoff; u32 flags; u16 ehsize, phentsize, phnum, rest[3]; };
struct segment { u32 type, flags; u64 offset, vaddr, paddr, filesz, memsz, align; };
struct symbol { u32 name; u8 info, other; u16 section; u64 value, size; };
struct faccessat_params { i32 dirfd; struct string path; i32 mode, flags; };
struct name_params { word addr, size; struct string name; };

struct object {
    int fd;
    word base, entry, text, text_size;
    u64 dynamic[DT_MOST];
    word needed[MOST];
    int needed_count;
    word tls, tls_filesz, tls_memsz, tls_align;
    i64 tls_offset;
    int is_system;
};
static struct object objects[MOST];
static int object_count;

static void die(const char *why)
{
    CALL3(SC_write, 2, "loader: ", 8), CALL3(SC_write, 2, why, length(why)), CALL3(SC_write, 2, "\n", 1);
    leave(127);
}
static i64 must(i64 result, const char *what)
{
    if (result < 0 && result > -83) {
        number((u64)-result), put(" ");
        die(what);
    }
    return result;
}
static word down(word value) { return value & ~(word)(PAGE - 1); }
static word up(word value) { return down(value + PAGE - 1); }

/* Place one object: a reservation finds the room, then every segment goes to its place in it. */
static struct object *load(int fd, int is_system)
{
    if (object_count == MOST) die("too many objects");
    struct object *o = &objects[object_count++];
    struct stat st;
    o->fd = fd, o->is_system = is_system;
    must(CALL2(SC_fstat, fd, &st), "fstat");
    word size = (word)st.size, end = 0;
    char *view = (char *)must(map(NULL, size, PROT_READ, MAP_SHARED, fd, 0), "mmap of the whole file");
    struct header *header = (struct header *)view;
    if (header->type != 3) die("no position-independent program");
    struct segment *segments = (struct segment *)(view + header->phoff);
    int count = header->phnum;
    for (int n = 0; n < count; n++)
        if (segments[n].type == PT_LOAD && segments[n].vaddr + segments[n].memsz > end) end = segments[n].vaddr + segments[n].memsz;
    must(CALL2(SC_munmap, view, size), "munmap of the view");
    o->base = (word)must(map(NULL, up(end), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_RANDOMIZED, -1, 0), "reservation");
    view = (char *)must(map(NULL, size, PROT_READ, MAP_SHARED, fd, 0), "mmap of the whole file, again");
    header = (struct header *)view, segments = (struct segment *)(view + header->phoff);
    must(CALL2(SC_munmap, o->base, up(end)), "munmap of the reservation");
    o->entry = o->base + header->entry;
    for (int n = 0; n < count; n++) {
        struct segment *s = &segments[n];
        word at = o->base + down(s->vaddr), span = up(s->vaddr + s->memsz) - down(s->vaddr);
        if (s->type == PT_LOAD && s->flags & PF_W) {
            must(map((void *)at, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), "mmap of data");
            memcpy((void *)(o->base + s->vaddr), view + s->offset, s->filesz);
        } else if (s->type == PT_LOAD) {
            must(map((void *)at, span, PROT_READ, MAP_SHARED | MAP_FIXED, fd, (i64)down(s->offset)), "mmap of text");
            if (s->flags & PF_X) o->text = at, o->text_size = span;
        } else if (s->type == PT_TLS) {
            o->tls = o->base + s->vaddr, o->tls_filesz = s->filesz, o->tls_memsz = s->memsz, o->tls_align = s->align;
        } else if (s->type == PT_DYNAMIC) {
            o->dynamic[0] = s->vaddr;
        }
    }
    for (struct dyn *d = (struct dyn *)(o->base + o->dynamic[0]); d->tag; d++) {
        if (d->tag == DT_NEEDED && o->needed_count < MOST) o->needed[o->needed_count++] = d->value;
        else if (d->tag > 0 && d->tag < DT_MOST) o->dynamic[d->tag] = d->value;
    }
    must(CALL2(SC_munmap, view, size), "munmap of the second view");
    return o;
}

static void load_needed(struct object *o)
{
    for (int n = 0; n < o->needed_count; n++) {
        const char *name = (char *)(o->base + o->dynamic[DT_STRTAB] + o->needed[n]);
        char path[64] = "/usr/lib/";
        if (length(name) > 40) die("a long name");
        memcpy(path + 9, name, length(name) + 1);
        struct faccessat_params there = {AT_FDCWD, string(path), 0, 0};
        must(CALL1(SC_faccessat, &there), path);
        load((int)must(open_file(path, O_RDONLY, 0), path), same(name, "libsystem.so"));
    }
}

/* All objects' initial data in one block, each below the one before. */
static void make_tls(void)
{
    word total = 0;
    for (int n = 0; n < object_count; n++)
        if (objects[n].tls_memsz) total += objects[n].tls_memsz + objects[n].tls_align;
    if (!total) return;
    word size = up(total);
    char *buffer = (char *)must(map(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap of initial data");
    i64 offset = 0;
    for (int n = 0; n < object_count; n++) {
        struct object *o = &objects[n];
        if (!o->tls_memsz) continue;
        offset = (offset - (i64)o->tls_memsz) & -(i64)o->tls_align;
        o->tls_offset = offset;
        memcpy(buffer + (i64)size + offset, (void *)o->tls, o->tls_filesz);
    }
    must(CALL2(SC_allocate_tls, buffer, size), "allocate_tls");
}

static word find(const char *name)
{
    for (int n = 0; n < object_count; n++) {
        struct object *o = &objects[n];
        struct symbol *table = (struct symbol *)(o->base + o->dynamic[DT_SYMTAB]);
        u32 count = ((u32 *)(o->base + o->dynamic[DT_HASH]))[1];
        for (u32 i = 1; i < count; i++)
            if (table[i].section && same((char *)(o->base + o->dynamic[DT_STRTAB] + table[i].name), name)) return o->base + table[i].value;
    }
    die(name);
    return 0;
}

static void apply(struct object *o, word at, word size)
{
    struct symbol *symbols = (struct symbol *)(o->base + o->dynamic[DT_SYMTAB]);
    struct rela *table = (struct rela *)(o->base + at);
    for (word n = 0; n < size / sizeof *table; n++) {
        word *place = (word *)(o->base + table[n].offset);
        struct symbol *symbol = &symbols[table[n].info >> 32];
        const char *name = (char *)(o->base + o->dynamic[DT_STRTAB] + symbol->name);
        switch ((u32)table[n].info) {
        case 1: case 6: case 7: *place = find(name) + (word)table[n].addend; break;
        case 8: *place = o->base + (word)table[n].addend; break;
        case 18: *place = (word)(o->tls_offset + (i64)symbol->value + table[n].addend); break;
        default: die("an unknown relocation");
        }
    }
}

static const char *variable(char **envp, const char *name)
{
    for (; *envp; envp++) {
        word n = length(name), i = 0;
        while (i < n && (*envp)[i] == name[i]) i++;
        if (i == n && (*envp)[n] == '=') return *envp + n + 1;
    }
    return NULL;
}

static int run(int argc, char **argv, char **envp)
{
    static char cwd[4096];
    if (!aux(AT_BASE) || !aux(AT_EXECFD) || (int)aux(AT_EXECFD)->value < 0 || !aux(AT_EXECFN)) die("not started by the kernel for a program");
    if (*(u32 *)aux(AT_BASE)->value != 0x464c457f) die("no header where AT_BASE says");
    if (same((char *)aux(AT_EXECFN)->value, "/usr/lib/Loader.so")) die("start programs, not me");
    if (CALL0(SC_emuctl) != -ENOSYS) die("emuctl");
    must(CALL2(SC_getcwd, cwd, sizeof cwd), "getcwd");
    int secure = (int)aux(AT_SECURE)->value;
    const char *main_promises = secure ? NULL : variable(envp, "_LOADER_MAIN_PROGRAM_PLEDGE_PROMISES");
    const char *own_promises = secure ? NULL : variable(envp, "_LOADER_PLEDGE_PROMISES");

    struct object *program = load((int)aux(AT_EXECFD)->value, 0);
    for (int n = 0; n < object_count; n++) load_needed(&objects[n]);
    make_tls();
    for (int n = object_count; n--;) {
        struct object *o = &objects[n];
        must(CALL3(SC_mprotect, o->text, o->text_size, PROT_READ | PROT_EXEC), "mprotect of text");
        if (o->dynamic[DT_RELASZ]) apply(o, o->dynamic[DT_RELA], o->dynamic[DT_RELASZ]);
        if (o->dynamic[DT_PLTRELSZ]) apply(o, o->dynamic[DT_JMPREL], o->dynamic[DT_PLTRELSZ]);
        struct name_params text = {o->text, o->text_size, string(o->is_system ? "libsystem.so: .text" : "program: .text")};
        must(CALL1(SC_set_mmap_name, &text), "set_mmap_name");
        must(CALL2(SC_annotate_mapping, o->text, o->is_system ? SYSCALL_CODE | IMMUTABLE : IMMUTABLE), "annotate_mapping");
    }
    for (int n = 0; n < object_count; n++) must(CALL1(SC_close, objects[n].fd), "close");
    if (main_promises && own_promises) must(pledge(main_promises, NULL), "pledge");
    for (int n = object_count; n--;) {
        word *list = (word *)(objects[n].base + objects[n].dynamic[DT_INIT_ARRAY]);
        for (word i = 0; i < objects[n].dynamic[DT_INIT_ARRAYSZ] / sizeof *list; i++) ((void (*)(int, char **, char **))list[i])(argc, argv, envp);
    }
    must(CALL2(SC_annotate_mapping, NULL, SC_annotate_mapping), "annotate_mapping: lock down");  /* as left in rdi by the real one */
    __asm__ volatile("and $-16, %%rsp\n\tjmp *%0" : : "r"(program->entry), "D"((word)argc), "S"(argv), "d"(envp) : "memory");
    return 0;
}
