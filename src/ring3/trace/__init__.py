"""Consumers of what instruments are told: `strace` prints each call, `stats` sums a run up."""
