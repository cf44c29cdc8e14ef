"""What happens in long sessions: workers that die, cancelled tasks, changed inputs, limits, returning managers."""
import signal
import socket
import time

import wire
import workload
from harness import expect
from managers import MANAGERS

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def short_tasks(count, seconds):
    return [workload.Task(f"short-{i}", f"sleep {seconds}; echo {i}", output=f"{i}\n") for i in range(count)]


def lose_a_worker(lab, manager_age, first, second, sig):
    """One worker dies with tasks on it; the other does everything that is left."""
    tasks = short_tasks(40, 0.2)
    manager = MANAGERS[manager_age](lab)
    manager.start(tasks)
    victim = lab.worker(first, manager.port)
    lab.wait_until(lambda: len(manager.results()) >= 4 if manager.results_path.exists() else False, "4 tasks are done",
                   needs=[manager.process, victim])
    victim.popen.send_signal(sig)
    lab.worker(second, manager.port)
    wrong = workload.check(tasks, manager.finish())
    expect(not wrong, str(wrong))
    if sig == signal.SIGTERM:
        lab.stop(victim)
        expect(not list(victim.workdir.iterdir()), "the worker left files behind")


@case
def old_manager_survives_killed_old_worker(lab):
    lose_a_worker(lab, "old", "old", "old", signal.SIGKILL)


@case
def new_manager_survives_killed_old_worker(lab):
    lose_a_worker(lab, "new", "old", "new", signal.SIGKILL)


@case
def new_manager_survives_killed_new_worker(lab):
    lose_a_worker(lab, "new", "new", "old", signal.SIGKILL)


@case
def old_manager_survives_killed_new_worker(lab):
    lose_a_worker(lab, "old", "new", "new", signal.SIGKILL)


@case
def old_manager_survives_new_worker_that_leaves(lab):
    lose_a_worker(lab, "old", "new", "old", signal.SIGTERM)


def cancel_and_invalidate(lab, worker_age):
    """Debian's library cancels a running task and sends a cached input again after it changed."""
    data = lab.write("in/data", "first\n")
    reader = [("file", data, "data", workload.CACHE)]
    before = [workload.Task(f"before-{i}", "cat data", inputs=reader, output="first\n") for i in range(5)]
    long = workload.Task("long", "sleep 600" if worker_age == "new" else "exec sleep 600", cores=2)
    after = [workload.Task(f"after-{i}", "cat data", inputs=reader, output="second, longer\n") for i in range(5)]
    script = "".join(map(workload.to_script, before)) + "wait\n" + workload.to_script(long)
    script += f"sleep\t3\ncancel\tlong\ninvalidate\t{data}\nsleep\t4\n"
    manager = MANAGERS["old"](lab)
    manager.start(after, before=script)
    worker = lab.worker(worker_age, manager.port)
    lab.wait_until(lambda: "long\tcancelled" in manager.results_path.read_text(), "the long task is cancelled",
                   needs=[manager.process, worker])
    data.write_text("second, longer\n")
    results = manager.finish()
    expect(results.pop("long")["result"] == "cancelled", "the running task was not cancelled")
    wrong = workload.check(before + after, results)
    expect(not wrong, str(wrong))


@case
def old_worker_cancel_and_invalidate(lab):
    cancel_and_invalidate(lab, "old")


@case
def new_worker_cancel_and_invalidate(lab):
    cancel_and_invalidate(lab, "new")


def end_time(lab, worker_age):
    # An old worker kills the shell only; what the shell has started would outlive the test.
    sleep = "sleep" if worker_age == "new" else "exec sleep"
    script = f"task\tlate\techo begun; {sleep} 600\ncores\t1\nmemory\t50\ndisk\t50\nend_time\t3\nsubmit\nwait\n"
    manager = MANAGERS["old"](lab)
    manager.start([], before=script)
    lab.worker(worker_age, manager.port)
    late = manager.finish()["late"]
    expect((late["result"], late["exit"], late["output"]) == (24, 9, "begun\n"), f"{late}")


@case
def old_worker_kills_at_end_time(lab):
    end_time(lab, "old")


@case
def new_worker_kills_at_end_time(lab):
    end_time(lab, "new")


def second_manager(lab, worker_age):
    """A worker that is released finds the next manager of the same name in the catalog."""
    address = lab.catalog("old")
    worker = None
    for round_ in range(2):
        tasks = [workload.Task(f"round-{round_}-{i}", f"echo {i}", output=f"{i}\n") for i in range(100)]
        manager = MANAGERS["old"](lab, name="interop-again", catalog=address)
        manager.start(tasks)
        worker = worker or lab.worker(worker_age, "interop-again", catalog=address)
        wrong = workload.check(tasks, manager.finish())
        expect(not wrong, str(wrong[:5]))
    expect(worker.running(), "the worker ended with its first manager")


@case
def old_worker_serves_two_managers(lab):
    second_manager(lab, "old")


@case
def new_worker_serves_two_managers(lab):
    second_manager(lab, "new")


@case
def new_worker_ends_quickly_on_sigterm(lab):
    """Nothing of a running task survives its worker: no process, no file, within a few seconds."""
    beacon = lab.dir / "beacon"
    task = workload.Task("busy", f"(while :; do date +%N > {beacon}; sleep 0.1; done) & sleep 600")
    manager = MANAGERS["old"](lab)
    manager.start([task])
    worker = lab.worker("new", manager.port)
    lab.wait_until(beacon.exists, "the task runs", needs=[worker])
    lab.stop(worker)
    expect(not list(worker.workdir.iterdir()), "the worker left files behind")
    last = beacon.read_text()
    time.sleep(1)
    expect(beacon.read_text() == last, "a child of the task goes on after its worker has ended")


def requests_in_one_write(lab, worker_age):
    """`send_results`, `get`, `kill` and `unlink` in one write are carried out in that order."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)
    worker = lab.worker(worker_age, listener.getsockname()[1], options=["--single-shot"])
    accepted = None
    while accepted is None:
        accepted = wire.Line(listener.accept()[0])
        greeting = accepted.line()
        if greeting is None:  # it only looked
            accepted = None
    with accepted as line:
        while not line.line().startswith(b"info worker-end-time"):
            pass
        command = "echo large > d; mkdir t; echo 1 > t/1; echo 2 > t/2"
        block = f"task 1\ncmd {len(command)}\n{command}category default\ncores 1\ngpus 0\nmemory 10\ndisk 10\n"
        line.send(block + "outfile o-d d 0\noutfile o-t t 0\nend\n")
        while line.line() != b"available_results":
            pass
        line.send("send_results -1\nget o-d 1\nkill 1\nunlink o-d\nget o-t 1\nunlink o-t\nget o-d 1\n")
        words = []
        while words.count(b"end") < 4:
            words.append(line.line())
            if words[-1].startswith(b"file"):
                words.append(line.body(int(words[-1].split()[2])))
        ends = [i for i, text in enumerate(words) if text == b"end"]
        first, tree, gone = (words[ends[i] + 1 : ends[i + 1]] for i in range(3))
        expect(first == [b"file o-d 6", b"large\n"], f"first get: {first}")
        expect(sorted(tree[1:]) == sorted([b"file o-t/1 2", b"1\n", b"file o-t/2 2", b"2\n"]), f"get of a tree: {tree}")
        expect(gone == [b"missing o-d 2"], f"get after unlink: {gone}")
    listener.close()
    lab.wait(worker, 60)


@case
def old_worker_answers_in_order(lab):
    requests_in_one_write(lab, "old")


@case
def new_worker_answers_in_order(lab):
    requests_in_one_write(lab, "new")
