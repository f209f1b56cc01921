"""`metarun rm RUN…`: move runs to the bin."""

from metarun.cli.runs import remove as main

__all__ = ["main"]
