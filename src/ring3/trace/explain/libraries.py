"""Which shared libraries the loader will look for, and where it will find them: the loader's doing, not the kernel's.

After the exec the program's loader (its PT_INTERP) reads DT_NEEDED of the program, looks for each library along its own list of
directories, and goes on with what those need, breadth first.  Two loaders are known by their names: glibc's (ld-linux*, ld.so(8))
and musl's (ld-musl-*); of others nothing is said.

Files are a guest's: at most `_MOST` libraries, and every size is bounded.  Not here: LD_PRELOAD and LD_AUDIT, the variants of a
library for newer CPUs (glibc-hwcaps), versions of symbols.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import PT_DYNAMIC
from ring3.abi.flags import FileType
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple
from ring3.proc.lookup import namei_context
from ring3.trace.elfimage import ElfImage, reader
from ring3.trace.explain.model import Library
from ring3.vfs.namei import namei

if TYPE_CHECKING:
    from ring3.proc.proc import Thread
    from ring3.trace.explain.model import Explanation
    from ring3.vfs.vnode import Vnode

_MOST: Final = 512
_MOST_DYNAMIC: Final = 1 << 16
_MOST_DIRECTORIES: Final = 64
_LONGEST: Final = 4096
_MOST_CACHE: Final = 4 << 20
_MOST_TRIES: Final = 20_000             # paths that are looked at; what would come behind them is not listed
_CACHE: Final = b"/etc/ld.so.cache"
_CACHE_MAGIC: Final = b"glibc-ld.so.cache1.1"
_CACHE_HEAD: Final = 48
_CACHE_KIND: Final = {64: 0x0303, 32: 0x0003}       # FLAG_ELF_LIBC6 and the instruction set
_NEEDED, _STRTAB, _STRSZ, _RPATH, _RUNPATH, _FLAGS_1 = 1, 5, 10, 15, 29, 0x6FFFFFFB
_NODEFLIB: Final = 0x800
_GLIBC_DEFAULT: Final = {
    64: (b"/lib/x86_64-linux-gnu", b"/usr/lib/x86_64-linux-gnu", b"/lib64", b"/usr/lib64", b"/lib", b"/usr/lib"),
    32: (b"/lib/i386-linux-gnu", b"/usr/lib/i386-linux-gnu", b"/lib", b"/usr/lib"),
}
_MUSL_DEFAULT: Final = (b"/lib", b"/usr/local/lib", b"/usr/lib")
_MUSL_OWN: Final = (b"libc.", b"libpthread.", b"librt.", b"libm.", b"libdl.", b"libutil.", b"libxnet.")     # the loader itself


class _Object(NamedTuple):
    """A file that was loaded: what it needs, and where it wants that looked for.  `above` is who needed it."""

    path: bytes
    needed: tuple[bytes, ...] = ()
    rpath: tuple[bytes, ...] = ()
    runpath: tuple[bytes, ...] = ()
    no_default: bool = False
    above: _Object | None = None


def libraries(t: Thread, explanation: Explanation) -> tuple[Library, ...]:
    """What the loader of an exec that works will look for, in its order; () where that is not known.  Raises nothing."""
    plan = explanation.plan
    if plan is None or plan.interpreter is None:
        return ()
    loader = plan.interpreter.path.rpartition(b"/")[2]
    env = dict(entry.partition(b"=")[::2] for entry in reversed(explanation.envp))
    given = () if plan.secure else tuple(env.get(b"LD_LIBRARY_PATH", b"").replace(b";", b":").split(b":"))
    if loader.startswith(b"ld-linux"):
        search: _Search = _Glibc(t, given, secure=plan.secure)
    elif loader.startswith(b"ld-musl-"):
        search = _Musl(t, given, secure=plan.secure, loader=plan.interpreter.path)
    else:
        return ()
    return tuple(search.all_of(plan.exe.vnode, plan.exe.path, loader))


class _Search:
    """Looks for libraries as one loader does."""

    def __init__(self, t: Thread, given: Sequence[bytes], *, secure: bool) -> None:
        self.t = t
        self.given = tuple(directory for directory in given if directory)[:_MOST_DIRECTORIES]
        self.is_secure = secure
        self.bits = 64
        self.tries = 0

    def places(self, name: bytes, wanted_by: _Object) -> Iterator[tuple[bytes, str]]:
        """Paths to try, and why there."""
        raise NotImplementedError

    def is_own(self, name: bytes) -> bool:
        """Whether the loader itself is that library."""
        raise NotImplementedError

    def all_of(self, program: Vnode, path: bytes, loader: bytes) -> Iterator[Library]:
        """Everything the program needs, and what that needs, breadth first."""
        image = ElfImage(reader(program))
        self.bits = image.bits
        queue, known = [read_object(image, path, None)], {loader}
        count = 0
        for wanted_by in queue:
            for name in wanted_by.needed:
                if name in known or self.is_own(name) or count >= _MOST:
                    continue
                known.add(name)
                count += 1
                found, how, vnode = self._find(name, wanted_by)
                if self.tries >= _MOST_TRIES:
                    return
                yield Library(name, wanted_by.path, found, how)
                if vnode is not None:
                    queue.append(read_object(ElfImage(reader(vnode)), found, wanted_by))

    def _find(self, name: bytes, wanted_by: _Object) -> tuple[bytes, str, Vnode | None]:
        if b"/" in name:
            path = self.expand(name, wanted_by)
            vnode = self.file(path)
            return path if vnode is not None else b"", "by its path", vnode
        for path, how in self.places(name, wanted_by):
            self.tries += 1
            if self.tries >= _MOST_TRIES:
                break
            vnode = self.file(path)
            if vnode is not None and ElfImage(reader(vnode)).bits == self.bits:
                return path, how, vnode
        return b"", "", None

    def file(self, path: bytes) -> Vnode | None:
        """The regular file at a path, as the program would find it."""
        try:
            found = namei(namei_context(self.t), path).vnode
        except Errno:
            return None
        return found if found.type == FileType.REG else None

    def expand(self, text: bytes, wanted_by: _Object) -> bytes:
        """$ORIGIN, $LIB and $PLATFORM in a path (ld.so(8), "Dynamic string tokens")."""
        if b"$" not in text:
            return text
        origin = wanted_by.path.rpartition(b"/")[0] or b"/"
        lib = (b"lib/x86_64-linux-gnu", b"lib/i386-linux-gnu")[self.bits == 32]
        for token, value in ((b"ORIGIN", origin), (b"LIB", lib), (b"PLATFORM", (b"x86_64", b"i686")[self.bits == 32])):
            text = text.replace(b"${" + token + b"}", value).replace(b"$" + token, value)
        return text

    def listed(self, name: bytes, wanted_by: _Object, directories: Sequence[bytes], how: str) -> Iterator[tuple[bytes, str]]:
        """The name in each of the directories that an object lists."""
        for directory in directories[:_MOST_DIRECTORIES]:
            if directory and not (self.is_secure and b"$" in directory):
                yield self.expand(directory, wanted_by).rstrip(b"/") + b"/" + name, how


class _Glibc(_Search):
    """ld.so(8)."""

    def __init__(self, t: Thread, given: Sequence[bytes], *, secure: bool) -> None:
        super().__init__(t, given, secure=secure)
        self._cache: dict[bytes, bytes] | None = None

    def is_own(self, name: bytes) -> bool:
        """See `_Search`."""
        return name.startswith(b"ld-linux")

    def places(self, name: bytes, wanted_by: _Object) -> Iterator[tuple[bytes, str]]:
        """See `_Search`."""
        at: _Object | None = wanted_by
        while at is not None and not wanted_by.runpath:
            yield from self.listed(name, at, at.rpath, "RPATH")
            at = at.above
        yield from self.listed(name, wanted_by, self.given, "LD_LIBRARY_PATH")
        yield from self.listed(name, wanted_by, wanted_by.runpath, "RUNPATH")
        if self._cache is None:
            vnode = self.file(_CACHE)
            self._cache = {} if vnode is None else read_cache(reader(vnode)(0, _MOST_CACHE), _CACHE_KIND.get(self.bits, -1))
        cached = self._cache.get(name)
        defaults = _GLIBC_DEFAULT.get(self.bits, ())
        if cached is not None and not (wanted_by.no_default and cached.rpartition(b"/")[0] in defaults):
            yield cached, "ld.so.cache"
        if not wanted_by.no_default:
            yield from self.listed(name, wanted_by, defaults, "a default directory")


class _Musl(_Search):
    """musl's ldso/dynlink.c."""

    def __init__(self, t: Thread, given: Sequence[bytes], *, secure: bool, loader: bytes) -> None:
        super().__init__(t, given, secure=secure)
        directory, _, name = loader.rpartition(b"/")
        path = directory.rpartition(b"/")[0] + b"/etc/" + name.rpartition(b".so")[0] + b".path"
        vnode = self.file(path)
        text = b"" if vnode is None else reader(vnode)(0, 1 << 16)
        self._system = tuple(filter(None, text.replace(b"\n", b":").split(b":"))) or _MUSL_DEFAULT

    def is_own(self, name: bytes) -> bool:
        """See `_Search`."""
        return name.startswith((*_MUSL_OWN, b"ld-musl-"))

    def places(self, name: bytes, wanted_by: _Object) -> Iterator[tuple[bytes, str]]:
        """See `_Search`."""
        yield from self.listed(name, wanted_by, self.given, "LD_LIBRARY_PATH")
        at: _Object | None = wanted_by
        while at is not None:
            yield from self.listed(name, at, at.runpath or at.rpath, "RUNPATH" if at.runpath else "RPATH")
            at = at.above
        yield from self.listed(name, wanted_by, self._system, "a default directory")


