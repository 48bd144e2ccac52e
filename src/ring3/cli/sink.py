"""A file of the host that the record of a run goes to.  One that takes no more ends the record, never the run.

What could not be written is said once the run is over; a reader that left (a pipe's other end) is no error.
"""

from __future__ import annotations

import errno
from typing import IO, Any


class Sink:
    """A file to write to, text or bytes.  Raises OSError that says so where nothing can be written, and for a pipe's command.

    Leaving it raises OSError where what was written is not whole.
    """

    def __init__(self, path: str, *, binary: bool = False) -> None:
        self._path = path
        self._failure: OSError | None = None
        if path.startswith(("|", "!")):         # strace's; a shell does it better
            raise OSError(errno.EINVAL, f"commands are the shell's to run: write >({path[1:].strip()})", path)
        if path == "-":
            raise OSError(errno.EINVAL, "write /dev/stdout for standard output, ./- for a file of that name", path)
        more: dict[str, Any] = {} if binary else {"encoding": "utf-8", "errors": "surrogateescape"}
        try:
            self._file: IO[Any] = open(path, "wb" if binary else "w", **more)  # noqa: SIM115 - __exit__ closes it
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}, so nothing can be written there", path) from None

    def write(self, data: Any) -> None:
        """As files do, until that fails."""
        if self._failure is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._failure = error

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            self._failure = self._failure or error
        failure = self._failure
        if failure is not None and kind is None and not isinstance(failure, BrokenPipeError):
            raise OSError(failure.errno, f"{failure.strerror}, so what is there is not whole", self._path) from None
