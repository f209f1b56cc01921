"""The version of metarun; Hatch reads it from here."""

__version__ = "0.1.0"
