#!/usr/bin/env python3
"""Packs a virtual environment in the conda-pack layout: files at the root of the archive, bin/activate that
finds its own directory, first lines of scripts without the path of this machine. venv-pack does the same and more.

    pack.py ENV ARCHIVE.tar.gz
"""

import io
import os
import sys
import tarfile

ACTIVATE = b"""# source this
_environment="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." > /dev/null && pwd)"
export VIRTUAL_ENV="$_environment"
export PATH="$_environment/bin:$PATH"
unset PYTHONHOME _environment
"""


def content_of(path, name, environment):
    with open(path, "rb") as file:
        data = file.read()
    if name == "bin/activate":
        return ACTIVATE
    first, separator, rest = data.partition(b"\n")
    if name.startswith("bin/") and first.startswith(b"#!" + environment.encode()):
        return b"#!/usr/bin/env python" + separator + rest
    return data


def main():
    environment = os.path.abspath(sys.argv[1])
    with tarfile.open(sys.argv[2], "w:gz", compresslevel=6) as archive:
        for directory, names, files in os.walk(environment):
            names.sort()
            for name in sorted(files + [n for n in names if os.path.islink(os.path.join(directory, n))]):
                path = os.path.join(directory, name)
                inside = os.path.relpath(path, environment)
                member = archive.gettarinfo(path, inside)
                if not member.isreg():
                    archive.addfile(member)
                    continue
                data = content_of(path, inside, environment)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
