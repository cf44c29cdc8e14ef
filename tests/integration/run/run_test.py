"""`work_queue_manager run` with real workers: what tasks used, limits, allocation, slow tasks.

usage: run_test.py BIN_DIRECTORY [unittest options]
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

BIN = pathlib.Path(sys.argv.pop(1)).resolve()
KNOWN_USE = str(BIN / "known_use")
PATIENCE = 240


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="taskmill-run-")
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)

    def start_worker(self, program, *options):
        port = (self.path / "port").read_text().strip()
        worker = subprocess.Popen([program, "-s", str(self.path), "-t", "10", *options, "127.0.0.1", port], cwd=self.path,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)

    def run_tasks(self, tasks, *options, worker=None, worker_options=(), expect=None):
        """Runs them; self.out is what was printed, the answer maps tags to result records."""
        (self.path / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
        (self.path / "results.jsonl").unlink(missing_ok=True)
        (self.path / "port").unlink(missing_ok=True)
        manager = subprocess.Popen([BIN / "work_queue_manager", "run", "tasks.jsonl", "--results", "results.jsonl", "-v",
                                    "--port", "0", "--port-file", "port", *options], cwd=self.path, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        self.addCleanup(manager.wait)
        self.addCleanup(manager.kill)
        if worker:
            deadline = time.time() + PATIENCE
            while not ((self.path / "port").exists() and (self.path / "port").read_text().strip()):
                self.assertLess(time.time(), deadline, "the manager does not listen")
                self.assertIsNone(manager.poll(), "the manager has ended")
                time.sleep(0.02)
            for program in worker if isinstance(worker, list) else [worker]:
                self.start_worker(program, *worker_options)
        self.out, _ = manager.communicate(timeout=PATIENCE)
        if expect is not None:
            self.assertEqual(manager.returncode, expect, self.out)
        records = [json.loads(line) for line in (self.path / "results.jsonl").read_text().splitlines()]
        self.assertNotIn("-1", re.sub(r'"(command|output)":"[^"]*"', "", (self.path / "results.jsonl").read_text()).split(":"))
        return {record.get("tag", record["task"]): record for record in records}


LOCAL = ("--local-workers", "1", "--cores", "4", "--memory", "4000", "--disk", "4000")


class Limits(Case):
    def test_verbose_lines_say_what_was_given_and_what_was_used(self):
        self.run_tasks([{"command": f"{KNOWN_USE} memory 120 0.5", "cores": 2, "memory": 1000, "disk": 2000, "tag": "a"}],
                       *LOCAL, expect=0)
        lines = self.out.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("task id 1 a on "))
        self.assertRegex(lines[at], r"return code 0 \(success\)$")
        self.assertEqual(lines[at + 1], "    allocated cores: 2.0, memory: 2000 MB, disk 2000 MB, gpus: 0.0")
        found = re.fullmatch(r"    measured cores: (\d+\.\d), memory: (\d+) MB, disk (\d+) MB, gpus: 0.0, runtime \d+\.\d s",
                             lines[at + 2])
        self.assertTrue(found, lines[at + 2])
        self.assertTrue(120 <= int(found[2]) <= 126, lines[at + 2])

    def test_what_was_asked_binds_in_fixed_mode_and_says_how_much(self):
        """The box is a quarter of the worker, 1000 MB; beside those that pass it one goes on undisturbed."""
        quarter = {"cores": 1, "memory": 1000, "disk": 1000}
        done = self.run_tasks([dict(quarter, command=f"{KNOWN_USE} grow 2000 3000", tag="memory"),
                               dict(quarter, command=f"{KNOWN_USE} disk 1500 300", tag="disk"),
                               dict(quarter, command="sleep 300", max_running_time=1.5, tag="time"),
                               dict(quarter, command=f"{KNOWN_USE} memory 900 2; echo undisturbed", tag="fits")],
                              *LOCAL, expect=1)
        self.assertEqual((done["fits"]["result"], done["fits"]["output"]), ("SUCCESS", "undisturbed\n"))
        for name, result in ("memory", "RESOURCE_EXHAUSTION"), ("disk", "RESOURCE_EXHAUSTION"):
            record = done[name]
            self.assertEqual((record["result"], record["limits_exceeded"]), (result, {name: 1000}), record)
            used = record["limits_used"][name]
            self.assertTrue(1000 < used < 1500, record)
            self.assertRegex(record["message"], rf"^{name}: \d+ MB used, 1000 MB allowed$")
            self.assertIn(record["message"], self.out)
        self.assertEqual((done["time"]["result"], done["time"]["limits_exceeded"]), ("MAX_WALL_TIME", {"wall_time": 1.5}))
        self.assertRegex(done["time"]["message"], r"^wall_time: \d+\.\d\d s used, 1\.50 s allowed$")
        self.assertIn("time_line", done["fits"])

    def test_a_share_that_nobody_asked_for_binds_nobody_unless_told_so(self):
        task = {"command": f"{KNOWN_USE} memory 1200 0.3", "cores": 1, "tag": "a"}
        self.assertEqual(self.run_tasks([task], *LOCAL, expect=0)["a"]["resources_allocated"]["memory"], 1000)
        held = dict(task, command=f"{KNOWN_USE} memory 1200 300")
        done = self.run_tasks([held], *LOCAL, "--enforce", "always", expect=1)
        self.assertEqual(done["a"]["result"], "RESOURCE_EXHAUSTION")
        asked = dict(task, memory=900)
        done = self.run_tasks([asked], *LOCAL, "--enforce", "never", expect=0)
        self.assertEqual(done["a"]["limits_exceeded"], {})

    def test_cores_are_told_or_stopped_by_choice(self):
        task = {"command": f"{KNOWN_USE} spin 16 0.15", "tag": "a"}
        small = ("--category", "default:cores=0.01")
        done = self.run_tasks([task], *LOCAL, "--tune", "proportional-resources=0", *small, expect=0)
        self.assertEqual(done["a"]["resources_allocated"]["cores"], 0.01)
        if done["a"]["resources_measured"]["cores_avg"] < 0.5:
            self.skipTest("others leave this machine less than half a core: a task cannot use too many")
        self.assertRegex(done["a"]["warning"], r"^cores: \d+\.\d\d cores used, 0.01 cores allowed$")
        self.assertIn("warning: cores:", self.out)
        task["command"] = f"{KNOWN_USE} spin 16 300"
        done = self.run_tasks([task], *LOCAL, "--tune", "proportional-resources=0", *small, "--enforce-cores", expect=1)
        self.assertEqual((done["a"]["result"], done["a"]["limits_exceeded"]), ("RESOURCE_EXHAUSTION", {"cores": 0.01}))

    def test_processes_of_a_category(self):
        done = self.run_tasks([{"command": f"{KNOWN_USE} fork 40 300", "category": "forks", "tag": "a"}],
                              *LOCAL, "--category", "forks:max-processes=10", expect=1)
        self.assertEqual((done["a"]["result"], done["a"]["limits_exceeded"]), ("RESOURCE_EXHAUSTION", {"processes": 10}))
        self.assertRegex(done["a"]["message"], r"^processes: \d+ processes used, 10 processes allowed$")


class OldWorkers(Case):
    """The manager ships our resource_monitor to Debian's worker and wraps the commands."""

    def setUp(self):
        super().setUp()
        self.worker = shutil.which("work_queue_worker", path="/usr/bin")
        if self.worker is None:
            self.skipTest("Debian's work_queue_worker is not installed")

    def test_everything_comes_back_measured(self):
        quarter = {"cores": 1, "memory": 500, "disk": 500}
        tasks = [dict(quarter, command=f"{KNOWN_USE} memory 200 0.5; echo 'a \"b\" $HOME `c`' > out; cat out", tag="good",
                      outputs=["out"]),
                 dict(quarter, command="exit 7", tag="failed"),
                 dict(quarter, command=f"{KNOWN_USE} memory 1500 300", tag="memory"),
                 dict(quarter, command="sleep 300", max_running_time=1, tag="time"),
                 dict(quarter, command="kill -9 $$", tag="killed", category="it's[a]{b}")]
        done = self.run_tasks(tasks, "--monitor", "monitor", "--monitor-watchdog", worker=self.worker,
                              worker_options=("--cores", "4", "--memory", "4000", "--disk", "4000"), expect=1)
        good = done["good"]
        self.assertEqual((good["result"], good["exit_code"]), ("SUCCESS", 0), good)
        self.assertTrue(200 <= good["resources_measured"]["memory"] <= 210, good)
        self.assertEqual(good["output"], (self.path / "out").read_text())
        self.assertEqual((done["failed"]["result"], done["failed"]["exit_code"]), ("SUCCESS", 7))
        memory = done["memory"]
        self.assertEqual((memory["result"], memory["limits_exceeded"]), ("RESOURCE_EXHAUSTION", {"memory": 1000}), memory)
        self.assertRegex(memory["message"], r"^memory: \d+ MB used, 1000 MB allowed$")
        self.assertEqual((done["time"]["result"], done["time"]["limits_exceeded"]), ("END_TIME", {"wall_time": 1}))
        self.assertEqual(done["killed"]["exit_code"], 137)

    def test_measuring_only_stops_nobody(self):
        tasks = [{"command": f"{KNOWN_USE} memory 1500 0.3", "cores": 1, "memory": 500, "disk": 500, "tag": "a"}]
        done = self.run_tasks(tasks, "--monitor", "monitor", worker=self.worker,
                              worker_options=("--cores", "4", "--memory", "4000", "--disk", "4000"), expect=0)
        self.assertEqual(done["a"]["limits_exceeded"].get("memory"), 1000)
        self.assertRegex(done["a"]["warning"], r"^memory: \d+ MB used, 1000 MB allowed$")

    def test_without_a_monitor_the_unknown_is_called_unknown(self):
        done = self.run_tasks([{"command": "true", "tag": "a"}], worker=self.worker, expect=0)
        self.assertEqual(done["a"]["resources_measured"], {})
        self.assertIn("the rest unknown (this worker does not measure)", self.out)


