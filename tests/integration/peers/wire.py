"""What the tests of peer transfers say on the wire: frames of docs/extensions.md, written by hand, and pieces of a
manager, of a worker and of a source that do as they are told."""
import hashlib
import pathlib
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from one_worker import PATIENCE, OneWorker  # noqa: E402

SERVE, FETCH, DONE, LISTENING, REQUEST, DATA = 9, 10, 11, 12, 13, 14


# --- protobuf, as much as is needed ---

def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def blob(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def parse(body):
    """{field: [values]}; numbers as int, everything else as bytes."""
    fields, at = {}, 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(body):
        key = take()
        if key & 7 == 0:
            value = take()
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            size = take()
            value, at = body[at:at + size], at + size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def frame(kind, body):
    return b"wqx %d %d\n" % (kind, len(body)) + body


def unpack_numbers(values):
    """A repeated number, packed or not."""
    out = []
    for value in values:
        out += [value] if isinstance(value, int) else list(value)
    return out


class Stream:
    """Lines and bodies of one connection."""

    def __init__(self, connection):
        self.connection = connection
        connection.settimeout(PATIENCE)
        self.file = connection.makefile("rb")

    def line(self):
        text = self.file.readline()
        if not text:
            raise EOFError
        return text.decode(errors="replace").rstrip("\n")

    def body(self, size):
        data = self.file.read(size)
        if len(data) != size:
            raise EOFError
        return data

    def frame(self, kind):
        """Of that kind; lines before it are skipped."""
        while True:
            words = self.line().split()
            if words[:1] == ["wqx"]:
                body = self.body(int(words[2]))
                if int(words[1]) == kind:
                    return parse(body)

    def send(self, data):
        self.connection.sendall(data.encode() if isinstance(data, str) else data)

    def close(self):
        self.file.close()
        self.connection.close()


# --- a manager for one real worker ---

class Manager(OneWorker):
    def __init__(self, worker, *options):
        super().__init__([worker], ["--cores", "4", "--memory", "4000", "--disk", "4000", *options], "taskmill-peers-")
        self.stream = Stream(self.connection)
        while not self.stream.line().startswith("info tasks_running"):
            pass
        self.send("tlq wqx:1,peer\n")
        self.port = self.stream.frame(LISTENING)[2][0]

    def send(self, data):
        self.stream.send(data)

    def put(self, name, data):
        self.send(b"put %s %d 0644\n" % (name.encode(), len(data)) + data)

    def serve(self, name, content, token, expires_us=60_000_000, fetches=5):
        self.send(frame(SERVE, blob(1, digest(content)) + blob(2, name) + blob(3, token) + number(4, expires_us) +
                        number(5, fetches)))

    def expect(self, name):
        self.send(frame(FETCH, blob(2, name)))

    def fetch(self, order, name, content, sources, deadline_us=100_000_000):
        body = blob(1, digest(content)) + blob(2, name) + number(3, len(content)) + number(4, 0o644)
        for port, token in sources:
            body += blob(5, blob(1, "127.0.0.1") + number(2, port) + blob(3, token))
        self.send(frame(FETCH, body + number(6, deadline_us) + number(7, order)))

    def done(self):
        fields = self.stream.frame(DONE)
        return {"order": fields[8][0], "ok": fields.get(2, [0])[0] == 1, "error": fields.get(3, [b""])[0].decode(),
                "source": fields.get(4, [0])[0], "blamed": unpack_numbers(fields.get(7, []))}

    def task(self, number_of_task, command, *inputs):
        self.send(f"task {number_of_task}\ncmd {len(command)}\n{command}\ncores 1\nmemory 10\ndisk 10\n" +
                  "".join(f"infile {name} {remote} 1\n" for name, remote in inputs) + "end\n")

    def output(self):
        """Standard output of the next finished task."""
        while self.stream.line() != "available_results":
            pass
        self.send("send_results -1\n")
        while True:
            words = self.stream.line().split()
            if words[:1] == ["result"]:
                text = self.stream.body(int(words[3])).decode()
                number_of_task = int(words[5])
            if words == ["end"]:
                self.send(f"kill {number_of_task}\n")
                return text


def digest(content):
    return hashlib.sha256(content).digest()


def ask(port, content, token, offset=0):
    """What a worker answers to somebody with this token: (bytes, error)."""
    stream = Stream(socket.create_connection(("127.0.0.1", port)))
    try:
        stream.send(frame(REQUEST, blob(1, digest(content)) + blob(2, token) + (number(3, offset) if offset else b"")))
        got = b""
        while True:
            fields = stream.frame(DATA)
            if 5 in fields:
                return got, fields[5][0].decode()
            got += fields.get(2, [b""])[0]
            if fields.get(4, [0])[0]:
                return got, ""
    finally:
        stream.close()


# --- a source that does as it is told ---

class Source:
    """`behave(stream, offset)` answers each request; what was asked is kept in `requests`."""

    def __init__(self, behave):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests, self.behave, self.open = [], behave, []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        stream = Stream(connection)
        self.open.append(stream)
        try:
            fields = stream.frame(REQUEST)
            self.requests.append(fields)
            self.behave(stream, fields.get(3, [0])[0])
        except (EOFError, OSError, ValueError):
            pass

    def close(self):
        self.listener.close()
        for stream in self.open:
            try:
                stream.close()
            except OSError:
                pass


def data(offset, content, last):
    return frame(DATA, number(1, offset) + (number(4, 1) if last else b"") + blob(2, content))


def honest(content, piece=1 << 20):
    def behave(stream, offset):
        while True:
            part = content[offset:offset + piece]
            stream.send(data(offset, part, offset + len(part) == len(content)))
            offset += len(part)
            if offset >= len(content):
                return
    return behave


def breaks_off_after(content, count):
    def behave(stream, offset):
        stream.send(data(offset, content[offset:count], False))
        # Half of another piece: its head promises more than comes.
        stream.send(data(count, content[count:], True)[:100])
        stream.close()
    return behave


def silent(stream, _):
    time.sleep(PATIENCE)


# --- a worker that registers with a real manager, takes its input and then does as it is told ---

class FalseWorker:
    """Gets one input, never ends its task, and serves the input as `behave` says."""

    def __init__(self, manager_port, make_behaviour):
        self.stream = Stream(socket.create_connection(("127.0.0.1", manager_port)))
        self.stream.send("workqueue 11 false Linux x86_64 8.0.0\ninfo worker-id worker-false\n"
                         "info wqx-caps 1,peer\n"
                         "resource workers 1 1 1\nresource disk 9000 9000 9000\nresource memory 9000 9000 9000\n"
                         "resource gpus 0 0 0\nresource cores 1 1 1\nresource tag 0\n"
                         "info end_of_resource_update 0\ninfo worker-end-time 0\ninfo tasks_running 0\n")
        self.content, self.have_task, self.served = b"", threading.Event(), []
        self.source = Source(lambda stream, offset: make_behaviour(self)(stream, offset))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while True:
                words = self.stream.line().split()
                if words[:1] == ["tlq"]:
                    self.stream.send(frame(LISTENING, number(2, self.source.port)))
                elif words[:1] == ["put"]:
                    self.content = self.stream.body(int(words[2]))
                elif words[:1] == ["cmd"]:
                    self.stream.body(int(words[1]))
                elif words[:1] == ["task"]:
                    self.have_task.set()
                elif words[:1] == ["check"]:
                    self.stream.send("alive\n")
                elif words[:1] == ["wqx"]:
                    self.served.append(self.stream.body(int(words[2])))
        except (EOFError, OSError, ValueError):
            pass

    def vanish(self):
        self.source.close()
        self.stream.connection.shutdown(socket.SHUT_RDWR)
