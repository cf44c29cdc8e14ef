"""Environments end to end with real processes. usage: environment_cases.py --bin DIR CASE   or   --list

Each case is one ctest; exit 0 passed, 1 failed (with all logs), 77 skipped (with the reason).
"""
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "interop"))
import harness  # noqa: E402
from harness import expect  # noqa: E402

CASES = {}
UNITS = {"B": 1, "KB": 1e3, "kB": 1e3, "KiB": 1024, "MB": 1e6, "MiB": 1 << 20, "bytes": 1}
ACTIVATE = 'export CONDA_PREFIX="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"\nexport PATH="$CONDA_PREFIX/bin:$PATH"\n'


def case(function):
    CASES[function.__name__] = function
    return function


def make_tree(lab, name="tree", files=60, size=20000, seed=1):
    """A small environment: a program, an activate script, and files whose bytes do not compress."""
    root = lab.dir / name
    numbers = random.Random(seed)
    lab.write(f"{name}/bin/activate", ACTIVATE)
    lab.write(f"{name}/bin/answer", "#!/bin/sh\ncat \"$CONDA_PREFIX/lib/answer.txt\"\n", 0o755)
    lab.write(f"{name}/lib/answer.txt", "forty-two\n")
    for i in range(files):
        lab.write(f"{name}/lib/data/{i:04d}.bin", numbers.randbytes(size))
    return root


def pack(lab, tree, name="env.tar.gz", mode="w:gz"):
    """Sorted and without times, so that two archives of nearly the same tree differ where the trees do."""

    def plain(info):
        info.mtime = info.uid = info.gid = 0
        return info

    archive = lab.dir / name
    with tarfile.open(archive, mode) as tar:
        for path in sorted(tree.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(tree)), recursive=False, filter=plain)
    return archive


def manager(lab, commands, archive, options=(), name="manager", port=0):
    lines = "".join(json.dumps({"command": command, "cores": 1}) + "\n" for command in commands)
    tasks = lab.write(f"{name}.jsonl", lines)
    port_file = lab.dir / f"{name}.port"
    results = lab.dir / f"{name}.results"
    command = [lab.programs.find("new", "work_queue_manager"), "run", tasks, "--port", port, "--port-file", port_file]
    command += ["--results", results, "--environment-cache", lab.dir / "manager-cache", *options]
    if archive:
        command += ["--environment", archive]
    process = lab.start(name, command)
    process.results = results
    process.port = lab.read_port(port_file, process)
    return process


def results(lab, process, status=0):
    ended = lab.wait(process)
    expect(ended == status, f"{process.name} ended with status {ended}, expected {status}")
    return [json.loads(line) for line in process.results.read_text().splitlines()]


def counts(process):
    """(unpacked, found, bytes sent) of the summary."""
    found = re.search(r"environments: unpacked (\d+) times, found (\d+) times; ([0-9.]+) (\w+) sent", process.text())
    expect(found, "no line about environments in the summary")
    return int(found[1]), int(found[2]), float(found[3]) * UNITS[found[4]]


def all_answered(records, count):
    expect(len(records) == count, f"{len(records)} results for {count} tasks")
    wrong = [record for record in records if record["output"] != "forty-two\n"]
    expect(not wrong, f"{len(wrong)} wrong, e.g. {wrong[:1]}")


def worker(lab, port, options=(), cores=4, name=None, age="new"):
    return lab.worker(age, port, cores=cores, options=options, name=name)


@case
def once_per_worker(lab):
    """50 tasks at once on two workers: unpacked twice, read-only, no copies, no wrapper in the command."""
    archive = pack(lab, make_tree(lab))
    run = manager(lab, ["answer"] * 50, archive)
    for _ in range(2):
        worker(lab, run.port, cores=25)
    records = results(lab, run)
    all_answered(records, 50)
    unpacked, found, _ = counts(run)
    expect((unpacked, found) == (2, 0), f"unpacked {unpacked}, found {found}")
    expect(all(record["command"] == "answer" for record in records), "the command was changed")


