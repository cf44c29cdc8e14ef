"""work_queue_factory as a program: local workers, what is left behind, batch systems by stand-in. usage: factory_test.py --bin DIR CASE"""
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "interop"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "interop" / "catalog"))
import harness
from catalog_interop import capture, manager_record, query, send, wait_for_records
from harness import expect

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def fake_worker(lab, body='exec sleep 1000'):
    """A worker that writes down how it was started."""
    return lab.write("fake/work_queue_worker", f'#!/bin/sh\nfor w; do printf "%s\\n" "$w"; done > "{lab.dir}/argv.$$"\n'
                     f'env > "{lab.dir}/env.$$"\n{body}\n', 0o755)


def arguments_of_workers(lab):
    return [path.read_text().splitlines() for path in sorted(lab.dir.glob("argv.*"))]


def environment_of_workers(lab):
    return [line for path in lab.dir.glob("env.*") for line in path.read_text().splitlines()]


def start(lab, address, *more, project="proj", env=None, worker=None):
    command = [lab.programs.find("new", "work_queue_factory"), "-T", "local", "-M", project, "--catalog", address, "--cycle", "1",
               "--worker-binary", worker or fake_worker(lab), *more]
    return lab.start("factory", command, env=env)


def catalog_with(lab, *records):
    address = lab.catalog("new")
    for record in records:
        send(address, record)
    wait_for_records(lab, address, len(records))
    return address


@case
def starts_what_is_needed_and_leaves_nothing(lab):
    address = catalog_with(lab, manager_record("proj", 1, tasks_waiting=3))
    secret = lab.password_file()
    factory = start(lab, address, "-w", "0", "-W", "3", "-P", secret, "--cores", "1", "--memory", "200", "--env", "A=b=c",
                    "--feature", "x y", "-E", "-d 'a b'", env={"TMPDIR": str(lab.dir)})
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 3, "three workers", needs=[factory])
    expected = ["-M", "proj", "-t", "300", "-C", address, "-P", "pwfile", "--cores=1", "--memory=200", "-d", "a b", "--feature", "x y"]
    expect(all(words == expected for words in arguments_of_workers(lab)), f"{arguments_of_workers(lab)}")
    lab.wait_until(lambda: "A=b=c" in environment_of_workers(lab), "the variable reaches the worker", needs=[factory])
    scratch = next(lab.dir.glob("wq-factory-*"))
    expect(scratch.stat().st_mode & 0o777 == 0o700 and (scratch / "pwfile").stat().st_mode & 0o777 == 0o600, "modes")
    record = [r for r in query(lab, "new", address) if r["type"] == "wq_factory"][0]
    expect(record["project_regex"] == "proj" and record["max_workers"] == 3, f"{record}")
    said = "|submitted: 3 |needed: 3 |waiting connection: 3 |requested: 0 \n"
    lab.wait_until(lambda: said in factory.text(), "a line about three workers", needs=[factory])
    begin = time.monotonic()
    expect(lab.stop(factory) == 0, "exit status")
    expect(time.monotonic() - begin < 20, "it took too long")
    text = factory.text()
    for line in ("received abort signal, shutting down workers...", "removing 3 workers...", "all workers removed."):
        expect(line in text.splitlines(), f"{line!r} is missing in {text}")
    expect(not scratch.exists(), "the scratch directory is gone")
    lab.wait_until(lambda: not [r for r in query(lab, "new", address) if r["type"] == "wq_factory"], "the record is gone")


