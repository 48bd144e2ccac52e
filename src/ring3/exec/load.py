"""load: run a plan's VMCmds into a new space on the side.

May fail, and then nothing is left: the caller has its own space still, the new one is given back.  What is made here
is everything the commit needs that could be refused: the space and the machine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import OpenFlags
from ring3.errors import EFAULT, EIO, ENOEXEC, ENOMEM, Errno, from_oserror
from ring3.exec.plan import ARGUMENTS, MAP, PS_STRINGS, READ, VDSO, WRITE, ExecDeath, ExecPlan, ImageFile, VMCmd
from ring3.namedtuple import NamedTuple
from ring3.proc.lookup import namei_context
from ring3.vfs.mapping import VnodeObject
from ring3.vfs.opening import open_file
from ring3.vm.region import PAGE, Region, page_ceil, page_floor
from ring3.vm.vmspace import VMSpace

if TYPE_CHECKING:
    from ring3.machine.base import Cpu
    from ring3.proc.proc import Thread
    from ring3.proc.system import System
    from ring3.protocols import Abi
    from ring3.vfs.file import File


_WRITE_STEPS: Final[Mapping[bytes, str]] = MappingProxyType({ARGUMENTS: "copyargs", PS_STRINGS: "ps_strings"})
_MAX_COPY: Final = 32 << 20         # bytes that all READs of a plan may copy; what can be mapped instead is
_CHUNK: Final = 1 << 20


class Loaded(NamedTuple):
    """A plan with its space, the machine thread that will run in it, the system-call table it will use, and the
    descriptors it gets.
    """

    plan: ExecPlan
    vm: VMSpace
    cpu: Cpu
    abi: Abi
    opened: tuple[tuple[int, File], ...] = ()


def load(t: Thread, plan: ExecPlan, observe: Callable[[str], None] | None = None) -> Loaded | ExecDeath:
    """Build what `plan` says.  A failure the calling system would meet too late is a death.

    Raises ENOMEM, EAGAIN and what the host says; nothing is left then.
    """
    if plan.personality.incomplete:
        raise ENOEXEC(plan.personality.incomplete)
    step = "space"

    def at_step(name: str) -> None:
        nonlocal step
        step = name
        if observe is not None:
            observe(name)

    vm: VMSpace | None = None
    opened: list[tuple[int, File]] = []
    try:
        try:
            at_step("space")
            vm = new_space(t, plan)
            at_step("run vmcmds")
            run_vmcmds(t, plan, vm, at_step)
            if plan.opens:
                at_step("descriptors")
                for fd, target in plan.opens:
                    opened.append((fd, _open(t, target)))
            if plan.sigcode:
                at_step("sigcode")
                map_sigcode(t, plan, vm)
            at_step("thread")
            abi = plan.personality.abis[plan.arch]          # built at its first use
            cpu = t.system.machine.new_thread(vm.machine)
        except OSError as error:
            raise from_oserror(error) from error
    except Errno as refusal:
        _give_back(vm, opened)
        status = t.proc.personality.exec.death(step, refusal)
        if not status:
            raise
        return ExecDeath(status, step, f"{refusal.name}: {refusal}")
    except BaseException:
        _give_back(vm, opened)
        raise
    for register, value in plan.registers:
        cpu.regs[register] = value
    return Loaded(plan, vm, cpu, abi, tuple(opened))


def _give_back(vm: VMSpace | None, opened: list[tuple[int, File]]) -> None:
    if vm is not None:
        vm.release()
    for _, file in opened:
        file.close()


def _open(t: Thread, target: ImageFile | None) -> File:
    """A descriptor's file: one the exec itself holds, for reading; or the null device, for all."""
    if target is None:
        return open_file(namei_context(t), b"/dev/null", OpenFlags.RDWR)
    file = target.vnode.open(OpenFlags.RDONLY)
    file.dentry = target.dentry
    return file


def new_space(t: Thread, plan: ExecPlan) -> VMSpace:
    """An empty space with the plan's layout.  Raises OSError."""
    where, stack = plan.layout, plan.stack
    vm = VMSpace(t.system.machine.new_space(), min_addr=where.min_addr, user_top=where.user_top)
    vm.mmap_base = where.mmap_base
    vm.legacy_layout = where.legacy
    vm.brk_start = vm.brk_end = where.brk
    vm.stack_top = where.stack_top
    vm.stack_limit = where.stack_limit
    vm.arg_start, vm.arg_end = stack.arg_start, stack.arg_end
    vm.env_start, vm.env_end = stack.env_start, stack.env_end
    vm.auxv = stack.auxv_bytes
    vm.kept = stack.kept
    vm.sizes, vm.ps_strings = where.sizes, where.ps_strings
    if where.tls is not None:
        from ring3.vm.traits import SpaceTraits

        vm.traits = SpaceTraits(tls=where.tls)
    return vm


