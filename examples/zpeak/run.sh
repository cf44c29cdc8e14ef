#!/usr/bin/env bash
# Finds the Z boson in real collision events with one manager and two workers on this machine.
#
#   examples/zpeak/run.sh [--bin DIR] [--channel mumu|ee] [--tasks N] [--workers N] [--out DIR]
#
# The event file is cut into N byte ranges at line ends. Each is one task: header and range go to a worker, a
# partial histogram comes back. The partial histograms are added, compared with one pass over the whole file,
# and drawn. Exit 0 when every task succeeded, the peak is at 90 to 92 GeV
# and both histograms are equal.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
bin=
channel=mumu
tasks=40
workers=2
out=$here/out

die() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --bin | --channel | --tasks | --workers | --out)
      [ $# -ge 2 ] || die "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) die "unknown argument: $1 (try --help)" ;;
  esac
done

case $channel in
  mumu) events=$here/data/Zmumu_Run2011A.csv; title='Z → µµ' ;;
  ee) events=$here/data/Zee_Run2011A.csv; title='Z → ee' ;;
  *) die "--channel is mumu or ee, not $channel" ;;
esac
if [ -z "$bin" ]; then
  for bin in "$here"/../../build/{release,dev}/bin ''; do [ ! -x "$bin/work_queue_manager" ] || break; done
fi
[ -n "$bin" ] && [ -d "$bin" ] || die "no programs found; run ./bootstrap build, or give --bin DIR"
bin=$(readlink -f "$bin")
for program in work_queue_manager work_queue_worker zpeak_hist zpeak_merge; do
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

# --- the work: one task per line ----------------------------------------------------------------------
mkdir -p "$out/partial"
out=$(readlink -f "$out")
rm -f "$out"/partial/*.json
(umask 077 && head -c 24 /dev/urandom | base64 >"$scratch/password.txt")

# A piece names its first and its last byte.
LC_ALL=C awk -v tasks="$tasks" -v events="$events" -v program="$bin/zpeak_hist" -v out="$out" -v size="$(stat -c %s "$events")" '
  function piece(first, last, name, cache) {
    return sprintf("{\"piece\": \"%s\", \"first\": %d, \"last\": %d, \"name\": \"%s\", \"cache\": %s}", events, first, last, name, cache)
  }
  function emit(last) {
    printf "{\"command\": \"cat header.csv events.csv | ./zpeak_hist > partial.json\", \"tag\": \"%03d\", \"category\": \"histogram\", ", count
    printf "\"cores\": 1, \"inputs\": [{\"file\": \"%s\", \"name\": \"zpeak_hist\"}, %s, %s], ", program, \
      piece(0, header - 1, "header.csv", "true"), piece(start, last, "events.csv", "false")
    printf "\"outputs\": [{\"file\": \"%s/partial/%03d.json\", \"name\": \"partial.json\"}]}\n", out, count
    ++count
    start = last + 1
  }
  { position += length($0) + 1 }
  NR == 1 { header = start = position; next }
  position >= header + (size - header) * (count + 1) / tasks { emit(position - 1) }
  END { if (start < position) emit(position - 1) }
' "$events" >"$scratch/tasks.jsonl"

# --- the run, as anybody would start it -----------------------------------------------------------------
cd "$scratch"
project=zpeak-$(id -un)
export PATH=$bin:$PATH
printf '$ work_queue_manager run tasks.jsonl -M %s -P password.txt\n' "$project"
work_queue_manager run tasks.jsonl -M "$project" -P password.txt --port 0 &
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
zpeak_merge --title "$title" --svg "$out/zpeak.svg" --json "$out/merged.json" "$out"/partial/*.json | tee "$scratch/summary"
grep -q '^peak at 9[01]\.' "$scratch/summary" || die "the peak is not where the Z boson is"
zpeak_hist "$events" >"$out/single.json"
cmp "$out/merged.json" "$out/single.json" || die "the merged histogram differs from one pass over all events"
printf 'the same bytes as one pass over all events; picture: %s\n' "$out/zpeak.svg"
