"""NetBSD's own system calls, by subject: those whose behaviour no other system has.

What behaves as elsewhere is shared (`abi/netbsd/shared.tbl`), what differs in numbers and bytes alone is a table or a layout of the
personality.

Files and waiting: `descriptor` open, dup, pipe, fcntl; `names` what makes, moves and removes names; `attribute` flags, times, room;
`directory` getdents, statvfs, pathconf; `ioctl` terminals; `socket`; `poll` select and pollts; `kqueue`.
The system: `sysctl` the call, `sysctltree` its names, `sysctlproc` one process's; `time` clocks; `ids`; `limits`.
"""
