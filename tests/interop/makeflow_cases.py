"""Debian's makeflow runs a real workflow of 36 rules: word counts of 30 chapters, summed in a tree of rules."""
import collections
import random

from harness import expect

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


COUNT = """#!/bin/sh
# Words of a chapter with their counts, sorted by word.
tr -cs 'a-z' '\\n' < "$1" | sort | uniq -c | awk 'NF == 2 { print $2, $1 }' > "$2"
"""
ADD = """#!/bin/sh
# add.sh OUT IN...: sums counts of equal words.
out=$1; shift
cat "$@" | awk '{ n[$1] += $2 } END { for (w in n) print w, n[w] }' | LC_ALL=C sort > "$out"
"""
CHAPTERS, GROUPS = 30, 5


def write_workflow(lab):
    words = "event muon track vertex jet lepton charge mass detector trigger".split()
    total = collections.Counter()
    chooser = random.Random(7)
    for i in range(CHAPTERS):
        text = [chooser.choice(words) for _ in range(2000)]
        total.update(text)
        lab.write(f"flow/chapter{i}.txt", " ".join(text) + "\n")
    lab.write("flow/count.sh", COUNT, 0o755)
    lab.write("flow/add.sh", ADD, 0o755)
    rules = ["CORES=1", "MEMORY=50", "DISK=50", ""]
    for i in range(CHAPTERS):
        rules.append(f"counts{i}: count.sh chapter{i}.txt\n\t./count.sh chapter{i}.txt counts{i}\n")
    per_group = CHAPTERS // GROUPS
    for g in range(GROUPS):
        parts = " ".join(f"counts{i}" for i in range(g * per_group, (g + 1) * per_group))
        rules.append(f"sum{g}: add.sh {parts}\n\t./add.sh sum{g} {parts}\n")
    sums = " ".join(f"sum{g}" for g in range(GROUPS))
    rules.append(f"total: add.sh {sums}\n\t./add.sh total {sums}\n")
    lab.write("flow/Makeflow", "\n".join(rules))
    return "".join(f"{word} {count}\n" for word, count in sorted(total.items()))


def run_makeflow(lab, worker_ages, password=False):
    expected = write_workflow(lab)
    port_file = lab.dir / "port"
    command = [lab.programs.find("old", "makeflow"), "-T", "wq", "-Z", port_file, "-r", 2]
    secret = lab.password_file() if password else None
    if secret:
        command += [f"--password={secret}"]
    flow = lab.start("makeflow", [*command, "Makeflow"], cwd=lab.dir / "flow")
    port = lab.read_port(port_file, flow)
    for age in worker_ages:
        lab.worker(age, port, password=secret)
    status = lab.wait(flow)
    expect(status == 0, f"makeflow ended with status {status}")
    total = (lab.dir / "flow/total").read_text()
    expect(total == expected, f"the workflow computed {total!r}, expected {expected!r}")
    print(f"makeflow: {CHAPTERS + GROUPS + 1} rules, workers: {', '.join(worker_ages)}")


@case
def makeflow_old_worker(lab):
    run_makeflow(lab, ["old"])


@case
def makeflow_new_worker(lab):
    run_makeflow(lab, ["new"])


@case
def makeflow_new_worker_password(lab):
    run_makeflow(lab, ["new"], password=True)


@case
def makeflow_mixed_workers(lab):
    run_makeflow(lab, ["old", "new"])
