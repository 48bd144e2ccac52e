/* What exec says of files: Tests/LibELF's five cases, in their 32-bit headers and in right ones; every rule of the headers; scripts;
 * TestLibCExec.  Each file is written, executed in a child, and the child says with what errno it came back.
 */
#include "sy.h"

enum { RAN = 42, FILE_SIZE = 0x3000, PT_LOAD = 1, PT_DYNAMIC = 2, PT_INTERP = 3, PT_NOTE = 4, PT_TLS = 7, ET_REL = 1 };
enum { PT_GNU_EH_FRAME = 0x6474e550, PT_GNU_STACK, PT_GNU_RELRO, PT_GNU_PROPERTY };

struct ehdr { u8 ident[16]; u16 type, machine; u32 version; u64 entry, phoff, shoff; u32 flags; u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx; };
struct phdr { u32 type, flags; u64 offset, vaddr, paddr, filesz, memsz, align; };
_Static_assert(sizeof(struct ehdr) == 64 && sizeof(struct phdr) == 56, "layouts");

static char file[0x5000] __attribute__((aligned(16)));
static struct ehdr *const eh = (struct ehdr *)file;
static struct phdr *const ph = (struct phdr *)(file + 64);
static word file_size;

/* A program that ends with status 42, without a loader. */
static void plain(void)
{
    static const u8 code[] = {0xb8, SC_exit, 0, 0, 0, 0xba, RAN, 0, 0, 0, 0x0f, 0x05, 0xf4};
    memset(file, 0, sizeof file);
    file_size = FILE_SIZE;
    *eh = (struct ehdr){{0x7f, 'E', 'L', 'F', 2, 1, 1}, 3, 62, 1, 0x1000, 64, 0, 0, 64, 56, 3, 64, 0, 0};
    ph[0] = (struct phdr){PT_LOAD, 4, 0, 0, 0, 0x1000, 0x1000, 0x1000};
    ph[1] = (struct phdr){PT_LOAD, 5, 0x1000, 0x1000, 0, 0x1000, 0x1000, 0x1000};
    ph[2] = (struct phdr){PT_GNU_STACK, 6, 0, 0, 0, 0, 0, 16};
    memcpy(file + 0x1000, code, sizeof code);
}

/* One that another file loads: its path ends where SerenityOS thinks, in a byte that makes Linux's rules refuse what these do. */
static void loaded_by(const char *path)
{
    plain();
    eh->phnum = 4;
    ph[3] = (struct phdr){PT_INTERP, 4, 0x200, 0x200, 0, length(path) + 1, length(path) + 1, 1};
    memcpy(file + 0x200, path, length(path));
    file[0x200 + length(path)] = 'X';
}
static void good(void) { loaded_by("./whole"); }

static void write_file(const char *path, const void *data, word size, int mode)
{
    CALL4(SC_unlink, AT_FDCWD, path, length(path), 0);
    int fd = (int)open_file(path, O_WRONLY | O_CREAT, mode);
    CALL3(SC_write, fd, data, size);
    CALL1(SC_close, fd);
}

static const char *subject;
static struct string *arguments;
static word argument_count;
static void execute(void)
{
    struct execve_params params = {string(subject), {arguments, argument_count}, {NULL, 0}};
    leave((int)-CALL1(SC_execve, &params));
}
/* The status of an exec that worked, the errno of one that did not, 1000 and the signal of one that died. */
static int run_path(const char *path)
{
    static struct string name;
    subject = path, name = string(path), arguments = &name, argument_count = 1;
    int status = in_child(execute);
    return status >= 256 ? status - 256 : 1000 + status;
}
static int run_it(void)
{
    write_file("subject", file, file_size, 0700);
    return run_path("subject");
}

/* The file is what is mapped: by a main program that names it. */
static int load_it(void)
{
    write_file("loaded", file, file_size, 0700);
    loaded_by("./loaded");
    return run_it();
}

/* One field written over: what comes of it. */
#define WITH(change) (good(), (change), run_it())
#define ALONE(change) (plain(), (change), run_it())
#define LOADED(change) (plain(), (change), load_it())
#define HEADER(field, value) WITH(eh->field = (value))
#define SEGMENT(n, field, value) WITH(ph[n].field = (value))

