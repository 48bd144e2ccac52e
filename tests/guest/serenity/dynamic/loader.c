/* The part of /usr/lib/Loader.so: gets the main program as an open file, maps it and its libraries, ties them together, makes the
 * thread's storage, marks what may make calls, forbids them to everybody else, and hands over.  Steps, names, sizes and flags of its
 * calls are those of the real one, in its order; of its checks and relocations those that the programs of this folder need.
 */
#include "sy.h"

enum { PT_LOAD = 1, PT_DYNAMIC = 2, PT_TLS = 7, PT_GNU_RELRO = 0x6474e552, PF_X = 1, PF_W = 2 };
enum { DT_NEEDED = 1, DT_HASH = 4, DT_STRTAB = 5, DT_SYMTAB = 6, DT_RELA = 7, DT_RELASZ = 8, DT_PLTRELSZ = 2, DT_JMPREL = 23,
       DT_INIT_ARRAY = 25, DT_INIT_ARRAYSZ = 27, DT_MOST = 32 };
enum { SYSCALL_CODE = 1, IMMUTABLE = 2, PAGE = 4096, BLOCK = 65536, MOST = 4, PATH = 200 };

struct header { u8 ident[16]; u16 type, machine; u32 version; u64 entry, phoff, shoff; u32 flags; u16 ehsize, phentsize, phnum, rest[3]; };
struct segment { u32 type, flags; u64 offset, vaddr, paddr, filesz, memsz, align; };
struct symbol { u32 name; u8 info, other; u16 section; u64 value, size; };
struct faccessat_params { i32 dirfd; struct string path; i32 mode, flags; };
struct name_params { void *addr; word size; struct string name; };

