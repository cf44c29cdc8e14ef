"""Old and new programs together. usage: interop.py --bin DIR CASE   or   interop.py --list

Each case is a function below and one ctest; exit 0 passed, 1 failed (with all logs), 77 skipped (with the reason).
"""
import sys

import harness
import workload
from harness import expect
from managers import MANAGERS

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def run_workload(lab, manager_age, worker_ages, password=False, catalog=None, options=()):
    """The whole workload through one manager; at least 200 tasks."""
    server = lab.http_server({f"/page{i}": f"page {i}\n".encode() for i in range(3)})
    old_worker = "old" in worker_ages
    work = workload.Workload(lab, f"http://127.0.0.1:{server.server_address[1]}", manager_age == "old", old_worker)
    tasks = work.build()
    expect(len(tasks) >= 200, f"only {len(tasks)} tasks")
    secret = lab.password_file() if password else None
    name = f"interop-{lab.dir.name[-6:]}" if catalog else None
    address = lab.catalog(catalog) if catalog else None
    manager = MANAGERS[manager_age](lab, name=name, password=secret, catalog=address)
    manager.start(tasks)
    for age in worker_ages:
        lab.worker(age, name or manager.port, password=secret, catalog=address, options=options)
    results = manager.finish()
    wrong = workload.check(tasks, results)
    expect(not wrong, f"{len(wrong)} of {len(tasks)} tasks went wrong:\n  " + "\n  ".join(wrong[:40]))
    stop_workers(lab)
    print(f"{len(tasks)} tasks, {manager_age} manager, workers: {', '.join(worker_ages)}")
    return results


def stop_workers(lab):
    """Workers end on SIGTERM and leave their work directory empty."""
    for process in lab.processes:
        if not process.name.startswith("worker-"):
            continue
        lab.stop(process)
        left = list(process.workdir.iterdir())
        expect(not left, f"{process.name} left {left}")


# --- the harness itself, and what the old programs do among themselves -----------------------------------------


@case
def old_manager_old_worker(lab):
    run_workload(lab, "old", ["old"])


@case
def old_manager_old_worker_password_catalog(lab):
    run_workload(lab, "old", ["old"], password=True, catalog="old")


@case
def old_manager_old_worker_new_catalog(lab):
    run_workload(lab, "old", ["old"], catalog="new")


# --- our manager, old workers ----------------------------------------------------------------------------------


@case
def new_manager_old_worker(lab):
    run_workload(lab, "new", ["old"])


@case
def new_manager_old_worker_password(lab):
    run_workload(lab, "new", ["old"], password=True)


@case
def new_manager_old_worker_new_catalog(lab):
    run_workload(lab, "new", ["old"], catalog="new")


@case
def new_manager_old_worker_old_catalog_password(lab):
    run_workload(lab, "new", ["old"], password=True, catalog="old")


# --- Debian's library, our workers ------------------------------------------------------------------------------


@case
def old_manager_new_worker(lab):
    run_workload(lab, "old", ["new"])


@case
def old_manager_new_worker_password(lab):
    run_workload(lab, "old", ["new"], password=True)


@case
def old_manager_new_worker_old_catalog(lab):
    run_workload(lab, "old", ["new"], catalog="old")


@case
def old_manager_new_worker_new_catalog_password(lab):
    run_workload(lab, "old", ["new"], password=True, catalog="new")


# --- both ends ours, and mixtures ---------------------------------------------------------------------------------


@case
def new_manager_new_worker(lab):
    run_workload(lab, "new", ["new"])


@case
def new_manager_new_worker_password_new_catalog(lab):
    run_workload(lab, "new", ["new"], password=True, catalog="new")


@case
def new_manager_new_worker_without_batches(lab):
    run_workload(lab, "new", ["new"], options=["--without", "batch"])


@case
def new_manager_new_worker_old_wire(lab):
    run_workload(lab, "new", ["new"], options=["--without", "batch,measure,enforce,env,peer,zstd"])


@case
def new_manager_mixed_workers(lab):
    run_workload(lab, "new", ["old", "new"], password=True)


@case
def old_manager_mixed_workers(lab):
    run_workload(lab, "old", ["new", "old"], password=True)


def main():
    # They import this module, so it has to be complete before they are.
    import attack_cases
    import makeflow_cases
    import session_cases
    import tls_cases
    import tool_cases
    import version11_cases

    for module in (makeflow_cases, tool_cases, session_cases, attack_cases, tls_cases, version11_cases):
        CASES.update(module.CASES)
    return harness.main(CASES)


if __name__ == "__main__":
    sys.exit(main())