static void header_rules(void)
{
    plain();
    write_file("whole", file, file_size, 0700);
    CHECK(WITH(0) == RAN && ALONE(0) == RAN && LOADED(0) == RAN);
    CHECK(HEADER(ident[0], 0x7e) == ENOEXEC && HEADER(ident[4], 1) == ENOEXEC && HEADER(ident[5], 2) == ENOEXEC);
    CHECK(HEADER(ident[6], 0) == ENOEXEC && HEADER(ident[7], 1) == ENOEXEC && HEADER(ident[7], 3) == RAN && HEADER(ident[8], 1) == ENOEXEC);
    CHECK(HEADER(ident[9], 1) == RAN);
    CHECK(HEADER(machine, 3) == ENOEXEC && HEADER(type, 0) == ENOEXEC && HEADER(type, 5) == ENOEXEC);
    CHECK(HEADER(type, ET_REL) == EINVAL && HEADER(type, 4) == EINVAL && HEADER(type, 2) == RAN);
    CHECK(ALONE(eh->type = ET_REL) == ENOEXEC && ALONE(eh->type = 4) == EINVAL && ALONE(eh->type = 2) == E2BIG);
    CHECK(HEADER(version, 0) == ENOEXEC && HEADER(ehsize, 52) == ENOEXEC && HEADER(flags, 1) == ENOEXEC);
    CHECK(HEADER(phoff, FILE_SIZE - 8) == ENOEXEC && HEADER(phoff, 1ull << 63) == ENOEXEC);
    CHECK(HEADER(phentsize, 32) == ENOEXEC && HEADER(phnum, 72) == ENOEXEC && HEADER(phnum, 0xffff) == ENOEXEC);
    CHECK(HEADER(shentsize, 0) == ENOEXEC && HEADER(shoff, 8) == ENOEXEC && HEADER(shoff, FILE_SIZE + 1) == ENOEXEC);
    CHECK(HEADER(shoff, FILE_SIZE) == RAN && HEADER(shnum, 1) == ENOEXEC && HEADER(shstrndx, 1) == ENOEXEC);
    CHECK(WITH((eh->shoff = FILE_SIZE - 64, eh->shnum = 1)) == RAN && WITH((eh->shoff = FILE_SIZE - 63, eh->shnum = 1)) == ENOEXEC);
    CHECK(WITH((eh->phnum = 0, eh->phoff = 64)) == ENOEXEC);
    CHECK(WITH(file_size = 2) == ENOEXEC && WITH(file_size = 63) == ENOEXEC && WITH(file_size = 64) == ENOEXEC && WITH(file_size = 0) == ENOEXEC);
}

static void segment_rules(void)
{
    CHECK(SEGMENT(2, type, 0) == ENOEXEC && SEGMENT(2, type, 5) == ENOEXEC && SEGMENT(2, type, PT_GNU_PROPERTY) == ENOEXEC);
    CHECK(SEGMENT(2, type, PT_NOTE) == RAN && SEGMENT(2, type, 6) == RAN && SEGMENT(2, type, 8) == ENOEXEC);
    CHECK(SEGMENT(1, filesz, 0x1001) == ENOEXEC && SEGMENT(2, filesz, 1) == ENOEXEC);
    CHECK(SEGMENT(1, align, 0) == ENOEXEC && SEGMENT(1, align, 0x800) == ENOEXEC && SEGMENT(1, align, 0x1800) == ENOEXEC);
    CHECK(SEGMENT(1, vaddr, 0x1010) == ENOEXEC && SEGMENT(1, align, 0x2000) == RAN);
    CHECK(SEGMENT(1, flags, 7) == ENOEXEC && SEGMENT(2, flags, 7) == RAN);
    CHECK(SEGMENT(1, offset, -0x1000ull) == ENOEXEC && SEGMENT(1, offset, 0x3000) == ENOEXEC);
    CHECK(SEGMENT(2, memsz, 0x8000) == ENOEXEC && SEGMENT(2, memsz, 0x10800) == ENOEXEC && SEGMENT(2, memsz, 0x2001000) == ENOEXEC);
    CHECK(SEGMENT(2, memsz, 0x10000) == RAN && SEGMENT(2, memsz, 0x2000000) == RAN);
    CHECK(WITH((ph[2].type = PT_GNU_RELRO, ph[2].flags = 7)) == ENOEXEC && WITH((ph[2].type = PT_GNU_RELRO, ph[2].offset = 1ull << 60)) == RAN);
    CHECK(WITH((ph[2].type = PT_GNU_EH_FRAME, ph[2].flags = 7)) == ENOEXEC && WITH((ph[2].type = PT_DYNAMIC, ph[2].offset = 0x3001)) == ENOEXEC);
}

