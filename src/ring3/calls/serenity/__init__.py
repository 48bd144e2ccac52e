"""SerenityOS's own system calls, by subject: those whose behaviour no other system has.

What behaves as one of Linux's is shared (`abi/serenity/shared.tbl`), what differs in numbers and bytes alone is a table or a layout
of the personality.  A call takes four words at most; what needs more takes a pointer to a struct of them (`argument.Params`), and
strings come with their lengths.  Source: the tree of 2022-12-30, as the reference states it (sections 1 to 4).
"""
