"""Linux's facts as tables: system call numbers for two instruction sets, error numbers.  `abi.table` reads them."""
