"""All C and C++ sources look as clang-format-14 with our .clang-format writes them.

usage: format_test.py SOURCE_DIR
Exit 77 (skipped) when clang-format-14 is not installed; other versions print differently and are not used.
"""
import pathlib
import shutil
import subprocess
import sys

ENDINGS = {".cpp", ".hpp", ".c", ".h"}


def main():
    root = pathlib.Path(sys.argv[1])
    tool = shutil.which("clang-format-14")
    if tool is None:
        print("skipped: clang-format-14 is not installed (./bootstrap deps)")
        sys.exit(77)
    files = sorted(
        str(path)
        for path in root.rglob("*")
        if path.suffix in ENDINGS and not path.relative_to(root).parts[0].startswith(("build", "."))
    )
    if len(files) < 30:
        sys.exit(f"format_test: only {len(files)} sources below {root}")
    result = subprocess.run([tool, "--dry-run", "-Werror", "--ferror-limit=1", *files], capture_output=True, text=True)
    bad = sorted({line.split(":")[0] for line in result.stderr.splitlines() if "clang-format-violations" in line})
    for path in bad:
        print(f"{path}: not formatted (./bootstrap format)")
    print(f"{len(files) - len(bad)} of {len(files)} sources are formatted")
    sys.exit(1 if bad or result.returncode else 0)


main()
