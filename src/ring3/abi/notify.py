"""What can happen to a file that somebody watches: the bits of inotify(7), which are the kernel's own too.

Source: include/uapi/linux/inotify.h.
"""

from __future__ import annotations

from typing import Final

IN_ACCESS, IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
IN_ALL_EVENTS: Final = 0xFFF
IN_Q_OVERFLOW, IN_IGNORED, IN_ISDIR = 0x4000, 0x8000, 0x4000_0000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_MASK_CREATE = 0x100_0000, 0x200_0000, 0x400_0000, 0x1000_0000
IN_MASK_ADD, IN_ONESHOT = 0x2000_0000, 0x8000_0000
