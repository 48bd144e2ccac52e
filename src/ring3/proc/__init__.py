"""Processes: threads, credentials, descriptors, signals, sleeping and waking.  `system.System` holds them all."""