@case
def activated_and_read_only(lab):
    archive = pack(lab, make_tree(lab))
    commands = [
        'echo "$CONDA_PREFIX"; echo "$PATH"; pwd',
        'echo more >> "$CONDA_PREFIX/lib/answer.txt" && echo written || echo refused',
        'touch "$CONDA_PREFIX/lib/new" && echo written || echo refused',
        "ls -a; env",
    ]
    run = manager(lab, commands, archive)
    worker(lab, run.port)
    place, change, make, inside = (record["output"] for record in sorted(results(lab, run), key=lambda r: r["task"]))
    prefix, path, sandbox = place.splitlines()
    expect(path.startswith(prefix + "/bin:"), f"PATH is {path}")
    expect(not prefix.startswith(sandbox), f"{prefix} is a copy in the sandbox")
    if os.geteuid() != 0:  # permissions do not stop root
        expect("refused" in change and "refused" in make, f"the tree can be changed: {change} {make}")
    expect(".environment" not in inside and "TASKMILL_ENVIRONMENT" not in inside, f"the sandbox shows: {inside}")


@case
def every_kind_of_archive(lab):
    tree = make_tree(lab, files=5)
    kinds = {"env.tar": "w", "env.tar.gz": "w:gz", "env.tar.bz2": "w:bz2", "env.tar.xz": "w:xz"}
    archives = [pack(lab, tree, name, mode) for name, mode in kinds.items()]
    subprocess.run(["zstd", "-q", lab.dir / "env.tar", "-o", lab.dir / "env.tar.zst"], check=True)
    archives += [lab.dir / "env.tar.zst", tree]
    lines = "".join(json.dumps({"command": "answer", "environment": str(archive)}) + "\n" for archive in archives)
    tasks = lab.write("each.jsonl", lines)
    port_file = lab.dir / "each.port"
    command = [lab.programs.find("new", "work_queue_manager"), "run", tasks, "--port", 0, "--port-file", port_file]
    run = lab.start("each", command + ["--results", lab.dir / "each.results", "--environment-cache", lab.dir / "cache"])
    run.results = lab.dir / "each.results"
    worker(lab, lab.read_port(port_file, run))
    all_answered(results(lab, run), len(archives))


@case
def changed_environment_sends_little(lab):
    tree = make_tree(lab, files=200)
    cache = lab.dir / "node"
    first = manager(lab, ["answer"], pack(lab, tree, "one.tar.gz"), name="first")
    worker(lab, first.port, ["--cache-dir", cache, "--single-shot"], name="one")
    all_answered(results(lab, first), 1)
    everything = counts(first)[2]
    (tree / "lib/answer.txt").write_text("forty-three\n")
    second = manager(lab, ["answer"], pack(lab, tree, "two.tar.gz"), name="second")
    worker(lab, second.port, ["--cache-dir", cache, "--single-shot"], name="two")
    expect(results(lab, second)[0]["output"] == "forty-three\n", "the old version ran")
    unpacked, _, little = counts(second)
    expect(unpacked == 1 and everything > 3_500_000 and little < everything / 15, f"sent {everything}, then {little}")


@case
def kept_across_sessions(lab):
    """The same worker serves a second manager: nothing is sent, nothing unpacked."""
    archive = pack(lab, make_tree(lab))
    first = manager(lab, ["answer"] * 4, archive, name="first")
    process = worker(lab, first.port)
    all_answered(results(lab, first), 4)
    second = manager(lab, ["answer"] * 4, archive, name="second", port=first.port)
    all_answered(results(lab, second), 4)
    expect(counts(second) == (0, 1, 0), f"the second time: {counts(second)}")
    expect(process.running(), "the worker has ended")


@case
def two_workers_of_a_node_share(lab):
    archive = pack(lab, make_tree(lab))
    run = manager(lab, ["answer; sleep 0.2"] * 40, archive)
    for name in ("one", "two"):
        worker(lab, run.port, ["--cache-dir", lab.dir / "node"], name=name, cores=2)
    all_answered(results(lab, run), 40)
    unpacked, found, _ = counts(run)
    expect(unpacked == 1 and found <= 1, f"unpacked {unpacked}, found {found}")


