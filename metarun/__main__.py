"""`python -m metarun`: the same as the command `metarun`."""

import sys

from metarun.cli import main

if __name__ == "__main__":
    sys.exit(main())
