"""resource_monitor as people and managers run it: resource-monitor.md sections 10, 11 and 14.

usage: monitor_test.py RESOURCE_MONITOR KNOWN_USE [unittest options]
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

MONITOR = os.path.abspath(sys.argv.pop(1))
KNOWN_USE = os.path.abspath(sys.argv.pop(1))
PATIENCE = 120

ORDER = ("start end wall_time cpu_time memory virtual_memory swap_memory disk bytes_read bytes_written bytes_received "
         "bytes_sent bandwidth gpus cores cores_avg machine_cpus machine_load context_switches "
         "max_concurrent_processes total_processes total_files fs_nodes workers").split()


def processes_with(text):
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="taskmill-monitor-")
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def start(self, *options, **more):
        return subprocess.Popen([MONITOR, "-O", "t", *options], cwd=self.path, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **more)

    def run_it(self, *options, expect=None):
        process = self.start(*options)
        self.out, self.err = process.communicate(timeout=PATIENCE)
        if expect is not None:
            self.assertEqual(process.returncode, expect, self.err)
        file = self.path / "t.summary"
        self.summary = json.loads(file.read_text()) if file.exists() else None
        return process.returncode

    def value(self, name):
        return self.summary[name][0]

    def assertNear(self, value, expected, part):
        self.assertLessEqual(abs(value - expected), expected * part, f"{value} is not {expected} +- {part * 100:.0f} %")


class Exits(Case):
    def test_success_and_failure(self):
        self.run_it("--", "true", expect=0)
        self.assertEqual(self.summary["exit_status"], 0)
        self.run_it("-c", "exit 7", expect=1)
        self.assertEqual((self.summary["exit_type"], self.summary["exit_status"]), ("normal", 7))

    def test_signal(self):
        self.run_it("-c", "kill -9 $$", expect=1)
        self.assertEqual((self.summary["exit_type"], self.summary["signal"], self.summary["exit_status"]), ("signal", 9, 137))

    def test_output_and_input_pass_through(self):
        process = self.start("-c", "tr a b; echo error >&2", stdin=subprocess.PIPE)
        out, err = process.communicate("banana\n", timeout=PATIENCE)
        self.assertEqual((out, err), ("bbnbnb\n", "error\n"))

    def test_bad_usage_is_one_clear_line(self):
        for options, code in ([[], 1], [["-c", "true", "--", "true"], 1], [["--no-such-option", "--", "true"], 1],
                              [["-i", "0", "--", "true"], 4], [["-L", "memory 5", "--", "true"], 4],
                              [["-L", "memory: much", "--", "true"], 4], [["-l", "missing", "--", "true"], 4],
                              [["--", "no-such-program-here"], 4], [["--pid", "1", "--", "true"], 1],
                              [["--snapshot-events", "missing", "--", "true"], 4]):
            self.assertEqual(self.run_it(*options), code, options)
            self.assertEqual(self.err.count("\n"), 1, self.err)
            self.assertIsNone(self.summary, options)

    def test_unknown_limit_is_a_notice(self):
        self.run_it("-L", "colour: 5", "--", "true", expect=0)
        self.assertIn("colour", self.err)


class Summaries(Case):
    def test_keys_units_and_order(self):
        self.run_it("-V", "task_id: 1", "-V", "category: a 'b' [] \"c\": d", "--no-pprint", "--", "sleep", "0.1", expect=0)
        text = (self.path / "t.summary").read_text()
        self.assertNotIn("\n", text)
        keys = list(self.summary)
        self.assertEqual(keys[:5], ["task_id", "category", "host", "monitor_version", "executable_type"])
        self.assertEqual(self.summary["category"], "a 'b' [] \"c\": d")
        self.assertEqual(keys[5:8], ["command", "exit_status", "exit_type"])
        resources = [k for k in keys if k in ORDER]
        self.assertEqual(resources, [k for k in ORDER if k in resources])
        self.assertEqual(keys[-1], "peak_times")
        self.assertEqual(self.summary["memory"][1], "MB")
        self.assertEqual(self.summary["wall_time"][1], "s")
        self.assertNotIn("-1", [str(v[0]) for v in self.summary.values() if isinstance(v, list)])
        for name in resources:
            if self.summary[name][1] in ("MB", "procs", "switches", "files"):
                self.assertIsInstance(self.summary[name][0], int, name)

    def test_pretty_print_is_the_default(self):
        self.run_it("--", "true", expect=0)
        lines = (self.path / "t.summary").read_text().split("\n")
        self.assertEqual(lines[:2], ["", "{"])
        self.assertTrue(lines[2].startswith('  "host":"'))
        self.assertIn("    [", lines)

    def test_missing_folders_are_created(self):
        subprocess.run([MONITOR, "-O", "a/b/c", "--", "true"], cwd=self.path, check=True, timeout=PATIENCE)
        self.assertTrue((self.path / "a/b/c.summary").exists())

    def test_executable_types(self):
        script = self.path / "s.sh"
        script.write_text("#!/bin/sh\nexit 0\n")
        script.chmod(0o755)
        for command, expected in (["true"], "dynamic"), ([str(script)], "#!/bin/sh"), ([KNOWN_USE, "bytes", "1"], "static"):
            self.run_it("--", *command, expect=0)
            self.assertEqual(self.summary["executable_type"], expected)

    def test_time_series(self):
        self.run_it("-i", "1", "--with-time-series", "--", KNOWN_USE, "memory", "50", "2.2", expect=0)
        lines = (self.path / "t.series").read_text().splitlines()
        header = next(line for line in lines if line.startswith("#wall_clock")).split()
        rows = [line.split() for line in lines if not line.startswith("#")]
        self.assertGreaterEqual(len(rows), 3)
        self.assertTrue(all(len(row) == len(header) for row in rows))
        self.assertGreaterEqual(max(int(row[header.index("memory")]) for row in rows), 50)

    def test_update_summary_says_running(self):
        process = self.start("-i", "1", "--update-summary", "--", "sleep", "300")
        deadline = time.time() + PATIENCE
        while not (self.path / "t.summary").exists() and time.time() < deadline:
            time.sleep(0.02)
        self.assertEqual(json.loads((self.path / "t.summary").read_text())["exit_type"], "running")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        self.assertEqual(json.loads((self.path / "t.summary").read_text())["exit_type"], "signal")

    def test_inotify_counts(self):
        self.run_it("--with-inotify", "-c", "echo hello > out.txt; cat out.txt out.txt > /dev/null; mkdir d; sleep 0.3; echo x > d/f",
                    expect=0)
        lines = (self.path / "t.files").read_text().splitlines()
        row = lines[[line.strip() for line in lines].index("out.txt") + 1].split()
        self.assertEqual((int(row[2]), int(row[3]), int(row[4]), int(row[6])), (6, 3, 3, 1))
        self.assertGreater(int(row[5]), 0)
        self.assertIn(["out.txt", 1], json.loads(self.summary["output_files"]))

    def test_our_own_files_are_not_the_commands(self):
        self.run_it("-i", "1", "--with-inotify", "--with-time-series", "-c", "echo hello > out.txt; sleep 1.2", expect=0)
        self.assertEqual([name for name, _ in json.loads(self.summary["output_files"])], ["out.txt"])

    def test_snapshots(self):
        events = {"log.txt": {"events": [{"label": "made", "on-create": True}, {"label": "hit", "on-pattern": "^x", "count": 1},
                                         {"label": "gone", "on-delete": True}]}}
        (self.path / "ev.json").write_text(json.dumps(events))
        self.run_it("--snapshot-events", "ev.json", "-c",
                    "sleep 0.5; echo a > log.txt; sleep 0.7; echo x1 >> log.txt; sleep 0.7; echo x2 >> log.txt; rm log.txt; sleep 0.7",
                    expect=0)
        self.assertEqual([s["snapshot_name"] for s in self.summary["snapshots"]], ["made(1)", "hit(1)", "gone(1)"])
        self.assertEqual(json.loads((self.path / "t.snapshot.02").read_text())["snapshot_name"], "gone(1)")
        self.assertEqual(self.summary["snapshots"][1]["start"], self.summary["snapshots"][0]["end"])

    def test_bad_events_name_the_fault(self):
        (self.path / "ev.json").write_text('{"f":{"events":[{"label":"a","on-create":true,"on-delete":true}]}}')
        self.run_it("--snapshot-events", "ev.json", "--", "true", expect=4)
        self.assertIn("exactly one trigger", self.err)

    def test_nested_monitors_each_write_their_summary(self):
        self.run_it("-c", f"{MONITOR} -O inner -c 'exit 3'; test -s inner.summary", expect=0)
        self.assertEqual(json.loads((self.path / "inner.summary").read_text())["exit_status"], 3)


class Amounts(Case):
    def test_cpu(self):
        self.run_it("--", KNOWN_USE, "spin", "2", "1", expect=0)
        self.assertNear(self.value("cpu_time"), 2, 0.05)

    def test_memory_steps(self):
        self.run_it("--", KNOWN_USE, "steps", "300", "3", "0.6", expect=0)
        self.assertNear(self.value("memory"), 300, 0.05)

    def test_short_spike_inside_an_interval(self):
        self.run_it("--", KNOWN_USE, "spike", "400", "0.5", expect=0)
        self.assertGreaterEqual(self.value("memory"), 400)
        self.assertNear(self.value("memory"), 400, 0.05)

    def test_shared_pages_count_once(self):
        self.run_it("--", KNOWN_USE, "share", "200", "4", "2", expect=0)
        self.assertNear(self.value("memory"), 200, 0.05)
        self.assertEqual(self.value("max_concurrent_processes"), 5)

    def test_io_totals(self):
        self.run_it("--", KNOWN_USE, "io", "120", "240", "1", expect=0)
        self.assertEqual((self.value("bytes_written"), self.value("bytes_read")), (120, 240))

    def test_disk_peak(self):
        self.run_it("--", KNOWN_USE, "disk", "200", "1.5", expect=0)
        self.assertNear(self.value("disk"), 200, 0.02)

    def test_processes(self):
        self.run_it("-c", "for i in 1 2 3 4 5; do sleep 0.7 & done; wait", expect=0)
        self.assertEqual((self.value("max_concurrent_processes"), self.value("total_processes")), (6, 6))

    def test_sequential_processes_are_not_concurrent(self):
        self.run_it("-c", "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done", expect=0)
        self.assertLessEqual(self.value("max_concurrent_processes"), 2)

    def test_names_with_blanks_and_parentheses(self):
        tricky = self.path / "a) R 1 (b"
        os.symlink(KNOWN_USE, tricky)
        self.run_it("--", str(tricky), "spin", "1", "0.5", expect=0)
        self.assertNear(self.value("cpu_time"), 0.5, 0.05)


class Limits(Case):
    def test_memory(self):
        self.run_it("-L", "memory: 100", "--", KNOWN_USE, "memory", "300", "300", expect=2)
        self.assertEqual((self.summary["exit_type"], self.summary["exit_status"]), ("limits", 143))
        self.assertEqual(self.summary["limits_exceeded"], {"memory": [100, "MB"]})
        self.assertGreater(self.value("memory"), 100)
        self.assertIn("100 MB allowed", self.summary["limits_used"])

    def test_memory_that_grows_is_stopped_soon(self):
        self.run_it("-L", "memory: 200", "--", KNOWN_USE, "grow", "200", "5000", expect=2)
        self.assertLess(self.value("memory"), 500)

    def test_wall_time(self):
        self.run_it("-L", "wall_time: 1", "--", "sleep", "300", expect=3)
        self.assertEqual(self.summary["limits_exceeded"], {"wall_time": [1, "s"]})
        self.assertLess(self.value("wall_time"), 10)

    def test_a_command_that_ignores_the_polite_signal(self):
        self.run_it("-L", "wall_time: 0.5", "-c", "trap '' TERM; while :; do sleep 1; done", expect=3)

    def test_disk(self):
        self.run_it("-L", "disk: 100", "--", KNOWN_USE, "disk", "200", "300", expect=2)
        self.assertGreater(self.value("disk"), 100)

    def test_comma_list_and_processes(self):
        self.run_it("-L", "memory: 1000, max_concurrent_processes: 5", "--", KNOWN_USE, "fork", "20", "300", expect=2)
        self.assertEqual(list(self.summary["limits_exceeded"]), ["max_concurrent_processes"])

    def test_limits_file_honours_units(self):
        (self.path / "limits").write_text('{"memory": [1, "GB"], "wall_time": 100}')
        self.run_it("-l", "limits", "--", KNOWN_USE, "memory", "100", "0.3", expect=0)
        (self.path / "limits").write_text('{"memory": [51200, "KB"]}')
        self.run_it("-l", "limits", "--", KNOWN_USE, "memory", "100", "300", expect=2)

    def test_measure_only_tells_and_changes_nothing(self):
        self.run_it("--measure-only", "-L", "memory: 10", "-c", f"{KNOWN_USE} memory 100 0.3; exit 7", expect=1)
        self.assertEqual((self.summary["exit_type"], self.summary["exit_status"]), ("limits", 7))
        self.run_it("--measure-only", "-L", "memory: 10", "--", KNOWN_USE, "memory", "100", "0.3", expect=0)

    def test_the_line_a_manager_sends(self):
        line = (f"{MONITOR} --no-pprint --with-output-files=cctools-monitor -L 'wall_time: 40.000000' -L 'memory: 200' "
                "-L 'disk: 200' -L 'gpus: 0' -L 'cores: 1.000' -V 'task_id: 1' -V 'category: c1' --sh \"exit 5\"")
        done = subprocess.run(["/bin/sh", "-c", line], cwd=self.path, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        summary = json.loads((self.path / "cctools-monitor.summary").read_text())
        self.assertEqual((summary["exit_status"], summary["task_id"], summary["gpus"]), (5, "1", [0, "gpus"]))


class NothingIsLeft(Case):
    def test_after_a_normal_end(self):
        for hidden in ("sleep 947 & exit 0", "setsid sleep 947 & exit 0", "env -i setsid sh -c 'sleep 947 &' & exit 0"):
            self.run_it("-c", hidden, expect=0)
            self.assertEqual(processes_with("947"), [], hidden)

    def test_after_a_limit_and_for_static_daemons(self):
        self.run_it("-L", "wall_time: 0.5", "-c", f"{KNOWN_USE} daemon 946; sleep 945", expect=3)
        self.assertEqual(processes_with("946") + processes_with("945"), [])

    def test_when_the_monitor_is_killed(self):
        process = self.start("-c", f"{KNOWN_USE} daemon 944; setsid sleep 943 & sleep 942")
        deadline = time.time() + PATIENCE
        while len(processes_with("944")) < 2 or not processes_with("943"):  # the command line of sh and the daemon
            self.assertLess(time.time(), deadline)
            time.sleep(0.02)
        time.sleep(0.2)
        process.kill()
        process.communicate(timeout=PATIENCE)
        deadline = time.time() + PATIENCE
        while processes_with("944") or processes_with("943") or processes_with("942"):
            self.assertLess(time.time(), deadline, "processes are left")
            time.sleep(0.02)

    def test_two_interrupts_end_everything(self):
        process = self.start("-c", "trap '' INT TERM; sleep 941")
        deadline = time.time() + PATIENCE
        while not processes_with("sleep\0941"):
            self.assertLess(time.time(), deadline)
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        self.assertEqual(processes_with("sleep\0941"), [])
        self.assertTrue((self.path / "t.summary").exists())

    def test_signals_are_forwarded(self):
        process = self.start("-c", "trap 'echo got; exit 4' USR1; echo ready; while :; do sleep 0.05; done")
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGUSR1)
        out, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual((out, process.returncode), ("got\n", 1))


class Attach(Case):
    def test_a_running_process_is_measured_and_left_alone(self):
        other = subprocess.Popen([KNOWN_USE, "memory", "80", "300"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        time.sleep(0.3)
        process = self.start("--pid", str(other.pid))
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        self.assertIsNone(other.poll())
        summary = json.loads((self.path / "t.summary").read_text())
        self.assertNear(summary["memory"][0], 80, 0.05)
        self.assertIn("known_use memory 80", summary["command"])


class Reliability(Case):
    def test_many_pipelines(self):
        for _ in range(100):
            self.run_it("-c", "seq 10 | sort | uniq | wc -l", expect=0)
            self.assertEqual(self.out, "10\n")

    def test_a_thousand_forks(self):
        self.run_it("--", KNOWN_USE, "churn", "1000", expect=0)
        self.assertGreaterEqual(self.value("cpu_time"), 1.0)


if __name__ == "__main__":
    unittest.main()
