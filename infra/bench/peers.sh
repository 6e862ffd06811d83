#!/bin/sh
# Installs the peers of the parser benchmark under .bench/: one virtual environment per peer, and the data of radlabels.
# medspaCy needs an older spaCy than negspaCy does, so they cannot share one. Needs network; run from the root.
set -eu
python=${PYTHON:-python3}
mkdir -p .bench

build() {  # name, packages...
    name=$1; shift
    [ -x ".bench/$name/bin/python" ] || "$python" -m venv ".bench/$name"
    ".bench/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

build negspacy "negspacy==1.1.0" "spacy>=3.8,<3.9"
build medspacy "medspacy==1.3.1" "setuptools<81"
[ -d .bench/radlabels ] || {
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest .bench "radlabels==0.2.0"
    "$python" -m zipfile -e .bench/radlabels-0.2.0-py3-none-any.whl .bench/radlabels
}
echo "peers are in .bench/"
