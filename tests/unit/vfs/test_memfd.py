import fcntl
import os
import random
from typing import Any

import pytest

from ring3.abi.records import AttrChange
from ring3.errors import EBUSY, EINVAL
from ring3.vfs import memfd
from ring3.vfs.memfd import MemFile, memfd_create
from ring3.vfs.memory import MemoryFS
from tests.unit.vfs.twins import attempt


class Host:
    def __init__(self, flags: int) -> None:
        self.fd = os.memfd_create("x", flags)

    def seals(self) -> int:
        return fcntl.fcntl(self.fd, fcntl.F_GET_SEALS)

    def seal(self, seals: int) -> None:
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)

    def pwrite(self, offset: int, nbytes: int) -> int:
        return os.pwrite(self.fd, b"x" * nbytes, offset)

    def truncate(self, size: int) -> None:
        os.ftruncate(self.fd, size)

    def chmod(self, mode: int) -> None:
        os.fchmod(self.fd, mode)

    def attr(self) -> tuple[int, int]:
        st = os.fstat(self.fd)
        return st.st_mode, st.st_size


class Ours:
    def __init__(self, flags: int) -> None:
        self.file: MemFile = memfd_create(MemoryFS(), b"x", flags)

    def seals(self) -> int:
        return self.file.get_seals()

    def seal(self, seals: int) -> None:
        self.file.add_seals(seals)

    def pwrite(self, offset: int, nbytes: int) -> int:
        return self.file.pwrite(offset, b"x" * nbytes)

    def truncate(self, size: int) -> None:
        self.file.target.truncate(size)

    def chmod(self, mode: int) -> None:
        self.file.target.setattr(AttrChange(mode=mode))

    def attr(self) -> tuple[int, int]:
        attr = self.file.getattr()
        return attr.mode, attr.size


def story(file: Any, rng: random.Random) -> list[Any]:
    seen: list[Any] = []
    for _ in range(25):
        number = rng.randrange(20) * 1000
        match rng.randrange(10):
            case 0:
                seals = rng.choice((1, 2, 4, 8, 16, 64, 6))
                seen.append(attempt(file.seal, seals))
            case 1 | 2 | 3 | 4 | 5:
                seen.append(attempt(file.pwrite, number // 2 // 4096 * 4096, 4096))
            case _:
                seen.append(attempt(file.truncate, number))
        seen.append((file.seals(), file.attr()))
    return seen


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("flags", [0, memfd.MFD_ALLOW_SEALING, memfd.MFD_NOEXEC_SEAL])
def test_as_on_host(flags: int, seed: int) -> None:
    host = Host(flags)
    expected = story(host, random.Random(seed))
    os.close(host.fd)
    assert story(Ours(flags), random.Random(seed)) == expected


def test_exec_seal_keeps_the_bits_and_mappings_hold_writes() -> None:
    file = Ours(memfd.MFD_NOEXEC_SEAL)
    assert attempt(lambda: file.chmod(0o777)) == "EPERM"
    file.chmod(0o600)
    file.file.target.shared_writers += 1
    with pytest.raises(EBUSY):
        file.seal(memfd.F_SEAL_WRITE)
    assert file.file.label == b"/memfd:x (deleted)"


def test_names_and_flags() -> None:
    for name, flags in ((b"x" * 250, 0), (b"x", 1 << 20)):
        with pytest.raises(EINVAL):
            memfd_create(MemoryFS(), name, flags)
