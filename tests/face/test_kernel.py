"""`Kernel` and `run` do what `subprocess` does: the same call of both is compared wherever there is one."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ring3

pytestmark = pytest.mark.needs_ptrace


@pytest.fixture(scope="module")
def kernel() -> Iterator[ring3.Kernel]:
    with ring3.Kernel() as kernel:
        yield kernel


SH = ["/bin/sh", "-c"]
SAME: dict[str, tuple[Any, dict[str, Any]]] = {
    "status": ([*SH, "exit 7"], {}),
    "signal": ([*SH, "kill -9 $$"], {}),
    "both-streams": ([*SH, "echo out; echo err >&2"], {"capture_output": True}),
    "stderr-to-stdout": ([*SH, "echo out; echo err >&2"], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}),
    "stderr-to-null": ([*SH, "echo out; echo err >&2"], {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}),
    "both-to-null": ([*SH, "echo out; echo err >&2"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}),
    "input": (["cat"], {"input": b"there and back\n", "capture_output": True}),
    "no-input": (["cat"], {"input": b"", "capture_output": True}),
    "much-input": (["wc", "-c"], {"input": b"x" * 1_000_000, "capture_output": True}),
    "input-nobody-reads": (["true"], {"input": b"x" * 1_000_000, "capture_output": True}),
    "much-output": (["head", "-c", "1000000", "/dev/zero"], {"capture_output": True}),
    "text": (["cat"], {"input": "grün\r\nrot\rblau\n", "text": True, "encoding": "utf-8", "capture_output": True}),
    "universal-newlines": ([*SH, r"printf 'a\r\nb\n'"], {"universal_newlines": True, "stdout": subprocess.PIPE}),
    "encoding": ([*SH, r"printf '\344'"], {"encoding": "latin-1", "stdout": subprocess.PIPE}),
    "errors": ([*SH, r"printf '\377'"], {"encoding": "utf-8", "errors": "replace", "stdout": subprocess.PIPE}),
    "shell": ("echo $((6*7)); exit 2", {"shell": True, "capture_output": True}),
    "one-word": ("true", {}),
    "env": (["/usr/bin/env"], {"env": {"ONE": "1", "TWO": "zwei"}, "capture_output": True}),
    "env-bytes": (["/usr/bin/env"], {"env": {b"ONE": b"\xff"}, "capture_output": True}),
    "cwd": (["pwd"], {"cwd": "/usr/bin", "capture_output": True}),
    "cwd-of-caller": (["pwd"], {"capture_output": True}),
    "umask": ([*SH, "umask"], {"umask": 0o27, "capture_output": True}),
    "umask-of-caller": ([*SH, "umask"], {"capture_output": True}),
    "executable": (["busy", "-c", "echo $0"], {"executable": "/bin/sh", "capture_output": True}),
    "own-session": ([*SH, "test $(ps -o sid= -p $$) = $$"], {"start_new_session": True}),
    "callers-session": ([*SH, "test $(ps -o sid= -p $$) = $$"], {}),
    "own-group": ([*SH, "test $(ps -o pgid= -p $$) = $$"], {"process_group": 0}),
    "setsid": ([sys.executable, "-c", "import os; os.setsid()"], {}),
    "bufsize": (["cat"], {"bufsize": 0, "input": b"x", "capture_output": True}),
    "path": (["env"], {"env": {"PATH": "/nowhere:/usr/bin"}, "capture_output": True}),
}
REFUSED: dict[str, tuple[Any, dict[str, Any]]] = {
    "missing": (["/no/such/program"], {}),
    "missing-in-path": (["no-such-program-anywhere"], {}),
    "directory": (["/etc"], {}),
    "not-executable": (["/etc/passwd"], {}),
    "cwd-missing": (["true"], {"cwd": "/no/such/directory"}),
    "cwd-is-a-file": (["true"], {"cwd": "/etc/passwd"}),
    "check": (["false"], {"check": True}),
    "null-byte": (["true", "a\0b"], {}),
    "env-name": (["true"], {"env": {"a=b": "c"}}),
    "number-as-argument": (["true", 3], {}),
    "input-and-stdin": (["true"], {"input": b"", "stdin": subprocess.PIPE}),
    "capture-and-stdout": (["true"], {"capture_output": True, "stdout": subprocess.PIPE}),
    "text-for-binary": (["cat"], {"input": "text"}),
    "unknown-option": (["true"], {"no_such_option": 1}),
    "timeout": (["sleep", "30"], {"timeout": 0.3}),
    "timeout-with-output": ([*SH, "echo so far; exec sleep 30"], {"timeout": 0.5, "capture_output": True}),
}


@pytest.mark.parametrize("name", SAME)
def test_same_result(kernel: ring3.Kernel, name: str) -> None:
    args, options = SAME[name]
    ours, theirs = kernel.run(args, **options), subprocess.run(args, check=False, **options)
    assert (ours.args, ours.returncode, ours.stdout, ours.stderr) == (theirs.args, theirs.returncode, theirs.stdout, theirs.stderr)


@pytest.mark.parametrize("name", REFUSED)
def test_same_refusal(kernel: ring3.Kernel, name: str) -> None:
    args, options = REFUSED[name]

    def refusal(run: Callable[..., object]) -> tuple[object, ...]:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - compared below
            run(args, **options)
        fields = ("errno", "filename", "returncode", "output", "stderr", "cmd")
        return type(caught.value), *(getattr(caught.value, field, None) for field in fields)

    assert refusal(kernel.run) == refusal(subprocess.run)


def test_run_makes_and_closes_a_kernel() -> None:
    done = ring3.run(["cat", "/proc/sys/kernel/hostname"], hostname="mine", capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"mine\n")
    with pytest.raises(TypeError):
        ring3.run(["true"], no_such_option=1)


def test_files_stay_in_the_kernel(kernel: ring3.Kernel, tmp_path: Path) -> None:
    note = tmp_path / "note"
    assert kernel.run([*SH, f"echo kept > {note}"]).returncode == 0
    assert kernel.run(["cat", str(note)], capture_output=True).stdout == b"kept\n"
    assert not note.exists()
    with ring3.Kernel() as other:
        assert other.run(["test", "-e", str(note)]).returncode == 1


@pytest.mark.parametrize(("mode", "written", "on_host"), [("ro", 2, "old\n"), ("rw", 0, "new\n"), ("cow", 0, "old\n")])
@pytest.mark.parametrize("kind", ["directory", "file"])
def test_mounts(tmp_path: Path, mode: str, written: int, on_host: str, kind: str) -> None:
    file = tmp_path / "file"
    file.write_text("old\n")
    host, guest = (tmp_path, "/tmp/a/b/file") if kind == "directory" else (file, "/tmp/a/b")
    with ring3.Kernel(mounts=[f"{host}:/tmp/a/b:{mode}"]) as kernel:
        assert kernel.run(["cat", guest], capture_output=True).stdout == b"old\n"
        assert kernel.run([*SH, f"echo new > {guest}"], stderr=ring3.DEVNULL).returncode == written
    assert file.read_text() == on_host


def test_nested_mounts(tmp_path: Path) -> None:
    for name in ("outer/inner", "other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "here").write_text(name)
    with ring3.Kernel(mounts=[f"{tmp_path}/outer:/mnt:ro", f"{tmp_path}/other:/mnt/inner:rw"]) as kernel:
        assert kernel.run(["cat", "/mnt/inner/here"], capture_output=True).stdout == b"other"
        assert kernel.run([*SH, "echo > /mnt/no"], stderr=ring3.DEVNULL).returncode == 2
        assert kernel.run([*SH, "echo > /mnt/inner/yes"]).returncode == 0
    assert (tmp_path / "other/yes").exists()
    mounts = [f"{tmp_path}/outer:/mnt:ro", f"{tmp_path}/other:/mnt/missing"]
    with ring3.Kernel(mounts=mounts) as kernel, pytest.raises(OSError, match="cow"):
        kernel.run(["true"])


def test_another_root(tmp_path: Path, static_true: str) -> None:
    (tmp_path / "true").write_bytes(Path(static_true).read_bytes())
    (tmp_path / "true").chmod(0o755)
    with ring3.Kernel(root=tmp_path) as kernel:
        assert kernel.run(["/true"]).returncode == 0
        with pytest.raises(FileNotFoundError):
            kernel.run(["/bin/sh"])
        names = kernel.call(lambda system: sorted(entry.name for entry in system.mounts.root.vnode.readdir()))
    assert names == [b"dev", b"proc", b"tmp", b"true"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["true"]


@pytest.mark.parametrize(("options", "error", "text"), [
    ({"root": "/no/such/root"}, FileNotFoundError, "/no/such/root"),
    ({"root": "/etc/passwd"}, NotADirectoryError, "root"),
    ({"mounts": ["/no/such:/mnt"]}, FileNotFoundError, "/no/such"),
    ({"mounts": ["/etc"]}, ValueError, "HOST:GUEST"),
    ({"mounts": ["/etc:mnt"]}, ValueError, "absolute"),
    ({"mounts": ["/etc:/mnt:rx"]}, ValueError, "cow"),
])
def test_kernels_that_cannot_be(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ring3.Kernel(**options)


def test_seed_repeats_addresses() -> None:
    def maps(seed: int | None) -> bytes:
        done = ring3.run(["cat", "/proc/self/maps"], seed=seed, capture_output=True)
        assert isinstance(done.stdout, bytes)
        return done.stdout

    assert maps(5) == maps(5) != maps(6)
    assert maps(None) != maps(None)


def test_handle(kernel: ring3.Kernel) -> None:
    with kernel.spawn(["cat"], stdin=ring3.PIPE, stdout=ring3.PIPE) as process:
        assert process.poll() is None
        assert process.returncode is None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"line\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"line\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
        process.stdin.close()
        assert process.wait(timeout=90) == 0
        assert process.poll() == 0
        process.kill()              # too late, and harmless
    for send, signo in (("terminate", 15), ("kill", 9)):
        process = kernel.spawn(["sleep", "60"])
        getattr(process, send)()
        assert process.wait(timeout=90) == -signo
    process = kernel.spawn([*SH, "trap 'exit 4' USR1; echo ready; while :; do sleep 0.01; done"], stdout=ring3.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=90) == 4
    with pytest.raises(ValueError, match="99"):
        process.send_signal(99)
    process.stdout.close()


def test_communicate_goes_on_after_a_timeout(kernel: ring3.Kernel) -> None:
    with kernel.spawn([*SH, "echo first; sleep 0.5; echo second"], stdout=ring3.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            process.communicate(timeout=0.25)
        assert caught.value.output == b"first\n"
        assert process.communicate() == (b"first\nsecond\n", None)
        with pytest.raises(ValueError, match="input"):
            process.communicate(b"more")


def test_descriptors_and_files_as_streams(kernel: ring3.Kernel, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from a file")
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as sink:
        assert kernel.run(["cat"], stdin=source, stdout=sink.fileno()).returncode == 0
        assert not source.closed
    assert (tmp_path / "out").read_text() == "from a file"
    with pytest.raises(ValueError, match="descriptor"):
        kernel.spawn(["true"], stdout=-7)
    with pytest.raises(OSError, match="Bad file"):
        kernel.spawn(["true"], stdout=9999)


def test_passed_descriptors(kernel: ring3.Kernel) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as mine:
        assert kernel.run([sys.executable, "-c", f"import os; os.write({writer}, b'passed')"], pass_fds=(writer,)).returncode == 0
        os.close(writer)
        assert mine.read() == b"passed"


def test_kernels_side_by_side_and_from_many_threads() -> None:
    answers: dict[int, list[bytes]] = {}

    def work(number: int, kernel: ring3.Kernel) -> None:
        answers[number] = [kernel.run([*SH, f"echo {number}-{i}"], capture_output=True).stdout for i in range(5)]

    with ring3.Kernel() as one, ring3.Kernel() as two:
        threads = [threading.Thread(target=work, args=(n, (one, two)[n % 2])) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert answers == {n: [b"%d-%d\n" % (n, i) for i in range(5)] for n in range(6)}


def test_closing_while_a_program_runs() -> None:
    kernel = ring3.Kernel()
    process = kernel.spawn(["sleep", "60"])
    waiter = threading.Thread(target=process.wait)
    waiter.start()
    kernel.close()
    kernel.close()
    waiter.join(10)
    assert process.returncode == -9
    process.kill()
    with pytest.raises(RuntimeError, match="closed"):
        kernel.run(["true"])


def test_a_bug_of_the_kernel_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    from ring3.calls.process import sys_getppid

    def broken(_t: object) -> int:
        raise ZeroDivisionError("a bug")

    with ring3.Kernel() as kernel:
        process = kernel.spawn(["sleep", "60"])
        monkeypatch.setattr(sys_getppid, "run", broken)
        with pytest.raises(ring3.KernelFault, match=r"\(sh\).*getppid\(\)") as caught:
            kernel.run([*SH, ":"], capture_output=True, timeout=90)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(ring3.KernelFault):
            process.wait(10)
        with pytest.raises(ring3.KernelFault):
            kernel.run(["true"])


def test_no_ptrace_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from ring3.machine.native import zygote

    def refuse(*_args: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(zygote, "ptrace", refuse)
    before = resources()
    with ring3.Kernel() as kernel:
        for _ in range(2):
            with pytest.raises(ring3.MachineUnavailable, match=r"ptrace.*EPERM.*SYS_PTRACE"):
                kernel.run(["true"])
    assert resources() == before


def resources() -> tuple[list[str], int, list[str]]:
    """Descriptors, threads and child processes (zombies too) of this process."""
    fds = sorted(os.listdir("/proc/self/fd"))
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        own = children.read().split()
    return fds, threading.active_count(), own


def test_nothing_is_left() -> None:
    ring3.run(["true"])         # what Python itself opens once
    before = resources()
    gc.disable()                # it must not be left to the collector
    try:
        with ring3.Kernel() as kernel:
            kernel.run([*SH, "echo x > /tmp/left; ls -R /etc/ssl | head -3; sleep 60 >/dev/null 2>&1 &"], capture_output=True)
            kernel.spawn(["sleep", "60"], stdin=ring3.DEVNULL)
            with contextlib.suppress(FileNotFoundError):
                kernel.run(["no-such-program"], capture_output=True)
            with contextlib.suppress(FileNotFoundError):
                kernel.run(["true"], cwd="/no/such", capture_output=True)
        assert resources() == before
    finally:
        gc.enable()


def wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(500):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_a_forgotten_kernel_ends() -> None:
    gc.collect()
    before = threading.active_count()
    kernel = ring3.Kernel()
    process = kernel.spawn(["sleep", "60"])
    assert threading.active_count() == before + 1
    del kernel, process
    gc.collect()
    wait_until(lambda: threading.active_count() == before)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False)


def test_python_may_end_with_a_kernel_alive() -> None:
    done = python("import ring3; k = ring3.Kernel(); k.spawn(['sleep', '47.11']); print('end')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_forked_child_is_refused_and_the_parent_goes_on() -> None:
    done = python("""
