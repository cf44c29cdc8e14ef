"""Workers that fetch inputs from each other: one real worker among scripted peers, then the whole system.

usage: peers_test.py WORK_QUEUE_MANAGER WORK_QUEUE_WORKER [unittest options]
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from wire import (PATIENCE, FalseWorker, Manager, Source, ask, breaks_off_after, data, honest, silent)

MANAGER, WORKER = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
OLD_WORKER = shutil.which("work_queue_worker", path="/usr/bin")
TOKEN, OTHER = b"t" * 32, b"o" * 32
CONTENT = os.urandom(3_000_000)


class Serving(unittest.TestCase):
    """What a worker hands out, and to whom."""

    def test_an_object_for_its_token_and_only_so_often(self):
        with Manager(WORKER) as manager:
            manager.put("thing", CONTENT)
            manager.serve("thing", CONTENT, TOKEN, fetches=2)
            self.assertEqual(ask(manager.port, CONTENT, TOKEN), (CONTENT, ""))
            self.assertEqual(ask(manager.port, CONTENT, TOKEN, 2_999_990), (CONTENT[-10:], ""))
            self.assertIn("used up", ask(manager.port, CONTENT, TOKEN)[1])

    def test_nothing_for_wrong_late_or_foreign_tokens(self):
        with Manager(WORKER) as manager:
            manager.put("thing", CONTENT)
            manager.serve("thing", CONTENT, TOKEN, expires_us=1)
            manager.serve("thing", b"another object", OTHER)
            self.assertIn("not known", ask(manager.port, CONTENT, b"x" * 32)[1])
            self.assertIn("expired", ask(manager.port, CONTENT, TOKEN)[1])
            self.assertIn("another object", ask(manager.port, CONTENT, OTHER)[1])

    def test_a_token_may_come_after_the_guest(self):
        with Manager(WORKER) as manager:
            manager.put("thing", CONTENT)
            answers = []
            import threading
            guest = threading.Thread(target=lambda: answers.append(ask(manager.port, CONTENT, TOKEN)))
            guest.start()
            time.sleep(0.2)  # nothing depends on it: the guest usually comes first then
            manager.serve("thing", CONTENT, TOKEN)
            guest.join(PATIENCE)
            self.assertEqual(answers, [(CONTENT, "")])

    def test_what_is_gone_is_refused(self):
        with Manager(WORKER) as manager:
            manager.put("thing", CONTENT)
            manager.serve("thing", CONTENT, TOKEN)
            manager.send("unlink thing\n")
            manager.serve("thing", CONTENT, OTHER)
            self.assertIn("gone", ask(manager.port, CONTENT, OTHER)[1])

    def test_garbage_disturbs_nobody(self):
        with Manager(WORKER) as manager:
            import socket
            for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"wqx 13 99999999999999\n", b"wqx 13 3\nabc", b"\0" * 5000):
                with socket.create_connection(("127.0.0.1", manager.port)) as guest:
                    guest.settimeout(PATIENCE)
                    guest.sendall(garbage)
                    try:
                        self.assertEqual(guest.recv(100), b"")
                    except ConnectionResetError:
                        pass
            manager.put("thing", CONTENT)
            manager.serve("thing", CONTENT, TOKEN)
            self.assertEqual(ask(manager.port, CONTENT, TOKEN)[0], CONTENT)


class Fetching(unittest.TestCase):
    """What a worker accepts, and what it tells the manager."""

    def setUp(self):
        self.sources = []

    def tearDown(self):
        for source in self.sources:
            source.close()

    def source(self, behave):
        self.sources.append(Source(behave))
        return self.sources[-1]

    def fetch_and_use(self, manager, *behaviours):
        places = [(self.source(behave).port, TOKEN) for behave in behaviours]
        manager.fetch(1, "thing", CONTENT, places)
        manager.task(1, "sha256sum < in", ("thing", "in"))
        return manager.done()

    def assert_right(self, manager):
        self.assertEqual(manager.output().split()[0], hashlib.sha256(CONTENT).hexdigest())

    def test_a_task_waits_for_what_comes_from_a_peer(self):
        with Manager(WORKER) as manager:
            done = self.fetch_and_use(manager, honest(CONTENT))
            self.assertTrue(done["ok"], done)
            self.assertEqual((done["order"], done["source"], done["blamed"]), (1, 1, []))
            self.assert_right(manager)

    def test_a_source_that_lies_is_found_out_and_the_next_one_serves(self):
        with Manager(WORKER) as manager:
            done = self.fetch_and_use(manager, honest(bytes(len(CONTENT))), honest(CONTENT))
            self.assertTrue(done["ok"], done)
            self.assertEqual((done["source"], done["blamed"]), (2, [1]))
            self.assert_right(manager)

    def test_what_broke_off_goes_on_at_the_next_source(self):
        with Manager(WORKER) as manager:
            done = self.fetch_and_use(manager, breaks_off_after(CONTENT, 1_000_000), honest(CONTENT))
            self.assertTrue(done["ok"], done)
            self.assertEqual(done["blamed"], [1])
            self.assertGreaterEqual(self.sources[1].requests[0].get(3, [0])[0], 1_000_000)
            self.assert_right(manager)

    def test_a_liar_that_broke_off_does_not_discredit_the_next_source(self):
        with Manager(WORKER) as manager:
            done = self.fetch_and_use(manager, breaks_off_after(bytes(len(CONTENT)), 1_000_000), honest(CONTENT))
            self.assertTrue(done["ok"], done)
            self.assertEqual([one.get(3, [0])[0] > 0 for one in self.sources[1].requests], [True, False])
            self.assert_right(manager)

    def test_a_silent_source_is_given_up(self):
        with Manager(WORKER) as manager:
            done = self.fetch_and_use(manager, silent, honest(CONTENT))
            self.assertTrue(done["ok"], done)
            self.assertEqual(done["blamed"], [1])
            self.assert_right(manager)

    def test_when_all_fail_the_manager_sends(self):
        def nonsense(stream, _):
            stream.send(b"wqx 14 5\nhello wqx 14 77777777777\n")

        def too_much(stream, offset):
            stream.send(data(offset, CONTENT + b"more", True))

        def too_little(stream, offset):
            stream.send(data(offset, CONTENT[offset:-5], True))

        def elsewhere(stream, _):
            stream.send(data(5, CONTENT[5:], True))

        with Manager(WORKER) as manager:
            behaviours = (nonsense, too_much, too_little, elsewhere, lambda stream, _: stream.close())
            done = self.fetch_and_use(manager, *behaviours)
            self.assertFalse(done["ok"])
            self.assertEqual(done["blamed"], [1, 2, 3, 4, 5])
            manager.put("thing", CONTENT)
            self.assert_right(manager)

    def test_an_announced_object_may_come_from_the_manager(self):
        with Manager(WORKER) as manager:
            manager.expect("thing")
            manager.task(1, "sha256sum < in", ("thing", "in"))
            manager.put("thing", CONTENT)
            self.assert_right(manager)

    def test_another_order_replaces_the_first_and_both_are_answered(self):
        with Manager(WORKER) as manager:
            manager.fetch(1, "thing", CONTENT, [(self.source(silent).port, TOKEN)])
            manager.fetch(2, "thing", CONTENT, [(self.source(honest(CONTENT)).port, TOKEN)])
            answers = [manager.done(), manager.done()]
            self.assertEqual([(one["order"], one["ok"]) for one in answers], [(1, False), (2, True)])
            manager.task(1, "sha256sum < in", ("thing", "in"))
            self.assert_right(manager)

    def test_what_is_unlinked_is_not_fetched_on(self):
        with Manager(WORKER) as manager:
            manager.fetch(1, "thing", CONTENT, [(self.source(silent).port, TOKEN)])
            manager.send("unlink thing\n")
            self.assertFalse(manager.done()["ok"])
            manager.task(1, "cat in", ("thing", "in"))
            self.assertEqual(manager.output(), "")


class System(unittest.TestCase):
    """A real manager; most workers are real, some are false."""

    SIZE = 64 << 20

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="taskmill-peers-"))
        self.processes = []
        block = os.urandom(1 << 20)
        with open(self.folder / "big", "wb") as big:
            for _ in range(self.SIZE >> 20):
                big.write(block)
        self.sum = hashlib.sha256((self.folder / "big").read_bytes()).hexdigest()

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *words, name="log"):
        with open(self.folder / name, "ab") as log:
            process = subprocess.Popen([str(word) for word in words], cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def manager(self, tasks, *options):
        with open(self.folder / "tasks", "w") as file:
            for index in range(tasks):
                task = {"command": "sha256sum < in > out", "inputs": ["big=in"],
                        "outputs": [f"out{index}=out"], "cores": 1}
                file.write(json.dumps(task) + "\n")
        process = self.start(MANAGER, "run", "tasks", "--port", "0", "--port-file", "port", "--results", "results",
                             "--exit-workers", "--debug-log", "debug", *options, name="run")
        self.wait(lambda: (self.folder / "port").exists() and (self.folder / "port").read_text().strip(), process)
        self.port = (self.folder / "port").read_text().strip()
        return process

    def wait(self, condition, process=None):
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertTrue(process is None or process.poll() is None, self.text("run"))
            self.assertLess(time.monotonic(), end, self.text("run"))
            time.sleep(0.02)

    def worker(self, program=WORKER):
        return self.start(program, "--cores", "1", "--memory", "1000", "--disk", "4000", "-s", self.folder,
                          "--single-shot" if program == WORKER else "--timeout=60", "127.0.0.1", self.port, name="workers")

    def text(self, name):
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def finish(self, process, tasks):
        self.assertEqual(process.wait(PATIENCE * 2), 0, self.text("run"))
        for index in range(tasks):
            self.assertEqual((self.folder / f"out{index}").read_text().split()[0], self.sum)
        text = self.text("run")
        found = re.search(r"from worker to worker \((\d+) transfers", text)
        return self.puts(), int(found.group(1)) if found else 0

    def puts(self):
        """How often the manager sent the input."""
        return len(re.findall(r"\bput file-\S*big \d+", self.text("debug")))

    def test_eight_workers_get_one_input_and_the_manager_sends_it_three_times(self):
        process = self.manager(8, "--wait-for-workers", "8", "--peer-transfers", "3")
        for _ in range(8):
            self.worker()
        puts, passed_on = self.finish(process, 8)
        self.assertLessEqual(puts, 3)
        self.assertEqual(puts + passed_on, 8)

    def test_without_peer_transfers_the_manager_sends_all(self):
        process = self.manager(4, "--wait-for-workers", "4", "--peer-transfers", "0")
        for _ in range(4):
            self.worker()
        self.assertEqual(self.finish(process, 4), (4, 0))

    def with_false_worker(self, behaviour, tasks=3):
        """The only source is false; `tasks` real workers are to get their input from it."""
        process = self.manager(tasks + 1, "--peer-transfers", "1")
        false = FalseWorker(int(self.port), behaviour)
        self.assertTrue(false.have_task.wait(PATIENCE))
        for _ in range(tasks):
            self.worker()
        return process, false

    def test_a_source_that_lies_harms_nobody(self):
        process, false = self.with_false_worker(lambda self_: honest(bytes(len(self_.content))))
        self.wait(lambda: false.source.requests, process)
        self.wait(lambda: all((self.folder / f"out{i}").exists() for i in range(1, 4)), process)
        false.vanish()
        puts, _ = self.finish(process, 4)
        self.assertGreaterEqual(puts, 2)

    def test_a_source_that_breaks_off_and_dies_harms_nobody(self):
        def dies(worker):
            def behave(stream, offset):
                breaks_off_after(worker.content, 10_000_000)(stream, offset)
                worker.vanish()
            return behave

        process, _ = self.with_false_worker(dies)
        self.finish(process, 4)

    def test_a_silent_source_harms_nobody(self):
        process, false = self.with_false_worker(lambda _: silent)
        self.wait(lambda: all((self.folder / f"out{i}").exists() for i in range(1, 4)), process)
        false.vanish()
        self.finish(process, 4)

    def test_workers_killed_and_stopped_in_the_middle_harm_nobody(self):
        process = self.manager(40, "--peer-transfers", "1")
        workers = [self.worker() for _ in range(4)]
        self.wait(lambda: self.puts() > 0, process)
        workers[0].kill()
        workers[1].send_signal(signal.SIGSTOP)
        for _ in range(3):
            self.worker()
        self.wait(lambda: sum((self.folder / f"out{i}").exists() for i in range(40)) >= 36, process)
        workers[1].send_signal(signal.SIGCONT)
        self.finish(process, 40)

    @unittest.skipIf(OLD_WORKER is None, "Debian's work_queue_worker is not installed (./bootstrap deps)")
    def test_old_workers_beside_new_ones_get_theirs_from_the_manager(self):
        process = self.manager(40, "--wait-for-workers", "5", "--peer-transfers", "1")
        for program in (WORKER, OLD_WORKER, WORKER, OLD_WORKER, WORKER):
            self.worker(program)
        puts, passed_on = self.finish(process, 40)
        self.assertGreaterEqual(puts, 1)
        self.assertLessEqual(puts, 3)
        self.assertLessEqual(passed_on, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
