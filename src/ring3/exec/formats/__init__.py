"""Formats of executable files.  One module each; which of them a kernel starts with is one tuple in `exec/switch.py`."""
