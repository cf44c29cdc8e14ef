"""One workload in neutral form, run through the old and the new manager alike, and what must come out of it.

A Task says what goes in and what must come back; `to_script` writes it for Debian's library (mini_manager.c),
`to_json` for `work_queue_manager run`. Tasks that an old program is known to get wrong are left out for it, each
with the section of the wire specification that says so.
"""
import dataclasses
import json
import pathlib
import urllib.parse

CACHE, WATCH, FAILURE_ONLY, SUCCESS_ONLY = 1, 16, 32, 64
SUCCESS, INPUT_MISSING, OUTPUT_MISSING = 0, 1, 2


@dataclasses.dataclass
class Task:
    tag: str
    command: str
    inputs: list = dataclasses.field(default_factory=list)  # (kind, source, remote, flags, *range)
    outputs: list = dataclasses.field(default_factory=list)  # (local, remote, flags)
    env: dict = dataclasses.field(default_factory=dict)
    category: str = "default"
    cores: int = 1
    # What must come back:
    result: int = SUCCESS
    exit: int | None = 0  # None: any
    output: str | None = None  # exact standard output; None: any
    files: dict = dataclasses.field(default_factory=dict)  # local path → bytes, or None: must not exist


def word(text):
    return urllib.parse.quote(str(text), safe=" /!\"#$&'()*+,-.:;<=>?@[\\]^_`{|}~")


def to_script(task):
    lines = [("task", task.tag, task.command)]
    for kind, source, remote, flags, *range_ in task.inputs:
        lines.append((kind, source, remote, flags, *range_))
    lines += [("output", *output) for output in task.outputs]
    lines += [("env", name, value) for name, value in task.env.items()]
    lines += [("category", task.category), ("cores", task.cores), ("memory", 50), ("disk", 50), ("submit",)]
    return "".join("\t".join(map(word, line)) + "\n" for line in lines)


def input_to_json(kind, source, remote, flags, *range_):
    entry = {"name": str(remote), "cache": bool(flags & CACHE)}
    if kind == "directory" and not source:
        return {"empty_directory": str(remote)}
    entry[kind] = str(source)
    if range_:
        entry["first"], entry["last"] = range_
    return entry


def output_to_json(local, remote, flags):
    entry = {"file": str(local), "name": str(remote), "cache": bool(flags & CACHE)}
    if flags & WATCH:
        entry["watch"] = True
    if flags & (FAILURE_ONLY | SUCCESS_ONLY):
        entry["when"] = "failure" if flags & FAILURE_ONLY else "success"
    return entry


def to_json(task):
    record = {"command": task.command, "tag": task.tag, "category": task.category, "cores": task.cores}
    record |= {"memory": 50, "disk": 50, "env": task.env}
    record["inputs"] = [input_to_json(*entry) for entry in task.inputs]
    record["outputs"] = [output_to_json(*entry) for entry in task.outputs]
    return json.dumps(record) + "\n"


