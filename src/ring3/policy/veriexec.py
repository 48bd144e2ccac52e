"""Veriexec: only files that are what they were may be run, opened, changed, as NetBSD's veriexec(8) has it.

A kernel has one `Veriexec` or none.  Entries are about files, not names: each is bound to the file its path led to when the kernel
was made, so that another name, a hard link or a second mount of the same file changes nothing; one whose file was not there yet is
bound when a file of that path is first used.  What the guest would read is what is hashed: a change in an overlay is a change.

Invariant: what was found out about a file holds only while nobody can have written it since: it is forgotten when the file is
opened for writing under any name, not kept while somebody has it open so, and compared with size and times of the file each time.

The rules by level are the table in the reference (kern_verifiedexec.c); what is "reported" is told and let pass.  Not here: the
signatures file (`signatures.py`).  Memory that was never a file (JIT code, a memfd that is mapped) is nobody's entry.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from ring3.abi.flags import FileType
from ring3.errors import EPERM, Errno
from ring3.namedtuple import NamedTuple
from ring3.policy.confinement import Decision, call_of, tell
from ring3.policy.signatures import (
    CHUNK,
    Signature,
    Signatures,
    Usage,
    fingerprint,
    new_hash,
    read_signatures,
    show_usage,
)

if TYPE_CHECKING:
    from ring3.proc.system import System
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.mount import Mount
    from ring3.vfs.vnode import FileSystem, Vnode

MAX_HASHED: Final = 4 << 30             # bytes: what is larger is not hashed, and so does not match
_HOW: Final = {Usage.DIRECT: "run directly", Usage.INDIRECT: "run as an interpreter", Usage.FILE: "opened"}


class Level(enum.IntEnum):
    """kern.veriexec.strict."""

    LEARNING = 0        # tell, and let everything pass
    IDS = 1             # a file that does not match is not used, nor removed
    IPS = 2             # only what is listed is run, as its flags say; what is listed is not changed
    LOCKDOWN = 3        # only what is listed is used at all; no file is made, renamed or removed


class VeriexecOptions(NamedTuple):
    """What `--veriexec` asks for."""

    signatures: Signatures
    level: Level = Level.IDS


def parse_veriexec(text: str) -> VeriexecOptions:
    """Options from "FILE[:learning|ids|ips|lockdown]"; the file is read.  Raises ValueError that says what is wrong, OSError."""
    name, colon, word = text.rpartition(":")
    if not colon or os.path.exists(text):
        return VeriexecOptions(read_signatures(text))
    try:
        level = Level[word.upper()]
    except KeyError:
        if "/" in word:             # the colon is somewhere in a path
            return VeriexecOptions(read_signatures(text))
        raise ValueError(f"level {word!r}: it is one of {', '.join(level.name.lower() for level in Level)}") from None
    return VeriexecOptions(read_signatures(name), level)


class _Entry:
    """One signature and what is known of its file."""

    __slots__ = ("fileid", "fs", "matched", "signature", "stamp", "writers")

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.fileid: tuple[int, int] | None = None
        self.fs: ref[FileSystem] | None = None          # of the file there it was found out ...
        self.stamp: tuple[int, int, int] | None = None  # ... when it was so large and so old, ...
        self.matched = False                            # ... whether it matches
        self.writers: list[ref[Vnode]] = []             # vnodes through which it was opened for writing

    def forget(self) -> None:
        """What was found out does not hold any more (FINGERPRINT_NOTEVAL)."""
        self.fs = None

    def written_by(self, vnode: Vnode) -> None:
        """It is about to be opened for writing."""
        self.forget()
        self.writers = [known for known in self.writers if known() not in (None, vnode)]
        self.writers.append(ref(vnode))

    def is_written(self) -> bool:
        """Whether somebody may write it now."""
        return any(vnode is not None and vnode.writers > 0 for vnode in [known() for known in self.writers])


class Veriexec:
    """The guard of one kernel (`protocols.FileGuard`), and its policy at exec (`run`).

    Raises SignaturesError for an algorithm that this Python lacks.
    """

    __slots__ = ("_by_file", "_by_path", "_system", "level", "name")

    def __init__(self, system: System, options: VeriexecOptions) -> None:
        self._system = system
        self.level = options.level
        self.name = options.signatures.name
        for algorithm in {signature.algorithm for signature in options.signatures.entries}:
            new_hash(algorithm)
        self._by_file: dict[tuple[int, int], _Entry] = {}
        self._by_path: dict[bytes, _Entry] = {}         # those that no file is known of
        self._bind(options.signatures)

    def _bind(self, signatures: Signatures) -> None:
        """Find the file of each entry, in the guest's tree.  Of two entries about one file the first counts."""
        from ring3.proc.cred import Cred
        from ring3.vfs.namei import NameiContext, namei

        root = self._system.mounts.root
        everything = NameiContext(root, root, Cred())
        for signature in signatures.entries:
            entry = _Entry(signature)
            try:
                dentry = namei(everything, signature.path)
                if dentry.vnode.type == FileType.REG:
                    self._take(entry, dentry.vnode)
                    continue
            except Errno:
                pass
            self._by_path[signature.path] = entry

    def _take(self, entry: _Entry, vnode: Vnode) -> _Entry:
        entry.fileid = vnode.fileid
        return self._by_file.setdefault(entry.fileid, entry)

    def find(self, vnode: Vnode, dentry: Dentry | None) -> _Entry | None:
        """The entry about a file; one that waited for a file of that path is about this one from now on."""
        entry = self._by_file.get(vnode.fileid)
        if entry is None and dentry is not None and self._by_path:
            entry = self._by_path.pop(dentry.path(self._system.mounts.root), None)
            if entry is not None:
                entry = self._take(entry, vnode)
        return entry

    def _drop(self, entry: _Entry) -> None:
        if entry.fileid is not None:
            self._by_file.pop(entry.fileid, None)

    # --- what is asked
    def run(self, t: Any, package: Any, file: Any) -> None:
        """The exec policy (`exec/switch.py`): about a program, and about what runs it.  Raises EPERM."""
        usage = Usage.DIRECT if package.step == "lookup" else Usage.INDIRECT
        self._verify(t, file.vnode, file.dentry, file.path, usage, lambda: f"execve({os.fsdecode(file.path)!r}, …)")

    def opens(self, dentry: Dentry, *, writes: bool) -> None:
        """A file is opened (or its size set).  Raises EPERM."""
        vnode = dentry.vnode
        if vnode.type != FileType.REG:
            return
        t = self._system.current
        path = dentry.path(self._system.mounts.root)
        entry = self._verify(t, vnode, dentry, path, Usage.FILE, lambda: call_of(t))
        if entry is None or not writes:
            return
        if self.level >= Level.IPS:
            self._refuse(t, path, f"{self._listed(entry)}, and so is not written", call_of(t), self._lower(Level.IDS))
        self._report(t, path, f"opened for writing, though {self._listed(entry)}", call_of(t))
        entry.written_by(vnode)

    def makes(self, directory: Dentry, name: bytes) -> None:
        """A name for a file is made.  Raises EPERM."""
        if self.level >= Level.LOCKDOWN:
            t = self._system.current
            path = directory.path(self._system.mounts.root).rstrip(b"/") + b"/" + name
            self._refuse(t, path, "no file is made in lockdown", call_of(t), self._lower(Level.IPS))

    def removes(self, dentry: Dentry) -> None:
        """A name of a file is taken away.  Raises EPERM."""
        t = self._system.current
        path = dentry.path(self._system.mounts.root)
        entry = self.find(dentry.vnode, dentry) if dentry.vnode.type == FileType.REG else None
        if entry is None:
            if self.level >= Level.LOCKDOWN:
                self._refuse(t, path, "no file is removed in lockdown", call_of(t), self._lower(Level.IPS))
            return
        if self.level >= Level.IDS:
            self._refuse(t, path, f"{self._listed(entry)}, and so is not removed", call_of(t), self._lower(Level.LEARNING))
        self._report(t, path, f"removed, though {self._listed(entry)}", call_of(t))
        self._drop(entry)

    def renames(self, source: Dentry, target: Dentry | None, *, replaces: bool) -> None:
        """A file gets another name, or that of `target`, which goes when it is replaced.  Raises EPERM."""
        t, root = self._system.current, self._system.mounts.root
        if self.level >= Level.LOCKDOWN:
            self._refuse(t, source.path(root), "nothing is renamed in lockdown", call_of(t), self._lower(Level.IPS))
        for dentry in (source, target):
            if dentry is None or dentry.vnode.type != FileType.REG:
                continue
            entry = self.find(dentry.vnode, dentry)
            if entry is None:
                continue
            path = dentry.path(root)
            if self.level >= Level.IPS:
                self._refuse(t, path, f"{self._listed(entry)}, and so is not renamed", call_of(t), self._lower(Level.IDS))
            goes = dentry is target and replaces
            self._report(t, path, f"{'replaced' if goes else 'renamed'}, though {self._listed(entry)}", call_of(t))
            if goes:
                self._drop(entry)

    def unmounts(self, mount: Mount) -> None:
        """A file system is taken away.  Raises EPERM."""
        t = self._system.current
        path = mount.path(self._system.mounts.root)
        if self.level >= Level.LOCKDOWN:
            self._refuse(t, path, "nothing is unmounted in lockdown", call_of(t), self._lower(Level.IPS))
        if self.level >= Level.IPS and any(self._is_below(entry, path) for entry in self._by_file.values()):
            self._refuse(t, path, f"files below it are listed in {self.name}", call_of(t), self._lower(Level.IDS))

    @staticmethod
    def _is_below(entry: _Entry, path: bytes) -> bool:
        return entry.signature.path.startswith(path.rstrip(b"/") + b"/")

    # --- the verdict
    def _verify(
        self, t: Any, vnode: Vnode, dentry: Dentry | None, path: bytes, usage: Usage, call: Callable[[], str]
    ) -> _Entry | None:
        """veriexec_file_verify: the file's entry, if it has one.  Raises EPERM."""
        entry = self.find(vnode, dentry)
        if entry is None:
            if self.level >= (Level.LOCKDOWN if usage is Usage.FILE else Level.IPS):
                self._refuse(t, path, f"not listed in {self.name}, and so is not {_HOW[usage]}", call(), _listing(path, self.name))
            return None
        if not entry.signature.usage & usage:
            what = f"{_HOW[usage]}, but {self._where(entry)} allows only: {show_usage(entry.signature.usage)}"
            if self.level >= Level.IPS:
                word = (usage.name or "").lower()
                self._refuse(t, path, what, call(), f"add {word!r} to the flags in {self._where(entry)}")
            self._report(t, path, what, call())
        if not self._matches(entry, vnode):
            what = f"fingerprint does not match the entry in {self._where(entry)}"
            if self.level >= Level.IDS:
                self._refuse(t, path, what, call(), f"ring3 fingerprint {os.fsdecode(path)}, in place of {self._where(entry)}")
            self._report(t, path, what, call())
        return entry

    def _matches(self, entry: _Entry, vnode: Vnode) -> bool:
        """Whether the file is what it was, as far as its guest sees it.  Raises what reading it does."""
        attr = vnode.getattr()
        stamp = (attr.size, attr.mtime, attr.ctime)
        quiet = vnode.writers <= 0 and not entry.is_written()
        if quiet and entry.stamp == stamp and entry.fs is not None and entry.fs() is vnode.fs:
            return entry.matched
        signature = entry.signature
        matched = attr.size <= MAX_HASHED and fingerprint(signature.algorithm, _reader(vnode)) == signature.fingerprint
        entry.forget()
        if quiet and not signature.usage & Usage.UNTRUSTED:
            entry.fs, entry.stamp, entry.matched = ref(vnode.fs), stamp, matched
        return matched

    # --- words
    def _where(self, entry: _Entry) -> str:
        line = entry.signature.line
        return f"{self.name} (line {line})" if line else self.name

    def _listed(self, entry: _Entry) -> str:
        return f"it is listed in {self._where(entry)}"

    def _lower(self, level: Level) -> str:
        return f"--veriexec {self.name}:{level.name.lower()}"

    def _refuse(self, t: Any, path: bytes, what: str, call: str, allow: str) -> None:
        """Raises EPERM."""
        tell(t, Decision("veriexec", "refused", what, call, allow, path))
        raise EPERM(f"veriexec: {what}")

    def _report(self, t: Any, path: bytes, what: str, call: str) -> None:
        tell(t, Decision("veriexec", "reported", what, call, "", path))


def _listing(path: bytes, name: str) -> str:
    return f"ring3 fingerprint {os.fsdecode(path)} >> {name}"


def _reader(vnode: Vnode) -> Callable[[int], bytes]:
    """Reads a file from its beginning, a piece a call; never more than is hashed of one."""
    offset = 0

    def read(nbytes: int) -> bytes:
        nonlocal offset
        data = vnode.read(offset, min(nbytes, CHUNK)) if offset <= MAX_HASHED else b""
        offset += len(data)
        return data

    return read


def install(system: System, options: VeriexecOptions) -> Veriexec:
    """Have a kernel, whose files are mounted, verified from now on."""
    guard = Veriexec(system, options)
    system.guard = guard
    system.execsw.policies += (guard.run,)
    return guard
