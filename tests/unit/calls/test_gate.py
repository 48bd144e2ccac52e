"""The gate: what a confined process may call, by the call and by its arguments, in each mode."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import ring3
from ring3.abi.x86 import Arch
from ring3.arguments import parse_policy
from ring3.calls.gate import gate
from ring3.calls.syscall import Bound
from ring3.personality.linux import linux_personality
from ring3.policy import promises
from ring3.policy.confinement import Confinement, Decision
from ring3.proc.proc import Proc
from ring3.proc.system import System

pytestmark = pytest.mark.timeout(200)


# --- the table
def rows(text: str, mode: str = "kill") -> dict[str, tuple[Bound, Bound]]:
    """Name -> (the row as it is, the row behind the gate)."""
    personality = linux_personality()
    own = personality.abis[Arch.X86_64]
    gated = gate(personality, Confinement(gate, promises.parse(text), mode=mode))[Arch.X86_64]
    own.sysent.bind_all()  # type: ignore[attr-defined]
    return {row.name: (row, gated.sysent[number]) for number, row in own.sysent.items()}


def test_an_allowed_call_is_the_very_row() -> None:
    table = rows("stdio rpath")
    same = {name for name, (own, behind) in table.items() if own is behind}
    assert {"read", "getppid", "openat", "stat", "mmap", "exit_group", "rt_sigreturn"} <= same
    assert not {"fork", "execve", "unlink", "socket", "setuid", "mount", "reboot", "process_vm_readv"} & same


def test_no_promise_allows_what_only_the_unpledged_may() -> None:
    table = rows(" ".join(promises.BITS))
    refused = {name for name, (own, behind) in table.items() if own is not behind}
    assert {"mount", "umount2", "chroot", "reboot", "sethostname", "init_module", "swapon"} <= refused
    assert all("root" in table[name][0].call.promises for name in refused)


def test_every_call_says_words_that_are_promises() -> None:
    for name, (own, _) in rows("stdio").items():
        assert own.call.promises <= {*promises.BITS, "root"}, name


def test_a_missing_number_stays_missing() -> None:
    personality = linux_personality()
    gated = gate(personality, Confinement(gate, 1))[Arch.X86_64]
    with pytest.raises(KeyError):
        gated.sysent[9999]


def test_a_process_without_promises_has_its_own_abis() -> None:
    personality = linux_personality()
    assert Confinement(gate, None).abis(personality) is personality.abis
    pledged = Confinement(gate, 1)
    assert pledged.abis(personality) is pledged.abis(personality) is not personality.abis


def test_exec_never_adds_a_promise() -> None:
    confined = Confinement(gate, promises.parse("stdio exec"), on_exec=promises.parse("stdio inet"))
    after = confined.after_exec()
    assert promises.show(after.promises or 0) == "stdio"
    assert after.after_exec() is after
    assert Confinement(gate, 3).after_exec().promises == 3
    narrowing = Confinement(gate, None, on_exec=1)
    assert narrowing.after_exec().promises == 1


# --- whole programs
@pytest.fixture
def kernel() -> Iterator[ring3.Kernel]:
    with ring3.Kernel() as made:
        yield made


def told(kernel: ring3.Kernel) -> list[Decision]:
    """What policies decide from now on."""
    decisions: list[Decision] = []

    def listen(system: System) -> None:
        def note(_p: Proc, decision: Decision) -> None:
            decisions.append(decision)

        system.on_decision = note

    kernel.call(listen)
    return decisions


def sh(kernel: ring3.Kernel, script: str, pledge: str, mode: str = "eperm", **more: Any) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = kernel.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, timeout=90, pledge=pledge, pledge_mode=mode, **more
    )
    return done


SHELL = "stdio rpath"


@pytest.mark.needs_ptrace
@pytest.mark.parametrize(
    ("script", "missing"),
    [
        (": > /tmp/new", "wpath"),
        (": >> /etc/hostname", "wpath"),
        ("rm /etc/hostname; false", "proc"),
        ("exec rm /etc/hostname", "exec"),
        ("kill -0 1", "proc"),
        ("cd /tmp && exec mv a b", "exec"),
    ],
)
def test_a_missing_promise_is_named(kernel: ring3.Kernel, script: str, missing: str) -> None:
    decisions = told(kernel)
    done = sh(kernel, script, SHELL)
    assert done.returncode != 0
    assert decisions[0].missing.startswith(missing)
    assert decisions[0].verdict == "refused"


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("script", ["echo x", "read line < /etc/hostname", "kill -0 $$", "umask", "test -d /usr", "trap : INT"])
def test_what_was_promised_goes_on(kernel: ring3.Kernel, script: str) -> None:
    decisions = told(kernel)
    assert sh(kernel, script, SHELL).returncode == 0
    assert not decisions


@pytest.mark.needs_ptrace
def test_a_broken_promise_kills(kernel: ring3.Kernel) -> None:
    done = sh(kernel, "trap 'echo caught' ABRT; : > /tmp/x; echo not reached", SHELL, "kill")
    assert (done.returncode, done.stdout) == (-6, "")


@pytest.mark.needs_ptrace
def test_reporting_lets_it_pass(kernel: ring3.Kernel) -> None:
    decisions = told(kernel)
    done = sh(kernel, "echo x > $HOME/x; cat $HOME/x", SHELL, "report")
    assert (done.returncode, done.stdout) == (0, "x\n")
    assert {"wpath", "cpath", "proc or thread", "exec"} <= {decision.missing for decision in decisions} | {"proc or thread"}
    assert {decision.verdict for decision in decisions} == {"reported"}


@pytest.mark.needs_ptrace
def test_children_inherit_and_exec_narrows(kernel: ring3.Kernel) -> None:
    done = sh(kernel, "cat /etc/hostname; (: > /tmp/x); true", "stdio rpath proc exec")
    assert done.returncode == 0
    assert "not permitted" in done.stderr
    narrowed = sh(kernel, "cat /etc/hostname", "stdio rpath proc exec", exec_pledge="stdio")
    assert "not permitted" in narrowed.stderr


@pytest.mark.needs_ptrace
def test_the_refused_call_is_shown_as_it_was_made(kernel: ring3.Kernel) -> None:
    decisions = told(kernel)
    sh(kernel, ": > /tmp/new", SHELL)
    assert decisions[0].call == 'openat(AT_FDCWD, "/tmp/new", O_WRONLY|O_CREAT|O_TRUNC, 0666)'
    assert decisions[0].allow == '--pledge "stdio rpath wpath"'


C = r"""
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <termios.h>
#include <unistd.h>
#include <signal.h>
static void *thread(void *p) { return p; }
static const char *said(int failed) { return failed ? strerror(errno) : "ok"; }
int main(void) {
    pthread_t t; struct rlimit r; struct termios tio;
    void *p = mmap(0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);
    printf("mprotect %s\n", said(mprotect(p, 4096, PROT_READ|PROT_EXEC)));
    printf("mmap %s\n", said(syscall(SYS_mmap, 0, 4096, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) == -1));
    int self = open("/proc/self/exe", O_RDONLY);
    printf("mmap of a file %s\n", said(mmap(0, 4096, PROT_READ|PROT_EXEC, MAP_PRIVATE, self, 0) == MAP_FAILED));
    printf("personality %s\n", said(personality(READ_IMPLIES_EXEC) == -1));
    printf("unix %s\n", said(socket(AF_UNIX, SOCK_STREAM, 0) < 0));
    printf("inet %s\n", said(socket(AF_INET, SOCK_STREAM, 0) < 0));
    errno = pthread_create(&t, 0, thread, 0);
    printf("thread %s\n", said(errno));
    getrlimit(RLIMIT_NOFILE, &r);
    printf("setrlimit %s\n", said(setrlimit(RLIMIT_NOFILE, &r)));
    printf("kill self %s\n", said(kill(getpid(), 0)));
    printf("kill another %s\n", said(kill(1, 0)));
    printf("kill all %s\n", said(kill(-1, 0)));
    int fds[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
    char room[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET; c->cmsg_type = SCM_RIGHTS; c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &self, sizeof self);
    printf("sendfd %s\n", said(sendmsg(fds[0], &m, 0) < 0));
    printf("recvfd %s\n", said(recvmsg(fds[1], &m, MSG_DONTWAIT) < 0));
    int pty = open("/dev/ptmx", O_RDWR);
    printf("tty %s\n", said(tcgetattr(pty, &tio) || tcsetattr(pty, TCSANOW, &tio)));
    printf("truncating %s\n", said(open("/etc/hostname", O_RDONLY|O_TRUNC) < 0));
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("gate")
    (directory / "gate.c").write_text(C)
    target = directory / "gate"
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-static", "-D_GNU_SOURCE"]
    subprocess.run([*compiler, "-o", target, directory / "gate.c"], check=True)
    return str(target)


NEEDS = {
    "mprotect": "prot_exec", "mmap": "prot_exec", "personality": "prot_exec", "unix": "unix", "inet": "inet", "thread": "thread",
    "setrlimit": "proc", "kill another": "proc", "kill all": "proc", "sendfd": "sendfd", "recvfd": "recvfd", "tty": "tty",
    "truncating": "wpath",
}


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("left_out", sorted(set(NEEDS.values())))
def test_what_arguments_need(kernel: ring3.Kernel, program: str, left_out: str) -> None:
    base = {"stdio", "rpath", "wpath", *NEEDS.values()}
    held = " ".join(sorted(base - {left_out}))
    done = kernel.run([program], capture_output=True, text=True, timeout=90, pledge=held, pledge_mode="eperm", user=0, group=0)
    lines = done.stdout.splitlines()
    refused = {line.rpartition(" Operation not permitted")[0] for line in lines if line.endswith("not permitted")}
    refused |= {"thread"} if "thread Resource temporarily unavailable" in done.stdout else set()      # what musl makes of EPERM
    expected = {what for what, word in NEEDS.items() if word == left_out}
    if left_out == "wpath":
        expected.add("tty")             # /dev/ptmx cannot be opened for writing then: no terminal to ask
        refused |= {"tty"} if "tty Bad file descriptor" in done.stdout else set()
    if left_out == "sendfd":
        refused.discard("recvfd")       # nothing came
    assert refused == expected, done.stdout


@pytest.mark.needs_ptrace
def test_nothing_is_refused_under_all_promises(kernel: ring3.Kernel, program: str) -> None:
    held = " ".join(promises.BITS)
    done = kernel.run([program], capture_output=True, text=True, timeout=90, pledge=held, pledge_mode="eperm", user=0, group=0)
    assert "not permitted" not in done.stdout
    assert "mmap of a file ok" in done.stdout


def test_words_make_a_policy() -> None:
    policy = parse_policy("stdio", None, "eperm", ["/a b:rx"])
    assert (policy.promises, policy.on_exec, policy.mode, policy.unveils) == (1, None, "eperm", ((b"/a b", 5),))
    for bad in (("nonsense", None, "kill", None), ("stdio", None, "mercy", None), (None, None, "kill", ["/usr"])):
        with pytest.raises(ValueError, match=r"nonsense|mercy|/usr"):
            parse_policy(*bad)


def test_a_call_that_names_another_one_is_no_way_round() -> None:
    """NetBSD's syscall(2): the call that is really made is the one that is asked about."""
    from ring3.personality import Personalities
    from ring3.personality.netbsd.tables import NUMBER_MASK

    personality = Personalities()["netbsd"]
    own = personality.abis[Arch.X86_64].sysent
    gated = gate(personality, Confinement(gate, promises.parse("stdio")))[Arch.X86_64].sysent
    assert gated[0]._table is gated
    assert gated[198]._table is gated
    assert own[0]._table is own
    for number in range(NUMBER_MASK + 1, 5 * (NUMBER_MASK + 1), NUMBER_MASK + 1):
        assert gated[number + 20].name == own[20].name        # getpid, by a number whose low bits are its own
    assert all(number <= NUMBER_MASK for number in gated)


# Calls that any of several promises allows: what their arguments need beyond that, they ask for themselves.  A new one is entered
# here by whoever has looked at that; every other call says one promise, and needs that.
ASKING = frozenset((
    "open", "openat", "openat2", "creat", "access", "faccessat", "faccessat2", "socket", "bind", "connect", "listen", "accept",
    "accept4", "paccept", "__socket30", "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "prctl", "ioctl",
    "clone", "clone3", "sendmsg", "sendmmsg", "recvmsg", "recvmmsg", "fstatfs", "fstatvfs1",
    "__fstatvfs190", "compat_30_socket",
))


@pytest.mark.parametrize("system", ["linux", "netbsd"])
def test_every_call_that_several_promises_allow_was_looked_at(system: str) -> None:
    from ring3.personality import Personalities

    abi = Personalities()[system].abis[Arch.X86_64]
    abi.sysent.bind_all()  # type: ignore[attr-defined]
    several = {row.name for row in abi.sysent.values() if len(row.call.promises) > 1}
    assert several <= ASKING, several - ASKING
    unknown = {row.name: row.call.promises for row in abi.sysent.values() if not row.call.promises <= {*promises.BITS, "root"}}
    assert not unknown
