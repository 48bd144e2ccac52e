"""Every way out of a mount that we know: nothing outside is read, nothing outside changes."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import ring3

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

SECRET = "THE SECRET OUTSIDE"
PYTHON_NEEDS = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")


def picture(directory: Path) -> list[tuple[str, int, int, int, int, str]]:
    """Everything about a tree that a guest could change."""
    found = []
    for parent, _, _ in os.walk(directory):
        for name in (".", *sorted(os.listdir(parent))):
            path = os.path.join(parent, name)
            st = os.lstat(path)
            contents = Path(path).read_text() if stat.S_ISREG(st.st_mode) else os.readlink(path) if stat.S_ISLNK(st.st_mode) else ""
            found.append((path, st.st_mode, st.st_nlink, st.st_mtime_ns, st.st_uid, contents))
    return found


class Ground:
    """`inside` is what the guest gets, as a mount of each mode and as root; `outside` lies beside it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.inside, self.outside, self.root = base / "inside", base / "outside", base / "root"
        (self.inside / "deep" / "er").mkdir(parents=True)
        self.outside.mkdir()
        (self.outside / "secret").write_text(SECRET)
        (self.inside / "plain").write_text("plain")
        for name, target in {
            "rel": "../outside", "abs": str(self.outside), "relf": "../outside/secret", "absf": str(self.outside / "secret"),
            "dangling": "../outside/new", "up": "..", "slash": "/",
        }.items():
            (self.inside / name).symlink_to(target)
        os.mkfifo(self.inside / "fifo")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.relpath(self.inside / "sock"))
        self.listener.listen()
        for mount in ("ro", "rw", "cow", "tmp"):
            (self.root / "m" / mount).mkdir(parents=True)
        (self.root / "out").symlink_to("../outside")
        (self.root / "outf").symlink_to("/../outside/secret")
        (self.root / "tmp").mkdir()
        self.mounts = [f"{self.inside}:/m/{mode}:{mode}" for mode in ("ro", "rw", "cow")]
        for needed in dict.fromkeys((*PYTHON_NEEDS, sys.base_prefix)):
            place = self.root / needed[1:]
            if os.path.islink(needed):
                place.symlink_to(os.readlink(needed))
            elif os.path.isdir(needed) and not needed.startswith("/usr/"):
                place.mkdir(parents=True, exist_ok=True)
                self.mounts.append(f"{needed}:{needed}:ro")

    def run(self, program: str, *args: str, mounts: tuple[str, ...] = ()) -> str:
        """What a guest prints that is Python, with the tree `root` as its root."""
        with ring3.Kernel(root=self.root, mounts=[*self.mounts, *mounts]) as kernel:
            done = kernel.run([os.path.realpath(sys.executable), "-S", "-c", program, str(self.outside), *args],
                              capture_output=True, text=True, timeout=90, cwd="/")
        assert done.returncode == 0, done.stderr
        output: str = done.stdout
        return output


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.listener.close()


