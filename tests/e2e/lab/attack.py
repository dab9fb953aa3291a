# SPDX-License-Identifier: Apache-2.0
"""Floods of raw packets, and crowds of connections that must live through them."""

import select
import subprocess

from .core import LabError, wait_for

# Where floods come from that nobody answers: the node has a route, the client no such address.
SPOOFED = {4: "10.192.0.0/11", 6: "fd66::/16"}  # of IPv6 many /64s
PACE = 100000  # frames a second: above what the others on this host leave, it is less


def route_spoofed(world):
    """Answers to spoofed addresses go to the client's host, which drops them."""
    client = world.client
    world.node.ip(f"route add {SPOOFED[4]} via {client.v4}", f"route add {SPOOFED[6]} via {client.v6}")


class Flood:
    """Frames of one kind (flood.c) from a client's device; it runs until wait()."""

    def __init__(self, client, kind, to, port, count, source=None, rate=PACE):
        family = 6 if ":" in to else 4
        self.process = client.host.popen(
            client.host.lab.program("flood"), kind, "eth0", client.node_mac,
            source or SPOOFED[family], to, port, count, rate, stdout=subprocess.PIPE, text=True)

    def runs(self):
        return self.process.poll() is None

    def wait(self):
        """Returns (frames, seconds)."""
        sent, seconds = self.process.communicate()[0].split()
        return int(sent), float(seconds)


class Servers:
    """crowd.c on a port of each pod."""

    def __init__(self, lab, pods, port):
        self.processes = [pod.host.popen(lab.program("crowd"), "serve", port) for pod in pods]
        for pod in pods:
            wait_for(lambda pod=pod: self._serves(pod, port), 5, f"crowd in {pod.name}")

    @staticmethod
    def _serves(pod, port):
        with pod.host.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0


class Crowd:
    """count connections from the addresses first, first + 1, ... of a client (crowd.c)."""

    def __init__(self, client, address, port, count, first, sources=1):
        with client.host.entered():
            self.process = subprocess.Popen(
                [client.host.lab.program("crowd"), "hold", address, str(port), str(count), first,
                 str(sources)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        client.host.lab.processes.append(self.process)
        self.open, self.refused, self.failed = map(int, self._line(60).split())

    def _line(self, timeout):
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise LabError(f"crowd says nothing for {timeout} s")
        return self.process.stdout.readline()

    def ask(self):
        """Begins to send a word on each connection."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def alive(self, timeout=30):
        """How many words came back."""
        return int(self._line(timeout))

    def check(self):
        self.ask()
        return self.alive()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