class Workload:
    """Builds the tasks; `old_manager` and `old_worker` leave out what those cannot do."""

    def __init__(self, lab, url_base, old_manager, old_worker):
        self.lab, self.url_base = lab, url_base
        self.old_manager, self.old_worker = old_manager, old_worker
        self.out = lab.dir / "out"
        self.out.mkdir()
        self.tasks = []

    def add(self, tag, command, **more):
        self.tasks.append(Task(tag, command, **more))

    def build(self):
        self.plain(70)
        self.files(70)
        self.directories(24)
        self.buffers_and_pieces(24)
        self.failures()
        self.odd_names()
        self.environment()
        self.outputs()
        self.remote_sources()
        return self.tasks

    def plain(self, count):
        for i in range(count):
            self.add(f"plain-{i}", f"echo task {i}", output=f"task {i}\n")

    def files(self, count):
        shared = self.lab.write("in/shared.txt", "shared\n")
        script = self.lab.write("in/join.sh", "#!/bin/sh\ncat shared.txt own.txt\n", 0o755)
        for i in range(count):
            own = self.lab.write(f"in/own-{i}.txt", f"own {i}\n" * (i % 7))
            self.add(
                f"files-{i}",
                "./join.sh | tee joined.txt | wc -l",
                inputs=[("file", shared, "shared.txt", CACHE), ("file", script, "join.sh", CACHE), ("file", own, "own.txt", 0)],
                outputs=[(self.out / f"joined-{i}.txt", "joined.txt", 0)],
                output=f"{1 + i % 7}\n",
                files={self.out / f"joined-{i}.txt": ("shared\n" + f"own {i}\n" * (i % 7)).encode()},
            )

    def directories(self, count):
        root = self.lab.dir / "in/tree"
        for path in ("a.txt", "sub/b.txt", "sub/deeper/c d.txt", "empty-file"):
            self.lab.write(f"in/tree/{path}", f"{path}\n" if "empty" not in path else "")
        self.lab.write("in/tree/tool", "#!/bin/sh\necho tool ran\n", 0o755)
        (root / "void").mkdir()
        with_links = not (self.old_manager and self.old_worker)  # 7.3: random bytes behind link targets
        if with_links:
            (root / "sub/link").symlink_to("b.txt")
        listing = "cd tree && find . | LC_ALL=C sort && cat a.txt sub/b.txt 'sub/deeper/c d.txt' && ./tool"
        listing += " && cat sub/link" if with_links else ""
        names = sorted(["."] + ["./" + str(path.relative_to(root)) for path in root.rglob("*")])
        expected = "\n".join(names) + "\na.txt\nsub/b.txt\nsub/deeper/c d.txt\ntool ran\n" + ("sub/b.txt\n" if with_links else "")
        for i in range(count):
            made = self.out / f"made-{i}"
            self.add(
                f"directory-{i}",
                f"{listing}; cd ..; mkdir -p made/x/y; echo {i} > made/top; echo deep > made/x/y/deep; : > made/x/void",
                inputs=[("directory", root, "tree", CACHE if i % 2 else 0), ("directory", "", "fresh", 0)],
                outputs=[(made, "made", 0)],
                output=expected,
                files={made / "top": f"{i}\n".encode(), made / "x/y/deep": b"deep\n", made / "x/void": b""},
            )

    def buffers_and_pieces(self, count):
        numbers = self.lab.write("in/numbers.bin", bytes(range(256)) * 64)
        for i in range(count):
            self.add(
                f"buffer-{i}",
                "cat text; od -An -tu1 part | head -n 1 | tr -s ' '; wc -c < part",
                # Cached buffers and pieces of one file get one name in the old library (7.2): uncached here.
                inputs=[("buffer", f"line {i}\n%tab\there\n", "text", 0), ("piece", numbers, "part", 0, i, i + 9)],
                output=f"line {i}\n%tab\there\n " + " ".join(str(b) for b in range(i, i + 10)) + "\n10\n",
            )

    def failures(self):
        missing = self.lab.dir / "in/does-not-exist"
        self.add("fails", "echo before; exit 3", exit=3, output="before\n")
        self.add("not-found", "/no/such/program", exit=127)
        self.add("killed", "kill -9 $$", exit=9, output="")
        self.add("missing-input", "cat gone", inputs=[("file", missing, "gone", 0)], result=INPUT_MISSING, exit=None)
        for i in range(3):
            self.add(
                f"missing-output-{i}",
                "echo present > present",
                outputs=[(self.out / f"absent-{i}", "absent", 0), (self.out / f"present-{i}", "present", 0)],
                result=OUTPUT_MISSING,
                files={self.out / f"present-{i}": b"present\n", self.out / f"absent-{i}": None},
            )

    def odd_names(self):
        source = self.lab.write("in/odd name {1}~'%20.txt", "odd\n")
        self.add(
            "odd-names",
            "cat 'deep/er/with space %41.txt'; cat 'deep/er/with space %41.txt' > 'res dir.txt'; : > void; mkdir n; echo x > n/m",
            inputs=[("file", source, "deep/er/with space %41.txt", CACHE)],
            outputs=[(self.out / "plain-result", "res dir.txt", 0), (self.out / "void", "void", 0), (self.out / "nested", "n/m", 0)],
            output="odd\n",
            files={self.out / "plain-result": b"odd\n", self.out / "void": b"", self.out / "nested": b"x\n"},
        )
        self.add("large-output", "head -c 3000000 /dev/zero | tr '\\0' x", output="x" * 3000000)
        self.add("both-streams", "echo out; echo err >&2", output="out\nerr\n")

    def environment(self):
        self.add(
            "environment",
            # A manager may give more memory and disk than was asked for, never less.
            'echo "$GREETING|$CORES"; test "$MEMORY" -ge 50 -a "$DISK" -ge 50 || echo too little; test -d "$TMPDIR" && echo tmp; test -t 0 || cat; pwd | grep -c /',
            env={"GREETING": "a b = 'c'"},
            output="a b = 'c'|1\ntmp\n1\n",
        )
        self.add("two-cores", "echo $CORES", cores=2, output="2\n")

    def outputs(self):
        for name, command, code in (("good", "true", 0), ("bad", "exit 1", 1)):
            on_failure, on_success = self.out / f"{name}-on-failure", self.out / f"{name}-on-success"
            self.add(
                f"conditional-{name}",
                f"echo f > f; echo s > s; {command}",
                outputs=[(on_failure, "f", FAILURE_ONLY), (on_success, "s", SUCCESS_ONLY)],
                exit=code,
                files={on_failure: b"f\n" if code else None, on_success: None if code else b"s\n"},
            )
        big = self.out / "big"
        self.add(
            "big-output",
            "head -c 20000000 /dev/zero | tr '\\0' y > big",
            outputs=[(big, "big", 0)],
            files={big: b"y" * 20000000},
        )
        watched = self.out / "watched"
        self.add(
            "watched",
            "for i in 1 2 3; do echo $i >> grows; sleep 0.3; done",
            outputs=[(watched, "grows", WATCH)],
            files={watched: b"1\n2\n3\n"},
        )

    def remote_sources(self):
        for i in range(3):
            self.add(
                f"url-{i}",
                "cat page",
                inputs=[("url", f"{self.url_base}/page{i}", "page", CACHE)],
                output=f"page {i}\n",
            )
            self.add(
                f"command-{i}",
                "cat made",
                inputs=[("command", f"echo made {i} > %%", "made", CACHE)],
                output=f"made {i}\n",
            )


def check(tasks, results):
    """results: tag → dict(result, exit, output). Returns the list of what is wrong."""
    wrong = []
    for task in tasks:
        got = results.get(task.tag)
        if got is None:
            wrong.append(f"{task.tag}: never came back")
            continue
        if got["result"] != task.result:
            wrong.append(f"{task.tag}: result {got['result']}, expected {task.result}; output {got['output'][:200]!r}")
        if task.exit is not None and got["exit"] != task.exit:
            wrong.append(f"{task.tag}: exit {got['exit']}, expected {task.exit}; output {got['output'][:200]!r}")
        if task.output is not None and got["output"] != task.output:
            wrong.append(f"{task.tag}: output {got['output'][:200]!r}, expected {task.output[:200]!r}")
        for path, content in task.files.items():
            there = pathlib.Path(path).read_bytes() if pathlib.Path(path).is_file() else None
            if there != content:
                wrong.append(f"{task.tag}: {path}: {(there or b'')[:60] if there is not None else 'absent'}, expected {(content or b'')[:60] if content is not None else 'absent'}")
    wrong += [f"{tag}: nobody asked for it" for tag in results if tag not in {task.tag for task in tasks}]
    return wrong
