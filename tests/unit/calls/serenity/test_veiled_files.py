"""What the calls about files ask of a program's own veil (unveil), option by option: reference, section 3.5."""

from __future__ import annotations

import pytest

from ring3.calls.gate import gate
from ring3.policy.confinement import Confinement
from ring3.policy.veil import Veil, parse_permissions
from tests.unit.calls.serenity.guest import (
    AT_FDCWD,
    O_CREAT,
    O_DIRECTORY,
    O_EXEC,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    SerenityGuest,
)


@pytest.fixture
def veiled(g: SerenityGuest) -> SerenityGuest:
    """/r /w /x /c /b /rwc, directories unveiled for that with a file in each; /none is hidden."""
    for name in ("r", "w", "x", "c", "b", "rwc", "none"):
        g.call("mkdir", AT_FDCWD, f"/{name}", 0o755)
        g.call("close", g.open(f"/{name}/file", O_RDWR | O_CREAT, 0o755))
    g.call("symlink", g.params("<QQQQi4x", "/r/file", "/w/link", AT_FDCWD))
    for name in ("r", "w", "x", "c", "b", "rwc"):
        g.call("unveil", g.params("<i4xQQQQ", 1, f"/{name}", name))
    return g


@pytest.mark.parametrize(("path", "options", "refusal"), [
    ("/r/file", O_RDONLY, None), ("/r/file", O_WRONLY, "EACCES"), ("/r/file", O_EXEC, "EACCES"), ("/r/file", 0, None),
    ("/w/file", O_WRONLY, None), ("/w/file", O_RDWR, "EACCES"), ("/x/file", O_EXEC, None), ("/x/file", O_RDONLY, "EACCES"),
    ("/w/file", O_WRONLY | O_CREAT, "EACCES"), ("/w/new", O_WRONLY | O_CREAT, "EACCES"), ("/rwc/file", O_RDWR | O_CREAT, None),
    ("/rwc/new", O_RDWR | O_CREAT, None), ("/b", O_RDONLY | O_DIRECTORY, None), ("/b", O_RDONLY, "EACCES"),
    ("/b/file", O_RDONLY, "EACCES"), ("/r", O_RDONLY | O_DIRECTORY, None), ("/none/file", O_RDONLY, "ENOENT"),
    ("/none/file", 0, "ENOENT"), ("/none/file", O_RDWR | O_CREAT, "ENOENT"), ("/none/new", O_RDWR | O_CREAT, "ENOENT"),
    ("/w/link", O_RDONLY, "EACCES"), ("/r/../none/file", O_RDONLY, "ENOENT"),
])
def test_open(veiled: SerenityGuest, path: str, options: int, refusal: str | None) -> None:
    params = veiled.params("<i4xQQiH2x", AT_FDCWD, path, options, 0o644)
    if refusal is None:
        assert veiled.call("open", params) >= 0
    else:
        assert veiled.refusal("open", params) == refusal


def test_what_has_no_options_needs_only_be_seen(veiled: SerenityGuest) -> None:
    g, buf = veiled, veiled.room(128)
    for name in ("r", "w", "x", "c", "b"):
        path = f"/{name}/file"
        assert g.call("stat", g.params("<QQQii", path, buf, AT_FDCWD, 1)) == 0
        assert g.call("chmod", g.params("<i4xQQH2xi", AT_FDCWD, path, 0o700, 1)) == 0
        assert g.call("chown", g.params("<QQIIii", path, 1, 1, AT_FDCWD, 1)) == 0
        assert g.call("utime", path, 0) == 0
        assert g.call("faccessat", g.params("<i4xQQii", AT_FDCWD, path, 7, 0)) == 0
        assert g.call("chdir", f"/{name}") == 0
        assert g.call("realpath", g.params("<QQQQ", path, buf, 100)) > 0
        assert g.call("statvfs", g.params("<QQQ", path, buf)) == 0
    for name, args in (
        ("stat", (g.params("<QQQii", "/none/file", buf, AT_FDCWD, 1),)), ("chdir", ("/none",)), ("utime", ("/none/file", 0)),
        ("chmod", (g.params("<i4xQQH2xi", AT_FDCWD, "/none/file", 0o700, 1),)), ("unlink", (AT_FDCWD, "/none/file", 0)),
        ("rmdir", ("/none",)), ("rename", (g.params("<i4xQQi4xQQ", AT_FDCWD, "/none/file", AT_FDCWD, "/rwc/x"),)),
        ("faccessat", (g.params("<i4xQQii", AT_FDCWD, "/none/file", 0, 0),)),
        ("link", (g.params("<QQQQ", "/none/file", "/rwc/x"),)),
        ("rename", (g.params("<i4xQQi4xQQ", AT_FDCWD, "/rwc/file", AT_FDCWD, "/none/x"),)), ("mkdir", (AT_FDCWD, "/none/x", 0o755)),
    ):
        assert g.refusal(name, *args) == "ENOENT", name


def test_names_need_c(veiled: SerenityGuest) -> None:
    g = veiled
    assert g.refusal("unlink", AT_FDCWD, "/r/file", 0) == "EACCES"
    assert g.refusal("mkdir", AT_FDCWD, "/w/new", 0o755) == "EACCES"
    assert g.call("mkdir", AT_FDCWD, "/c/new", 0o755) == 0
    assert g.call("unlink", AT_FDCWD, "/c/file", 0) == 0
    assert g.refusal("readlink", g.params("<QQQQi4x", "/w/link", g.room(64), 64, AT_FDCWD)) == "EACCES"
    assert g.refusal("link", g.params("<QQQQ", "/r/file", "/rwc/hard")) == "EACCES"


def test_the_users_veil_asks_for_what_is_done(g: SerenityGuest) -> None:
    """What a program may do to itself by its own rules, the user's veil does not let it: seeing is not changing."""
    g.call("close", g.open("/file", O_RDWR | O_CREAT, 0o644))
    fd = g.open("/file", O_RDONLY)
    veil = Veil(g.p.fs.root)
    veil.unveil(b"/file", parse_permissions("r"))
    g.p.confine(Confinement(gate, None, veil=veil))
    for name, args in (
        ("chmod", (g.params("<i4xQQH2xi", AT_FDCWD, "/file", 0o700, 1),)), ("utime", ("/file", 0)), ("fchmod", (fd, 0o700)),
        ("chown", (g.params("<QQIIii", "/file", 1, 1, AT_FDCWD, 1),)), ("fchown", (fd, 1, 1)), ("umount", ("/file",)),
        ("faccessat", (g.params("<i4xQQii", AT_FDCWD, "/file", 2, 0),)),
    ):
        assert g.refusal(name, *args) == "EACCES", name
    assert g.call("faccessat", g.params("<i4xQQii", AT_FDCWD, "/file", 4, 0)) == 0