/* What goes wrong when a file is mapped. */
static void mapping(void)
{
    CHECK(LOADED(ph[1].vaddr = 0) == ENOMEM && LOADED(ph[1].vaddr = 0x2000000000) == ENOMEM);
    CHECK(LOADED(ph[1].memsz = 0x4000) == EINVAL && LOADED(eh->entry = 0x2000) == 1000 + SIGSEGV);
    CHECK(LOADED((ph[2] = (struct phdr){PT_LOAD, 6, 0x3000, 0x5000, 0, 0, 0x1000, 0x1000})) == RAN);
    CHECK(LOADED((ph[2] = (struct phdr){PT_LOAD, 6, 0x1000, 0x5000, 0, 0, 0, 0x1000})) == RAN);
    CHECK(ALONE((ph[2] = (struct phdr){PT_TLS, 4, 0x1000, 0x1000, 0, 8, 64, 16})) == RAN);
}

/* Tests/LibELF/test-elf.cpp.  The headers of the original are 32-bit, which is reason enough; so each comes with a right one too. */
static void libelf_header(int wide)
{
    memset(file, 0, sizeof file);
    file_size = 0x2000;
    if (wide) {
        *eh = (struct ehdr){{0x7f, 'E', 'L', 'F', 2, 1, 1}, ET_REL, 62, 1, 0x0, 64, 1024, 0, 64, 56, 1, 64, 3, 2};
        return;
    }
    static const u8 narrow[52] = {0x7f, 'E', 'L', 'F', 1, 1, 1, [16] = ET_REL, [18] = 3, [20] = 1, [28] = 52, [33] = 4, [40] = 52,
                                  [42] = 32, [44] = 1, [46] = 40, [48] = 3, [50] = 2};
    memcpy(file, narrow, sizeof narrow);
}
#define LIBELF(...) (libelf_header(1), ph[0] = (struct phdr)__VA_ARGS__, run_it())
#define NARROW(...) (libelf_header(0), memcpy(file + 52, (u32[8])__VA_ARGS__, 32), run_it())

static void libelf(void)
{
    CHECK(LIBELF({PT_INTERP, 4, 0x100, 0, 0, 1, 0xffff0000, 16}) == ENOEXEC);
    CHECK(NARROW({PT_INTERP, 0x100, 0x1000, 0, 1, 0xffff0000, 4, 16}) == ENOEXEC);
    CHECK(LIBELF({PT_INTERP, 4, 0x1000, 0, 0, 0x1000, 0xffff0000, 16}) == ENOEXEC);
    CHECK(NARROW({PT_INTERP, 0x1000, 0x1000, 0, 0x1000, 0xffff0000, 4, 16}) == ENOEXEC);
    CHECK(LIBELF({PT_INTERP, 4, 0x1234, 0, 0, (u64)-0x1000, 0xfffff000, 16}) == ENOEXEC);
    CHECK(NARROW({PT_INTERP, 0x1234, 0, 0, (u32)-0x1000, 0xfffff000, 4, 16}) == ENOEXEC);
    CHECK(LIBELF({PT_LOAD, 6, 0, 0, 0, 0, 0, 0x1000}) == ENOEXEC);
    CHECK(NARROW({PT_LOAD, 0, 0, 0, 0, 0, 6, 0x1000}) == ENOEXEC);
    CHECK(LIBELF({PT_LOAD, 6, 0, 0, 0, 0x1000, 0x1000, 2048}) == ENOEXEC);
    CHECK(NARROW({PT_LOAD, 0, 0, 0, 0x1000, 0x1000, 6, 2048}) == ENOEXEC);
}

static int interpreted(const char *path) { loaded_by(path); return run_it(); }

