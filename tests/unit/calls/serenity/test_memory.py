"""Mappings of SerenityOS: ranges, places, W^X, marks, purging, on the scripted machine; and what a hostile caller says."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from ring3.abi.flags import MountFlags, Prot
from ring3.calls.gate import gate
from ring3.calls.serenity.memory import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_PURGEABLE,
    MAP_RANDOMIZED,
    MAP_SHARED,
    MAP_STACK,
)
from ring3.errors import EPERM, Errno
from ring3.personality.serenity.exec_rules import USER_TOP
from ring3.policy import promises
from ring3.policy.confinement import Confinement
from ring3.proc.cred import Cred
from ring3.proc.procfs.maps import maps
from ring3.vm import vmspace
from ring3.vm.region import Region
from ring3.vm.traits import IMMUTABLE, MMAP, STACK, SYSCALL, Traits
from tests.unit.calls.serenity.guest import O_RDONLY, SerenityGuest
from tests.unit.calls.stage import BASE, ROOM

PAGE = 4096
RW, RX = 3, 5
FRESH = MAP_ANONYMOUS | MAP_PRIVATE
MMAP_CODES, REMAP_CODES, NAME_CODES = "<QQQIIi4xqQQ", "<QQQI4x", "<QQQQ"


def mapping(
    g: SerenityGuest, addr: int = 0, size: int = PAGE, prot: int = RW, flags: int = FRESH, fd: int = -1, offset: int = 0, *,
    alignment: int = 0, name: str | bytes | None = None,
) -> int:
    fields = (addr, size, alignment, prot, flags, fd, offset)
    return g.params(MMAP_CODES, *fields, name) if name is not None else g.params(MMAP_CODES, *fields, 0, 0)


def map_(g: SerenityGuest, *args: Any, **more: Any) -> int:
    return g.call("mmap", mapping(g, *args, **more))


def refused(g: SerenityGuest, *args: Any, **more: Any) -> str:
    return g.refusal("mmap", mapping(g, *args, **more))


def region_at(g: SerenityGuest, addr: int) -> Region:
    region = g.p.vm.find(addr)
    assert region is not None
    return region


def marks_at(g: SerenityGuest, addr: int) -> int:
    traits = region_at(g, addr).traits
    return traits.marks if traits is not None else 0


def test_the_lowest_place_with_room_for_size_and_alignment(g: SerenityGuest) -> None:
    low = g.p.vm.mmap_base
    first = map_(g)
    assert first == low
    assert map_(g) == low + PAGE
    g.call("munmap", first, PAGE)
    assert map_(g, size=2 * PAGE) == low + 2 * PAGE, "a gap of one page is too small"
    assert map_(g) == low + 4 * PAGE, "it needs one page more than it takes"
    assert map_(g, alignment=1 << 20) % (1 << 20) == 0


def test_a_random_place(g: SerenityGuest) -> None:
    class Switch:
        randomise = True

    g.t.system.execsw = Switch()
    places = {map_(g, flags=FRESH | MAP_RANDOMIZED, alignment=1 << 16) for _ in range(20)}
    assert len(places) == 20
    assert all(place % (1 << 16) == 0 and g.p.vm.mmap_base <= place < USER_TOP for place in places)
    assert max(places) - min(places) > 1 << 30


def test_a_full_space_is_enomem(g: SerenityGuest) -> None:
    g.p.vm.user_top = BASE + ROOM + 16 * PAGE
    room = BASE - PAGE - g.p.vm.mmap_base
    assert refused(g, size=room) == "ENOMEM", "the page of alignment is missing"
    assert refused(g, size=room, flags=FRESH | MAP_RANDOMIZED) == "ENOMEM"
    assert map_(g, size=room - PAGE) == g.p.vm.mmap_base
    assert map_(g, size=15 * PAGE) == BASE + ROOM
    assert refused(g) == "ENOMEM"


@pytest.mark.parametrize(("more", "errno"), [
    ({"size": (1 << 64) - 1}, "EINVAL"),
    ({"size": (1 << 64) - PAGE}, "EFAULT"),
    ({"size": (1 << 64) - PAGE, "addr": 2 * PAGE}, "EFAULT"),
    ({"size": 1 << 63}, "EFAULT"),
    ({"size": USER_TOP}, "ENOMEM"),
    ({"size": USER_TOP + 1}, "EFAULT"),
    ({"addr": USER_TOP}, "EFAULT"),
    ({"addr": USER_TOP - PAGE, "size": 2 * PAGE}, "EFAULT"),
    ({"addr": 1}, "EINVAL"),
    ({"size": 0}, "EINVAL"),
    ({"alignment": 1}, "EINVAL"),
    ({"alignment": 3 * PAGE}, "EINVAL"),
    ({"alignment": 1 << 63}, "ENOMEM"),
    ({"alignment": (1 << 64) - PAGE}, "EINVAL"),
    ({"flags": MAP_ANONYMOUS}, "EINVAL"),
    ({"flags": FRESH | MAP_SHARED}, "EINVAL"),
    ({"flags": FRESH | MAP_FIXED | MAP_RANDOMIZED}, "EINVAL"),
    ({"flags": FRESH | MAP_FIXED_NOREPLACE | MAP_RANDOMIZED}, "EINVAL"),
    ({"flags": MAP_ANONYMOUS | MAP_SHARED | MAP_STACK}, "EINVAL"),
    ({"flags": MAP_PRIVATE}, "EBADF"),
    ({"flags": MAP_PRIVATE, "offset": -PAGE}, "EINVAL"),
    ({"flags": MAP_PRIVATE, "offset": 5}, "EINVAL"),
    ({"prot": 4}, "EINVAL"),
    ({"prot": 7}, "EINVAL"),
    ({"addr": PAGE, "flags": FRESH | MAP_FIXED}, "ENOMEM"),
    ({"addr": BASE, "flags": FRESH | MAP_FIXED}, "EPERM"),
    ({"addr": BASE, "flags": FRESH | MAP_FIXED_NOREPLACE}, "ENOMEM"),
    ({"name": b"x" * 4097}, "ENAMETOOLONG"),
])
def test_refusals(g: SerenityGuest, more: dict[str, Any], errno: str) -> None:
    before = len(g.p.vm.regions)
    assert refused(g, **more) == errno
    assert len(g.p.vm.regions) == before


def test_errors_come_in_their_order(g: SerenityGuest) -> None:
    assert g.refusal("mmap", 8) == "EFAULT"
    assert refused(g, USER_TOP, PAGE, flags=0, name=b"x" * 5000) == "EFAULT"
    assert refused(g, size=0, flags=0, name=b"x" * 5000) == "ENAMETOOLONG"
    fd = g.open("/f")
    assert refused(g, prot=RW, flags=MAP_SHARED, fd=fd, offset=1) == "EINVAL"
    reader = g.open("/f", O_RDONLY)
    assert refused(g, prot=RW, flags=MAP_SHARED, fd=reader) == "EACCES"
    assert refused(g, flags=MAP_PRIVATE, fd=fd, offset=(1 << 63) - PAGE) == "EOVERFLOW"


def test_unmapping(g: SerenityGuest) -> None:
    assert g.call("munmap", 0, 15) == 0
    assert g.refusal("munmap", 0, 0) == "EINVAL"
    assert g.refusal("munmap", (1 << 64) - 1, 1) == "EINVAL"
    assert g.refusal("munmap", (1 << 64) - PAGE, PAGE) == "EINVAL"
    assert g.refusal("munmap", PAGE, (1 << 64) - 2 * PAGE) == "EFAULT"
    assert g.refusal("munmap", USER_TOP, 1) == "EFAULT"
    assert g.refusal("munmap", BASE + 5, 1) == "EPERM"
    one, two = map_(g), map_(g)
    assert g.refusal("munmap", one, BASE - one + 1) == "EPERM"
    assert region_at(g, one).length == region_at(g, two).length == PAGE, "nothing is half done"
    assert g.call("munmap", one + 100, 2 * PAGE - 200) == 0
    assert g.p.vm.find(one) is g.p.vm.find(two) is None


def test_protection_is_all_or_nothing(g: SerenityGuest) -> None:
    one = map_(g)
    map_(g)
    assert g.refusal("mprotect", one, 3 * PAGE, 1) == "ENOMEM"
    assert region_at(g, one).prot == RW
    assert g.call("mprotect", one, 2 * PAGE, 1) == 0
    assert g.refusal("mprotect", one - PAGE, PAGE // 2, 1) == "EINVAL"
    assert g.refusal("mprotect", one, (1 << 64) - one, 1) == "EINVAL"
    assert g.refusal("mprotect", one, 0, 1) == "EINVAL"
    assert g.refusal("mprotect", BASE, PAGE, 1) == "EPERM"


def file_mapping(g: SerenityGuest, prot: int, flags: int = MAP_PRIVATE, data: bytes = b"data") -> int:
    fd = g.open("/file")
    g.call("write", fd, data)
    return map_(g, 0, PAGE, prot, flags, fd)


def test_what_was_written_is_never_executed_and_the_reverse(g: SerenityGuest) -> None:
    text = file_mapping(g, RX)
    assert g.refusal("mprotect", text, PAGE, RW) == "EINVAL"
    g.call("mprotect", text, PAGE, 0)
    assert g.refusal("mprotect", text, PAGE, RW) == "EINVAL", "a region remembers"
    data = file_mapping(g, 1)
    g.call("mprotect", data, PAGE, RW)
    g.call("mprotect", data, PAGE, 1)
    assert g.refusal("mprotect", data, PAGE, RX) == "EINVAL"
    child = g.p.vm.fork()
    found = child.find(data)
    assert found is not None
    assert found.traits is not None
    assert found.traits.history == RW
    child.release()


def elf(kind: int) -> bytes:
    from tests.unit.exec.test_serenity_rows import CODE, READ, image

    return image(READ, CODE, kind=kind)


def test_text_that_was_relocated_is_the_exception(g: SerenityGuest) -> None:
    shared_object = file_mapping(g, RW, data=elf(3))
    assert g.refusal("mprotect", shared_object, PAGE, 4) == "EINVAL", "R-X alone"
    assert g.call("mprotect", shared_object, PAGE, RX) == 0
    assert g.refusal("mprotect", shared_object, PAGE, RW) == "EINVAL"
    program = map_(g, 0, PAGE, RW, MAP_PRIVATE, g.open("/program"))
    assert g.refusal("mprotect", program, PAGE, RX) == "EINVAL", "an empty file"
    fd = g.open("/exec")
    g.call("write", fd, elf(2))
    assert g.refusal("mprotect", map_(g, 0, PAGE, RW, MAP_PRIVATE, fd), PAGE, RX) == "EINVAL", "no shared object"
    assert g.refusal("mprotect", map_(g, 0, PAGE, RW, MAP_SHARED, fd), PAGE, RX) == "EINVAL", "not private"


@pytest.mark.parametrize(("flags", "fresh_code", "both"), [
    (MountFlags.NONE, False, False), (MountFlags.AXALLOWED, True, False), (MountFlags.WXALLOWED, False, True),
    (MountFlags.AXALLOWED | MountFlags.WXALLOWED, True, True),
])
def test_the_programs_mount_may_be_exempt(g: SerenityGuest, flags: MountFlags, fresh_code: bool, both: bool) -> None:
    g.p.exe = g.t.system.mounts.root
    g.t.system.mounts.root.mount.flags = flags
    fd = g.open("/file")
    cases = (((RX, FRESH), fresh_code), ((7, FRESH), fresh_code and both), ((7, MAP_PRIVATE), both))
    for (prot, kind), allowed in cases:
        params = mapping(g, 0, PAGE, prot, kind, fd)
        if allowed:
            assert g.call("mmap", params) > 0
        else:
            assert g.refusal("mmap", params) == "EINVAL"
    assert refused(g, prot=RX, flags=FRESH | MAP_STACK) == "EINVAL", "a stack never is"


def test_map_fixed_needs_no_promise_but_a_bit_of_prot_does(g: SerenityGuest) -> None:
    def under(words: str, **more: Any) -> str | int:
        g.p.confine(Confinement(gate, promises.parse(words), mode="eperm"))
        try:
            return map_(g, **more)
        except EPERM:
            return "EPERM"

    assert under("stdio", addr=0x5000_0000, flags=FRESH | MAP_FIXED) == 0x5000_0000
    assert under("stdio", prot=RW | 0x10) == "EPERM"
    assert under("stdio map_fixed", prot=RW | 0x10) != "EPERM"
    assert under("stdio", prot=RX) == "EPERM"


def test_marks_and_immutability(g: SerenityGuest) -> None:
    text = file_mapping(g, RX)
    assert g.refusal("annotate_mapping", text, 0) == "EINVAL"
    assert g.refusal("annotate_mapping", USER_TOP, 1) == "EFAULT"
    assert g.refusal("annotate_mapping", BASE, 1) == "EINVAL"
    assert g.refusal("annotate_mapping", text + PAGE, 1) == "EINVAL"
    g.call("annotate_mapping", text + 1, 3)
    assert marks_at(g, text) == MMAP | SYSCALL | IMMUTABLE
    for name, args in (("munmap", (text, 1)), ("mprotect", (text, 1, 1)), ("madvise", (text, PAGE, 1)),
                       ("annotate_mapping", (text, 2))):
        assert g.refusal(name, *args) == "EPERM"
    assert g.refusal("mremap", g.params(REMAP_CODES, text, PAGE, PAGE, 2)) == "EPERM"
    assert g.refusal("set_mmap_name", g.params(NAME_CODES, text, PAGE, "x")) == "EPERM"
    other = file_mapping(g, RX)
    code = region_at(g, BASE - PAGE)
    code.traits = Traits(SYSCALL, code.prot)            # where this test's calls come from
    assert g.call("annotate_mapping", 0, 5) == 0, "whatever the flags"
    assert g.refusal("annotate_mapping", other, 1) == "EPERM"
    assert g.refusal("annotate_mapping", 0, 1) == "EPERM"
    assert g.p.vm.traits is not None
    assert g.p.vm.traits.enforces


def test_names(g: SerenityGuest) -> None:
    addr = map_(g, name="a\nname")
    assert region_at(g, addr).label == b"a\nname"
    assert b" a\\012name\n" in maps(g.p)
    g.call("set_mmap_name", g.params(NAME_CODES, addr, PAGE, b"\xff\x00hidden"))
    assert region_at(g, addr).label == b"\xff"
    assert g.refusal("set_mmap_name", g.params(NAME_CODES, addr, 2 * PAGE, "x")) == "EINVAL"
    assert g.refusal("set_mmap_name", g.params(NAME_CODES, addr, PAGE, b"x" * 4097)) == "ENAMETOOLONG"
    assert g.refusal("set_mmap_name", g.params(NAME_CODES, BASE - PAGE, PAGE, "x")) == "EPERM"
    file = file_mapping(g, 1)
    assert b" /file\n" in maps(g.p)
    g.call("set_mmap_name", g.params(NAME_CODES, file, PAGE, "libc.so: .text"))
    assert b" libc.so: .text\n" in maps(g.p)


def test_mremap_makes_a_shared_file_private(g: SerenityGuest) -> None:
    text = file_mapping(g, RX, MAP_SHARED)
    g.call("annotate_mapping", text, 1)
    for flags, kind in ((MAP_SHARED, "ENOTIMPL"), (FRESH, "ENOTIMPL"), (MAP_PRIVATE | MAP_NORESERVE, "ENOTIMPL")):
        assert g.refusal("mremap", g.params(REMAP_CODES, text, PAGE, PAGE, flags)) == kind
    assert g.refusal("mremap", g.params(REMAP_CODES, text, 2 * PAGE, PAGE, MAP_PRIVATE)) == "EINVAL"
    assert g.call("mremap", g.params(REMAP_CODES, text, PAGE, 0, MAP_PRIVATE)) == text
    region = region_at(g, text)
    assert region.shared is False
    assert marks_at(g, text) == MMAP
    assert g.refusal("mremap", g.params(REMAP_CODES, text, PAGE, PAGE, MAP_PRIVATE)) == "ENOTIMPL"


def test_purging(g: SerenityGuest) -> None:
    addr = map_(g, size=2 * PAGE, flags=FRESH | MAP_PURGEABLE)
    g.p.vm.copyout(addr, b"kept")
    assert g.call("madvise", addr, 2 * PAGE, 1) == 0
    assert g.call("madvise", addr, 2 * PAGE, 2) == 0
    assert g.get(addr, 4) == b"kept"
    assert g.call("purge", 1) == 0, "nothing is volatile"
    g.call("madvise", addr, 2 * PAGE, 1)
    assert g.call("purge", 2) == 0
    assert g.call("purge", 1) == 2
    assert g.call("purge", 1) == 0, "once"
    assert g.call("madvise", addr, 2 * PAGE, 2) == 1
    assert g.get(addr, 4) == bytes(4)
    assert g.call("madvise", addr, 2 * PAGE, 2) == 0
    g.p.cred = Cred(5, 5, 5, 5, 5, 5, 5, 5)
    assert g.refusal("purge", 1) == "EPERM"


def test_become_a_stack(g: SerenityGuest) -> None:
    from ring3.calls.serenity.regions import become_stack

    addr = map_(g, 0x4000_0000, 4 * PAGE, flags=FRESH | MAP_FIXED)
    g.p.vm.copyout(addr + PAGE, b"old")
    g.call("mprotect", addr, 4 * PAGE, 1)
    become_stack(g.t, addr + PAGE + 5, PAGE - 10)
    assert [marks_at(g, addr + n * PAGE) for n in range(3)] == [MMAP, MMAP | STACK, MMAP]
    assert g.get(addr + PAGE, 3) == bytes(3)
    region = region_at(g, addr + PAGE)
    assert (region.length, region.prot) == (PAGE, RW)
    for start, nbytes, errno in (
        (addr, 0, "EINVAL"), (addr, (1 << 64) - 1, "EINVAL"), (USER_TOP, PAGE, "EFAULT"), (BASE, PAGE, "EPERM"),
        (addr, 5 * PAGE, "ENOMEM"), (0x5000_0000, PAGE, "EINVAL"), (map_(g, flags=MAP_SHARED | MAP_ANONYMOUS), 1, "EINVAL"),
        (file_mapping(g, RW), 1, "EINVAL"),
    ):
        with pytest.raises(Errno) as refusal:
            become_stack(g.t, start, nbytes)
        assert refusal.value.name == errno


def test_room_that_was_given_back_is_found_again(g: SerenityGuest) -> None:
    first = [map_(g) for _ in range(12)]
    g.call("munmap", first[3], 3 * PAGE)
    g.call("munmap", first[9], PAGE)
    assert map_(g, size=2 * PAGE) == first[3]
    assert map_(g) == first[11] + PAGE, "a page between two others is never enough"
    g.call("munmap", first[5], PAGE)
    g.call("munmap", first[3], 2 * PAGE)
    assert map_(g) == first[3]


def test_a_hidden_file_is_not_executed(g: SerenityGuest) -> None:
    from ring3.policy.confinement import new_veil

    fd = g.open("/file")
    g.p.confine(Confinement(gate, None, veil=new_veil(g.t.system, {b"/": 1})))
    assert map_(g, 0, PAGE, 1, MAP_PRIVATE, fd) > 0
    assert refused(g, 0, PAGE, RX, MAP_PRIVATE, fd) == "EACCES"


def test_the_number_of_mappings_is_bounded(g: SerenityGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmspace, "MAX_REGIONS", 40)
    params = mapping(g)
    for _ in range(40 - len(g.p.vm.regions)):
        g.call("mmap", params)
    assert g.refusal("mmap", params) == "ENOMEM"
    assert len(g.p.vm.regions) == 40


def test_the_time_page_ticks_while_it_is_mapped(g: SerenityGuest) -> None:
    addr = g.call("map_time_page")
    other = g.call("map_time_page")
    assert region_at(g, addr).object is region_at(g, other).object
    page = region_at(g, addr).object
    first, second = int.from_bytes(g.get(addr, 4), "little"), int.from_bytes(g.get(addr + 88, 4), "little")
    assert first == second > 0
    assert int.from_bytes(g.get(addr + 8, 8), "little") > 1_600_000_000
    stage_system = g.t.system
    stage_system.scheduler.timers.run_due(stage_system.now_ns() + 10_000_000)
    assert int.from_bytes(g.get(addr, 4), "little") > first
    assert g.refusal("munmap", addr, PAGE) == "EPERM"
    assert page is not None
    assert stage_system.scheduler.timers.next_deadline() is not None
    g.p.vm.release()
    assert stage_system.scheduler.timers.next_deadline() is None


def test_anonymous_files(g: SerenityGuest) -> None:
    for size in (0, 100, 1 << 63, (1 << 64) - PAGE):
        assert g.refusal("anon_create", size, 0) == "EINVAL"
    assert g.refusal("anon_create", 1 << 62, 0) == "ENOMEM"
    fd = g.call("anon_create", 2 * PAGE, 0x800)
    assert g.refusal("write", fd, b"x") == "ENOTSUP"
    assert g.refusal("read", fd, g.room(8), 8) == "ENOTSUP"
    assert fd in g.p.fds.cloexec
    addr = map_(g, 0, 2 * PAGE, RW, MAP_SHARED, fd)
    assert refused(g, 0, PAGE, RW, MAP_SHARED, fd, PAGE) == "EINVAL"
    g.call("madvise", addr, 2 * PAGE, 1)
    assert g.call("madvise", addr, 2 * PAGE, 2) == 0


@pytest.mark.parametrize("seed", range(4))
def test_hostile_arguments_are_answered(g: SerenityGuest, seed: int) -> None:
    """Any words at all: an errno or a result, and a region list that fits what the machine has mapped."""
    pick = random.Random(seed)
    g.p.fds.set(3, g.p.fds.get(g.open("/f")))
    edges = [0, 1, 5, PAGE - 1, PAGE, PAGE + 1, BASE, BASE + PAGE, USER_TOP, USER_TOP - 1, USER_TOP - PAGE, 1 << 32, 1 << 47,
             1 << 63, (1 << 63) - PAGE, (1 << 64) - PAGE, (1 << 64) - 1, 0x5000_0000]
    kinds = (FRESH, FRESH, MAP_PRIVATE, MAP_SHARED)

    def word() -> int:
        return pick.choice(edges) + pick.choice((0, 0, 0, PAGE, 1)) & (1 << 64) - 1

    def flags() -> int:
        return pick.choice((*kinds, pick.getrandbits(32))) | pick.choice((0, 0x10, 0x40, 0x100, 0x400))

    for _ in range(400):
        name = pick.choice(("mmap", "munmap", "mprotect", "mremap", "madvise", "msync", "set_mmap_name", "annotate_mapping",
                            "get_stack_bounds", "anon_create", "allocate_tls", "purge", "map_time_page"))
        if name == "mmap":
            args: tuple[int, ...] = (g.params(
                MMAP_CODES, word(), pick.choice((PAGE, 3 * PAGE, word())), pick.choice((0, PAGE, word())), pick.randrange(8),
                flags(), pick.randrange(-1, 5), word() - (1 << 63), pick.choice((0, word())), pick.choice((0, 9, word())),
            ),)
        elif name == "mremap":
            args = (g.params(REMAP_CODES, word(), word(), word(), flags()),)
        elif name == "set_mmap_name":
            args = (g.params(NAME_CODES, word(), word(), word(), pick.choice((0, 9, word()))),)
        else:
            args = (word(), word(), pick.choice((0, 1, 2, 3, word())))
        g._free = BASE + 64
        with suppress(Errno):
            assert isinstance(g.call(name, *args), int)
        assert all(a.end <= b.start for a, b in zip(g.p.vm.regions, g.p.vm.regions[1:], strict=False))
        assert all(region.end <= USER_TOP for region in g.p.vm.regions)
        assert not any(region.prot & 6 == 6 for region in g.p.vm.regions)
    assert region_at(g, BASE + 64).prot == Prot.READ | Prot.WRITE


# --- shared pages of files
def test_shared_mappings_of_a_file_reach_no_further_than_the_first(g: SerenityGuest) -> None:
    fd = g.open("/growing")
    g.call("write", fd, g.put(b"x" * 100), 100)
    first = map_(g, 0, 2 * PAGE, RW, MAP_SHARED, fd)                        # a page more than the file has
    g.call("ftruncate", fd, g.words(10 * PAGE))
    assert refused(g, 0, 3 * PAGE, RW, MAP_SHARED, fd) == "EINVAL"
    assert refused(g, 0, PAGE, RW, MAP_SHARED, fd, 2 * PAGE) == "EINVAL"
    second = map_(g, 0, PAGE, RW, MAP_SHARED, fd, PAGE)
    assert map_(g, 0, 9 * PAGE, RW, MAP_PRIVATE, fd)
    again = map_(g, 0, 2 * PAGE, 1, MAP_SHARED, g.open("/growing", O_RDONLY))
    place = map_(g, size=3 * PAGE)
    assert refused(g, place, 3 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd) == "EINVAL"
    assert g.p.vm.find(place) is None, "what was there is gone already"
    private = map_(g, 0, PAGE, RW, MAP_PRIVATE, fd)
    g.call("munmap", first, PAGE)
    g.call("munmap", again, 2 * PAGE)
    assert refused(g, 0, 3 * PAGE, RW, MAP_SHARED, fd) == "EINVAL", "a page of the first is there still"
    g.call("munmap", first + PAGE, PAGE)
    g.call("munmap", second, PAGE)
    assert not g.t.system.extents, f"{private:#x} is no part of it"
    assert map_(g, 0, PAGE, RW, MAP_SHARED, fd)
    assert map_(g, 0, 10 * PAGE, RW, MAP_SHARED, fd)
    assert refused(g, 0, 11 * PAGE, RW, MAP_SHARED, fd) == "EINVAL"


def test_what_becomes_private_lies_within_the_file(g: SerenityGuest) -> None:
    fd = g.open("/short")
    g.call("write", fd, g.put(b"x" * 100), 100)
    for size, refusal in ((PAGE, ""), (2 * PAGE, "EINVAL")):
        addr = map_(g, 0, size, 1, MAP_SHARED, fd)
        params = g.params(REMAP_CODES, addr, size, size, MAP_PRIVATE)
        if not refusal:
            assert g.call("mremap", params) == addr
            continue
        assert g.refusal("mremap", params) == refusal
        assert g.p.vm.find(addr) is None
