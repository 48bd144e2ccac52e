"""`python -m ring3`: the command line."""

from ring3.cli import entry

if __name__ == "__main__":
    entry()
