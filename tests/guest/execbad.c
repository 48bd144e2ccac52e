/* What exec makes of bad programs: each is written into the working directory, started, and its errno or death reported.
 * builds: x64
 */
#define HAS_ROLES
#include "case.h"
#include <elf.h>
#include <sys/resource.h>

static int role(int argc, char **argv) { (void)argc, (void)argv; return 7; }

/* The smallest good program: one page, headers and code together.  exit(42). */
static const unsigned char code[] = {0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05};
#define BASE 0x400000UL
#define NPH 6

struct image { Elf64_Ehdr eh; Elf64_Phdr ph[NPH]; unsigned char code[16]; char text[256]; };

static struct image good(void)
{
    struct image i;
    memset(&i, 0, sizeof i);
    memcpy(i.eh.e_ident, ELFMAG, 4);
    i.eh.e_ident[EI_CLASS] = ELFCLASS64, i.eh.e_ident[EI_DATA] = ELFDATA2LSB, i.eh.e_ident[EI_VERSION] = 1;
    i.eh.e_type = ET_EXEC, i.eh.e_machine = EM_X86_64, i.eh.e_version = 1;
    i.eh.e_entry = BASE + offsetof(struct image, code), i.eh.e_phoff = offsetof(struct image, ph);
    i.eh.e_ehsize = sizeof i.eh, i.eh.e_phentsize = sizeof *i.ph, i.eh.e_phnum = 1;
    i.ph[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = BASE, .p_filesz = sizeof i, .p_memsz = sizeof i, .p_align = 4096};
    memcpy(i.code, code, sizeof code);
    return i;
}

static void run(const char *what, const char *path)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execv(path, (char *[]){(char *)path, "argument", NULL});
        say("%s -> %s", what, errno_name(errno));
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    say("%s: %s", what, ending(status));
}

static void try_bytes(const char *what, const void *data, size_t nbytes)
{
    put("bad", data, nbytes, 0755);
    run(what, "./bad");
    unlink("bad");
}

#define TRY(WHAT, ...) do { struct image i = good(); __VA_ARGS__; try_bytes(WHAT, &i, sizeof i); } while (0)
#define PH2(TYPE, ...) (i.eh.e_phnum = 2, i.ph[1] = (Elf64_Phdr){.p_type = TYPE, __VA_ARGS__})
#define INTERP(TEXT) (strcpy(i.text, TEXT), PH2(PT_INTERP, .p_offset = offsetof(struct image, text), .p_filesz = sizeof(TEXT), .p_memsz = sizeof(TEXT), .p_flags = PF_R))

CASE(header)
{
    TRY("good", );
    TRY("wrong magic", i.eh.e_ident[0] = 'E');
    TRY("magic cut", i.eh.e_ident[3] = 'G');
    TRY("class 32 in a 64-bit file", i.eh.e_ident[EI_CLASS] = ELFCLASS32);
    TRY("class 0", i.eh.e_ident[EI_CLASS] = 0);
    TRY("big-endian", i.eh.e_ident[EI_DATA] = ELFDATA2MSB);
    TRY("ident version 0", i.eh.e_ident[EI_VERSION] = 0);
    TRY("version 0", i.eh.e_version = 0);
    TRY("OS ABI", i.eh.e_ident[EI_OSABI] = ELFOSABI_NETBSD);
    TRY("machine ARM", i.eh.e_machine = EM_ARM);
    TRY("machine 0", i.eh.e_machine = 0);
    TRY("machine i386 in class 64", i.eh.e_machine = EM_386);
    TRY("ET_REL", i.eh.e_type = ET_REL);
    TRY("ET_CORE", i.eh.e_type = ET_CORE);
    TRY("ET_NONE", i.eh.e_type = ET_NONE);
    TRY("ET_DYN at a fixed address", i.eh.e_type = ET_DYN);
    TRY("phentsize 0", i.eh.e_phentsize = 0);
    TRY("phentsize 32", i.eh.e_phentsize = 32);
    TRY("phentsize 64", i.eh.e_phentsize = 64);
    TRY("phnum 0", i.eh.e_phnum = 0);
    TRY("phnum 65535", i.eh.e_phnum = 65535);
    TRY("phnum 2000", i.eh.e_phnum = 2000);
    TRY("phnum 1170", i.eh.e_phnum = 1170);
    TRY("phoff beyond the end", i.eh.e_phoff = 1 << 20);
    TRY("phoff across the end", i.eh.e_phoff = sizeof i - 20);
    TRY("phoff huge", i.eh.e_phoff = 0x7fffffffffffffff);
    TRY("phoff negative", i.eh.e_phoff = (Elf64_Off)-8);
    TRY("phoff odd", i.eh.e_phoff = 65; memmove((char *)&i + 65, i.ph, sizeof *i.ph));
    TRY("ehsize 0", i.eh.e_ehsize = 0);
    TRY("flags set", i.eh.e_flags = 0xffffffff);
    TRY("section headers absurd", i.eh.e_shoff = ~0UL, i.eh.e_shnum = 65535);
}

