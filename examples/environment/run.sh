#!/bin/bash
# 200 tasks in one software environment on two workers; see README.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${BUILD:-$here/../../build/release/bin}" && pwd)
worker=$bin/work_queue_worker
[ "${1:-}" = --old ] && worker=/usr/bin/work_queue_worker
workers=${WORKERS:-2} tasks=${TASKS:-200}

# Without CATALOG_HOST the manager serves a catalog there itself; old workers must be told where.
catalog=${CATALOG_HOST:-127.0.0.1:9097}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/environment-example.XXXXXX")
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
  wait
  chmod -R u+w "$scratch" 2> /dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
cd "$scratch"

echo "making the environment"
python3 -m venv env
cp "$here/greet/greet.py" "$(env/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
# The whole of conda-pack's layout is needed, not the tools to install more.
env/bin/python -m pip -q uninstall -y pip setuptools 2> /dev/null || true
if command -v venv-pack > /dev/null; then
  venv-pack -q -p env -o env.tar.gz
else
  python3 "$here/pack.py" env env.tar.gz
fi
echo "packed: $(stat -c %s env.tar.gz) bytes, $(tar -tzf env.tar.gz | wc -l) members"

printf 'a secret of this example' > password.txt
project=environment-example-$$
for ((i = 1; i <= tasks; ++i)); do
  printf '{"command": "python -m greet %d; stat -c \\"unpacked %%i %%W\\" $VIRTUAL_ENV", "tag": "%d", "cores": 1}\n' $i $i
done > tasks.jsonl

"$bin/work_queue_manager" run tasks.jsonl --environment env.tar.gz --environment-cache cache \
  -M "$project" -P password.txt --port 0 --port-file port --results results.jsonl --stdout-dir out --quiet \
  --transactions-log transactions --stats-log stats --wait-for-workers "$workers" > summary 2>&1 &
manager=$!
while [ ! -s port ]; do sleep 0.05; kill -0 $manager 2> /dev/null || { cat summary; exit 1; }; done
for ((i = 1; i <= workers; ++i)); do
  "$worker" -M "$project" -P password.txt -C "$catalog" --cores 1 --memory 1000 --disk 2000 --timeout 60 --single-shot -s "$scratch" \
    > "worker.$i.log" 2>&1 &
  pids+=($!)
done
status=0
wait $manager || status=$?
cat summary
echo
grep -h "^task 7:" out/* || true
echo "tasks that ran in the environment: $(cat out/* | grep -c '^task .*prefix')"
echo "times it was unpacked: $(cat out/* | grep '^unpacked' | sort -u | wc -l)"
exit $status
