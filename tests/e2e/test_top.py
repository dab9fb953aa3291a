# SPDX-License-Identifier: Apache-2.0
"""shunt top on a terminal: what is on the screen, and what its keys do."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pyte

from lab import LabError, wait_for
from lab.cluster import VIP4
from lab.load import HttpLoad
from lab.core import run as run_command

class Terminal:
    """A program on a terminal of its own, and what is on its screen."""

    def __init__(self, command, term="linux", lines=24, columns=140):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave,
                                        stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "TERM": term})
        os.close(slave)
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)

    def text(self):
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                self.stream.feed(os.read(self.master, 65536))
            except OSError:  # the program has ended
                break
        return "\n".join(self.screen.display)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def wait_text(self, pattern):
        """Until the regular expression is found on the screen. Returns the match."""
        try:
            return wait_for(lambda: re.search(pattern, self.text()), 5, pattern)
        except LabError as e:
            raise LabError(f"{e}; the screen is\n{self.text()}") from None

    def is_cooked(self):
        """Does it echo and collect lines, as a shell wants it?"""
        wanted = termios.ECHO | termios.ICANON
        return termios.tcgetattr(self.master)[3] & wanted == wanted

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


def top(w, *args, **options):
    return Terminal([w.cli.program, "top", *w.agent.locations, *args], **options)


def test_top_shows_rates_and_obeys_keys(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 3, "green": 1})
    load = HttpLoad(w.client, VIP4, rate=200).start()
    terminal = top(w, "--interval", "500ms")
    try:
        terminal.wait_text(r"ok  generation 1  1\d\d connections/s  0 rejects/s")
        terminal.wait_text(r"SERVICE +VARIANT +WEIGHT +ASKED +NOW +CONN/S +ACTIVE")
        terminal.wait_text(r"demo +blue +3 +75.0 % +[678]\d\.\d % +1\d\d ")
        terminal.wait_text(r"(?s)2 of 2 variants.* blue .* green .*\d/\d")
        terminal.press("r")
        terminal.wait_text(r"(?s) green .* blue ")
        terminal.press("/gre\n")
        terminal.wait_text(r"filter gre, 1 of 2 variants")
        assert " blue " not in terminal.text()
        terminal.press("h")
        terminal.wait_text(r"sort by another column")
        terminal.press("xp")
        terminal.wait_text(r"paused, filter gre")
        frozen = terminal.text()
        time.sleep(1.2)
        assert terminal.text() == frozen
        terminal.press("q")
        assert terminal.process.wait(5) == 0, terminal.process.stderr.read()
        assert terminal.is_cooked()
    finally:
        terminal.close()
        load.stop()


def test_top_waits_for_an_agent_that_is_gone_and_gives_the_terminal_back(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 3, "green": 1})
    terminal = top(w, "--interval", "200ms")
    try:
        terminal.wait_text(r"default/demo +blue")
        assert not terminal.is_cooked()
        w.agent.stop()
        terminal.wait_text(r"shunt.sock")
        assert "default/demo" in terminal.text(), "the last that was known stays"
        w.agent.start()
        terminal.wait_text(r"2 of 2 variants")
        terminal.process.terminate()
        terminal.process.wait(5)
        assert terminal.is_cooked(), "the terminal is left raw"
    finally:
        terminal.close()


def test_top_fits_a_terminal_that_is_small(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 3, "green": 1})
    terminal = top(w, "--interval", "200ms", lines=4, columns=30)
    try:
        terminal.wait_text(r"default/demo +blue")
        terminal.press("jj")
        terminal.wait_text(r"default/demo +green")
        terminal.press("k")
        terminal.wait_text(r"default/demo +blue")
        assert terminal.process.poll() is None
    finally:
        terminal.close()


def test_top_on_a_terminal_that_nobody_knows_says_so(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    terminal = top(w, term="no-such-terminal")
    try:
        assert terminal.process.wait(5) == 2
        assert "no-such-terminal" in terminal.process.stderr.read()
    finally:
        terminal.close()
    plain = run_command([w.cli.program, "top", *w.agent.locations, "-n", "1", "--interval",
                         "100ms"], env={**os.environ, "TERM": "no-such-terminal"})
    assert "default/demo" in plain.stdout
