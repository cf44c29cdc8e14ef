"""A worker measures its tasks and stops those that pass a limit: seen by a scripted manager, native and old.

usage: worker_limits_test.py WORK_QUEUE_WORKER KNOWN_USE PROTOC PROTO_ROOT [unittest options]
"""
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import unittest

WORKER, KNOWN_USE, PROTOC, ROOT = (os.path.abspath(sys.argv.pop(1)) for _ in range(4))
PATIENCE = 120
EXHAUSTED = 16


class Manager:
    """Enough of a manager to give tasks to one worker and read what comes back."""

    def __init__(self, native, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="taskmill-limits-")
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        self.process = subprocess.Popen([WORKER, "--cores", "4", "--memory", "4000", "--disk", "4000", "-s", self.folder.name,
                                         *options, "127.0.0.1", str(port)], stdout=subprocess.DEVNULL)
        self.connection, _ = listener.accept()
        listener.close()
        self.connection.settimeout(PATIENCE)
        self.file = self.connection.makefile("rwb")
        self.native, self.results, self.measured, self.capabilities = native, {}, {}, None
        while True:
            line = self.line()
            if line.startswith("info wqx-caps "):
                self.capabilities = line.split()[2]
            if line.startswith("info tasks_running"):
                break
        if native:
            self.send("tlq wqx:1,enforce,measure\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send("exit\n")
        except OSError:
            pass
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.connection.close()
            self.folder.cleanup()

    def send(self, text):
        self.file.write(text.encode())
        self.file.flush()

    def line(self):
        line = self.file.readline()
        assert line.endswith(b"\n"), "the worker hung up"
        return line[:-1].decode()

    def submit(self, task, command, memory=None, disk=None, cores=1):
        block = f"task {task}\ncmd {len(command)}\n{command}\ncategory default\ncores {cores}\n"
        if memory is not None:
            block += f"memory {memory}\n"
        if disk is not None:
            block += f"disk {disk}\n"
        self.send(block + "end\n")

    def take(self, line):
        """One line and its body. True for the end of an answer."""
        words = line.split()
        if words[0] == "available_results":
            self.send("send_results -1\n")
        elif words[0] == "wqx":
            assert self.native, "a frame to an old manager"
            body = self.file.read(int(words[2]))
            assert words[1] == "1", line
            text = subprocess.run([PROTOC, f"--proto_path={ROOT}", "--decode=taskmill.pb.TaskMeasurement",
                                   "protocol/pb/extension.proto"], input=body, capture_output=True, check=True).stdout.decode()
            values = {key: value for key, value in re.findall(r"^(\w+): (.*)$", text, re.M)}
            values["limits"] = re.findall(r"limits_exceeded \{\s+kind: (\w+)\s+allowed: (\S+)\s+used: (\S+)\s+(enforced: true)?",
                                          text)
            values["pieces"] = text.count("time_line {")
            self.measured[int(values["task_id"])] = values
        elif words[0] == "result":
            self.file.read(int(words[3]))
            task = int(words[5])
            assert not self.native or task in self.measured, "the measurement comes before the result"
            self.results[task] = (int(words[1]), int(words[2]))
            self.send(f"kill {task}\n")

    def wait_for(self, *tasks):
        while not all(task in self.results for task in tasks):
            self.take(self.line())


class Native(unittest.TestCase):
    def test_capability_is_announced(self):
        with Manager(native=True) as manager:
            self.assertIn("measure", manager.capabilities.split(","))

    def test_what_a_task_used_comes_home(self):
        with Manager(native=True) as manager:
            manager.submit(1, f"{KNOWN_USE} memory 150 0.5", memory=1000, disk=100)
            manager.submit(2, f"{KNOWN_USE} spin 1 0.5; {KNOWN_USE} disk 20 0.5", memory=1000, disk=100)
            manager.submit(3, "true", memory=1000, disk=100)
            manager.wait_for(1, 2, 3)
            one, two, three = (manager.measured[i] for i in (1, 2, 3))
            self.assertEqual(manager.results, {1: (0, 0), 2: (0, 0), 3: (0, 0)})
            self.assertAlmostEqual(int(one["memory"]) / 2**20, 150, delta=7.5)
            self.assertGreaterEqual(one["pieces"], 2)
            self.assertAlmostEqual((int(two["cpu_user_us"]) + int(two.get("cpu_system_us", 0))) / 1e6, 0.5, delta=0.06)
            self.assertAlmostEqual(int(two["disk"]) / 2**20, 20, delta=1)
            self.assertEqual(two["memory_source"] in ("MEMORY_RSS", "MEMORY_PSS"), True, two)
            self.assertGreater(int(three["wall_us"]), 0)
            self.assertIn("memory", three)
            self.assertEqual(one["limits"], [])

    def test_a_task_over_its_memory_is_stopped_and_the_others_are_not(self):
        with Manager(native=True) as manager:
            manager.submit(1, f"{KNOWN_USE} memory 40 2", memory=100)
            manager.submit(2, f"{KNOWN_USE} grow 300 3000; echo survived", memory=100)
            manager.wait_for(1, 2)
            self.assertEqual(manager.results[1], (0, 0))
            self.assertEqual(manager.results[2][0], EXHAUSTED)
            kind, allowed, used, enforced = manager.measured[2]["limits"][0]
            self.assertEqual((kind, float(allowed), bool(enforced)), ("LIMIT_MEMORY", 100, True))
            self.assertGreater(float(used), 100)
            self.assertLess(float(used), 400)

    def test_a_task_over_its_disk_is_stopped(self):
        with Manager(native=True) as manager:
            manager.submit(1, f"{KNOWN_USE} disk 200 300", disk=50)
            manager.wait_for(1)
            self.assertEqual(manager.results[1][0], EXHAUSTED)
            self.assertEqual(manager.measured[1]["limits"][0][0], "LIMIT_DISK")

    def test_daemons_are_measured_and_gone_afterwards(self):
        with Manager(native=True) as manager:
            manager.submit(1, f"{KNOWN_USE} daemon 737373; sleep 0.3")
            manager.wait_for(1)
            self.assertGreaterEqual(int(manager.measured[1]["total_processes"]), 2)
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                self.assertNotIn(b"737373", (folder / "cmdline").read_bytes())
            except OSError:
                pass

    def test_nothing_is_enforced_when_the_user_says_so(self):
        with Manager(True, "--enforce", "never") as manager:
            manager.submit(1, f"{KNOWN_USE} memory 200 0.5", memory=50)
            manager.wait_for(1)
            self.assertEqual(manager.results[1], (0, 0))


class Legacy(unittest.TestCase):
    def test_old_managers_get_no_frames_and_no_surprises(self):
        with Manager(native=False) as manager:
            manager.submit(1, f"{KNOWN_USE} memory 200 0.5", memory=50)
            manager.wait_for(1)
            self.assertEqual(manager.results[1], (0, 0))

    def test_enforcement_on_request(self):
        with Manager(False, "--enforce", "always") as manager:
            manager.submit(1, f"{KNOWN_USE} memory 200 300", memory=50)
            manager.wait_for(1)
            self.assertEqual(manager.results[1][0], EXHAUSTED)

    def test_a_fork_bomb_is_stopped_with_any_manager(self):
        with Manager(False, "--process-limit", "50") as manager:
            manager.submit(1, f"{KNOWN_USE} fork 400 300")
            manager.submit(2, "sleep 1")
            manager.wait_for(1, 2)
            self.assertEqual(manager.results[1][0], EXHAUSTED)
            self.assertEqual(manager.results[2], (0, 0))


if __name__ == "__main__":
    unittest.main()
