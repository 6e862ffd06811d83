#!/usr/bin/env bash
# The install steps of both images, also run without a container engine: install.sh FOLDER "EXTRA..." cpu|cuda
# Makes a virtual environment with TRRG and the given extras, at the versions and hashes of constraints.txt. PyTorch is
# the exception: it has no hash there, because its build differs by machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$1 extras=$2 build=${3:-cpu}
case $build in cpu | cuda) ;; *)
    echo "install.sh: build $build: expected cpu or cuda" >&2
    exit 2
    ;;
esac

python=${PYTHON:-python3}
"$python" -m venv "$folder"
lock=$(mktemp -d)
trap 'rm -rf "$lock"' EXIT
awk '/^[a-zA-Z0-9]/ { wanted = /^uv==/ } wanted' constraints.txt >"$lock/uv.txt"
"$folder/bin/python" -m pip install --quiet --require-hashes -r "$lock/uv.txt"
uv() { "$folder/bin/uv" "$@"; }

# the part of constraints.txt that these extras need, with its hashes
wanted=()
for extra in $extras; do wanted+=(--extra "$extra"); done
uv pip compile --quiet --python "$folder/bin/python" pyproject.toml "${wanted[@]}" -c constraints.txt \
    --generate-hashes --no-emit-package torch --no-emit-package triton --unsafe-package torch \
    --output-file "$lock/all.txt" ${FIND_LINKS:+--find-links "$FIND_LINKS"}
# what only PyTorch's CUDA build needs comes with it below
awk '/^[a-zA-Z0-9]/ { wanted = !/^(nvidia-|cuda-)/ } wanted' "$lock/all.txt" >"$lock/rest.txt"
uv pip install --quiet --compile-bytecode --python "$folder/bin/python" --no-deps --require-hashes \
    --build-constraints constraints.txt -r "$lock/rest.txt"
if [ "$build" = cuda ]; then
    uv pip install --quiet --compile-bytecode --python "$folder/bin/python" -r infra/setup/torch.txt -c constraints.txt
elif [ -n "${FIND_LINKS:-}" ]; then
    # a folder with a CPU build, for a machine that cannot reach PyTorch's own index
    uv pip install --quiet --compile-bytecode --python "$folder/bin/python" --no-deps --find-links "$FIND_LINKS" \
        -r infra/setup/torch.txt
else
    uv pip install --quiet --compile-bytecode --python "$folder/bin/python" --no-deps --torch-backend cpu \
        -r infra/setup/torch.txt
fi
uv pip install --quiet --compile-bytecode --python "$folder/bin/python" --no-deps --build-constraints constraints.txt .
"$folder/bin/trrg" --version
