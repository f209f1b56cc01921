"""`python -m metarun` is the command `metarun`."""

from metarun.cli import entry

if __name__ == "__main__":
    entry()
