"""Stand-ins for the programs of protocol version 11, which no package brings: as strict as wire-protocol.md says the
real ones are. Whatever they would close a connection for is a violation, and a test fails on it.
"""
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import wire
import workload

LONGEST_LINE = 4095
PLAIN = {chr(code) for code in range(0x21, 0x7B)} - set("\"%'<>\\")


class Violation(Exception):
    """What a real peer of version 11 answers by closing the connection."""


def encoded(text):
    return "".join(c if c in PLAIN else "".join(f"%{byte:02X}" for byte in c.encode()) for c in str(text))


def decoded(text):
    return urllib.parse.unquote_to_bytes(text).decode()


def need(condition, text):
    if not condition:
        raise Violation(text)


class StrictLine(wire.Line):
    def words(self):
        """The words of the next line; None at the end of the stream."""
        line = self.line()
        if line is None:
            return None
        need(len(line) <= LONGEST_LINE, f"a line of {len(line)} bytes")
        need(b"\0" not in line and b"\r" not in line, "NUL or CR in a line")
        return line.decode().split(" ")


# --- worker ----------------------------------------------------------------------------------------------------------


class Worker11:
    """A worker of version 11 in a thread: floats in its resources, a strict reader, deferred URLs and commands."""

    def __init__(self, lab, port, cores=2, password=None):
        self.home = lab.dir / f"worker11-{port}-{cores}"
        self.cache = self.home / "cache"
        self.cache.mkdir(parents=True)
        self.cores, self.running = cores, 0
        self.recipes, self.tasks, self.finished = {}, {}, []
        self.waiting, self.announced = [], False
        self.violations, self.seen, self.updates = [], set(), 0
        self.lock = threading.RLock()
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.line = StrictLine(connection, 120)
        if password:
            need(wire.authenticate(self.line, pathlib.Path(password).read_bytes()), "the password was refused")
        self.greet()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def say(self, text):
        with self.lock:
            self.line.send(text)

    def greet(self):
        figures = {"workers": 1, "disk": 2000, "memory": 2000, "gpus": 0, "cores": self.cores}
        self.figures = "".join(f"resource {name} {n:f} {n:f} {n:f}\n" for name, n in figures.items())
        self.say("workqueue 11 teststand Linux x86_64 8.0.0\ninfo worker-id worker-272cfbeb0cd02e8983ee416df30ce237\nalive\n"
                 f"{self.figures}resource tag 0\ninfo end_of_resource_update 0\ninfo tasks_running 0\ninfo worker-end-time 0\n")

    def serve(self):
        try:
            while (words := self.line.words()) is not None and self.obey(words):
                pass
        except Violation as problem:
            self.violations.append(str(problem))
        except (OSError, EOFError) as problem:
            self.violations.append(f"connection: {problem}")
        finally:
            for process in [task.get("process") for task in self.tasks.values()]:
                if process:
                    os.killpg(process.pid, signal.SIGKILL)
            self.line.close()

    def obey(self, words):
        verb = words[0]
        self.seen.add(verb)
        if verb in ("release", "exit", "check"):
            need(len(words) == 1, f"more than {verb}")
        if verb in ("release", "exit"):
            return False
        action = {"put": self.put, "dir": self.directory, "puturl": self.recipe, "putcmd": self.recipe, "unlink": self.unlink,
                  "task": self.task, "kill": self.kill, "get": self.get, "send_results": self.send_results, "check": self.check,
                  "tlq": lambda _: None, "invalidate-file": lambda _: None}.get(verb)
        need(action is not None, f"unknown line {' '.join(words)!r}")
        action(words)
        return True

    def check(self, _):
        self.say(f"alive\ninfo tasks_running {self.running}\n")

    # --- the cache
    def place(self, name):
        need(name and "/" not in name and name not in (".", ".."), f"cache name {name!r}")
        return self.cache / name

    def put(self, words, folder=None):
        need(len(words) >= 4, f"short line {words}")
        name, length, mode = decoded(words[1]), int(words[2]), int(words[3], 8)
        path = folder / name if folder else self.place(name)
        need("/" not in name, f"entry name {name!r}")
        data = self.line.body(length)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(mode | 0o600)

    def directory(self, words, folder=None):
        name = decoded(words[1])
        path = folder / name if folder else self.place(name)
        need(not path.exists(), f"dir on the existing name {name!r}")
        path.mkdir()
        while (inner := self.line.words()) != ["end"]:
            need(inner is not None, "the stream ends inside a directory")
            if inner[0] == "put":
                self.put(inner, path)
            elif inner[0] == "dir":
                self.directory(inner, path)
            elif inner[0] == "symlink":
                target = self.line.body(int(inner[2]))
                os.symlink(target.split(b"\0")[0].decode(), path / decoded(inner[1]))
            else:
                need(False, f"{inner} inside a directory")

    def recipe(self, words):
        need(len(words) == 5, f"{words[0]} with {len(words) - 1} words")
        int(words[3]), int(words[4], 8)
        what, name = decoded(words[1]), decoded(words[2])
        need(words[0] == "puturl" or "%%" in what, "a command without %%")
        self.place(name)
        self.recipes.setdefault(name, (words[0], what))

    def unlink(self, words):
        path = self.place(decoded(words[1]))
        self.recipes.pop(path.name, None)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def fetch(self, name):
        """Carries out a recipe; what a task needs is fetched when it starts."""
        if name not in self.recipes or (self.cache / name).exists():
            return (self.cache / name).exists()
        kind, what = self.recipes[name]
        path = self.cache / name
        begin = time.monotonic()
        if kind == "puturl":
            try:
                path.write_bytes(urllib.request.urlopen(what, timeout=20).read())
                said = b""
            except OSError as problem:
                said = str(problem).encode()
        else:
            done = subprocess.run(["/bin/sh", "-c", what.replace("%%", str(path))], capture_output=True, timeout=60)
            said = done.stdout + done.stderr
            if done.returncode != 0:
                path.unlink(missing_ok=True)
        if path.exists():
            self.say(f"cache-update {name} {path.stat().st_size} {int((time.monotonic() - begin) * 1e6)}\n")
            self.updates += 1
            return True
        self.say(f"cache-invalid {name} {len(said)}\n".encode() + said)
        return False

    # --- tasks
    def task(self, words):
        task = {"id": int(words[1]), "env": [], "in": [], "out": [], "dirs": [], "box": {}}
        need(task["id"] not in self.tasks, f"task id {task['id']} is still known")
        while (line := self.line.words()) != ["end"]:
            need(line is not None, "the stream ends inside a task")
            verb = line[0]
            if verb == "cmd":
                task["cmd"] = self.line.body(int(line[1])).decode()
            elif verb in ("cores", "gpus", "memory", "disk", "end_time", "wall_time"):
                task["box"][verb] = float(line[1])
            elif verb == "env":
                task["env"].append(self.line.body(int(line[1])).decode())
                need(self.line.line() == b"", "an environment entry without its line end")
            elif verb in ("infile", "outfile"):
                need(len(line) == 4, f"{line}")
                task[verb[:-4]].append((line[1], decoded(line[2]), int(line[3])))
            elif verb == "dir":
                task["dirs"].append(line[1])
            else:
                need(verb == "category", f"unknown line {line} in a task")
        with self.lock:
            self.tasks[task["id"]] = task
            if task["box"].get("cores", 0) > self.cores or task["box"].get("memory", 0) > 2000 or task["box"].get("disk", 0) > 2000:
                self.say(f"alive\n{self.figures}resource tag {task['id']}\ninfo end_of_resource_update 0\ninfo tasks_running {self.running}\n")
                del self.tasks[task["id"]]
                self.report(task, 40, 0, b"")
            else:
                self.waiting.append(task)
                self.start_next()

    def start_next(self):
        with self.lock:
            used = sum(t["box"].get("cores", 0) for t in self.tasks.values() if "process" in t)
            while self.waiting and used + self.waiting[0]["box"].get("cores", 0) <= self.cores:
                task = self.waiting.pop(0)
                used += task["box"].get("cores", 0)
                self.start(task)

    def start(self, task):
        sandbox = self.home / f"t.{task['id']}"
        sandbox.mkdir()
        for name in task["dirs"]:
            (sandbox / name).mkdir(parents=True, exist_ok=True)
        for name, remote, _ in task["in"]:
            if not self.fetch(name):
                shutil.rmtree(sandbox)
                return self.report(task, 1, 1, b"")
            target = sandbox / remote
            target.parent.mkdir(parents=True, exist_ok=True)
            if (self.cache / name).is_dir():
                shutil.copytree(self.cache / name, target, symlinks=True)
            else:
                os.link(self.cache / name, target)
        environment = dict(os.environ) | dict(entry.split("=", 1) for entry in task["env"] if "=" in entry)
        environment |= {name.upper(): str(int(task["box"].get(name, 0))) for name in ("cores", "memory", "disk")}
        environment["TMPDIR"] = str(sandbox / "tmp")
        (sandbox / "tmp").mkdir()
        task["sandbox"], task["begin"] = sandbox, time.monotonic()
        task["process"] = subprocess.Popen(["/bin/sh", "-c", task["cmd"]], cwd=sandbox, env=environment, stdin=subprocess.DEVNULL,
                                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.running += 1
        self.say(f"info tasks_running {self.running}\n")
        threading.Thread(target=self.wait, args=(task,), daemon=True).start()

    def wait(self, task):
        output = task["process"].communicate()[0]
        code = task["process"].returncode
        with self.lock:
            self.running -= 1
            del task["process"]
            if task["id"] in self.tasks:
                for name, remote, _ in task["out"]:
                    if (task["sandbox"] / remote).exists():
                        self.unlink(["unlink", encoded(name)])
                        shutil.move(task["sandbox"] / remote, self.cache / name)
                self.report(task, 0, abs(code), output)
            shutil.rmtree(task["sandbox"], ignore_errors=True)
            try:
                self.start_next()
            except (Violation, OSError) as problem:
                self.violations.append(str(problem))

    def report(self, task, status, code, output):
        with self.lock:
            elapsed = int((time.monotonic() - task["begin"]) * 1e6) if "begin" in task else 0
            self.finished.append((status, code, output, elapsed, task["id"]))
            if not self.announced:
                self.announced = True
                self.say("available_results\n")

    def send_results(self, words):
        need(len(words) == 2, "send_results without its number")
        with self.lock:
            for status, code, output, elapsed, number in self.finished:
                self.say(f"result {status} {code} {len(output)} {elapsed} {number}\n".encode() + output)
                self.say(f"info tasks_running {self.running}\n")
            self.finished.clear()
            self.announced = False
            self.say("end\n")

    def kill(self, words):
        with self.lock:
            number = int(words[1])
            for known in list(self.tasks) if number < 0 else [number]:
                task = self.tasks.pop(known, None)
                if task and "process" in task:
                    os.killpg(task["process"].pid, signal.SIGKILL)
                self.waiting = [t for t in self.waiting if t["id"] != known]
                self.finished = [entry for entry in self.finished if entry[4] != known]

    def get(self, words):
        need(len(words) >= 3, f"{words}")
        name = decoded(words[1])
        with self.lock:
            self.send_item(self.place(name), name)
            self.say("end\n")

    def send_item(self, path, name):
        if path.is_dir():
            self.say(f"dir {name} 0\n")
            for entry in sorted(path.iterdir()):
                self.send_item(entry, f"{name}/{entry.name}")
        elif path.exists():
            data = path.read_bytes()
            self.say(f"file {name} {len(data)}\n".encode() + data)
        else:
            self.say(f"missing {name} 2\n")


# --- manager ---------------------------------------------------------------------------------------------------------


class Manager11:
    """A manager of version 11 (or 9) with the face of managers.py: one task at a time per free core, every request
    answered before the next, five seconds for a line."""

    age = "version 11"

    def __init__(self, lab, name=None, password=None, catalog=None, version=11):
        self.lab, self.password, self.version = lab, password, version
        self.results_by_tag, self.problem, self.greeted, self.caps = {}, None, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def start(self, tasks):
        self.left = queue.SimpleQueue()
        self.count = len(tasks)
        for number, task in enumerate(tasks, 1):
            self.left.put((number, task))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def finish(self):
        self.thread.join(200)
        if self.problem:
            raise AssertionError(f"the manager of version {self.version}: {self.problem}")
        if self.thread.is_alive():
            raise AssertionError(f"{len(self.results_by_tag)} of {self.count} results after 200 s")
        return self.results_by_tag

    def serve(self):
        try:
            self.listener.settimeout(60)
            while len(self.results_by_tag) < self.count:
                connection, _ = self.listener.accept()
                with StrictLine(connection, 60) as self.line:
                    if self.password and not wire.authenticate(self.line, pathlib.Path(self.password).read_bytes()):
                        continue
                    if self.register():
                        self.run()
        except (Violation, OSError, EOFError, TimeoutError) as problem:
            self.problem = f"{type(problem).__name__}: {problem}"
        finally:
            self.listener.close()

    def register(self):
        """Reads up to worker-end-time. Another version is sent away without a word, as the old managers do."""
        words = self.line.words()
        need(words[0] == "workqueue" and len(words) >= 6, f"greeting {words}")
        self.greeted.append(int(words[1]))
        if int(words[1]) != self.version:
            return False
        self.cores, ready = 0, False
        while not ready:
            words = self.line.words()
            need(words is not None, "the worker went away while registering")
            self.asynchronous(words)
            ready = words[:2] == ["info", "worker-end-time"]
        need(self.cores >= 1, "worker-end-time came before the cores")
        return True

    def asynchronous(self, words):
        """What may come before any line. False when it is none of those."""
        if words[0] == "resource" and words[1] != "tag":
            need(len(words) == 5, f"{words}")
            numbers = [int(word) if self.version == 9 else float(word) for word in words[2:]]
            if words[1] == "cores":
                self.cores = int(numbers[0])
        elif words[0] == "info":
            need(len(words) >= 3, f"info without a value: {words}")
            need(words[1] != "idle-disconnecting", "the worker left for being idle")
        elif words[0] == "cache-update":
            need(self.version == 11 and len(words) == 4, f"{words} at version {self.version}")
        elif words[0] == "cache-invalid":
            need(self.version == 11, "cache-invalid at version 9")
            self.line.body(int(words[2]))
        elif words[0] == "available_results":
            need(not self.inside, "available_results inside an exchange")
            self.available = True
        else:
            return words[0] in ("alive", "resource", "feature", "tlq")
        return True

    inside = False
    available = False

    def run(self):
        self.sent, self.known = {}, set()
        while len(self.results_by_tag) < self.count:
            while len(self.sent) < self.cores and not self.left.empty():
                number, task = self.left.get()
                self.dispatch(number, task)
            words = self.line.words()
            need(words is not None, "the worker closed the connection")
            need(self.asynchronous(words), f"{words} is not a status message")
            if self.available:
                self.available = False
                self.collect()
        self.line.send("release\n")

    # --- staging and dispatch
    def dispatch(self, number, task):
        entries, extra = [], []
        for position, (kind, source, remote, flags, *range_) in enumerate(task.inputs):
            if kind == "directory" and not source:
                extra.append(f"dir {remote}\n")
                continue
            name = self.stage(number, position, kind, source, flags, range_)
            if name is None:
                self.results_by_tag[task.tag] = {"result": 1, "exit": 0, "host": "", "output": ""}
                return
            entries.append(f"infile {name} {encoded(remote)} {flags}\n")
        outputs = [(f"out-{number}-{i}", *output) for i, output in enumerate(task.outputs)]
        command = task.command.encode()
        self.line.send(f"task {number}\ncmd {len(command)}\n".encode() + command + f"category {task.category}\n"
                       f"cores {task.cores:.3f}\ngpus 0\nmemory 50\ndisk 50\n".encode())
        for name, value in task.env.items():
            body = f"{name}={value}".encode()
            self.line.send(f"env {len(body)}\n".encode() + body + b"\n")
        self.line.send("".join(entries) + "".join(extra) + "".join(f"outfile {n} {encoded(r)} {f}\n" for n, _, r, f in outputs) + "end\n")
        self.sent[number] = (task, outputs, [entry.split(" ")[1] for entry in entries])

    def stage(self, number, position, kind, source, flags, range_):
        cached = bool(flags & workload.CACHE)
        name = f"{kind}-{abs(hash((kind, str(source), *range_)))}" if cached else f"{kind}-{number}-{position}"
        if name in self.known:
            return name
        if kind in ("url", "command"):
            verb = "puturl" if kind == "url" else "putcmd"
            self.line.send(f"{verb} {encoded(source)} {name} 0 777\n")
        elif kind == "buffer":
            self.send_file(name, str(source).encode(), 0o777)
        else:
            path = pathlib.Path(source)
            if not path.exists():
                return None
            if path.is_dir():
                self.send_directory(name, path)
            else:
                data = path.read_bytes()
                self.send_file(name, data[range_[0]:range_[1] + 1] if range_ else data, path.stat().st_mode & 0o777)
        if cached:
            self.known.add(name)
        return name

    def send_file(self, name, data, mode):
        self.line.send(f"put {encoded(name)} {len(data)} 0{mode:o}\n".encode() + data)

    def send_directory(self, name, path):
        self.line.send(f"dir {encoded(name)}\n")
        for entry in sorted(path.iterdir()):
            if entry.is_symlink():
                target = os.readlink(entry).encode() + b"\0"
                self.line.send(f"symlink {encoded(entry.name)} {len(target)}\n".encode() + target)
            elif entry.is_dir():
                self.send_directory(entry.name, entry)
            elif entry.is_file():
                self.send_file(entry.name, entry.read_bytes(), entry.stat().st_mode & 0o777)
        self.line.send("end\n")

    # --- results
    def reply(self):
        """The next line that belongs to the reply; five seconds, as the old managers give."""
        while True:
            line = self.line.line_within(5)
            need(line is not None, "no answer within 5 s")
            words = line.decode().split(" ")
            if not self.asynchronous(words):
                return words

    def collect(self):
        self.inside = True
        self.line.send("send_results -1\n")
        done = []
        while (words := self.reply()) != ["end"]:
            if words[0] == "update":
                self.line.body(int(words[4]))
                continue
            need(words[0] == "result" and len(words) >= 6, f"{words} instead of a result")
            status, code, length, _, number = map(int, words[1:6])
            output = self.line.body(length)
            need(status != 40 or length == 0, "a forsaken task with output")
            done.append((number, status, code, output))
        self.inside = False
        for number, status, code, output in done:
            self.retrieve(number, status, code, output)

    def retrieve(self, number, status, code, output):
        task, outputs, inputs = self.sent.pop(number)
        for name, local, _, flags in outputs:
            failed = status != 0 or code != 0
            if flags & (workload.SUCCESS_ONLY if failed else workload.FAILURE_ONLY):
                continue
            if not self.get(name, pathlib.Path(local)) and status < 8:
                status |= 2
        self.line.send(f"kill {number}\n" + "".join(f"unlink {n}\n" for n in inputs if n not in self.known)
                       + "".join(f"unlink {o[0]}\n" for o in outputs))
        self.results_by_tag[task.tag] = {"result": status, "exit": code, "host": "", "output": output.decode(errors="replace")}

    def get(self, name, local):
        self.line.send(f"get {name} 1\n")
        complete = True
        while (words := self.reply()) != ["end"]:
            kind, path, number = words[0], " ".join(words[1:-1]), words[-1]
            need(path == name or path.startswith(name + "/"), f"{path} in the answer to get {name}")
            target = local if path == name else local / path[len(name) + 1:]
            if kind == "dir":
                target.mkdir(parents=True, exist_ok=True)
            elif kind == "file":
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.line.body(int(number)))
            else:
                need(kind == "missing", f"{words} in the answer to get")
                complete = False
        return complete
