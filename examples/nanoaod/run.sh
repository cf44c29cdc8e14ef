#!/usr/bin/env bash
# A Python processor on ROOT files, with workers that have no Python packages of their own.
#
#   examples/nanoaod/run.sh [--bin DIR] [--events N] [--files N] [--workers N] [--environment ARCHIVE] [--out DIR]
#
# Builds the environment archive (unless one is given), makes ROOT files from the CMS events, runs the analysis on
# workers that unpack the archive once, and compares the histogram with reference.py bin by bin. Exit 0 when they are
# equal, 77 when the environment cannot be built because PyPI cannot be reached.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
bin=$here/../../build/release/bin
events=2000000
files=5
workers=2
environment=
out=$here/out

die() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --bin | --events | --files | --workers | --environment | --out)
      [ $# -ge 2 ] || die "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) die "unknown argument: $1 (try --help)" ;;
  esac
done
bin=$(readlink -f "$bin") && [ -x "$bin/work_queue_manager" ] || die "no programs found; run ./bootstrap build, or give --bin DIR"

started=()
scratch=$(mktemp -d "${TMPDIR:-/tmp}/nanoaod.XXXXXX")
cleanup() {
  [ ${#started[@]} = 0 ] || { kill "${started[@]}" 2>/dev/null; wait "${started[@]}" 2>/dev/null; } || true
  chmod -R u+w "$scratch" 2>/dev/null || true
  rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

mkdir -p "$out"
out=$(readlink -f "$out")
if [ -z "$environment" ]; then
  environment=$out/nanoaod-env.tar.gz
  if [ ! -f "$environment" ]; then
    "$here/make_environment.sh" "$environment" || { echo "run.sh: the environment cannot be built; is PyPI reachable?"; exit 77; }
  fi
fi
cp "$here/nanoaod.toml" "$here/processor.py" "$scratch"
ln -s "$(readlink -f "$environment")" "$scratch/nanoaod-env.tar.gz"
cd "$scratch"
"$bin/poncho_package_run" -e nanoaod-env.tar.gz -u "$scratch/env" -- \
  python "$here/make_files.py" "$here/../zpeak/data/Zmumu_Run2011A.csv" files --files "$files" --events "$events"
sed -i "s/^chunksize = .*/chunksize = $((events / files / 4 + 1))/" nanoaod.toml

(umask 077 && head -c 24 /dev/urandom | base64 >password.txt)
export PATH=$bin:$PATH XDG_CACHE_HOME=$scratch/cache
work_queue_manager analyze nanoaod.toml -P password.txt --port 0 --port-file port --output "$out/nanoaod.json" \
  --report "$out/report.html" &
manager=$!
started+=("$manager")
until [ -s port ]; do kill -0 "$manager" 2>/dev/null || die "the manager did not start"; sleep 0.1; done
for ((i = 1; i <= workers; ++i)); do
  work_queue_worker -P password.txt --cores 1 --memory 2000 --disk 4000 -s "$scratch" 127.0.0.1 "$(cat port)" >"$out/worker-$i.log" 2>&1 &
  started+=("$!")
done
status=0
wait "$manager" || status=$?
[ $status = 0 ] || die "the manager ended with status $status; the workers' output is in $out"

"$bin/poncho_package_run" -e nanoaod-env.tar.gz -u "$scratch/env" -- \
  python "$here/reference.py" files/*.root >"$out/reference.json"
python3 - "$out/nanoaod.json" "$out/reference.json" <<'PYTHON'
import json, sys
result, reference = (json.load(open(path)) for path in sys.argv[1:])
mass = result["histograms"]["mass"]
assert mass["counts"] == reference["counts"], "the histograms differ"
assert [mass[k] for k in ("underflow", "overflow")] == [reference[k] for k in ("underflow", "overflow")]
assert [result["counters"][k] for k in ("events", "pairs")] == [reference[k] for k in ("events", "pairs")]
peak = 60 + mass["counts"].index(max(mass["counts"]))
assert 89 <= peak <= 92, peak
print("%d events, %d pairs, highest bin %d to %d GeV: the same as in one process, bin by bin"
      % (result["counters"]["events"], result["counters"]["pairs"], peak, peak + 1))
PYTHON
