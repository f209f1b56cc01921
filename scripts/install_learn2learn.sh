#!/usr/bin/env bash
# Install learn2learn 0.2.0, the reference that the gradient tests compare with, into a virtual environment.
#
#   scripts/install_learn2learn.sh [VENV]          VENV: default .venv
#
# pip alone cannot: the C files in its source archive are from a Cython that knows no Python >= 3.11, so they are made
# anew; and what it declares to need would replace numpy and torch, so only what it imports is installed.
set -euo pipefail

venv=${1:-.venv}
python=$venv/bin/python
wheels=$venv/wheels # kept: building takes half a minute, installing again a second

if [ ! -x "$python" ]; then
    echo "install_learn2learn: $venv is no virtual environment; make one with: python3 -m venv $venv" >&2
    exit 2
fi
if "$python" - <<'CHECK'; then
import sys
from importlib.util import find_spec
sys.exit(not all(find_spec(name) for name in ("learn2learn", "torchvision", "gym", "scipy", "requests", "tqdm")))
CHECK
    echo "install_learn2learn: it is in $venv already"
    exit 0
fi

pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

if ! ls "$wheels"/learn2learn-0.2.0-*.whl >/dev/null 2>&1; then
    echo "install_learn2learn: building learn2learn 0.2.0, half a minute"
    pip install cython setuptools wheel numpy
    CYTHON_FORCE_REGEN=1 pip wheel --use-pep517 --no-build-isolation --no-deps --no-binary learn2learn \
        --config-settings=--global-option=build_ext --wheel-dir "$wheels" learn2learn==0.2.0
fi
# gym 0.26.2 and torchvision by name and without what they ask for: torchvision would bring another torch.
pip install scipy requests tqdm cloudpickle gym-notices
pip install --no-deps gym==0.26.2 torchvision==0.28.0 "$wheels"/learn2learn-0.2.0-*.whl

# Its wheel carries its own tests as the top-level package `tests`, which would stand in front of ours.
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ -d "$site/tests" ] && grep -q '^tests/' "$site"/learn2learn-0.2.0.dist-info/RECORD; then
    rm -r "$site/tests"
fi
echo "install_learn2learn: done"
