"""System calls, by subject.  A call is one typed function (`syscall.syscall`); `trap` serves a stop with it.

`sysarg` says how a register becomes an argument and how it prints; everything else (dispatch, tracing, the support table)
is derived from the functions.  Handlers never see registers, numbers of a system, or a CPU.
"""
