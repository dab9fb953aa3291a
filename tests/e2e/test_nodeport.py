# SPDX-License-Identifier: Apache-2.0
"""NodePorts: on every address of the node, as its addresses come and go."""

import ipaddress

import pytest

from lab import wait_for
from lab.capture import Capture
from lab.cluster import VIP4
from lab.load import Long, http, tuples, udp
from lab.world import DATAGRAM, ECHO, HTTP

MODES = ["tcx", "clsact", "xdp"]
NODE_PORTS = {80: 30080, 9000: 30900, 9001: 30901}
WEIGHTS = {"blue": 50, "green": 50}
NEW = {4: "203.0.113.4", 6: "2001:db8::4"}


def node_addresses(w, family):
    """One on the side of the clients, one elsewhere."""
    return [w.client.gateway4, "192.0.2.4"] if family == 4 else [w.client.gateway6, "fdaa::4"]


def start(world, **options):
    w = world(ports=[HTTP, ECHO, DATAGRAM], **options)
    w.node.ip("addr add 192.0.2.4/32 dev lo", "addr add fdaa::4/128 dev lo nodad")
    return w.start(WEIGHTS, node_ports=NODE_PORTS)


def served(w, address):
    return not http(w.client, address, 30080, total=1).errors


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_a_node_port_is_served_on_every_address_of_the_node(world, mode, family):
    """The client's own stack checks that the answers come from the address that it asked."""
    w = start(world, mode=mode)
    for address in node_addresses(w, family):
        tally = http(w.client, address, 30080, total=200,
                     sources=tuples(w.client, 1, 200, family=family))
        assert not tally.errors and set(tally.groups) == set(WEIGHTS), (address, tally)
        datagrams = udp(w.client, address, 30901, tuples(w.client, 2, 100, family=family))
        assert not datagrams.errors and set(datagrams.groups) == set(WEIGHTS), address
    text = w.cli.run("explain", *(f"{w.client.v4}:4711", f"{w.client.gateway4}:30080")).stdout
    assert "belongs to default/demo as NodePort of 80, " in text, text
    assert w.agent.reasons().get("MIDSTREAM_OWNED", 0) == 0


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_an_address_that_comes_is_served_within_a_second_and_one_that_goes_is_not(world, mode,
                                                                                  family):
    w = start(world, mode=mode)
    held = Long(w.client, w.client.gateway4, 30900, 10)
    new, length = NEW[family], {4: 32, 6: 128}[family]
    assert not served(w, new)
    generation = w.agent.status()["generation"]
    w.node.ip(f"addr add {new}/{length} dev lo")
    wait_for(lambda: served(w, new), 1, f"{new}:30080 to be served")
    assert not held.ping(), "the other addresses' connections"
    there = Long(w.client, new, 30900, 5, timeout=0.3)
    w.node.ip(f"addr del {new}/{length} dev lo")
    wait_for(lambda: not served(w, new), 1, f"{new}:30080 to be left alone")
    assert new not in str(w.agent.service()["frontends"])
    assert len(there.ping()) > 0, "its address is gone: as one removed from a Service"
    assert not held.ping()
    assert not http(w.client, VIP4, total=50).errors
    assert w.agent.status()["generation"] == generation + 2
    held.close()


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_node_port_is_served_at_an_external_uplink(world, hook, family):
    """Where clients from afar come in: to a local pod, with the client's own address."""
    w = start(world, mode="xdp" if hook == "xdp" else "tcx",
              gates=[f"vc*:{hook}:uplink:external", "vp*:tc"])
    sources = list(tuples(w.client, 3, 200, family=family))
    for address in node_addresses(w, family):
        tally = http(w.client, address, 30080, total=200, sources=sources)
        assert not tally.errors and set(tally.groups) == set(WEIGHTS), (address, tally)
    with Capture(w.cluster.pods[0].host) as seen:
        assert not http(w.client, node_addresses(w, family)[0], 30080, total=50,
                        sources=tuples(w.client, 4, 50, family=family)).errors
    layer = "IP" if family == 4 else "IPv6"
    came_from = {packet[layer].src for packet, _ in seen.packets(port=8080)
                 if packet["TCP"].dport == 8080}
    pool = {str(ipaddress.ip_address(w.client.address(n, family)))
            for n in range(5000)}
    assert came_from and came_from <= pool


def test_only_the_addresses_that_were_given_have_node_ports(world):
    w = start(world, options=["--nodeport-addresses", "192.0.2.0/24,fdaa::/64"])
    assert served(w, "192.0.2.4") and served(w, "fdaa::4")
    assert not served(w, w.client.gateway4) and not served(w, w.client.gateway6)
    text = w.cli.run("status", "demo").stdout
    assert "*:30080/TCP  NodePort of 80, at 192.0.2.4, fdaa::4\n" in text, text
