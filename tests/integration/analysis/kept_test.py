"""Partial results that stay on the workers: less crosses the manager, a lost worker costs only time, and old workers
take part."""
import os
import re
import signal
import unittest

from kit import DEBIAN_WORKER, Analysis, main

# 60 bins in a file of half a megabyte: what moves is easily told from everything else.
LARGE = ("./zpeak_hist --analysis {slice} > small && "
         "{{ cat small; head -c 500000 /dev/zero | tr '\\0' ' '; echo; }} > {output}")


class Kept(Analysis):
    def run_with(self, settings, workers, options=(), worker_options=()):
        self.describe({"chunksize": 1000, "treereduction": 4, **settings}, LARGE)
        manager, port = self.start_manager(*options)
        for program in workers:
            self.start_worker(port, program, *worker_options)
        self.finish(manager)
        self.check_result()
        return self.megabytes_back()

    def megabytes_back(self):
        number, unit = re.search(r"to workers and ([\d.]+) (\w+) back", self.read("manager.log")).groups()
        return float(number) * {"B": 1e-6, "kB": 1e-3, "MB": 1, "GB": 1e3}[unit]

    def test_intermediate_data_does_not_cross_the_manager(self):
        everything = self.run_with({"keep_on_workers": False}, [None, None])
        first = self.read("result.json")
        os.unlink(self.path("manager.log"))
        kept = self.run_with({}, [None, None])
        self.assertGreater(everything, 14)  # 30 chunks of half a megabyte
        self.assertLess(kept, 2)
        self.assertEqual(self.read("result.json"), first)

    def test_nothing_is_kept_where_workers_do_not_pass_on_files(self):
        self.assertGreater(self.run_with({}, [None], ["--peer-transfers", "0"]), 14)

    def test_nothing_is_kept_with_a_checkpoint(self):
        self.assertGreater(self.run_with({"checkpoint": "checkpoint.jsonl"}, [None]), 14)

    @unittest.skipUnless(os.path.exists(DEBIAN_WORKER), "the worker of cctools is not installed")
    def test_workers_of_cctools_take_part(self):
        self.run_with({}, [None, DEBIAN_WORKER])

    def test_what_a_killed_worker_kept_is_made_again(self):
        self.describe({"chunksize": 500, "treereduction": 50}, "sleep 0.1; ./zpeak_hist --analysis {slice} > {output}")
        manager, port = self.start_manager()
        victim = self.start_worker(port)
        self.wait_for_successes(12, manager)  # ten chunks and more lie there, and none is merged
        self.start_worker(port)
        victim.kill()
        self.finish(manager)
        self.check_result()
        self.assertRegex(self.read("manager.log"), r"[1-9]\d* partial results lost with their workers and made again")

    def interrupted(self, signals):
        self.describe({"chunksize": 500, "treereduction": 50}, "sleep 0.1; ./zpeak_hist --analysis {slice} > {output}")
        manager, port = self.start_manager()
        worker = self.start_worker(port)
        self.wait_for_successes(12, manager)
        if signals == 2:
            worker.send_signal(signal.SIGSTOP)  # nothing can be fetched any more
        manager.send_signal(signal.SIGINT)
        if signals == 2:
            self.wait_until(lambda: "interrupt again" in self.read("manager.log"), manager)
            manager.send_signal(signal.SIGINT)
        self.finish(manager, 130)
        return self.check_partial_result()

    def test_ctrl_c_fetches_what_is_kept(self):
        self.assertGreaterEqual(self.interrupted(1), 10 * 490)

    def test_what_a_second_ctrl_c_leaves_behind_is_missing(self):
        self.assertEqual(self.interrupted(2), 0)


if __name__ == "__main__":
    main()
