"""Every way we know to run, under veriexec, what nobody vouched for; and every way to change what somebody did.

`tool` is listed and prints GOOD, `evil` is not and prints EVIL.  Each attempt is a Python program in the guest, which prints
what it came to: "EPERM", the output of what it could run, or the like.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ring3
from ring3.cli.fingerprint import main as fingerprint
from tests.guest.netbsd.build import HERE as GUEST
from tests.guest.netbsd.build import build

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

PRELUDE = r"""
import ctypes, errno, mmap, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
app, evil, alias = sys.argv[1:4]
tool = app + "/tool"
def attempt(action):
    try:
        print(action())
    except OSError as error:
        print(errno.errorcode[error.errno])
    sys.stdout.flush()
def call(name, *args):
    if getattr(libc, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
def run(path=tool, **how):
    return subprocess.run([path], capture_output=True, text=True, **how).stdout.strip()
def copy_evil(to):
    with open(evil, "rb") as source, open(to, "wb") as target:
        target.write(source.read())
    os.chmod(to, 0o755)
def write(path, where="r+b"):
    with open(path, where) as file:
        file.write(b"x")
    return "written"
"""

# What it tries, level, the program, what it prints.
ATTEMPTS = (
    ("nothing at all", "ips", "attempt(run)", "GOOD"),
    ("run what is not listed", "ips", "attempt(lambda: run(evil))", "EPERM"),
    ("the same, one level lower", "ids", "attempt(lambda: run(evil))", "EVIL"),
    ("rename over it", "ips", "attempt(lambda: os.rename(evil, tool)); attempt(run)", "EPERM GOOD"),
    ("rename it away", "ips", "attempt(lambda: os.rename(tool, app + '/other')); attempt(run)", "EPERM GOOD"),
    (
        "exchange the two", "ips",
        "attempt(lambda: call('renameat2', -100, evil.encode(), -100, tool.encode(), 2)); attempt(run)",
        "EPERM GOOD",
    ),
    (
        "rename its directory and make another", "ips",
        "os.rename(app, app + '2'); os.mkdir(app); copy_evil(tool); attempt(run); attempt(lambda: run(app + '2/tool'))",
        "EPERM GOOD",
    ),
    (
        "remove it and make another", "ips",
        "attempt(lambda: os.unlink(tool)); attempt(lambda: write(tool)); attempt(run)",
        "EPERM EPERM GOOD",
    ),
    ("remove it, one level lower", "ids", "attempt(lambda: os.unlink(tool)); attempt(run)", "EPERM GOOD"),
    ("write it", "ips", "attempt(lambda: write(tool)); attempt(run)", "EPERM GOOD"),
    ("write it, one level lower", "ids", "attempt(run); write(tool); attempt(run)", "GOOD EPERM"),
    ("append to it", "ids", "attempt(run); write(tool, 'ab'); attempt(run)", "GOOD EPERM"),
    ("cut it by name", "ips", "attempt(lambda: os.truncate(tool, 5)); attempt(run)", "EPERM GOOD"),
    ("cut it by name, one level lower", "ids", "attempt(run); os.truncate(tool, 5); attempt(run)", "GOOD EPERM"),
    (
        "cut it while opening it to read", "ips",
        "attempt(lambda: os.open(tool, os.O_RDONLY | os.O_TRUNC)); attempt(run)",
        "EPERM GOOD",
    ),
    (
        "cut it while opening it to read, one level lower", "ids",
        "attempt(run); os.open(tool, os.O_RDONLY | os.O_TRUNC); attempt(run)",
        "GOOD EPERM",
    ),
    (
        "write it and put size and times back", "ids",
        "st = os.stat(tool); attempt(run); write(tool); os.utime(tool, ns=(st.st_atime_ns, st.st_mtime_ns)); attempt(run)",
        "GOOD EPERM",
    ),
    (
        "write it through shared memory", "ips",
        "attempt(lambda: os.open(tool, os.O_RDWR)); attempt(run)",
        "EPERM GOOD",
    ),
    (
        "write it through shared memory, one level lower", "ids",
        (
            "attempt(run); fd = os.open(tool, os.O_RDWR); m = mmap.mmap(fd, 4096); os.close(fd); m[0:4] = b'EVIL'; "
            "attempt(run); m.close(); attempt(run)"
        ),
        "GOOD ETXTBSY EPERM",
    ),
    (
        "keep shared memory, verify, then write", "ids",
        (
            "fd = os.open(lib, os.O_RDWR); m = mmap.mmap(fd, 8); os.close(fd); os.close(os.open(lib, os.O_RDONLY)); "
            "m[0:4] = b'EVIL'; attempt(lambda: os.open(lib, os.O_RDONLY))"
        ),
        "EPERM",
    ),
    (
        "write a library that was verified", "ids",
        "os.close(os.open(lib, os.O_RDONLY)); write(lib); attempt(lambda: os.open(lib, os.O_RDONLY))",
        "EPERM",
    ),
    (
        "put good contents back", "ids",
        (
            "old = open(lib, 'rb').read(); write(lib); attempt(lambda: os.open(lib, os.O_RDONLY)); "
            "attempt(lambda: write(lib))"
        ),
        "EPERM EPERM",
    ),
    (
        "have its mode changed: the overlay's copy", "ips",
        "os.chmod(tool, 0o711); attempt(run); os.chmod(tool, 0o755); attempt(run)",
        "GOOD GOOD",
    ),
    (
        "another name for it", "ips",
        (
            "os.link(tool, app + '/name'); attempt(lambda: run(app + '/name')); attempt(lambda: write(app + '/name')); "
            "attempt(lambda: os.unlink(app + '/name'))"
        ),
        "GOOD EPERM EPERM",
    ),
    (
        "a link to something else in its place", "ips",
        "os.symlink(evil, app + '/sym'); attempt(lambda: run(app + '/sym'))",
        "EPERM",
    ),
    ("write it through another mount", "ips", "attempt(lambda: write(alias + '/tool')); attempt(run)", "EPERM GOOD"),
    (
        "remove it through another mount", "ips",
        "attempt(lambda: os.unlink(alias + '/tool')); attempt(run)",
        "EPERM GOOD",
    ),
    (
        "write it through another mount, one level lower", "ids",
        "attempt(run); write(alias + '/tool'); attempt(run)",
        "GOOD EPERM",
    ),
    (
        "execveat of a descriptor", "ips",
        "fd = os.open(evil, os.O_RDONLY); attempt(lambda: call('execveat', fd, b'', None, None, 0x1000))",
        "EPERM",
    ),
    (
        "execveat of a path descriptor", "ips",
        "fd = os.open(evil, os.O_PATH); attempt(lambda: call('execveat', fd, b'', None, None, 0x1000))",
        "EPERM",
    ),
    (
        "through /proc/self/fd", "ips",
        "fd = os.open(evil, os.O_RDONLY); attempt(lambda: run(f'/proc/self/fd/{fd}', pass_fds=[fd]))",
        "EPERM",
    ),
    (
        "/proc/self/exe is what it is", "ips",
        "attempt(lambda: subprocess.run(['/proc/self/exe', '-Sc', 'print(1)'],capture_output=True, text=True).stdout.strip())",
        "1",
    ),
    (
        "from memory", "ips",
        (
            "fd = os.memfd_create('x'); os.write(fd, open(evil, 'rb').read()); "
            "attempt(lambda: call('execveat', fd, b'', None, None, 0x1000))"
        ),
        "EPERM",
    ),
    (
        "a nameless file given the name", "ips",
        (
            "fd = os.open('/tmp', os.O_TMPFILE | os.O_RDWR, 0o755); os.write(fd, open(evil, 'rb').read()); "
            "attempt(lambda: os.link(f'/proc/self/fd/{fd}', tool)); attempt(run)"
        ),
        "EEXIST GOOD",
    ),
    ("standard input is a program", "ips", "attempt(lambda: run('/proc/self/fd/0', stdin=open(evil)))", "EPERM"),
    (
        "a script that is not listed", "ips",
        (
            "open(app + '/new', 'w').write('#!' + tool + '\\n'); os.chmod(app + '/new', 0o755); "
            "attempt(lambda: run(app + '/new'))"
        ),
        "EPERM",
    ),
    (
        "a script whose interpreter was changed", "ids",
        "attempt(lambda: run(script)); write(interp); attempt(lambda: run(script))",
        "GOOD EPERM",
    ),
    (
        "a script of a script of a changed one", "ids",
        (
            "open(app + '/new', 'w').write('#!' + script + '\\n'); os.chmod(app + '/new', 0o755); write(interp); "
            "attempt(lambda: run(app + '/new'))"
        ),
        "EPERM",
    ),
    ("run an interpreter directly", "ips", "attempt(lambda: run(interp))", "EPERM"),
    ("run an interpreter directly, one level lower", "ids", "attempt(lambda: run(interp))", "GOOD"),
    (
        "have the loader run it", "ips",
        "attempt(lambda: subprocess.run([loader, evil], capture_output=True, text=True).stdout)",
        "EPERM",
    ),
    ("a program whose loader was changed", "ids", "write(loader); attempt(lambda: run(dynamic))", "EPERM"),
    (
        "mount something else over it", "ips",
        (
            "call('mount', b'none', app.encode(), b'tmpfs', 0, None); copy_evil(tool); attempt(run); "
            "attempt(lambda: call('umount2',app.encode(), 0)); attempt(run)"
        ),
        "EPERM EPERM EPERM",
    ),
    (
        "a root of its own", "ips",
        "root = app + '2'; os.makedirs(root + app); copy_evil(root + tool); os.chroot(root); attempt(run)",
        "EPERM",
    ),
    (
        "everything passes while learning", "learning",
        "write(tool, 'ab'); attempt(run); os.unlink(tool); copy_evil(tool); attempt(run)",
        "GOOD EVIL",
    ),
)


# In lockdown not even a library may be opened that is not listed, so this guest is a static program.
LOCKDOWN = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static void say(const char *what, long result) { printf("%s %s\n", what, result >= 0 ? "ok" : errno == EPERM ? "EPERM" : "other"); }
int main(int argc, char **argv) {
    say("listed", open(argv[1], O_RDONLY));
    say("unlisted", open("/etc/passwd", O_RDONLY));
    say("write", open(argv[1], O_RDWR));
    say("make", open("new", O_CREAT | O_WRONLY, 0600));
    say("nameless", open(".", O_TMPFILE | O_WRONLY, 0600));
    say("mknod", mknod("node", S_IFREG | 0600, 0));
    say("link", link("/etc/passwd", "link"));
    say("rename", rename("/etc/passwd", "name"));
    say("remove", unlink("/etc/passwd"));
    say("unmount", syscall(SYS_umount2, "/alias", 0));
    say("device", open("/dev/null", O_RDWR));
    say("directory", open("/etc", O_RDONLY | O_DIRECTORY));
    say("run", execl("/bin/true", "true", (char *)0));
    return 0;
}
"""
LOCKED = ("unlisted", "write", "make", "nameless", "mknod", "link", "rename", "remove", "unmount", "run")


class Ground:
    """`app` holds what is listed, `evil` lies beside it."""

    def __init__(self, base: Path) -> None:
        self.base, self.app = base, base / "app"
        self.app.mkdir()
        self.evil = base / "evil"
        for name, says in ((self.app / "tool", "GOOD"), (self.evil, "EVIL"), (self.app / "interp", "GOOD")):
            compile_c(name, f'#include <stdio.h>\nint main(void) {{ puts("{says}"); return 0; }}\n', "-static", "-target",
                      "x86_64-linux-musl")
        self.loader = self.app / "loader"
        real = os.path.realpath("/lib64/ld-linux-x86-64.so.2")
        self.loader.write_bytes(Path(real).read_bytes())
        self.loader.chmod(0o755)
        compile_c(self.app / "dynamic", 'int puts(const char *);\nint main(void) { puts("GOOD"); return 0; }\n',
                  f"-Wl,--dynamic-linker={self.loader}")
        (self.app / "lib.so").write_bytes(b"\x7fELF library")
        (self.app / "script").write_text(f"#!{self.app / 'interp'}\n")
        (self.app / "script").chmod(0o755)
        compile_c(self.app / "locked", LOCKDOWN, "-static", "-target", "x86_64-linux-musl")
        self.sigs = base / "sigs"

    def run(self, level: str, program: str) -> subprocess.CompletedProcess[str]:
        names = "lib, script, interp, loader, dynamic = [app + '/' + x for x in 'lib.so script interp loader dynamic'.split()]\n"
        with ring3.Kernel(veriexec=f"{self.sigs}:{level}", mounts=[f"{self.app}:/alias:rw"]) as kernel:
            return kernel.run(
                [sys.executable, "-S", "-c", PRELUDE + names + program, str(self.app), str(self.evil), "/alias"],
                capture_output=True, text=True, timeout=90,
            )


def compile_c(target: Path, source: str, *options: str) -> None:
    code = target.with_suffix(".c")
    code.write_text(source)
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *options, "-o", target, code], check=True, capture_output=True)
    code.unlink()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("veriexec"))