CASE(cut_short)
{
    struct image i = good();
    size_t lengths[] = {0, 1, 2, 3, 4, 5, 16, 17, 52, 63, 64, 65, 100, 119, 120, 121, 127, 128};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        char what[32];
        snprintf(what, sizeof what, "first %zu bytes", lengths[k]);
        try_bytes(what, &i, lengths[k]);
    }
}

CASE(segments)
{
    TRY("no PT_LOAD", i.ph[0].p_type = PT_NOTE);
    TRY("filesz above memsz", i.ph[0].p_memsz = 100);
    TRY("filesz 0", i.ph[0].p_filesz = 0);
    TRY("memsz 0 and filesz 0", i.ph[0].p_filesz = i.ph[0].p_memsz = 0);
    TRY("file range beyond the end", i.ph[0].p_filesz = i.ph[0].p_memsz = 100000);
    TRY("memsz larger, read-only bss", i.ph[0].p_memsz = 100000);
    TRY("memsz larger, writable bss", i.ph[0].p_memsz = 100000, i.ph[0].p_flags |= PF_W);
    TRY("memsz huge", i.ph[0].p_memsz = 1UL << 46, i.ph[0].p_flags |= PF_W);
    TRY("memsz beyond all", i.ph[0].p_memsz = ~0UL - 5000, i.ph[0].p_flags |= PF_W);
    TRY("memsz and filesz huge", i.ph[0].p_memsz = i.ph[0].p_filesz = 1UL << 46);
    TRY("vaddr in the kernel half", i.ph[0].p_vaddr = 0xffff800000000000);
    TRY("vaddr at the limit", i.ph[0].p_vaddr = 0x7ffffffff000);
    TRY("vaddr just below the limit", i.ph[0].p_vaddr = 0x7fffffffe000);
    TRY("vaddr non-canonical", i.ph[0].p_vaddr = 1UL << 47);
    TRY("vaddr 0", i.ph[0].p_vaddr = 0);
    TRY("vaddr 4096", i.ph[0].p_vaddr = 4096);
    TRY("vaddr 65536, entry there", i.ph[0].p_vaddr = 65536, i.eh.e_entry = 65536 + offsetof(struct image, code));
    TRY("vaddr unaligned to offset", i.ph[0].p_vaddr = BASE + 100);
    TRY("offset unaligned to vaddr", i.ph[0].p_offset = 8);
    TRY("offset beyond the end", i.ph[0].p_offset = 1 << 20);
    TRY("offset huge", i.ph[0].p_offset = 0x7ffffffffffff000);
    TRY("align 0", i.ph[0].p_align = 0);
    TRY("align 3", i.ph[0].p_align = 3);
    TRY("align 2M", i.ph[0].p_align = 2 << 20);
    TRY("align 2M, dynamic", i.ph[0].p_align = 2 << 20, i.eh.e_type = ET_DYN, i.ph[0].p_vaddr = 0, i.eh.e_entry -= BASE);
    TRY("align 3, dynamic", i.ph[0].p_align = 3, i.eh.e_type = ET_DYN, i.ph[0].p_vaddr = 0, i.eh.e_entry -= BASE);
    TRY("dynamic from 0", i.eh.e_type = ET_DYN, i.ph[0].p_vaddr = 0, i.eh.e_entry -= BASE);
    TRY("flags none", i.ph[0].p_flags = 0);
    TRY("flags write only", i.ph[0].p_flags = PF_W);
    TRY("not executable", i.ph[0].p_flags = PF_R);
    TRY("execute only", i.ph[0].p_flags = PF_X);
    TRY("all flags", i.ph[0].p_flags = 7);
    TRY("overlapping, same file", PH2(PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = BASE, .p_filesz = sizeof i, .p_memsz = sizeof i, .p_align = 4096));
    TRY("overlapping, later wins", PH2(PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = BASE, .p_filesz = sizeof i, .p_memsz = sizeof i, .p_align = 4096));
    TRY("descending order", PH2(PT_LOAD, .p_flags = PF_R, .p_vaddr = BASE - 4096, .p_filesz = sizeof i, .p_memsz = sizeof i, .p_align = 4096));
    TRY("far apart", PH2(PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = BASE + (1UL << 40), .p_memsz = 4096, .p_align = 4096));
    TRY("far apart, dynamic", i.eh.e_type = ET_DYN, i.ph[0].p_vaddr = 0, i.eh.e_entry -= BASE, PH2(PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = 1UL << 45, .p_memsz = 4096, .p_align = 4096));
    TRY("bss segment alone", PH2(PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = BASE + 0x10000, .p_memsz = 0x5000, .p_align = 4096));
    TRY("bss over the stack", PH2(PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = 0x7ff000000000, .p_memsz = 0xfffff0000, .p_align = 4096));
}

