"""What a machine changes in its process while it lives, and how it ends when nobody closes it."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ring3.machine.native.machine import NativeMachine


class FilesLimit:
    """The soft limit of descriptors, raised to the hard one: each space may hold one for its memory."""

    def __init__(self) -> None:
        self._soft, self._hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if self._soft != self._hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._hard, self._hard))

    def restore(self) -> None:
        """Put the soft limit back, unless somebody else has changed it since."""
        if self._soft != self._hard and resource.getrlimit(resource.RLIMIT_NOFILE) == (self._hard, self._hard):
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._soft, self._hard))


class Guard:
    """Lives in the storage of the thread a machine belongs to, and closes it should the thread end first.

    The host would kill the stubs then, but nobody would be left to reap them.
    """

    def __init__(self, machine: NativeMachine) -> None:
        self._machine = machine

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._machine.close()
