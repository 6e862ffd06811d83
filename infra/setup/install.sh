#!/usr/bin/env bash
# Make .venv and install the project with its development tools, at the versions of constraints.txt.
# CPU builds of PyTorch by default; TORCH=cuda takes the default build of the package index, for a machine with a GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 12), "Python 3.11 or 3.12 is needed"'
[ -x .venv/bin/python ] || "$python" -m venv .venv
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet uv

# uv does not read pip's settings: folders with wheels that pip knows are handed over
links=$(.venv/bin/python -m pip config list 2>/dev/null | sed -n "s/^[^=]*find-links='\(.*\)'/\1/p" | head -n 1)
install() { .venv/bin/uv pip install --quiet --python .venv/bin/python ${links:+--find-links "$links"} "$@" -e '.[dev]' -c constraints.txt; }

if [ "${TORCH:-cpu}" = cuda ] || command -v nvidia-smi >/dev/null; then
    install
elif [ -n "$links" ] && ls "$links"/torch-*+cpu*.whl >/dev/null 2>&1; then
    install
else
    # PyTorch's own index of CPU builds; where it cannot be reached the default build serves as well
    install --torch-backend cpu || install
fi
touch .venv/installed
