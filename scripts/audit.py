"""Known vulnerabilities in what is locked, as pip-audit has them told by the Python Package Index: `make audit`.

    python -m scripts.audit requirements/build.lock requirements/dev.lock constraints.txt

pip-audit alone says "No known vulnerabilities found" also where the index answered nothing about any package, as one
without advisories does; here what was not answered is no success.

Exit codes: 0, nothing is known against any package; 1, something is; 2, it could not be asked of all of them.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SHOWN = 5  # names of those that were not answered
Audit = list[dict[str, Any]]  # name and version with vulns, or name with skip_reason


def main(files: Sequence[str]) -> int:
    """Audit the pinned packages of some requirements files; return the exit code."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write("\n".join(pinned(Path(file).read_text() for file in files)))
        pins.flush()
        command = [sys.executable, "-m", "pip_audit", "-r", pins.name, "--no-deps", "--disable-pip"]
        command += ["--format=json", "--progress-spinner=off"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        audit = json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"audit: the advisories could not be asked for, so nothing is known: {last}", file=sys.stderr)
        return 2
    code, told = judge(audit)
    print(told, file=sys.stderr if code else sys.stdout)
    return code


def pinned(texts: Iterable[str]) -> list[str]:
    """Return `name==version ; marker` of every package; without hashes, which pip-audit wants of all or of none."""
    return sorted({line.rstrip("\\ ") for text in texts for line in text.splitlines() if re.match(r"\w\S*==", line)})


def judge(audit: Audit) -> tuple[int, str]:
    """Return the exit code and the lines that say why."""
    unknown = sorted({package["name"] for package in audit if "vulns" not in package})
    answered = {(package["name"], package["version"]): package["vulns"] for package in audit if "vulns" in package}
    lines = [
        f"{name} {version}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for (name, version), flaws in sorted(answered.items())
        for flaw in flaws
    ]
    if unknown:
        names = ", ".join(unknown[:SHOWN]) + (" …" if len(unknown) > SHOWN else "")
        lines.append(
            f"audit: the advisories could not be asked for {len(unknown)} of {len(unknown) + len(answered)} packages "
            f"({names}): this is no word on them; run `make audit` where the Python Package Index itself answers."
        )
        return 2, "\n".join(lines)
    lines.append(f"audit: {len(lines)} known vulnerabilities in {len(answered)} packages")
    return int(len(lines) > 1), "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
