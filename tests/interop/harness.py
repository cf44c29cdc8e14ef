"""Runs real programs against each other on loopback and leaves nothing behind.

`Lab` is one experiment: a scratch directory, processes that all die with it, ports nobody else uses. `Programs`
says where the old (Debian) and the new (ours) programs are. All waiting has generous deadlines; a failure prints
the logs of every process of the experiment.
"""
import argparse
import http.server
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid

DEADLINE = float(os.environ.get("TASKMILL_TEST_DEADLINE", "240"))


class Failure(Exception):
    """An expectation that was not met; the text says which."""


class Skip(Exception):
    """A peer is impossible on this machine; the text says why."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


class Programs:
    def __init__(self, new_dir):
        self.new_dir = pathlib.Path(new_dir).resolve()

    def find(self, age, name):
        if age == "new":
            path = self.new_dir / name
            expect(path.exists(), f"{path} is not built")
            return str(path)
        path = shutil.which(name, path="/usr/bin:/usr/local/bin")
        if path is None:
            raise Skip(f"{name} of Debian's coop-computing-tools is not installed (./bootstrap deps)")
        return path

    def mini_manager(self):
        path = self.new_dir / "mini_manager"
        if not path.exists():
            raise Skip("mini_manager is not built: coop-computing-tools-dev is missing (./bootstrap deps)")
        return path


class Process:
    def __init__(self, name, popen, log):
        self.name, self.popen, self.log = name, popen, log

    def text(self):
        return self.log.read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None


def free_port(also_next=False):
    """A port that is free now; with also_next the one after it is free, too (a catalog needs both)."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                datagram.bind(("127.0.0.1", port))
                if also_next:
                    second.bind(("127.0.0.1", port + 1))
                return port
            except OSError:
                continue


