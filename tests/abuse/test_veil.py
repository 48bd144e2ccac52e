"""Every way we know to come past a veil: each is tried by a guest that may do everything else, and gets nowhere.

The guest sees /usr (to run Python), a tree `open` with all permissions and a tree `readable` with "r".  `hidden` lies beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ring3

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(120)]

SECRET = "THE HIDDEN SECRET"
PRELUDE = """
import array, ctypes, errno, mmap, os, signal, socket, stat, struct, subprocess, sys, threading
top = sys.argv[1]
OPEN, READABLE, HIDDEN = top + "/open", top + "/readable", top + "/hidden"
SECRET_FILE = HIDDEN + "/secret"
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    found = libc.syscall(number, *args)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
def read(path, **at):
    with open(os.open(path, os.O_RDONLY, **at)) as file:
        return file.read()
os.chdir(OPEN)
"""

VERDICT = """
except OSError as error:
    print('refused', error.strerror)
else:
    print('got', repr(result))
"""

# What is tried: a name and Python statements that must raise OSError, or end with `result` not holding the secret.
ATTEMPTS = {
    "the path itself": "result = read(SECRET_FILE)",
    "dots": "result = read(OPEN + '/../hidden/secret')",
    "dots from the current directory": "result = read('../hidden/secret')",
    "doubled slashes": "result = read('//' + SECRET_FILE.replace('/', '///'))",
    "a link that was there": "result = read(READABLE + '/link')",
    "a link made now": "os.symlink(SECRET_FILE, 'l'); result = read('l')",
    "a link to the directory": "os.symlink(HIDDEN, 'd'); result = read('d/secret')",
    "a chain of links": "os.symlink('l2', 'l1'); os.symlink('../hidden', 'l2'); result = read('l1/secret')",
    "a hard link": "os.link(SECRET_FILE, 'hard'); result = read('hard')",
    "a hard link through a link": """
os.symlink(SECRET_FILE, 'l3'); os.link('l3', 'hard3', follow_symlinks=True); result = read('hard3')""",
    "renaming it here": "os.rename(SECRET_FILE, 'taken'); result = read('taken')",
    "renaming its directory here": "os.rename(HIDDEN, 'taken'); result = read('taken/secret')",
    "exchanging it": "open('mine', 'w').close(); call(316, -100, b'mine', -100, SECRET_FILE.encode(), 2); result = read('mine')",
    "going there": "os.chdir(HIDDEN); result = read('secret')",
    "a descriptor of the directory": "fd = os.open(HIDDEN, os.O_RDONLY | os.O_DIRECTORY); result = read('secret', dir_fd=fd)",
    "an O_PATH descriptor of the directory": "fd = os.open(HIDDEN, os.O_PATH); result = read('secret', dir_fd=fd)",
    "the directory above": "fd = os.open('..', os.O_PATH); result = read('hidden/secret', dir_fd=fd)",
    "a descriptor of here and dots": "fd = os.open('.', os.O_PATH); result = read('../hidden/secret', dir_fd=fd)",
    "listing it": "result = str(os.listdir(HIDDEN))",
    "listing what it lies in": "result = str(os.listdir(top))",
    "stat": "result = SECRET_FILE and str(os.stat(SECRET_FILE)) + 'THE HIDDEN SECRET'",
    "access": "result = 'THE HIDDEN SECRET' * os.access(SECRET_FILE, os.F_OK)",
    "readlink": "result = os.readlink(HIDDEN + '/link') + 'THE HIDDEN SECRET'",
    "extended attributes": "result = str(os.listxattr(SECRET_FILE)) + 'THE HIDDEN SECRET'",
    "statfs": "result = str(os.statvfs(HIDDEN)) + 'THE HIDDEN SECRET'",
    "whether it exists, by making it": "os.open(SECRET_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY)",
    "its root in /proc": "result = read('/proc/self/root' + SECRET_FILE)",
    "its directory in /proc": "result = read('/proc/self/cwd/../hidden/secret')",
    "a descriptor in /proc": "fd = os.open('.', os.O_PATH); result = read(f'/proc/self/fd/{fd}/../hidden/secret')",
    "a thread's directory in /proc": "result = read(f'/proc/self/task/{os.getpid()}/cwd/../hidden/secret')",
    "the root of another process": "result = read('/proc/1/root' + SECRET_FILE)",
    "chroot": "os.chroot('/'); result = read(SECRET_FILE)",
    "chroot here and out by a descriptor": """
