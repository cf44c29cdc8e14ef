"""TLS on both our ends. Debian's programs have none, so Python's ssl module stands in for the other end."""
import socket
import ssl
import threading

import wire
import workload
from harness import expect
from managers import MANAGERS, NewManager

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def certificate(lab):
    """A self-signed certificate with a foreign name, as old installations use."""
    key, cert = lab.dir / "key.pem", lab.dir / "cert.pem"
    lab.run("openssl", ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=not-this-host", "-addext", "subjectAltName=DNS:not-this-host", "-keyout", key, "-out", cert])
    return key, cert


def secure_manager(lab, tasks, password=None):
    key, cert = certificate(lab)
    manager = NewManager(lab, password=password, options=["--ssl-key", key, "--ssl-cert", cert])
    manager.start(tasks)
    return manager


def blind_client():
    """Verifies nothing, like the old worker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@case
def tls_native_both_ends(lab):
    tasks = [workload.Task(f"plain-{i}", f"echo {i}", output=f"{i}\n") for i in range(200)]
    password = lab.password_file()
    manager = secure_manager(lab, tasks, password)
    lab.worker("new", manager.port, password=password, options=["--ssl"])
    wrong = workload.check(tasks, manager.finish(expect_status=0))
    expect(not wrong, str(wrong[:10]))


@case
def tls_manager_serves_foreign_client(lab):
    manager = secure_manager(lab, [workload.Task("only", "echo hello")])
    silent = socket.create_connection(("127.0.0.1", manager.port))  # never says a word; nobody may notice
    with wire.connect(manager.port) as plain:  # speaks no TLS; is dropped
        wire.greet(plain)
        expect(plain.line_within(20) is None, "a plain worker was served by a TLS manager")
    with wire.connect(manager.port, tls=blind_client()) as line:
        wire.greet(line)
        task = wire.read_task(line)
        expect(task["cmd"] == "echo hello", f"{task}")
        wire.return_result(line, task["id"], b"hello\n")
        results = manager.finish(expect_status=0)
    silent.close()
    expect(results["only"]["output"] == "hello\n", f"{results}")


@case
def tls_status_over_http(lab):
    manager = secure_manager(lab, [workload.Task("only", "echo hello")])
    with wire.connect(manager.port, tls=blind_client()) as line:
        line.send("GET /queue_status HTTP/1.1\r\nHost: x\r\n\r\n")
        expect(line.line() == b"HTTP/1.1 200 OK", "no HTTP answer inside TLS")


@case
def tls_worker_greets_foreign_manager(lab):
    key, cert = certificate(lab)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []

    def serve():
        connection, _ = listener.accept()
        with wire.Line(context.wrap_socket(connection, server_side=True)) as line:
            while (text := line.line()) is not None and not text.startswith(b"info worker-end-time"):
                seen.append(text)
            line.send("task 1\ncmd 10\necho helloend\n")
            while line.line() != b"available_results":
                pass
            line.send("send_results -1\n")
            while not (text := line.line()).startswith(b"result"):
                pass
            seen.append(line.body(int(text.split()[3])))
            line.send("exit\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    worker = lab.worker("new", listener.getsockname()[1], options=["--ssl"])
    thread.join(60)
    listener.close()
    expect(seen and seen[0].startswith(b"workqueue "), f"the worker said {seen[:3]}")
    expect(seen[-1] == b"hello\n", f"the task returned {seen[-1]!r}")
    lab.wait(worker, 30)
