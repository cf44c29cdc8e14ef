"""The Work Queue wire in a few lines of Python, for tests that must misbehave, or see bytes."""
import hashlib
import socket
import ssl

AUTH = b"auth password sha1\n"


class Line:
    """A socket read line by line; every wait ends."""

    def __init__(self, connection, timeout=20):
        self.socket = connection
        self.socket.settimeout(timeout)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        """The next line without its LF; None at the end of the stream."""
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                data = b""
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def line_within(self, seconds):
        """Like line(), but None also when nothing came in time."""
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            return self.line()
        except TimeoutError:
            return None
        finally:
            self.socket.settimeout(before)

    def body(self, length):
        while len(self.buffer) < length:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(port, tls=None, timeout=20):
    plain = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    return Line(tls.wrap_socket(plain, server_hostname="127.0.0.1") if tls else plain, timeout)


def answer(password, challenge):
    return hashlib.sha1(password + b" " + challenge).hexdigest().encode()


def authenticate(line, password):
    """The honest exchange, from either side. True when both sides said ok."""
    line.send(AUTH)
    if line.line() != AUTH.strip():
        return False
    mine = b"tcmfqxkzjdhwpnlrvybsgaoeiutcmfqxkzjdhwpnlrvybsgaoeiutcmfqxkzjdh"
    line.send(mine + b"\n")
    theirs = line.line()
    if theirs is None:
        return False
    line.send(answer(password, theirs) + b"\n")
    response = line.line()
    good = response == answer(password, mine)
    line.send(b"ok\n" if good else b"failure\n")
    return good and line.line() == b"ok"


def greet(line, version=11, cores=1):
    """Registers as a worker with `cores` cores."""
    line.send(
        f"workqueue {version} teststand Linux x86_64 8.0.0\ninfo worker-id worker-0\nalive\nresource workers 1 1 1\n"
        f"resource disk 2000 2000 2000\nresource memory 2000 2000 2000\nresource gpus 0 0 0\n"
        f"resource cores {cores} {cores} {cores}\nresource tag 0\ninfo end_of_resource_update 0\n"
        f"info tasks_running 0\ninfo worker-end-time 0\n"
    )


def read_task(line):
    """Reads manager messages up to and including one task block; returns {verb: value}, bodies included."""
    task = None
    while True:
        text = line.line()
        if text is None:
            raise EOFError("the manager closed the connection")
        verb, _, rest = text.decode().partition(" ")
        if verb == "put":
            line.body(int(rest.split()[1]))
        elif verb == "task":
            task = {"id": int(rest)}
        elif task is not None and verb == "cmd":
            task["cmd"] = line.body(int(rest)).decode()
        elif task is not None and verb == "env":
            task.setdefault("env", []).append(line.body(int(rest)).decode())
            line.line()
        elif task is not None and verb == "end":
            return task


def return_result(line, task_id, output=b"", status=0, code=0):
    """Announces one result and hands it over when asked."""
    line.send(b"available_results\n")
    while True:
        text = line.line()
        if text is None:
            raise EOFError("the manager closed the connection")
        if text.startswith(b"send_results"):
            line.send(f"result {status} {code} {len(output)} 1000 {task_id}\n".encode() + output + b"info tasks_running 0\nend\n")
            return
