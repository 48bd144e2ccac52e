"""How strace prints calls of Linux beyond what their declarations say: which arguments count, and what they mean."""