@case
def stubborn_processes_are_ended_too(lab):
    """Workers that ignore SIGTERM, and children of theirs in sessions of their own."""
    worker = fake_worker(lab, 'trap "" TERM\nsetsid sh -c \'trap "" TERM; while :; do sleep 1; done\' &\nwhile :; do sleep 1; done')
    address = catalog_with(lab, manager_record("proj", 1, tasks_waiting=2))
    for wrapper in ([], ["--wrapper", "nice -n 1"], ["--wrapper", "sh -c '\"$@\"; true' sh"]):
        factory = start(lab, address, "-w", "0", "-W", "2", *wrapper, worker=worker)
        already = len(arguments_of_workers(lab))
        lab.wait_until(lambda: len(arguments_of_workers(lab)) == already + 2, "two workers", needs=[factory])
        expect(lab.stop(factory) == 0, "exit status")
        catalogs = {process.popen.pid for process in lab.processes}
        left = [pid for pid in lab.marked_pids() if pid not in catalogs]
        expect(not left, f"left behind with {wrapper}: {left}")


@case
def workers_die_with_a_killed_factory(lab):
    address = catalog_with(lab, manager_record("proj", 1, tasks_waiting=2))
    factory = start(lab, address, "-w", "0", "-W", "2")
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 2, "two workers", needs=[factory])
    lab.stop(factory, signal.SIGKILL)
    catalogs = {process.popen.pid for process in lab.processes}
    lab.wait_until(lambda: not [pid for pid in lab.marked_pids() if pid not in catalogs], "the workers are gone")


@case
def odd_names_and_alternatives_stay_one_word(lab):
    name = 'it\'s "a" b; touch HACKED'
    address = catalog_with(lab, manager_record(name, 1, tasks_waiting=1), manager_record("zz", 2, tasks_waiting=1))
    pattern = name + "|zz"
    factory = start(lab, address, "-w", "0", "-W", "2", project=pattern)
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 2, "two workers", needs=[factory])
    expect(all(words[:2] == ["-M", pattern] for words in arguments_of_workers(lab)), f"{arguments_of_workers(lab)}")
    expect(not list(lab.dir.rglob("HACKED")), "a shell read the name")
    lab.stop(factory)


@case
def two_factories_in_one_directory(lab):
    address = catalog_with(lab, manager_record("proj", 1, tasks_waiting=1))
    first = start(lab, address, "-w", "1", "-W", "1")
    second = start(lab, address, "-w", "1", "-W", "1")
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 2, "both start a worker", needs=[first, second])
    lab.stop(first)
    time.sleep(1)
    expect(second.running() and len([p for p in lab.marked_pids()]) >= 3, "the second goes on")
    lab.stop(second)
    scratch = lab.dir / "shared"
    one = start(lab, address, "-w", "0", "-S", scratch)
    lab.wait_until(lambda: (scratch / "work_queue_worker").exists(), "the first has the directory", needs=[one])
    two = start(lab, address, "-w", "0", "-S", scratch)
    expect(lab.wait(two) == 1 and "another factory works in" in two.text(), two.text())
    lab.stop(one)


@case
def configuration_file_is_read_again(lab):
    address = catalog_with(lab, manager_record("proj", 1, tasks_waiting=9))
    config = lab.write("cfg.json", '{"manager-name": "proj", "max-workers": 1, "min-workers": 0, "cores": 1, "memory": cores*100}')
    command = [lab.programs.find("new", "work_queue_factory"), "-T", "local", "-C", config, "--catalog", address, "--cycle", "1",
               "--worker-binary", fake_worker(lab)]
    factory = lab.start("factory", command)
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 1, "one worker", needs=[factory])
    expect(f"Configuration file '{config}' has been loaded.manager-name: proj\n" in factory.text(), factory.text())
    expect("--memory=100" in arguments_of_workers(lab)[0], "an expression in the file")
    lab.write("cfg.json", '{"manager-name": ')
    lab.wait_until(lambda: "keeps its old values" in factory.text(), "the mistake is named", needs=[factory])
    lab.write("cfg.json", '{"manager-name": "proj", "max-workers": 3, "min-workers": 0}')
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 3, "three workers", needs=[factory])
    lab.stop(factory)


