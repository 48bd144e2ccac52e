"""Names of structs that NetBSD changed: what a program built for an older release has where the kernel has a record.

Up to NetBSD 5 a second had 32 bits (timespec) or a long's (timeval), a device number 32; up to NetBSD 2 an inode number 32.
"""

from __future__ import annotations


class Timespec50:
    """struct timespec ↔ ns.  Decoding raises EINVAL as `Timespec` does."""


class Timeval50:
    """struct timeval ↔ ns."""


class RawTimeval50:
    """struct timeval ↔ `Seconds`, unchecked."""


class ITimerVal50:
    """struct itimerval ↔ `ITimerVal`."""


class TimerSpec50:
    """struct itimerspec ↔ `TimerSpec`."""


class Rusage50:
    """struct rusage ← `Rusage`."""


class Attr30:
    """struct stat of NetBSD 3 to 5 ← `Attr`."""


class Attr13:
    """struct stat of NetBSD 1.3 to 2 ← `Attr`."""


class Dirent12:
    """struct dirent up to NetBSD 2 ← (offset behind it, `DirEntry`)."""