static void interpreters(void)
{
    plain();
    write_file("short", file, 60, 0700);
    write_file("plain", file, file_size, 0600);
    write_file("script", "#!./whole\n", 10, 0700);
    CHECK(interpreted("./whole") == RAN && interpreted("./missing") == ENOENT && interpreted("./short") == ENOEXEC);
    CHECK(interpreted("./script") == ENOEXEC && interpreted("./whole/x") == ENOTDIR && interpreted("./subject") == ELOOP);
    CHECK(interpreted("./plain") == (CALL0(SC_geteuid) ? EACCES : RAN));
    CHECK((good(), ph[3].filesz = ph[3].memsz = 1, run_it()) == ENOEXEC);
    CHECK((good(), ph[3].offset = 0xffa, run_it()) == ENOEXEC);
}

static void files(void)
{
    struct { struct string path; u16 mode; } fifo = {string("fifo"), 0010700};
    struct { struct string target, path; i32 dirfd; } link = {string("whole"), string("link"), AT_FDCWD}, loop = {string("loop"), string("loop"), AT_FDCWD};
    CHECK(run_path("missing") == ENOENT && run_path("whole/x") == ENOTDIR && run_path(".") == EACCES && run_path("/dev/null") == EACCES);
    CHECK(run_path("") == EINVAL);
    CHECK(CALL1(SC_mknod, &fifo) == 0 && run_path("fifo") == EINVAL);
    CHECK(CALL1(SC_symlink, &link) == 0 && run_path("link") == RAN && CALL1(SC_symlink, &loop) == 0 && run_path("loop") == ELOOP);
    static char long_path[4200];
    memset(long_path, 'x', 4097);
    CHECK(run_path(long_path) == ENAMETOOLONG);
    write_file("hax", "", 0, 0700);
    CHECK(run_path("/bin/hax") == ENOENT && run_path("hax") == ENOEXEC);          /* execlp does not look in the current directory */
}

static int script(const char *text)
{
    write_file("script", text, length(text), 0700);
    return run_path("script");
}

static void scripts(void)
{
    CHECK(script("#!./whole\n") == RAN && script("#!  ./whole   a b\n") == RAN && script("#!./whole") == RAN);
    CHECK(script("#!\n") == ENOEXEC && script("#!   \nrest") == ENOEXEC && script("#!./whole\ta\n") == ENOENT && script("#!./whole\r\n") == ENOENT);
    CHECK(script("#!./missing\n") == ENOENT && script("# !./whole\n") == ENOEXEC && script("#!.\n") == EACCES);
    write_file("one", "#!./whole\n", 10, 0700);
    write_file("two", "#!./one\n", 8, 0700);
    CHECK(run_path("two") == RAN && script("#!./two\n") == ELOOP && script("#!./script\n") == ELOOP);
}

static i64 exec_with(struct string path, void *argv, word argc, void *envp, word envc)
{
    struct execve_params params = {path, {argv, argc}, {envp, envc}};
    return CALL1(SC_execve, &params);
}

static void arguments_of_the_call(void)
{
    static struct string one[] = {{"x", 1}, {"y", (word)-1}, {(char *)8, 1}};
    struct string whole = string("missing");
    CHECK(CALL1(SC_execve, 8) == -EFAULT);
    CHECK(exec_with(whole, one, 65537, NULL, 0) == -E2BIG && exec_with(whole, NULL, 0, one, 65537) == -E2BIG);
    CHECK(exec_with(whole, NULL, 0, NULL, 0) == -EINVAL && exec_with(string(""), one, 1, NULL, 0) == -EINVAL);
    CHECK(exec_with((struct string){"x", 4097}, one, 1, NULL, 0) == -ENAMETOOLONG && exec_with((struct string){(char *)8, 5}, one, 1, NULL, 0) == -EFAULT);
    CHECK(exec_with(whole, (void *)8, 1, NULL, 0) == -EFAULT && exec_with(whole, one, 1, (void *)8, 1) == -EFAULT);
    CHECK(exec_with(whole, one + 2, 1, NULL, 0) == -EFAULT && exec_with(whole, one, 1, (void *)8, 0) == -ENOENT);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    header_rules();
    segment_rules();
    mapping();
    libelf();
    interpreters();
    files();
    scripts();
    arguments_of_the_call();
    return 0;
}
