"""`python -m ring3`: the command line."""

import sys

from ring3.cli import main

if __name__ == "__main__":
    sys.exit(main())
