"""Each diagnosis is given where it is the case, by its row, with words that name the culprit; and the errno is the
kernel's own."""

from __future__ import annotations

import stat

import pytest

from ring3.abi.elf import EM_386, ET_DYN, PF_R, PT_LOAD, Phdr
from ring3.abi.flags import MountFlags
from ring3.errors import EACCES, EIO, EPERM
from ring3.exec.rules import MORE_STEPS, STEPS
from ring3.proc.lookup import find_emulation_root
from ring3.trace.explain.diagnoses import TABLE, brief, diagnose
from ring3.trace.explain.model import Explanation, Hop
from ring3.trace.explain.words import trouble
from ring3.vfs.namei import namei
from tests.unit.exec.images import BASE, DATA, Elf, interp, interpreted, load, pie_interpreted, program
from tests.unit.trace.explain.guest import USER, Guest

GLIBC = b"/lib64/ld-linux-x86-64.so.2"
MUSL = b"/lib/ld-musl-x86_64.so.1"


def says(found: Explanation, key: str, error: str, *words: str) -> None:
    """The explanation is this one, and its sentences hold these words."""
    assert found.diagnosis is not None
    assert (found.diagnosis.key, found.error) == (key, error)
    text = " ".join((found.diagnosis.why, *found.diagnosis.helps))
    for word in words:
        assert word in text


def machine(number: int) -> bytes:
    """A 64-bit ELF file for another CPU."""
    return program()[:18] + number.to_bytes(2, "little") + program()[20:]


# --- files that do not run, whatever their bytes are

