"""Refusals: the errors a call of a guest can end with, one class per name.

The class is the identity; the number is the personality's (`Abi.errno`).  `raise ENOENT` where the name says it
all, `raise ENOEXEC("interpreter is not ELF64")` where a human will ask why.  A host `OSError` becomes an `Errno` in one
place, `from_oserror`, called only by what touches the host.

Not here: `Restart` (proc/thread.py), which is not a refusal, and the numbers of any system.
"""

from __future__ import annotations

import errno as host_errno
import os


class Errno(Exception):
    """A call the kernel refuses.  `str(error)` is the reason, or the plain meaning of the name when none was given.

    >>> str(ENOENT())
    'No such file or directory'
    """

    @property
    def name(self) -> str:
        """The symbolic name, as errno(3) spells it."""
        return type(self).__name__

    @property
    def reason(self) -> str | None:
        """Why, when whoever raised it knew more than the name says."""
        return str(self.args[0]) if self.args else None

    def __str__(self) -> str:
        return self.reason or (type(self).__doc__ or self.name).rstrip(".")


class EPERM(Errno):
    """Operation not permitted."""


class ENOENT(Errno):
    """No such file or directory."""


class ESRCH(Errno):
    """No such process."""


class EINTR(Errno):
    """Interrupted system call."""


class EIO(Errno):
    """Input/output error."""


class ENXIO(Errno):
    """No such device or address."""


class E2BIG(Errno):
    """Argument list too long."""


class ENOEXEC(Errno):
    """Exec format error."""


class EBADF(Errno):
    """Bad file descriptor."""


class ECHILD(Errno):
    """No child processes."""


class EAGAIN(Errno):
    """Resource temporarily unavailable."""


class ENOMEM(Errno):
    """Cannot allocate memory."""


class EACCES(Errno):
    """Permission denied."""


class EFAULT(Errno):
    """Bad address."""


class ENOTBLK(Errno):
    """Block device required."""


class EBUSY(Errno):
    """Device or resource busy."""


class EEXIST(Errno):
    """File exists."""


class EXDEV(Errno):
    """Invalid cross-device link."""


class ENODEV(Errno):
    """No such device."""


class ENOTDIR(Errno):
    """Not a directory."""


class EISDIR(Errno):
    """Is a directory."""


class EINVAL(Errno):
    """Invalid argument."""


class ENFILE(Errno):
    """Too many open files in system."""


class EMFILE(Errno):
    """Too many open files."""


class ENOTTY(Errno):
    """Inappropriate ioctl for device."""


class ETXTBSY(Errno):
    """Text file busy."""


class EFBIG(Errno):
    """File too large."""


class ENOSPC(Errno):
    """No space left on device."""


class ESPIPE(Errno):
    """Illegal seek."""


class EROFS(Errno):
    """Read-only file system."""


class EMLINK(Errno):
    """Too many links."""


class EPIPE(Errno):
    """Broken pipe."""


class EDOM(Errno):
    """Numerical argument out of domain."""


class ERANGE(Errno):
    """Numerical result out of range."""


class EDEADLK(Errno):
    """Resource deadlock avoided."""


class ENAMETOOLONG(Errno):
    """File name too long."""


class ENOLCK(Errno):
    """No locks available."""


class ENOSYS(Errno):
    """Function not implemented."""


class ENOTEMPTY(Errno):
    """Directory not empty."""


class ELOOP(Errno):
    """Too many levels of symbolic links."""


class ENOMSG(Errno):
    """No message of desired type."""


class EIDRM(Errno):
    """Identifier removed."""


class ECHRNG(Errno):
    """Channel number out of range."""


class EL2NSYNC(Errno):
    """Level 2 not synchronized."""


class EL3HLT(Errno):
    """Level 3 halted."""


class EL3RST(Errno):
    """Level 3 reset."""


class ELNRNG(Errno):
    """Link number out of range."""


class EUNATCH(Errno):
    """Protocol driver not attached."""


class ENOCSI(Errno):
    """No CSI structure available."""


class EL2HLT(Errno):
    """Level 2 halted."""


class EBADE(Errno):
    """Invalid exchange."""


class EBADR(Errno):
    """Invalid request descriptor."""


class EXFULL(Errno):
    """Exchange full."""


class ENOANO(Errno):
    """No anode."""


class EBADRQC(Errno):
    """Invalid request code."""


class EBADSLT(Errno):
    """Invalid slot."""


class EBFONT(Errno):
    """Bad font file format."""


class ENOSTR(Errno):
    """Device not a stream."""


class ENODATA(Errno):
    """No data available."""


class ETIME(Errno):
    """Timer expired."""


class ENOSR(Errno):
    """Out of streams resources."""


class ENONET(Errno):
    """Machine is not on the network."""


class ENOPKG(Errno):
    """Package not installed."""


class EREMOTE(Errno):
    """Object is remote."""


class ENOLINK(Errno):
    """Link has been severed."""


class EADV(Errno):
    """Advertise error."""


class ESRMNT(Errno):
    """Srmount error."""


class ECOMM(Errno):
    """Communication error on send."""


class EPROTO(Errno):
    """Protocol error."""


class EMULTIHOP(Errno):
    """Multihop attempted."""


class EDOTDOT(Errno):
    """RFS specific error."""


class EBADMSG(Errno):
    """Bad message."""


