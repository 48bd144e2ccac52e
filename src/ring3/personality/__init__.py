"""How programs of each system see the kernel: one folder a system, each exporting one function that builds its record."""