@case
def serves_one_manager_by_host_and_port(lab):
    from catalog_interop import serve_status
    port = serve_status({"queue_status": [manager_record("direct", 1, tasks_waiting=2)]})
    command = [lab.programs.find("new", "work_queue_factory"), "-T", "local", "127.0.0.1", port, "--catalog", "127.0.0.1:1", "--cycle", "1",
               "-w", "0", "--worker-binary", fake_worker(lab)]
    factory = lab.start("factory", command)
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 3, "three workers", needs=[factory])
    expect(arguments_of_workers(lab)[0][:2] == ["127.0.0.1", str(port)], f"{arguments_of_workers(lab)}")
    lab.stop(factory)


@case
def no_manager_no_workers_and_an_end(lab):
    address = catalog_with(lab, manager_record("other", 1))
    factory = start(lab, address, "--factory-timeout", "2")
    expect(lab.wait(factory, 60) == 0, "exit status")
    expect("There have been no managers for longer then the factory timeout, exiting" in factory.text(), factory.text())
    expect(not arguments_of_workers(lab), "no worker was started")


@case
def a_dead_catalog_does_not_delay_the_end(lab):
    factory = start(lab, f"127.0.0.1:{harness.free_port()}", "-w", "0", "--cycle", "60")
    time.sleep(1)
    begin = time.monotonic()
    expect(lab.stop(factory) == 0 and time.monotonic() - begin < 10, "SIGTERM while asking")


@case
def mistakes_are_one_line(lab):
    tool = lab.programs.find("new", "work_queue_factory")
    worker = fake_worker(lab)
    bad_config = lab.write("bad.json", '{"manager-name": "p", "cores": "many"}')
    cases = [([], "You must specify a batch type"), (["-T", "local"], "You must either give a project name"),
             (["-T", "wq", "-M", "p"], "most likely want 'local'"), (["-T", "nonsense", "-M", "p", "--worker-binary", worker], "unknown batch queue type: nonsense"),
             (["-T", "k8s", "-M", "p", "--worker-binary", worker], "'k8s' is not served"), (["-T", "local", "-M", "p", "-w", "5", "-W", "2"], "min workers (5) is greater"),
             (["-T", "local", "-M", "[p"], "not a regular expression"), (["-T", "local", "-M", "p", "-P", "/nowhere"], "couldn't load password from /nowhere"),
             (["-T", "local", "-M", "p", "--env", "novalue"], "NAME=VALUE"), (["-T", "local", "-C", bad_config], '"cores" must be a number'),
             (["-T", "local", "-M", "p", "--worker-binary", "/nowhere"], "/nowhere"), (["-T", "local", "host"], "HOST PORT"),
             (["-T", "cluster", "-M", "p", "--worker-binary", worker], "BATCH_QUEUE_CLUSTER_NAME")]
    for arguments, text in cases:
        status, _, err = capture([tool, *arguments])
        expect(status == 1 and text in err.decode() and len(err.splitlines()) <= 2, f"{arguments}: {status} {err.decode()}")


STAND_IN = """#!/bin/sh
n=$(($(cat "$LAB/count" 2>/dev/null || echo 40) + 1)); echo $n > "$LAB/count"
{ printf '%s' "$(basename "$0")"; for w; do printf ' <%s>' "$w"; done; echo; } >> "$LAB/submitted"
case $0 in *scancel|*qdel|*bkill|*condor_rm) exit 0 ;; *squeue) exit 1 ;; esac
case $0 in
  *condor_submit) cp condor.submit "$LAB/description.$n"
    printf '000 (%03d.000.000) 11/23 05:17:34 Job submitted from host: <1?alias=head>\\n...\\n' $n >> condor.logfile
    echo "1 job(s) submitted to cluster $n." ;;
  *sbatch) for last; do :; done; SLURM_JOB_ID=$n; export SLURM_JOB_ID
    if [ -f "$last" ]; then "$last" >/dev/null 2>&1 & else cat > "$LAB/script.$n"; fi
    echo "Submitted batch job $n" ;;
  *qsub) echo "$n.head" ;;
  *bsub) echo "Job <$n> is submitted to queue <normal>." ;;
esac
"""


