"""ring3's text beside strace's: the same programs under both, line by line.

What must be the same is the text of each call: its name, its arguments, how its result is written.  What programs on two machines
may differ in is made equal first: addresses, process ids, times, and the order in which processes run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.guest.build import CannotBuild, build

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]

SOURCE = Path(__file__).parent / "strace" / "calls.c"
SUBJECTS = (
    "paths", "stats", "descriptors", "ioctls", "memory", "signals", "fault", "aborts", "divides", "illegal", "readonly", "trapped",
    "sockets", "polls", "times", "futexes", "prctls", "who", "children", "threads",
    "masks", "sleeps", "busy", "odd", "names", "vectors", "rulers",
)
PROGRAMS = (
    ("true",), ("echo", "hello"), ("cat", "/etc/hostname"), ("ls", "-l", "/etc/apt"), ("sh", "-c", "echo a | cat; exit 3"),
    ("sh", "-c", "trap 'echo got' USR1; kill -USR1 $$; sleep 0.01"), ("find", "/etc/apt"), ("sed", "-n", "1p", "/etc/passwd"),
    ("awk", "BEGIN { print 1 }"), ("head", "-c", "5", "/dev/zero"), ("wc", "-l", "/etc/passwd"), ("cp", "/etc/hostname", "copied"),
    ("mkdir", "-p", "a/b/c"), ("touch", "touched"), ("stat", "/etc/hostname"), ("date", "-u", "+%Y"), ("id", "-u"),
    ("env", "-i", "true"), ("sort", "/etc/group"), ("grep", "-c", "root", "/etc/passwd"), ("tar", "cf", "t.tar", "/etc/hostname"),
    ("dd", "if=/dev/zero", "of=d", "count=1"),
)
# What the two kernels do differently: such a line may be there in one trace only.
OTHERWISE = re.compile(r"""
    rseq\( | inotify_ | process_madvise | shmget | shmat | mlock\( | mincore\( | capget | capset
    | userfaultfd | io_uring | statfs\( | socket.*AF_NETLINK | GET_SECUREBITS | sethostname
    | getpgrp | getpgid | getsid | setsid
    | pidfd_open\(1 | ioprio | bpf\( | kcmp | syscall_0x | getdents64\(.*N.\*/ | 0x12345678
    | brk\(0x | nscd | locale | gconv
    | statx\(AT_FDCWD,.\"(note|/etc/hostname)\" | /proc/ | /sys/ | nodev | selinux | sched_getaffinity | RLIMIT_NOFILE
    | ioctl\(99 | FICLONE | SA_RESETHAND | getsockname | lseek\(.*4294967295 | restart_syscall | rt_sigreturn
    | =.\?(?!.ERESTART_RESTARTBLOCK)   # a sleep's end is the same
    | ^clock_gettime | ^(access|faccessat2?)\(.*_OK\).= | ^(read|write)\(\d,.(0x10|\"\"),.5\)
    | FUTEX_WAIT,.P,.NULL              # a thread may have ended before it is waited for
    | ^read\(3,.\"([0-9a-f]{12}-|\",.\d+\)) | bytes.copied | File:./etc
""", re.VERBOSE)


# Calls of which only that matters what was asked for: what is refused, and how, is the kernel's.
ASKED = re.compile(r"^((?:membarrier|mount|ptrace|reboot|seccomp|setpriority|settimeofday|syslog|umount2|unshare)\(.*\)) += .*")


def strace(words: Sequence[str], folder: Path, *options: str) -> list[str]:
    """strace's lines."""
    folder.mkdir()
    command = ["strace", "-f", *options, "-o", str(folder / ".trace"), *words]
    subprocess.run(command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=90, check=False)
    return (folder / ".trace").read_text(errors="replace").splitlines()


def ring3(command: str, words: Sequence[str], folder: Path, *options: str) -> list[str]:
    """ring3's."""
    folder.mkdir()
    done = subprocess.run([command, "trace", *options, "-o", folder / ".trace", "--", *words], cwd=folder, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=90, check=False)
    assert b"dropped" not in done.stderr, done.stderr
    return (folder / ".trace").read_text(errors="replace").splitlines()


def whole(lines: Iterable[str]) -> list[str]:
    """The lines of one trace: without process ids, calls that were left unfinished put together again."""
    open_calls: dict[str, str] = {}
    found = []
    for line in lines:
        head = re.match(r"(?:\[pid +(\d+)\] |(\d+) +)?(.*)", line)
        assert head is not None
        pid, text = head[1] or head[2] or "", head[3]
        if text.endswith("<unfinished ...>"):
            open_calls[pid] = text.removesuffix("<unfinished ...>").rstrip()
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", text)
        if resumed is not None:
            begun, rest = open_calls.pop(pid, ""), resumed[1].lstrip()
            text = begun + (" " if begun.endswith(",") and not rest.startswith(")") else "") + rest
        found.append(text)
    return found


def same(line: str) -> str:
    """Without what may differ."""
    line = re.sub(r"0x[0-9a-f]{5,}", "0xADDR", line)
    line = re.sub(r"\b(si_pid|pid|l_pid)=\d+", r"\1=P", line)
    line = re.sub(r"\b(kill|tkill|rt_sigqueueinfo|wait4)\(\d{1,7}\b", r"\1(P", line)
    line = re.sub(r"\btgkill\(\d+, \d+", "tgkill(P, P", line)
    line = re.sub(r"P_PID, \d+", "P_PID, P", line)
    line = re.sub(r"parent_tid=\[\d+\]", "parent_tid=[P]", line)
    line = re.sub(r"(FUTEX_WAIT, )\d{2,}|(FUTEX_WAIT, )[3-9]\b", "FUTEX_WAIT, P", line)
    line = ASKED.sub(r"\1 = N", line)
    line = re.sub(r"=\d+ /\* (0\.0\d|(\d+\.\d\d)) s \*/", lambda found: "=USED" if found[2] else "=0", line)
    line = re.sub(r"\b(tv_u?n?sec|ru_utime|tms_\w+|si_[us]time|uptime|loads|\w+ram|procs)=(\[[^]]*\]|\d+)", r"\1=T", line)
    line = re.sub(r"/\* \d{4}-\d\d-\d\dT[^*]*\*/|\(\d{4}-\d\d-\d\dT[^)]*\)", "DATE", line)
    line = re.sub(r'getrandom\("(\\x..)+"', 'getrandom("R"', line)
    line = re.sub(r'nodename="[^"]*"', 'nodename="N"', line)
    line = re.sub(r"/\* \d+ vars \*/|/\* \d+ entries \*/", "/* N */", line)
    line = re.sub(r"^((?:epoll|event|timer|inotify|signal|send|recv)\w*|getdents64|getsockopt)\(\d+", r"\1(F", line)
    line = re.sub(r"(cmsg_data|= |socketpair\([^[]*)\[[\d, ]*\]", r"\1[F]", line)
    line = re.sub(r"^execve\(\"[^\"]*\", \[\"/.*?\"", 'execve("X", ["X"', line)
    line = re.sub(r'"/[^"]*/(theirs|ours)"', '"CWD"', line)
    line = re.sub(r"\) += \d+(?=$| [(<]| DATE)", ") = N", line)
    return re.sub(r" += ", " = ", line)


def differences(theirs: Iterable[str], ours: Iterable[str]) -> list[str]:
    """Lines of one that the other does not have, whatever the order."""
    left, right = ({same(line) for line in whole(lines) if not OTHERWISE.search(same(line))} for lines in (theirs, ours))
    return [f"strace {line}" for line in sorted(left - right)] + [f"ring3  {line}" for line in sorted(right - left)]


@pytest.fixture(scope="module")
def calls() -> str:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    try:
        return str(build(SOURCE, "x64"))
    except CannotBuild as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_calls(subject: str, calls: str, ring3_command: str, tmp_path: Path) -> None:
    theirs, ours = strace([calls, subject], tmp_path / "theirs"), ring3(ring3_command, [calls, subject], tmp_path / "ours")
    assert len(ours) > 4
    assert differences(theirs, ours) == []


@pytest.mark.parametrize("words", PROGRAMS, ids=" ".join)
def test_programs(words: tuple[str, ...], ring3_command: str, tmp_path: Path) -> None:
    if shutil.which("strace") is None or shutil.which(words[0]) is None:
        pytest.skip("not installed")
    theirs, ours = strace(words, tmp_path / "theirs"), ring3(ring3_command, words, tmp_path / "ours")
    assert len(ours) > 4
    assert differences(theirs, ours) == []


@pytest.mark.parametrize("injection", [
    "fcntl:error=EPERM", "fcntl:error=28:when=2", "fcntl:retval=7:when=2+2", "fcntl:retval=0x10:when=3..5",
    "fcntl:error=EIO:when=1..9+2", "fcntl:error=EIO:when=4+", "fcntl:signal=CHLD:when=1", "/^fcn:error=EIO:when=1",
    "%desc:error=EIO:when=6", "!fcntl:error=EAGAIN:when=900", "fcntl,flock:error=ENOSYS:signal=WINCH:when=3..4",
    "fcntl:retval=-1:when=1", "fcntl:delay_exit=100:when=1..3", "fcntl:delay_enter=100:retval=4:when=2",
    "fcntl:delay_enter=1:delay_exit=1:error=EIO:when=3", "fcntl:poke_enter=@arg3=0000:when=7", "fcntl:poke_exit=@arg3=0200:when=8",
    "fcntl:poke_enter=@arg3=0000:poke_exit=@arg3=0100:retval=3:when=7+", "fcntl:poke_exit=@arg3=0000,@arg2=00:error=EIO:when=7",
    "fcntl:poke_exit=@arg3=01:delay_exit=1:when=7..9", "open:poke_enter=@arg1=6E6f746600:when=1",
    "fcntl:syscall=getpid:retval=9:when=1",
])
def test_injections(injection: str, calls: str, ring3_command: str, tmp_path: Path) -> None:
    options = ("-e", "trace=fcntl,flock,open", "-e", f"inject={injection}")
    theirs = strace([calls, "descriptors"], tmp_path / "theirs", *options)
    ours = ring3(ring3_command, [calls, "descriptors"], tmp_path / "ours", *options)
    assert any(re.search("INJECTED|DELAYED|SIGCHLD", line) for line in ours) != injection.startswith("!")
    assert differences(theirs, ours) == []


@pytest.mark.parametrize("injection", [
    "mkdir:error=ENOSPC:when=1", "mkdir:retval=3:when=1", "mkdir:delay_exit=10:when=1", "mkdir:error=ENOSPC:signal=USR1:when=2",
    "mkdir:error=EIO:delay_enter=10:delay_exit=10:when=1", "getppid:signal=USR1:delay_exit=20000:retval=9",
    "getppid:signal=USR1:delay_exit=20000", "getsid:delay_enter=100000:retval=9", "getsid:delay_exit=100000:retval=9",
    "getsid:delay_enter=100000:error=EIO", "mkdir:signal=USR1:when=2", "mkdir:signal=KILL:when=2", "mkdir:signal=WINCH",
    "getsid:signal=SEGV:retval=5",
])
def test_injections_where_it_is_hard(injection: str, calls: str, ring3_command: str, tmp_path: Path) -> None:
    """Arguments that cannot be read, signals while a call is held up: made once, and ended as it was meant."""
    options = ("-e", "trace=mkdir,getppid,getsid", "-e", f"inject={injection}")
    theirs = strace([calls, "tampered"], tmp_path / "theirs", *options)
    ours = ring3(ring3_command, [calls, "tampered"], tmp_path / "ours", *options)
    assert any(re.search("INJECTED|DELAYED|SI_KERNEL|killed", line) for line in ours)
    same_lines = [[same(line) for line in whole(lines) if not line.startswith("execve")] for lines in (theirs, ours)]
    assert same_lines[0] == same_lines[1]
