"""Who a process is: the ids that permissions are checked against.

A value: changing ids makes another one (`_replace`), so that a plan can hold the ids before and after.  Capabilities are
modelled as one power that an effective user id of 0 has; kept, dropped and raised ones are not here yet.
Source: credentials(7), setresuid(2).
"""

from __future__ import annotations

from ring3.namedtuple import NamedTuple


class Cred(NamedTuple):
    """Real, effective, saved and file-system ids, and the supplementary groups (sorted)."""

    ruid: int = 0
    euid: int = 0
    suid: int = 0
    fsuid: int = 0
    rgid: int = 0
    egid: int = 0
    sgid: int = 0
    fsgid: int = 0
    groups: tuple[int, ...] = ()

    @property
    def privileged(self) -> bool:
        """Root's power over files, processes and limits."""
        return self.euid == 0

    def with_real_for_files(self) -> Cred:
        """The credentials access(2) checks with: the real ids."""
        return self._replace(euid=self.ruid, fsuid=self.ruid, egid=self.rgid, fsgid=self.rgid)

    def set_id(self, uid: int | None, gid: int | None) -> Cred:
        """What an exec of a set-id file makes of it: effective, saved and file-system ids change."""
        cred = self
        if uid is not None:
            cred = cred._replace(euid=uid)
        if gid is not None:
            cred = cred._replace(egid=gid)
        return cred._replace(suid=cred.euid, fsuid=cred.euid, sgid=cred.egid, fsgid=cred.egid)