def stand_ins(lab):
    for name in ("sbatch", "scancel", "squeue", "qsub", "qdel", "qstat", "bsub", "bkill", "bjobs", "condor_submit", "condor_rm"):
        lab.write(f"bin/{name}", STAND_IN, 0o755)
    return {"PATH": f"{lab.dir}/bin:{os.environ['PATH']}", "LAB": str(lab.dir)}


def submitted(lab):
    path = lab.dir / "submitted"
    return path.read_text().splitlines() if path.exists() else []


def start_batch(lab, kind, *more):
    address = catalog_with(lab, manager_record("proj", 1, tasks_waiting=2, workers_blocked=["bad.host"]))
    command = [lab.programs.find("new", "work_queue_factory"), "-T", kind, "-M", "proj", "--catalog", address, "--cycle", "1", "-w", "0",
               "-W", "2", "--cores", "2", "--tasks-per-worker", "1", "--memory", "500", "--worker-binary", fake_worker(lab), *more]
    return lab.start("factory", command, env=stand_ins(lab))


@case
def slurm_jobs_run_report_and_end(lab):
    factory = start_batch(lab, "slurm", "-B", "-p 'long queue'", "--env", "A=it's")
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 2, "two jobs run", needs=[factory])
    first = submitted(lab)[0]
    expect(first.startswith("sbatch <--mem=500M> <-N> <1> <-n> <1> <-c> <2> <-D> <.> ") and " <-p> <long queue> <./worker1.sh>" in first, first)
    expect("--cores=2" in arguments_of_workers(lab)[0], "the worker announces what the job got")
    lab.wait_until(lambda: "A=it's" in environment_of_workers(lab), "the variable reaches the worker", needs=[factory])
    # A job that ends makes room for another one.
    os.kill(int(next(lab.dir.glob("argv.*")).suffix[1:]), signal.SIGTERM)
    lab.wait_until(lambda: len(arguments_of_workers(lab)) == 3, "a third job", needs=[factory])
    lab.stop(factory)
    expect(submitted(lab)[-1].startswith("scancel <"), submitted(lab)[-1])
    for pid in lab.marked_pids():  # the stand-in for scancel ends nothing
        os.kill(pid, signal.SIGKILL)


@case
def other_queues_are_asked_in_their_words(lab):
    for kind, submit, remove, words in (("pbs", "qsub", "qdel", "<-l> <nodes=1:ppn=2,mem=500mb>"), ("uge", "qsub", "qdel", "<-l> <h_vmem=500M> <-pe> <smp> <2>"),
                                        ("lsf", "bsub", "bkill", "<-M> <500MB> <-n> <2>")):
        factory = start_batch(lab, kind)
        lab.wait_until(lambda: len(submitted(lab)) == 2, f"two {kind} jobs", needs=[factory])
        expect(all(line.startswith(submit) and words in line for line in submitted(lab)), f"{submitted(lab)}")
        lab.stop(factory)
        expect(submitted(lab)[-1].startswith(remove), submitted(lab)[-1])
        (lab.dir / "submitted").unlink()


@case
def condor_jobs_are_described_and_removed(lab):
    factory = start_batch(lab, "condor", "--condor-requirements", "Memory > 3")
    lab.wait_until(lambda: len(submitted(lab)) == 2, "two jobs", needs=[factory])
    text = next(lab.dir.glob("description.*")).read_text()
    for part in ("request_cpus = 2\n", "request_memory = 500\n", '(machine != "bad.host")', "((Memory > 3))", "'-M' 'proj'", "queue\n"):
        expect(part in text, f"{part!r} is missing in\n{text}")
    time.sleep(2.5)  # two cycles: the log is read
    lab.stop(factory)
    expect(submitted(lab)[-1] == "condor_rm <-name> <head> <41> <42>", submitted(lab)[-1])


