# SPDX-License-Identifier: Apache-2.0
"""The usual scene: Service demo, split between blue and green, behind one gate."""

import os
import random

from . import k8s
from .agent import Agent
from .cluster import VIP4, VIP6, Cluster
from .servers import Echoes

# How clients reach the service, and the agent's words for it.
MODES = {
    "tcx": (["vc*:tc"], ["--tc", "tcx"]),
    "clsact": (["vc*:tc"], ["--tc", "clsact"]),
    "xdp": (["vc*:xdp"], []),
}

# Ports of the Services: (port, target port, protocol).
HTTP, ECHO, DATAGRAM = (80, 8080, "TCP"), (9000, 9000, "TCP"), (9001, 9001, "UDP")
ALL_PORTS = [HTTP, ECHO, DATAGRAM]

# For tests that read whole maps.
SMALL = ["--max-services", "16", "--max-variants", "32", "--max-backends", "64",
         "--max-frontends", "64", "--max-ring-entries", "65536", "--max-sessions", "32768",
         "--max-policies", "64", "--max-limit-clients", "512",
         "--max-breakers", "16"]

# A parameter of tests of what the kernel does: the agent is there, or leaves before.
AGENT = ["with the agent", "agent killed"]

VIPS = {4: VIP4, 6: VIP6}
FIXED_SECRET = "%048x\n" % random.Random(20261123).getrandbits(192)


class World:
    """Cluster, agent and the objects of the scene.

    groups:  pods by group, {"blue": 3, "green": 3} by default
    ports:   of the Services; ECHO and DATAGRAM also start those servers
    mode:    of MODES; gates and options add to it or replace it
    """

    def __init__(self, lab, build, groups=None, clients=1, mode="tcx", gates=None, options=(),
                 bridge=False, ports=(HTTP,)):
        self.lab, self.build, self.ports, self.mode = lab, build, list(ports), mode
        self.cluster = Cluster(lab, groups, clients, bridge)
        self.client, self.node = self.cluster.client, self.cluster.node
        mode_gates, mode_options = MODES[mode]
        self.agent = Agent(self.cluster, build, mode_gates if gates is None else gates,
                           [*mode_options, *options])
        self.cli = self.agent.cli
        if mode == "xdp":
            self.cluster.prepare_xdp(*self.cluster.clients)
        self.echoes = None
        if ECHO in self.ports or DATAGRAM in self.ports:
            self.echoes = Echoes(lab)
            for pod in self.cluster.pods:
                self.echoes.tcp(pod, 9000)
                self.echoes.udp(pod, 9001)
        os.makedirs(self.agent.state_dir, 0o700)
        with open(os.open(f"{self.agent.state_dir}/secret", os.O_CREAT | os.O_WRONLY, 0o600),
                  "w") as f:
            f.write(FIXED_SECRET)

    def backends(self, *groups):
        """Writes the Services and EndpointSlices of these groups (all), as they are."""
        for group in groups or sorted({pod.group for pod in self.cluster.pods}):
            self.endpoints(group, self.cluster.endpoints(group))
        return self

    def endpoints(self, group, pods):
        """Writes one group's Service with these endpoints."""
        self.agent.apply(group, k8s.service(group, ports=self.ports),
                         k8s.slices(group, pods, self.ports))

    def split(self, weights, kind=None, **service_options):
        """Writes Service demo and what splits it; returns at once."""
        objects = [k8s.service("demo", [VIP4, VIP6], self.ports, **service_options)]
        for port in self.ports:
            objects.append(self.splitter(weights, kind, port))
        self.agent.apply("demo", *objects)
        return self

    def splitter(self, weights, kind, port):
        number = port[0]
        if kind == "TraefikService":
            return k8s.traefik_service("demo", weights, number)
        if kind == "HTTPRoute":
            return k8s.http_route(f"demo-{number}", "demo", weights, number)
        return k8s.route(f"{port[2]}Route", f"demo-{number}", "demo", weights, number)

    def start(self, weights=None, kind=None, **service_options):
        """The whole scene, served."""
        self.backends()
        if weights is not None:
            self.split(weights, kind, **service_options)
        self.agent.start()
        return self

    def leave(self, agent):
        """Kills the agent if that is the case of AGENT."""
        if agent == AGENT[1]:
            self.agent.kill()

    def back(self, agent):
        """Starts the agent that leave() has killed."""
        if agent == AGENT[1]:
            self.agent.start()
