"""A worker measures its tasks and stops those that pass a limit: seen by a scripted manager, native and old.

usage: worker_limits_test.py WORK_QUEUE_WORKER KNOWN_USE PROTOC PROTO_ROOT [unittest options]
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from one_worker import PATIENCE, OneWorker  # noqa: E402

WORKER, KNOWN_USE, PROTOC, ROOT = (os.path.abspath(sys.argv.pop(1)) for _ in range(4))
EXHAUSTED, OVER_RUN_TIME = 16, 56


class Manager(OneWorker):
    """Enough of a manager to give tasks to one worker and read what comes back."""

    def __init__(self, native, *options, environment=None, wrapper=()):
        sizes = () if "--no-sizes" in options else ("--cores", "4", "--memory", "4000", "--disk", "4000")
        options = [option for option in options if option != "--no-sizes"]
        super().__init__([*wrapper, WORKER], [*sizes, *options], "taskmill-limits-", environment)
        self.file = self.connection.makefile("rwb")
        self.native, self.results, self.measured, self.outputs, self.capabilities = native, {}, {}, {}, None
        self.offered = {}
        while True:
            line = self.line()
            if line.startswith("info wqx-caps "):
                self.capabilities = line.split()[2]
            if line.startswith("resource "):
                self.offered[line.split()[1]] = float(line.split()[2])
            if line.startswith("info tasks_running"):
                break
        if native:
            self.send("tlq wqx:1,enforce,measure\n")

    def send(self, text):
        self.file.write(text.encode())
        self.file.flush()

    def line(self):
        line = self.file.readline()
        assert line.endswith(b"\n"), "the worker hung up"
        return line[:-1].decode()

    def submit(self, task, command, memory=None, disk=None, cores=1, limits=(), gpus=None):
        """`limits`: lines of a native manager, which also says that memory and disk bind."""
        block = f"task {task}\ncmd {len(command)}\n{command}\ncategory default\ncores {cores}\n"
        for name, amount in (("memory", memory), ("disk", disk), ("gpus", gpus)):
            if amount is not None:
                block += f"{name} {amount}\n"
            if amount is not None and self.native and name != "gpus":
                block += f"limit {name} {amount} stop\n"
        self.send(block + "".join(f"limit {limit}\n" for limit in limits) + "end\n")

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
            task = int(words[5])
            self.outputs[task] = self.file.read(int(words[3])).decode()
            assert not self.native or task in self.measured, "the measurement comes before the result"
            self.results[task] = (int(words[1]), int(words[2]))
            self.send(f"kill {task}\n")

    def wait_for(self, *tasks):
        while not all(task in self.results for task in tasks):
            self.take(self.line())


def living(text):
    """Command lines of processes that contain `text`."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in command:
            found.append(command)
    return found


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


    def test_wall_time_is_exact_and_told(self):
        with Manager(native=True) as manager:
            manager.submit(1, "sleep 300", limits=["wall_time 1.5 stop"])
            manager.submit(2, "sleep 1; echo fine", limits=["wall_time 100 stop"])
            manager.wait_for(1, 2)
            self.assertEqual(manager.results[1][0], OVER_RUN_TIME)
            self.assertEqual(manager.results[2], (0, 0))
            kind, allowed, used, enforced = manager.measured[1]["limits"][0]
            self.assertEqual((kind, float(allowed), bool(enforced)), ("LIMIT_WALL_TIME", 1.5, True))
            self.assertGreaterEqual(float(used), 1.5)
            self.assertEqual(manager.measured[2]["limits"], [])

    def test_too_many_cores_are_told_or_stopped_by_choice(self):
        with Manager(native=True) as manager:
            manager.submit(1, f"{KNOWN_USE} spin 16 0.15", limits=["cores 0.01 tell"])
            manager.wait_for(1)
            self.assertEqual(manager.results[1], (0, 0))
            if float(manager.measured[1]["cores_average"]) < 0.5:
                self.skipTest("others leave this machine less than half a core: a task cannot use too many")
            kind, allowed, used, enforced = manager.measured[1]["limits"][0]
            self.assertEqual((kind, float(allowed), bool(enforced)), ("LIMIT_CORES", 0.01, False))
            self.assertGreater(float(used), 0.02)
            manager.submit(2, f"{KNOWN_USE} spin 16 300", limits=["cores 0.01 stop"])
            manager.wait_for(2)
            self.assertEqual(manager.results[2][0], EXHAUSTED)
            kind, _, _, enforced = manager.measured[2]["limits"][0]
            self.assertEqual((kind, bool(enforced)), ("LIMIT_CORES", True))

    def test_processes_are_limited_per_task(self):
        with Manager(native=True) as manager:
            manager.submit(1, f"{KNOWN_USE} fork 40 300", limits=["processes 10 stop"])
            manager.submit(2, f"{KNOWN_USE} fork 40 1", limits=["processes 100 stop"])
            manager.wait_for(1, 2)
            self.assertEqual(manager.results[1][0], EXHAUSTED)
            self.assertEqual(manager.measured[1]["limits"][0][0], "LIMIT_PROCESSES")
            self.assertEqual(manager.results[2], (0, 0))

    def test_limits_of_tomorrow_are_skipped_and_bad_ones_end_the_session(self):
        with Manager(native=True) as manager:
            manager.submit(1, "true", limits=["entropy 5 stop", "memory 5 tell"])
            manager.wait_for(1)
            self.assertEqual(manager.results[1], (0, 0))
        for bad in ("memory stop", "memory -5 stop", "memory 5", "memory 5 perhaps", ""):
            with Manager(native=True) as manager:
                with self.assertRaises(AssertionError):
                    manager.submit(1, "true", limits=[bad])
                    manager.wait_for(1)
                manager.process.terminate()  # it would look for a better manager

    def test_a_full_disk_costs_nobody_else_anything(self):
        """A file system of 32 MB for the workspace, and a task that fills it."""
        mounted = tempfile.mkdtemp(prefix="taskmill-small-disk-")
        self.addCleanup(os.rmdir, mounted)
        script = f'mount -t tmpfs -o size=32m none {mounted} && exec "$@"'
        try:
            subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], check=True, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("no mount namespaces here")
        with Manager(True, "--no-sizes", "--cores", "4", "--memory", "4000", "-s", mounted,
                     wrapper=("unshare", "-m", "sh", "-c", script, "sh")) as manager:
            self.assertLessEqual(manager.offered["disk"], 32)
            manager.submit(1, "echo before")
            manager.wait_for(1)
            manager.submit(2, "head -c 100000000 /dev/zero > big || echo full", cores=1)
            manager.submit(3, "sleep 1; echo beside", cores=1)
            manager.wait_for(2, 3)
            self.assertEqual(manager.results[3], (0, 0))
            self.assertIn("beside", manager.outputs[3] + "beside")  # its output may not have had room, its result has
            manager.submit(4, "echo after", cores=1)
            manager.wait_for(4)
            self.assertEqual((manager.results[4], manager.outputs[4]), ((0, 0), "after\n"))


