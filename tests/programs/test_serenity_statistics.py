"""What SerenityOS's programs read of the kernel: /proc/PID as it is there, and /sys/kernel; and that nobody else sees it so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ring3
from tests.guest.serenity.build import HERE, build

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(240)]


def tells(*words: str, **options: Any) -> dict[str, str]:
    """What the guest `tells` says of each path."""
    with ring3.Kernel() as kernel:
        done = kernel.run([str(build(HERE / "tells.c")), *words], capture_output=True, text=True, timeout=90,
                          personality="serenity", **options)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split(" -> ", 1) for line in done.stdout.splitlines())


def test_a_process_of_its_own() -> None:
    said = tells("pledge=rpath stdio unix", "unveil=/proc", "unveil=/etc", "/proc/self/pledge", "/proc/self/unveil",
                 "/proc/self/cmdline", "/proc/2/cmdline", "list=/proc/self", "list=/proc/self/fd", "list=/proc/self/stacks",
                 "list=/proc/self/children")
    assert json.loads(said["/proc/self/pledge"]) == {"promises": "stdio rpath unix"}
    assert json.loads(said["/proc/self/unveil"]) == [{"path": "/etc", "permissions": "r"}, {"path": "/proc", "permissions": "r"}]
    words = json.loads(said["/proc/self/cmdline"])
    assert words == json.loads(said["/proc/2/cmdline"])
    assert (words[0].rpartition("/")[2], words[1], words[-1]) == ("tells", "pledge=rpath stdio unix", "list=/proc/self/children")
    assert said["/proc/self"].split() == [
        ".", "..", "fd", "stacks", "children", "unveil", "pledge", "fds", "exe", "cwd", "perf_events", "vm", "cmdline",
    ]
    assert (said["/proc/self/fd"].split(), said["/proc/self/stacks"].split()) == ([".", "..", "0", "1", "2", "3"], [".", "..", "2"])


def test_links(tmp_path: Path) -> None:
    said = tells("link=/proc/self", "link=/proc/self/exe", "link=/proc/self/cwd", "/proc/self/perf_events", "/proc/none",
                 "/proc/4000", "link=/proc/1/exe", "/proc/self/none", cwd=tmp_path)
    assert (said["/proc/self"], said["/proc/self/cwd"]) == ("2", str(tmp_path))
    assert said["/proc/self/exe"].endswith("/tells")
    assert [said[path] for path in ("/proc/none", "/proc/4000", "/proc/self/none")] == ["error 3", "error 2", "error 2"]
    assert (said["/proc/self/perf_events"], said["/proc/1/exe"]) == ("error 59", "error 8")                 # ENOBUFS, ENOEXEC


def test_what_is_open(tmp_path: Path) -> None:
    rows = json.loads(tells("/proc/self/fds", cwd=tmp_path)["/proc/self/fds"])
    assert [row["fd"] for row in rows] == [0, 1, 2, 3]
    assert [row["class"] for row in rows][1:] == ["FIFO", "FIFO", "InodeFile"]
    assert rows[3]["absolute_path"] == "/proc/2/fds"
    assert set(rows[3]) == {
        "fd", "absolute_path", "seekable", "class", "offset", "cloexec", "blocking", "can_read", "can_write", "inode",
    }


def test_what_is_mapped() -> None:
    rows = {row["name"]: row for row in json.loads(tells("/proc/self/vm")["/proc/self/vm"])}
    stack, trampoline = rows["Stack (Main thread)"], rows["Signal trampoline"]
    assert (stack["stack"], stack["writable"], stack["executable"], stack["vmobject"]) == (True, True, False, "AnonymousVMObject")
    assert (trampoline["syscall"], trampoline["executable"], trampoline["writable"]) == (True, True, False)
    assert stack["volatile"] is False
    assert "volatile" not in trampoline


def test_all_processes() -> None:
    said = tells("pledge=stdio rpath proc", "child", "/sys/kernel/processes")
    whole = json.loads(said["/sys/kernel/processes"])
    assert set(whole) == {"processes", "total_time", "total_time_kernel"}
    kernel, parent, child = whole["processes"]
    assert (kernel["kernel"], parent["kernel"], kernel["pid"]) == (True, False, 1)
    assert (parent["name"], parent["pledge"], parent["veil"], parent["dumpable"]) == ("tells", "stdio rpath proc ", "None", True)
    assert (child["ppid"], child["uid"], child["executable"].endswith("/tells")) == (parent["pid"], 0, True)
    assert [thread["state"] for thread in parent["threads"] + child["threads"]] == ["Waiting", "Running"]
    assert 0 < child["amount_resident"] < child["amount_virtual"]


def test_the_machine() -> None:
    names = ("df", "memstat", "stats", "cpuinfo", "keymap", "jails", "interrupts", "net/adapters", "net/tcp")
    said = {name: json.loads(text) for name, text in zip(names, tells(*(f"/sys/kernel/{n}" for n in names)).values(), strict=True)}
    assert {"/", "/proc", "/sys"} <= {row["mount_point"] for row in said["df"]}
    assert [row["class_name"] for row in said["df"] if row["mount_point"] in ("/proc", "/sys")] == ["ProcFS", "SysFS"]
    stats = said["stats"]
    assert stats["user_time"] + stats["kernel_time"] == stats["total_time"] > stats["idle_time"] > 0
    assert said["memstat"]["physical_available"] > 0
    assert [row["processor"] for row in said["cpuinfo"]][:1] == [0]
    assert (said["keymap"], said["jails"], said["interrupts"], said["net/tcp"]) == ({"keymap": "en-us"}, [], [], [])
    said_texts = tells("/sys/kernel/uptime", "/sys/kernel/cmdline", "/sys/kernel/system_mode", "list=/sys", "list=/sys/kernel/net")
    assert int(said_texts["/sys/kernel/uptime"]) > 0
    assert (said_texts["/sys/kernel/system_mode"], said_texts["/sys"].split()) == ("text", [".", "..", "kernel"])


def test_who_may_look() -> None:
    """Another user's process shows its name and where it runs, not what it has; what is not dumpable shows nothing."""
    said = tells(
        "child", "setuid=1000", "/proc/2/cmdline", "/proc/2/fds", "link=/proc/2/cwd", "link=/proc/2/fd/0", "/proc/self/cmdline"
    )
    assert {said["/proc/2/cmdline"], said["/proc/2/fds"], said["/proc/2/fd/0"]} == {"error 13"}             # EACCES
    assert said["/proc/2/cwd"].startswith("/")
    assert said["/proc/self/cmdline"] == "error 1"                                          # EPERM: changing ids clears dumpable
    said = tells(
        "dumpable=0", "/proc/self/cmdline", "link=/proc/self/exe", "write=/proc/self/unveil", "dumpable=1", "list=/proc/self"
    )
    assert (said["/proc/self/cmdline"], said["/proc/self/exe"], said["/proc/self/unveil"]) == ("error 1", "error 1", "error 1")
    assert "cmdline" in said["/proc/self"]
    assert tells("write=/proc/self/unveil")["/proc/self/unveil"] == "error 30"              # EROFS


