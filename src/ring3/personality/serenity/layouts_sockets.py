"""SerenityOS's structs of sockets, terminals and waiting: neutral record (or marker) to layout.

Terminal settings are translated by the call (`calls/serenity/ioctl.py`), names of sockets too (`calls/serenity/socket.py`).
Source: Kernel/API/POSIX of the tree of 2022-12-30 (reference, section 4.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ring3.abi.filerecords import MsgHdr, PollFd, RawTimeval, Seconds, Ucred
from ring3.abi.layout import Layout

LAYOUTS: Final[Mapping[type, Any]] = MappingProxyType({
    MsgHdr: Layout(MsgHdr, "<QI4xQi4xQIi"),
    PollFd: Layout(PollFd, "<iHH"),
    RawTimeval: Layout(Seconds, "<qi4x"),
    Ucred: Layout(Ucred, "<iII"),
})
