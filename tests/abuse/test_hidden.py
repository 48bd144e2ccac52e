"""What the user's veil hides is not there: every question about it has the answer that it has about what was never made.

Two names beside an unveiled directory: one of a tree with files, directories and links in it, one of nothing.  A guest asks both
the same, in every way we know, as root and as somebody else; not one answer differs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ring3

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

PRELUDE = """
import errno, os, socket, sys
OPEN, UID = sys.argv[1], int(sys.argv[2])
os.setresuid(UID, UID, UID)
def answer(ask):
    try:
        return repr(ask())
    except OSError as error:
        return errno.errorcode[error.errno]
def through(link, ask):
    try:
        os.unlink(OPEN + '/link')
    except OSError:
        pass
    os.symlink(link, OPEN + '/link')
    return ask(OPEN + '/link')
"""
QUESTIONS = [
    "os.stat(h)", "os.listdir(h)", "os.chdir(h)", "os.stat(h + '/file')", "os.stat(h + '/file/x')", "os.stat(h + '/file/')",
    "os.stat(h + '/' + 300 * 'a')", "os.stat(h + '/' + 300 * 'a' + '/x')", "os.stat(h + '/loop')", "os.stat(h + '/loop/x')",
    "os.stat(h + '/loop/')", "os.lstat(h + '/loop')", "os.stat(h + '/private/x')", "os.stat(h + '/../open')",
    "os.stat(h + '/sub/../..')", "os.stat(h + '/file/..')", "os.stat(h + '/.')", "os.stat(h + '/sub/./file')",
    "os.stat(h + '/out')", "os.stat(h + '/out/x')", "os.open(h + '/file', os.O_RDONLY)",
    "os.open(h + '/file', os.O_DIRECTORY)", "os.open(h + '/loop', os.O_NOFOLLOW)", "os.open(h + '/sub', os.O_WRONLY)",
    "os.open(h + '/file', os.O_CREAT | os.O_EXCL | os.O_WRONLY)", "os.open(h + '/sub', os.O_PATH)",
    "os.open(h + '/new/', os.O_CREAT | os.O_WRONLY)", "os.open(h + '/loop', os.O_CREAT | os.O_WRONLY)",
    "os.open(h, os.O_TMPFILE | 1)", "os.mkdir(h + '/sub')", "os.mkdir(h + '/file/x')", "os.mkdir(h)",
    "os.rmdir(h + '/sub')", "os.rmdir(h + '/file')", "os.unlink(h + '/sub')", "os.unlink(h + '/file/')",
    "os.rename(h + '/file', OPEN + '/x')", "os.rename(OPEN + '/f', h + '/file/x')", "os.rename(OPEN + '/f', h + '/sub')",
    "os.link(OPEN + '/f', h + '/file')", "os.link(h + '/file', OPEN + '/x')", "os.symlink('x', h + '/file')",
    "os.readlink(h + '/loop')", "os.readlink(h + '/file')", "os.execv(h + '/file', ['x'])",
    "os.execv(h + '/file/x', ['x'])", "os.execv(h + '/sub', ['x'])", "os.truncate(h + '/sub', 0)",
    "os.getxattr(h + '/file', 'user.x')", "os.statvfs(h + '/sub')", "os.utime(h + '/file/x')",
    "os.chmod(h + '/private/x', 0)", "os.chown(h + '/file/x', 0, 0)", "os.mkfifo(h + '/file')",
    "os.access(h + '/file/x', 0)", "os.chroot(h + '/file')", "socket.socket(socket.AF_UNIX).bind(h + '/file')",
    "socket.socket(socket.AF_UNIX).bind(h + '/file/x')", "socket.socket(socket.AF_UNIX).connect(h + '/file')",
    "through(h + '/file/x', os.stat)", "through(h + '/loop', os.stat)", "through(h + '/sub', os.listdir)",
    "through(h + '/../open', os.stat)", "through(h + '/file/', lambda path: os.open(path, os.O_CREAT | os.O_WRONLY))",
    "through(h + '/private/x', os.lstat) and None", "through('../' + os.path.basename(h) + '/sub/../..', os.stat)",
    "through(h + '/file', lambda path: os.stat(path + '/'))",
]


@pytest.mark.parametrize("uid", [0, 1000], ids=["root", "somebody"])
def test_what_is_hidden_is_as_what_never_was(uid: int, tmp_path: Path) -> None:
    shown, hidden = tmp_path / "open", tmp_path / "real"
    shown.mkdir()
    shown.chmod(0o777)
    (shown / "f").write_text("f")
    (hidden / "sub").mkdir(parents=True)
    (hidden / "private").mkdir(mode=0o700)
    for name in ("file", "private/x", "sub/file"):
        (hidden / name).write_text("secret")
    (hidden / "loop").symlink_to("loop")
    (hidden / "out").symlink_to(tmp_path / "nowhere")
    rows = "".join(f"    print({question!r}, '->', answer(lambda: {question}))\n" for question in QUESTIONS)
    program = f"{PRELUDE}\nfor h in (OPEN[:-4] + 'real', OPEN[:-4] + 'none'):\n    print()\n{rows}"
    python = Path(sys.executable).resolve()
    veil = [*dict.fromkeys(("/usr:rx", f"{sys.base_prefix}:rx")), f"{shown}:rwxc"]
    with ring3.Kernel() as kernel:
        done = kernel.run([str(python), "-S", "-c", program, str(shown), str(uid)], capture_output=True, text=True, timeout=90,
                          cwd=shown, unveil=veil)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    real, none = (part.splitlines() for part in done.stdout.strip().split("\n\n"))
    assert real == none
    assert len(real) == len(QUESTIONS)


def test_what_is_shown_is_found_by_every_way_there(tmp_path: Path) -> None:
    """Dots and links on the way to what is unveiled lead there still, also from a directory that is hidden."""
    (tmp_path / "hidden" / "deep").mkdir(parents=True)
    (tmp_path / "open" / "sub").mkdir(parents=True)
    (tmp_path / "open" / "sub" / "file").write_text("found\n")
    (tmp_path / "link").symlink_to("hidden/back")
    (tmp_path / "hidden" / "back").symlink_to("../open")
    ways = ["open/sub/file", "open/./sub/../sub/file", "link/sub/file", "hidden/back/sub/file"]
    script = "; ".join(f"cat {tmp_path}/{way}" for way in ways) + "; cat ../../open/sub/file"
    with ring3.Kernel() as kernel:
        done = kernel.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=90, cwd=tmp_path / "hidden" / "deep",
                          unveil=["/usr:rx", "/etc/ld.so.cache:r", f"{tmp_path}/open:r"])
    assert (done.stdout, done.stderr) == ("found\n" * 5, "")