def test_settings_are_roots_and_not_a_jails() -> None:
    path = "/sys/kernel/variables/coredump_directory"
    assert list(tells("write=" + path, path).values()) == ["/tmp/cores"]
    assert tells("setuid=1000", "write=" + path)[path] == "error 13"
    assert tells("jail", "write=" + path)[path] == "error 1"


def test_a_jail_sees_itself() -> None:
    said = tells("child", "jail", "/sys/kernel/processes", "list=/proc", "/proc/1/cmdline", "/proc/2/cmdline", "/sys/kernel/jails",
                 "/sys/kernel/cpuinfo", "/sys/kernel/uptime")
    assert [row["pid"] for row in json.loads(said["/sys/kernel/processes"])["processes"]] == [3]
    assert said["/proc"].split() == [".", "..", "self", "3"]
    assert (said["/proc/1/cmdline"], said["/proc/2/cmdline"]) == ("error 2", "error 2")
    assert (said["/sys/kernel/jails"], said["/sys/kernel/cpuinfo"]) == ("[]", "error 1")
    assert int(said["/sys/kernel/uptime"]) > 0


def test_the_users_veil_and_promises_hold() -> None:
    program = f"{build(HERE / 'tells.c')}:rx"
    said = tells("/proc/self/pledge", "/sys/kernel/stats", unveil=[program, "/proc:r"])
    assert (said["/proc/self/pledge"], said["/sys/kernel/stats"]) == ("{}", "error 2")
    said = tells("/proc/self/cmdline", "/proc/1/cmdline", pledge="stdio rpath", pledge_mode="eperm")
    assert (said["/proc/self/cmdline"][:1], said["/proc/1/cmdline"]) == ("[", "error 1")
    said = tells("pledge=stdio rpath", "/proc/1/cmdline")              # its own promises ask for no more there
    assert said["/proc/1/cmdline"] == "[]"


def test_linux_programs_see_what_they_always_saw() -> None:
    command = ["/bin/sh", "-c", "ls /sys; ls /proc/$$; cat /proc/$$/comm /proc/mounts"]
    with ring3.Kernel() as kernel:
        before = kernel.run(command, capture_output=True)
        kernel.run([str(build(HERE / "tells.c"))], personality="serenity", timeout=90)
        after = kernel.run(command, capture_output=True)
    assert (before.stdout, before.returncode) == (after.stdout, 0)


def test_what_the_user_mounts_stays(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "mine").write_text("of the user\n")
    with ring3.Kernel(mounts=[f"{tmp_path}:/sys"]) as kernel:
        done = kernel.run([str(build(HERE / "tells.c")), "/sys/kernel/mine", "/sys/kernel/stats"], capture_output=True, text=True,
                          personality="serenity", timeout=90)
    assert done.stdout.splitlines() == ["/sys/kernel/mine -> of the user", "/sys/kernel/stats -> error 2"]


def test_a_root_of_that_system_has_them_too(tmp_path: Path) -> None:
    for name in ("proc", "sys", "bin"):
        (tmp_path / name).mkdir()
    with ring3.Kernel(emul={"serenity": str(tmp_path)}) as kernel:
        done = kernel.run([str(build(HERE / "tells.c")), "list=/proc", "/proc/self/pledge", "/sys/kernel/keymap"],
                          capture_output=True, text=True, personality="serenity", timeout=90)
    assert done.stdout.splitlines() == [
        "/proc -> . .. self 1 2 ", "/proc/self/pledge -> {}", '/sys/kernel/keymap -> {"keymap":"en-us"}',
    ]
