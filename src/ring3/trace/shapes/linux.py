"""The shapes of Linux's calls, by name: which module beside this one has them, by subject.  Each is imported when one of its calls
is first printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

from ring3.trace.shapes.shape import Chooser, Shape

Answer = Callable[[Any, Sequence[Any], int], str]
SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "linux_admin": (
        "mount", "ptrace", "reboot", "seccomp", "syslog", "umount2",
    ),
    "linux_events": (
        "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "poll", "ppoll", "pselect6", "select",
    ),
    "linux_files": (
        "chmod", "close_range", "creat", "dup3", "epoll_create1", "eventfd2", "fadvise64", "fallocate", "fchmod",
        "fchmodat", "fcntl", "flock", "fsetxattr", "fstatfs", "futimesat", "inotify_add_watch", "inotify_init", "inotify_init1",
        "inotify_rm_watch", "lseek", "lsetxattr", "memfd_create", "mkdir", "mkdirat", "mknod", "mknodat", "open",
        "openat", "openat2", "pipe2", "preadv", "preadv2", "pwritev2", "readv", "sendfile", "setxattr", "signalfd4", "statfs",
        "statx", "sync_file_range", "timerfd_create", "timerfd_settime", "umask", "unlinkat", "utime", "utimensat", "utimes",
    ),
    "linux_ioctl": (
        "ioctl",
    ),
    "linux_memory": (
        "madvise", "membarrier", "mincore", "mlock2", "mlockall", "mmap", "mremap", "msync", "pkey_alloc",
        "process_madvise", "shmat", "shmdt", "shmget",
    ),
    "linux_network": (
        "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmmsg", "recvmsg",
        "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socket", "socketpair",
    ),
    "linux_processes": (
        "arch_prctl", "clone", "clone3", "execve", "execveat", "futex", "get_robust_list", "prctl", "rseq",
        "rt_sigprocmask", "set_robust_list", "setns", "unshare",
    ),
    "linux_system": (
        "capget", "capset", "clock_getres", "clock_gettime", "clock_nanosleep", "clock_settime", "getgroups", "getpriority",
        "getrandom", "getrlimit", "getrusage", "gettimeofday", "ioprio_get", "kcmp", "nanosleep",
        "personality", "pidfd_send_signal", "prlimit64", "rt_sigtimedwait", "sched_get_priority_max",
        "sched_get_priority_min", "sched_getaffinity", "sched_getscheduler", "sched_setaffinity", "sched_setparam",
        "sched_setscheduler", "setfsgid", "setfsuid", "setgid", "setgroups", "setpriority", "setregid", "setresgid", "setresuid",
        "setreuid", "setrlimit", "settimeofday", "setuid", "sysinfo", "time", "timer_create", "times", "uname", "wait4",
        "waitid",
    ),
})
_HOMES: Final = MappingProxyType({name: module for module, names in SUBJECTS.items() for name in names})


def find(name: str) -> tuple[Shape | Chooser | None, Answer | None]:
    """How a call prints, None where its declaration says all; and how its result does, None where that is a number.

    >>> find("getppid")
    (None, None)
    """
    module = _HOMES.get(name)
    if module is None:
        return None, None
    tables = import_module(f"ring3.trace.shapes.{module}")
    return tables.SHAPES.get(name), getattr(tables, "RESULTS", {}).get(name)
