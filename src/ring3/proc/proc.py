"""A process and its threads: state, and nothing but state and the small verbs that keep it consistent.

System calls are functions in `calls/` that take a `Thread`; what they share about life and death is in `lifecycle.py`, about
signals in `signals.py`.  Invariant: a process has at least one thread until it is a zombie; its leader's tid is its pid.
Names follow style.md: `p` is a Proc, `t` a Thread.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from ring3.abi.signals import DEFAULT_ACTION, AltStack, SigAction
from ring3.proc.cred import Cred
from ring3.proc.fdtable import FdTable
from ring3.proc.sigqueue import SigQueue
from ring3.protocols import LINUX_LOOKUPS
from ring3.waiting import Sleep, WaitQueue

if TYPE_CHECKING:
    from ring3.abi.x86 import Arch
    from ring3.machine.base import Cpu
    from ring3.proc.system import System
    from ring3.protocols import Abi, Personality
    from ring3.vfs.dentry import Dentry
    from ring3.vm.region import VMObject
    from ring3.vm.vmspace import VMSpace

RLIM_INFINITY = (1 << 64) - 1


class Rlimit(enum.IntEnum):
    """Resources in getrlimit(2)'s numbers."""

    CPU = 0
    FSIZE = 1
    DATA = 2
    STACK = 3
    CORE = 4
    RSS = 5
    NPROC = 6
    NOFILE = 7
    MEMLOCK = 8
    AS = 9
    LOCKS = 10
    SIGPENDING = 11
    MSGQUEUE = 12
    NICE = 13
    RTPRIO = 14
    RTTIME = 15


class ThreadState(enum.Enum):
    """Where a thread is."""

    NEW = "new"              # not started yet
    RUNNING = "running"      # on the machine
    SERVED = "served"        # stopped; the kernel is at work for it
    SLEEPING = "sleeping"    # its call waits
    READY = "ready"          # its call will go on at the scheduler's next turn
    STOPPED = "stopped"      # job control (or a tracer) holds it
    DEAD = "dead"