CASE(entry)
{
    TRY("entry 0", i.eh.e_entry = 0);
    TRY("entry in nothing", i.eh.e_entry = BASE + 0x100000);
    TRY("entry in the kernel half", i.eh.e_entry = 0xffffffff81000000);
    TRY("entry non-canonical", i.eh.e_entry = 1UL << 47);
    TRY("entry at the address limit", i.eh.e_entry = 0x7ffffffff000);
    TRY("entry in the header", i.eh.e_entry = BASE);
}

CASE(notes_and_stack)
{
    TRY("PT_GNU_STACK executable", PH2(PT_GNU_STACK, .p_flags = 7));
    TRY("PT_GNU_STACK plain", PH2(PT_GNU_STACK, .p_flags = 6));
    TRY("PT_GNU_STACK twice", PH2(PT_GNU_STACK, .p_flags = 6), i.eh.e_phnum = 3, i.ph[2] = i.ph[1], i.ph[2].p_flags = 7);
    TRY("PT_NOTE beyond the end", PH2(PT_NOTE, .p_offset = 1 << 30, .p_filesz = 100));
    TRY("PT_GNU_PROPERTY cut", PH2(PT_GNU_PROPERTY, .p_offset = 0, .p_filesz = 4, .p_align = 8));
    TRY("PT_GNU_PROPERTY huge", PH2(PT_GNU_PROPERTY, .p_offset = 0, .p_filesz = 1 << 20, .p_align = 8));
    TRY("PT_TLS absurd", PH2(PT_TLS, .p_vaddr = ~0UL, .p_memsz = ~0UL));
    TRY("PT_PHDR twice", PH2(PT_PHDR, .p_vaddr = 1), i.eh.e_phnum = 3, i.ph[2] = i.ph[1]);
    TRY("PT_DYNAMIC absurd", PH2(PT_DYNAMIC, .p_offset = ~0UL));
    TRY("unknown type", PH2(0x12345678));
    TRY("PT_SHLIB", PH2(PT_SHLIB));
}