class Allocation(Case):
    def test_boxes_shrink_grow_after_exhaustion_and_the_impossible_fails(self):
        """Thirty tasks of 60 MB teach; then one of 700 MB is stopped in its small box, then in one a little
        larger (manager.md 10.6: by what was seen), and gets all; 3000 MB never fit."""
        small = [{"command": f"{KNOWN_USE} memory 60 0.05", "category": "c", "tag": f"s{i}"} for i in range(30)]
        later = [{"command": f"{KNOWN_USE} memory 60 0.05", "category": "c", "priority": -1, "tag": "later"},
                 {"command": f"{KNOWN_USE} memory 700 0.4", "category": "c", "priority": -2, "tag": "large"},
                 {"command": f"{KNOWN_USE} memory 3000 300", "category": "c", "priority": -3, "tag": "impossible"}]
        done = self.run_tasks(small + later, "--local-workers", "1", "--cores", "2", "--memory", "2000", "--disk", "2000",
                              "--category", "c:mode=min_waste", "--tune", "category-steady-n-tasks=10", expect=1)
        self.assertEqual(done["s0"]["resources_allocated"], {"cores": 2, "memory": 2000, "disk": 2000, "gpus": 0})
        self.assertLess(done["later"]["resources_allocated"]["memory"], 1000)
        large = done["large"]
        self.assertEqual(large["result"], "SUCCESS", large)
        self.assertIn(large["exhausted_attempts"], (1, 2))
        self.assertEqual(large["tries"], large["exhausted_attempts"] + 1)
        self.assertNotIn("message", large)
        self.assertGreaterEqual(large["resources_allocated"]["memory"], 700)
        impossible = done["impossible"]
        self.assertEqual((impossible["result"], impossible["limits_exceeded"]), ("RESOURCE_EXHAUSTION", {"memory": 2000}))


