"""Set-id programs: ids, AT_SECURE and dumpable as the host's kernel gives them.

The judge stops the program before its first instruction and reads its ids from /proc; the tracer is root, so being traced changes
nothing there.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

import pytest

from ring3.abi.elf import AT_EGID, AT_EUID, AT_GID, AT_SECURE, AT_UID
from ring3.abi.flags import MountFlags
from ring3.exec.check import check_exec
from ring3.exec.plan import ExecPlan
from ring3.proc.cred import Cred
from ring3.vfs.namei import NameiContext, namei
from tests.unit.exec import native
from tests.unit.exec.bench import Bench
from tests.unit.exec.images import program, stack

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="giving files away needs root")

A, B, C = 1000, 2000, 3000


class Case(NamedTuple):
    """A file of `owner` and `group` with `mode`, run by a process with these ids (real, effective, saved)."""

    mode: int
    owner: int
    group: int
    uids: tuple[int, int, int]
    gids: tuple[int, int, int]
    no_new_privs: bool = False
    script: bool = False


CASES = [
    Case(mode, owner, group, uids, gids, nnp)
    for mode in (0o755, 0o4755, 0o2755, 0o6755, 0o2745, 0o6711, 0o4711)
    for owner, group in ((0, 0), (B, B), (A, A))
    for uids, gids in (
        ((A, A, A), (A, A, A)), ((0, 0, 0), (0, 0, 0)), ((A, B, C), (A, B, C)), ((A, 0, 0), (A, A, A)), ((0, A, 0), (0, 0, 0)),
    )
    for nnp in (False, True)
    if not (mode == 0o2745 and uids[1] and gids[1] == group == 0)      # they may not run it
] + [Case(0o6755, B, B, (A, A, A), (A, A, A), script=True)]


def ours(d: Path, case: Case) -> tuple[object, ...]:
    bench = Bench()
    try:
        cred = Cred(*case.uids, case.uids[1], *case.gids, case.gids[1])
        t = bench.process(cred)
        t.proc.no_new_privs = case.no_new_privs
        root = bench.system.mounts.root
        t.proc.fs.cwd = namei(NameiContext(root, root, Cred()), bytes(d))
        plan = check_exec(t, bench.request(b"./x"))
        assert isinstance(plan, ExecPlan)
        new = plan.cred
        auxv = dict(plan.stack.auxv)
        ids = (new.ruid, new.euid, new.suid, new.fsuid), (new.rgid, new.egid, new.sgid, new.fsgid)
        aux = tuple(auxv[n] for n in (AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE))
        return *ids, aux, plan.dumpable
    finally:
        bench.close()


def theirs(d: Path, case: Case) -> tuple[object, ...]:
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(d)
            native.libc.ptrace(0, 0, None, None)        # while still root: the tracer's powers are noted now
            os.setgroups([])
            if case.no_new_privs:
                native.libc.prctl(38, 1, 0, 0, 0)
            os.setresgid(*case.gids)
            os.setresuid(*case.uids)
            os.execve("./x", ["x"], {})
        finally:
            os._exit(127)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSTOPPED(status), status
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        auxv = dict(struct.iter_unpack("<QQ", Path(f"/proc/{pid}/auxv").read_bytes()))
        uids, gids = (tuple(map(int, fields[name].split())) for name in ("Uid", "Gid"))
        aux = tuple(auxv[n] for n in (AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE))
        shown_owner = Path(f"/proc/{pid}/mem").stat()
        dumpable = int((shown_owner.st_uid, shown_owner.st_gid) == (uids[1], gids[1]))
        return uids, gids, aux, dumpable
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ids(tmp_path: Path, case: Case) -> None:
    for part in (tmp_path, *tmp_path.parents[:3]):
        part.chmod(part.stat().st_mode | 0o755)
    (tmp_path / "i").write_bytes(program(stack(6)))
    (tmp_path / "i").chmod(0o755)
    (tmp_path / "x").write_bytes(b"#!%s\n" % bytes(tmp_path / "i") if case.script else program(stack(6)))
    os.chown(tmp_path / "x", case.owner, case.group)
    (tmp_path / "x").chmod(case.mode)
    mine, other = ours(tmp_path, case), theirs(tmp_path, case)
    if other[0][1] == 0:  # type: ignore[index]
        mine, other = mine[:3], other[:3]               # whether root's is dumpable cannot be seen so
    assert mine == other


def test_nosuid_mount(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(program())
    os.chown(tmp_path / "x", B, B)
    (tmp_path / "x").chmod(0o6755)
    bench.t.proc.cred = Cred(*(A,) * 8)
    for part in (tmp_path, *tmp_path.parents[:3]):
        part.chmod(part.stat().st_mode | 0o755)
    assert bench.check(bytes(tmp_path / "x")).cred.euid == B
    bench.mount.flags |= MountFlags.NOSUID
    plan = bench.check(bytes(tmp_path / "x"))
    assert plan.cred == Cred(*(A,) * 8)
    assert not plan.secure


def test_noexec_mount(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(program())
    (tmp_path / "x").chmod(0o755)
    bench.mount.flags |= MountFlags.NOEXEC
    assert bench.verdict(bench.request(bytes(tmp_path / "x"))) == "EACCES"


def test_traced_by_an_unprivileged_one(bench: Bench, tmp_path: Path) -> None:
    """A tracer keeps its tracee from gaining anything (credentials(7))."""
    (tmp_path / "x").write_bytes(program())
    os.chown(tmp_path / "x", B, B)
    (tmp_path / "x").chmod(0o4755)
    for part in (tmp_path, *tmp_path.parents[:3]):
        part.chmod(part.stat().st_mode | 0o755)
    bench.t.proc.cred = Cred(*(A,) * 8)
    bench.t.trace = object()
    assert bench.check(bytes(tmp_path / "x")).cred == Cred(*(A,) * 8)


def test_a_secure_image_gets_a_sane_stack_limit(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(program())
    os.chown(tmp_path / "x", B, B)
    (tmp_path / "x").chmod(0o4755)
    for part in (tmp_path, *tmp_path.parents[:3]):
        part.chmod(part.stat().st_mode | 0o755)
    bench.t.proc.cred = Cred(*(A,) * 8)
    bench.t.proc.rlimits[3] = (1 << 40, 1 << 41)
    bench.t.proc.personality_flags = 0x0040000 | 0x8000000
    plan = bench.check(bytes(tmp_path / "x"))
    assert plan.stack_rlimit == (8 << 20, 1 << 41)
    assert plan.personality_flags == 0x8000000
