"""Ring 0 computes: its archives need no function that touches the world.

usage: archives_test.py NM ARCHIVE...
Reads the undefined symbols of each archive and fails when one of the forbidden functions is among them.
"""
import subprocess
import sys

FORBIDDEN = set(
    """socket connect bind listen accept accept4 open open64 openat openat64 creat read write pread pwrite unlink rename mkdir
    fork vfork execve posix_spawn kill waitpid pthread_create clock_gettime gettimeofday time getenv secure_getenv
    poll epoll_wait epoll_create1 select nanosleep usleep sleep getrandom rand random fopen fopen64 popen system""".split()
)


def undefined_symbols(nm, archive):
    listing = subprocess.run([nm, "--undefined-only", archive], check=True, capture_output=True, text=True).stdout
    member = ""
    for line in listing.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line.strip():
            yield member, line.split()[-1].split("@")[0]


def main():
    nm, archives = sys.argv[1], sys.argv[2:]
    if not archives:
        sys.exit("archives_test: no archives given")
    bad = [
        f"{archive} ({member}): calls {symbol}"
        for archive in archives
        for member, symbol in undefined_symbols(nm, archive)
        if symbol in FORBIDDEN
    ]
    print("\n".join(bad) or f"{len(archives)} archives of ring 0 touch nothing")
    sys.exit(1 if bad else 0)


main()
