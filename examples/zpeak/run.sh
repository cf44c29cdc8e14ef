#!/usr/bin/env bash
# Finds the Z boson in real collision events with one manager and two workers on this machine.
#
#   examples/zpeak/run.sh [--bin DIR] [--chunksize N|dynamic] [--workers N] [--out DIR]
#
# zpeak.toml names two datasets, muon pairs and electron pairs. The manager counts their events, cuts them into
# chunks, lets the workers fill a histogram of each chunk and merges the histograms. The result is compared bin by
# bin with one pass over all events by a single process, and drawn. Exit 0 when every event was counted once, the peak
# is at 90 to 92 GeV and the histograms are equal.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
bin=
chunksize=1000
workers=2
out=$here/out

die() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --bin | --chunksize | --workers | --out)
      [ $# -ge 2 ] || die "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) die "unknown argument: $1 (try --help)" ;;
  esac
done

[[ $chunksize =~ ^([1-9][0-9]*|dynamic)$ ]] || die "--chunksize is a number of events or dynamic, not $chunksize"
if [ -z "$bin" ]; then
  for bin in "$here"/../../build/{release,dev}/bin ''; do [ ! -x "$bin/work_queue_manager" ] || break; done
fi
[ -n "$bin" ] && [ -d "$bin" ] || die "no programs found; run ./bootstrap build, or give --bin DIR"
bin=$(readlink -f "$bin")
for program in work_queue_manager work_queue_worker analysis_tool zpeak_hist zpeak_merge; do
  [ -x "$bin/$program" ] || die "$bin/$program is missing; run ./bootstrap build"
done

started=()
scratch=$(mktemp -d "${TMPDIR:-/tmp}/zpeak.XXXXXX")
cleanup() {
  [ ${#started[@]} = 0 ] || { kill "${started[@]}" 2>/dev/null; wait "${started[@]}" 2>/dev/null; } || true
  rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- what a user would have in a directory --------------------------------------------------------------
mkdir -p "$out"
out=$(readlink -f "$out")
rm -f "$out"/*.json "$out"/*.svg "$out"/*.html "$out"/*.log
ln -s "$here/data" "$bin/zpeak_hist" "$scratch"
if [ "$chunksize" = dynamic ]; then
  # Powers of two follow the measured time; without a fixed order of additions (these are whole numbers).
  sed 's/^chunksize = .*/chunksize = 256\ndynamic_chunksize = { wall_time = 0.1 }/; /^deterministic/d' "$here/zpeak.toml"
else
  sed "s/^chunksize = .*/chunksize = $chunksize/" "$here/zpeak.toml"
fi >"$scratch/zpeak.toml"
(umask 077 && head -c 24 /dev/urandom | base64 >"$scratch/password.txt")

# --- the run, as anybody would start it -----------------------------------------------------------------
cd "$scratch"
project=zpeak-$(id -un)
export PATH=$bin:$PATH XDG_CACHE_HOME=$scratch/cache
printf '$ work_queue_manager analyze zpeak.toml -M %s -P password.txt\n' "$project"
work_queue_manager analyze zpeak.toml -M "$project" -P password.txt --port 0 --output "$out/zpeak.json" \
  --report "$out/report.html" &
manager=$!
started+=("$manager")
for ((i = 1; i <= workers; ++i)); do
  printf '$ work_queue_worker -P password.txt -M %s &\n' "$project"
  work_queue_worker -P password.txt -M "$project" >"$out/worker-$i.log" 2>&1 &
  started+=("$!")
done
status=0
wait "$manager" || status=$?
[ $status = 0 ] || die "the manager ended with status $status; the workers' output is in $out"

# --- the result -----------------------------------------------------------------------------------------
echo
zpeak_merge --title 'Z → µµ' --svg "$out/zpeak.svg" --json "$out/Zmumu.json" "$out/zpeak.Zmumu.json" | tee "$scratch/summary"
grep -q '^peak at 9[01]\.' "$scratch/summary" || die "the peak is not where the Z boson is"
zpeak_merge --json "$out/Zee.json" "$out/zpeak.Zee.json" >"$scratch/electrons"
for dataset in Zmumu Zee; do
  zpeak_hist "data/${dataset}_Run2011A.csv" >"$out/$dataset.single.json"
  cmp "$out/$dataset.json" "$out/$dataset.single.json" || die "$dataset: the histogram differs from one pass over all events"
done
printf 'both histograms are equal to one pass over all events, bin by bin; picture: %s\n' "$out/zpeak.svg"