@pytest.mark.parametrize(("data", "key", "error", "words"), [
    (b"", "empty file", "ENOEXEC", ["it is an empty file"]),
    (bytes(100), "empty file", "ENOEXEC", ["nothing but zeros"]),
    (b"echo hi\n", "text without #!", "ENOEXEC", ["neither an ELF program nor a script", "sh /x", "#!/bin/sh"]),
    (b"import os\n", "text without #!", "ENOEXEC", ["python3 /x", "#!/usr/bin/env python3"]),
    (b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark", "ENOEXEC", ["UTF-8 byte order mark", "sed -i"]),
    ("#!/bin/sh\n".encode("utf-16"), "byte order mark", "ENOEXEC", ["UTF-16", "iconv"]),
    (b"#!/bin/sh\r\n", "carriage return", "ENOENT", ["ends in CR", "sed -i 's/\\r$//' /x"]),
    (b"#!/no/such/sh\n", "missing interpreter", "ENOENT", ["/x is there", "/no/such/sh", "#!/bin/sh"]),
    (b"#!/no/such/interpreter\n", "missing interpreter", "ENOENT", ["/no/such/interpreter", "install"]),
    (b"#!sh\n", "relative interpreter", "ENOENT", ["no leading /", "#!/bin/sh"]),
    (b"#!/bin\n", "not a regular file", "EACCES", ["its interpreter /bin is a directory"]),
    (b"#!/pipe\n", "not a regular file", "EACCES", ["its interpreter /pipe is not a regular file: it is a FIFO"]),
    (b"#!/etc/motd\n", "not executable", "EACCES", ["its interpreter /etc/motd lacks the x bit", "chmod +x /etc/motd"]),
    (b"#!\n", "bad first line", "ENOEXEC", ["no interpreter's name"]),
    (b"#!   ", "no interpreter", "EACCES", ["/x names no interpreter"]),
    (b"#! /" + b"a" * 300 + b"\n", "bad first line", "ENOEXEC", ["cut off"]),
    (b"#!/x\n", "scripts too deep", "ELOOP", ["x → x", "at most 5"]),
    (b"MZ\x90\0", "another kind of file", "ENOEXEC", ["Windows", "wine"]),
    (b"\xcf\xfa\xed\xfe", "another kind of file", "ENOEXEC", ["macOS"]),
    (b"\xca\xfe\xba\xbe\0\0\0\x02", "another kind of file", "ENOEXEC", ["macOS"]),
    (b"\xca\xfe\xba\xbe\0\0\0\x34", "another kind of file", "ENOEXEC", ["Java class"]),
    (b"\0asm\1\0\0\0", "another kind of file", "ENOEXEC", ["WebAssembly"]),
    (b"\x0b\1\0\0" + bytes(40), "another kind of file", "ENOEXEC", ["a.out"]),
    (b"PK\3\4", "another kind of file", "ENOEXEC", ["zip"]),
    (b"!<arch>\n", "another kind of file", "ENOEXEC", ["archive"]),
    (bytes(range(1, 30)), "data", "ENOEXEC", ["no program", "01 02 03"]),
    (program()[:30], "cut off", "ENOEXEC", ["30 bytes"]),
    (program()[:70], "cut off", "ENOEXEC", ["program headers end at byte 120, the file at 70"]),
    (machine(183), "another CPU", "ENOEXEC", ["AArch64", "x86-64", "qemu-user"]),
    (machine(40), "another CPU", "ENOEXEC", ["ARM"]),
    (machine(54321), "another CPU", "ENOEXEC", ["CPU number 54321"]),
    (program(type=1), "not linked", "ENOEXEC", ["relocatable object", "cc /x -o program"]),
    (program(type=4), "not linked", "ENOEXEC", ["core dump", "gdb -c /x"]),
    (program(type=0), "not linked", "ENOEXEC", ["ET_NONE"]),
    (program(phnum=0), "no program headers", "ENOEXEC", ["no program headers"]),
    (program(phentsize=55), "no program headers", "ENOEXEC", ["55 bytes instead of 56"]),
    (interpreted(MUSL), "missing loader", "ENOENT", ["musl", "/x is there", "--root"]),
    (interpreted(GLIBC), "missing loader", "ENOENT", ["glibc", "gcompat"]),
    (interpreted(b"/lib/ld-linux.so.2"), "missing loader", "ENOENT", ["32-bit", "i386"]),
    (interpreted(b"/libexec/ld.elf_so"), "missing loader", "ENOENT", ["NetBSD"]),
    (interpreted(b"/system/bin/linker64"), "missing loader", "ENOENT", ["Android"]),
    (interpreted(b"/nix/store/abc/ld"), "missing loader", "ENOENT", ["Nix", "patchelf"]),
    (interpreted(b"/opt/strange/loader"), "missing loader", "ENOENT", ["/opt/strange/loader", "--mount"]),
    (interpreted(b"ld.so"), "relative interpreter", "ENOENT", ["the loader ld.so has no leading /"]),
    (interpreted(b"/etc/motd"), "not executable", "EACCES", ["its loader /etc/motd lacks the x bit"]),
    (interpreted(b"/usr/bin/text"), "bad loader", "ELIBBAD", ["/usr/bin/text", "no usable ELF file"]),
])
def test_bad_files(guest: Guest, data: bytes, key: str, error: str, words: list[str]) -> None:
    guest.shell()
    guest.file("/etc/motd", b"hello\n", 0o644)
    guest.file("/usr/bin/text", b"just some text that is longer than an ELF header, so that this can be read in whole\n")
    guest.node("/pipe", stat.S_IFIFO | 0o666)
    guest.file("/x", data)
    says(guest.explain("/x"), key, error, *words)


@pytest.mark.parametrize(("segment", "words"), [
    (load(0x600000, filesz=0x10, memsz=1 << 47, flags=DATA), ["wants 128 TiB", "SIGSEGV"]),
    (load(0x600000, filesz=0x100, memsz=0x10, flags=DATA), ["more bytes in the file (256) than in memory (16)"]),
    (load(0x600010, offset=0x1000, flags=DATA), ["differ within a page"]),
    (load(1 << 50, flags=DATA), ["user memory ends"]),
    (load(0x600000, offset=0x100000, filesz=0x10, memsz=0x2000, flags=DATA), ["cut off", "beyond the end of the file"]),
])
def test_images_that_kill(guest: Guest, segment: Phdr, words: list[str]) -> None:
    guest.file("/x", program(segment))
    found = guest.explain("/x")
    assert (found.outcome, found.signal) == ("dies", 11)
    assert found.diagnosis is not None
    assert all(word in f"{found.diagnosis.why} {found.diagnosis.helps}" for word in words), found.diagnosis


def test_a_segment_below_the_lowest_address(guest: Guest) -> None:
    guest.file("/x", program(base=0x1000))
    found = guest.explain("/x")
    assert found.outcome == "dies"
    assert found.diagnosis is not None
    assert "vm.mmap_min_addr" in found.diagnosis.helps[0]


# --- looking up

def test_missing(guest: Guest) -> None:
    guest.file("/opt/tool/start", program())
    says(guest.explain("/opt/tool/strat"), "missing", "ENOENT", "there is no strat in /opt/tool", "did you mean start?")
    says(guest.explain("/opt/tol/start"), "missing", "ENOENT", "there is no tol in /opt", "did you mean tool?")
    says(guest.explain("/opt/tool/start "), "missing", "ENOENT", "blank or line end")
    says(guest.explain(""), "missing", "ENOENT", "empty name")


def test_links_that_lead_nowhere(guest: Guest) -> None:
    guest.link("/a", "/nowhere/b")
    says(guest.explain("/a"), "dangling link", "ENOENT", "/a is a link to /nowhere/b", "there is no nowhere in /")


def test_a_file_that_is_missing_behind_a_good_link(guest: Guest) -> None:
    guest.directory("/usr/bin")
    guest.link("/bin", "./usr/bin/")
    says(guest.explain("/bin/x"), "missing", "ENOENT", "there is no x in /usr/bin")


def test_links_in_a_circle(guest: Guest) -> None:
    guest.link("/one", "two")
    guest.link("/two", "/one")
    says(guest.explain("/one"), "link loop", "ELOOP", "/one → /two → /one")


def test_many_links(guest: Guest) -> None:
    for number in range(45):
        guest.link(f"/l{number}", f"l{number + 1}")
    says(guest.explain("/l0"), "link loop", "ELOOP", "more than 40 links", "/l0")


def test_a_file_where_a_directory_must_be(guest: Guest) -> None:
    guest.file("/etc/motd", b"x", 0o644)
    says(guest.explain("/etc/motd/x"), "not a directory", "ENOTDIR", "/etc/motd stands where a directory must be", "a regular file")
    says(guest.explain("/etc/motd/"), "not a directory", "ENOTDIR", "ends in / but is no directory")


def test_a_directory_that_may_not_be_searched(guest: Guest) -> None:
    guest.file("/home/ann/bin/x", program())
    guest.own("/home/ann", 0o700, 1001)
    says(
        guest.explain("/home/ann/bin/x", cred=USER),
        "no search permission",
        "EACCES",
        "/home/ann may not be searched by uid 1000",
        "0700",
        "chmod o+x /home/ann",
        "uid 1001",
    )
    assert guest.explain("/home/ann/bin/x").outcome == "runs"


def test_names_that_are_too_long(guest: Guest) -> None:
    says(guest.explain("/" + "a" * 300), "name too long", "ENAMETOOLONG", "255 bytes")
    says(guest.explain("/" + "a/" * 3000), "name too long", "ENAMETOOLONG", "4095")


def test_along_path(guest: Guest) -> None:
    guest.shell()
    path = {b"PATH": b"/no:/usr/bin"}
    says(guest.explain("env2", env=path), "not along PATH", "ENOENT", "none of its 2 directories has env2", "did you mean env?")
    says(guest.explain("sh", env=path), "not along PATH", "ENOENT", "it is at /bin/sh, which PATH does not name")
    guest.file("/tool", program())
    says(guest.explain("tool", env=path), "not along PATH", "ENOENT", "it is in the current directory: ./tool")
    assert guest.explain("env", env=path).outcome == "runs"
    assert [tried.path for tried in guest.explain("env", env=path).search] == [b"/no/env"]


def test_along_path_and_what_it_needs_is_missing(guest: Guest) -> None:
    """execvp(3) goes on after ENOENT and says "not found" in the end; who asks why is told of the one that is there."""
    path = {b"PATH": b"/no:/usr/bin:/bin"}
    guest.file("/usr/bin/tool", b"#!/no/such/sh\n")
    guest.file("/usr/bin/tied", interpreted(MUSL))
    says(guest.explain("tool", env=path), "missing interpreter", "ENOENT", "/usr/bin/tool is there", "/no/such/sh")
    says(guest.explain("tied", env=path), "missing loader", "ENOENT", "/usr/bin/tied is there", "musl")
    guest.directory("/locked", 0o700)
    says(guest.explain("none", env={b"PATH": b"/usr/bin:/locked"}, cred=USER), "no search permission", "EACCES",
         "none of the directories of PATH that may be searched has none", "/locked may not be searched by uid 1000")


def test_along_path_but_not_executable(guest: Guest) -> None:
    guest.file("/usr/bin/tool", program(), 0o644)
    found = guest.explain("tool", env={b"PATH": b"/no:/usr/bin:/bin"})
    says(found, "not executable", "EACCES", "found along PATH as /usr/bin/tool", "chmod +x /usr/bin/tool")


# --- checks

def test_directories_and_devices(guest: Guest) -> None:
    guest.file("/opt/tool/tool", program())
    says(guest.explain("/opt/tool"), "not a regular file", "EACCES", "it is a directory", "/opt/tool/tool")
    guest.node("/pipe", stat.S_IFIFO | 0o777)
    says(guest.explain("/pipe"), "not a regular file", "EACCES", "FIFO")


def without_an_x_bit(found: Explanation, what: str) -> None:
    says(found, "not a regular file", found.error, f"it is not a regular file: it is a {what}")
    assert found.diagnosis is not None
    assert "x bit" not in found.diagnosis.why
    assert not any("chmod" in help_ for help_ in found.diagnosis.helps)


@pytest.mark.parametrize(("kind", "what"), [
    (stat.S_IFIFO, "FIFO"), (stat.S_IFSOCK, "socket"), (stat.S_IFCHR, "character device"), (stat.S_IFBLK, "block device"),
])
@pytest.mark.parametrize("system", ["linux", "netbsd", "serenity"])
def test_what_is_no_regular_file_is_not_made_executable(guest: Guest, system: str, kind: int, what: str) -> None:
    """Whichever of the checks its system asks first."""
    guest.node("/x", kind | 0o666)
    without_an_x_bit(guest.explain("/x", t=guest.process(personality=system)), what)
    without_an_x_bit(guest.explain("/x", t=guest.process(USER, personality=system)), what)


def test_only_a_program_is_the_example_in_a_directory(guest: Guest) -> None:
    guest.directory("/tmp/tmp")
    guest.file("/data/data", b"x", 0o644)
    for path, cwd in (("/", "/"), ("./..", "/tmp/tmp"), ("/data", "/")):
        found = guest.explain(path, cwd=cwd).diagnosis
        assert found is not None
        assert (found.why, found.helps) == ("it is a directory", ("name a program in it",))
    guest.file("/opt/tool/tool", program())
    found = guest.explain("/opt/./tool//").diagnosis
    assert found is not None
    assert found.helps == ("name a program in it: /opt/tool/tool",)


def test_what_is_recommended_can_be_run(guest: Guest) -> None:
    guest.directory("/make")
    guest.file("/bin/make", b"x", 0o644)
    guest.file("/usr/bin/make", program())
    found = guest.explain("make", env={b"PATH": b"/no"}).diagnosis
    assert found is not None
    assert found.helps[0] == "it is at /usr/bin/make, which PATH does not name"


def test_a_noexec_mount(guest: Guest) -> None:
    guest.mount("/media", MountFlags.NOEXEC | MountFlags.NOSUID)
    guest.file("/media/x", program())
    says(guest.explain("/media/x"), "noexec mount", "EACCES", "/media is mounted rw,nosuid,noexec", "sh /media/x")
    guest.own("/media/x", 0o644, 0)
    says(guest.explain("/media/x"), "noexec mount", "EACCES", "copy it elsewhere")


@pytest.mark.parametrize(("mode", "uid", "words"), [
    (0o644, 0, ["lacks the x bit: nobody may execute it (0644)", "chmod +x /x"]),
    (0o700, 0, ["may not be executed by uid 1000", "chmod a+x /x", "uid 0"]),
    (0o077, 1000, ["the owner, uid 1000, may not execute (0077)"]),
])
def test_modes(guest: Guest, mode: int, uid: int, words: list[str]) -> None:
    guest.file("/x", program(), mode, uid)
    says(guest.explain("/x", cred=USER), "not executable", "EACCES", *words)


def test_text_busy(guest: Guest) -> None:
    guest.file("/x", program())
    node = namei(guest.context, b"/x").vnode
    node.writers += 1
    says(guest.explain("/x"), "text busy", "ETXTBSY", "open for writing")


def test_a_policy(guest: Guest) -> None:
    def refuse(_t: object, _package: object, _file: object) -> None:
        raise EPERM("the list does not have it")

    guest.file("/x", program())
    guest.system.execsw.policies = (refuse,)
    says(guest.explain("/x"), "policy", "EPERM", "a policy forbids /x", "the list does not have it")


# --- arguments

def test_too_much(guest: Guest) -> None:
    guest.file("/x", program())
    says(guest.explain("/x", *["a" * 100_000] * 24), "too many arguments", "E2BIG", "take 2.3 MiB", "the limit is 2 MiB",
         "a quarter of the stack limit", "ulimit -s")
    big = {b"A%d" % i: b"v" * 120_000 for i in range(20)}
    says(guest.explain("/x", env=big), "too many arguments", "E2BIG", "the environment is 2.3 MiB of it", "--env A")


def test_one_long_string(guest: Guest) -> None:
    guest.file("/x", program())
    says(guest.explain("/x", "a", "b" * 200_000), "one string too long", "E2BIG", "argv[2] alone takes 195 KiB", "128 KiB")
    says(guest.explain("/x", env={b"HUGE": b"v" * 200_000}), "one string too long", "E2BIG", "the variable HUGE")


# --- what goes wrong afterwards

PATH = {b"PATH": b"/no:/usr/bin:/bin"}


def tools(guest: Guest) -> None:
    """What env may be asked for: along PATH, beside it, there and not executable, a directory."""
    guest.shell()
    guest.file("/usr/bin/python3", program())
    guest.file("/usr/local/bin/tool", program())
    guest.file("/usr/bin/locked", program(), 0o644)
    guest.directory("/bin/nosuch")


@pytest.mark.parametrize(("line", "key", "words"), [
    (b"#!/usr/bin/env python3 -u\n", "one word for env", ["'python3 -u'", "#!/usr/bin/env -S python3 -u"]),
    (b"#!/usr/bin/env -i python3\n", "one word for env", ["options of its own", "#!/usr/bin/env -S -i python3"]),
    (b"#!/usr/bin/env A=b python3\n", "one word for env", ["a variable, 'A=b python3', and runs the script itself", "-S A=b"]),
    (b"#!/bin/sh -e -x\n", "one word for env", ["'-e -x'"]),
    (b"#!/usr/bin/env nosuch\n", "env finds nothing", ["the first line of /x", "nosuch", "along PATH", "127", "install nosuch"]),
    (b"#!/usr/bin/env pyhton3\n", "env finds nothing", ["did you mean python3?"]),
    (b"#!/usr/bin/env tool\n", "env finds nothing", ["it is at /usr/local/bin/tool, which PATH does not name"]),
    (b"#!/usr/bin/env locked\n", "env finds nothing", ["/usr/bin/locked may not be executed", "126", "chmod a+x /usr/bin/locked"]),
    (b"#!/usr/bin/env /no/such\n", "env finds nothing", ["/no/such, which is not found, so"]),
    (b"#!/usr/bin/env ./python3\n", "env finds nothing", ["./python3, which is not found, so"]),
    (b"#!/usr/bin/env -S nosuch -u\n", "env finds nothing", ["nosuch"]),
    (b"#!/usr/bin/env -S A=b nosuch\n", "env finds nothing", ["nosuch"]),
    (b"#!/usr/bin/env -vS 'no such' -u\n", "env finds nothing", ["'no such'"]),
    (b"#!/usr/bin/env -S PATH=/no python3\n", "env finds nothing", ["it is at /usr/bin/python3"]),
    (b"#!/usr/bin/env -S -i tool2\n", "env finds nothing", ["it knows no PATH"]),
    (b"#!/usr/bin/env python3\r\n", "carriage return in an argument", ["ends in CR", "sed -i"]),
])
def test_scripts_that_run_and_fail(guest: Guest, line: bytes, key: str, words: list[str]) -> None:
    tools(guest)
    guest.file("/x", line)
    found = guest.explain("/x", env=PATH)
    assert found.outcome == "runs"
    assert [warning.key for warning in found.warnings] == [key]
    assert all(word in f"{found.warnings[0].why} {found.warnings[0].helps}" for word in words)


@pytest.mark.parametrize("line", [
    b"#!/usr/bin/env -S python3 -u\n", b"#!/usr/bin/env python3\n", b"#!/bin/sh -e\n", b"#!/usr/bin/env /usr/bin/python3\n",
    b"#!/usr/bin/env ./usr/bin/python3\n", b"#!/usr/bin/env -vS python3 -u\n", b"#!/usr/bin/env -S -i A=b python3\n",
    b"#!/usr/bin/env -S PATH=/usr/local/bin tool\n", b"#!/usr/bin/env -S -C /usr ./bin/python3\n", b"#!/usr/bin/env\n",
    b"#!/usr/bin/env -S ${TOOL}\n", b"#!/usr/bin/env --what\n",
])
def test_good_scripts_bring_no_warning(guest: Guest, line: bytes) -> None:
    """Nor do those of which nobody can tell."""
    tools(guest)
    guest.file("/x", line)
    assert guest.explain("/x", env=PATH).warnings == ()


def test_what_env_is_asked_for_at_the_command_line(guest: Guest) -> None:
    tools(guest)
    found, = guest.explain("env", "A=b", "nosuch", env=PATH).warnings
    assert found.key == "env finds nothing"
    assert found.why.startswith("the command line has env run nosuch")
    assert guest.explain("env", "A=b", "python3", env=PATH).warnings == ()
    assert guest.explain("/usr/bin/env", "python3").warnings == ()


def test_what_env_finds_in_an_alternate_root(guest: Guest) -> None:
    """An image of another system looks there first."""
    tools(guest)
    guest.file("/emul/netbsd/usr/bin/only", program())
    guest.file("/x", b"#!/usr/bin/env only\n")
    t = guest.process(personality="netbsd")
    root = find_emulation_root(t.proc, t.proc.personality)
    assert root is not None
    t.proc.emulation = root, t.proc.fs.root
    assert guest.explain("/x", env=PATH, t=t).warnings == ()
    assert [warning.key for warning in guest.explain("/x", env=PATH).warnings] == ["env finds nothing"]


def test_a_shared_library(guest: Guest) -> None:
    library = Elf(type=ET_DYN, entry=0, phdrs=(Phdr(PT_LOAD, PF_R, 0, 0, 0, 0x800, 0x800, 4096),), size=0x800).encode()
    guest.file("/x", library)
    found = guest.explain("/x")
    assert [warning.key for warning in found.warnings] == ["no entry point"]
    assert "shared library" in found.warnings[0].why


def test_more_memory_than_there_is(guest: Guest) -> None:
    guest.file("/x", program(load(0x600000, filesz=0x10, memsz=1 << 45, flags=DATA)))
    assert [warning.key for warning in guest.explain("/x").warnings] == ["much memory"]


def test_a_segment_beyond_the_file(guest: Guest) -> None:
    guest.file("/x", program(load(0x600000, offset=0x10000, filesz=0x5000, flags=PF_R)))
    assert [warning.key for warning in guest.explain("/x").warnings] == ["cut off"]


# --- another system

def test_what_netbsd_refuses(guest: Guest) -> None:
    guest.shell()
    guest.file("/one", b"#!/two\n")
    guest.file("/two", b"#!/bin/sh\n")
    says(guest.explain("/one", t=guest.process(personality="netbsd")), "scripts too deep", "ENOEXEC", "one → /two", "at most 1")
    long = ["a" * 100_000] * 4
    says(guest.explain("/two", *long, t=guest.process(personality="netbsd")), "too many arguments", "E2BIG", "256 KiB")
    assert guest.explain("/two", t=guest.process(personality="netbsd")).outcome == "runs"
    assert guest.explain("/one").outcome == "runs"


def test_what_serenity_refuses(guest: Guest) -> None:
    """A system that sees to scripts before it asks the formats: the same hops, and the same reasons."""
    guest.shell()
    for name, line in (("/one", "/two"), ("/two", "/three"), ("/three", "/bin/sh"), ("/cr", "/bin/sh\r"), ("/dir", "/bin")):
        guest.file(name, b"#!" + line.encode() + b"\n")
    guest.file("/empty")

    def ask(path: str) -> Explanation:
        return guest.explain(path, "x", t=guest.process(personality="serenity"))

    says(ask("/one"), "scripts too deep", "ELOOP", "one → two", "at most 2 in a row")
    says(ask("/cr"), "carriage return", "ENOENT", "ends in CR")
    says(ask("/dir"), "not a regular file", "EACCES", "its interpreter /bin is a directory")
    says(ask("/empty"), "empty file", "ENOEXEC", "it is an empty file")
    guest.file("/short", b"#!")
    guest.file("/zero", b"#!/a\0b\n")
    says(ask("/short"), "empty file", "ENOEXEC", "it is a file of 2 bytes")
    says(ask("/zero"), "zero byte", "EINVAL", "/a\\x00b", "zero byte")
    hops = [event for event in ask("/two").events if isinstance(event, Hop)]
    assert [(hop.script, hop.interpreter, hop.arguments) for hop in hops] == [
        (b"/two", b"/three", (b"/three", b"/two")), (b"/three", b"/bin/sh", (b"/bin/sh", b"/three")),
    ]


def test_a_file_that_may_be_executed_and_not_read(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's kernel says so; a file system in memory has to be told to."""
    def read(*_args: object) -> bytes:
        raise EACCES

    guest.file("/x", program(), 0o111)
    guest.file("/lib/ld", program(), 0o111)
    guest.file("/tied", interpreted(b"/lib/ld"))
    monkeypatch.setattr(type(namei(guest.context, b"/x").vnode), "read", read)
    says(guest.explain("/x"), "not readable", "EACCES", "it may be executed but not read (0111)", "chmod +r /x")


# --- where no row fits

@pytest.mark.parametrize("step", [*STEPS, *MORE_STEPS])
@pytest.mark.parametrize("outcome", ["refused", "dies"])
def test_no_step_is_named(guest: Guest, step: str, outcome: str) -> None:
    """What the exec calls its steps is its own affair."""
    guest.file("/x", program())
    t = guest.process()
    found = guest.explain("/x", t=t)._replace(outcome=outcome, step=step, error="EIO", signal=11, events=(), kinds=(), plan=None)
    answer = diagnose(t, found)
    assert answer is not None
    assert " step " not in answer.why
    assert repr(step) not in answer.why
    assert answer.why.startswith(("it ", "its ", "no format", "there is no", "what its", "the place"))
    assert "Input/output error" in answer.why


def test_every_step_has_its_words() -> None:
    laid_out = {"arrange", "map", "map interpreter", "space", "run vmcmds"}
    assert {step for step in (*STEPS, *MORE_STEPS) if trouble(step) == trouble("map")} == laid_out


def test_a_header_that_cannot_be_read(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_args: object) -> bytes:
        raise EIO

    guest.file("/x", program())
    monkeypatch.setattr(type(namei(guest.context, b"/x").vnode), "read", read)
    says(guest.explain("/x"), "other", "EIO", "its first bytes cannot be read: Input/output error")


def test_what_serenity_refuses_before_it_looks(guest: Guest) -> None:
    says(guest.explain("", t=guest.process(personality="serenity")), "missing", "EINVAL", "an empty name")
    says(guest.explain("/" + "a" * 5000, t=guest.process(personality="serenity")), "name too long", "ENAMETOOLONG", "5001 bytes")


# --- the table

def test_a_program_that_runs_has_no_diagnosis(guest: Guest) -> None:
    guest.file("/x", program())
    found = guest.explain("/x")
    assert (found.outcome, found.diagnosis, found.warnings) == ("runs", None, ())
    assert brief(found) == ""


def test_the_program_behind_a_loader_is_named(guest: Guest) -> None:
    guest.file("/lib64/ld-linux-x86-64.so.2", program(machine=EM_386))
    guest.file("/x", pie_interpreted(GLIBC))
    says(guest.explain("/x"), "bad loader", "ELIBBAD", "/lib64/ld-linux-x86-64.so.2")


def test_a_loader_named_beyond_the_file(guest: Guest) -> None:
    phdr, _ = interp(b"/lib/ld", offset=0x100000)
    guest.file("/x", program(before=(phdr,), base=BASE))
    says(guest.explain("/x"), "bad loader", "EIO", "ends")


def test_keys_are_names() -> None:
    keys = [row.key for row in TABLE]
    assert len(keys) == len(set(keys))


def test_brief_is_a_line(guest: Guest) -> None:
    guest.file("/x", b"#!/no/such/interpreter\n")
    text = brief(guest.explain("/x"))
    assert "\n" not in text
    assert text.startswith("/x is there, but the interpreter it names is not: /no/such/interpreter; ")