def read_object(image: ElfImage, path: bytes, above: _Object | None) -> _Object:
    """What an object says in its dynamic section; nothing where that makes no sense."""
    phdr = image.segment(PT_DYNAMIC)
    if phdr is None:
        return _Object(path, above=above)
    data = image.read(phdr.offset, min(phdr.filesz, _MOST_DYNAMIC))
    size = image.bits // 4
    entries = []
    for tag, value in struct.iter_unpack("<QQ" if image.bits == 64 else "<II", data[: len(data) // size * size]):
        if not tag:
            break
        entries.append((tag, value))
    first = dict(reversed(entries))
    table = first.get(_STRTAB, 0)
    room = first.get(_STRSZ, 0)

    def text(offset: int) -> bytes:
        return image.at(table + offset, _LONGEST).partition(b"\0")[0] if offset < room else b""

    def directories(tag: int) -> tuple[bytes, ...]:
        return tuple(text(first[tag]).split(b":")[:_MOST_DIRECTORIES]) if tag in first else ()

    needed = (text(value) for tag, value in entries if tag == _NEEDED)
    return _Object(
        path, tuple(dict.fromkeys(name for name in needed if name))[:_MOST], directories(_RPATH), directories(_RUNPATH),
        bool(first.get(_FLAGS_1, 0) & _NODEFLIB), above,
    )


def read_cache(data: bytes, kind: int) -> dict[bytes, bytes]:
    """Names and paths of /etc/ld.so.cache for one instruction set, its first entry for each; {} for what is no such file.

    Entries for some CPUs only count where there is no other.  Source: glibc, sysdeps/generic/dl-cache.h.
    """
    start = data.find(_CACHE_MAGIC)
    if start < 0 or len(data) < start + _CACHE_HEAD:
        return {}
    count = min(int.from_bytes(data[start + 20 : start + 24], "little"), (len(data) - start - _CACHE_HEAD) // 24)
    found: dict[bytes, bytes] = {}
    special: dict[bytes, bytes] = {}
    rows = data[start + _CACHE_HEAD : start + _CACHE_HEAD + count * 24]
    for flags, key, value, _, capabilities in struct.iter_unpack("<IIIIQ", rows):
        if flags & 0xFFFF == kind:
            name, path = _string(data, start + key), _string(data, start + value)
            (special if capabilities else found).setdefault(name, path)
    return special | found


def _string(data: bytes, at: int) -> bytes:
    end = data.find(b"\0", at, at + _LONGEST)
    return data[at:end] if end >= 0 else b""