@case
def killed_in_the_middle(lab):
    """SIGKILL at moments all over the transfer: the next worker of the node is right, and nothing is left half done."""
    archive = pack(lab, make_tree(lab, files=1500))
    cache = lab.dir / "node"
    run = manager(lab, ["answer"] * 8, archive)
    for attempt in range(8):
        process = worker(lab, run.port, ["--cache-dir", cache], name=f"victim-{attempt}")

        def writes(least=attempt):
            return len(list(cache.glob("trees/tmp.*/tree/lib/data/*"))) > least * 150 or not run.running()

        lab.wait_until(writes, "the environment is being unpacked", timeout=60)
        if not run.running():
            break
        os.kill(process.popen.pid, signal.SIGKILL)
        lab.wait(process)
    worker(lab, run.port, ["--cache-dir", cache], name="last")
    all_answered(results(lab, run), 8)
    trees = [path for path in (cache / "trees").iterdir() if path.name != "locks"]
    expect(len(trees) == 1, f"left in the store: {trees}")
    files = sorted(path.relative_to(trees[0] / "tree") for path in (trees[0] / "tree").rglob("*"))
    expect(len(files) == 1500 + 6, f"{len(files)} entries")
    expect(not list((cache / "chunks").glob("*.new")), "unfinished packs are left")


@case
def bad_archive(lab):
    """A link that leads out: every task gets a result that says so."""
    tree = make_tree(lab, files=3)
    archive = pack(lab, tree, "bad.tar", "w")
    with tarfile.open(archive, "a") as tar:
        link = tarfile.TarInfo("lib/passwd")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../etc/passwd"
        tar.addfile(link)
    run = manager(lab, ["answer"] * 5, archive)
    worker(lab, run.port)
    for record in results(lab, run, status=1):
        expect("link that leads out" in json.dumps(record), f"no reason in {record}")


@case
def old_and_new_workers_mixed(lab):
    archive = pack(lab, make_tree(lab))
    run = manager(lab, ["answer; sleep 0.3"] * 40, archive)
    worker(lab, run.port, age="old", cores=2)
    worker(lab, run.port, cores=2)
    records = results(lab, run)
    all_answered(records, 40)
    expect(counts(run)[0] == 1, "the native worker did not unpack by itself")
    expect(len({record["address"] for record in records}) == 2, "only one of the workers ran something")


@case
def without_its_disk(lab):
    """The environment does not fit: the reason names the numbers, and the worker goes on."""
    archive = pack(lab, make_tree(lab, files=200, size=50000))
    node = lab.dir / "node"
    node.mkdir(mode=0o700)
    run = manager(lab, ["answer"] * 3, archive)
    inner = [lab.programs.find("new", "work_queue_worker"), "-s", lab.dir, "--cache-dir", node, "127.0.0.1", run.port]
    inner += ["--cores", 2, "--memory", 500, "--disk", 500]
    script = f"mount -t tmpfs -o size=4m,mode=0700 none {node} && exec " + " ".join(map(str, inner))
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", str(node)], capture_output=True)
    if probe.returncode != 0:
        raise harness.Skip("no file system can be mounted here")
    lab.start("worker-small", ["unshare", "-m", "sh", "-c", script])
    for record in results(lab, run, status=1):
        text = json.dumps(record)
        expect("disk full" in text or "not enough" in text or "free" in text, f"no numbers in {record}")


def behind_a_gate(lab, archive, tasks, transfers):
    """Each worker of one core gets one task, which ends when the gate opens."""
    gate = lab.dir / "gate"
    command = f"answer; while [ ! -e {gate} ]; do sleep 0.05; done"
    log = lab.dir / "manager.debug"
    run = manager(lab, [command] * tasks, archive, ["--peer-transfers", transfers, "--debug-log", log])

    def ready():
        return log.read_text(errors="replace").count("has an environment") if log.exists() else 0

    return run, gate, ready, lambda: log.read_text(errors="replace")