@case
def refused_submissions_are_named(lab):
    environment = stand_ins(lab)
    lab.write("bin/sbatch", "#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n", 0o755)
    address = catalog_with(lab, manager_record("proj", 1, tasks_waiting=2))
    factory = lab.start("factory", [lab.programs.find("new", "work_queue_factory"), "-T", "slurm", "-M", "proj", "--catalog", address, "--cycle", "1",
                                    "-w", "0", "--worker-binary", fake_worker(lab)], env=environment)
    lab.wait_until(lambda: "sbatch did not accept the job: sbatch: error: invalid partition" in factory.text(), "the reason", needs=[factory])
    expect(lab.stop(factory) == 0, "exit status")


@case
def dryrun_writes_the_commands(lab):
    address = catalog_with(lab, manager_record("proj", 1, tasks_waiting=2))
    scratch = lab.dir / "scratch"
    factory = lab.start("factory", [lab.programs.find("new", "work_queue_factory"), "-T", "dryrun", "-M", "proj", "--catalog", address, "-S", scratch,
                                    "-w", "0", "-W", "2", "--worker-binary", fake_worker(lab)])
    log = scratch / "dryrun.log"
    lab.wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 2, "two commands", needs=[factory])
    lab.stop(factory)
    expect(log.read_text().splitlines()[0] == f"./work_queue_worker -M proj -t 300 -C {address}", log.read_text())


def submit_script(lab, name, *arguments, shell="sh"):
    environment = stand_ins(lab)
    environment["PATH"] = f"{fake_worker(lab).parent}:{environment['PATH']}"
    script = lab.programs.find("new", name)
    return lab.run(name, [shell, script, *arguments], env=environment, check=False), lab.processes[-1].popen.returncode


@case
def slurm_submit_workers_submits(lab):
    secret = lab.password_file()
    shells = ["dash", "bash"]
    for number, shell in enumerate(shells):
        text, status = submit_script(lab, "slurm_submit_workers", "-M", 'a|"b c', "-P", secret, "--cores", "2", "--memory", "100", "-p", "-p long", "2", shell=shell)
        expect(status == 0 and "Creating worker submit scripts in" in text, f"{shell}: {status} {text}")
        lines = submitted(lab)[2 * number:]
        expect(len(lines) == 2 and lines[0] == "sbatch <--job-name> <wqWorker> <--ntasks=1> <--nodes=1> <--cpus-per-task> <2> <--mem=100M> <-p> <long>", f"{lines}")
    script = sorted(lab.dir.glob("script.*"))[0].read_text()
    expect(script.startswith("#!/bin/sh\n") and "'-M' 'a|\"b c' '-P' 'pwfile' '--cores' '2'" in script.replace("'--memory' '100' ", ""), script)
    for wrong in (["1"], ["host", "x", "1"], ["-M", "p", "many"], ["--nonsense"], ["-M"]):
        text, status = submit_script(lab, "slurm_submit_workers", *wrong)
        expect(status == 1, f"{wrong}: {status} {text}")


@case
def condor_submit_workers_submits(lab):
    secret = lab.password_file()
    text, status = submit_script(lab, "condor_submit_workers", "--scratch-dir", lab.dir, "-P", secret, "-M", "it's", "-r", "Memory > 3",
                                 "--class-ad", "+A = 1", "--memory", "700", "4")
    expect(status == 0, f"{status} {text}")
    text = next(lab.dir.glob("*-workers/condor_submit_file")).read_text()
    for part in ("--cores $$([TARGET.Cpus]) ", "'-M' 'it''s' '-P' 'pwfile'", "transfer_input_files = work_queue_worker,pwfile\n", "+A = 1\n",
                 "requirements = Memory > 3\n", "request_memory = 700\n", "request_disk = 1048576\n", "queue 4\n"):
        expect(part in text, f"{part!r} is missing in\n{text}")
    text, status = submit_script(lab, "condor_submit_workers", "localhost", "9123", "1")
    expect(status == 1 and "localhost" in text, f"{status} {text}")


if __name__ == "__main__":
    sys.exit(harness.main(CASES))
