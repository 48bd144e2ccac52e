"""Where strace's classes of calls differ from what a declaration says (`filter.py`): names that are in a class besides, and names
that are not in it.

Found out by making each call of x86-64 under `strace -e trace=%CLASS` (6.1).  Not here: the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MORE: Final[Mapping[str, frozenset[str]]] = MappingProxyType({name: frozenset(names.split()) for name, names in {
    "file": "fanotify_mark fsconfig fspick getcwd mount_setattr move_mount open_tree pivot_root quotactl uselib",
    "desc": (
        "bpf creat epoll_create epoll_create1 eventfd eventfd2 fanotify_init fanotify_mark finit_module fsconfig fsmount fsopen "
        "fspick inotify_init inotify_init1 io_uring_enter io_uring_register io_uring_setup kexec_file_load landlock_add_rule "
        "landlock_create_ruleset landlock_restrict_self memfd_create memfd_secret mount_setattr move_mount mq_getsetattr mq_notify "
        "mq_open mq_timedreceive mq_timedsend open open_by_handle_at open_tree perf_event_open pidfd_open pipe pipe2 poll ppoll "
        "ppoll_time64 process_madvise process_mrelease pselect6 pselect6_time64 quotactl_fd select _newselect timerfd_create "
        "userfaultfd"
    ),
    "process": "kill rt_sigqueueinfo rt_tgsigqueueinfo tgkill tkill",
    "network": "getpmsg putpmsg sendfile",
    "signal": "io_uring_enter pidfd_send_signal",
    "memory": (
        "get_mempolicy io_destroy io_setup io_uring_register mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node "
        "shmat shmdt"
    ),
    "creds": "prctl",
    "ipc": "msgctl msgget msgrcv msgsnd semctl semget semop semtimedop",
}.items()})
LESS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({name: frozenset(names.split()) for name, names in {
    "file": "fgetxattr fremovexattr fsetxattr memfd_create",
    "desc": (
        "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto "
        "setsockopt shutdown"
    ),
    "process": (
        "getpgid getpgrp getpid getppid getsid gettid kcmp pidfd_getfd pidfd_open set_tid_address setns setpgid setsid unshare"
    ),
    "memory": "pkey_alloc pkey_free process_vm_readv process_vm_writev",
    "clock": (
        "alarm clock_nanosleep getitimer getrusage nanosleep restart_syscall setitimer timer_create timer_delete timer_getoverrun "
        "timer_gettime timer_settime times"
    ),
}.items()})
