"""What must hold when tasks fail, burst or are interrupted: each event once, or listed as missing with a reason."""
import os
import signal
import sys
import unittest

from kit import DATA, DEBIAN_WORKER, FILES, Analysis, main, program

SLOW = "sleep 0.05; ./zpeak_hist --analysis {slice} > {output}"


class Failures(Analysis):
    def test_a_chunk_that_always_fails_is_reported(self):
        self.describe({"chunksize": 5000, "retries": 1},
                      "test {dataset} = Zee -o {first} != 0 || {{ echo no such calibration >&2; exit 3; }}; "
                      "./zpeak_hist --analysis {slice} > {output}")
        manager, port = self.start_manager()
        self.start_worker(port)
        self.finish(manager, 1)
        self.check_partial_result()
        accounting = self.accounting()
        muons = [file for file in accounting["files"] if file["dataset"] == "Zmumu"][0]
        self.assertEqual(len(muons["missing"]), 1)
        loss, = accounting["losses"]
        self.assertEqual(muons["missing"], loss["events"])
        self.assertIn("exit code 3", loss["reason"])
        self.assertIn("no such calibration", loss["reason"])
        self.assertEqual(accounting["retries"], 1)
        self.assertEqual(muons["why"], "given up, see losses")

    def bad_file(self, settings):
        bad = self.write("bad.root", "root" + "nothing of the kind" * 20)
        self.describe({"chunksize": 1000, "retries": 0, **settings,
                       "fileset": {"Zmumu": [os.path.join(DATA, FILES["Zmumu"])], "bad": [bad]}})
        manager, port = self.start_manager()
        self.start_worker(port)
        return manager

    def test_a_bad_file_stops_the_run(self):
        self.finish(self.bad_file({}), 1)
        log = self.read("manager.log")
        self.assertIn("bad.root cannot be counted: exit code 1", log)
        self.assertIn("skip_bad_files = true goes on without such files", log)
        self.check_partial_result()

    def test_a_bad_file_is_skipped_and_listed_when_asked(self):
        self.finish(self.bad_file({"skip_bad_files": True}), 0)
        self.assertEqual(self.check_partial_result(), 10583)
        loss, = self.accounting()["losses"]
        self.assertEqual(loss["phase"], "preprocessing")
        self.assertTrue(loss["file"].endswith("bad.root"))

    def test_nothing_stays_of_an_earlier_result_when_nothing_was_processed(self):
        self.write("result.json", "{}")
        self.describe({"chunksize": 20000, "retries": 0}, "exit 1 # {output}")
        manager, port = self.start_manager()
        self.start_worker(port)
        self.finish(manager, 1)
        self.assertFalse(os.path.exists(self.path("result.json")))
        self.assertEqual(self.accounting()["results"], [])


class TooLarge(Analysis):
    """0.1 MB an event: chunks of 5000 want 500 MB, the box holds 200."""

    hungry = ("import sys, time\n"
              "block = bytearray(int(sys.argv[1]) * 100000)\n"
              "for i in range(0, len(block), 4096): block[i] = 1\n"
              "time.sleep(1.5)\n")

    def run_hungry(self, settings, worker=None):
        self.write("hungry.py", self.hungry)
        self.describe({"chunksize": 5000, "memory": 200, "cores": 1, **settings},
                      "%s hungry.py {count} && ./zpeak_hist --analysis {slice} > {output}" % sys.executable,
                      [program("zpeak_hist"), self.path("hungry.py")])
        manager, port = self.start_manager()
        for _ in range(2):
            self.start_worker(port, worker, "--memory", "200")
        return manager

    def test_chunks_are_split_until_they_fit(self):
        self.finish(self.run_hungry({}))
        self.check_result()
        self.assertGreater(self.accounting()["splits"], 0)
        self.assertIn("exhausted their box", self.read("manager.log"))

    def test_learned_boxes_grow_to_the_maximum_before_a_split(self):
        self.finish(self.run_hungry({"resources_mode": "auto"}))
        self.check_result()
        self.assertGreater(self.accounting()["splits"], 0)

    @unittest.skipUnless(os.path.exists(DEBIAN_WORKER), "the worker of cctools is not installed")
    def test_workers_of_cctools_split_through_the_monitor(self):
        self.finish(self.run_hungry({}, DEBIAN_WORKER))
        self.check_result()
        self.assertGreater(self.accounting()["splits"], 0)

    def test_without_splitting_the_chunk_is_given_up_with_its_numbers(self):
        self.finish(self.run_hungry({"split_on_exhaustion": False, "chunksize": 20000}), 1)
        self.check_partial_result()
        self.assertIn("memory", self.accounting()["losses"][0]["reason"])


