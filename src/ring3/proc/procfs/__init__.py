"""/proc: the kernel's state as files, computed when they are read.

`fs.ProcFS` is the file system; `node` what its files are made of; `root` the top directory and `process` a process's;
their texts stand in `status`, `maps`, `mounts`, `kernelfacts`, `network` and `sysctl`; `links` and `descriptors` are what
leads elsewhere.  Invariant: nothing of the host's processes shows, and no file is larger than what it describes.

Source: proc(5), proc_pid_*(5), proc_sys_*(5), fs/proc/ as those pages describe it; the layouts are the host kernel's.
"""

from ring3.proc.procfs.fs import ProcFS

__all__ = ["ProcFS"]