class EOVERFLOW(Errno):
    """Value too large for defined data type."""


class ENOTUNIQ(Errno):
    """Name not unique on network."""


class EBADFD(Errno):
    """File descriptor in bad state."""


class EREMCHG(Errno):
    """Remote address changed."""


class ELIBACC(Errno):
    """Can not access a needed shared library."""


class ELIBBAD(Errno):
    """Accessing a corrupted shared library."""


class ELIBSCN(Errno):
    """.lib section in a.out corrupted."""


class ELIBMAX(Errno):
    """Attempting to link in too many shared libraries."""


class ELIBEXEC(Errno):
    """Cannot exec a shared library directly."""


class EILSEQ(Errno):
    """Invalid or incomplete multibyte or wide character."""


class ERESTART(Errno):
    """Interrupted system call should be restarted."""


class ESTRPIPE(Errno):
    """Streams pipe error."""


class EUSERS(Errno):
    """Too many users."""


class ENOTSOCK(Errno):
    """Socket operation on non-socket."""


class EDESTADDRREQ(Errno):
    """Destination address required."""


class EMSGSIZE(Errno):
    """Message too long."""


class EPROTOTYPE(Errno):
    """Protocol wrong type for socket."""


class ENOPROTOOPT(Errno):
    """Protocol not available."""


class EPROTONOSUPPORT(Errno):
    """Protocol not supported."""


class ESOCKTNOSUPPORT(Errno):
    """Socket type not supported."""


class EOPNOTSUPP(Errno):
    """Operation not supported."""


class EPFNOSUPPORT(Errno):
    """Protocol family not supported."""


class EAFNOSUPPORT(Errno):
    """Address family not supported by protocol."""


class EADDRINUSE(Errno):
    """Address already in use."""


class EADDRNOTAVAIL(Errno):
    """Cannot assign requested address."""


class ENETDOWN(Errno):
    """Network is down."""


class ENETUNREACH(Errno):
    """Network is unreachable."""


class ENETRESET(Errno):
    """Network dropped connection on reset."""


class ECONNABORTED(Errno):
    """Software caused connection abort."""


class ECONNRESET(Errno):
    """Connection reset by peer."""


class ENOBUFS(Errno):
    """No buffer space available."""


class EISCONN(Errno):
    """Transport endpoint is already connected."""


class ENOTCONN(Errno):
    """Transport endpoint is not connected."""


class ESHUTDOWN(Errno):
    """Cannot send after transport endpoint shutdown."""


class ETOOMANYREFS(Errno):
    """Too many references: cannot splice."""


class ETIMEDOUT(Errno):
    """Connection timed out."""


class ECONNREFUSED(Errno):
    """Connection refused."""


class EHOSTDOWN(Errno):
    """Host is down."""


class EHOSTUNREACH(Errno):
    """No route to host."""


class EALREADY(Errno):
    """Operation already in progress."""


class EINPROGRESS(Errno):
    """Operation now in progress."""


class ESTALE(Errno):
    """Stale file handle."""


class EUCLEAN(Errno):
    """Structure needs cleaning."""


class ENOTNAM(Errno):
    """Not a XENIX named type file."""


class ENAVAIL(Errno):
    """No XENIX semaphores available."""


class EISNAM(Errno):
    """Is a named type file."""


class EREMOTEIO(Errno):
    """Remote I/O error."""


class EDQUOT(Errno):
    """Disk quota exceeded."""


class ENOMEDIUM(Errno):
    """No medium found."""


class EMEDIUMTYPE(Errno):
    """Wrong medium type."""


class ECANCELED(Errno):
    """Operation canceled."""


class ENOKEY(Errno):
    """Required key not available."""


class EKEYEXPIRED(Errno):
    """Key has expired."""


class EKEYREVOKED(Errno):
    """Key has been revoked."""


class EKEYREJECTED(Errno):
    """Key was rejected by service."""


class EOWNERDEAD(Errno):
    """Owner died."""


class ENOTRECOVERABLE(Errno):
    """State not recoverable."""


class ERFKILL(Errno):
    """Operation not possible due to RF-kill."""


class EFTYPE(Errno):
    """Inappropriate file type or format."""


class ENOTIMPL(Errno):
    """Not implemented."""


class ENOTHREAD(Errno):
    """No such thread."""


class ENOTSUP(Errno):
    """Operation not supported by this file."""


class EDIRINTOSELF(Errno):
    """Directory into itself."""


class EPROMISEVIOLATION(Errno):
    """A promise was broken; no program sees this one."""


def by_name(name: str) -> type[Errno]:
    """The class of one name.  Raises KeyError for a name that is none.

    >>> by_name("EPERM")
    <class 'ring3.errors.EPERM'>
    """
    found = globals()[name]
    if not (isinstance(found, type) and issubclass(found, Errno)) or found is Errno:
        raise KeyError(name)
    return found


def from_oserror(error: OSError) -> Errno:
    """The refusal that a host error amounts to; EIO for one this kernel has no name for."""
    name = host_errno.errorcode.get(error.errno or 0, "EIO")
    name = {"ENOTSUP": "EOPNOTSUPP", "EDEADLOCK": "EDEADLK", "EWOULDBLOCK": "EAGAIN"}.get(name, name)
    refusal = by_name(name)
    return refusal() if error.errno is None else refusal(os.strerror(error.errno))