PATHS = """
import ctypes, errno, os, stat, struct, sys
outside = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what, action):
    try: print(what, "->", action())
    except OSError as error: print(what, "->", error.strerror)
def read(path, dir_fd=None):
    with open(os.open(path, os.O_RDONLY, dir_fd=dir_fd)) as f: return f.read(80)
def write(path):
    with open(path, "w") as f: f.write("HACKED")
    return "written"
def openat2(fd, path, resolve):
    found = libc.syscall(437, fd, path.encode(), struct.pack("QQQ", 0, 0, resolve), 24)
    if found < 0: return errno.errorcode[ctypes.get_errno()]
    with open(found) as f: return f.read(80)
for place in ("/out", "/outf", "/../outside/secret"):
    attempt(place, lambda: read(place + "/secret" if place == "/out" else place))
    attempt(place, lambda: write(place + "/new" if place == "/out" else place))
for mount in ("/m/ro", "/m/rw", "/m/cow"):
    for path in ("rel/secret", "abs/secret", "relf", "absf", "up/outside/secret", "up/up/up/up/outside/secret",
                 "slash/../outside/secret", "../../../outside/secret", "deep/er/../../../outside/secret",
                 "deep/er/../../../../../../.." + outside + "/secret"):
        attempt("read", lambda: read(mount + "/" + path))
        attempt("write", lambda: write(mount + "/" + path))
        attempt("link", lambda: os.link(mount + "/" + path, mount + "/hard", follow_symlinks=True))
        attempt("truncate", lambda: os.truncate(mount + "/" + path, 0))
        attempt("chmod", lambda: os.chmod(mount + "/" + path, 0o777))
        attempt("unlink", lambda: os.unlink(mount + "/" + path) if not os.path.islink(mount + "/" + path) else None)
    for path in ("rel/new", "abs/new", "dangling", "up/outside/new"):
        attempt("create", lambda: write(mount + "/" + path))
        attempt("mkdir", lambda: os.mkdir(mount + "/" + path + "d"))
        attempt("rename", lambda: os.rename(mount + "/deep/er", mount + "/" + path))
    attempt("mount", lambda: libc.mount(outside.encode(), mount.encode(), b"none", 4096, 0))
    attempt("device", lambda: os.mknod(mount + "/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0)))
    attempt("read device", lambda: read(mount + "/disk"))
    attempt("socket", lambda: __import__("socket").socket(1).connect(mount + "/sock"))
    fd = os.open(mount + "/deep/er", os.O_RDONLY | os.O_DIRECTORY)
    path_fd = os.open(mount + "/deep/er", os.O_PATH)
    os.chdir(fd)
    for way in ("../../../outside/secret", "../../rel/secret", "../../absf", outside + "/secret"):
        attempt("at", lambda: read(way, fd))
        attempt("at path", lambda: read(way, path_fd))
        attempt("cwd", lambda: read("/proc/self/cwd/" + way))
        attempt("fd", lambda: read("/proc/self/fd/%d/%s" % (fd, way)))
        attempt("task", lambda: read("/proc/self/task/%d/root/../%s" % (os.getpid(), way)))
        attempt("root", lambda: read("/proc/1/root/../.." + way))
        for resolve in (0, 1, 2, 4, 8, 16, 24, 0x14, 0x1f):
            attempt("openat2", lambda: openat2(fd, way, resolve))
    sys.stdout.flush()
    if os.fork() == 0:                       # out of a chroot, as root can; what lies beyond is the guest's own root
        top = os.open("/", os.O_RDONLY)
        os.makedirs("jail", exist_ok=True)
        os.chroot("jail")
        os.fchdir(top)
        for _ in range(50): os.chdir("..")
        os.chroot(".")
        attempt("after chroot", lambda: "m" in os.listdir("/"))
        attempt("after chroot", lambda: read(outside + "/secret"))
        attempt("after chroot", lambda: read("/../outside/secret"))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
print("done")
"""


def test_paths_do_not_lead_out(ground: Ground) -> None:
    before = picture(ground.outside)
    said = ground.run(PATHS)
    assert said.endswith("done\n")
    assert "after chroot -> True" in said or os.geteuid()          # only root may chroot
    assert SECRET not in said
    assert picture(ground.outside) == before
    assert not (ground.inside / "hard").exists() or (ground.inside / "hard").is_symlink()


def test_read_only_and_copied_mounts_stay_as_they_are(ground: Ground) -> None:
    ground.mounts = [mount for mount in ground.mounts if not mount.endswith(":rw")]
    before = picture(ground.base)
    ground.run("""
import os
for mount in ("/m/ro", "/m/cow", "/m/rw", "/"):
    for action in (lambda: open(mount + "/plain", "a").write("x"), lambda: os.mkdir(mount + "/new"),
                   lambda: os.chmod(mount + "/plain", 0), lambda: os.rename(mount + "/plain", mount + "/other"),
                   lambda: os.unlink(mount + "/other"), lambda: os.rmdir(mount + "/deep/er"), lambda: os.utime(mount + "/deep"),
                   lambda: os.symlink("x", mount + "/l"), lambda: os.setxattr(mount, "user.x", b"1"),
                   lambda: os.chown(mount + "/deep", 5, 5), lambda: os.mkfifo(mount + "/f")):
        try: action()
        except OSError: pass
""")
    assert picture(ground.base) == before


