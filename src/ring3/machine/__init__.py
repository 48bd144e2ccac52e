"""Machines run instructions and know nothing of processes or files.  `base` is the protocol all of them keep."""