import os, ring3
with ring3.Kernel() as kernel:
    kernel.run(["true"])
    if not (pid := os.fork()):
        try:
            kernel.run(["true"])
        except RuntimeError as error:
            print(error, flush=True)
        print(ring3.run(["true"]).returncode, flush=True)
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), kernel.run(["true"]).returncode)
""")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "this kernel belongs to the process that made it; a forked child makes its own", "0", "3 0"]


def test_import_is_light() -> None:
    heavy = {"subprocess", "asyncio", "ctypes", "pathlib", "argparse", "random"}
    done = python(f"import sys, ring3; print(*sorted({heavy!r} & set(sys.modules)))")
    assert done.stdout == "\n"


def test_help_reads_well() -> None:
    done = python("import ring3, pydoc; print(pydoc.plain(pydoc.render_doc(ring3)))")
    for word in ("class Kernel", "run(args", "capture_output", "MachineUnavailable"):
        assert word in done.stdout


# --- what makes no sense is refused, with what to write instead

@pytest.mark.parametrize(("more", "error", "says"), [
    ({"args": 5}, TypeError, "args is a list of strings, or one string, not int"),
    ({"args": ["echo", 5]}, TypeError, "args[1] is a string, bytes or a path, not int"),
    ({"args": {"a": 1}}, TypeError, "args is a list of strings, or one string, not dict"),
    ({"env": ["A=1"]}, TypeError, "env is a mapping, such as a dict, not list"),
    ({"env": {"A": 1}}, TypeError, "env['A'] is a string, bytes or a path, not int"),
    ({"cwd": 5}, TypeError, "cwd is a string"),
    ({"user": 1.5}, TypeError, "user is a whole number, not float"),
    ({"user": -1}, ValueError, "an id is a number from 0 to 4294967294"),
    ({"group": 1 << 40}, ValueError, "an id is a number from 0 to 4294967294"),
    ({"extra_groups": [None]}, TypeError, "not None"),
    ({"extra_groups": "wheel"}, TypeError, "extra_groups is a list of groups, not str"),
    ({"umask": "022"}, TypeError, "umask is a whole number, not str"),
    ({"process_group": "x"}, TypeError, "process_group is a whole number, not str"),
    ({"stdin": "text"}, TypeError, "text for it to read is input="),
    ({"stdout": []}, TypeError, "stdout is PIPE, DEVNULL, a descriptor or a file, not list"),
    ({"seed": "7"}, TypeError, "seed is a whole number, not str"),
    ({"seed": 1.5}, TypeError, "seed is a whole number, not float"),
    ({"hostname": b"x"}, TypeError, "hostname is a string, not bytes"),
    ({"root": 5}, TypeError, "root is a string"),
    ({"mounts": "/tmp:/x"}, TypeError, 'mounts is a list of strings, such as ["/src:/work:rw"], not str'),
    ({"mounts": [5]}, TypeError, "a mount is a string"),
    ({"mounts": None}, TypeError, "mounts is a list of strings"),
    ({"emul": ["netbsd"]}, TypeError, "emul is a mapping"),
    ({"emul": {"netbds": "/"}}, ValueError, "did you mean netbsd?"),
    ({"veriexec": 5}, TypeError, "veriexec is a string"),
    ({"pledge": ["stdio"]}, TypeError, 'pledge is one string, such as "stdio rpath", not list'),
    ({"exec_pledge": 5}, TypeError, "exec_pledge is one string"),
    ({"unveil": "/usr:rx"}, TypeError, 'unveil is a list of strings, such as ["/usr:rx"], not str'),
    ({"unveil": [("/usr", "rx")]}, TypeError, 'each of unveil is a string, such as "/usr:rx", not tuple'),
    ({"policy": "stdio"}, TypeError, "policy is a ring3.policy.confinement.Policy, not str"),
    ({"personality": "plan9"}, ValueError, "write one of linux, netbsd"),
    ({"close_fds": False}, ValueError, "pass_fds"),
])
def test_arguments_that_make_no_sense(more: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        ring3.run(**{"args": ["true"], **more})
    assert says in str(caught.value)
    assert type(caught.value) is error


def test_all_of_subprocess_that_has_a_meaning_is_taken(kernel: ring3.Kernel) -> None:
    """An argument of Popen that is missing here is one of these: Windows', code of ours in the guest, a size of our own pipes."""
    import inspect

    theirs = set(inspect.signature(subprocess.Popen).parameters)
    ours = set(inspect.signature(ring3.Kernel.spawn).parameters)
    assert theirs - ours == {"preexec_fn", "startupinfo", "creationflags", "pipesize"}
    assert kernel.run(["true"], close_fds=True).returncode == 0