struct object {
    char path[PATH];
    int fd;
    char *view;
    word size, base, entry, text, text_size, relro, relro_size;
    u64 dynamic[DT_MOST];
    word needed[MOST];
    int needed_count;
    word tls, tls_filesz, tls_memsz, tls_align;
    i64 tls_offset;
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
static void join(char *to, const char *a, const char *b, const char *c)
{
    if (length(a) + length(b) + length(c) >= PATH) die("a long path");
    for (; *a; a++) *to++ = *a;
    for (; *b; b++) *to++ = *b;
    for (; *c; c++) *to++ = *c;
    *to = 0;
}
static i64 map_named(word addr, word size, word alignment, int prot, int flags, int fd, word offset, const char *path, const char *what)
{
    char name[2 * PATH];
    join(name, path, what, "");
    struct mmap_params params = {(void *)addr, size, alignment, prot, flags, fd, (i64)offset, string(name)};
    return must(CALL1(SC_mmap, &params), what);
}
static i64 os_alloc(word size)                  /* malloc's blocks: aligned by 64 KiB, and purgeable */
{
    int flags = MAP_ANONYMOUS | MAP_PRIVATE | MAP_PURGEABLE | MAP_RANDOMIZED;
    i64 block = map_named(0, size, BLOCK, PROT_READ | PROT_WRITE, flags, 0, 0, "malloc: ", "ChunkedBlock(64)");
    if (block & (BLOCK - 1)) die("a block that is not aligned");
    return block;
}
static char *view_of(struct object *o) { return (char *)map_named(0, o->size, 0, PROT_READ, MAP_SHARED, o->fd, 0, "ELF_DYN: ", o->path); }

/* Place one object: a reservation finds the room, then every segment goes to its place in it. */
static struct object *load(int fd, const char *path)
{
    if (object_count == MOST) die("too many objects");
    struct object *o = &objects[object_count++];
    struct stat st;
    join(o->path, path, "", "");
    o->fd = fd;
    must(CALL2(SC_fstat, fd, &st), "fstat");
    o->size = (word)st.size, o->view = view_of(o);
    struct header *header = (struct header *)o->view;
    if (header->type != 3) die("no position-independent program");
    struct segment *segments = (struct segment *)(o->view + header->phoff);
    int count = header->phnum;
    word end = 0;
    for (int n = 0; n < count; n++)
        if (segments[n].type == PT_LOAD && segments[n].vaddr + segments[n].memsz > end) end = segments[n].vaddr + segments[n].memsz;
    must(CALL2(SC_munmap, o->view, o->size), "munmap of the view");
    o->base = (word)must(map(NULL, up(end), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_RANDOMIZED, 0, 0), "reservation");
    o->view = view_of(o);
    header = (struct header *)o->view, segments = (struct segment *)(o->view + header->phoff);
    must(CALL2(SC_munmap, o->base, up(end)), "munmap of the reservation");
    o->entry = o->base + header->entry;
    for (int n = 0; n < count; n++) {           /* not rounded: the kernel does that */
        struct segment *s = &segments[n];
        word at = o->base + down(s->vaddr);
        if (s->type != PT_LOAD || !s->memsz || s->flags & PF_W) continue;
        map_named(at, s->vaddr - down(s->vaddr) + s->filesz, 0, PROT_READ, MAP_SHARED | MAP_FIXED, fd, down(s->offset), o->path,
                  s->flags & PF_X ? ": .text" : ": .rodata");
        if (s->flags & PF_X) o->text = at, o->text_size = up(s->vaddr + s->memsz) - down(s->vaddr);
    }
    for (int n = 0; n < count; n++) {
        struct segment *s = &segments[n];
        if (s->type == PT_LOAD && s->memsz && s->flags & PF_W) {
            map_named(o->base + down(s->vaddr), up(s->vaddr + s->memsz) - down(s->vaddr), 0, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0, 0, o->path, ": .data");
            memcpy((void *)(o->base + s->vaddr), o->view + s->offset, s->filesz);
        } else if (s->type == PT_TLS) {
            o->tls = o->base + s->vaddr, o->tls_filesz = s->filesz, o->tls_memsz = s->memsz, o->tls_align = s->align;
        } else if (s->type == PT_DYNAMIC) {
            o->dynamic[0] = s->vaddr;
        } else if (s->type == PT_GNU_RELRO) {
            o->relro = o->base + s->vaddr, o->relro_size = s->memsz;
        }
    }
    for (struct dyn *d = (struct dyn *)(o->base + o->dynamic[0]); d->tag; d++) {
        if (d->tag == DT_NEEDED && o->needed_count < MOST) o->needed[o->needed_count++] = d->value;
        else if (d->tag > 0 && d->tag < DT_MOST) o->dynamic[d->tag] = d->value;
    }
    return o;
}

static int is_loaded(const char *path)
{
    for (int n = 0; n < object_count; n++)
        if (same(objects[n].path, path)) return 1;
    return 0;
}
static int is_there(const char *path)
{
    struct faccessat_params there = {AT_FDCWD, string(path), 0, 0};
    return CALL1(SC_faccessat, &there) == 0;
}

/* Where a library is: along LD_LIBRARY_PATH, then in the two places every system has. */
static const char *resolve(char *path, const char *name, const char *along)
{
    while (along && *along) {
        char directory[PATH];
        word n = 0;
        while (*along && *along != ':' && n < PATH - 1) directory[n++] = *along++;
        directory[n] = 0;
        if (*along == ':') along++;
        join(path, directory, "/", name);
        if (is_there(path)) return path;
    }
    join(path, "/usr/lib/", name, "");
    if (is_there(path)) return path;
    join(path, "/usr/local/lib/", name, "");
    return is_there(path) ? path : NULL;
}

static void load_needed(struct object *o, const char *along)
{
    for (int n = 0; n < o->needed_count; n++) {
        const char *name = (char *)(o->base + o->dynamic[DT_STRTAB] + o->needed[n]);
        char path[PATH];
        if (!resolve(path, name, along)) die(name);
        if (is_loaded(path)) continue;
        load_needed(load((int)must(open_file(path, O_RDONLY, 0), path), path), along);
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
    char *buffer = (char *)os_alloc((size + BLOCK - 1) & -(word)BLOCK);
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

static struct symbol *look_up(struct object *o, const char *name)
{
    struct symbol *table = (struct symbol *)(o->base + o->dynamic[DT_SYMTAB]);
    u32 count = ((u32 *)(o->base + o->dynamic[DT_HASH]))[1];
    for (u32 i = 1; i < count; i++)
        if (table[i].section && same((char *)(o->base + o->dynamic[DT_STRTAB] + table[i].name), name)) return &table[i];
    return NULL;
}
static word find(const char *name, struct object **where)
{
    for (int n = 0; n < object_count; n++) {
        struct symbol *found = look_up(&objects[n], name);
        if (found) {
            if (where) *where = &objects[n];
            return (where ? 0 : objects[n].base) + found->value;
        }
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
        struct object *owner = o;
        switch ((u32)table[n].info) {
        case 1: case 6: case 7: *place = find(name, NULL) + (word)table[n].addend; break;
        case 8: *place = o->base + (word)table[n].addend; break;
        case 18: {
            word value = *name ? find(name, &owner) : symbol->value;
            *place = (word)(owner->tls_offset + (i64)value + table[n].addend);
            break;
        }
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
static int ends_with(const char *path, const char *end) { return length(path) > length(end) && same(path + length(path) - length(end), end); }

/* What the loader does for libc.so before anything of it runs. */
static void initialize_libc(struct object *o, char **envp)
{
    if (!look_up(o, "__libc_init")) return;
    word guard;
    *(char ***)(o->base + look_up(o, "environ")->value) = envp;
    must(CALL3(SC_getrandom, &guard, sizeof guard, 0), "getrandom");
    *(word *)(o->base + look_up(o, "__stack_chk_guard")->value) = guard & ~(word)0xff;
    ((void (*)(void))(o->base + look_up(o, "__libc_init")->value))();
}

static void drop(const char *main_promises, const char *own_promises)
{
    char all[PATH];
    if (!main_promises || !own_promises) return;
    join(all, main_promises, " ", own_promises);
    must(pledge(all, NULL), "pledge");
}

static int run(int argc, char **argv, char **envp)
{
    static char cwd[4096];
    if (aux(AT_EXECFN) && same((char *)aux(AT_EXECFN)->value, "/usr/lib/Loader.so")) die("start programs, not me");
    if (!aux(AT_BASE) || !aux(AT_EXECFD) || (int)aux(AT_EXECFD)->value < 0 || !aux(AT_EXECFN)) die("not started by the kernel for a program");
    if (*(u32 *)aux(AT_BASE)->value != 0x464c457f) die("no header where AT_BASE says");
    if (CALL0(SC_emuctl) != -ENOSYS) die("emuctl");
    char *block = (char *)os_alloc(BLOCK);
    if (must(CALL2(SC_getcwd, block, 64), "getcwd") > 64) must(CALL2(SC_getcwd, cwd, sizeof cwd), "getcwd");
    int secure = (int)aux(AT_SECURE)->value;
    const char *main_promises = secure ? NULL : variable(envp, "_LOADER_MAIN_PROGRAM_PLEDGE_PROMISES");
    const char *own_promises = secure ? NULL : variable(envp, "_LOADER_PLEDGE_PROMISES");
    const char *along = secure ? NULL : variable(envp, "LD_LIBRARY_PATH");

    struct object *program = load((int)aux(AT_EXECFD)->value, (char *)aux(AT_EXECFN)->value);
    load_needed(program, along);
    make_tls();
    for (int n = object_count; n--;) {          /* code runs while others are tied: resolvers */
        struct object *o = &objects[n];
        must(CALL3(SC_mprotect, o->text, o->text_size, PROT_READ | PROT_EXEC), "mprotect of text");
        if (o->dynamic[DT_RELASZ]) apply(o, o->dynamic[DT_RELA], o->dynamic[DT_RELASZ]);
        if (o->dynamic[DT_PLTRELSZ]) apply(o, o->dynamic[DT_JMPREL], o->dynamic[DT_PLTRELSZ]);
    }
    for (int n = object_count; n--;) {
        struct object *o = &objects[n];
        if (o->relro_size) {
            char name[2 * PATH];
            join(name, o->path, ": .relro", "");
            must(CALL3(SC_mprotect, o->relro, o->relro_size, PROT_READ), "mprotect of relro");
            struct name_params relro = {(void *)o->relro, o->relro_size, string(name)};
            must(CALL1(SC_set_mmap_name, &relro), "set_mmap_name of relro");
        }
        if (ends_with(o->path, "/libc.so")) initialize_libc(o, envp);
        must(CALL2(SC_annotate_mapping, o->text, ends_with(o->path, "/libsystem.so") ? SYSCALL_CODE | IMMUTABLE : IMMUTABLE), "annotate_mapping");
    }
    drop(main_promises, own_promises && same(own_promises, "stdio rpath prot_exec") ? "stdio rpath" : own_promises);
    for (int n = object_count; n--;) {
        word *list = (word *)(objects[n].base + objects[n].dynamic[DT_INIT_ARRAY]);
        for (word i = 0; i < objects[n].dynamic[DT_INIT_ARRAYSZ] / sizeof *list; i++) ((void (*)(int, char **, char **))list[i])(argc, argv, envp);
    }
    drop(main_promises, own_promises && same(own_promises, "stdio rpath prot_exec") ? "stdio" : own_promises);
    for (int n = 0; n < object_count; n++) {
        must(CALL2(SC_munmap, objects[n].view, objects[n].size), "munmap of the second view");
        must(CALL1(SC_close, objects[n].fd), "close");
    }
    must(CALL2(SC_annotate_mapping, NULL, SC_annotate_mapping), "annotate_mapping: lock down");  /* as left in rdi by the real one */
    __asm__ volatile("and $-16, %%rsp\n\tjmp *%0" : : "r"(program->entry), "D"((word)argc), "S"(argv), "d"(envp) : "memory");
    return 0;
}
