#!/bin/sh
# Resolves requirements/*.in anew and writes the pinned, hashed requirements/*.txt.
# dev.in holds all the others, so its resolution constrains theirs: a package has one version everywhere.
# Needs uv (pip install uv). No index line is written: the files name packages, never a registry.
set -eu
cd "$(dirname "$0")"

lock() {
    name=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "requirements/lock.sh" "$@" "$name.in" --output-file "$name.txt"
}

lock dev "$@"
for name in build base spark loadgen deploy; do
    lock "$name" --constraints dev.txt
done