def passed_on(process):
    """(transfers, bytes) between workers of the summary."""
    found = re.search(r"([0-9.]+) (\w+) from worker to worker \((\d+) transfers\)", process.text())
    return (int(found[3]), float(found[1]) * UNITS[found[2]]) if found else (0, 0)


def all_at_once(lab, archive, count, transfers):
    """That many workers start together, each gets the environment, and then every task ends."""
    run, gate, ready, _ = behind_a_gate(lab, archive, count, transfers)
    for i in range(count):
        worker(lab, run.port, cores=1, name=f"w{i}")
    lab.wait_until(lambda: ready() == count or not run.running(), f"all {count} workers have the environment")
    gate.touch()
    all_answered(results(lab, run), count)
    return run


@case
def eight_workers_pass_it_on(lab):
    """The manager sends it once at a time and to one; from then on workers serve each other."""
    archive = pack(lab, make_tree(lab, files=300))
    size = archive.stat().st_size
    run = all_at_once(lab, archive, 8, transfers=1)
    unpacked, found, sent = counts(run)
    transfers, moved = passed_on(run)
    expect((unpacked, found) == (8, 0), f"unpacked {unpacked}, found {found}")
    expect(sent < 1.2 * size, f"the manager sent {sent} bytes of an archive of {size}")
    expect(transfers == 7 and moved > 6 * size, f"{transfers} transfers of {moved} bytes")


@case
def without_peer_transfers_the_manager_sends_all(lab):
    archive = pack(lab, make_tree(lab, files=100))
    run = all_at_once(lab, archive, 3, transfers=0)
    expect(counts(run)[2] > 2.5 * archive.stat().st_size, f"the manager sent only {counts(run)[2]} bytes")
    expect(passed_on(run) == (0, 0), "something went from worker to worker")


def falsify(process):
    """Every chunk that this worker has kept gets another last byte."""
    packs = list(process.workdir.glob("**/chunks/*.pack"))
    expect(packs, f"no chunks below {process.workdir}")
    for path in packs:
        data = bytearray(path.read_bytes())
        at = 0
        while at + 40 <= len(data):
            at += 40 + int.from_bytes(data[at + 36:at + 40], "little")
            data[at - 1] ^= 1
        path.write_bytes(data)


@case
def one_lies_one_stalls_one_is_killed(lab):
    """Of nine workers three are bad sources, one after the other; everybody gets the environment all the same."""
    archive = pack(lab, make_tree(lab, files=300))
    run, gate, ready, log = behind_a_gate(lab, archive, 8, transfers=1)
    workers = []

    def another(options=()):
        workers.append(worker(lab, run.port, options, cores=1, name=f"w{len(workers)}"))
        return workers[-1]

    def all_ready(count, what):
        lab.wait_until(lambda: ready() >= count or not run.running(), what)
        expect(run.running(), "the manager has ended")

    liar = another()
    all_ready(1, "the first worker has it")
    falsify(liar)
    stalls = another()
    all_ready(2, "the second one has it, although its source lied")
    expect("sent other bytes than those with this digest" in log(), "nobody was told of the lie")
    os.kill(stalls.popen.pid, signal.SIGSTOP)
    dies = another(["-d", "all", "-o", lab.dir / "dies.log"])
    all_ready(3, "the third one has it, although its source stalled")
    expect("is silent" in log(), "nobody was told of the silence")
    another()
    served = lab.dir / "dies.log"
    lab.wait_until(lambda: "serving an environment" in served.read_text(errors="replace"), "the third one is a source")
    os.kill(dies.popen.pid, signal.SIGKILL)
    for _ in range(5):
        another()
    all_ready(9, "all others have it")
    os.kill(stalls.popen.pid, signal.SIGCONT)
    gate.touch()
    all_answered(results(lab, run), 8)
    transfers, _ = passed_on(run)
    expect(transfers >= 3, f"only {transfers} honest transfers")


