# SPDX-License-Identifier: Apache-2.0
"""shuntd and shunt in the laboratory."""

import http.client
import json
import os
import signal
import subprocess

from . import k8s
from .core import LabError, run, wait_for


class Cli:
    """shunt on the agent's node."""

    def __init__(self, build, agent):
        self.program, self.agent = os.path.join(build, "shunt"), agent

    def run(self, command, *args, check=True, **options):
        """Returns the finished process; with check a failure is a LabError with its words."""
        return self.agent.host.run(self.program, command, *self.agent.locations, *args,
                                   check=check, **options)

    def spawn(self, command, *args, stdout=subprocess.DEVNULL):
        """Starts it and does not wait."""
        return self.agent.host.popen(self.program, command, *self.agent.locations, *args,
                                     stdout=stdout)

    def json(self, command, *args):
        return json.loads(self.run(command, *args, "-o", "json").stdout)


class Agent:
    """One shuntd on the node, with files of its own.

    gates: as for --gate; options: more arguments
    """

    def __init__(self, cluster, build, gates=("vc*:tc",), options=(), name="agent"):
        self.lab, self.cluster, self.host = cluster.lab, cluster, cluster.node
        self.build, self.gates, self.options = build, list(gates), list(options)
        self.source = self.lab.path(name, "manifests", "x")[:-2]
        self.log = self.lab.path(name, "shuntd.log")
        self.socket = self.lab.path(name, "shunt.sock")
        self.state_dir = self.lab.path(name, "state")
        self.bpffs = f"{self.lab.bpffs}/{name}"
        self.metrics = "127.0.0.1:9100"
        self.locations = ["--socket", self.socket, "--bpffs", self.bpffs,
                          "--state-dir", self.state_dir]
        self.process = None
        self.cli = Cli(build, self)

    def command(self):
        gates = [word for gate in self.gates for word in ("--gate", gate)]
        return [os.path.join(self.build, "shuntd"), "--source", self.source, *gates,
                *self.locations, "--metrics", self.metrics, *self.options]

    def spawn(self):
        """Starts it and does not wait."""
        with open(self.log, "a") as log:
            self.process = self.host.popen(*self.command(), stdout=log, stderr=subprocess.STDOUT)
        return self

    def start(self, timeout=10):
        """Starts it; returns when it serves: sources read, first image installed."""
        self.spawn()
        wait_for(self.ready, timeout, "shuntd to be ready")
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise LabError(f"shuntd ended with {self.process.returncode}:\n{self.log_text()}")
        return self.http("/readyz")[0] == 200

    def http(self, path):
        """(status, body) of a request to the metrics address; (0, "") if nobody listens."""
        host, port = self.metrics.rsplit(":", 1)
        with self.host.entered():
            connection = http.client.HTTPConnection(host, int(port), timeout=5)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError:
                return 0, ""
            finally:
                connection.close()

    def kill(self):
        """As a crash does: SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=5):
        self.process.terminate()
        return self.process.wait(timeout)

    def log_text(self):
        with open(self.log) as f:
            return f.read()

    # ---- what it is to do, and what it says ------------------------------------------------

    def apply(self, name, *objects):
        """Writes one file of the source directory; does not wait."""
        k8s.write(f"{self.source}/{name}.yaml", *objects)

    def status(self):
        return self.cli.json("status")

    def service(self, name="demo", namespace="default"):
        return next((s for s in self.status()["services"]
                     if (s["name"], s["namespace"]) == (name, namespace)), None)

    def weights(self, name="demo"):
        found = self.service(name)
        return {v["name"]: v["weight"] for v in found["variants"]} if found else None

    def wait_weights(self, timeout=3, name="demo", **weights):
        wait_for(lambda: self.weights(name) == weights, timeout,
                 f"weights {weights} of {name}, there are {self.weights(name)}")

    def wait_status(self, predicate, what, timeout=3):
        """Waits until predicate(status) is true and returns its value."""
        return wait_for(lambda: predicate(self.status()), timeout, what)

    def map_entries(self, name):
        """The entries of a map, by key, as bpftool dumps them."""
        (directory,) = [e for e in os.listdir(self.bpffs) if e.startswith("v")]
        dump = json.loads(run(["bpftool", "-j", "map", "dump", "pinned",
                               f"{self.bpffs}/{directory}/{name}"]).stdout)
        return {e["formatted"]["key"]: e["formatted"]["value"] for e in dump}

    def reasons(self):
        """Packets by verdict reason."""
        return {r["name"]: r["packets"] for r in self.status()["reasons"]}

    def backends(self, name="demo"):
        """connections_total by backend address."""
        return {b["address"]: b["connections_total"] for v in self.service(name)["variants"]
                for b in v["backends"]}
