"""Tables of NetBSD's numbers."""
