"""Policies: what the user allows beyond a system's own rules.

Asked at named places: the gate of calls (`confinement.py`, `promises.py`), look-ups (`veil.py`), the check of an exec.
"""