class SlowTasks(Case):
    # The first copy makes `started` and hangs; whoever comes later is done at once.
    HANGS_ONCE = "mkdir {0}/started 2>/dev/null && sleep 300; echo x >> {0}/count; echo done"

    def crowd(self, **more):
        return [dict({"command": "sleep 0.1", "cores": 1, "tag": f"s{i}"}, **more) for i in range(40)]

    def test_a_straggler_gets_a_second_copy_and_the_first_result_wins(self):
        slow = {"command": self.HANGS_ONCE.format(self.path), "cores": 1, "tag": "slow"}
        done = self.run_tasks([slow] + self.crowd(), "--stragglers", "replicate", "--local-workers", "2", "--cores", "2",
                              "--memory", "500", "--disk", "500", expect=0)
        self.assertEqual((done["slow"]["output"], done["slow"].get("replicated")), ("done\n", True))
        self.assertEqual((self.path / "count").read_text(), "x\n")

    def test_what_may_not_run_twice_is_left_alone(self):
        slow = {"command": f"echo x >> {self.path}/count; sleep 6; echo done", "cores": 1, "tag": "slow", "may_run_twice": False}
        done = self.run_tasks([slow] + self.crowd(), "--stragglers", "replicate", "--local-workers", "2", "--cores", "2",
                              "--memory", "500", "--disk", "500", expect=0)
        self.assertEqual((done["slow"]["output"], done["slow"].get("replicated")), ("done\n", None))
        self.assertEqual((self.path / "count").read_text(), "x\n")

    def test_fast_abort_of_one_category_starts_it_again(self):
        slow = {"command": self.HANGS_ONCE.format(self.path), "cores": 1, "category": "quick", "tag": "slow"}
        patient = {"command": "sleep 5; echo patient", "cores": 1, "category": "other", "tag": "patient"}
        done = self.run_tasks([slow, patient] + self.crowd(category="quick"), "--category", "quick:fast-abort=10",
                              "--local-workers", "2", "--cores", "2", "--memory", "500", "--disk", "500", expect=0)
        self.assertEqual((done["slow"]["output"], done["slow"]["tries"]), ("done\n", 2))
        self.assertEqual((done["patient"]["output"], done["patient"]["tries"]), ("patient\n", 1))


