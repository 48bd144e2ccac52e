"""check_exec by NetBSD's rules: which questions, in which order, with which errors (kern_exec.c)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ring3.abi.flags import S_ISUID, MountFlags
from ring3.abi.x86 import Arch
from ring3.errors import EFTYPE, EINVAL, EIO, ENOEXEC, EPERM, Errno
from ring3.exec.check import check_exec
from ring3.exec.package import ExecPackage
from ring3.exec.plan import ExecPlan, ImageFile
from ring3.exec.switch import Priority
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.memory import MemoryFS
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.overlaynode import OverlayVnode
from ring3.vfs.vnode import Vnode
from tests.rows import row
from tests.unit.exec.images import DATA, program
from tests.unit.exec.images import load as segment
from tests.unit.exec.netbsd import NetbsdBench, Stub, branded, put


@pytest.fixture
def bench() -> Iterator[NetbsdBench]:
    made = NetbsdBench()
    yield made
    made.close()


# --- the file
@row("netbsd", "check_exec, namei", "what looking the name up refuses is the answer, whatever the arguments are")
def test_the_look_up_comes_first(bench: NetbsdBench, tmp_path: Path) -> None:
    put(tmp_path / "f", b"")
    request = bench.request(tmp_path.as_posix() + "/none")._replace(argv=0)
    assert bench.refuse(request) == "ENOENT"
    assert bench.refuse(bench.request(tmp_path.as_posix() + "/f/x")) == "ENOTDIR"


@row("netbsd", "check_exec", "a file that is not regular is refused with EACCES")
@pytest.mark.parametrize("path", ["/", "/dev", "/dev/null"])
def test_not_regular(bench: NetbsdBench, path: str) -> None:
    bench.user()
    assert bench.refuse(bench.request(path)) == "EACCES"


@row("netbsd", "check_exec, VOP_ACCESS", "a file the caller may not execute is EACCES; root needs one x bit")
@pytest.mark.parametrize(("mode", "root", "other"), [
    (0o744, "ExecPlan", "EACCES"), (0o644, "EACCES", "EACCES"), (0o711, "ExecPlan", "ExecPlan"),
])
def test_access(bench: NetbsdBench, mode: int, root: str, other: str) -> None:
    path = mounted(bench, MountFlags.NONE, branded(), mode)
    assert bench.refuse(bench.request(path)) == root
    bench.user()
    assert bench.refuse(bench.request(path)) == other


@row("netbsd", "check_exec, VOP_GETATTR", "attributes that cannot be had refuse the exec with their error")
def test_attributes(bench: NetbsdBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "p", branded())
    dentry = namei(NameiContext(bench.system.mounts.root, bench.system.mounts.root, bench.t.proc.cred), path)

    def broken(vnode: OverlayVnode) -> object:
        if vnode is dentry.vnode:
            raise EIO
        return real(vnode)

    real = OverlayVnode.getattr
    monkeypatch.setattr(OverlayVnode, "getattr", broken)
    assert bench.refuse(bench.request(path)) == "EIO"


def mounted(bench: NetbsdBench, flags: MountFlags, data: bytes, mode: int = 0o755, uid: int = 0) -> bytes:
    fs = MemoryFS()
    vnode = fs.root().create(b"p", 0o100000 | mode, uid, uid)
    vnode.write(0, data)
    root = bench.system.mounts.root
    bench.system.mounts.mount(fs, namei(NameiContext(root, root, bench.t.proc.cred), b"/tmp"), flags)
    return b"/tmp/p"


@row("netbsd", "check_exec, MNT_NOEXEC", "a file on a mount without exec is refused with EACCES")
def test_noexec(bench: NetbsdBench) -> None:
    assert bench.refuse(bench.request(mounted(bench, MountFlags.NOEXEC, branded()))) == "EACCES"


@row("netbsd", "check_exec, MNT_NOSUID", "on a mount without suid the set-id bits do not count, and the program runs")
def test_nosuid(bench: NetbsdBench) -> None:
    path = mounted(bench, MountFlags.NOSUID, branded(), 0o4755, 5)
    bench.user()
    plan = bench.check(path)
    assert plan.cred.euid == 1000
    assert not plan.setid
    assert not plan.exe.attr.mode & S_ISUID


@row("netbsd", "check_exec, MNT_NOSUID", "without that flag they do")
def test_suid(bench: NetbsdBench) -> None:
    path = mounted(bench, MountFlags.NONE, branded(), 0o4755, 5)
    bench.user()
    plan = bench.check(path)
    assert (plan.cred.euid, plan.cred.suid, plan.cred.ruid) == (5, 5, 1000)
    assert plan.setid


@row("netbsd", "check_exec, VOP_OPEN", "a file that cannot be opened is refused with that error")
@row("netbsd", "check_exec, vn_rdwr", "an error while the header is read is the answer")
def test_reading_fails(bench: NetbsdBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "p", branded())

    def broken(_vnode: Vnode, _offset: int, _nbytes: int) -> bytes:
        raise EIO

    monkeypatch.setattr(OverlayVnode, "read", broken)
    assert bench.refuse(bench.request(path)) == "EIO"


@row("netbsd", "check_exec, ep_hdrvalid", "a file shorter than the header buffer is judged by the bytes it has")
def test_short_headers(bench: NetbsdBench, tmp_path: Path) -> None:
    whole = put(tmp_path / "p", branded())
    script = put(tmp_path / "s", b"#!%s\n" % whole)
    assert bench.refuse(bench.request(script)) == "ExecPlan"
    for size in (0, 1, 2, 16, 63):
        cut = put(tmp_path / f"c{size}", branded()[:size])
        assert bench.refuse(bench.request(cut)) == "ENOEXEC"


# --- policies
@row("netbsd", "check_exec, check_veriexec",
     "a policy is asked about the program as run directly, about a script's interpreter as indirectly")
@row("netbsd", "check_exec, check_veriexec", "it is asked once the file may be run, and before its header is read")
def test_policies(bench: NetbsdBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    loader = put(tmp_path / "ld", branded(base=0, type=3))
    from tests.unit.exec.netbsd import dynamic

    prog = put(tmp_path / "p", dynamic(loader))
    script = put(tmp_path / "s", b"#!%s\n" % prog)
    real = ExecPackage.read_header

    def policy(_t: Thread, package: ExecPackage, file: ImageFile) -> None:
        told.append((package.step, file.path))

    def read_header(package: ExecPackage) -> None:
        told.append("header")
        real(package)

    monkeypatch.setattr(ExecPackage, "read_header", read_header)
    bench.system.execsw.policies = (policy,)
    bench.check(script)
    assert told == [("lookup", script), "header", ("script", prog), "header", ("interpreter", loader)]
    told.clear()
    noexec = put(tmp_path / "n", branded(), 0o644)
    assert bench.refuse(bench.request(noexec)) == "EACCES"
    assert told == []


@row("netbsd", "check_exec, check_veriexec", "what it refuses with is the answer")
def test_a_policy_refuses(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p", b"whatever")

    def policy(_t: Thread, _package: ExecPackage, _file: ImageFile) -> None:
        raise EPERM("no fingerprint")

    bench.system.execsw.policies = (policy,)
    assert bench.refuse(bench.request(path)) == "EPERM"


# --- the formats
def answers(bench: NetbsdBench, *formats: Stub) -> None:
    for made in formats:
        bench.system.execsw.add(made, made.priority)


@row("netbsd", "check_exec", "the first error other than ENOEXEC is the answer, whatever formats say after it")
def test_first_interesting_error(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p", b"junk")
    third, second, first = Stub("c", EINVAL("c")), Stub("b", EFTYPE("b")), Stub("a", ENOEXEC("a"))
    answers(bench, first, second, third)            # asked in this order
    assert bench.refuse(bench.request(path)) == "EFTYPE"
    assert (first.asked, second.asked, third.asked) == (1, 1, 1)


@row("netbsd", "check_exec", "a format that takes the file makes good what an earlier one refused")
def test_a_later_success(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p", branded())
    answers(bench, Stub("odd", EFTYPE("no")))
    assert bench.check(path).format == "elf64-netbsd"


@row("netbsd", "check_exec", "nobody asked after the one that took it")
def test_nobody_is_asked_after(bench: NetbsdBench, tmp_path: Path) -> None:
    last = Stub("last", EFTYPE("no"), Priority.LAST)
    answers(bench, last)
    bench.check(put(tmp_path / "p", branded()))
    assert last.asked == 0


@row("netbsd", "check_exec, EXEC_DESTR", "an error behind something destructive ends the search at once")
def test_destructive_errors(bench: NetbsdBench, tmp_path: Path) -> None:
    last = Stub("last", EFTYPE("no"), Priority.LAST)
    answers(bench, last)
    script = put(tmp_path / "s", b"#!/no/such\n")
    assert bench.refuse(bench.request(script)) == "ENOENT"
    assert last.asked == 0
    junk = put(tmp_path / "j", b"junk")
    assert bench.refuse(bench.request(put(tmp_path / "t", b"#!%s\n" % junk))) == "EFTYPE"
    assert last.asked == 1                          # by the inner check alone


@row("netbsd", "check_exec, EXEC_HASES", "a script keeps the format that its interpreter's check found")
def test_a_scripts_format(bench: NetbsdBench, tmp_path: Path) -> None:
    prog = put(tmp_path / "p", branded())
    plan = bench.check(put(tmp_path / "s", b"#!%s\n" % prog))
    assert plan.format == "elf64-netbsd"
    assert plan.exe.path == prog


@row("netbsd", "check_exec, ep_vm_maxaddr",
     "a format may change the limits of the address space, and the entry point is held to them")
def test_address_limits(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p", b"own")

    def narrow(package: ExecPackage) -> bool:
        image = package.begin_image(Arch.X86_64, "netbsd", exec_stack=None)
        image.model.user_top = 0x500000
        image.start = image.entry = entry
        return False

    answers(bench, Stub("narrow", narrow))
    entry = 0x4FFFFF
    assert bench.refuse(bench.request(path)) == "ExecPlan"
    entry = 0x500000
    assert bench.refuse(bench.request(path)) == "ENOEXEC"
    entry = 0
    assert bench.refuse(bench.request(path)) == "ENOEXEC"


@row("netbsd", "check_exec, ep_entry", "an entry point outside user memory is ENOEXEC")
def test_entry(bench: NetbsdBench, tmp_path: Path) -> None:
    for entry in (0x7F7F_FFFF_F000, 1 << 63, 0):
        assert bench.refuse(bench.request(put(tmp_path / "p", branded(entry=entry)))) == "ENOEXEC"


@row("netbsd", "check_exec, MAXTSIZ", "more text than a program may have is ENOMEM")
def test_text_limit(bench: NetbsdBench, tmp_path: Path) -> None:
    big = segment(0x10000000, memsz=(8 << 30) + 4096)
    assert bench.refuse(bench.request(put(tmp_path / "p", branded(big)))) == "ENOMEM"
    fits = segment(0x10000000, memsz=8 << 30)
    assert bench.refuse(bench.request(put(tmp_path / "p", branded(fits)))) == "ExecPlan"


@row("netbsd", "check_exec, RLIMIT_DATA", "more data than RLIMIT_DATA is ENOMEM; as much is not")
def test_data_limit(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p", branded(segment(0x600000, filesz=0x100, memsz=0x5000, flags=DATA)))
    bench.t.proc.rlimits[Rlimit.DATA] = (0x5000, 0x5000)
    assert bench.refuse(bench.request(path)) == "ExecPlan"
    bench.t.proc.rlimits[Rlimit.DATA] = (0x4FFF, 0x5000)
    assert bench.refuse(bench.request(path)) == "ENOMEM"


@row("netbsd", "check_exec", "ENOMEM of the limits overrides ENOEXEC of the entry point")
def test_limits_override(bench: NetbsdBench, tmp_path: Path) -> None:
    bench.t.proc.rlimits[Rlimit.DATA] = (0, 0)
    path = put(tmp_path / "p", branded(segment(0x600000, flags=DATA), entry=0))
    assert bench.refuse(bench.request(path)) == "ENOMEM"


@row("netbsd", "check_exec", "a refusal leaves no trace: the same exec gives the same answer, and the caller is as it was")
def test_nothing_is_kept(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "s", b"#!%s -x\n" % put(tmp_path / "p", branded()))
    assert bench.check(path) == bench.check(path)
    assert not bench.t.proc.fds.files


def test_a_linux_program_of_a_netbsd_process(bench: NetbsdBench, tmp_path: Path) -> None:
    plan = bench.check(put(tmp_path / "l", program()))
    assert plan.personality.name == "linux"
    assert plan.format == "elf64"
    bench.start(tmp_path.as_posix() + "/l", [b"x" * 200000])
    assert bench.t.proc.personality.name == "linux"


def test_a_netbsd_program_of_a_linux_process(bench: NetbsdBench, tmp_path: Path) -> None:
    bench.t = bench.process(personality="linux")
    assert bench.verdict(bench.request(put(tmp_path / "m", branded(segment(1 << 60))))) == "signal 11"
    bench.start(put(tmp_path / "n", branded()), [b"a", b"b"])
    assert bench.t.proc.personality.name == "netbsd"


@pytest.mark.parametrize("name", ["p", "d", "s", "l"])
def test_every_step_may_fail(bench: NetbsdBench, tmp_path: Path, name: str) -> None:
    """A refusal at every step is a refusal or a death, and never anything else."""
    from ring3.exec.rules import MORE_STEPS, STEPS
    from tests.unit.exec.netbsd import dynamic

    put(tmp_path / "p", branded())
    put(tmp_path / "d", dynamic(put(tmp_path / "i", branded(base=0, type=3))))
    put(tmp_path / "s", b"#!%s\n" % bytes(tmp_path / "d"))
    put(tmp_path / "l", program())
    request = bench.request(bytes(tmp_path / name))
    met: list[str] = []
    assert bench.verdict(request, observe=met.append) == "runs"
    assert set(met) <= {*STEPS, *MORE_STEPS}
    deadly = {"run vmcmds", "copyargs", "ps_strings", "descriptors"}
    for number, step in enumerate(met):
        count = 0

        def fail(_step: str, number: int = number) -> None:
            nonlocal count
            count += 1
            if count == number + 1:
                raise EIO

        assert bench.verdict(request, observe=fail) == ("signal 6" if step in deadly else "EIO"), step
    assert all(space.is_closed for space in bench.machine.spaces)


def test_the_error_a_death_carries(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p", branded(segment(1 << 60)))
    death = check_exec(bench.t, bench.request(path))
    assert not isinstance(death, ExecPlan | None)
    assert death.status == 12 << 8 | 6
    assert death.signal == 6


def test_refusals_have_reasons(bench: NetbsdBench, tmp_path: Path) -> None:
    for data in (branded(entry=0), b"junk", b"#!x", branded(phnum=0)):
        with pytest.raises(Errno) as caught:
            check_exec(bench.t, bench.request(put(tmp_path / "p", data)))
        assert caught.value.reason
