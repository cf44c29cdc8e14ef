"""What a person sees: bars below the lines on terminals of any width, plain lines when piped."""
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import unittest

from kit import Analysis, main, program


class Screen:
    """As much of a terminal as the manager uses: lines, cursor up, erase to the end, wrapping on and off."""

    def __init__(self, width):
        self.width, self.lines, self.row, self.column, self.wraps = width, [""], 0, 0, True
        self.cut = 0

    def feed(self, text):
        for part in re.findall(r"\x1b\[\??\d*[A-Za-z]|.", text, re.S):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.move_down()
            elif part.startswith("\x1b["):
                self.control(part[2:])
            else:
                self.put(part)

    def move_down(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def control(self, code):
        if code.endswith("A"):
            self.row = max(0, self.row - int(code[:-1]))
        elif code == "J":
            self.lines[self.row] = self.lines[self.row][:self.column]
            del self.lines[self.row + 1:]
        elif code in ("?7h", "?7l"):
            self.wraps = code == "?7h"
        else:
            raise AssertionError("unknown control sequence " + code)

    def put(self, character):
        if self.column == self.width:
            if not self.wraps:
                self.cut += 1
                return
            self.column = 0
            self.move_down()
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[:self.column] + character + line[self.column + 1:]
        self.column += 1


class Terminal(Analysis):
    def run_on_terminal(self, width, *options):
        self.describe({"chunksize": 1000})
        controller, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        manager = subprocess.Popen([program("work_queue_manager"), "analyze", "analysis.json", "--port", "0",
                                    "--port-file", "port", *options], cwd=self.directory, env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal)
        self.processes.append(manager)
        os.close(terminal)
        self.write("manager.log", "")
        self.wait_until(lambda: os.path.exists(self.path("port")) and self.read("port").strip())
        self.start_worker(self.read("port").strip())
        screen, raw = Screen(width), b""
        while True:
            select.select([controller], [], [], 60)
            try:
                piece = os.read(controller, 65536)
            except OSError:
                break
            if not piece:
                break
            raw += piece
        os.close(controller)
        self.assertEqual(manager.wait(60), 0, raw.decode())
        screen.feed(raw.decode())
        return screen

    def check(self, screen):
        labels = ("Preprocessing", "    Submitted", "    Processed", "  Accumulated")
        bars = [line for line in screen.lines if line.startswith(labels)]
        self.assertEqual(len(bars), 4, "\n".join(screen.lines))
        for bar, label in zip(bars, labels):
            self.assertTrue(bar.startswith((label + " 100%")[:screen.width - 1]), bar)
            self.assertLess(len(bar.rstrip()), screen.width)
        self.assertEqual(screen.cut, 0, "a bar is wider than the terminal")
        self.assertTrue(screen.wraps, "the terminal is left as it was")
        return bars

    def test_the_bars_stay_below_the_lines(self):
        screen = self.run_on_terminal(120, "--verbose")
        bars = self.check(screen)
        self.assertRegex(bars[2], r"^    Processed 100% ━{32} 29468/29468 \[ \d:\d\d:\d\d < 0:00:00 \| .* event/s \]")
        first_bar = screen.lines.index(bars[0])
        finished = [i for i, line in enumerate(screen.lines) if "return code 0 (success)" in line]
        self.assertGreater(len(finished), 30)
        self.assertLess(max(finished), first_bar)

    def test_narrow_terminals(self):
        for width in (60, 40, 20):
            with self.subTest(width=width):
                self.check(self.run_on_terminal(width))
                os.unlink(self.path("port"))

    def test_piped_output_has_plain_lines(self):
        self.describe({"chunksize": 1000}, "sleep 0.3; ./zpeak_hist --analysis {slice} > {output}")
        manager = self.start([program("work_queue_manager"), "analyze", "analysis.json", "--port", "0", "--port-file",
                              "port"], "manager.log")
        self.wait_until(lambda: os.path.exists(self.path("port")) and self.read("port").strip())
        self.start_worker(self.read("port").strip())
        self.finish(manager)
        log = self.read("manager.log")
        self.assertNotIn("\x1b", log)
        lines = re.findall(r"^\d:\d\d:\d\d \d/2 files, \d+/\d+ events \(\d+%\), .*$", log, re.M)
        self.assertGreaterEqual(len(lines), 2, log)


if __name__ == "__main__":
    main()
