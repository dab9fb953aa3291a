# SPDX-License-Identifier: Apache-2.0
"""Every hook with both families and protocols: translated once, counted once, and right on the
wire. A gate stands where packets come in; a packet may meet several."""

import itertools
import json
import os
import socket
import struct

import pytest

from lab import k8s, stats, wait_for
from lab.capture import Capture, checksum_fault
from lab.cluster import VIP4
from lab.core import run as run_command
from lab.load import Long, http, is_echoed, tuples, udp
from lab.world import ALL_PORTS, ECHO, VIPS

MODES = ["tcx", "clsact", "xdp"]
FAMILIES = [4, 6]


def counters(w):
    """Sums of the counters of all services of this name: each route's ports are one of them."""
    names = ("connections_total", "connections_active", "packets_in", "packets_out")
    variants = [v for service in w.agent.status()["services"] if service["name"] == "demo"
                for v in service["variants"]]
    return {name: sum(v[name] for v in variants) for name in names}


def test_splits_of_one_service_count_by_themselves(world):
    w = world(ports=ALL_PORTS).start({"blue": 50, "green": 50})
    assert not http(w.client, VIPS[4], total=100).errors
    counted = {service["frontends"][0]["port"]: sum(v["connections_total"]
                                                    for v in service["variants"])
               for service in w.agent.status()["services"] if service["name"] == "demo"}
    assert counted == {80: 100, 9000: 0, 9001: 0}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_tcp_and_udp_pass_and_are_counted(world, mode, family):
    w = world(mode=mode, ports=ALL_PORTS).start({"blue": 50, "green": 50})
    vip = VIPS[family]
    tally = http(w.client, vip, total=600, sources=tuples(w.client, 1, 600, family=family))
    assert not tally.errors and stats.within(tally.groups["green"], 600, 0.5), tally
    assert w.cluster.wait_accesses(600) == dict(tally.pods)
    by_pod = w.agent.backends()
    for pod in w.cluster.pods:
        assert by_pod[pod.v4 if family == 4 else pod.v6] == tally.pods[pod.name]
    wait_for(lambda: counters(w)["connections_active"] == 0, 2, "closed connections to be given back")
    before = counters(w)
    datagrams = udp(w.client, vip, 9001, tuples(w.client, 2, 300, family=family), datagrams=3)
    assert not datagrams.errors and stats.within(datagrams.groups["green"], 300, 0.5)
    after = counters(w)
    assert [after[name] - before[name] for name in after] == [300, 300, 900, 900]


# A partial checksum is unknown to XDP; real cards deliver whole frames.
@pytest.mark.parametrize("mode, offload", [("tcx", "on"), ("tcx", "off"), ("clsact", "on"),
                                           ("clsact", "off"), ("xdp", "off")])
@pytest.mark.parametrize("family", FAMILIES)
def test_checksums_are_right_where_packets_arrive(world, mode, family, offload):
    w = world(mode=mode, ports=ALL_PORTS, groups={"blue": 1}).start({"blue": 1})
    pod = w.cluster.pods[0]
    for host in (w.client.host, pod.host):
        host.run("ethtool", "-K", "eth0", "tx", offload)
    vip = VIPS[family]
    with Capture(pod.host) as at_pod, Capture(w.client.host) as at_client:
        assert not http(w.client, vip, total=20).errors
        assert not udp(w.client, vip, 9001, tuples(w.client, 3, 20, family=family)).errors
    seen = [*at_pod.packets(port=8080), *at_pod.packets(port=9001),
            *at_client.packets(port=80), *at_client.packets(port=9001)]
    assert len(seen) > 150
    faults = [(packet.summary(), fault) for packet, frame in seen
              if (fault := checksum_fault(packet, frame))]
    assert not faults, f"{len(faults)} of {len(seen)}, the first: {faults[0]}"
    if offload == "off":
        assert not any(frame.partial for _, frame in seen)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_fifty_megabytes_arrive_byte_for_byte(world, mode, family):
    """Super-packets (GSO) pass a tc gate as one; XDP sees them cut."""
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1}).start({"blue": 1})
    held = Long(w.client, VIPS[family], 9000, 1, timeout=30)
    assert is_echoed(held.sockets[0], os.urandom(1 << 20) * 50)
    held.close()


def allow_big_tcp(host, device, size=180_000):
    """IPv4 BIG TCP (kernel 6.3), which iproute2 of Debian 12 cannot set."""
    gso_max, gro_max, gso4_max, gro4_max = 41, 58, 63, 64  # IFLA_*_SIZE
    with host.entered(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        attributes = b"".join(struct.pack("HHI", 8, attribute, size)
                              for attribute in (gso_max, gro_max, gso4_max, gro4_max))
        info = struct.pack("BBHiII", 0, 0, 0, socket.if_nametoindex(device), 0, 0)
        new_link, request_ack = 16, 5
        sock.send(struct.pack("IHHII", 32 + len(attributes), new_link, request_ack, 1, 0) + info +
                  attributes)
        assert struct.unpack("i", sock.recv(4096)[16:20]) == (0,)


@pytest.mark.parametrize("mode", ["tcx", "clsact"])
def test_super_packets_beyond_64_kib_arrive_byte_for_byte(world, mode):
    """Their IPv4 header has no length at all."""
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1})
    for host, device in ((w.client.host, "eth0"), (w.node, "vc0"), (w.node, "vp0"),
                         (w.cluster.pods[0].host, "eth0")):
        allow_big_tcp(host, device)
    w.start({"blue": 1})
    held = Long(w.client, VIP4, 9000, 1, timeout=30)
    assert is_echoed(held.sockets[0], os.urandom(1 << 20) * 50)
    held.close()
    found = counters(w)
    assert found["packets_in"] > 20 * w.agent.reasons()["FORWARDED"], "they were not that large"


