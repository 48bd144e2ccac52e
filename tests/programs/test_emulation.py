"""Emulation roots and a.out, with real programs: what a user of `--emul netbsd=DIR` has."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ring3
from tests.guest.netbsd.build import HERE, build
from tests.rows import row
from tests.unit.exec.aouts import STATUS, program, runnable

pytestmark = pytest.mark.needs_ptrace
TOOLS = HERE / "tools"
FILES = TOOLS / "files.c"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base set: /etc, /tmp, /dev, /bin with one program in it."""
    for name in ("etc", "tmp", "dev", "bin"):
        (tmp_path / "base" / name).mkdir(parents=True)
    (tmp_path / "base" / "etc" / "passwd").write_text("the base set's\n")
    shutil.copy(build(FILES), tmp_path / "base" / "bin" / "files")
    return tmp_path / "base"


@pytest.fixture
def kernel(base: Path) -> Iterator[ring3.Kernel]:
    with ring3.Kernel(emul={"netbsd": base}) as made:
        yield made


def said(kernel: ring3.Kernel, *args: str) -> str:
    done = kernel.run([str(build(FILES)), *args], capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    return str(done.stdout)


def test_a_netbsd_process_sees_its_own_files_first(kernel: ring3.Kernel, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("the real one\n")
    assert said(kernel, "/etc/passwd", str(tmp_path / "real")) == "the base set's\nthe real one\n"
    assert said(kernel, "/../etc/passwd") == Path("/etc/passwd").read_text()[:255]
    assert said(kernel, "@/", "etc/passwd") == Path("/etc/passwd").read_text()[:255]
    assert said(kernel, "@/etc", "passwd") == "the base set's\n"
    assert said(kernel, "/nowhere/x") == "errno 2\n"


def test_a_linux_process_does_not(kernel: ring3.Kernel) -> None:
    done = kernel.run(["cat", "/etc/passwd"], capture_output=True, timeout=90)
    assert done.stdout == Path("/etc/passwd").read_bytes()


def test_what_it_makes_stays_in_memory(kernel: ring3.Kernel, base: Path) -> None:
    assert said(kernel, "+/etc/made", "+/etc/made", "-/etc/passwd") == "errno 17\n"
    done = kernel.run("ls /emul/netbsd/etc", shell=True, capture_output=True, text=True, timeout=90)
    assert done.stdout == "made\n"
    assert [path.name for path in (base / "etc").iterdir()] == ["passwd"]


def test_devices_are_the_true_ones(kernel: ring3.Kernel) -> None:
    """A base set has an empty /dev, and making a file there would hide the device."""
    assert said(kernel, "/dev/null", "+/dev/null") == "errno 17\n"
    done = kernel.run("ls -l /emul/netbsd/dev/null", shell=True, capture_output=True, text=True, timeout=90)
    assert done.stdout.startswith("crw-rw-rw-")


@pytest.mark.parametrize("target", ["/etc", "../../etc", "/", "nowhere"])
def test_a_dev_that_is_a_link_gets_no_devices(base: Path, target: str) -> None:
    """A base set from somewhere must not have devices shown where it likes."""
    (base / "dev").rmdir()
    (base / "dev").symlink_to(target)
    with ring3.Kernel(emul={"netbsd": base}) as kernel:
        script = "ls /etc/passwd; ls /etc/null /emul/netbsd/etc/null; grep -c emul /proc/mounts"
        done = kernel.run(script, shell=True, capture_output=True, text=True, timeout=90)
    assert done.stdout == "/etc/passwd\n1\n"


def test_with_a_veil(kernel: ring3.Kernel) -> None:
    """What is hidden below the emulation root is looked for in the real tree."""
    program = str(build(FILES))
    veil = [f"{program}:rx", "/etc/passwd:r"]
    done = kernel.run([program, "/etc/passwd", "/etc/group"], unveil=veil, capture_output=True, text=True, timeout=90)
    assert done.stdout == Path("/etc/passwd").read_text()[:255] + "errno 2\n"


def test_a_program_of_the_base_set_is_run_by_its_own_name(kernel: ring3.Kernel) -> None:
    assert said(kernel, "!/bin/files", "/etc/passwd") == "the base set's\n"


def test_across_systems(kernel: ring3.Kernel) -> None:
    """A Linux program started by it looks at the real tree, and a NetBSD one started by that at its own again."""
    assert said(kernel, "!/bin/sh", "-c", f"head -c 4 /etc/passwd; {build(FILES)} /etc/passwd") == "rootthe base set's\n"


def test_i386_programs_have_a_root_of_their_own(base: Path) -> None:
    with ring3.Kernel(emul={"netbsd32": base}) as kernel:
        for how, expected in (("i386", "the base set's\n"), ("amd64", Path("/etc/passwd").read_text()[:255])):
            done = kernel.run([str(build(FILES, how)), "/etc/passwd"], capture_output=True, text=True, timeout=90)
            assert done.stdout == expected, how


# --- a base set's own loader
@pytest.mark.parametrize(("how", "system"), [("amd64", "netbsd"), ("i386", "netbsd32")])
@pytest.mark.parametrize("own", [False, True])
def test_a_dynamic_program(tmp_path: Path, base: Path, how: str, system: str, own: bool) -> None:
    """Its loader and its library come from the base set; the loader maps the library, and hands over as ld.elf_so does."""
    loader = "usr/libexec/ld.elf_so-i386" if own and how == "i386" else "libexec/ld.elf_so"
    for name, made in ((loader, build(TOOLS / "loader.c", f"{how}-pie")),
                       ("usr/lib/libanswer.so", build(TOOLS / "library.c", f"{how}-lib"))):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, base / name)
    (base / "etc" / "release").touch()
    program = tmp_path / "program"
    shutil.copy(build(TOOLS / "dynamic.c", f"{how}-dynamic"), program)
    expected = ["ld.elf_so: argc is on the stack", "ld.elf_so: AT_BASE is where I am", "ld.elf_so: AT_ENTRY lies in the program",
                f"ld.elf_so: {program}", "ld.elf_so: the library is the base set's", "program: an argument",
                "ok cleanup != NULL && failed(CALL1(SYS_close, 77), EBADF)", "ld.elf_so: good-bye",
                "ok gave(CALL1(SYS_close, fd.value), 0)"]
    with ring3.Kernel(emul={system: base}) as kernel:
        for words in ([str(program)], ["/bin/sh", "-c", 'exec "$@"', "sh", str(program)]):
            done = kernel.run([*words, "an argument"], capture_output=True, text=True, timeout=90)
            assert (done.stdout.splitlines(), done.stderr, done.returncode) == (expected, "", 0)


def test_a_dynamic_program_without_a_base_set_is_told_of_one() -> None:
    done = command("--", str(build(TOOLS / "dynamic.c", "amd64-dynamic")))
    assert done.returncode == 127
    assert "the dynamic loader it was built for is not: /libexec/ld.elf_so" in done.stderr
    assert "--emul netbsd=DIR" in done.stderr


# --- the command
def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ring3", "run", *words], capture_output=True, text=True, timeout=90, check=False)


def test_the_option(base: Path) -> None:
    done = command(f"--emul=netbsd={base}", "--", str(build(FILES)), "/etc/passwd")
    assert (done.stdout, done.stderr, done.returncode) == ("the base set's\n", "", 0)


@pytest.mark.parametrize(("value", "why"), [
    ("netbsd", "write NAME=DIR"), ("netbsd=", "write NAME=DIR"), ("linux=/tmp", "no system 'linux' has files elsewhere"),
    ("plan9=/tmp", "no system 'plan9' has files elsewhere; write one of netbsd"), ("netbsd=/no/such", "/no/such: No such file"),
    ("netbsd=/etc/passwd", "/etc/passwd: Not a directory"), ("=/tmp", "no system ''"), ("../x=/tmp", "no system '../x'"),
])
def test_what_makes_no_sense_is_said(value: str, why: str) -> None:
    done = command("--emul", value, "--", "/bin/true")
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 125


def test_a_name_that_is_a_path_is_refused() -> None:
    for name in ("", "..", "a/b", "a\0b"):
        with pytest.raises(ValueError, match="name of a personality"):
            ring3.Kernel(emul={name: "/tmp"})


# --- a.out
@row("netbsd", "exec_aout_makecmds, sys_execve", "a.out programs of every magic run: text, data and bss are where they should be")
@pytest.mark.parametrize("name", sorted(runnable()))
def test_aout_programs_run(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(runnable()[name])
    path.chmod(0o755)
    done = ring3.run([str(path)], capture_output=True, timeout=90)
    assert done.returncode == STATUS


def test_aout_text_cannot_be_written_but_omagic_text_can(tmp_path: Path) -> None:
    """mov byte [text], 1; then exit(42): SIGSEGV unless text is writable."""
    from ring3.exec.formats.aout import LD, NMAGIC, OMAGIC, ZMAGIC

    outcomes = {}
    for magic in (OMAGIC, NMAGIC, ZMAGIC):
        data = bytearray(program(magic))
        at = 32                                     # the first instruction, whose room is large enough for one more
        code = bytes.fromhex("c605") + LD.to_bytes(4, "little") + b"\x01"
        data[at : at + 7 + 24] = code + data[at : at + 24]
        path = tmp_path / str(magic)
        path.write_bytes(data)
        path.chmod(0o755)
        outcomes[magic] = ring3.run([str(path)], timeout=90).returncode
    assert outcomes == {OMAGIC: STATUS, NMAGIC: -11, ZMAGIC: -11}
