"""The first stub: a process with nothing in it but the stub page, from which all others are copied.

It is cloned from the Python process with the descriptor table shared (so that a stub can map any descriptor the kernel
opens later), seized, and emptied by calls injected into it.  Its copies inherit: the empty space, the filter, the
session of its own (the terminal's Ctrl-C does not reach it), the default signal actions, `oom_score_adj` 1000,
`PTRACE_O_EXITKILL`.

Sources: clone(2), rseq's `PTRACE_GET_RSEQ_CONFIGURATION` (linux/ptrace.h), seccomp(2), arch_prctl(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import struct
import sys
from types import MappingProxyType
from typing import Final

from ring3.machine.base import MachineUnavailable
from ring3.machine.native import code
from ring3.machine.native.ptrace import (
    PTRACE_GET_RSEQ_CONFIGURATION,
    PTRACE_INTERRUPT,
    PTRACE_O_EXITKILL,
    PTRACE_O_TRACESYSGOOD,
    PTRACE_SEIZE,
    WAIT_ALL,
    Tracer,
    ptrace,
)

NR_MMAP: Final = 9
NR_MPROTECT: Final = 10
NR_MUNMAP: Final = 11
NR_RT_SIGACTION: Final = 13
NR_RT_SIGPROCMASK: Final = 14
NR_MREMAP: Final = 25
NR_MSYNC: Final = 26
NR_MADVISE: Final = 28
NR_CLONE: Final = 56
NR_SETSID: Final = 112
NR_PERSONALITY: Final = 135
NR_PRCTL: Final = 157
NR_ARCH_PRCTL: Final = 158
NR_EPOLL_WAIT: Final = 232
NR_RSEQ: Final = 334

PROT_READ: Final = 1
PROT_EXEC: Final = 4
MAP_SHARED: Final = 1
MAP_PRIVATE: Final = 2
MAP_FIXED: Final = 0x10
MAP_ANONYMOUS: Final = 0x20
MAP_NORESERVE: Final = 0x4000

CLONE_VM: Final = 0x100
CLONE_FILES: Final = 0x400
CLONE_PTRACE: Final = 0x2000
CLONE_PARENT: Final = 0x8000
NEW_SPACE: Final = CLONE_FILES | CLONE_PARENT | CLONE_PTRACE
NEW_THREAD: Final = NEW_SPACE | CLONE_VM

ARCH_MAP_VDSO_32: Final = 0x2002
ARCH_MAP_VDSO_64: Final = 0x2003

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_F_ADD_SEALS: Final = 1033
_F_SEAL_ALL: Final = 0x1 | 0x2 | 0x4 | 0x8         # SEAL SHRINK GROW WRITE
_RSEQ: Final = struct.Struct("<QIIII")             # struct ptrace_rseq_configuration
_RSEQ_FLAG_UNREGISTER: Final = 1
_ATTEMPTS: Final = 8                               # to make a first stub that nobody kills
_PROBE_AT: Final = 0x1000_0000_0000
_LIMITS: Final = MappingProxyType({
    "EMFILE": "descriptors (ulimit -n)", "ENFILE": "open files (sysctl fs.file-max)", "EFBIG": "file sizes (ulimit -f)",
    "ENOMEM": "memory (ulimit -v, memory cgroup)", "EAGAIN": "processes (ulimit -u, pids cgroup)",
})


def make_zygote(tracer: Tracer) -> tuple[int, bool]:
    """The first stub's pid, stopped, and whether this host maps its vDSO on request.  One that somebody kills before it is ready
    is made anew.

    Raises `MachineUnavailable`.
    """
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        raise MachineUnavailable("the native machine runs on Linux for x86-64 only")
    for _ in range(_ATTEMPTS - 1):
        try:
            return _make(tracer)
        except ProcessLookupError:
            continue
    try:
        return _make(tracer)
    except ProcessLookupError as error:
        raise explain(error) from error


def _make(tracer: Tracer) -> tuple[int, bool]:
    """Raises ProcessLookupError when the stub was killed meanwhile, `MachineUnavailable`."""
    try:
        pid = tracer.start()
    except OSError as error:
        raise MachineUnavailable(f"the native machine cannot start a process: {error.strerror}; "
                                 "raise the limit of processes (ulimit -u, pids cgroup)") from error
    try:
        return pid, _furnish(tracer, pid)
    except BaseException as error:
        was_killed = _has_ended(pid)
        with contextlib.suppress(OSError):                # it is gone already
            os.kill(pid, 9)
            reap(tracer, pid)
        if isinstance(error, OSError) and was_killed:
            raise ProcessLookupError(errno.ESRCH, "the first process was killed") from error
        if isinstance(error, OSError) and not isinstance(error, ProcessLookupError):
            raise explain(error) from error
        raise


def clone(tracer: Tracer, pid: int, flags: int) -> int:
    """Make the stopped stub `pid` clone itself; the new stub's pid, stopped.  Raises `OSError`."""
    child = tracer.call(pid, NR_CLONE, flags)
    status, _ = tracer.wait_for(child)
    if not os.WIFSTOPPED(status):
        raise OSError(errno.EAGAIN, "the new process was killed at once")
    return child