CASE(interpreter)
{
    put("data", "not a program", 13, 0755);
    put("private", "not a program", 13, 0644);
    mkdir("dir", 0755);
    struct image raw = good();
    put("static", &raw, sizeof raw, 0755);
    raw.eh.e_machine = EM_ARM;
    put("arm", &raw, sizeof raw, 0755);
    raw = good(), raw.eh.e_type = ET_REL;
    put("relocatable", &raw, sizeof raw, 0755);
    raw = good(), raw.eh.e_type = ET_DYN, raw.ph[0].p_vaddr = 0, raw.eh.e_entry -= BASE, raw.code[1] = 43;
    put("dynamic", &raw, sizeof raw, 0755);
    put("short", &raw, 60, 0755);
    raw.ph[0].p_vaddr = 0xffff800000000000;
    put("kernel-half", &raw, sizeof raw, 0755);
    raw.ph[0].p_vaddr = 0, raw.eh.e_phentsize = 5;
    put("bad-phentsize", &raw, sizeof raw, 0755);
    raw.eh.e_phentsize = sizeof *raw.ph, raw.eh.e_phoff = 1 << 20;
    put("bad-phoff", &raw, sizeof raw, 0755);
    put("script", "#!/bin/sh\necho script\n", 22, 0755);
    TRY("missing", INTERP("./none"));
    TRY("directory", INTERP("./dir"));
    TRY("garbage", INTERP("./data"));
    TRY("not executable", INTERP("./private"));
    TRY("wrong machine", INTERP("./arm"));
    TRY("relocatable", INTERP("./relocatable"));
    TRY("cut short", INTERP("./short"));
    TRY("segment in the kernel half", INTERP("./kernel-half"));
    TRY("bad phentsize", INTERP("./bad-phentsize"));
    TRY("bad phoff", INTERP("./bad-phoff"));
    TRY("script", INTERP("./script"));
    TRY("static at the same place", INTERP("./static"));
    TRY("dynamic", INTERP("./dynamic"));
    TRY("dynamic, for ET_DYN", INTERP("./dynamic"), i.eh.e_type = ET_DYN, i.ph[0].p_vaddr = 0, i.eh.e_entry -= BASE);
    TRY("relative name", INTERP("dynamic"));
    TRY("itself", INTERP("./bad"));
    TRY("through a file", INTERP("./data/x"));
    TRY("empty name", INTERP(""));
    TRY("filesz 0", INTERP("x"), i.ph[1].p_filesz = 0);
    TRY("filesz 1", INTERP(""), i.ph[1].p_filesz = 1);
    TRY("filesz 2 but empty", INTERP(""), i.ph[1].p_filesz = 2);
    TRY("unterminated", INTERP("./dynamic"), i.ph[1].p_filesz--);
    TRY("inner zero", INTERP("./dynamic"), i.ph[1].p_filesz += 5);
    TRY("beyond the end", INTERP("./dynamic"), i.ph[1].p_offset = 1 << 20);
    TRY("across the end", INTERP("./dynamic"), i.ph[1].p_offset = sizeof i - 2);
    TRY("size 4096", INTERP("./dynamic"), i.ph[1].p_filesz = 4096);
    TRY("size 4097", INTERP("./dynamic"), i.ph[1].p_filesz = 4097);
    TRY("offset negative", INTERP("./dynamic"), i.ph[1].p_offset = (Elf64_Off)-5);
    TRY("twice, first counts", INTERP("./dynamic"), i.eh.e_phnum = 3, i.ph[2] = i.ph[1], i.ph[2].p_offset = 1 << 20);
    TRY("twice, second good", INTERP("./none"), i.eh.e_phnum = 3, i.ph[2] = i.ph[1], strcpy(i.text + 50, "./dynamic"),
        i.ph[2].p_offset = offsetof(struct image, text) + 50, i.ph[2].p_filesz = 10);
    TRY("and phdrs bad", INTERP("./dynamic"), i.eh.e_phnum = 65535);
}

