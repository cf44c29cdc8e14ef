#!/usr/bin/env python3
"""Counts instructions per task on the manager's hot paths and compares them with tests/perf/baseline.json.

  check_counts.py --program BUILD/bin/hot_paths             fails when a path needs more than the tolerance allows
  check_counts.py --program BUILD/bin/hot_paths --update    writes today's counts as the baseline

Counts are those of valgrind --tool=callgrind: the same on every run and every machine, so that nothing here is timed.
They depend on the compiler and on its options; with another compiler than the baseline's the check is skipped (exit
status 77). A path that became cheaper passes and says that the baseline should follow.

The difference of two runs of different length is taken, so that starting up and filling the queue do not count.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PATHS = ("parse", "complete", "match", "dispatch", "submit")
SHORT, LONG = 500, 1500  # tasks
BASELINE = Path(__file__).with_name("baseline.json")
SKIPPED = 77


def instructions(program, path, tasks):
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=measured", f"--callgrind-out-file={out}", program,
                   path, str(tasks)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit {run.returncode}\n{run.stderr}")
        total = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
        return int(total.group(1)) if total else 0


def count(program):
    return {path: round((instructions(program, path, LONG) - instructions(program, path, SHORT)) / (LONG - SHORT))
            for path in PATHS}


def compiler(program):
    """Name and version, as the compiler left them in the program."""
    text = subprocess.run(["readelf", "-p", ".comment", program], capture_output=True, text=True, check=True).stdout
    found = re.search(r"GCC: \([^)]*\) (\d+\.\d+)", text)
    return f"gcc {found.group(1)}" if found else "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    built_by = compiler(options.program)
    if options.update:
        baseline = {"compiler": built_by, "tolerance": 0.1, "instructions_per_task": count(options.program)}
        BASELINE.write_text(json.dumps(baseline, indent=2) + "\n")
        print(BASELINE.read_text(), end="")
        return 0
    baseline = json.loads(BASELINE.read_text())
    if baseline["compiler"] != built_by:
        print(f"skipped: the baseline is for {baseline['compiler']}, this program was built by {built_by}")
        return SKIPPED
    failed = False
    for path, now in count(options.program).items():
        before = baseline["instructions_per_task"][path]
        change = now / before - 1
        bad = change > baseline["tolerance"]
        failed = failed or bad
        remark = "TOO MANY" if bad else "cheaper: update the baseline" if change < -baseline["tolerance"] else "ok"
        print(f"{path:<10} {before:>8} -> {now:>8} instructions per task  {change:+.1%}  {remark}")
    if failed:
        print("If the price is wanted, say why in the commit and run: tests/perf/check_counts.py --program "
              f"{options.program} --update")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
