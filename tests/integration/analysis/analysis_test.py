"""Analyses of real events with real workers, compared with one pass over the files.

    analysis_test.py DIRECTORY_OF_PROGRAMS DIRECTORY_OF_EVENTS [TestName…]

Every test has a directory, ports and workers of its own, and ends what it started.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN, DATA = (os.path.abspath(path) for path in sys.argv[1:3])
DEBIAN_WORKER = "/usr/bin/work_queue_worker"
FILES = {"Zmumu": "Zmumu_Run2011A.csv", "Zee": "Zee_Run2011A.csv"}
DEADLINE = 120


def program(name):
    return os.path.join(BIN, name)


class Analysis(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="analysis-test.")
        self.processes = []
        self.environment = dict(os.environ, XDG_CACHE_HOME=self.directory + "/cache", TMPDIR=self.directory)

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- pieces ---

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, arguments, log):
        with open(self.path(log), "ab") as out:
            process = subprocess.Popen(arguments, cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def log(self, name):
        with open(self.path(name), errors="replace") as file:
            return file.read()

    def describe(self, settings, command=None, inputs=None):
        description = {
            "name": "test", "output": "result.json", "resources_mode": "fixed", "cores": 1, "memory": 100, "disk": 100,
            "fileset": {name: {"files": [os.path.join(DATA, file)]} for name, file in FILES.items()},
            "process": {"command": command or "./zpeak_hist --analysis {slice} > {output}",
                        "inputs": inputs or [program("zpeak_hist")]},
        }
        description.update(settings)
        with open(self.path("analysis.json"), "w") as file:
            json.dump(description, file)

    def start_manager(self, *options):
        if os.path.exists(self.path("port")):
            os.unlink(self.path("port"))
        manager = self.start([program("work_queue_manager"), "analyze", "analysis.json", "--verbose", "--port", "0",
                              "--port-file", "port", *options], "manager.log")
        deadline = time.monotonic() + DEADLINE
        while not (os.path.exists(self.path("port")) and self.log("port").strip()):
            self.assertIsNone(manager.poll(), self.log("manager.log"))
            self.assertLess(time.monotonic(), deadline, "the manager does not listen")
            time.sleep(0.02)
        return manager, self.log("port").strip()

    def start_worker(self, port, worker=None, *options):
        os.makedirs(self.path("workers"), exist_ok=True)
        return self.start([worker or program("work_queue_worker"), "--cores", "1", "--memory", "1000", "--disk", "1000",
                           "-s", self.path("workers"), *options, "127.0.0.1", port], "worker.log")

    def finish(self, manager, code=0):
        try:
            status = manager.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.fail("the analysis does not end:\n" + self.log("manager.log")[-4000:])
        self.assertEqual(status, code, self.log("manager.log")[-4000:])

    def result(self):
        with open(self.path("result.json")) as file:
            return json.load(file)

    def accounting(self):
        with open(self.path("result.json.events.json")) as file:
            return json.load(file)

    def reference(self):
        """One pass over each file by the same arithmetic, in this process's children only."""
        total = None
        for file in FILES.values():
            out = subprocess.run([program("zpeak_hist"), os.path.join(DATA, file)], check=True, capture_output=True)
            one = json.loads(out.stdout)
            if total is None:
                total = one
                continue
            total["counts"] = [a + b for a, b in zip(total["counts"], one["counts"])]
            for name in ("events", "same_charge", "out_of_range"):
                total[name] += one[name]
        return total

    def check_result(self):
        result, reference = self.result(), self.reference()
        self.assertEqual(result["histograms"]["mass"]["counts"], reference["counts"])
        for name in ("events", "same_charge", "out_of_range"):
            self.assertEqual(result["counters"][name], reference[name], name)
        self.assertGreater(reference["events"], 15000)
        accounting = self.accounting()
        self.assertTrue(accounting["complete"])
        self.assertEqual(accounting["events_in_result"], reference["events"])
        for file in accounting["files"]:
            self.assertEqual(file["in_result"], [[0, file["events"]]])
            self.assertEqual(file["missing"], [])

    def run_analysis(self, settings, worker=None):
        self.describe(settings)
        manager, port = self.start_manager()
        workers = [self.start_worker(port, worker) for _ in range(2)]
        self.finish(manager)
        self.check_result()
        self.assertFalse(os.path.exists(self.path("result.json.work")), "partial results are left")
        for one in workers:
            one.terminate()
        for one in workers:
            one.wait(20)