@pytest.mark.parametrize(("wrong", "says"), [
    (5, "instruments is a list of ring3.protocols.Instrument, not int"),
    ([print], "each of instruments is a ring3.protocols.Instrument, not builtin_function_or_method"),
])
def test_instruments_that_make_no_sense(wrong: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        ring3.Kernel(instruments=wrong)


def test_hooks_that_make_no_sense(kernel: ring3.Kernel) -> None:
    from ring3 import events

    for wrong in (5, "exec", int, print):
        with pytest.raises(TypeError, match=r"as in @kernel.on\(ring3.events.Exec\)"):
            kernel.on(wrong)        # type: ignore[arg-type]
    for wrong in (5, print):
        with pytest.raises(TypeError, match=r'as in @kernel.on_syscall\("openat"\)'):
            kernel.on_syscall(wrong)        # type: ignore[arg-type]
    decorators: list[Any] = [kernel.on(events.Exec), kernel.on_syscall("openat")]
    for decorator in decorators:
        with pytest.raises(TypeError, match="a hook is a function of one argument, not 5"):
            decorator(5)


def test_kernels_and_processes_are_not_copied() -> None:
    import copy
    import pickle

    with ring3.Kernel() as kernel:
        assert repr(kernel) == "<ring3.Kernel: not started>"
        with kernel.spawn(["cat"], stdin=ring3.PIPE) as process:
            assert repr(kernel) == "<ring3.Kernel: running>"
            for thing in (kernel, process):
                for way in (copy.copy, copy.deepcopy, pickle.dumps):
                    with pytest.raises(TypeError, match="cannot be copied or pickled"):
                        way(thing)
        assert kernel.run(["true"]).returncode == 0
    assert repr(kernel) == "<ring3.Kernel: closed>"


def test_many_kernels_leave_nothing() -> None:
    """One after the other: descriptors, threads and processes are given back, whether it was closed or forgotten."""
    def left() -> tuple[int, int, list[str]]:
        gc.collect()
        deadline = time.monotonic() + 60
        while threading.active_count() > before_threads and time.monotonic() < deadline:
            time.sleep(0.01)
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii").split()
        return len(os.listdir("/proc/self/fd")), threading.active_count(), children

    before_threads = threading.active_count()
    ring3.run(["true"])
    before = left()
    for number in range(30):
        with ring3.Kernel() as kernel:
            assert kernel.run(["true"]).returncode == 0
        kernel = ring3.Kernel()
        if number % 3:
            kernel.run(["true"])
        else:
            process = kernel.spawn(["sleep", "100"])
            del process
        del kernel
    assert left() == before


# --- what programs wrote

def test_diff(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "old").write_text("old")
    (tmp_path / "shown" / "untouched").write_text("old")
    (tmp_path / "writable").mkdir()
    mounts = [f"{tmp_path}/shown:/srv/shown:cow", f"{tmp_path}/writable:/srv/writable:rw"]
    with ring3.Kernel(mounts=mounts) as kernel:
        assert kernel.diff() == []
        script = """
            echo x > /etc/ring3-new; rm /etc/hostname; chmod 700 /opt; mkdir -p /srv/dir/inner; mv /usr/games /usr/ring3-games
            echo x >> /srv/shown/old; echo x > /srv/shown/$(printf 'b\\377'); echo x > /srv/writable/on-disk
        """
        assert kernel.run(script, shell=True, user=0, group=0).returncode == 0
        found = kernel.diff()
        assert ("added", "/etc/ring3-new") in found
        assert {change.path: change.kind for change in found} == {
            "/etc/hostname": "deleted", "/etc/ring3-new": "added", "/opt": "modified", "/srv/dir": "added",
            "/srv/dir/inner": "added", "/srv/shown/b\udcff": "added", "/srv/shown/old": "modified", "/usr/games": "deleted",
            "/usr/ring3-games": "added",
        }
        assert found == sorted(found, key=lambda change: os.fsencode(change.path))
        assert [change.path for change in kernel.diff("/srv/dir/")] == ["/srv/dir", "/srv/dir/inner"]
        assert kernel.diff("/srv/di") == kernel.diff("/no/such") == []
        kernel.run(["rm", "/etc/ring3-new"], user=0)
        assert kernel.diff("/etc") == [("deleted", "/etc/hostname")]
    assert sorted(path.name for path in (tmp_path / "writable").iterdir()) == ["on-disk"]
    with pytest.raises(RuntimeError, match="closed"):
        kernel.diff()
    with pytest.raises(TypeError, match="path is a string"):
        ring3.Kernel().diff(5)      # type: ignore[arg-type]


def test_diff_of_a_root_without_a_tmp(tmp_path: Path) -> None:
    """/tmp is memory alone there, and the places made for mounts are no program's doing."""
    with ring3.Kernel(root=tmp_path, mounts=["/bin:/bin", "/lib:/lib", "/lib64:/lib64"]) as kernel:
        assert kernel.diff() == []
        kernel.run("echo x > /tmp/note; /bin/mkdir /made; echo x > /made/note", shell=True)
        assert [(change.kind, change.path) for change in kernel.diff()] == [
            ("added", "/made"), ("added", "/made/note"), ("added", "/tmp/note"),
        ]
    assert list(tmp_path.iterdir()) == []