CASE(kinds_of_file)
{
    mkdir("dir", 0755);
    mkfifo("fifo", 0755);
    symlink("loop", "loop");
    symlink("none", "dangling");
    put("plain", "text", 4, 0644);
    put("empty", "", 0, 0755);
    put("one", "#", 1, 0755);
    put("zeros", "\0\0\0\0\0\0\0\0", 8, 0755);
    struct image i = good();
    put("good", &i, sizeof i, 0755);
    put("noexec", &i, sizeof i, 0644);
    symlink("good", "link");
    run("directory", "./dir");
    run("directory with a slash", "./dir/");
    run("FIFO", "./fifo");
    run("loop", "./loop");
    run("dangling", "./dangling");
    run("missing", "./none");
    run("missing directory", "./none/x");
    run("below a file", "./good/x");
    run("file with a slash", "./good/");
    run("plain text without x", "./plain");
    run("no x for anyone", "./noexec");
    run("empty", "./empty");
    run("one byte", "./one");
    run("zeros", "./zeros");
    run("link", "./link");
    run("device", "/dev/null");
    run("tty device", "/dev/full");
    run("proc file", "/proc/self/status");
    char name[5000] = "./";
    memset(name + 2, 'n', 300), name[302] = 0;
    run("component of 300", name);
    for (size_t k = 0; k < sizeof name - 1; k += 2) name[k] = '.', name[k + 1] = '/';
    name[4990] = 0;
    run("path too long", name);
    int fd = open("good", O_RDWR);
    run("open for writing", "./good");
    close(fd);
    run("closed again", "./good");
    fd = open("good", O_RDONLY);
    run("open for reading", "./good");
}

CASE(busy_while_running)
{
    int p[2];
    char c;
    pipe(p);
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n] = 0;
    T(open(self, O_WRONLY));
    T(truncate(self, 5));
    struct image i = good();
    unsigned char pauses[] = {0xb8, 34, 0, 0, 0, 0x0f, 0x05};
    memcpy(i.code, pauses, sizeof pauses);
    put("sleeper", &i, sizeof i, 0755);
    pid_t pid = fork();
    if (pid == 0) { fcntl(p[1], F_SETFD, FD_CLOEXEC); execl("./sleeper", "sleeper", (char *)NULL); _exit(9); }
    close(p[1]);
    read(p[0], &c, 1);
    T(open("sleeper", O_WRONLY));
    T(open("sleeper", O_RDWR));
    T(open("sleeper", O_RDONLY));
    T(truncate("sleeper", 0));
    T(rename("sleeper", "renamed"));
    T(unlink("renamed"));
    kill(pid, SIGKILL);
    reap(pid);
}

CASE(written_by_another)
{
    struct image i = good();
    int p[2];
    char c;
    pipe(p);
    put("good", &i, sizeof i, 0755);
    pid_t pid = fork();
    if (pid == 0) { open("good", O_WRONLY); write(p[1], "w", 1); pause(); }
    read(p[0], &c, 1);
    run("while another writes", "./good");
    kill(pid, SIGKILL);
    reap(pid);
    run("after", "./good");
    pid = fork();
    if (pid == 0) { int fd = open("good", O_RDWR); mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); close(fd); write(p[1], "m", 1); pause(); }
    read(p[0], &c, 1);
    run("mapped writable by another", "./good");
    kill(pid, SIGKILL);
    reap(pid);
}