@case
def preparing_holds_nobody_up(lab):
    """An archive that comes through a pipe: other tasks are served while the manager waits for the rest of it."""
    archive = pack(lab, make_tree(lab, files=20))
    pipe = lab.dir / "env.pipe"
    os.mkfifo(pipe)
    lines = [json.dumps({"command": "answer", "cores": 1, "tag": "inside", "environment": str(pipe)})]
    lines += [json.dumps({"command": "echo forty-two", "cores": 1, "tag": "outside"})] * 10
    tasks = lab.write("tasks.jsonl", "\n".join(lines) + "\n")
    port_file = lab.dir / "port"
    command = [lab.programs.find("new", "work_queue_manager"), "run", tasks, "--port", 0, "--port-file", port_file]
    run = lab.start("manager", command + ["--results", lab.dir / "results", "--environment-cache", lab.dir / "cache"])
    run.results = lab.dir / "results"
    worker(lab, lab.read_port(port_file, run))

    def ended():
        return [json.loads(line)["tag"] for line in run.results.read_text().splitlines()] if run.results.exists() else []

    # The manager reads the pipe by now or soon will; what it reads ends only when this file is closed.
    with open(pipe, "wb") as stream:
        stream.write(archive.read_bytes()[:1000])
        stream.flush()
        lab.wait_until(lambda: len(ended()) == 10 or not run.running(), "the tasks outside have ended")
        expect(ended() == ["outside"] * 10, f"ended: {ended()}")
        stream.write(archive.read_bytes()[1000:])
    all_answered(results(lab, run), 11)


@case
def an_archive_that_is_none_fails_its_tasks(lab):
    lab.write("env.tar.gz", "not an archive at all\n" * 100)
    run = manager(lab, ["answer"] * 3, lab.dir / "env.tar.gz")
    for record in results(lab, run, status=1):
        expect("not a tar archive" in json.dumps(record), f"no reason in {record}")


@case
def evicted_environments_come_again(lab):
    """Room for one of two: the worker lets go what no task needs, tells the manager, and gets it again."""
    archives = []
    for name in ("one", "two"):
        tree = make_tree(lab, name, files=100, seed=name)
        (tree / "lib/answer.txt").write_text(name)
        archives.append(pack(lab, tree, f"{name}.tar.gz"))
    lines = [json.dumps({"command": "answer", "cores": 1, "environment": str(archives[i % 2])}) for i in range(6)]
    tasks = lab.write("tasks.jsonl", "\n".join(lines) + "\n")
    port_file = lab.dir / "port"
    command = [lab.programs.find("new", "work_queue_manager"), "run", tasks, "--port", 0, "--port-file", port_file]
    run = lab.start("manager", command + ["--results", lab.dir / "results", "--environment-cache", lab.dir / "cache"])
    run.results = lab.dir / "results"
    worker(lab, lab.read_port(port_file, run), ["--cache-limit", 3], cores=1)
    records = sorted(results(lab, run), key=lambda record: record["task"])
    expect([record["output"] for record in records] == ["one", "two"] * 3, f"outputs of {records}")
    unpacked, _, _ = counts(run)
    expect(unpacked > 2, f"unpacked only {unpacked} times: nothing was evicted")


@case
def a_frozen_worker_of_the_node_holds_nobody_up(lab):
    """One stops while it unpacks into the directory that both share: the other one goes on with a copy of its own."""
    archive = pack(lab, make_tree(lab, files=1500))
    cache = lab.dir / "node"
    run = manager(lab, ["answer"] * 2, archive, ["--tune", "keepalive-timeout=5", "--tune", "keepalive-interval=5"])
    frozen = worker(lab, run.port, ["--cache-dir", cache], name="frozen", cores=1)

    def writes():
        return len(list(cache.glob("trees/tmp.*/tree/lib/data/*"))) > 10 or not run.running()

    lab.wait_until(writes, "the environment is being unpacked", timeout=60)
    os.kill(frozen.popen.pid, signal.SIGSTOP)
    worker(lab, run.port, ["--cache-dir", cache], name="other", cores=1)
    try:
        all_answered(results(lab, run), 2)
    finally:
        os.kill(frozen.popen.pid, signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(harness.main(CASES))
