"""Workers killed at random every second, one frozen, one with a full disk: the result is the same to the bit."""
import os
import random
import re
import shutil
import signal
import subprocess
import time
import unittest

from kit import PATIENCE, Analysis, main, program


def can_mount():
    """A small tmpfs in a mount namespace of its own needs privileges that not every machine gives."""
    probe = subprocess.run(["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return probe.returncode == 0


class Chaos(Analysis):
    # Each chunk also writes 1 MB that it does not return: where the disk is full it cannot.
    work = "head -c 1000000 /dev/zero > waste && sleep 0.1 && ./zpeak_hist --analysis {slice} > {output}"

    full = "No space left on device|less than the promised disk space"

    def setUp(self):
        super().setUp()
        self.settings = {"chunksize": 200, "deterministic": True, "treereduction": 4, "stragglers": "replicate",
                         "retries": 50}

    def undisturbed(self):
        self.describe(self.settings)
        manager, port = self.start_manager()
        self.start_worker(port)
        self.finish(manager)
        self.check_result()
        os.rename(self.path("result.json"), self.path("undisturbed.json"))

    def start_full_worker(self, port):
        """Its workspace is a tmpfs that is full as soon as it has connected. Tasks cannot even get their inputs there, and it leaves when it
        looks at its disk before the next task."""
        os.makedirs(self.path("full"), exist_ok=True)
        script = ("mount -t tmpfs -o size=150m none full && "
                  "{ until [ -e fill ]; do sleep 0.05; done; cat /dev/zero > full/ballast; } & "
                  "until mountpoint -q full; do sleep 0.05; done; "
                  "exec %s --cores 1 --memory 1000 --disk 120 -s full 127.0.0.1 %s"
                  % (program("work_queue_worker"), port))
        worker = self.start(["unshare", "--mount", "sh", "-c", script], "full.log")
        self.wait_until(lambda: "connected to" in self.read("full.log"))
        self.write("fill", "")
        self.wait_until(lambda: re.search(self.full, self.read("full.log")))
        return worker

    def test_the_result_is_the_same_to_the_bit(self):
        self.undisturbed()
        chance = random.Random(4)
        self.describe(self.settings, self.work)
        manager, port = self.start_manager("--tune", "keepalive-interval=2", "--tune", "keepalive-timeout=2")
        workers = [self.start_worker(port) for _ in range(3)]
        frozen = self.start_worker(port)
        if can_mount():
            self.start_full_worker(port)
        self.wait_for_successes(3, manager)
        frozen.send_signal(signal.SIGSTOP)
        killed = 0
        deadline = time.monotonic() + PATIENCE
        while manager.poll() is None and time.monotonic() < deadline:
            time.sleep(1)
            victim = chance.randrange(len(workers))
            workers[victim].kill()
            killed += 1
            workers[victim] = self.start_worker(port)
        self.finish(manager)
        self.assertGreater(killed, 2)
        with open(self.path("result.json"), "rb") as disturbed, open(self.path("undisturbed.json"), "rb") as calm:
            self.assertEqual(disturbed.read(), calm.read())
        self.check_result()


if __name__ == "__main__":
    main()
