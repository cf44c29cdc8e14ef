#!/usr/bin/env bash
# Builds the software environment of this example: uproot, awkward and numpy from PyPI, packed in the conda-pack
# layout.
#
#   examples/nanoaod/make_environment.sh ARCHIVE.tar.gz
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
[ $# = 1 ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
archive=$(readlink -m "$1")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/nanoaod-environment.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

python3 -m venv "$scratch/env"
"$scratch/env/bin/python" -m pip --quiet --disable-pip-version-check install uproot awkward numpy
# Tasks install nothing.
"$scratch/env/bin/python" -m pip --quiet --disable-pip-version-check uninstall --yes pip setuptools 2>/dev/null || true
python3 "$here/../environment/pack.py" "$scratch/env" "$scratch/env.tar.gz"
mkdir -p "$(dirname "$archive")"
mv "$scratch/env.tar.gz" "$archive"
printf '%s: %s bytes\n' "$archive" "$(stat -c %s "$archive")"
