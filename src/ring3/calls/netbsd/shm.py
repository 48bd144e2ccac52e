"""NetBSD's shmctl: its own struct shmid_ds.  The rest of System V's shared memory is everybody's (`calls/sysvshm.py`).

Locking into memory is refused with EINVAL, as an unknown command is.  Source: shmctl(2), sys/shm.h, sys/ipc.h.
"""

from __future__ import annotations

import struct
import time
from typing import Final

from ring3.calls.sysarg import Addr, Int
from ring3.calls.syscall import syscall
from ring3.calls.sysvshm import IPC_RMID, IPC_SET, IPC_STAT, readable, segments, sys_shmctl
from ring3.errors import EINVAL, EPERM
from ring3.proc.proc import Thread
from ring3.proc.sysvshm import SEQUENCE, Segment

# Ids of owner and creator, mode, sequence, key; size, who was last and who made it, how often it is attached; times; nobody's.
_DS: Final = {8: struct.Struct("<5IH2xqQiiI4xqqq8x"), 4: struct.Struct("<5IH2xiIiiIqqq4x")}
_OWNER: Final = struct.Struct("<II8xI")
_MASK32: Final = 0xFFFF_FFFF


@syscall(pledge="root")
def sys___shmctl50(t: Thread, number: Int, command: Int, buf: Addr) -> int:
    """IPC_STAT, IPC_SET, IPC_RMID.  EINVAL, EIDRM, EACCES, EPERM, EFAULT."""
    if command == IPC_RMID:
        return int(sys_shmctl.run(t, number, IPC_RMID, 0))
    if command == IPC_STAT:
        t.proc.vm.copyout(buf, _encode(t, readable(t, number)))
        return 0
    if command != IPC_SET:
        raise EINVAL
    segment, cred = segments(t).find(number), t.proc.cred
    if cred.euid not in (segment.owner[0], segment.creator[0]) and not cred.privileged:
        raise EPERM
    uid, gid, mode = _OWNER.unpack(t.proc.vm.copyin(buf, _OWNER.size))
    segment.owner, segment.mode, segment.changed_at = (uid, gid), mode & 0o777, int(time.time())
    return 0


def _encode(t: Thread, segment: Segment) -> bytes:
    """struct shmid_ds."""
    word_size = t.system.call_abi(t).word_size
    size = segment.size if word_size == 8 else segment.size & _MASK32
    return _DS[word_size].pack(
        *segment.owner, *segment.creator, segment.mode, segment.number // SEQUENCE & 0xFFFF, segment.key, size, segment.last_pid,
        segment.creator_pid, segment.attachments & _MASK32, segment.attached_at, segment.detached_at, segment.changed_at,
    )
