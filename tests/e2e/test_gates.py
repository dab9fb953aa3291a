# SPDX-License-Identifier: Apache-2.0
"""Roles of gates: who may come in where."""

import json
import socket

import pytest

from lab import wait_for
from lab.cluster import address
from lab.load import http
from lab.world import VIPS

FAMILIES = [4, 6]
TAKES_FRAMES = 64  # in the flags of shunt_gates


def doctor(w):
    """The words of `shunt doctor`, unwrapped."""
    return " ".join(w.cli.run("doctor", check=False).stdout.split())


def try_from(host, source, vip, port=80):
    """One SYN from an address that is not the host's own; nobody can answer it."""
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    with host.socket(family) as sock:
        if family == socket.AF_INET:
            sock.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
        sock.bind((source, 0))
        sock.setblocking(False)
        sock.connect_ex((vip, port))


@pytest.mark.parametrize("bridge", [False, True])
@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_outside_passes_for_a_pod(world, family, hook, bridge):
    """With pods routed one by one, and as ports of a bridge that is no gate."""
    w = world(mode="xdp" if hook == "xdp" else "tcx", groups={"blue": 1}, bridge=bridge,
              gates=[f"vc*:{hook}:external", "vp*:tc"])
    if bridge:
        w.node.nft("delete table inet guard")
    w.start({"blue": 1})
    vip, pod = VIPS[family], w.cluster.pods[0]
    assert not http(w.client, vip, total=50).errors
    before = w.agent.reasons()
    for source in (address(pod, family), getattr(w.client, f"gateway{family}")):
        try_from(w.client.host, source, vip)
    wait_for(lambda: w.agent.reasons()["SPOOFED"] >= 2, 2, "both to be dropped")
    assert w.agent.reasons()["FORWARDED"] == before["FORWARDED"]
    assert not http(w.client, vip, total=50).errors


def test_roles_are_shown_and_outlive_a_restart(world):
    w = world(groups={"blue": 1}, gates=["vc*:tc:uplink:external", "vp*:tc"])
    w.start({"blue": 1})
    for _ in range(2):
        gates = {gate["ifname"]: gate["roles"] for gate in w.agent.status()["gates"]}
        assert gates == {"vc0": ["uplink", "external"], "vp0": []}
        words = doctor(w)
        assert "in the first place, uplink, external" in words
        assert f"IPv4 {w.client.gateway4}, IPv6 fd01::1" in words
        w.agent.stop()
        w.agent.start()


def test_the_source_of_an_uplink_follows_its_addresses(world):
    w = world(groups={"blue": 1}, gates=["vc*:tc:uplink"]).start({"blue": 1})
    w.node.ip("addr del 10.1.0.1/24 dev vc0", "addr add 10.1.0.77/24 dev vc0")
    wait_for(lambda: "IPv4 10.1.0.77, " in doctor(w), 3, "the new address")
    w.node.ip("addr del 10.1.0.77/24 dev vc0")
    wait_for(lambda: "IPv4 none, " in doctor(w), 3, "no address")


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_what_takes_frames_from_xdp_is_told_where_a_gate_has_xdp(world, hook):
    """vp0 takes them, for its other end has GRO. tc does not ask, so the kernel is not asked."""
    w = world(mode="xdp" if hook == "xdp" else "tcx", groups={"blue": 1},
              gates=[f"vc*:{hook}", "vp*:tc"])
    w.cluster.pods[0].host.run("ethtool", "-K", "eth0", "gro", "on")
    w.start({"blue": 1})
    (number,) = [link["ifindex"] for link in json.loads(w.node.run("ip", "-j", "link").stdout)
                 if link["ifname"] == w.cluster.pods[0].dev]
    flags = w.agent.map_entries("shunt_gates")[number]["flags"]
    assert bool(flags & TAKES_FRAMES) == (hook == "xdp"), flags