class FsContext:
    """Root, current directory and umask; shared with CLONE_FS."""

    __slots__ = ("cwd", "refs", "root", "umask")

    def __init__(self, root: Dentry, cwd: Dentry, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd
        self.umask = umask
        self.refs = 1

    def fork(self) -> FsContext:
        return FsContext(self.root, self.cwd, self.umask)


class SigActions:
    """What a process does about each signal; shared with CLONE_SIGHAND.  Index is the signal's number."""

    __slots__ = ("table",)

    def __init__(self, table: list[SigAction] | None = None) -> None:
        self.table = table or [DEFAULT_ACTION] * 65

    def fork(self) -> SigActions:
        return SigActions(list(self.table))


class Session:
    """A session: its id, its controlling terminal (a `Tty` of vfs, or None), and who logged in (setlogin(2))."""

    __slots__ = ("login", "sid", "tty")

    def __init__(self, sid: int, login: bytes = b"") -> None:
        self.sid = sid
        self.login = login
        self.tty: Any = None


class Usage:
    """CPU time and counters, ns.  Guest time is what the machine measured, kernel time what serving its calls took."""

    __slots__ = ("max_rss", "nivcsw", "nvcsw", "system_ns", "user_ns")

    def __init__(self) -> None:
        self.user_ns = 0
        self.system_ns = 0
        self.max_rss = 0
        self.nvcsw = 0
        self.nivcsw = 0

    def add(self, other: Usage) -> None:
        self.user_ns += other.user_ns
        self.system_ns += other.system_ns
        self.max_rss = max(self.max_rss, other.max_rss)
        self.nvcsw += other.nvcsw
        self.nivcsw += other.nivcsw


class Proc:
    """One process."""

    __slots__ = (
        "_personality",
        "abis",
        "actions",
        "activations",
        "child_queue",
        "child_reaper",
        "child_usage",
        "children",
        "comm_parent",
        "confinement",
        "continued",
        "cred",
        "dead_signal",
        "did_exec",
        "dumpable",
        "emulation",
        "exe",
        "exec_id",
        "exit_signal",
        "exit_status",
        "exiting",
        "fds",
        "fs",
        "in_exec",
        "itimers",
        "jail",
        "keep_caps",
        "knotes",
        "ktrace",
        "lookups",
        "lwps",
        "nice",
        "no_new_privs",
        "oom_score_adj",
        "parent",
        "parent_death_signal",
        "pax",
        "pending",
        "personality_flags",
        "pgrp",
        "pid",
        "pidfd_queue",
        "posix_timers",
        "profiling",
        "restartable",
        "rlimits",
        "session",
        "start_ns",
        "stop_reported",
        "stopped_by",
        "stops_at_exec",
        "system",
        "sysv",
        "tasks",
        "threads",
        "tracing",
        "usage",
        "veil",
        "vfork_done",
        "vfork_queue",
        "vm",
        "zombie",
    )

    def __init__(self, system: System, pid: int, parent: Proc | None) -> None:
        self.system = system
        self.pid = pid
        self.parent = parent
        self.children: list[Proc] = []
        self.threads: dict[int, Thread] = {}
        self.abis: Mapping[Arch, Abi]           # how its calls are served: its personality's, seen through what confines it
        self.lookups = LINUX_LOOKUPS            # its personality's, asked for at every look-up
        self.confinement: Any = None            # what the user allows it (policy/confinement.py); None: everything
        self.veil: Any = None                   # what it may see (policy/veil.py); None: everything
        self.vm: VMSpace
        self.fds: FdTable
        self.fs: FsContext
        self.emulation: tuple[Dentry, Dentry] | None = None     # its emulation root, and the root it was found from
        self.cred = Cred()
        self.actions = SigActions()
        self.pending = SigQueue()
        self.pgrp = pid
        self.session = Session(pid)
        self.rlimits: list[tuple[int, int]] = []
        self.exe: Dentry | None = None
        self.exit_signal = 0               # what the parent gets when it ends
        self.exit_status: int | None = None    # wait status word (Linux: code << 8 | signal) once it ends
        self.exiting = self.zombie = False
        self.dead_signal = 0
        self.stopped_by = 0                # signal that stopped it, 0 while it runs
        self.stop_reported = True          # the parent has been told of the stop
        self.continued = False             # SIGCONT woke it and the parent has not been told
        self.child_queue = WaitQueue()     # woken when a child changes state
        self.pidfd_queue = WaitQueue()     # woken when this process ends
        self.vfork_queue = WaitQueue()     # its vfork parent waits here
        self.vfork_done = True
        self.child_reaper = False          # PR_SET_CHILD_SUBREAPER
        self.parent_death_signal = 0
        self.no_new_privs = False
        self.keep_caps = False
        self.dumpable = 1
        self.jail: Any = None              # SerenityOS's jail it is in (proc/jails.py); None: none
        self.did_exec = False
        self.exec_id = 0
        self.in_exec = False               # inside an exec: nobody may look into it or trace it
        self.stops_at_exec = False         # an exec stops before the first instruction (NetBSD: proc.PID.stopexec)
        self.ktrace: Any = None            # how ktrace(2) traces it (proc/ktrace.py); None: not
        self.knotes: Any = None            # who waits for its events: `knotes.exec(p)` tells of an exec (kqueue)
        self.pax = 0                       # NetBSD's P_PAX_*: ASLR 1, MPROTECT 2
        self.profiling: Any = None         # profil(2)'s buffer
        self.restartable: tuple[Any, ...] = ()  # restartable atomic sequences (rasctl(2))
        self.activations: Any = None       # scheduler activations (sa_register(2))
        self.personality_flags = 0         # personality(2)
        self.nice = self.oom_score_adj = 0
        self.itimers: dict[int, Any] = {}       # which -> timer (calls/time)
        self.posix_timers: dict[int, Any] = {}  # id -> timer
        self.sysv: Any = None
        self.lwps: Any = None              # NetBSD's numbering of its threads (proc/lwp.py)
        self.tasks: Any = None             # what SerenityOS knows of it and its threads (proc/tasks.py)
        self.tracing: Any = None           # who traces it, and how (proc/tracing.py); None: nobody
        self.comm_parent = b""
        self.usage = Usage()
        self.child_usage = Usage()
        self.start_ns = 0

    @property
    def personality(self) -> Personality:
        """Whose program it runs.  Setting it sets `abis`."""
        return self._personality

    @personality.setter
    def personality(self, personality: Personality) -> None:
        self._personality = personality
        self.lookups = personality.lookups
        self.abis = personality.abis if self.confinement is None else self.confinement.abis(personality)
        if self.system.interpose is not None:
            self.abis = self.system.interpose(self.abis)
        if self.tracing is not None and self.tracing.over is not None:
            self.abis = self.tracing.over(self.abis)

    def confine(self, confinement: Any) -> None:
        """From now on no more than `confinement` allows; None: everything."""
        self.confinement = confinement
        self.veil = None if confinement is None else confinement.veil
        self.personality = self._personality

    @property
    def leader(self) -> Thread:
        """The thread whose tid is the pid; a dead leader of a living process is still there."""
        return self.threads[self.pid]

    @property
    def comm(self) -> bytes:
        if self.tasks is not None and self.tasks.title is not None:
            return bytes(self.tasks.title)
        return self.threads[self.pid].comm if self.pid in self.threads else self.comm_parent

    def live_threads(self) -> list[Thread]:
        """Those that have not ended."""
        return [t for t in self.threads.values() if t.state is not ThreadState.DEAD]

    def rlimit(self, resource: int) -> int:
        """The soft limit."""
        return self.rlimits[resource][0]

    def __repr__(self) -> str:
        return f"<Proc {self.pid} {self.comm.decode(errors='replace')}>"


class Thread:
    """One thread.  `work` is nonzero when something must be looked at before it goes back to its program.

    `vm`, `fds` … are the process's, offered here because handlers speak of them all the time.
    """

    __slots__ = (
        "abi",
        "altstack",
        "call_number",
        "clear_child_tid",
        "comm",
        "coroutine",
        "cpu",
        "exec_start_ns",
        "finish",
        "lwp",
        "past_cpu_ns",
        "pending",
        "proc",
        "restart",
        "resume_value",
        "robust_list",
        "robust_list32",
        "saved_sigmask",
        "sched",
        "sigmask",
        "sleep",
        "sleep_timer",
        "stale_objects",
        "state",
        "system",
        "task",
        "tid",
        "timer_slack_ns",
        "tls_slots",
        "trace",
        "upcalls",
        "watched",
        "work",
    )

    def __init__(self, proc: Proc, tid: int) -> None:
        self.proc = proc
        self.system = proc.system
        self.tid = tid
        self.state = ThreadState.NEW
        self.cpu: Cpu
        self.abi: Abi                          # the instruction set of its image
        self.comm = b""
        self.sigmask = 0
        self.saved_sigmask: int | None = None  # put back when the call returns (sigsuspend, ppoll …)
        self.pending = SigQueue()
        self.altstack = AltStack()
        self.clear_child_tid = 0
        self.robust_list = 0
        self.robust_list32 = 0
        self.work = 0
        self.coroutine: Coroutine[Sleep, Any, int] | None = None
        self.finish: Callable[[Thread, Any], None] | None = None    # what to do with the call's result
        self.sleep: Sleep | None = None
        self.sleep_timer: Any = None
        self.resume_value: Any = True          # what the sleeping call is woken with: a bool, or an exception to throw
        self.restart: Restart | None = None    # the call was interrupted; what becomes of it
        self.call_number = 0
        self.watched: tuple[Any, tuple[Any, ...] | None] | None = None     # (call, arguments that were read) while somebody watches
        self.timer_slack_ns = 50_000
        self.exec_start_ns = 0
        self.past_cpu_ns = 0                   # CPU time on machine threads it had before its present one (exec)
        self.stale_objects: tuple[VMObject, ...] = ()    # mapped files that moved while all threads ran
        self.sched: Any = None                 # scheduling wishes (proc/sched.py); None: the ordinary ones
        self.trace: Any = None                 # ptrace state
        self.upcalls = False                   # gets upcalls of its process's scheduler activations
        self.lwp: Any = None                   # what NetBSD knows of it (proc/lwp.py)
        self.task: Any = None                  # what SerenityOS does (proc/tasks.py)
        self.tls_slots: dict[int, bytes] = {}  # GDT entries of 32-bit programs: slot -> struct user_desc

    def needs(self, *promises: str) -> None:
        """What the arguments of its call need beyond what the call as such needs: all these promises (pledge(2)).

        For calls to ask once their arguments are decoded, before anything happens.  Raises EPERM where one is missing.
        """
        if self.proc.confinement is not None:
            self.proc.confinement.ask(self, *promises)

    def needs_any(self, promises: frozenset[str]) -> None:
        """The same of a call that stands for several others (socketcall): one of these promises."""
        if self.proc.confinement is not None:
            self.proc.confinement.ask_any(self, promises)

    @property
    def vm(self) -> VMSpace:
        return self.proc.vm

    @property
    def fds(self) -> FdTable:
        return self.proc.fds

    @property
    def regs(self) -> memoryview:
        return self.cpu.regs

    def __repr__(self) -> str:
        return f"<Thread {self.tid} of {self.proc!r} {self.state.value}>"


class Restart(Exception):
    """A call was interrupted by a signal and says what should become of it (signal(7) "Interruption of system calls").

    `always`: made again even when a handler ran (ERESTARTNOINTR); `no_handler_only`: EINTR when a handler ran, whatever SA_RESTART
    says (ERESTARTNOHAND); `resume`: when no handler ran, this coroutine function goes on with the call instead
    (ERESTART_RESTARTBLOCK).  None of them: SA_RESTART decides (ERESTARTSYS).
    """

    def __init__(
        self,
        *,
        always: bool = False,
        no_handler_only: bool = False,
        resume: Callable[[Thread], Coroutine[Sleep, Any, int]] | None = None,
    ) -> None:
        super().__init__()
        self.always = always
        self.no_handler_only = no_handler_only or resume is not None
        self.resume = resume
