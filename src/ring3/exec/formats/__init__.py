"""Formats of executable files, one module each; which of them a kernel starts with stands in `exec/switch.py`."""
