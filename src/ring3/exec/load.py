"""load: run a plan's VMCmds into a new space on the side.

May fail, and then nothing is left: the caller has its own space still, the new one is given back.  What is made here
is everything the commit needs that could be refused: the space and the machine thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ring3.errors import EFAULT, Errno, from_oserror
from ring3.exec.plan import MAP, VDSO, WRITE, ExecDeath, ExecPlan, ImageFile, VMCmd
from ring3.vfs.mapping import VnodeObject
from ring3.vm.region import Region
from ring3.vm.vmspace import VMSpace

if TYPE_CHECKING:
    from ring3.machine.base import Cpu
    from ring3.proc.proc import Thread
    from ring3.protocols import Abi


class Loaded(NamedTuple):
    """A plan with its space, the machine thread that will run in it, and the system-call table it will use."""

    plan: ExecPlan
    vm: VMSpace
    cpu: Cpu
    abi: Abi


def load(t: Thread, plan: ExecPlan, observe: Callable[[str], None] | None = None) -> Loaded | ExecDeath:
    """Build what `plan` says.  A failure the calling system would meet too late is a death.

    Raises ENOMEM, EAGAIN and what the host says; nothing is left then.
    """
    step = "space"

    def at_step(name: str) -> None:
        nonlocal step
        step = name
        if observe is not None:
            observe(name)

    vm: VMSpace | None = None
    try:
        try:
            at_step("space")
            vm = new_space(t, plan)
            at_step("run vmcmds")
            run_vmcmds(t, plan, vm)
            at_step("thread")
            abi = plan.personality.abis[plan.arch]          # built at its first use
            cpu = t.system.machine.new_thread(vm.machine)
        except OSError as error:
            raise from_oserror(error) from error
    except Errno as refusal:
        if vm is not None:
            vm.release()
        signal = t.proc.personality.exec.death(step, refusal)
        if not signal:
            raise
        return ExecDeath(signal, step, f"{refusal.name}: {refusal}")
    except BaseException:
        if vm is not None:
            vm.release()
        raise
    for register, value in plan.registers:
        cpu.regs[register] = value
    return Loaded(plan, vm, cpu, abi)


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
    return vm


def run_vmcmds(t: Thread, plan: ExecPlan, vm: VMSpace) -> None:
    """All mappings together, then the writes.  Raises `Errno` or OSError."""
    objects = {id(plan.exe): file_object(t, plan.exe)}
    vm.set_text(objects[id(plan.exe)])
    with vm.batch():
        for command in plan.vmcmds:
            if command.kind == VDSO:
                vdso = t.system.facts.vdso[plan.arch]
                vm.map_vdso(plan.arch, command.addr, vdso.data_size, vdso.code_size)
            elif command.kind != WRITE:
                vm.map(_region(t, command, objects))
    for command in plan.vmcmds:
        if command.kind == WRITE and vm.machine.write(command.addr, command.data) != command.length:
            raise EFAULT


def _region(t: Thread, command: VMCmd, objects: dict[int, VnodeObject]) -> Region:
    end = command.addr + command.length
    if command.kind != MAP:
        return Region(command.addr, end, command.prot, growsdown=command.growsdown, label=command.label)
    assert command.file is not None
    backing = objects.get(id(command.file))
    if backing is None:
        backing = objects[id(command.file)] = file_object(t, command.file)
    return Region(command.addr, end, command.prot, object=backing, offset=command.offset)


def file_object(t: Thread, file: ImageFile) -> VnodeObject:
    """What backs the segments of one file of an image."""
    return VnodeObject(file.vnode, file.dentry, t.proc.fs.root, name=file.path, moved=t.system.object_moved)
