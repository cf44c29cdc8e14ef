"""Our catalog and small programs with Debian's, both ways. usage: catalog_interop.py --bin DIR CASE   or   --list"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness
from harness import expect

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def send(address, record, port_step=1):
    """One TCP update."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port) + port_step), timeout=20) as connection:
        connection.sendall(record if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False).encode())


def datagram(address, payload):
    host, port = address.split(":")
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, (host, int(port)))


def manager_record(project, port, **more):
    interfaces = [{"interface": "lo", "family": "AF_INET", "address": "127.0.0.1", "host": "127.0.0.1"}]
    record = {"type": "wq_master", "project": project, "port": port, "protocol": 11, "protocols": [9, 11], "owner": "somebody",
              "version": "1", "starttime": 1, "network_interfaces": interfaces, "tasks_waiting": 3, "tasks_running": 1,
              "tasks_complete": 7, "workers": 0, "tasks_on_workers": 1, "tasks_left": 0, "capacity_tasks": 10, "ssl": False}
    return {**record, **more}


def capture(command, **env):
    """(status, stdout, stderr) as bytes."""
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=120, env={**os.environ, **env})
    return done.returncode, done.stdout, done.stderr


def query(lab, age, address, where=None):
    """Records as Python objects."""
    command = [lab.programs.find(age, "catalog_query"), "-c", address, "-t", "20"] + (["--where", where] if where else [])
    status, out, err = capture(command)
    expect(status == 0, f"catalog_query ({age}) ended with {status}: {err.decode()}")
    return [record for record in json.loads(out) if record.get("type") != "catalog"]


def wait_for_records(lab, address, count, age="new"):
    lab.wait_until(lambda: len(query(lab, age, address)) >= count, f"{count} records")


@case
def old_tools_against_new_catalog(lab):
    address = lab.catalog("new")
    send(address, manager_record("alpha", 1001))
    send(address, manager_record("josé", 1002))
    send(address, {"type": "other", "port": 5})
    wait_for_records(lab, address, 3, "old")
    records = query(lab, "old", address, 'type=="wq_master"')
    # (The old tool prints other letters as escapes of its own; that it reads the reply is what counts.)
    expect(len(records) == 2 and records[0]["project"] == "alpha", f"filtered: {records}")
    expect(len(query(lab, "old", address, 'port==1001 or (port==1002 and project=="nobody")')) == 1, "lost parentheses")
    status, out, _ = capture([lab.programs.find("old", "work_queue_status"), "-C", address], COLUMNS="80")
    expect(status == 0 and b"alpha" in out and "josé".encode() in out, f"work_queue_status: {out}")


@case
def old_worker_finds_manager_through_new_catalog(lab):
    """The older worker crashes on interface entries without `host`; ours carry both names."""
    address = lab.catalog("new")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        send(address, manager_record("found-me", listener.getsockname()[1]))
        send(address, manager_record("found-me-not", 1))
        wait_for_records(lab, address, 2)
        worker = lab.worker("old", "found-me", catalog=address)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            expect(connection.recv(100).startswith(b"workqueue 9"), "the worker greets")
        expect(worker.running(), "the worker lives")


@case
def old_factory_through_new_catalog(lab):
    address = lab.catalog("new")
    send(address, manager_record("fac-demo", 1))
    wait_for_records(lab, address, 1)
    command = [lab.programs.find("old", "work_queue_factory"), "-T", "local", "-M", "fac-demo", "--catalog", address, "-w", "0", "-W", "1",
               "-S", lab.dir / "scratch", "-t", "5"]
    factory = lab.start("factory-old", command)
    lab.wait_until(lambda: "fac-demo" in factory.text(), "the factory prints its manager", needs=[factory])
    lab.wait_until(lambda: [r for r in query(lab, "new", address) if r["type"] == "wq_factory"], "the factory's own record")
    lab.stop(factory)


@case
def new_tools_against_old_catalog(lab):
    address = lab.catalog("old")
    record = lab.write("record.json", json.dumps(manager_record("beta", 1003, color="red/green?")))
    lab.run("update", [lab.programs.find("new", "catalog_update"), "-c", address, "-f", record])
    wait_for_records(lab, address, 1)
    found = [r for r in query(lab, "new", address) if r.get("project") == "beta"]
    expect(len(found) == 1 and found[0]["color"] == "red/green?", f"records: {found}")
    # Its base64 holds a '/', which old servers take for the end of the path.
    expect(len(query(lab, "new", address, 'like("red.?green.?",color)')) == 1, "a filter old clients cannot send")
    expect(len(query(lab, "new", address, 'nosuch==3 or project=="beta"')) == 1, "an undefined name on the left")
    status, out, _ = capture([lab.programs.find("new", "work_queue_status"), "-C", address, "-M", "be.a"], COLUMNS="80")
    expect(status == 0 and b"beta" in out, f"work_queue_status: {out}")
    lab.run("update-udp", [lab.programs.find("new", "catalog_update"), "-c", address, "-f", record], env={"CATALOG_UPDATE_PROTOCOL": "udp"})


