#!/usr/bin/env python3
"""Draws the picture in the README: a run of `scenarios/units.toml` in a terminal.

    python3 docs/picture/draw.py [RUNNER]

RUNNER is the program to run; without it, the release build is made and used. The first run builds and compiles the
plugins, the second one is drawn. Needs nothing but Python's standard library. `tests/printed.rs` compares the words in
the picture with what the program prints.
"""

import html
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_name("run.svg")
SCENARIO = "scenarios/units.toml"
TITLE = "A run of 205 trials in a terminal: one test failed, and one request was denied."

COLUMNS = 88
CHARACTER = 8.4  # width in pixels, at a font size of 14
LINE = 20
MARGIN = 20
BAR = 36  # height of the window's bar

STYLE = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #24292f; }
.window { fill: #f6f8fa; stroke: #d0d7de; }
.button { fill: #d0d7de; }
.bold { font-weight: bold; }
.dim { fill: #656d76; }
.red { fill: #b3261e; }
.green { fill: #1a7f37; }
.yellow { fill: #8a5a00; }
.cyan { fill: #0b6b82; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .window { fill: #161b22; stroke: #30363d; }
  .button { fill: #30363d; }
  .dim { fill: #9198a1; }
  .red { fill: #ff8b82; }
  .green { fill: #5fd37a; }
  .yellow { fill: #e3b341; }
  .cyan { fill: #6cc8e0; }
}
"""

# What the parameters of the sequence that sets colours stand for: the property, and its value.
COLOURS = {
    "0": (None, None),
    "1": ("weight", "bold"),
    "2": ("weight", "dim"),
    "22": ("weight", None),
    "31": ("colour", "red"),
    "32": ("colour", "green"),
    "33": ("colour", "yellow"),
    "36": ("colour", "cyan"),
    "39": ("colour", None),
}


class Terminal:
    """The lines of a terminal, as far as the program uses one."""

    SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")

    def __init__(self):
        self.lines = [[]]
        self.row = self.column = 0
        self.style = {}

    def show(self, text):
        while text:
            sequence = self.SEQUENCE.match(text)
            if sequence:
                self.control(*sequence.groups())
                text = text[sequence.end() :]
            else:
                self.put(text[0])
                text = text[1:]

    def put(self, character):
        if character == "\n":
            self.move(self.row + 1)
        elif character == "\r":
            self.column = 0
        else:
            if self.column == COLUMNS:
                self.move(self.row + 1)
                self.column = 0
            line = self.lines[self.row]
            line.extend([(" ", ())] * (self.column + 1 - len(line)))
            line[self.column] = (character, tuple(filter(None, self.style.values())))
            self.column += 1

    def move(self, row):
        self.row = max(row, 0)
        self.lines.extend([] for _ in range(self.row + 1 - len(self.lines)))

    def control(self, parameters, command):
        if command == "m":
            for parameter in (parameters or "0").split(";"):
                name, value = COLOURS[parameter]
                if name is None:
                    self.style = {}
                else:
                    self.style[name] = value
        elif command == "A":
            self.move(self.row - int(parameters or 1))
        elif command == "B":
            self.move(self.row + int(parameters or 1))
        elif command == "K":
            kept = 0 if parameters == "2" else self.column
            del self.lines[self.row][kept:]
        elif command not in "hl":
            raise ValueError(f"the program sent an unknown sequence: {parameters}{command}")


def run_on_terminal(command, folder):
    """Runs a command on a terminal, and returns what it has shown."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    environment.pop("NO_COLOR", None)
    environment |= {"TERM": "xterm", "COLORTERM": ""}
    streams = {"stdin": subprocess.DEVNULL, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(command, cwd=folder, env=environment, **streams):
        os.close(theirs)
        pieces = []
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the end of a terminal
                piece = b""
            if not piece:
                break
            pieces.append(piece)
    os.close(ours)
    return b"".join(pieces).decode()


def segments(line):
    """The pieces of a line that have one style: where each begins, its text and its classes.

    A piece has no more than one space in a row, because viewers of SVG make one of several.
    """
    begin = 0
    for end in range(1, len(line) + 1):
        if end == len(line) or line[end][1] != line[begin][1]:
            text = "".join(character for character, _ in line[begin:end])
            for piece in re.finditer(r"\S+( \S+)*", text):
                yield begin + piece.start(), piece.group(), line[begin][1]
            begin = end


def spans(line):
    """The pieces of a line, each at its column."""
    column = 0
    for begin, text, classes in segments(line):
        # What separates pieces is there for whoever copies the text.
        yield " " if begin > column else ""
        style = f' class="{" ".join(classes)}"' if classes else ""
        # The length keeps columns together, whichever font there is.
        yield (
            f'<tspan x="{MARGIN + CHARACTER * begin:.1f}" textLength="{CHARACTER * len(text):.1f}"{style}>'
            f"{html.escape(text, quote=False)}</tspan>"
        )
        column = begin + len(text)


def draw(lines):
    width = COLUMNS * CHARACTER + 2 * MARGIN
    height = BAR + len(lines) * LINE + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}"'
        f' height="{height}" role="img">',
        f"<title>{html.escape(TITLE)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="window" x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="8"/>',
    ]
    parts += [f'<circle class="button" cx="{MARGIN + 20 * index}" cy="18" r="6"/>' for index in range(3)]
    for row, line in enumerate(lines):
        y = BAR + LINE * row + 15
        parts.append(f'<text y="{y}">{"".join(spans(line))}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main():
    if len(sys.argv) > 1:
        runner = Path(sys.argv[1]).resolve()
    else:
        subprocess.run(["cargo", "build", "--release"], cwd=REPOSITORY, check=True)
        runner = REPOSITORY / "target/release/runner"
    with tempfile.TemporaryDirectory() as folder:
        # So that the paths in the picture are short.
        for name in ("plugins", "schemas", "scenarios"):
            os.symlink(REPOSITORY / name, Path(folder, name))
        warm = [runner, "exec", "--build", REPOSITORY / SCENARIO, "--results", Path(folder, "first")]
        if subprocess.run(warm, check=False).returncode != 1:
            sys.exit("the first run did not end as it should")
        terminal = Terminal()
        terminal.show(f"\x1b[2m$\x1b[0m \x1b[1mrunner exec {SCENARIO}\x1b[0m\r\n")
        terminal.show(run_on_terminal([runner, "exec", SCENARIO], folder))
    lines = terminal.lines
    while lines and not "".join(character for character, _ in lines[-1]).strip():
        lines.pop()
    PICTURE.write_text(draw(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