fd = os.open('/usr', os.O_RDONLY); os.chroot(OPEN); os.fchdir(fd); result = read('..' + SECRET_FILE)""",
    "a name that is unveiled below another root": """
os.makedirs('usr'); os.chroot(OPEN); os.chdir('/'); result = read('/../hidden/secret')""",
    "a script's interpreter": """
with open('s', 'w') as file: file.write('#!' + HIDDEN + '/tool\\n')
os.chmod('s', 0o755); result = subprocess.run(['./s'], capture_output=True, text=True).stdout""",
    "running it": "result = subprocess.run([HIDDEN + '/tool'], capture_output=True, text=True).stdout",
    "running what may only be read": "result = subprocess.run([READABLE + '/tool'], capture_output=True, text=True).stdout",
    "running what may only be read, by its descriptor": """
fd = os.open(READABLE + '/tool', os.O_RDONLY)
pid = os.fork()
if not pid:
    try: os.execve(fd, ['tool'], {})
    except OSError as error: os._exit(error.errno)
result = 'THE HIDDEN SECRET' * (os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0)""",
    "mapping what may only be read to be run": """
fd = os.open(READABLE + '/tool', os.O_RDONLY)
mmap.mmap(fd, 8, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC); result = 'THE HIDDEN SECRET'""",
    "writing what may only be read": "open(READABLE + '/plain', 'w').write('x'); result = 'THE HIDDEN SECRET'",
    "writing it through a descriptor": """
fd = os.open(READABLE + '/plain', os.O_RDONLY); os.open(f'/proc/self/fd/{fd}', os.O_WRONLY); result = 'THE HIDDEN SECRET'""",
    "another name for what may only be read": """
os.link(READABLE + '/plain', 'other'); open('other', 'w').write('x'); result = 'THE HIDDEN SECRET'""",
    "another name by its descriptor": """
fd = os.open(READABLE + '/plain', os.O_RDONLY)
call(265, fd, b'', -100, b'other', 0x1000); result = 'THE HIDDEN SECRET'""",
    "another name through /proc": """
fd = os.open(READABLE + '/plain', os.O_RDONLY)
os.link(f'/proc/self/fd/{fd}', 'other2', follow_symlinks=True); result = 'THE HIDDEN SECRET'""",
    "truncating what may only be read": "os.truncate(READABLE + '/plain', 0); result = 'THE HIDDEN SECRET'",
    "changing its mode": "os.chmod(READABLE + '/plain', 0o777); result = 'THE HIDDEN SECRET'",
    "changing its mode by a descriptor": """
fd = os.open(READABLE + '/plain', os.O_RDONLY); os.fchmod(fd, 0o777); result = 'THE HIDDEN SECRET'""",
    "changing its times by a descriptor": """
fd = os.open(READABLE + '/plain', os.O_RDONLY); os.utime(fd, (0, 0)); result = 'THE HIDDEN SECRET'""",
    "changing its owner by a descriptor": """
fd = os.open(READABLE + '/plain', os.O_RDONLY); os.fchown(fd, 1, 1); result = 'THE HIDDEN SECRET'""",
    "changing its attributes by a descriptor": """
