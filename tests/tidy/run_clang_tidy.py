"""Runs clang-tidy-14 over source files, several at a time, and fails when it says anything.

usage: run_clang_tidy.py --build DIR [--jobs N] [--part I/N] [FILE...]

Reads DIR/compile_commands.json; files that are not built there are skipped. --part 2/5 takes every fifth file
from the second on, so that CI covers everything over time in a bounded run.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# The compile commands are g++'s; clang 14 does not know these of its options.
GCC_ONLY = ("-Wno-maybe-uninitialized", "-Wno-null-dereference", "-Wno-tsan", "-fuse-ld=mold")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--part", default="1/1")
    parser.add_argument("files", nargs="*")
    return parser.parse_args()


def clang_commands(build):
    """source path → its entry, with the command made understandable to clang."""
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        command = re.sub(r"^\S*ccache\s+", "", entry["command"])
        entry["command"] = " ".join(word for word in command.split(" ") if word not in GCC_ONLY and "-fsanitize" not in word)
        entries[str(pathlib.Path(entry["directory"], entry["file"]).resolve())] = entry
    return entries


def main():
    arguments = parse_arguments()
    entries = clang_commands(arguments.build)
    wanted = [str(pathlib.Path(name).resolve()) for name in arguments.files]
    wanted = sorted(path for path in wanted if path in entries)
    index, count = map(int, arguments.part.split("/"))
    wanted = wanted[index - 1 :: count]
    if not wanted:
        print("clang-tidy: no built source files among those given")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "compile_commands.json").write_text(json.dumps(list(entries.values())))

        def check(path):
            return path, subprocess.run(["clang-tidy-14", "--quiet", "-p", folder, path], capture_output=True, text=True)

        bad = 0
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            for path, result in pool.map(check, wanted):
                if result.returncode != 0:
                    bad += 1
                    print(result.stdout.strip() or result.stderr.strip(), flush=True)
    print(f"clang-tidy: {len(wanted) - bad} of {len(wanted)} files are clean")
    return 1 if bad else 0


sys.exit(main())
