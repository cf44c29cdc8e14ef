"""Our programs with strict stand-ins for the programs of version 11 (version11.py), and the worker's search for a version."""
import version11
import workload
from harness import expect
from managers import MANAGERS

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def build(lab, old_manager=False):
    server = lab.http_server({f"/page{i}": f"page {i}\n".encode() for i in range(3)})
    return workload.Workload(lab, f"http://127.0.0.1:{server.server_address[1]}", old_manager, False).build()


def new_manager_with_worker_11(lab, password):
    tasks = build(lab)
    secret = lab.password_file() if password else None
    manager = MANAGERS["new"](lab, password=secret)
    manager.start(tasks)
    workers = [version11.Worker11(lab, manager.port, cores, secret) for cores in (2, 4)]
    results = manager.finish()
    for worker in workers:
        worker.thread.join(20)
        expect(not worker.violations, f"{worker.violations}")
        expect("thirdget" not in worker.seen and "url" not in worker.seen, f"messages of version 9: {worker.seen}")
    expect(any({"puturl", "putcmd"} <= worker.seen for worker in workers), "no URL or command went to a worker of version 11")
    wrong = workload.check(tasks, results)
    expect(not wrong, f"{len(wrong)} of {len(tasks)} tasks went wrong:\n  " + "\n  ".join(wrong[:40]))


@case
def new_manager_worker_of_version_11(lab):
    new_manager_with_worker_11(lab, False)


@case
def new_manager_worker_of_version_11_password(lab):
    new_manager_with_worker_11(lab, True)


def manager_of_version(lab, version, password, greetings):
    # The stand-in of version 9 sends what 9 knows: its URLs and commands are left out.
    tasks = [task for task in build(lab) if version == 11 or not any(entry[0] in ("url", "command") for entry in task.inputs)]
    secret = lab.password_file() if password else None
    manager = version11.Manager11(lab, password=secret, version=version)
    manager.start(tasks)
    worker = lab.worker("new", manager.port, password=secret)
    wrong = workload.check(tasks, manager.finish())
    expect(not wrong, f"{len(wrong)} of {len(tasks)} tasks went wrong:\n  " + "\n  ".join(wrong[:40]))
    expect(manager.greeted == greetings, f"greeted with {manager.greeted}, expected {greetings}")
    lab.stop(worker)
    expect(not list(worker.workdir.iterdir()), "the worker left files behind")


@case
def manager_of_version_11_new_worker(lab):
    manager_of_version(lab, 11, False, [11])


@case
def manager_of_version_11_new_worker_password(lab):
    manager_of_version(lab, 11, True, [11])


@case
def manager_of_version_9_new_worker(lab):
    manager_of_version(lab, 9, False, [11, 9])


@case
def manager_of_version_9_new_worker_password(lab):
    manager_of_version(lab, 9, True, [11, 9])
