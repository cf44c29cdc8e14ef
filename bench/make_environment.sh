#!/bin/bash
# A real environment for `work_queue_bench environment`: numpy, scipy, pandas and scikit-learn from PyPI in a virtual
# environment, packed in the conda-pack layout. About 400 MB in 13,000 files.
#
#     make_environment.sh DIR     makes DIR/tree (unpacked), DIR/env.tar.gz, and DIR/changed.tar.gz (one module edited)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
if [ ! -d venv ]; then
  python3 -m venv venv.new
  venv.new/bin/python -m pip -q --disable-pip-version-check install numpy scipy pandas scikit-learn
  mv venv.new venv
fi
pack() { python3 "$here/../examples/environment/pack.py" venv "$1.new" && mv "$1.new" "$1"; }
[ -s env.tar.gz ] || pack env.tar.gz
if [ ! -d tree ]; then mkdir tree.new && tar -xzf env.tar.gz -C tree.new && mv tree.new tree; fi
if [ ! -s changed.tar.gz ]; then
  module=$(ls venv/lib/python3*/site-packages/pandas/core/frame.py)
  cp -p "$module" frame.py.original
  echo "# edited" >> "$module"
  pack changed.tar.gz
  cp -p frame.py.original "$module"
fi
echo "$(du -sm tree | cut -f1) MB, $(find tree -type f | wc -l) files; gzip $(stat -c %s env.tar.gz) bytes"