@pytest.mark.parametrize("mode", MODES)
def test_packets_are_counted_once_each_way(world, mode):
    w = world(mode=mode, groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 1})
    w.client.host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off")
    with Capture(w.client.host, outgoing=True) as seen:
        assert not http(w.client, VIP4, total=40).errors
    tcp = [packet for packet, _ in seen.packets(port=80)]
    found = counters(w)
    assert found["packets_in"] == sum(1 for p in tcp if p["TCP"].dport == 80)
    assert found["packets_out"] == sum(1 for p in tcp if p["TCP"].sport == 80)
    assert found["connections_total"] == 40


# ---- one packet, several gates -------------------------------------------------------------------

@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("outer, inner", list(itertools.product(["tc", "xdp"], repeat=2)))
def test_a_gate_at_the_client_and_one_at_the_pod_count_once(world, outer, inner, family):
    w = world(mode="xdp" if outer == "xdp" else "tcx", groups={"blue": 2, "green": 2},
              gates=[f"vc*:{outer}", f"vp*:{inner}"])
    if inner == "xdp":
        w.cluster.prepare_xdp(*w.cluster.pods)
    w.start({"blue": 50, "green": 50})
    tally = http(w.client, VIPS[family], total=400)
    assert not tally.errors, tally
    assert w.cluster.wait_accesses(400) == dict(tally.pods)
    found = counters(w)
    assert found["connections_total"] == 400
    by_pod = w.agent.backends()
    for pod in w.cluster.pods:
        assert by_pod[pod.v4 if family == 4 else pod.v6] == tally.pods[pod.name]
    reasons = w.agent.reasons()
    assert reasons["FORWARDED"] == found["packets_in"]
    assert reasons["RESTORED"] == found["packets_out"]


@pytest.mark.parametrize("port_hook", ["tc", "xdp"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_bridge_and_its_port_are_two_gates_for_one_packet(world, port_hook, family):
    """From pod to pod by a bridge: forward through port and bridge, back bridged directly."""
    w = world(groups={"blue": 2, "green": 2, "client": 1}, bridge=True,
              gates=[f"vp*:{port_hook}", "br0:tc"])
    w.node.nft("delete table inet guard")  # it sees half of what is bridged: see doctor
    if port_hook == "xdp":
        w.cluster.prepare_xdp(*w.cluster.pods)
    w.backends("blue", "green").split({"blue": 50, "green": 50})
    w.agent.start()
    caller = w.cluster.group("client")[0]
    tally = http(caller, VIPS[family], total=300)
    assert not tally.errors, tally
    found = counters(w)
    assert found["connections_total"] == 300
    assert sum(w.cluster.wait_accesses(300).values()) == 300
    reasons = w.agent.reasons()
    assert reasons["FORWARDED"] == found["packets_in"]
    assert reasons["RESTORED"] == found["packets_out"]


def test_a_rewritten_packet_is_not_looked_up_again_though_it_goes_to_a_frontend(world):
    """demo's pod is itself a frontend of another service: the second gate must leave it alone."""
    w = world(groups={"blue": 1, "green": 1, "client": 1}, bridge=True,
              gates=["vp*:tc", "br0:tc", "vc*:tc"], options=["--frontend-cidr", "10.244.0.0/16"])
    w.node.nft("delete table inet guard")
    blue, green = w.cluster.pods[:2]
    w.backends("blue", "green").split({"blue": 1})
    w.agent.apply("trap", k8s.service("trap", ["10.96.0.99"], [(8080, 8080, "TCP")],
                                      external=[blue.v4]),
                  k8s.route("TCPRoute", "trap", "trap", {"green": 1}, 8080))
    w.agent.apply("green", k8s.service("green", ports=[(8080, 8080, "TCP")]),
                  k8s.slices("green", [green.endpoint()], [(8080, 8080, "TCP")]))
    w.agent.start()
    caller = w.cluster.group("client")[0]
    assert http(caller, VIP4, total=100).groups == {"blue": 100}
    assert http(w.client, blue.v4, 8080, total=100).groups == {"green": 100}


# ---- neighbours on the hook ------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["tcx", "clsact"])
def test_another_program_on_the_interface_goes_on_working(world, mode):
    w = world(mode=mode, groups={"blue": 1}).start({"blue": 1})
    w.node.run("tc", "qdisc", "add", "dev", "vc0", "clsact", check=False)
    for direction in ("ingress", "egress"):
        w.node.run("tc", "filter", "add", "dev", "vc0", direction, "prio", "500", "bpf", "da",
                   "obj", w.lab.program("neighbour.bpf.o"), "sec", "tc")
    assert not http(w.client, VIP4, total=100).errors

    def passed(direction):
        filters = json.loads(w.node.run("tc", "-j", "filter", "show", "dev", "vc0",
                                        direction).stdout)
        (number,) = [f["options"]["prog"]["id"] for f in filters
                     if f["pref"] == 500 and "options" in f]
        (map_id,) = json.loads(run("bpftool", "-j", "prog", "show", "id", number))["map_ids"]
        return json.loads(run("bpftool", "-j", "map", "dump", "id", map_id))[0]["formatted"]["value"]

    assert passed("ingress") >= 400 and passed("egress") >= 300
    w.agent.stop()
    w.agent.start()  # takes its own hooks back and leaves the other's
    before = passed("ingress")
    assert not http(w.client, VIP4, total=100).errors
    assert passed("ingress") >= before + 400


def run(*command):
    return run_command(list(map(str, command))).stdout
