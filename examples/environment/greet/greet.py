"""A package with something to do, so that the tasks prove where they run."""

import sys


def message(number: int) -> str:
    return f"task {number}: {number}^2 = {number * number}, prefix {sys.prefix}"


if __name__ == "__main__":
    print(message(int(sys.argv[1])))