fd = os.open(READABLE + '/plain', os.O_RDONLY); os.setxattr(fd, 'user.x', b'y'); result = 'THE HIDDEN SECRET'""",
    "removing what may only be read": "os.unlink(READABLE + '/plain'); result = 'THE HIDDEN SECRET'",
    "renaming away the directory above a rule": "os.rename(OPEN + '/nest', OPEN + '/nest2'); result = 'THE HIDDEN SECRET'",
    "mounting over what may only be read": "call(165, b'none', READABLE.encode(), b'tmpfs', 0, None); result = 'THE HIDDEN SECRET'",
    "a socket there": "s = socket.socket(socket.AF_UNIX); s.connect(HIDDEN + '/sock'); result = 'THE HIDDEN SECRET'",
    "making a socket there": "s = socket.socket(socket.AF_UNIX); s.bind(HIDDEN + '/new'); result = 'THE HIDDEN SECRET'",
    "a child that tries": "result = subprocess.run(['cat', SECRET_FILE], capture_output=True, text=True).stdout",
    "a descriptor from a child": """
a, b = socket.socketpair()
if not os.fork():
    try: socket.send_fds(b, [b'x'], [os.open(SECRET_FILE, os.O_RDONLY)])
    finally: os._exit(0)
b.close()
_, fds, _, _ = socket.recv_fds(a, 1, 1)
result = os.read(fds[0], 100).decode() if fds else ''""",
    "an unnamed file in a directory that may only be read": """
os.open(READABLE, os.O_TMPFILE | os.O_RDWR, 0o600); result = 'THE HIDDEN SECRET'""",
    "openat2 within the root": """
fd = os.open('/usr', os.O_PATH)
how = struct.pack('QQQ', 0, 0, 0); found = call(437, fd, SECRET_FILE.encode(), how, 24); result = os.read(found, 100).decode()""",
    "renames while looking up": """
os.symlink(READABLE, 'flip'); os.symlink(HIDDEN, 'flop')
done = threading.Event()
def swap():
    while not done.is_set():
        call(316, -100, b'flip', -100, b'flop', 2)
threading.Thread(target=swap).start()
result = ''
try:
    for _ in range(400):
        try: result += read('flip/secret')
        except OSError: pass
finally: done.set()""",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each attempt came to, each in a process of its own of one kernel."""
    top = tmp_path_factory.mktemp("veil")
    for name in ("open/nest/deep", "readable", "hidden"):
        (top / name).mkdir(parents=True)
    (top / "hidden" / "secret").write_text(SECRET)
    (top / "readable" / "plain").write_text("plain")
    (top / "readable" / "link").symlink_to(top / "hidden" / "secret")
    (top / "hidden" / "link").symlink_to("secret")
    for place in ("hidden", "readable"):
        (top / place / "tool").write_text(f"#!/bin/sh\necho {SECRET}\n")
        (top / place / "tool").chmod(0o755)
    python = str(Path(sys.executable).resolve())
    unveil = ["/usr:rx", "/proc:r", "/dev/null:rw", f"{top}/open:rwxc", f"{top}/open/nest/deep:r", f"{top}/readable:r"]
    if not python.startswith("/usr/"):
        unveil.append(f"{sys.base_prefix}:rx")
    found = {}
    for name, attempt in ATTEMPTS.items():
        body = "\n".join(f"    {line}" for line in attempt.strip().splitlines())
        program = f"{PRELUDE}\nresult = ''\ntry:\n{body}\n{VERDICT}"
        with ring3.Kernel() as kernel:
            done = kernel.run([python, "-S", "-c", program, str(top)], capture_output=True, text=True, timeout=30, unveil=unveil)
        found[name] = done.stdout or f"died {done.returncode}: {done.stderr[-300:]}"
    return found


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_hidden_is_reached(answers: dict[str, str], name: str) -> None:
    said = answers[name]
    assert said.startswith(("refused", "got")), said
    assert SECRET not in said, said


def test_the_attempts_would_succeed_without_a_veil(tmp_path: Path) -> None:
    """The table proves something: its first rows read the secret where nothing is veiled."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "hidden" / "secret").write_text(SECRET)
    for name in ("the path itself", "dots", "a link made now", "a hard link", "its root in /proc", "a child that tries"):
        program = f"{PRELUDE}\n{ATTEMPTS[name]}\nprint(result)"
        done = ring3.run([sys.executable, "-S", "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=30)
        assert SECRET in done.stdout, (name, done.stderr)