CASE(limits_at_exec)
{
    struct image i = good();
    i.ph[0].p_memsz = 64 << 20, i.ph[0].p_flags |= PF_W;
    put("large", &i, sizeof i, 0755);
    CHILD struct rlimit l = {32 << 20, 32 << 20}; setrlimit(RLIMIT_AS, &l); run("bss over RLIMIT_AS", "./large"); REAPED
    CHILD struct rlimit l = {32 << 20, 32 << 20}; setrlimit(RLIMIT_DATA, &l); run("bss over RLIMIT_DATA", "./large"); REAPED
    i = good();
    put("good", &i, sizeof i, 0755);
    CHILD struct rlimit l = {0, 0}; setrlimit(RLIMIT_NOFILE, &l); run("no descriptors left", "./good"); REAPED
    CHILD struct rlimit l = {0, 0}; setrlimit(RLIMIT_FSIZE, &l); run("no file size", "./good"); REAPED
}

CASE(caller_is_untouched)
{
    struct image i = good();
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char *heap = sbrk(0);
    handle(SIGUSR1, tell, 0);
    INTERP("./none");
    put("bad", &i, sizeof i, 0755);
    T(execl("./bad", "bad", (char *)NULL));
    i.ph[1].p_filesz = 0;
    put("bad", &i, sizeof i, 0755);
    T(execl("./bad", "bad", (char *)NULL));
    T(fcntl(fd, F_GETFD));
    IS(sbrk(0) == heap);
    raise(SIGUSR1);
}

CASE(thirty_two_bits)
{
    struct { Elf32_Ehdr eh; Elf32_Phdr ph; unsigned char code[16]; } i, keep;
    static const unsigned char exits[] = {0xbb, 41, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0xcd, 0x80};
    memset(&i, 0, sizeof i);
    memcpy(i.eh.e_ident, ELFMAG, 4);
    i.eh.e_ident[EI_CLASS] = ELFCLASS32, i.eh.e_ident[EI_DATA] = ELFDATA2LSB, i.eh.e_ident[EI_VERSION] = 1;
    i.eh.e_type = ET_EXEC, i.eh.e_machine = EM_386, i.eh.e_version = 1;
    i.eh.e_entry = 0x8048000 + sizeof i.eh + sizeof i.ph, i.eh.e_phoff = sizeof i.eh;
    i.eh.e_ehsize = sizeof i.eh, i.eh.e_phentsize = sizeof i.ph, i.eh.e_phnum = 1;
    i.ph = (Elf32_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x8048000, .p_filesz = sizeof i, .p_memsz = sizeof i, .p_align = 4096};
    memcpy(i.code, exits, sizeof exits);
    keep = i;
    try_bytes("good", &i, sizeof i);
    i.eh.e_machine = EM_X86_64, try_bytes("x32", &i, sizeof i), i = keep;
    i.eh.e_machine = EM_ARM, try_bytes("ARM", &i, sizeof i), i = keep;
    i.eh.e_machine = 6, try_bytes("machine 486", &i, sizeof i), i = keep;
    i.eh.e_phentsize = 56, try_bytes("phentsize 56", &i, sizeof i), i = keep;
    i.ph.p_vaddr = 0xfffff000, try_bytes("vaddr at the top", &i, sizeof i), i = keep;
    i.ph.p_memsz = 0xffffffff, i.ph.p_flags = 7, try_bytes("memsz huge", &i, sizeof i), i = keep;
    i.ph.p_vaddr = 0, try_bytes("vaddr 0", &i, sizeof i), i = keep;
    i.eh.e_entry = 0xffffffff, try_bytes("entry at the top", &i, sizeof i), i = keep;
    i.eh.e_type = ET_DYN, i.ph.p_vaddr = 0, i.eh.e_entry -= 0x8048000, try_bytes("dynamic", &i, sizeof i), i = keep;
    try_bytes("cut", &i, 60);
    i.ph.p_vaddr = 0xc0000000, i.eh.e_entry += 0xc0000000 - 0x8048000, try_bytes("at 3 GiB", &i, sizeof i);
}
