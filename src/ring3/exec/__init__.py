"""Exec: from a request to a running program, in three parts that can be told apart.

`check` looks and makes an `ExecPlan`; `load` builds the space it describes on the side; `commit` is the point of no
return and raises nothing.  `switch` holds the formats, `formats/` what they are, `rules` what differs between
systems, `first` starts a process from nothing.  Reading order: check, package, formats/script, formats/elf, stack,
plan, load, commit.
"""
