"""Debian's small programs against our manager and our catalog: status, catalog query, factory, plain HTTP."""
import json
import urllib.request

import workload
from harness import expect
from managers import MANAGERS

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def sleepers(lab, count):
    """Tasks that run until the file `go` is there: the manager can be looked at while they run."""
    go = lab.dir / "go"
    command = f"until [ -e {go} ]; do sleep 0.1; done; echo went"
    return go, [workload.Task(f"sleeper-{i}", command, category="sleepers", output="went\n") for i in range(count)]


def status_json(lab, port, mode):
    tool = lab.programs.find("old", "work_queue_status")
    return json.loads(lab.run(f"status{mode}", [tool, mode, "-l", "127.0.0.1", port]))


def watch_manager(lab, manager_age, worker_age):
    """One worker of 2 cores, 5 tasks: 2 run, 3 wait; then each question of work_queue_status."""
    go, tasks = sleepers(lab, 5)
    manager = MANAGERS[manager_age](lab)
    manager.start(tasks)
    lab.worker(worker_age, manager.port, cores=2)

    def queue():
        return status_json(lab, manager.port, "-Q")[0]

    lab.wait_until(lambda: queue()["tasks_running"] == 2, "two tasks run", needs=[manager.process])
    found = queue()
    expect(found["tasks_waiting"] == 3, f"waiting: {found['tasks_waiting']}")
    expect(found["workers"] == 1 and found["port"] == manager.port, f"queue record: {found}")
    expect(found["type"] == "wq_master" and found["cores_total"] == 2, f"queue record: {found}")
    records = status_json(lab, manager.port, "-T")
    expect(sorted(record["tag"] for record in records) == [task.tag for task in tasks], f"task records: {records}")
    expect(sum("host" in record for record in records) == 2, f"task records: {records}")
    workers = status_json(lab, manager.port, "-W")
    expect(len(workers) == 1 and workers[0]["cores_inuse"] == 2, f"worker records: {workers}")
    categories = {record["category"]: record for record in status_json(lab, manager.port, "-A")}
    expect(categories["sleepers"]["tasks_waiting"] == 3, f"category records: {categories}")
    return manager, go, tasks


def finish(manager, go, tasks):
    go.touch()
    wrong = workload.check(tasks, manager.finish())
    expect(not wrong, str(wrong))


@case
def status_of_old_manager(lab):
    finish(*watch_manager(lab, "old", "old"))


@case
def status_of_new_manager(lab):
    manager, go, tasks = watch_manager(lab, "new", "old")
    tool = lab.programs.find("old", "work_queue_status")
    table = lab.run("status-table", [tool, "-T", "127.0.0.1", manager.port], env={"COLUMNS": "120"}).splitlines()
    expect(table[0].split()[:3] == ["ID", "STATE", "PRIORITY"] and len(table) == 6, f"task table: {table}")
    for mode in ("-Q", "-W", "-A", "-R"):
        table = lab.run(f"status{mode}", [tool, mode, "127.0.0.1", manager.port]).splitlines()
        expect(len(table) >= 2, f"work_queue_status {mode}: {table}")
    for path in ("queue_status", "task_status", "worker_status", "resources_status", "wable_status"):
        with urllib.request.urlopen(f"http://127.0.0.1:{manager.port}/{path}", timeout=20) as page:
            expect(isinstance(json.load(page), list), f"GET /{path}")
    with urllib.request.urlopen(f"http://127.0.0.1:{manager.port}/", timeout=20) as page:
        expect(b"queue_status" in page.read(), "GET /")
    finish(manager, go, tasks)


def catalog_names(lab, address, *options):
    tool = lab.programs.find("old", "catalog_query")
    text = lab.run("catalog-query", [tool, "-c", address, "-t", 20, *options], check=False)
    return text


def through_catalog(lab, catalog_age):
    """Our manager publishes to the catalog; Debian's tools find it there."""
    address = lab.catalog(catalog_age)
    go, tasks = sleepers(lab, 3)
    manager = MANAGERS["new"](lab, name="interop-listed", catalog=address)
    manager.start(tasks)
    tool = lab.programs.find("old", "work_queue_status")

    def listed():
        return "interop-listed" in lab.run("status-catalog", [tool, "-C", address], check=False)

    lab.wait_until(listed, "the manager is listed", needs=[manager.process])
    text = lab.run("status-catalog-long", [tool, "-C", address, "-l", "-M", "interop-.*"])
    record = next(entry for entry in json.loads(text) if entry.get("project") == "interop-listed")
    expect(record["port"] == manager.port and record["type"] == "wq_master", f"record: {record}")
    expect("interop-listed" in catalog_names(lab, address), "catalog_query does not show the manager")
    chosen = catalog_names(lab, address, "-w", 'type=="wq_master"')
    expect("interop-listed" in chosen, f"catalog_query with a condition: {chosen}")
    expect("interop-listed" not in catalog_names(lab, address, "-w", 'type=="chirp"'), "the condition was ignored")
    lab.worker("old", "interop-.*", catalog=address)
    finish(manager, go, tasks)


@case
def tools_find_new_manager_in_new_catalog(lab):
    through_catalog(lab, "new")


@case
def tools_find_new_manager_in_old_catalog(lab):
    through_catalog(lab, "old")


def factory(lab, manager_age, worker_age, catalog_age):
    address = lab.catalog(catalog_age)
    password = lab.password_file()
    tasks = [workload.Task(f"made-{i}", f"echo {i}", output=f"{i}\n") for i in range(200)]
    manager = MANAGERS[manager_age](lab, name="interop-factory", catalog=address, password=password)
    manager.start(tasks)
    command = [lab.programs.find("old", "work_queue_factory"), "-T", "local", "-M", "interop-factory", "--catalog", address]
    command += ["-w", 1, "-W", 2, "-t", 5, "-P", password, "-S", lab.dir / "factory", "--cores", 1, "--memory", 500, "--disk", 500]
    command += ["--worker-binary", lab.programs.find(worker_age, "work_queue_worker")]
    lab.start("factory", command)
    wrong = workload.check(tasks, manager.finish())
    expect(not wrong, str(wrong[:10]))


@case
def old_factory_old_workers(lab):
    factory(lab, "old", "old", "old")


@case
def old_factory_feeds_new_manager(lab):
    factory(lab, "new", "old", "new")


@case
def old_factory_starts_new_workers(lab):
    factory(lab, "old", "new", "new")
