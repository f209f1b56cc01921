"""The keys of metarun's own YAML files, each with the comment that explains it."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Key:
    """A key of a YAML file.

    Args:
        value: as it is written.
        comment: what the file says about it, on one line.
    """

    value: str
    comment: str


def read_text(file: Path) -> str:
    """Return the content of a YAML file, also of a user's that is not valid UTF-8."""
    return file.read_text(encoding="utf-8", errors="replace")


def read_keys(file: Path) -> dict[str, Key]:
    """Return the keys of a YAML file by dotted name, each with the comment beside it or above it.

    Only what metarun's own files contain is understood: block mappings, indented by spaces. Other lines are ignored.
    """
    found: dict[str, Key] = {}
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in read_text(file).splitlines():
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("#"):
            if found and indent > 12:  # it continues the comment beside the last value
                last = next(reversed(found))
                found[last] = Key(found[last].value, f"{found[last].comment} {line.lstrip('# ')}".strip())
            else:
                above.append(line.lstrip("# "))
            continue
        entry = re.fullmatch(r"\s*([\w.]+):(?:\s+(.*?))?(?:\s+#\s*(.*))?", line)
        if entry is None:
            above = []
            continue
        path = [(depth, name) for depth, name in path if depth < indent]
        if path[:1] == [(0, "defaults")] or entry[1] in ("defaults", "hydra"):
            path = path or [(indent, entry[1])]
        elif entry[2] is None:
            path.append((indent, entry[1]))
        else:
            name = ".".join([*(part for _, part in path), entry[1]])
            found[name] = Key(entry[2], entry[3] or " ".join(above))
        above = []
    return {name: key for name, key in found.items() if not name.startswith(("defaults", "hydra", "chosen"))}