def listing(capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> bytes:
    assert fingerprint(words) == 0
    return capfdbinary.readouterr().out


@pytest.fixture
def ground(original: Ground, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Ground]:
    """The files as they were: attempts may write them through a mount."""
    for path in original.app.iterdir():
        backup = tmp_path / path.name
        backup.write_bytes(path.read_bytes())
    app = original.app
    tables = listing(capfdbinary, *(str(app / name) for name in ("tool", "script", "dynamic", "locked")))
    tables += listing(capfdbinary, "--flags", "indirect", str(app / "interp"), str(app / "loader"))
    hosts_loader = os.path.realpath("/lib64/ld-linux-x86-64.so.2")
    tables += listing(capfdbinary, "--flags", "library", str(app / "lib.so"), hosts_loader)
    tables += listing(capfdbinary, "--flags", "direct,file", sys.executable)
    original.sigs.write_bytes(tables)
    yield original
    for path in original.app.iterdir():
        path.write_bytes((tmp_path / path.name).read_bytes())


@pytest.mark.parametrize(("level", "program", "prints"), [pytest.param(*rest, id=what) for what, *rest in ATTEMPTS])
def test_attempt(ground: Ground, level: str, program: str, prints: str) -> None:
    done = ground.run(level, program)
    assert done.stdout.split() == prints.split(), done.stderr
    assert "Traceback" not in done.stderr


def test_programs_of_another_system(ground: Ground, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A NetBSD program that starts Linux's shell, by the same list."""
    program = tmp_path / "crossing"
    program.write_bytes(build(GUEST / "crossing.c").read_bytes())
    program.chmod(0o755)
    usual = ground.sigs.read_bytes()
    with_program = usual + listing(capfdbinary, str(program))
    with_shell = with_program + listing(capfdbinary, "/bin/sh")
    ground.sigs.write_bytes(usual)
    with ring3.Kernel(veriexec=f"{ground.sigs}:ips") as kernel, pytest.raises(PermissionError, match="not listed"):
        kernel.run([str(program)])
    ground.sigs.write_bytes(with_program)
    done = ring3.run([str(program)], veriexec=f"{ground.sigs}:ips", capture_output=True, text=True)
    assert 'FAILED shell("exit 7")' in done.stdout           # the shell is not listed
    ground.sigs.write_bytes(with_shell)
    done = ring3.run([str(program)], veriexec=f"{ground.sigs}:ips", capture_output=True, text=True)
    assert "FAILED" not in done.stdout
    program.write_bytes(program.read_bytes() + b"x")
    with ring3.Kernel(veriexec=f"{ground.sigs}:ids") as kernel, pytest.raises(PermissionError, match="fingerprint does not match"):
        kernel.run([str(program)])


def test_lockdown(ground: Ground, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with ring3.Kernel(veriexec=f"{ground.sigs}:lockdown", mounts=[f"{ground.app}:/alias:rw"]) as kernel:
        done = kernel.run([str(ground.app / "locked"), str(ground.app / "lib.so")], capture_output=True, text=True, cwd=empty)
    said = dict(line.split() for line in done.stdout.splitlines())
    assert {what for what, result in said.items() if result == "EPERM"} == set(LOCKED)
    assert {what for what, result in said.items() if result == "ok"} == {"listed", "device", "directory"}
