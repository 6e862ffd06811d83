#!/usr/bin/env bash
# Make .venv and install the project with all extras and the development tools, at the versions and hashes of
# constraints.txt. PyTorch is the exception: its version is in torch.txt, and it has no hash, because a machine may
# bring its own CPU build. TORCH=cuda takes the default build of the package index, for a machine with a GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 12), "Python 3.11 or 3.12 is needed"'
[ -x .venv/bin/python ] || "$python" -m venv .venv

if [ ! -x .venv/bin/uv ]; then
    uv_lock=$(mktemp)
    trap 'rm -f "$uv_lock"' EXIT
    awk '/^[a-zA-Z0-9]/ { wanted = /^uv==/ } wanted' constraints.txt >"$uv_lock"
    .venv/bin/python -m pip install --quiet --require-hashes -r "$uv_lock"
fi
# compiled now, because a machine may forbid Python to write bytecode: every worker process would compile all it imports
install() { .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python "$@"; }

install --no-deps --require-hashes --build-constraints constraints.txt -r constraints.txt

# uv does not read pip's settings: the folder of wheels that pip knows is passed on
links=$(.venv/bin/python -m pip config list 2>/dev/null | sed -n "s/^[^=]*find-links='\(.*\)'/\1/p" | head -n 1)
torch=infra/setup/torch.txt
tag=$(.venv/bin/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
if [ "${TORCH:-cpu}" = cuda ] || command -v nvidia-smi >/dev/null; then
    # with what its CUDA build needs; all else is installed already
    install -r $torch -c constraints.txt
elif [ -n "$links" ] && ls "$links"/torch-*+cpu*-"$tag"-*"$(uname -m)".whl >/dev/null 2>&1; then
    install --no-deps --find-links "$links" -r $torch
else
    # PyTorch's own index of CPU builds; where it cannot be reached the default build works too
    install --no-deps --torch-backend cpu -r $torch || install -r $torch -c constraints.txt
fi

# metadata that an earlier version left in the tree would be read in place of the new one
rm -rf trrg.egg-info
install --no-deps --no-build-isolation -e .
touch .venv/installed