TASKS = [{"taskid": 3, "state": "WAITING", "priority": "3", "command": "sleep 30 && echo a very long command line that goes on",
          "category": "c", "cores": 2, "memory": 2000, "disk": 500, "gpus": -1},
         {"taskid": 2, "state": "RUNNING", "priority": "1.5", "host": "node01.a.long.domain.example.org", "command": "sleep 30",
          "cores": 1.5, "memory": 300, "disk": 500, "gpus": 0}]
WORKERS = [{"hostname": "node01.cluster.example.org", "address_port": "127.0.0.1:43418", "total_tasks_complete": 0,
            "total_tasks_running": 1, "cores_inuse": 1, "cores_total": 1, "memory_inuse": 300, "memory_total": 123456789,
            "disk_inuse": 500, "disk_total": 500, "gpus_inuse": 0, "gpus_total": 0}, {"hostname": "n"}]
CATEGORIES = [{"category": "small", "tasks_on_workers": 1, "tasks_waiting": 1, "workers_able": 1, "max_cores": "na", "max_memory": "na",
               "max_disk": "na"},
              {"category": "a category with a long name", "tasks_on_workers": 0, "tasks_waiting": 12345678901, "workers_able": 0,
               "max_cores": "2.000", "max_memory": "~2000", "max_disk": ">100"}]
QUEUE = [manager_record("demo with a long name indeed", 19401, tasks_complete=123456789)]


