"""Every call needs the promise that pledge's table says: the declarations against the reference (section 2.3), call by call."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from ring3.abi.signals import Signal
from ring3.abi.x86 import Arch
from ring3.calls.gate import own_gate
from ring3.errors import Errno
from ring3.personality.serenity import serenity_personality
from ring3.policy import promises
from ring3.policy.own import policy_of
from tests.unit.calls.serenity.guest import NUMBERS, SerenityGuest

# Promise -> the calls that need it as such; "" none, "root": allowed to nobody who promised anything.
NEEDS = {
    "accept": "accept4",
    "": "adjtime annotate_mapping beep clock_getres dbgputstr dump_backtrace emuctl exit futex get_stack_bounds getrusage "
        "inode_watcher_remove_watch msync open perf_event perf_register_string pledge prctl set_coredump_metadata sigsuspend "
        "socketpair sysconf unveil ioctl umount "
        "bind connect getpeername getsockname getsockopt listen setsockopt socket",      # by what the descriptor is
    "stdio": "alarm allocate_tls anon_create clock_gettime clock_nanosleep close dup2 fchdir fcntl fstat fstatvfs fsync ftruncate "
             "get_dir_entries get_process_name getegid geteuid getgid getuid getgroups gethostname getpgid getpgrp getsid getpid "
             "getppid getrandom getresgid getresuid gettid lseek madvise map_time_page mmap mprotect mremap munmap pipe poll "
             "posix_fallocate read pread readv recvmsg sendmsg set_mmap_name set_thread_name sigpending sigreturn sync times "
             "umask uname write pwritev yield shutdown",
    "rpath": "chdir create_inode_watcher faccessat getcwd inode_watcher_add_watch readlink realpath stat statvfs",
    "cpath": "link mkdir rename rmdir symlink unlink",
    "dpath": "mknod",
    "id": "setegid seteuid setgid setuid setregid setreuid setresgid setresuid setgroups",
    "proc": "disown fork killpg scheduler_get_parameters scheduler_set_parameters set_process_name setpgid setsid waitid",
    "ptrace": "ptrace",
    "exec": "execve",
    "recvfd": "recvfd",
    "sendfd": "sendfd",
    "fattr": "chmod fchmod utime utimensat",
    "chown": "chown fchown",
    "thread": "create_thread detach_thread exit_thread get_thread_name join_thread kill_thread",
    "settime": "clock_settime",
    "sigaction": "sigaction sigaltstack sigprocmask sigtimedwait",
    "setkeymap": "setkeymap",
    "getkeymap": "getkeymap",
    "jail": "jail_create jail_attach",
    "root": "mount profiling_enable profiling_disable profiling_free_buffer purge sethostname",
}
# What is decided in the call, by its arguments.
FREE = {"kill": ({"stdio", "proc"}, set[str]())}
BY_SOCKET = frozenset(("bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "setsockopt", "socket"))
SOCKET_WORDS = frozenset(("inet", "unix"))


def declared() -> dict[str, frozenset[str]]:
    abi = serenity_personality().abis[Arch.X86_64]
    return {name: abi.sysent[number].call.promises for name, number in NUMBERS.items()}


def test_the_table_has_every_call_once() -> None:
    said = [name for text in NEEDS.values() for name in text.split()] + list(FREE)
    assert sorted(said) == sorted(NUMBERS)


@pytest.mark.parametrize("word", NEEDS)
def test_each_call_declares_its_promise(word: str) -> None:
    table = declared()
    wrong = {}
    for name in NEEDS[word].split():
        wanted = {frozenset((word,)) if word else frozenset()}
        if name in BY_SOCKET:
            wanted.add(SOCKET_WORDS)
        if table[name] not in wanted:
            wrong[name] = set(table[name])
    assert wrong == {}


def test_kill_needs_one_of_two() -> None:
    assert set(declared()["kill"]) in FREE["kill"]


def test_the_words_are_promises() -> None:
    for name, words in declared().items():
        assert words <= {*promises.BITS, "root"}, name


# --- what is asked in the call
def held(g: SerenityGuest, text: str) -> None:
    policy = policy_of(g.p, own_gate)
    assert policy.pledge(promises.parse(text), None)
    g.p.confine(policy)


def violates(g: SerenityGuest, name: str, *args: Any) -> bool:
    """Whether the call ends the process."""
    g.t.cpu.arch = Arch.X86_64
    g.place(*args)
    bound = g.p.abis[Arch.X86_64].sysent[NUMBERS[name]]
    g.t.call_number = NUMBERS[name]
    with suppress(Errno):
        bound.invoke(g.t, g.t.cpu.regs)
    assert g.p.zombie is (g.p.exit_status == Signal.SIGABRT)
    return g.p.zombie


@pytest.mark.parametrize(("with_", "dies", "name", "codes", "fields"), [
    ("stdio", False, "open", "<i4xQQiH2x", (-100, "/dev/null", 0x4, 0)),
    ("stdio", True, "open", "<i4xQQiH2x", (-100, "/dev/null", 0x1, 0)),
    ("stdio rpath", True, "open", "<i4xQQiH2x", (-100, "/dev/null", 0x2, 0)),
    ("stdio wpath", False, "open", "<i4xQQiH2x", (-100, "/dev/null", 0x3, 0)),
    ("stdio rpath wpath", True, "open", "<i4xQQiH2x", (-100, "/dev/null", 0x8 | 0x2, 0)),
    ("stdio", True, "mmap", "<3QiiixxxxqQQ", (0, 4096, 4096, 5, 0x22, -1, 0, "")),
    ("stdio", True, "mmap", "<3QiiixxxxqQQ", (0, 4096, 4096, 0x410, 0x22, -1, 0, "")),
    ("stdio", False, "mmap", "<3QiiixxxxqQQ", (0, 4096, 4096, 1, 0x32, -1, 0, "")),
])
def test_what_arguments_need(g: SerenityGuest, with_: str, dies: bool, name: str, codes: str, fields: tuple[Any, ...]) -> None:
    held(g, with_)
    assert violates(g, name, g.params(codes, *fields)) is dies


@pytest.mark.parametrize(("with_", "dies", "name", "args"), [
    ("stdio", True, "adjtime", (0x1000, 0)),
    ("", False, "adjtime", (0, 0)),
    ("stdio settime", False, "adjtime", (0x1000, 0)),
    ("stdio", True, "kill", (1, 0)),
    ("proc", False, "kill", (1, 0)),
    ("stdio", True, "socket", (1, 1, 0)),
    ("stdio unix", False, "socket", (1, 1, 0)),
    ("stdio unix", True, "socket", (2, 1, 0)),
    ("", False, "pledge", (0,)),
    ("", False, "unveil", (0,)),
    ("", True, "getpid", ()),
    ("stdio rpath wpath cpath dpath inet id proc ptrace exec unix", True, "purge", (0,)),
])
def test_what_words_need(g: SerenityGuest, with_: str, dies: bool, name: str, args: tuple[int, ...]) -> None:
    held(g, with_)
    assert violates(g, name, *args) is dies