class SameAsOnePass(Analysis):
    def test_chunks_of_100(self):
        self.run_analysis({"chunksize": 100})

    def test_chunks_of_1000(self):
        self.run_analysis({"chunksize": 1000})

    def test_chunks_of_5000(self):
        self.run_analysis({"chunksize": 5000})

    def test_dynamic_chunks(self):
        self.run_analysis({"chunksize": 256, "dynamic_chunksize": {"wall_time": 0.05}})

    def test_one_result_per_dataset(self):
        self.describe({"chunksize": 1000, "result_per_dataset": True})
        manager, port = self.start_manager()
        self.start_worker(port)
        self.finish(manager)
        for name, file in FILES.items():
            with open(self.path("result.%s.json" % name)) as result:
                counts = json.load(result)["histograms"]["mass"]["counts"]
            out = subprocess.run([program("zpeak_hist"), os.path.join(DATA, file)], check=True, capture_output=True)
            self.assertEqual(counts, json.loads(out.stdout)["counts"])

    @unittest.skipUnless(os.path.exists(DEBIAN_WORKER), "the worker of cctools is not installed")
    def test_workers_of_cctools(self):
        self.run_analysis({"chunksize": 1000}, DEBIAN_WORKER)

    def test_a_second_run_does_not_count_again(self):
        self.run_analysis({"chunksize": 5000})
        self.assertIn("submitted preprocessing", self.log("manager.log"))
        os.unlink(self.path("manager.log"))
        self.run_analysis({"chunksize": 5000})
        self.assertNotIn("submitted preprocessing", self.log("manager.log"))


class Trouble(Analysis):
    # Exits with 1 for one chunk: the rest goes on, and the accounting says what is missing.
    def test_a_chunk_that_always_fails_is_reported(self):
        self.describe({"chunksize": 5000, "retries": 1},
                      "test {dataset} = Zee -o {first} != 0 && ./zpeak_hist --analysis {slice} > {output}")
        manager, port = self.start_manager()
        self.start_worker(port)
        self.finish(manager, 1)
        accounting = self.accounting()
        self.assertFalse(accounting["complete"])
        muons = [file for file in accounting["files"] if file["dataset"] == "Zmumu"][0]
        self.assertEqual(len(muons["missing"]), 1)
        self.assertEqual(muons["missing"], accounting["losses"][0]["events"])
        self.assertEqual(accounting["retries"], 1)
        missing = muons["missing"][0][1] - muons["missing"][0][0]
        self.assertEqual(self.result()["counters"]["events"], self.reference()["events"] - missing)

    def test_interrupt_merges_what_is_done(self):
        self.describe({"chunksize": 100}, "sleep 0.05; ./zpeak_hist --analysis {slice} > {output}")
        manager, port = self.start_manager()
        self.start_worker(port)
        deadline = time.monotonic() + DEADLINE
        while self.log("manager.log").count("return code 0") < 20:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        manager.send_signal(signal.SIGINT)
        self.finish(manager, 130)
        accounting = self.accounting()
        self.assertEqual(self.result()["counters"]["events"], accounting["events_in_result"])
        self.assertGreater(accounting["events_in_result"], 0)
        self.assertLess(accounting["events_in_result"], self.reference()["events"])
        listed = sum(last - first for file in accounting["files"] for first, last in file["in_result"])
        self.assertEqual(listed, accounting["events_in_result"])

    def test_chunks_too_large_for_their_memory_are_split(self):
        # Uses 0.1 MB per event: chunks of 5000 need 500 MB, the box holds 100.
        with open(self.path("hungry.py"), "w") as file:
            file.write("import sys, time\n"
                       "block = bytearray(int(sys.argv[1]) * 100000)\n"
                       "for i in range(0, len(block), 4096): block[i] = 1\n"
                       "time.sleep(1.5)\n")
        self.describe({"chunksize": 5000, "memory": 200, "cores": 1},
                      "%s hungry.py {count} && ./zpeak_hist --analysis {slice} > {output}" % sys.executable,
                      [program("zpeak_hist"), self.path("hungry.py")])
        manager, port = self.start_manager()
        self.start_worker(port)
        self.start_worker(port)
        self.finish(manager)
        self.check_result()
        self.assertGreater(self.accounting()["splits"], 0)

    def test_killed_and_frozen_workers_change_no_bit(self):
        settings = {"chunksize": 200, "deterministic": True, "treereduction": 4, "stragglers": "replicate"}
        self.describe(settings)
        manager, port = self.start_manager()
        self.start_worker(port)
        self.finish(manager)
        with open(self.path("result.json"), "rb") as file:
            undisturbed = file.read()
        os.unlink(self.path("result.json"))
        chance = random.Random(4)
        self.describe(settings, "sleep 0.1; ./zpeak_hist --analysis {slice} > {output}")
        manager, port = self.start_manager("--tune", "keepalive-interval=2", "--tune", "keepalive-timeout=2")
        workers = [self.start_worker(port) for _ in range(4)]
        frozen = workers.pop()
        killed = 0
        deadline = time.monotonic() + DEADLINE
        while manager.poll() is None and time.monotonic() < deadline:
            time.sleep(0.7)
            if killed == 1:
                frozen.send_signal(signal.SIGSTOP)
            victim = chance.randrange(len(workers))
            workers[victim].kill()
            killed += 1
            workers[victim] = self.start_worker(port)
        self.finish(manager)
        self.assertGreater(killed, 2)
        with open(self.path("result.json"), "rb") as file:
            self.assertEqual(file.read(), undisturbed)
        self.check_result()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