class Interrupts(Analysis):
    def interrupted_after(self, successes):
        self.describe({"chunksize": 100}, SLOW)
        manager, port = self.start_manager()
        self.start_worker(port)
        self.wait_for_successes(successes, manager)
        manager.send_signal(signal.SIGINT)
        return manager

    def test_once_merges_what_is_done(self):
        self.finish(self.interrupted_after(20), 130)
        listed = self.check_partial_result()
        self.assertGreater(listed, 0)
        self.assertEqual(len(self.accounting()["results"]), 1)
        self.assertIn("interrupted", self.accounting()["files"][0]["why"])

    def test_twice_stops_now_and_keeps_what_is_done(self):
        # The tasks that run never end: only a second interrupt does.
        self.describe({"chunksize": 100}, "test {first} -lt 1000 || sleep 1000; " + SLOW)
        manager, port = self.start_manager()
        self.start_worker(port)
        self.wait_for_successes(10, manager)
        manager.send_signal(signal.SIGINT)
        self.wait_until(lambda: "stopping:" in self.read("manager.log"), manager)
        manager.send_signal(signal.SIGINT)
        self.finish(manager, 130)
        self.assertGreater(self.check_partial_result(), 0)
        self.assertEqual(len(self.accounting()["results"]), 1)

    def test_snapshots_are_results_of_the_events_they_name(self):
        self.describe({"chunksize": 100}, SLOW)
        manager, port = self.start_manager("--snapshot", "every=1s", "snapshot.json")
        self.start_worker(port)
        self.wait_until(lambda: os.path.exists(self.path("snapshot.json.events.json")), manager)
        manager.send_signal(signal.SIGSTOP)
        snapshot, accounting = self.load("snapshot.json"), self.load("snapshot.json.events.json")
        manager.send_signal(signal.SIGCONT)
        self.assertFalse(accounting["complete"])
        self.assertEqual(accounting["results"], ["snapshot.json"])
        self.assertLessEqual(snapshot["counters"]["events"], 29468)
        self.assertGreater(snapshot["counters"]["events"], 0)
        self.finish(manager)
        self.check_result()


class Checkpoints(Analysis):
    def resume_after(self, kill, **settings):
        settings = {"chunksize": 200, "treereduction": 4, "checkpoint": "checkpoint", **settings}
        self.describe(settings, SLOW)
        manager, port = self.start_manager()
        self.start_worker(port)
        self.wait_for_successes(40, manager)
        kill(manager)
        done = self.read("manager.log").count("return code 0")
        self.assertTrue(os.path.exists(self.path("checkpoint")))
        os.rename(self.path("manager.log"), self.path("first.log"))
        manager, port = self.start_manager()
        self.start_worker(port)
        self.finish(manager)
        self.check_result()
        self.assertIn("resumed from", self.read("manager.log"))
        chunks = self.read("manager.log").count("submitted processing")
        self.assertLess(chunks, 148 - 25, "at least most of the %d finished tasks were not repeated" % done)
        self.assertFalse(os.path.exists(self.path("checkpoint")))
        self.assertFalse(os.path.exists(self.path("result.json.work")))

    def killed(self, manager):
        manager.kill()
        manager.wait()

    def interrupted(self, manager):
        manager.send_signal(signal.SIGINT)
        self.finish(manager, 130)
        self.check_partial_result()

    def test_a_killed_manager_goes_on_where_it_was(self):
        self.resume_after(self.killed)

    def test_an_interrupted_run_goes_on_where_it_was(self):
        self.resume_after(self.interrupted)

    def test_a_fixed_order_of_additions_is_resumed_from_its_chunks(self):
        self.resume_after(self.killed, deterministic=True)

    def test_another_analysis_does_not_take_it_over(self):
        self.describe({"chunksize": 200, "checkpoint": "checkpoint"}, SLOW)
        manager, port = self.start_manager()
        self.start_worker(port)
        self.wait_for_successes(10, manager)
        self.killed(manager)
        self.describe({"chunksize": 200, "checkpoint": "checkpoint"}, "sleep 0.01; " + SLOW)
        manager = self.start([program("work_queue_manager"), "analyze", "analysis.json", "--port", "0"], "second.log")
        self.assertEqual(manager.wait(60), 2)
        self.assertIn("belongs to another analysis", self.read("second.log"))


if __name__ == "__main__":
    main()
