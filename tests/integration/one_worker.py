"""A worker that was started for one scripted manager, and their connection."""
import os
import socket
import subprocess
import tempfile

PATIENCE = 120


class OneWorker:
    """Starts a work_queue_worker (`command`, then `options`) and takes its connection; `with` ends it in order."""

    def __init__(self, command, options, prefix, environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix=prefix)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE)
            address = ("127.0.0.1", str(listener.getsockname()[1]))
            self.process = subprocess.Popen([*command, "-s", self.folder.name, *options, *address],
                                            stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
            self.connection, _ = listener.accept()
        self.connection.settimeout(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send("exit\n")
        except OSError:
            pass
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.connection.close()
            self.folder.cleanup()
