"""Check the locked packages for known vulnerabilities with pip-audit: `make audit`.

    python -m scripts.audit requirements/build.lock requirements/dev.lock constraints.txt

pip-audit alone also reports "No known vulnerabilities found" if the index has no advisories for any package. Here, a
package without an answer is a failure.

Exit codes: 0, no known vulnerabilities; 1, known vulnerabilities; 2, some packages could not be checked.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SHOWN = 5  # names of unchecked packages in the message
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
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"audit: pip-audit failed, so no package was checked: {last}", file=sys.stderr)
        return 2
    code, text = summarise(audit)
    print(text, file=sys.stderr if code else sys.stdout)
    return code


def pinned(texts: Iterable[str]) -> list[str]:
    """Return `name==version ; marker` of every package, without hashes, which pip-audit requires for all or none."""
    return sorted({line.rstrip("\\ ") for text in texts for line in text.splitlines() if re.match(r"\w\S*==", line)})


def summarise(audit: Audit) -> tuple[int, str]:
    """Return the exit code and the report."""
    unknown = sorted({package["name"] for package in audit if "vulns" not in package})
    answered = {(package["name"], package["version"]): package["vulns"] for package in audit if "vulns" in package}
    lines = [
        f"{name} {version}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for (name, version), flaws in sorted(answered.items())
        for flaw in flaws
    ]
    if unknown:
        names = ", ".join(unknown[:SHOWN]) + (" …" if len(unknown) > SHOWN else "")
        lines.append(
            f"audit: no answer for {len(unknown)} of {len(unknown) + len(answered)} packages ({names}), which were not "
            "checked; run `make audit` with access to the Python Package Index."
        )
        return 2, "\n".join(lines)
    lines.append(f"audit: {len(lines)} known vulnerabilities in {len(answered)} packages")
    return int(len(lines) > 1), "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
