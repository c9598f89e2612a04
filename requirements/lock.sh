#!/bin/sh
# lock.sh: write run.txt, build.txt and dev.txt anew, with hashes, for Python 3.11 to 3.14 at once.
# The address of the package index stays out of them.
set -eu
cd "$(dirname "$0")/.."
uv=.cache/uv/bin/uv
[ -x "$uv" ] || { .venv/bin/python -m venv .cache/uv && .cache/uv/bin/pip install -q --disable-pip-version-check uv; }

lock() {
    out=requirements/$1.txt
    shift
    "$uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
        --no-emit-index-url --no-emit-find-links "$@" > "$out.new"
    { echo "# Made by \`make lock\`; do not edit."; cat "$out.new"; } > "$out"
    rm "$out.new"
    echo "$out: $(grep -c == "$out") packages"
}

lock run pyproject.toml
lock build requirements/build.in --constraint requirements/run.txt
lock dev pyproject.toml requirements/build.in --extra dev --constraint requirements/run.txt --constraint requirements/build.txt