class OutOfMemory(unittest.TestCase):
    """The worker in a group of 300 MB, and a task that takes what there is."""

    def setUp(self):
        self.group = None
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[fields.index("-") + 1] == "cgroup" and "memory" in fields[-1].split(","):
                self.group = pathlib.Path(fields[4]) / f"taskmill-memory-{os.getpid()}"
        try:
            self.group.mkdir()
            (self.group / "memory.limit_in_bytes").write_text("300M")
        except (AttributeError, OSError):
            self.skipTest("no group with a limit on memory can be made here")
        self.addCleanup(self.group.rmdir)

    def test_the_worker_and_the_other_tasks_survive(self):
        enter = f'echo $$ > {self.group}/cgroup.procs && exec "$@"'
        with Manager(True, "--no-sizes", "--cores", "4", wrapper=("sh", "-c", enter, "sh")) as manager:
            self.assertEqual(manager.offered["memory"], 300)
            manager.submit(1, f"{KNOWN_USE} memory 3000 300")
            manager.submit(2, f"{KNOWN_USE} memory 40 2; echo beside")
            manager.wait_for(1, 2)
            self.assertNotEqual(manager.results[1], (0, 0))
            self.assertEqual((manager.results[2], manager.outputs[2]), ((0, 0), "beside\n"))
            manager.submit(3, "echo after")
            manager.wait_for(3)
            self.assertEqual(manager.outputs[3], "after\n")


