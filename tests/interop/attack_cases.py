"""Peers without the password try to get in.

The legacy exchange answers any challenge at once, so a stranger can have his own challenge answered by the very
program he attacks. The control cases run the same attack on Debian's programs, where it succeeds: that proves the
attack is a real one.
"""
import socket
import threading

import wire
import workload
from harness import expect
from managers import MANAGERS

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def start_manager(lab, age):
    password = lab.password_file()
    manager = MANAGERS[age](lab, password=password)
    manager.start([workload.Task("secret", "echo the secret command")])
    return manager, password.read_bytes()


def reflect(port, version=11):
    """Sends the manager's own challenge back and returns its answer to it. True when let in."""
    with wire.connect(port) as line:
        line.send(wire.AUTH)
        if line.line() != wire.AUTH.strip():
            return False
        challenge = line.line()
        if challenge is None:
            return False
        line.send(challenge + b"\n")
        response = line.line_within(8)
        if response is None or response in (b"failure", b"ok"):
            return False
        line.send(response + b"\nok\n")
        if line.line_within(8) != b"ok":
            return False
        wire.greet(line, version)
        return wire.read_task(line)["cmd"] == "echo the secret command"


def reflect_over_two_connections(port):
    """The challenge of one connection is answered by the manager on another. True when an answer was given."""
    with wire.connect(port) as first, wire.connect(port) as second:
        first.send(wire.AUTH)
        second.send(wire.AUTH)
        first.line(), second.line()
        challenge = first.line()
        second.line()
        second.send(challenge + b"\n")
        response = second.line_within(8)
        if response is None or len(response) != 40:
            return False
        first.send(b"x" * 63 + b"\n" + response + b"\nok\n")
        return b"ok" in (first.line_within(8), first.line_within(8))


@case
def attack_reflection_on_old_manager_succeeds(lab):
    manager, _ = start_manager(lab, "old")
    expect(reflect(manager.port, version=9), "the reflection attack should work on the old manager; is it still an attack?")


@case
def attack_reflection_on_new_manager_fails(lab):
    manager, password = start_manager(lab, "new")
    expect(not reflect(manager.port), "a stranger got in by sending the manager's own challenge back")
    expect(not reflect_over_two_connections(manager.port), "a stranger had his challenge answered on a second connection")
    with wire.connect(manager.port) as line:
        expect(not wire.authenticate(line, b"guess"), "a wrong password was accepted")
    with wire.connect(manager.port) as line:  # after all that, an honest worker is served
        expect(wire.authenticate(line, password), "the right password was refused")
        wire.greet(line)
        task = wire.read_task(line)
        expect(task["cmd"] == "echo the secret command", f"unexpected task {task}")
        wire.return_result(line, task["id"], b"done\n")
        results = manager.finish(expect_status=0)
    expect(results["secret"]["output"] == "done\n", f"results: {results}")


@case
def attack_without_password_on_new_manager_fails(lab):
    manager, _ = start_manager(lab, "new")
    for words in (b"workqueue 11 h Linux x86_64 8.0.0\n", b"queue_status\n", b"task_status\n", b"GET /task_status HTTP/1.1\r\n\r\n"):
        with wire.connect(manager.port) as line:
            line.send(words)
            while (answer := line.line_within(12)) is not None:
                expect(b"secret command" not in answer, f"{words!r} was answered without the password: {answer!r}")


class RogueManager:
    """Listens for a worker and plays `script(line)` on the first connection that speaks."""

    def __init__(self, script):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.outcome = []
        self.thread = threading.Thread(target=self.serve, args=(script,), daemon=True)
        self.thread.start()

    def serve(self, script):
        connection, _ = self.listener.accept()
        with wire.Line(connection) as line:
            try:
                self.outcome.append(script(line))
            except (OSError, EOFError) as error:
                self.outcome.append(error)

    def result(self):
        self.thread.join(60)
        self.listener.close()
        return self.outcome[0] if self.outcome else None


def reflect_on_worker(line):
    """True when the worker introduces itself to a manager that does not know the password."""
    line.send(wire.AUTH)
    line.line()
    challenge = line.line()
    if challenge is None:
        return False
    line.send(challenge + b"\n")
    response = line.line_within(8)
    if response is None or len(response) != 40:
        return False
    line.send(response + b"\nok\n")
    words = [line.line_within(8), line.line_within(8)]
    return any(word and word.startswith(b"workqueue") for word in words)


@case
def attack_reflection_on_old_worker_succeeds(lab):
    rogue = RogueManager(reflect_on_worker)
    lab.worker("old", rogue.port, password=lab.password_file())
    expect(rogue.result() is True, "the reflection attack should work on the old worker; is it still an attack?")


@case
def attack_reflection_on_new_worker_fails(lab):
    rogue = RogueManager(reflect_on_worker)
    lab.worker("new", rogue.port, password=lab.password_file())
    outcome = rogue.result()
    expect(outcome is not True and outcome is not None, f"the worker trusted its own challenge: {outcome}")


@case
def attack_manager_without_password_on_new_worker_fails(lab):
    rogue = RogueManager(lambda line: (line.send("task 1\ncmd 10\necho hallo" "end\n"), line.line(), line.line_within(8))[1:])
    lab.worker("new", rogue.port, password=lab.password_file())
    words = rogue.result()
    expect(isinstance(words, tuple) and words[0] == wire.AUTH.strip(), f"the worker began with {words}")
    expect(words[1] is None or not words[1].startswith(b"workqueue"), f"the worker went on with {words[1]!r}")


@case
def honest_manager_is_served_by_new_worker(lab):
    password = lab.password_file()

    def script(line):
        expect(wire.authenticate(line, password.read_bytes()), "the worker refused the right password")
        return line.line()

    rogue = RogueManager(script)
    lab.worker("new", rogue.port, password=password)
    outcome = rogue.result()
    expect(isinstance(outcome, bytes) and outcome.startswith(b"workqueue "), f"the worker said {outcome!r}")
