"""What the analysis tests share: a directory, a manager and workers of their own, and truth to compare with.

A test module runs as  MODULE.py DIRECTORY_OF_PROGRAMS DIRECTORY_OF_EVENTS [TestName…]
"""
import csv
import json
import math
import os
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
PATIENCE = 240


def program(name):
    return os.path.join(BIN, name)


def main():
    unittest.main(module="__main__", argv=sys.argv[:1] + sys.argv[3:], verbosity=2)


def true_histogram(dataset):
    """One pass over the events by nothing but Python: counts of 60 bins of 1 GeV from 60 GeV, and counters."""
    counts, counters = [0] * 60, {"events": 0, "same_charge": 0, "out_of_range": 0}
    with open(os.path.join(DATA, FILES[dataset]), newline="") as file:
        for row in csv.DictReader(file):
            counters["events"] += 1
            first, second = ([float(row[name + n]) for name in ("pt", "eta", "phi", "Q")] for n in "12")
            if first[3] * second[3] >= 0:
                counters["same_charge"] += 1
                continue
            mass = math.sqrt(max(0.0, 2 * first[0] * second[0]
                                 * (math.cosh(first[1] - second[1]) - math.cos(first[2] - second[2]))))
            if 60 <= mass < 120:
                counts[int(mass - 60)] += 1
            else:
                counters["out_of_range"] += 1
    return counts, counters


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
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- files ---

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), errors="replace") as file:
            return file.read()

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def load(self, name):
        return json.loads(self.read(name))

    # --- processes ---

    def start(self, arguments, log, **more):
        with open(self.path(log), "ab") as out:
            process = subprocess.Popen(arguments, cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=subprocess.STDOUT, **more)
        self.processes.append(process)
        return process

    def describe(self, settings, command=None, inputs=None):
        description = {
            "name": "test", "output": "result.json", "resources_mode": "fixed", "cores": 1, "memory": 100, "disk": 100,
            "fileset": {name: {"files": [os.path.join(DATA, file)]} for name, file in FILES.items()},
            "process": {"command": command or "./zpeak_hist --analysis {slice} > {output}",
                        "inputs": inputs or [program("zpeak_hist")]},
        }
        description.update(settings)
        self.write("analysis.json", json.dumps({k: v for k, v in description.items() if v is not None}))

    def start_manager(self, *options):
        if os.path.exists(self.path("port")):
            os.unlink(self.path("port"))
        manager = self.start([program("work_queue_manager"), "analyze", "analysis.json", "--verbose", "--port", "0",
                              "--port-file", "port", *options], "manager.log")
        self.wait_until(lambda: os.path.exists(self.path("port")) and self.read("port").strip(), manager)
        return manager, self.read("port").strip()

    def start_worker(self, port, worker=None, *options):
        os.makedirs(self.path("workers"), exist_ok=True)
        return self.start([worker or program("work_queue_worker"), "--cores", "1", "--memory", "1000", "--disk", "1000",
                           "-s", self.path("workers"), *options, "127.0.0.1", port], "worker.log")

    def wait_until(self, condition, manager=None):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if manager is not None:
                self.assertIsNone(manager.poll(), self.read("manager.log")[-4000:])
            self.assertLess(time.monotonic(), deadline, self.read("manager.log")[-4000:])
            time.sleep(0.05)

    def wait_for_successes(self, count, manager):
        self.wait_until(lambda: self.read("manager.log").count("return code 0") >= count, manager)

    def finish(self, manager, code=0):
        try:
            status = manager.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail("the analysis does not end:\n" + self.read("manager.log")[-4000:])
        self.assertEqual(status, code, self.read("manager.log")[-6000:] + self.read("worker.log")[-2000:])

    # --- what must hold ---

    def accounting(self):
        return self.load("result.json.events.json")

    def check_result(self):
        """The whole of both datasets, bin by bin, and an accounting that says so."""
        result = self.load("result.json")
        truth = [true_histogram(name) for name in FILES]
        self.assertEqual(result["histograms"]["mass"]["counts"], [sum(bins) for bins in zip(*(t[0] for t in truth))])
        for name in truth[0][1]:
            self.assertEqual(result["counters"][name], sum(t[1][name] for t in truth), name)
        accounting = self.accounting()
        self.assertTrue(accounting["complete"])
        self.assertEqual(accounting["events_in_result"], 29468)
        for file in accounting["files"]:
            self.assertEqual(file["in_result"], [[0, file["events"]]])
            self.assertEqual(file["missing"], [])

    def check_partial_result(self):
        """A part of the events: as many in the result as the accounting lists, and the rest is listed with a reason."""
        accounting = self.accounting()
        self.assertFalse(accounting["complete"])
        listed = sum(last - first for file in accounting["files"] for first, last in file["in_result"])
        self.assertEqual(listed, accounting["events_in_result"])
        if accounting["results"]:
            self.assertEqual(self.load("result.json")["counters"]["events"], listed)
        for file in accounting["files"]:
            if "events" not in file or file["missing"]:
                self.assertTrue(file["why"])
            if "events" in file:
                parts = sorted(file["in_result"] + file["missing"])
                self.assertEqual(parts[0][0], 0)
                self.assertEqual(parts[-1][1], file["events"])
                for before, after in zip(parts, parts[1:]):
                    self.assertEqual(before[1], after[0])
        return listed
