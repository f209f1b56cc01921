#!/usr/bin/env bash
# Install learn2learn 0.2.0, the reference for the gradient tests, into a virtual environment.
#
#   scripts/install_learn2learn.sh [VENV]          VENV: default .venv
#
# pip alone cannot: the C files in its source archive come from a Cython without support for Python >= 3.11, so they are
# regenerated. Its declared dependencies would replace numpy and torch, so only the modules it imports are installed.
#
# Source packages and their build tools are checked against hashes. torchvision is not, because like torch it has different
# CPU and CUDA builds. scipy, requests, tqdm and cloudpickle are in requirements/dev.lock, with hashes.
set -euo pipefail

venv=${1:-.venv}
python=$venv/bin/python
locks=$(dirname "$0")/../requirements
wheels=$venv/wheels # kept: building takes half a minute, reinstalling a second

if [ ! -x "$python" ]; then
    echo "install_learn2learn: $venv is not a virtual environment; create it with: python3 -m venv $venv" >&2
    exit 2
fi
if "$python" - <<'CHECK'; then
import sys
from importlib.util import find_spec
sys.exit(not all(find_spec(name) for name in ("learn2learn", "torchvision", "gym", "scipy", "requests", "tqdm", "qpth")))
CHECK
    echo "install_learn2learn: already installed in $venv"
    exit 0
fi

pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
hashed() { pip "$@" --require-hashes --no-build-isolation --no-deps -r /dev/stdin; }

if ! ls "$wheels"/learn2learn-0.2.0-*.whl >/dev/null 2>&1; then
    echo "install_learn2learn: building learn2learn 0.2.0 (half a minute)"
    pip install --require-hashes -r "$locks/build.lock"
    pip install numpy
    source=$(mktemp -d)
    trap 'rm -rf "$source"' EXIT
    hashed download --no-binary learn2learn --dest "$source" <<'LOCK'
learn2learn==0.2.0 --hash=sha256:69f1d7cb0d0a6be7a2c6ad8e83e2ebbe70fb05e51d61e45e63078b40c75ea419
LOCK
    # By file name: the pip of Python 3.11 ignores this setting for packages in a requirements file.
    CYTHON_FORCE_REGEN=1 pip wheel --use-pep517 --no-build-isolation --no-deps \
        --config-settings=--global-option=build_ext --wheel-dir "$wheels" "$source"/learn2learn-0.2.0.tar.gz
fi
# gym, torchvision and qpth (the solver of its MetaOptNet) without their dependencies: torchvision would replace torch.
pip install scipy requests tqdm cloudpickle
hashed install <<'LOCK'
gym==0.26.2 --hash=sha256:e0d882f4b54f0c65f203104c24ab8a38b039f1289986803c7d02cdbe214fbcc4
gym-notices==0.1.0 --hash=sha256:9f9477ef68a8c15e42625d4fa53631237e3e6ae947f325b5c149c081499adc1b \
    --hash=sha256:a943af4446cb619d04fd1e470b9272b4473e08a06d1c7cc9005755a4a0b8c905
qpth==0.0.18 --hash=sha256:ade478c6bf5ab60b7f86435c8893812c2c5938083fe8bccd775bb23d613fa3c5
LOCK
pip install --no-deps torchvision==0.28.0 "$wheels"/learn2learn-0.2.0-*.whl

# Its wheel includes its tests as the top-level package `tests`, which would shadow ours.
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ -d "$site/tests" ] && grep -q '^tests/' "$site"/learn2learn-0.2.0.dist-info/RECORD; then
    rm -r "$site/tests"
fi
echo "install_learn2learn: done"