def serve_status(replies):
    """A manager that only answers status lines; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                asked = lines.readline().decode().strip()
                connection.sendall(json.dumps(replies.get(asked, []), separators=(",", ":")).encode())

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


@case
def status_tables_byte_for_byte(lab):
    port = serve_status({"queue_status": QUEUE, "task_status": TASKS, "worker_status": WORKERS, "wable_status": CATEGORIES})
    address = lab.catalog("new")
    send(address, manager_record("top", 1001))
    send(address, manager_record("foreman", 1002, my_manager="127.0.0.1:1001"))
    send(address, manager_record("below", 1003, my_manager="127.0.0.1:1002"))
    send(address, manager_record("other", 1004, tasks_waiting=44, my_manager="127.0.0.1:-1"))
    wait_for_records(lab, address, 4)
    old, new = (lab.programs.find(age, "work_queue_status") for age in ("old", "new"))
    direct = [[mode, "127.0.0.1", port] for mode in ("-Q", "-T", "-W", "-A")] + [["-l", mode, "127.0.0.1", port] for mode in ("-Q", "-T")]
    listed = [["-C", address], ["-C", address, "--capacity"], ["-C", address, "-l"], ["-C", address, "--where", "tasks_waiting > 3"],
              ["-C", address, "--where", "nosuch == 1"], ["-C", address, "-M", "t.*"]]
    for columns in ("60", "80", "132", "40", "5"):
        for arguments in direct + listed:
            before, after = (capture([tool, *arguments], COLUMNS=columns)[1] for tool in (old, new))
            expect(before == after, f"COLUMNS={columns} {arguments}\nold:\n{before.decode()}\nnew:\n{after.decode()}")


@case
def catalog_query_byte_for_byte(lab):
    address = lab.catalog("new")
    send(address, manager_record("one", 1, empty=[], nothing={}, deep={"a": [1, [2, {"b": None}]], "t": True}, x=1.25, s='q"\\\n'))
    send(address, {"type": "two", "port": 2})
    wait_for_records(lab, address, 2)
    lab.wait_until(lambda: b'"catalog"' in capture([lab.programs.find("new", "catalog_query"), "-c", address])[1], "its own record")
    for where in (None, "port==2", "port==9"):
        arguments = ["-c", address] + (["--where", where] if where else [])
        before, after = (capture([lab.programs.find(age, "catalog_query"), *arguments])[1] for age in ("old", "new"))
        expect(before == after, f"{where}\nold:\n{before.decode()}\nnew:\n{after.decode()}")


@case
def hostile_input_stops_nobody(lab):
    address = lab.catalog("new")
    host, port = address.split(":")
    idle = [socket.create_connection((host, int(port) + 1)) for _ in range(200)]
    for payload in (b'{"x":"\x80\xff"}', b"\x1a" + os.urandom(500), b"{", os.urandom(1000), b"\x00", b'{"a\\u0000b":1,"port":9}',
                    b"k\x00y value\nport 8"):
        datagram(address, payload)
    try:
        send(address, b"{" + b" " * (2 << 20))
    except OSError:
        pass  # it hangs up in the middle
    send(address, {"port": 7, "x": "a" * 70000})
    send(address, manager_record("spoof", 1001, address="9.9.9.9", lastheardfrom=1))
    wait_for_records(lab, address, 2, "old")
    begin = time.monotonic()
    records = query(lab, "old", address)
    expect(time.monotonic() - begin < 20, "the query was delayed")
    expect(all(record["address"] == "127.0.0.1" and record["lastheardfrom"] > 1 for record in records), f"spoofed: {records}")
    for connection in idle:
        connection.close()


@case
def dead_catalog_in_the_list(lab):
    address = lab.catalog("new")
    both = f"127.0.0.1:{harness.free_port()},{address}"
    lab.run("update", [lab.programs.find("old", "catalog_update"), "-c", both, "-f", lab.write("r.json", "{}")])
    wait_for_records(lab, address, 1)
    expect(len(query(lab, "new", both)) == 1, "the second catalog answers")


@case
def server_life(lab):
    server = lab.programs.find("new", "catalog_server")
    port_file, pid_file, seen = (lab.dir / name for name in ("port", "pid", "seen"))
    process = lab.start("server", [server, "-Z", port_file, "-B", pid_file, "-L", seen, "-I", "127.0.0.1", "-H", lab.dir / "history"])
    address = f"127.0.0.1:{lab.read_port(port_file, process)}"
    expect(int(pid_file.read_text()) == process.popen.pid, "pid file")
    send(address, manager_record("kept", 1))
    wait_for_records(lab, address, 1)
    expect("kept" in seen.read_text(), "update log")
    status, _, err = capture([server, "-p", address.split(":")[1], "-I", "127.0.0.1"])
    expect(status == 1 and err.count(b"\n") == 1 and b"already in use" in err, f"second server: {status} {err}")
    begin = time.monotonic()
    expect(lab.stop(process) == 0 and time.monotonic() - begin < 10, "SIGTERM ends it with status 0")
    again = lab.start("server", [server, "-p", address.split(":")[1], "-I", "127.0.0.1", "-H", lab.dir / "history"])
    lab.wait_until(lambda: capture([lab.programs.find("new", "catalog_query"), "-c", address, "-t", "2"])[0] == 0, "it is back", needs=[again])
    expect([record["project"] for record in query(lab, "new", address)] == ["kept"], "the history came back")
    expect(lab.stop(again, signal.SIGINT) == 0, "SIGINT ends it with status 0")
    for wrong in (["-l", "soon"], ["-p", "0"], ["--nonsense"], ["-I", "not-an-address"]):
        status, _, err = capture([server, *wrong])
        expect(status == 1 and err.count(b"\n") == 1, f"{wrong}: {status} {err}")


@case
def status_with_password(lab):
    if "new" not in str(lab.programs.new_dir) and not (lab.programs.new_dir / "work_queue_manager").exists():
        raise harness.Skip("work_queue_manager is not built")
    secret = lab.password_file()
    go = lab.dir / "go"
    tasks = lab.write("tasks.jsonl", json.dumps({"command": f"until [ -e {go} ]; do sleep 0.1; done"}) + "\n")
    port_file = lab.dir / "port"
    manager = lab.start("manager", [lab.programs.find("new", "work_queue_manager"), "run", tasks, "--port", "0", "--port-file", port_file,
                                    "-P", secret])
    port = lab.read_port(port_file, manager)
    tool = lab.programs.find("new", "work_queue_status")
    status, out, err = capture([tool, "-P", secret, "-T", "127.0.0.1", port], COLUMNS="80")
    expect(status == 0 and out.count(b"\n") == 2 and b"WAITING" in out, f"with password: {status} {out} {err}")
    status, _, err = capture([tool, "-T", "127.0.0.1", port])
    expect(status == 1 and b"-P FILE" in err, f"without password: {status} {err}")
    status, _, err = capture([tool, "-P", lab.write("wrong", "wrong\n"), "-T", "127.0.0.1", port])
    expect(status == 1 and b"password" in err, f"wrong password: {status} {err}")


if __name__ == "__main__":
    sys.exit(harness.main(CASES))
