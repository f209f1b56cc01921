"""`python -m metarun` runs the command `metarun`."""

from metarun.cli.main import entry

if __name__ == "__main__":
    entry()