def reap(tracer: Tracer, pid: int) -> None:
    """Wait for the end of a stub that was killed."""
    with contextlib.suppress(ChildProcessError):         # somebody's bare wait() took it
        while os.WIFSTOPPED(tracer.wait_for(pid)[0]):
            pass


def _has_ended(pid: int) -> bool:
    """Whether somebody killed it already: then what a request said of it means nothing (PTRACE_SEIZE of a zombie: EPERM)."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT | WAIT_ALL) is not None
    except ChildProcessError:
        return True


def explain(error: OSError) -> MachineUnavailable:
    """What to allow, when the host refused something the machine cannot begin without."""
    name = errno.errorcode.get(error.errno or 0, "?")
    if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        return MachineUnavailable(
            f"the native machine needs ptrace, which this container or system forbids ({name}): allow it "
            "(docker run --cap-add=SYS_PTRACE; sysctl kernel.yama.ptrace_scope=1)")
    if name in _LIMITS:
        return MachineUnavailable(f"the native machine cannot be set up: {error.strerror}; raise the limit of {_LIMITS[name]}")
    return MachineUnavailable(f"the native machine cannot prepare its first process ({name}: {error.strerror}): "
                              "it needs an unrestricted Linux 5.3 or later")


def _furnish(tracer: Tracer, pid: int) -> bool:
    ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)
    ptrace(PTRACE_INTERRUPT, pid)
    status, _ = tracer.wait_for(pid)
    if not os.WIFSTOPPED(status):
        raise ProcessLookupError(errno.ESRCH, "the first process died")
    with open(f"/proc/{pid}/oom_score_adj", "wb", buffering=0) as file:
        file.write(b"1000")
    gadget = tracer.helper_address + code.GADGETS_AT
    fd = os.memfd_create("ring3-stub", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, code.stub_page())
        fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_ALL)
        tracer.call_from(gadget, pid, NR_MMAP, code.STUB_PAGE, code.PAGE, PROT_READ | PROT_EXEC,
                         MAP_PRIVATE | MAP_FIXED, fd, 0)
    finally:
        os.close(fd)
    commands_size = code.COMMAND_PAGES * code.PAGE
    tracer.call(pid, NR_MMAP, code.COMMANDS, commands_size, PROT_READ, MAP_SHARED | MAP_FIXED, tracer.commands_fd, 0)
    zeros = code.STUB_PAGE + code.ZEROS_AT
    after_commands = code.COMMANDS + commands_size
    catchable = (number for number in range(1, 65) if number not in (signal.SIGKILL, signal.SIGSTOP))
    setup: list[tuple[int, ...]] = [(NR_RT_SIGACTION, number, zeros, 0, 8) for number in catchable]
    setup += (
        *_unregister_rseq(pid),
        (NR_MUNMAP, 0, code.USER_TOP),
        (NR_MUNMAP, after_commands, code.STUB_PAGE - after_commands),
        (NR_RT_SIGPROCMASK, 2, zeros, 0, 8),
        (NR_SETSID,),
        (NR_PERSONALITY, 0),
        (NR_PRCTL, _PR_SET_PDEATHSIG, 9),
        (NR_PRCTL, _PR_SET_NAME, code.STUB_PAGE + code.NAME_AT),
        (NR_PRCTL, _PR_SET_NO_NEW_PRIVS, 1),
        (NR_PRCTL, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, code.STUB_PAGE + code.FPROG_AT),
    )
    tracer.batch(pid, setup)
    tracer.add_group(pid)
    try:
        tracer.batch(pid, [(NR_ARCH_PRCTL, ARCH_MAP_VDSO_64, _PROBE_AT), (NR_MUNMAP, 0, code.USER_TOP)])
    except OSError:
        return False
    return True


def _unregister_rseq(pid: int) -> list[tuple[int, ...]]:
    """The call that makes the host forget the rseq area glibc registered for the thread the stub was cloned from."""
    answer = ctypes.create_string_buffer(_RSEQ.size)
    try:
        ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, _RSEQ.size, ctypes.addressof(answer))
    except OSError:
        return []                                         # a kernel without it (before 5.13): nothing known
    pointer, size, signature, _, _ = _RSEQ.unpack(answer.raw)
    return [(NR_RSEQ, pointer, size, _RSEQ_FLAG_UNREGISTER, signature)] if pointer else []
