"""Address spaces as the kernel sees them: which ranges are mapped, how, from what, and copying across the border."""
