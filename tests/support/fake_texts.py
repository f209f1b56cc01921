"""A CSV of texts with classes."""

from pathlib import Path


def write_texts(path: Path, classes: int = 30, per_class: int = 12) -> None:
    """Write the columns text and label; the words of a text tell its class."""
    lines = [f'"word{c} {i}, please",class{c:02}' for c in range(classes) for i in range(per_class)]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
