"""The face of a kernel: make one, run programs in it, take it down.  Kernels know nothing of each other.

Not here: the kernel's thread (`loop.py`), what it is made of (`boot.py`), the handle of a process (`process.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ring3 import arguments
from ring3.arguments import Env, StrOrBytes
from ring3.loop import Loop
from ring3.process import Process, TextMode
from ring3.stdio import DEVNULL, PIPE, STDOUT, Stdio, StdioArg, absent_streams

if TYPE_CHECKING:
    import subprocess

    from ring3.boot import MountSpec
    from ring3.calls.interpose import Hook
    from ring3.changes import Change
    from ring3.policy.confinement import Policy
    from ring3.policy.veriexec import VeriexecOptions
    from ring3.proc.system import System
    from ring3.protocols import Instrument
    from ring3.trace.explain.model import Explanation

T = TypeVar("T")
E = TypeVar("E")

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Kernel", "run"]


class Kernel:
    r"""One kernel: a file system, processes, and the machine they run on.

    root:     host directory the guest sees as `/`, through a copy-on-write overlay held in memory.
    mounts:   further host directories or files, each "HOST:GUEST[:ro|:rw|:cow]" (read-only unless said otherwise), in this order.
    seed:     an integer makes layout randomisation and getrandom(2) repeatable; None takes real randomness.
    hostname: what uname(2) tells.
    emul:     personality to host directory ({"netbsd": "/srv/netbsd"}), shown copy-on-write at /emul/NAME of the guest: where
              programs of that system look for their files first.
    instruments: who watches (`ring3.protocols.Instrument`), from the first call on.
    veriexec: "FILE[:learning|ids|ips|lockdown]": files are held to the fingerprints in FILE (docs/veriexec.md).

    Use it as a context manager, or call `close()`.  Every method may be called from any thread.  The kernel starts with its first
    process, on a thread of its own, and dies with the Python process or when nobody refers to it any more.

    Raises ValueError for a mount or signatures that cannot be understood, FileNotFoundError or NotADirectoryError for a root or
    mount that is not there; the first process raises `MachineUnavailable` where guests cannot run.

    >>> with Kernel() as kernel:
    ...     kernel.run(["/bin/echo", "hello"], capture_output=True).stdout
    b'hello\n'
    """

    def __init__(
        self,
        *,
        root: StrOrBytes = "/",
        mounts: Sequence[str | MountSpec] = (),
        seed: int | None = None,
        hostname: str = "ring3",
        instruments: Sequence[Instrument] = (),
        emul: Mapping[str, StrOrBytes] = {},
        veriexec: str | VeriexecOptions | None = None,
    ) -> None:
        options = arguments.boot_options(
            root=root, mounts=mounts, seed=seed, hostname=hostname, emul=emul, veriexec=veriexec,
        )
        self.loop = Loop(options, arguments.watchers(instruments))
        self._absent = absent_streams()
        self._is_guarded = False

    # --- life
    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ring3.Kernel: {self.loop.state}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a kernel cannot be copied or pickled: it is running processes; make another one where you need it")

    def close(self) -> None:
        """End every process and give everything back.  Twice is harmless."""
        self.loop.stop()

    def _guard(self) -> None:
        """See to it that this kernel ends when it is forgotten, and before Python does."""
        if not self._is_guarded:
            from weakref import finalize

            self._is_guarded = True
            finalize(self, self.loop.abandon)

    def call(self, action: Callable[[System], T]) -> T:
        """Run `action(system)` on the kernel's thread and give back its result or raise what it raised.

        For looking inside (`ring3.proc.system.System`); the kernel serves nobody meanwhile.
        """
        self._guard()
        return self.loop.call(action)

    @property
    def missing_calls(self) -> dict[str, int]:
        """System calls that answered ENOSYS because ring3 lacks them: name to how often."""
        return self.loop.missing_calls

    def diff(self, path: str = "/") -> list[Change]:
        """What programs wrote at or below a path of the guest, sorted: `Change(kind, path)`, with kind "added", "modified" or
        "deleted".  None of it is on your disk.

        Raises OSError for a directory of the host that may not be read, RuntimeError for a closed kernel.

        >>> with Kernel() as kernel:
        ...     done = kernel.run("mkdir /tmp/ring3-made; echo x > /tmp/ring3-made/note", shell=True)
        ...     kernel.diff("/tmp/ring3-made")
        [Change(kind='added', path='/tmp/ring3-made'), Change(kind='added', path='/tmp/ring3-made/note')]
        """
        from ring3.changes import changes

        where = arguments.path("path", path)
        return self.call(lambda system: changes(system, os.fsdecode(where or b"/")))

    # --- hooks
    def on(self, kind: type[E]) -> Callable[[Callable[[E], object]], Callable[[E], object]]:
        """Have a function called with every event of a type (`ring3.events`), from now on: a decorator.

        It is called on the kernel's thread, which serves nobody meanwhile.  One that raises is reported on standard error and
        forgotten.  `off` takes it away.

        Raises TypeError for what is no type of event, RuntimeError for a closed kernel.

        >>> from ring3 import events
        >>> with Kernel() as kernel:
        ...     seen = kernel.on(events.Exec)(lambda event: print(event.path.decode(), event.argv[1:]))
        ...     status = kernel.run(["/bin/echo", "hello"], capture_output=True).returncode
        /usr/bin/echo (b'hello',)
        """
        from typing import get_args

        from ring3.events import Event

        kinds = get_args(Event)
        if kind not in kinds:
            names = ", ".join(known.__name__ for known in kinds)
            raise TypeError(f"on() takes a type of event, as in @kernel.on(ring3.events.Exec), not {kind!r}; there are: {names}")

        def register(listener: Callable[[E], object]) -> Callable[[E], object]:
            _check_callable(listener)
            self.call(lambda system: self.loop.stream(system).listen(kind, listener))
            return listener

        return register

    def on_syscall(self, name: str, *, after: bool = False) -> Callable[[Hook], Hook]:
        r"""Have a function called with every call of that name, before it is served or `after` it ("*": all calls): a decorator.

        It is given a `Call`, and may watch it, end it with `call.fail("ENOSPC")` or `call.answer(0)`, or `call.delay(0.5)` it.  It
        is called on the kernel's thread.  One that raises is reported on standard error and forgotten.

        Raises ValueError for a name that no system has.

        >>> with Kernel() as kernel:
        ...     full = kernel.on_syscall("write")(lambda call: call.fail("ENOSPC") if call.args[0] == 1 else None)
        ...     kernel.run(["/bin/echo", "hello"], capture_output=True).stderr
        b'/bin/echo: write error: No space left on device\n'
        """
        from ring3.abi.callnames import check_call_name

        if not isinstance(name, str):
            raise TypeError(f'on_syscall() takes the name of a call, as in @kernel.on_syscall("openat"), not {name!r}')
        if name != "*":
            check_call_name(name)

        def register(hook: Hook) -> Hook:
            _check_callable(hook)
            self.call(lambda system: self.loop.interposer(system).add(name, hook, after=after))
            return hook

        return register

    def off(self, hook: Callable[[Any], object]) -> None:
        """Forget a function given to `on` or `on_syscall`; one that was not is fine."""
        self.call(lambda system: self.loop.forget(system, hook))

    # --- processes
    def explain(
        self,
        args: Sequence[StrOrBytes] | StrOrBytes,
        *,
        system: str = "linux",
        cwd: StrOrBytes | None = None,
        env: Env | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        extra_groups: Collection[str | int] | None = None,
        pledge: str | None = None,
        exec_pledge: str | None = None,
        pledge_mode: str = "kill",
        unveil: Sequence[str] | None = None,
    ) -> Explanation:
        """What running `args` in this kernel would do now, and why, as `ring3.explain` says it: with the files that its programs
        have made, its mounts, its veriexec.  Nothing is executed.

        `system` is whose program asks.  Raises what `spawn` does for arguments that make no sense, OSError for a directory that is
        not there; a program that cannot run is an answer.

        >>> with Kernel() as kernel:
        ...     done = kernel.run("printf '#!/no/such/sh' > /tmp/ring3-tool; chmod +x /tmp/ring3-tool", shell=True)
        ...     kernel.explain(["/tmp/ring3-tool"]).diagnosis.why
        '/tmp/ring3-tool is there, but the interpreter it names is not: /no/such/sh'
        """
        from ring3.asking import ask, request

        asked = request(args, system, cwd, env, user, group, extra_groups, pledge, exec_pledge, pledge_mode, unveil)
        return self.call(lambda running: ask(running, asked))

    def spawn(
        self,
        args: Sequence[StrOrBytes] | StrOrBytes,
        bufsize: int = -1,
        executable: StrOrBytes | None = None,
        stdin: StdioArg = None,
        stdout: StdioArg = None,
        stderr: StdioArg = None,
        *,
        shell: bool = False,
        cwd: StrOrBytes | None = None,
        env: Env | None = None,
        text: bool | None = None,
        universal_newlines: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        restore_signals: bool = True,
        start_new_session: bool = False,
        process_group: int | None = None,
        pass_fds: Collection[int] = (),
        user: str | int | None = None,
        group: str | int | None = None,
        extra_groups: Collection[str | int] | None = None,
        umask: int = -1,
        close_fds: bool = True,
        personality: str = "linux",
        pledge: str | None = None,
        exec_pledge: str | None = None,
        pledge_mode: str = "kill",
        unveil: Sequence[str] | None = None,
        policy: Policy | None = None,
    ) -> Process:
        """Start a program.  The arguments are those of `subprocess.Popen`, and so are its defaults.

        `args[0]` without a slash is looked for along PATH, in the guest.  `cwd` is a directory of the guest; without, it
        starts in the caller's where the guest has one of that name.  `env` replaces the caller's environment.  Names of users
        and groups are the host's.  `process_group=0` gives it a group of its own.  Signals this process ignores, the program
        starts with ignored.

        `personality` is the system whose rules the program is found and loaded by, as if a program of it had made the exec.  What
        names its own system runs as that anyhow; what does not (a SerenityOS program without a loader) is taken for one of this.

        `pledge` are the promises ("stdio rpath") that the program and all that comes of it are held to, `exec_pledge` what is left
        of them after its next exec, `pledge_mode` what a broken one does: "kill" (SIGABRT), "eperm" or "report".  `unveil` are the
        only paths they see, each "PATH:PERMISSIONS" with permissions out of "rwxcb".  `policy` is all of that in one value.  See
        docs/sandbox.md.

        Raises FileNotFoundError, PermissionError or another OSError when the guest's kernel refuses the program (`filename`
        says which file), ValueError and TypeError for arguments that make no sense, `MachineUnavailable`, RuntimeError for a
        closed kernel.
        """
        _check_sense(text, universal_newlines, close_fds=close_fds)
        argv = arguments.argument_vector(args, shell=shell)
        program = arguments.path("executable", executable)
        request: dict[str, Any] = {
            "executable": argv[0] if program is None else program,
            "argv": argv,
            "env": arguments.environment(os.environ if env is None else env),
            "cwd": arguments.path("cwd", cwd),
            "umask": arguments.whole("umask", umask),
            "user": arguments.user_id(user),
            "group": arguments.group_id(group),
            "groups": arguments.group_ids(extra_groups),
            "new_session": start_new_session,
            "process_group": None if process_group is None else arguments.whole("process_group", process_group),
            "ignored": _ignored_signals(restore=restore_signals),
            "personality": arguments.system_name(personality),
            "policy": arguments.policy_of(policy, pledge, exec_pledge, pledge_mode, unveil),
        }
        as_text = TextMode(encoding, errors) if text or universal_newlines or encoding or errors else None
        process = Process(self, args, Stdio(stdin, stdout, stderr, pass_fds, self._absent), as_text, bufsize)
        try:
            self.call(lambda system: process.start(system, **request))
        except BaseException:
            process.close_streams()
            raise
        return process

    def run(
        self,
        args: Sequence[StrOrBytes] | StrOrBytes,
        bufsize: int = -1,
        executable: StrOrBytes | None = None,
        stdin: StdioArg = None,
        stdout: StdioArg = None,
        stderr: StdioArg = None,
        *,
        input: bytes | str | None = None,  # noqa: A002 - subprocess.run's word
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **spawn: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a program to its end: the arguments and the result of `subprocess.run`; those not named here are `spawn`'s.

        `timeout` is in seconds; when it passes, the program is killed and `subprocess.TimeoutExpired` raised with the output
        so far. `check` raises `subprocess.CalledProcessError` for a status other than 0.  A negative `returncode` is a signal.
        A bug of the kernel itself is raised as `ring3.KernelFault`, with the call that met it.

        >>> with Kernel() as kernel:
        ...     kernel.run("tr a-z A-Z", shell=True, input="shout", text=True, capture_output=True).stdout
        'SHOUT'
        """
        import subprocess

        if input is not None:
            if stdin is not None:
                raise ValueError("stdin and input arguments may not both be used.")
            stdin = PIPE
        if capture_output:
            if stdout is not None or stderr is not None:
                raise ValueError("stdout and stderr arguments may not be used with capture_output.")
            stdout = stderr = PIPE
        with self.spawn(args, bufsize, executable, stdin, stdout, stderr, **spawn) as process:
            try:
                out, err = process.communicate(input, timeout=timeout)
            except BaseException:
                process.kill()
                raise
            status = process.wait()
        if check and status:
            raise subprocess.CalledProcessError(status, process.args, output=out, stderr=err)
        return subprocess.CompletedProcess(process.args, status, out, err)