def run_vmcmds(t: Thread, plan: ExecPlan, vm: VMSpace, at_step: Callable[[str], None] = lambda _: None) -> None:
    """All mappings together, then what is read and written.  Raises ENOMEM for more than is copied, any `Errno` or OSError."""
    if sum(_copied(command) for command in plan.vmcmds if command.kind == READ) > _MAX_COPY:
        raise ENOMEM("more of the file is to be copied than this kernel copies")
    objects = {id(plan.exe): file_object(t, plan.exe)}
    vm.set_text(objects[id(plan.exe)])
    with vm.batch():
        for command in plan.vmcmds:
            if command.kind == VDSO:
                vdso = t.system.facts.vdso[plan.arch]
                vm.map_vdso(plan.arch, command.addr, vdso.data_size, vdso.code_size)
            elif command.kind == READ:
                _map_read(t, command, vm, objects)
            elif command.kind != WRITE and command.length:
                vm.map(_region(t, command, objects))
    for number, command in enumerate(plan.vmcmds):
        if command.kind == READ:
            _copy(command, plan.vmcmds[number + 1 :], vm)
        elif command.kind == WRITE:
            if command.label:
                at_step(_WRITE_STEPS[command.label])
            if vm.machine.write(command.addr, command.data) != command.length:
                raise EFAULT


def _map_read(t: Thread, command: VMCmd, vm: VMSpace, objects: dict[int, VnodeObject]) -> None:
    """The memory of a READ (vmcmd_map_readvn): whole pages whose bytes lie in the file as in memory are shown, not
    copied.
    """
    start, whole = page_floor(command.addr), _shown(command)
    if whole > start:
        shown = command._replace(kind=MAP, addr=start, length=whole - start, offset=command.offset - (command.addr - start))
        vm.map(_region(t, shown, objects))
    end = page_ceil(command.addr + command.length)
    if end > whole:
        vm.map(_region(t, command._replace(addr=whole, length=end - whole), objects))


def _shown(command: VMCmd) -> int:
    """Where the part of a READ ends that can be shown; its start where none can."""
    start = page_floor(command.addr)
    end = page_floor(command.addr + command.length)
    offset = command.offset - (command.addr - start)
    assert command.file is not None
    if start != command.addr or offset % PAGE or end <= start or offset + (end - start) > page_floor(command.file.size):
        return start
    return end


def _copied(command: VMCmd) -> int:
    """How many bytes of a READ are copied, unless later commands replace them."""
    return command.addr + command.length - max(_shown(command), command.addr)


def _copy(command: VMCmd, later: tuple[VMCmd, ...], vm: VMSpace) -> None:
    """The bytes of a READ that are neither shown nor replaced by later commands.  Raises EIO where the file ends too
    early.
    """
    assert command.file is not None
    end = command.addr + command.length
    for start, stop in _uncovered(max(_shown(command), command.addr), end, later):
        while start < stop:
            nbytes = min(_CHUNK, stop - start)
            data = command.file.vnode.read(command.offset + (start - command.addr), nbytes)
            if len(data) != nbytes:
                raise EIO("the file ends too early")
            if data.count(0) != nbytes and vm.machine.write(start, data) != nbytes:
                raise EFAULT
            start += nbytes


def _uncovered(start: int, end: int, later: tuple[VMCmd, ...]) -> Iterator[tuple[int, int]]:
    """The parts of [start, end) that no later mapping replaces."""
    parts = [(start, end)] if start < end else []
    for command in later:
        if command.kind != WRITE and command.length:
            low, high = page_floor(command.addr), page_ceil(command.addr + command.length)
            cut: list[tuple[int, int]] = []
            for s, e in parts:
                cut += [(a, b) for a, b in ((s, min(e, low)), (max(s, high), e)) if a < b]
            parts = cut
    yield from parts


def map_sigcode(t: Thread, plan: ExecPlan, vm: VMSpace) -> None:
    """Show the signal trampoline (NetBSD: exec_sigcode_map): one object for all processes with that code, made at first
    use.
    """
    length = page_ceil(len(plan.sigcode))
    code = t.system.sigcode.get(plan.sigcode)
    if code is None:
        code = t.system.sigcode[plan.sigcode] = _sigcode_object(t.system, plan.sigcode)
    start = plan.layout.sigcode
    label, marks = plan.personality.exec.sigcode_name
    vm.map(_marked(Region(start, start + length, 5, object=code, shared=True, max_prot=5, label=label), marks))
    vm.sigcode = start


def _sigcode_object(system: System, code: bytes) -> VnodeObject:
    """The object itself; a reference of the kernel's own keeps it."""
    from ring3.vfs.memfd import memfd_create
    from ring3.vfs.memory import MemoryFS

    if system.memfds is None:
        system.memfds = MemoryFS()
    file = memfd_create(system.memfds, b"sigcode", 0)
    file.acquire()
    file.write(code)
    assert file.vnode is not None
    return VnodeObject(file.vnode, name=b"[sigcode]", file=file)


def _region(t: Thread, command: VMCmd, objects: dict[int, VnodeObject]) -> Region:
    end = command.addr + command.length
    if command.kind != MAP:
        return _marked(Region(
            command.addr, end, command.prot, growsdown=command.growsdown, label=command.label, max_prot=command.max_prot
        ), command.marks)
    assert command.file is not None
    backing = objects.get(id(command.file))
    if backing is None:
        backing = objects[id(command.file)] = file_object(t, command.file)
    return _marked(
        Region(command.addr, end, command.prot, object=backing, offset=command.offset, max_prot=command.max_prot), command.marks
    )


def _marked(region: Region, marks: int) -> Region:
    if marks:
        from ring3.vm.traits import Traits

        region.traits = Traits(marks, region.prot)
    return region


def file_object(t: Thread, file: ImageFile) -> VnodeObject:
    """What backs the segments of one file of an image."""
    return VnodeObject(file.vnode, file.dentry, t.proc.fs.root, name=file.path, moved=t.system.object_moved)