def test_host_pipes_and_sockets_are_not_reached(ground: Ground) -> None:
    """A FIFO of the host's is a name: its two ends inside are another pipe than the one outside."""
    reader = os.open(ground.inside / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        said = ground.run("""
import os, socket
fd = os.open("/m/rw/fifo", os.O_RDWR | os.O_NONBLOCK)
print(os.write(fd, b"hello"), os.read(fd, 9))
try: socket.socket(socket.AF_UNIX).connect("/m/rw/sock")
except OSError as error: print(error.strerror)
""")
        assert said == "5 b'hello'\nConnection refused\n"
        assert os.read(reader, 9) == b""
    finally:
        os.close(reader)


SWAP = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
place, end = sys.argv[1].encode(), time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    libc.renameat2(-100, place + b"/real", -100, place + b"/link", 2)
"""
LOOK = """
import os, sys, time
end, leaked, hits = time.monotonic() + 2.5, 0, 0
if os.fork() == 0:
    exec(compile(sys.argv[2], "swap", "exec"), {"__name__": "x"}) if sys.argv[3] == "guest" else None
    os._exit(0)
while time.monotonic() < end:
    for name in ("real", "link"):
        for action in (lambda: open(f"/m/rw/{name}/secret").read(),
                       lambda: os.open(f"/m/rw/{name}/planted", os.O_CREAT | os.O_WRONLY),
                       lambda: open(f"/m/rw/{name}/er/../../outside/secret").read(),
                       lambda: os.mkdir(f"/m/rw/{name}/planted.d")):
            try:
                found = action()
                hits += 1
                if isinstance(found, int): os.close(found)
                elif found: leaked += 1
            except OSError: pass
print("leaked" if leaked else "kept", hits > 0)
"""


@pytest.mark.parametrize("who", ["host", "guest"])
def test_swapping_a_directory_and_a_link_while_looking_up(ground: Ground, who: str) -> None:
    (ground.inside / "real").mkdir()
    (ground.inside / "link").symlink_to("../outside")
    before = picture(ground.outside)
    swap = SWAP.replace("sys.argv[1]", "'/m/rw'").replace("sys.argv[2]", "2.5")
    if who == "host":
        with subprocess.Popen([sys.executable, "-S", "-c", SWAP, str(ground.inside), "4"]):
            said = ground.run(LOOK, swap, who)
    else:
        said = ground.run(LOOK, swap, who)
    assert said == "kept True\n"
    assert picture(ground.outside) == before


def test_other_processes_of_the_host_are_not_there(ground: Ground) -> None:
    said = ground.run("""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
host = int(sys.argv[2])
print(sorted(int(p) for p in os.listdir("/proc") if p.isdigit())[-1] < 100, os.path.exists(f"/proc/{host}/mem"))
for call in (lambda: libc.ptrace(16, host, 0, 0), lambda: libc.kill(host, 0), lambda: libc.syscall(434, host, 0)):
    print(call(), os.strerror(ctypes.get_errno()))
""", str(os.getpid()) if os.getpid() > 100 else "999999")
    assert said.splitlines()[0] == "True False"
    assert all(line.startswith("-1 ") for line in said.splitlines()[1:])


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_memory_of_a_process_of_another_user(ground: Ground) -> None:
    said = ground.run("""
import os
wait, end = os.pipe()
child = os.fork()
if child == 0: os.close(end); os.read(wait, 1); os._exit(0)
os.setgid(1000); os.setuid(1000)
for name in ("mem", "environ", "maps", "cwd/x", "root/etc", "fd/0"):
    try: open(f"/proc/{child}/{name}", "rb").read(1); print(name, "opened")
    except PermissionError: pass
    except OSError as error: print(name, error)
""")
    assert said == ""


def test_threads_beside_the_kernel_change_nothing(ground: Ground) -> None:
    """Four kernels at once on the same mounts: none sees what another wrote."""
    results: list[str] = []

    def one(number: int) -> None:
        results.append(ground.run(f"open('/m/cow/mine', 'x').write('{number}'); print(open('/m/cow/mine').read())"))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [f"{n}\n" for n in range(4)]