def _check_sense(text: bool | None, universal_newlines: bool | None, *, close_fds: bool) -> None:
    if text is not None and universal_newlines is not None and bool(text) != bool(universal_newlines):
        raise ValueError("text and universal_newlines are two names of one thing, and were given two values")
    if not close_fds:
        raise ValueError("close_fds=False: a guest has the descriptors it is given and no others; name them in pass_fds")


def _check_callable(hook: object) -> None:
    if not callable(hook):
        raise TypeError(f"a hook is a function of one argument, not {hook!r}")


def _ignored_signals(*, restore: bool) -> list[int]:
    """The numbers of the signals this process ignores, without those that Python itself does (`restore`)."""
    import signal

    pythons_own = (signal.SIGPIPE, signal.SIGXFSZ) if restore else ()
    return [s for s in range(1, signal.NSIG) if s not in pythons_own and signal.getsignal(s) is signal.SIG_IGN]


def run(
    args: Sequence[StrOrBytes] | StrOrBytes,
    *,
    root: StrOrBytes = "/",
    mounts: Sequence[str | MountSpec] = (),
    seed: int | None = None,
    hostname: str = "ring3",
    emul: Mapping[str, StrOrBytes] = {},
    veriexec: str | VeriexecOptions | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    r"""Run one program in a kernel of its own: `subprocess.run`, with a kernel in between.

    `root`, `mounts`, `seed`, `hostname`, `emul` and `veriexec` are those of `Kernel`; all other arguments, the result and the
    errors are those of `Kernel.run`.  What the program writes is gone with the kernel, except through mounts that are "rw".

    >>> run(["/bin/sh", "-c", "echo $((6*7))"], capture_output=True).stdout
    b'42\n'
    """
    with Kernel(root=root, mounts=mounts, seed=seed, hostname=hostname, emul=emul, veriexec=veriexec) as kernel:
        return kernel.run(args, **options)
