"""An application of the old manager library, with our resource_monitor, on the old worker.

usage: manager_test.py MONITORED_MANAGER RESOURCE_MONITOR KNOWN_USE [WORKER]
Exit 77: Debian's programs are not installed.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

manager, monitor, known_use = (os.path.abspath(p) for p in sys.argv[1:4])
worker = sys.argv[4] if len(sys.argv) > 4 else shutil.which("work_queue_worker", path="/usr/bin")
if worker is None:
    print("skipped: Debian's work_queue_worker is not installed")
    sys.exit(77)


def run(full, folder):
    environment = dict(os.environ, CCTOOLS_RESOURCE_MONITOR=monitor, TCP_LOW_PORT="9200")
    (folder / "monitor").mkdir()
    process = subprocess.Popen([manager, str(int(full)), "monitor", "port", known_use], cwd=folder, env=environment,
                               stdout=subprocess.PIPE, text=True)
    workers = None
    try:
        deadline = time.time() + 60
        while not (folder / "port").exists() or not (folder / "port").read_text().strip():
            assert time.time() < deadline and process.poll() is None, "the manager did not start"
            time.sleep(0.05)
        workers = subprocess.Popen([worker, "--cores", "2", "--memory", "1000", "--disk", "2000", "-s", str(folder),
                                    "127.0.0.1", (folder / "port").read_text().strip()], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        out, _ = process.communicate(timeout=200)
    finally:
        for child in (process, workers):
            if child and child.poll() is None:
                child.kill()
                child.wait()
    assert process.returncode == 0, f"the manager ended with {process.returncode}"
    return {line.split()[0]: line.split()[1:] for line in out.splitlines()}


for full in (False, True):
    with tempfile.TemporaryDirectory(prefix="taskmill-monitored-") as name:
        folder = pathlib.Path(name)
        tasks = run(full, folder)
        for tag, values in sorted(tasks.items()):
            print(full, tag, *values)
        assert sorted(tasks) == ["exhausted", "failed", "good", "killed", "late"], tasks
        result, status, exit_type, memory, cpu, disk, limit = tasks["good"]
        assert (result, status, exit_type) == ("0", "0", "normal") and 100 <= float(memory) <= 106, tasks["good"]
        result, status, exit_type, memory, cpu, disk, limit = tasks["failed"]
        assert (result, status, exit_type) == ("0", "7", "normal") and 0.28 <= float(cpu) <= 0.4, tasks["failed"]
        result, status, exit_type, memory, cpu, disk, limit = tasks["exhausted"]
        assert result == "16" and exit_type == "limits" and float(memory) > float(limit) >= 200, tasks["exhausted"]
        assert tasks["late"][:3] == ["24", "143", "limits"], tasks["late"]
        assert tasks["killed"][1:3] == ["137", "signal"], tasks["killed"]
        summaries = list((folder / "monitor").glob("wq-*.summaries"))
        assert len(summaries) == 1, list((folder / "monitor").iterdir())
        decoder, text, count = json.JSONDecoder(), summaries[0].read_text(), 0
        while text.strip():
            _, end = decoder.raw_decode(text.lstrip())
            text, count = text.lstrip()[end:], count + 1
        assert count >= 5, f"{count} summaries, the manager's own among them"
        if full:
            assert list((folder / "monitor").glob("*.series*")), "no series came home"
print("ok")
