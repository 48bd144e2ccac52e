"""Every way we know to come past a veil: each is tried by a guest that may do everything else, and gets nowhere.

The guest sees /usr (to run Python), a tree `open` with all permissions, a tree `readable` with "r" and a tree `drop` with "c".
`hidden` lies beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ring3
from tests.guest.build import build

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

SECRET = "THE HIDDEN SECRET"
PRELUDE = """
import array, ctypes, errno, mmap, os, signal, socket, stat, struct, subprocess, sys, threading
top = sys.argv[1]
OPEN, READABLE, DROP, HIDDEN = top + "/open", top + "/readable", top + "/drop", top + "/hidden"
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
    "renaming out of a directory that may not be read": "os.rename(DROP + '/secret', 'taken3'); result = read('taken3')",
    "renaming a directory out of one that may not be read": "os.rename(DROP + '/dir', 'taken4'); result = read('taken4/secret')",
    "exchanging it with a file that may not be read": """
open('mine2', 'w').close(); call(316, -100, b'mine2', -100, (DROP + '/secret').encode(), 2); result = read('mine2')""",
    "exchanging the other way round": """
open('mine3', 'w').close(); call(316, -100, (DROP + '/secret').encode(), -100, b'mine3', 2); result = read('mine3')""",
    "renaming onto a name that is unveiled for more": """
os.mkdir('moved'); os.rename(OPEN + '/moved', DROP + '/x')
os.rename(DROP + '/dir', DROP + '/more/y'); result = read(DROP + '/more/y/secret')""",
    "a hard link out of a directory that may not be read": "os.link(DROP + '/secret', 'hard4'); result = read('hard4')",
    "a descriptor that went through a socket": """
a, b = socket.socketpair()
socket.send_fds(a, [b'x'], [os.open(READABLE + '/plain', os.O_RDONLY)])
fd = socket.recv_fds(b, 1, 1)[1][0]
os.open(f'/dev/fd/{fd}', os.O_WRONLY); result = 'THE HIDDEN SECRET'""",
    "an O_PATH descriptor that is run": """
fd = os.open(READABLE + '/tool', os.O_PATH)
pid = os.fork()
if not pid:
    try: call(322, fd, b'', None, None, 0x1000)
    except OSError as error: os._exit(error.errno)
result = 'THE HIDDEN SECRET' * (os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0)""",
    "what a link says, by its descriptor": """
fd = os.open(DROP + '/link', os.O_PATH | os.O_NOFOLLOW); result = os.readlink('', dir_fd=fd) + 'THE HIDDEN SECRET'""",
    "code out of what may only be read": """
fd = os.open(READABLE + '/tool', os.O_RDONLY)
found = libc.mmap; found.restype = ctypes.c_void_p
at = found(None, 4096, 1, 2, fd, 0)
call(10, ctypes.c_void_p(at), 4096, 5); result = 'THE HIDDEN SECRET'""",
    "another place for it": "os.mkdir('m'); call(165, HIDDEN.encode(), b'm', None, 4096, None); result = read('m/secret')",
    "moving a mount there": "os.mkdir('m2'); call(165, b'/proc', b'm2', None, 8192, None); result = 'THE HIDDEN SECRET'",
    "taking a mount away": "call(166, b'/proc', 0); result = 'THE HIDDEN SECRET'",
    "mounting over everything": "call(165, b'none', b'/', b'tmpfs', 0, None); result = 'THE HIDDEN SECRET'",
    "a handle": """
handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))
call(303, -100, SECRET_FILE.encode(), handle, bytes(8), 0)
result = 'THE HIDDEN SECRET'""",
    "watching it": "fd = call(253); call(254, fd, HIDDEN.encode(), 0xfff); result = 'THE HIDDEN SECRET'",
    "speaking to a socket there": """
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'x', HIDDEN + '/sock'); result = 'THE HIDDEN SECRET'""",
    "a FIFO there": "os.mkfifo(HIDDEN + '/fifo'); result = 'THE HIDDEN SECRET'",
    "times by path": "os.utime(READABLE + '/plain', (0, 0)); result = 'THE HIDDEN SECRET'",
    "an attribute by path": "os.setxattr(READABLE + '/plain', 'user.x', b'y'); result = 'THE HIDDEN SECRET'",
    "renaming a directory that is being walked": """
os.makedirs('w/a/b'); os.makedirs('v')
done = threading.Event()
def swap():
    while not done.is_set():
        os.rename(OPEN + '/w/a', OPEN + '/v/a'); os.rename(OPEN + '/v/a', OPEN + '/w/a')
threading.Thread(target=swap).start()
result = ''
try:
    os.chdir('w/a/b')
    for _ in range(400):
        try: result += read('../../../../hidden/secret')
        except OSError: pass
        try: result += read('../../../hidden/secret')
        except OSError: pass
finally: done.set()""",
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
    for name in ("open/nest/deep", "readable", "hidden", "drop/dir"):
        (top / name).mkdir(parents=True)
    for name in ("hidden/secret", "drop/secret", "drop/dir/secret"):
        (top / name).write_text(SECRET)
    (top / "drop" / "link").symlink_to("secret")
    (top / "readable" / "plain").write_text("plain")
    (top / "readable" / "link").symlink_to(top / "hidden" / "secret")
    (top / "hidden" / "link").symlink_to("secret")
    for place in ("hidden", "readable"):
        (top / place / "tool").write_text(f"#!/bin/sh\necho {SECRET}\n")
        (top / place / "tool").chmod(0o755)
    python = str(Path(sys.executable).resolve())
    unveil = ["/usr:rx", "/proc:r", "/dev/null:rw", f"{top}/open:rwxc", f"{top}/open/nest/deep:r", f"{top}/readable:r"]
    unveil += [f"{top}/drop:c", f"{top}/drop/more:rwc"]
    if not python.startswith("/usr/"):
        unveil.append(f"{sys.base_prefix}:rx")
    found = {}
    for name, attempt in ATTEMPTS.items():
        body = "\n".join(f"    {line}" for line in attempt.strip().splitlines())
        program = f"{PRELUDE}\nresult = ''\ntry:\n{body}\n{VERDICT}"
        with ring3.Kernel() as kernel:
            done = kernel.run([python, "-S", "-c", program, str(top)], capture_output=True, text=True, timeout=90, unveil=unveil)
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
        done = ring3.run([sys.executable, "-S", "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=90)
        assert SECRET in done.stdout, (name, done.stderr)


def test_open_files_of_others_are_not_reached() -> None:
    """A pipe and a memfd have no names that could be unveiled: only who has them open comes to them."""
    python = str(Path(sys.executable).resolve())
    holder = f"""
import os, sys
r, w = os.pipe(); m = os.memfd_create('m'); os.write(w, {SECRET.encode()!r}); os.write(m, {SECRET.encode()!r})
print(os.getpid(), flush=True)
sys.stdin.read()"""
    thief = """
import os, sys
for fd in os.listdir(f'/proc/{sys.argv[1]}/fd'):
    try: print(os.read(os.open(f'/proc/{sys.argv[1]}/fd/{fd}', os.O_RDONLY | os.O_NONBLOCK), 100))
    except OSError as error: print(error.errno)
r, w = os.pipe(); os.write(os.open(f'/proc/self/fd/{w}', os.O_WRONLY), b'mine')
print(os.read(os.open(f'/dev/fd/{r}', os.O_RDONLY), 4))"""
    with ring3.Kernel() as kernel:
        process = kernel.spawn([python, "-S", "-c", holder], stdin=ring3.PIPE, stdout=ring3.PIPE, text=True)
        pid = process.stdout.readline().strip()  # type: ignore[union-attr]
        command = [python, "-S", "-c", thief, pid]
        shown = ["/usr:rx", "/proc:rw", f"{sys.base_prefix}:rx"]
        done = kernel.run(command, capture_output=True, text=True, timeout=90, unveil=shown)
        seen = kernel.run(command, capture_output=True, text=True, timeout=90)
        process.communicate("", timeout=90)
    assert SECRET not in done.stdout, done.stdout
    assert done.stdout.endswith("b'mine'\n"), done.stderr
    assert seen.stdout.count(SECRET) == 2, seen.stdout


def test_an_owner_by_an_old_call(tmp_path: Path) -> None:
    """i386's fchown for 16-bit ids is a call of its own."""
    (tmp_path / "file").write_text("x")
    program = str(build(Path(__file__).parent / "guest" / "crossing.c", "i386"))
    command = [program, "fchown", str(tmp_path / "file")]
    done = ring3.run(command, capture_output=True, text=True, timeout=90, unveil=[f"{program}:x", f"{tmp_path}:r"])
    assert done.stdout == "refused Permission denied\n"
    assert ring3.run(command, capture_output=True, text=True, timeout=90).stdout == "got 0\n"


@pytest.mark.parametrize("script", ["echo said > /dev/stdout", "echo said | cat /dev/stdin", "echo said | tee /proc/self/fd/2"])
def test_what_is_open_needs_no_unveiling(script: str) -> None:
    done = ring3.run(["sh", "-c", script], capture_output=True, text=True, timeout=90, unveil=["/usr:rx", "/dev/null:rw"])
    assert (done.returncode, done.stdout) == (0, "said\n"), done.stderr
