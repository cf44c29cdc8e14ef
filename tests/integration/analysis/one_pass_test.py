"""Analyses of real events with real workers give what one pass over the files gives, bin by bin."""
import os
import re
import sys
import unittest

from kit import DEBIAN_WORKER, FILES, Analysis, main, program, true_histogram


class SameAsOnePass(Analysis):
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
            one.wait(60)

    def test_chunks_of_100(self):
        self.run_analysis({"chunksize": 100})

    def test_chunks_of_1000(self):
        self.run_analysis({"chunksize": 1000})

    def test_chunks_of_5000(self):
        self.run_analysis({"chunksize": 5000})

    def test_dynamic_chunks(self):
        self.run_analysis({"chunksize": 256, "dynamic_chunksize": {"wall_time": 0.05}})

    def test_learned_boxes(self):
        self.run_analysis({"chunksize": 2000, "resources_mode": "auto", "cores": None, "memory": None, "disk": None})

    def test_one_result_per_dataset(self):
        self.describe({"chunksize": 1000, "result_per_dataset": True})
        manager, port = self.start_manager()
        self.start_worker(port)
        self.finish(manager)
        for name in FILES:
            result = self.load("result.%s.json" % name)
            counts, counters = true_histogram(name)
            self.assertEqual(result["histograms"]["mass"]["counts"], counts)
            self.assertEqual(result["counters"], counters)

    def test_a_second_run_does_not_count_again(self):
        self.run_analysis({"chunksize": 5000})
        self.assertIn("submitted preprocessing", self.read("manager.log"))
        os.unlink(self.path("manager.log"))
        self.run_analysis({"chunksize": 5000})
        self.assertNotIn("submitted preprocessing", self.read("manager.log"))

    def test_the_log_has_the_documented_form(self):
        self.run_analysis({"chunksize": 10000})
        lines = self.read("manager.log").split("\n")
        forms = [r"Listening for work queue workers on port \d+\.",
                 r"submitted preprocessing task id 1 item pre_0, with 1 file",
                 r"preprocessing task id 2 item pre_1 with 1 events on \S+\. return code 0 \(success\)",
                 r"    allocated cores: 1\.0, memory: 1000 MB, disk 1000 MB, gpus: 0\.0",
                 r"    measured cores: \d+\.\d, memory: \d+ MB, disk \d+ MB, gpus: 0\.0, runtime \d+\.\d s",
                 r"submitted processing task id 3 item p_2, with \d+ event",
                 r"processing task id 3 item p_2 with \d+ events on \S+\. return code 0 \(success\)",
                 r"Preprocessing 100% ━{32} {9}2/2 \[ \d:\d\d:\d\d < 0:00:00 \| \S+ +file/s \]",
                 r"    Processed 100% ━{32} 29468/29468 \[ \d:\d\d:\d\d < 0:00:00 \| \S+ +event/s \]",
                 r"29468 of 29468 events in \d:\d\d:\d\d \(\d+ events/s\)",
                 r"core-hours: \d+\.\d+ useful, 0\.0000 wasted",
                 r"moved .* to workers and .* back", r"slowest hosts: .*", r"for next time: .*"]
        for form in forms:
            self.assertTrue(any(re.fullmatch(form, line) for line in lines), form + "\n" + "\n".join(lines))


@unittest.skipUnless(os.path.exists(DEBIAN_WORKER), "the worker of cctools is not installed")
class WorkersOfCctools(SameAsOnePass):
    """The same with old workers, which measure nothing by themselves: resource_monitor goes along."""

    def run_analysis(self, settings, worker=None):
        super().run_analysis(settings, DEBIAN_WORKER)

    test_one_result_per_dataset = None
    test_a_second_run_does_not_count_again = None
    test_chunks_of_100 = None


if __name__ == "__main__":
    main()