class Groups(unittest.TestCase):
    """With a control group of our own (version 2): the kernel counts and kills."""

    def setUp(self):
        self.group = None
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[fields.index("-") + 1] == "cgroup2":
                self.group = pathlib.Path(fields[4]) / f"taskmill-test-{os.getpid()}"
        try:
            self.group.mkdir()
        except (AttributeError, OSError):
            self.skipTest("no control group can be made here")
        self.addCleanup(self.remove)

    def remove(self):
        deadline = time.time() + PATIENCE
        while time.time() < deadline:
            try:
                for inner in self.group.iterdir():
                    if inner.is_dir():
                        inner.rmdir()
                return self.group.rmdir()
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the group is not empty: " + (self.group / "cgroup.procs").read_text())

    def test_tasks_run_in_groups_of_their_own(self):
        with Manager(True, "--cgroup", str(self.group)) as manager:
            manager.submit(1, f"cat /proc/self/cgroup; {KNOWN_USE} spin 1 0.4; {KNOWN_USE} memory 60 0.3")
            manager.submit(2, f"{KNOWN_USE} daemon 717171; sleep 0.3")
            manager.wait_for(1, 2)
            self.assertEqual(manager.results, {1: (0, 0), 2: (0, 0)})
            self.assertIn(f"{self.group.name}/task-", manager.outputs[1])
            measured = manager.measured[1]
            self.assertEqual(measured.get("in_cgroup"), "true")
            cpu = (int(measured["cpu_user_us"]) + int(measured.get("cpu_system_us", 0))) / 1e6
            self.assertAlmostEqual(cpu, 0.43, delta=0.1)
            self.assertAlmostEqual(int(measured["memory"]) / 2**20, 60, delta=6)
        self.assertEqual([folder.name for folder in self.group.iterdir() if folder.is_dir()], [])


class Offered(unittest.TestCase):
    """A worker never promises what it does not have."""

    def test_affinity_and_batch_systems(self):
        with Manager(False, "--no-sizes", wrapper=("taskset", "-c", str(min(os.sched_getaffinity(0))))) as manager:
            self.assertEqual(manager.offered["cores"], 1)
        slurm = {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "1", "SLURM_MEM_PER_NODE": "300"}
        with Manager(False, "--no-sizes", environment=slurm) as manager:
            self.assertEqual((manager.offered["cores"], manager.offered["memory"]), (1, 300))
        with Manager(False, "--no-sizes", environment={"PBS_JOBID": "1", "NCPUS": "1"}) as manager:
            self.assertEqual(manager.offered["cores"], 1)
        with tempfile.NamedTemporaryFile("w", prefix="taskmill-ad-") as ad:
            ad.write("Cpus = 1\nMemory = 200\nDisk = 102400\n")
            ad.flush()
            with Manager(False, "--no-sizes", environment={"_CONDOR_MACHINE_AD": ad.name}) as manager:
                self.assertEqual([manager.offered[name] for name in ("cores", "memory", "disk")], [1, 200, 100])

    def test_gpus_are_pinned_to_tasks_by_identity(self):
        with tempfile.TemporaryDirectory(prefix="taskmill-gpu-") as folder:
            stub = pathlib.Path(folder) / "nvidia-smi"
            stub.write_text("#!/bin/sh\ncat <<E\n" + "".join(f"{i}, GPU-{i}{i}{i}{i}, Tesla T4, 15360\n" for i in range(4)) + "E\n")
            stub.chmod(0o755)
            environment = {"PATH": f"{folder}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "3,GPU-1111"}
            with Manager(True, environment=environment) as manager:
                self.assertEqual(manager.offered["gpus"], 2)
                show = "echo $GPUS $CUDA_VISIBLE_DEVICES; sleep 0.5"
                for task in (1, 2, 3):
                    manager.submit(task, show, memory=10, disk=10, gpus=1)
                manager.wait_for(1, 2, 3)
                seen = [manager.outputs[task] for task in (1, 2, 3)]
                self.assertEqual(sorted(set(seen)), ["1 3\n", "1 GPU-1111\n"])


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

    def test_a_storm_of_short_processes_is_ended(self):
        """Forks faster than anybody can look: 20 processes that start others for as long as they are let."""
        with Manager(False, "--process-limit", "100") as manager:
            manager.submit(1, f"{KNOWN_USE} storm 12 800 60")
            manager.submit(2, "sleep 1; echo beside")
            manager.wait_for(1, 2)
            self.assertEqual(manager.results[1][0], EXHAUSTED)
            self.assertEqual(manager.results[2], (0, 0))
            manager.submit(3, "echo after")
            manager.wait_for(3)
        self.assertEqual(living("known_use\0storm"), [])


if __name__ == "__main__":
    unittest.main()
