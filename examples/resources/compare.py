"""Measured against true values: programs of known use, measured by our library, by our resource_monitor and by Debian's.

usage: compare.py [--bin DIR] [--check]
Prints a table (Markdown). --check: exit 1 when one of ours is off by more than 5 % (memory, disk, bytes) or 10 % (CPU).
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--bin", default="build/release/bin")
parser.add_argument("--check", action="store_true")
options = parser.parse_args()
programs = pathlib.Path(options.bin).resolve()
MB = 1 << 20

# command, what is compared, true value, allowed deviation
CASES = [
    ("spin 1 1", "cpu_time", 1.0, 0.10),
    ("spin 4 0.5", "cpu_time", 2.0, 0.10),
    ("churn 300", "cpu_time", None, None),  # true value: user and system time from wait4 of an unmeasured run
    ("spin 1 0.005", "cpu_time", None, None),
    ("memory 300 1.5", "memory", 300, 0.05),
    ("steps 400 4 2", "memory", 400, 0.05),
    ("spike 400 1", "memory", 400, 0.05),
    ("share 200 4 1.5", "memory", 200, 0.05),
    ("memory 100 0.02", "memory", 100, 0.05),
    ("disk 200 1.5", "disk", 200, 0.05),
    ("io 120 240 5", "bytes_written", 120, 0.05),
    ("io 120 240 5", "bytes_read", 240, 0.05),
    ("fork 6 1.5", "max_processes", 7, 0),
    ("churn 300", "max_processes", 2, 0),
]


def alone(command):
    before = os.times()
    subprocess.run(command, check=True)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def by_library(command):
    m = json.loads(subprocess.run([programs / "measure_task", *command], check=True, stdout=subprocess.PIPE).stdout)
    scaled = {key: m[key] / MB for key in ("memory", "disk", "bytes_read", "bytes_written") if key in m}
    return dict(scaled, cpu_time=m["cpu_user"] + m["cpu_system"], max_processes=m["max_processes"])


def by_monitor(monitor, command):
    subprocess.run([monitor, "-i", "1", "-O", "t", "--", *command], check=False, stderr=subprocess.DEVNULL)
    try:
        s = json.loads(pathlib.Path("t.summary").read_text())
    except OSError:
        return {}
    values = {key: value[0] for key, value in s.items() if isinstance(value, list) and len(value) == 2}
    return dict(values, max_processes=values.get("max_concurrent_processes"))


def shown(value, what):
    if value is None:
        return "none"
    return f"{value:.3f}" if what == "cpu_time" else f"{value:.0f}"


def main():
    debian = shutil.which("resource_monitor", path="/usr/bin")
    wrong = []
    print("| program | quantity | true | library | our resource_monitor | Debian's resource_monitor |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for text, what, true, allowed in CASES:
        command = [str(programs / "known_use"), *text.split()]
        if true is None:
            true, allowed = sorted(alone(command) for _ in range(3))[1], 0.25
        values = {"library": by_library(command).get(what), "ours": by_monitor(programs / "resource_monitor", command).get(what)}
        theirs = by_monitor(debian, command).get(what) if debian else None
        unit = "s" if what == "cpu_time" else "" if what == "max_processes" else "MB"
        print(f"| `{text}` | {what} {unit} | {shown(true, what)} | {shown(values['library'], what)} | "
              f"{shown(values['ours'], what)} | {shown(theirs, what)} |", flush=True)
        for who, value in values.items():
            # 10 ms of start-up are allowed on top: the true value is what the program does after it began.
            slack = 0.01 if what == "cpu_time" else 0.5
            if value is None or abs(value - true) > true * allowed + slack:
                wrong.append(f"{who}, {text}: {what} is {value}, not {true} +- {allowed * 100:.0f} %")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong and options.check else 0


with tempfile.TemporaryDirectory(prefix="taskmill-compare-") as folder:
    os.chdir(folder)
    sys.exit(main())
