#!/usr/bin/env bash
# Install easyfsl 1.5.0, the reference for the metric-based methods, into a virtual environment.
#
#   scripts/install_easyfsl.sh [VENV]          VENV: default .venv
#
# Its dependencies are not installed, because torchvision would replace torch. Run scripts/install_learn2learn.sh first: it
# installs a matching torchvision.
set -euo pipefail

venv=${1:-.venv}
python=$venv/bin/python

if [ ! -x "$python" ]; then
    echo "install_easyfsl: $venv is not a virtual environment; create it with: python3 -m venv $venv" >&2
    exit 2
fi
if "$python" -c 'import sys; from importlib.util import find_spec; sys.exit(not find_spec("easyfsl"))'; then
    echo "install_easyfsl: already installed in $venv"
    exit 0
fi
"$python" -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r /dev/stdin <<'LOCK'
easyfsl==1.5.0 --hash=sha256:40fb7747381d6afac5ca3db3193f158003d060507533188d655b98c5aff4e142
LOCK

# Its wheel includes its scripts as the top-level package `scripts`, which would shadow ours.
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ -d "$site/scripts" ] && grep -q '^scripts/' "$site"/easyfsl-1.5.0.dist-info/RECORD; then
    rm -r "$site/scripts"
fi
echo "install_easyfsl: done"
