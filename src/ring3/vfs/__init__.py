"""Files: vnodes and file systems, names and mounts, open file descriptions.

Front to back: `namei` (a path to a dentry, open), `names` (the calls that change names), `access` (who may), `mount`
and `dentry` (the tree of names), `vnode` and `file` (what a file system and an open file are), then the file systems:
`hostdir`, `memory`, `overlay`, `dev`; and what has no name: pipes, sockets, terminals, event files.
Nothing here sleeps (see `waiting`) and nothing here knows processes.
"""