class Lab:
    def __init__(self, programs):
        self.programs = programs
        self.mark = f"TASKMILL_LAB={uuid.uuid4()}"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="interop."))
        self.processes = []
        self.servers = []

    # --- processes -----------------------------------------------------------------------------------
    def start(self, name, command, cwd=None, env=None, stdout=None):
        log = self.dir / f"{len(self.processes):02d}-{name}.log"
        key, value = self.mark.split("=")
        environment = {**os.environ, **(env or {}), key: value}
        environment.pop("CATALOG_HOST", None)
        with open(log, "wb") as output:
            popen = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd or self.dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout or output,
                stderr=subprocess.STDOUT if stdout is None else output,
                start_new_session=True,
            )
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def run(self, name, command, check=True, timeout=60, **more):
        process = self.start(name, command, **more)
        self.wait(process, timeout)
        if check:
            expect(process.popen.returncode == 0, f"{name} ended with status {process.popen.returncode}")
        return process.text()

    def wait(self, process, timeout=DEADLINE):
        try:
            return process.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{process.name} did not end within {timeout:.0f} s") from None

    def stop(self, process, sig=signal.SIGTERM, timeout=30):
        if process.running():
            process.popen.send_signal(sig)
        return self.wait(process, timeout)

    def wait_until(self, condition, what, timeout=60, needs=()):
        """Polls until condition() is true; gives up early when a process in `needs` has ended."""
        end = time.monotonic() + timeout
        while not (value := condition()):
            for process in needs:
                expect(process.running(), f"{process.name} ended with status {process.popen.returncode} before: {what}")
            expect(time.monotonic() < end, f"not within {timeout:.0f} s: {what}")
            time.sleep(0.05)
        return value

    def read_port(self, path, process):
        def read():
            text = path.read_text() if path.exists() else ""
            return int(text) if text.endswith("\n") or text.isdigit() else None

        return self.wait_until(read, f"{process.name} writes {path.name}", needs=[process])

    # --- leftovers -----------------------------------------------------------------------------------
    def marked_pids(self):
        """Every process whose environment holds this experiment's mark: children of children, too."""
        found = []
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                with open(f"/proc/{entry.name}/environ", "rb") as file:
                    if self.mark.encode() in file.read():
                        found.append(int(entry.name))
            except OSError:
                pass
        return found

    def close(self):
        for process in reversed(self.processes):
            if process.running():
                process.popen.terminate()
        end = time.monotonic() + 10
        while self.marked_pids() and time.monotonic() < end:
            for process in self.processes:
                process.popen.poll()
            time.sleep(0.05)
        left = self.marked_pids()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.processes:
            process.popen.wait(10)
        for server in self.servers:
            server.shutdown()
            server.server_close()
        return left

    def print_logs(self):
        for process in self.processes:
            text = process.text()
            print(f"--- {process.name} (status {process.popen.poll()}): {' '.join(map(str, process.popen.args))}")
            print(text if len(text) < 6000 else text[:2000] + "\n[…]\n" + text[-4000:])

    def remove(self):
        subprocess.run(["chmod", "-R", "u+w", self.dir], check=False, stderr=subprocess.DEVNULL)  # unpacked environments
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- parts of an experiment ------------------------------------------------------------------------
    def write(self, name, content, mode=0o644):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def password_file(self):
        return self.write("password.txt", f"secret {uuid.uuid4()}\n", 0o600)

    def catalog(self, age):
        """Starts a catalog server and returns "127.0.0.1:PORT"."""
        port = free_port(also_next=True)
        command = [self.programs.find(age, "catalog_server"), "-p", port, "-I", "127.0.0.1"]
        command += ["-u", f"127.0.0.1:{port}", "-H", self.dir / f"catalog-{port}"]
        (self.dir / f"catalog-{port}").mkdir()
        process = self.start(f"catalog-{age}", command)

        def listens():  # for queries, and one above for updates
            with socket.socket() as query, socket.socket() as update:
                return query.connect_ex(("127.0.0.1", port)) == 0 and update.connect_ex(("127.0.0.1", port + 1)) == 0

        self.wait_until(listens, "the catalog listens", needs=[process])
        return f"127.0.0.1:{port}"

    def worker(self, age, manager, password=None, catalog=None, name=None, cores=2, options=()):
        """manager: a port number, or a project name that is looked up in `catalog`."""
        workdir = self.dir / (name or f"worker-{age}-{len(self.processes)}")
        workdir.mkdir()
        command = [self.programs.find(age, "work_queue_worker"), "-s", workdir, "-t", 120, "-i", 1, "-b", 2]
        command += ["--cores", cores, "--memory", 2000, "--disk", 2000, *options]
        if password:
            command += ["-P", password]
        if catalog:
            command += ["-C", catalog, "-M", manager]
        else:
            command += ["127.0.0.1", manager]
        process = self.start(f"worker-{age}", command)
        process.workdir = workdir
        return process

    def http_server(self, files):
        """Serves a dict of path → bytes; counts requests in .hits."""
        hits = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                hits[self.path] = hits.get(self.path, 0) + 1
                body = files.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.hits = hits
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return server


# --- programs that are made of cases: PROGRAM --bin DIR CASE, or --list --------------------------------

def run_case(programs, name, case):
    """0 passed, 1 failed (with all logs), 77 skipped (with the reason)."""
    lab = Lab(programs)
    status = 0
    try:
        case(lab)
        lab.passed = True
    except Skip as reason:
        print(f"skipped: {name}: {reason}")
        status = 77
    except Exception as error:  # every failure is shown with the logs of all processes
        status = 1
        print(f"FAILED: {name}: {error}")
        if not isinstance(error, Failure):
            traceback.print_exc(file=sys.stdout)
    left = lab.close()
    if status == 0 and left:
        status = 1
        print(f"FAILED: {name}: processes {left} outlived the case")
    if status == 1:
        lab.print_logs()
    lab.remove()
    if status == 0:
        print(f"passed: {name}")
    return status


def main(cases):
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="build/dev/bin", help="where our programs are (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("case", nargs="?", choices=[*cases, None], metavar="CASE")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(cases))
        return 0
    if not arguments.case:
        parser.error("name a case; --list shows them")
    return run_case(Programs(arguments.bin), arguments.case, cases[arguments.case])
