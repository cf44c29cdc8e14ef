"""Both managers behind one face: give it tasks, it runs them and returns tag → (result, exit, output)."""
import json
import urllib.parse

import workload

class OldManager:
    """Debian's library behind mini_manager."""

    age = "old"

    def __init__(self, lab, name=None, password=None, catalog=None):
        self.lab, self.name, self.password, self.catalog = lab, name, password, catalog

    def start(self, tasks, before="", after="wait\n"):
        script = self.lab.write("script", before + "".join(map(workload.to_script, tasks)) + after)
        self.results_path = self.lab.dir / "results"
        port_file = self.lab.dir / "port"
        command = [self.lab.programs.mini_manager(), script, self.results_path, "--port-file", port_file]
        if self.password:
            command += ["--password", self.password]
        if self.name:
            command += ["--name", self.name, "--catalog", self.catalog]
        env = {"TCP_LOW_PORT": "20000", "TCP_HIGH_PORT": "32000"}
        self.process = self.lab.start("manager-old", command, env=env)
        self.port = self.lab.read_port(port_file, self.process)

    def finish(self):
        status = self.lab.wait(self.process)
        if status != 0:
            raise AssertionError(f"the old manager ended with status {status}")
        return self.results()

    def results(self):
        found = {}
        for line in self.results_path.read_text().splitlines():
            tag, result, code, host, output = line.split("\t")
            result = result if result in ("cancelled", "unknown") else int(result)
            found[tag] = {"result": result, "exit": int(code), "host": host, "output": urllib.parse.unquote(output)}
        return found


class NewManager:
    """work_queue_manager run."""

    age = "new"

    def __init__(self, lab, name=None, password=None, catalog=None, options=()):
        self.lab, self.name, self.password, self.catalog = lab, name, password, catalog
        self.options = list(options)

    def start(self, tasks):
        lines = self.lab.write("tasks.jsonl", "".join(map(workload.to_json, tasks)))
        self.results_path = self.lab.dir / "results.jsonl"
        port_file = self.lab.dir / "port"
        command = [self.lab.programs.find("new", "work_queue_manager"), "run", lines, "--port", 0, "--port-file", port_file]
        command += ["--results", self.results_path, "--stdout-limit", 4000000, "--keep-going", *self.options]
        if self.password:
            command += ["-P", self.password]
        if self.name:
            command += ["-M", self.name]
        if self.catalog:
            command += ["-C", self.catalog]
        self.process = self.lab.start("manager-new", command)
        self.port = self.lab.read_port(port_file, self.process)

    def finish(self, expect_status=None):
        status = self.lab.wait(self.process)
        if expect_status is not None and status != expect_status:
            raise AssertionError(f"work_queue_manager ended with status {status}, expected {expect_status}")
        return self.results()

    def results(self):
        found = {}
        for line in self.results_path.read_text().splitlines():
            record = json.loads(line)
            found[record["tag"]] = {
                "result": record["result_code"],
                # An old worker reports the signal as the exit status (wire-protocol.md 10.2).
                "exit": record.get("exit_code", record.get("signal")),
                "host": record.get("host", "-"),
                "output": record["output"],
            }
        return found


MANAGERS = {"old": OldManager, "new": NewManager}