class Bandwidth(Case):
    def test_transfers_in_both_directions_share_what_is_allowed(self):
        (self.path / "in").write_bytes(os.urandom(2_000_000))
        task = {"command": "cat in in > out", "inputs": ["in"], "outputs": ["out"], "tag": "a"}
        begin = time.monotonic()
        self.run_tasks([task], *LOCAL, "--bandwidth", "2M", expect=0)
        # 6 MB at 2 MiB/s; however slow the machine is, it cannot be faster.
        self.assertGreater(time.monotonic() - begin, 2.5)
        self.assertEqual((self.path / "out").read_bytes(), (self.path / "in").read_bytes() * 2)

    def test_the_old_variable_counts_and_a_wrong_rate_is_named(self):
        (self.path / "tasks.jsonl").write_text('{"command": "true"}\n')
        for variable, options, text in (("many", (), "WORK_QUEUE_BANDWIDTH many: write bytes per second"),
                                        ("1M", ("--bandwidth", "0"), "--bandwidth 0: write bytes per second")):
            ended = subprocess.run([BIN / "work_queue_manager", "run", "tasks.jsonl", *options], cwd=self.path, text=True,
                                   capture_output=True, env={**os.environ, "WORK_QUEUE_BANDWIDTH": variable})
            self.assertEqual(ended.returncode, 2)
            self.assertIn(text, ended.stderr)
            self.assertEqual(ended.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
