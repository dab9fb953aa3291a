# SPDX-License-Identifier: Apache-2.0
"""Connections that go past the stack: a pod that reaches itself through its own service, and
those that come in by an uplink for a backend behind one."""

import os
import socket

import pytest

from lab import k8s
from lab.cluster import VIP4, VIP6, address
from lab.load import Long, http, is_echoed, udp
from lab.remote import remote_world
from lab.world import ALL_PORTS, ECHO, VIPS

FAMILIES = [4, 6]
HOOKS = ["tc", "xdp"]


# ---- a pod and itself ----------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_pod_reaches_itself_among_others(world, family, hook, n):
    w = world(groups={"blue": n}, gates=[f"vp*:{hook}"], ports=ALL_PORTS)
    if hook == "xdp":
        w.cluster.prepare_xdp(*w.cluster.pods)
    w.start({"blue": 1})
    caller, vip = w.cluster.pods[0], VIPS[family]
    tally = http(caller, vip, total=120)
    assert not tally.errors and len(tally.pods) == n, tally
    if n == 1:
        assert tally.pods == {caller.name: 120}
    datagrams = udp(caller, vip, 9001, [(address(caller, family), 20000 + i) for i in range(60)],
                    datagrams=3)
    assert not datagrams.errors and datagrams.pods[caller.name] > 0, datagrams
    reasons = w.agent.reasons()
    assert reasons["HAIRPIN"] > 10 * tally.pods[caller.name] / 2
    assert (reasons["FORWARDED"] > 0) == (n > 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pod_sends_itself_fifty_megabytes(world, family):
    w = world(groups={"blue": 1}, gates=["vp*:tc"], ports=[ECHO]).start({"blue": 1})
    w.node.sysctl(net__ipv4__conf__all__rp_filter=1)
    held = Long(w.cluster.pods[0], VIPS[family], 9000, 1, timeout=30)
    assert is_echoed(held.sockets[0], os.urandom(1 << 20) * 50)
    held.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_port_of_a_bridge_reaches_itself(world, family):
    w = world(groups={"blue": 1}, gates=["vp*:tc", "br0:tc"], bridge=True).start({"blue": 1})
    assert not http(w.cluster.pods[0], VIPS[family], total=60).errors


# ---- uplink to uplink ----------------------------------------------------------------------------

@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_client_from_afar_reaches_a_remote_backend(world, family, hook):
    w, remote = remote_world(world, hook)
    vip = VIPS[family]
    tally = http(w.client, vip, total=200)
    assert tally.pods == {remote.name: 200}, tally
    with open(f"{remote.nginx.directory}/access.log") as log:
        lines = [line.split() for line in log]
    assert {line[0] for line in lines} == {remote.node[family]}
    assert all(61000 <= int(line[1]) <= 65535 for line in lines)
    datagrams = udp(w.client, vip, 9001, [(address(w.client, family), 20000 + i)
                                          for i in range(100)], datagrams=3)
    assert not datagrams.errors, datagrams
    held = Long(w.client, vip, 9000, 1, timeout=30)
    assert is_echoed(held.sockets[0], os.urandom(1 << 20) * (50 if hook == "tc" else 5))
    held.close()
    counted = w.agent.service()["variants"][0]
    assert counted["packets_in"] and counted["packets_out"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_local_and_remote_backends_stand_beside_each_other(world, family, hook):
    w, remote = remote_world(world, hook, local=2)
    tally = http(w.client, VIPS[family], total=300)
    assert not tally.errors and len(tally.pods) == 3, tally
    # A pod's own connection to the remote one goes through the stack, as itself.
    tally = http(w.cluster.pods[0], remote.v4 if family == 4 else remote.v6, 8080, total=20)
    assert tally.pods == {remote.name: 20}, tally


def test_connections_from_afar_survive_a_restart_and_a_dead_agent(world):
    w, _ = remote_world(world, "tc")
    held = Long(w.client, VIPS[4], 9000, 20)
    w.agent.kill()
    assert not held.ping()
    assert not http(w.client, VIPS[4], total=20).errors
    w.agent.start()
    assert not held.ping()
    assert not http(w.client, VIPS[4], total=20).errors
    held.close()


def test_the_source_of_connections_from_afar_is_what_the_option_says(world):
    w, remote = remote_world(world, "tc", options=["--nat-source", "10.1.1.99"])
    w.node.ip("addr add 10.1.1.99/32 dev lo")
    assert not http(w.client, VIPS[4], total=10).errors
    with open(f"{remote.nginx.directory}/access.log") as log:
        assert {line.split()[0] for line in log} == {"10.1.1.99"}


# ---- errors --------------------------------------------------------------------------------------

CLOSED = (9005, 9005, "UDP")  # nobody listens there


def closed_service(w, endpoints):
    w.agent.apply("closed", k8s.service("closed", [VIP4, VIP6], [CLOSED]),
                  k8s.route("UDPRoute", "closed", "closed", {"shut": 1}, 9005))
    w.agent.apply("shut", k8s.service("shut", ports=[CLOSED]), k8s.slices("shut", endpoints, [CLOSED]))
    w.agent.wait_status(lambda s: any(x["name"] == "closed" for x in s["services"]), "the service")


def is_refused(host, vip):
    """A datagram to a closed port: an ICMP error about it comes back to the socket."""
    with host.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect((vip, 9005))
        sock.send(b"x")
        try:
            sock.recv(1)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return False


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_errors_of_remote_backends_come_back_to_their_client(world, family, hook):
    w, remote = remote_world(world, hook)
    closed_service(w, [remote.endpoint()])
    assert is_refused(w.client.host, VIPS[family])
    assert w.agent.reasons()["ICMP_RESTORED"] == 1


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_errors_of_a_pod_about_itself_come_back_to_it(world, family, hook):
    w = world(groups={"blue": 1}, gates=[f"vp*:{hook}"])
    if hook == "xdp":
        w.cluster.prepare_xdp(*w.cluster.pods)
    w.start({"blue": 1})
    closed_service(w, [w.cluster.pods[0].endpoint()])
    assert is_refused(w.cluster.pods[0].host, VIPS[family])
    assert w.agent.reasons()["ICMP_RESTORED"] == 1


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_fragments_from_afar_reach_a_remote_backend_and_come_back(world, family, hook):
    w, remote = remote_world(world, hook)
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    with w.client.host.socket(kind, socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect((VIPS[family], 9001))
        for _ in range(3):
            data = os.urandom(4000)
            sock.send(data)
            assert sock.recv(8000).endswith(data)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_agent_has_neighbours_found_for_xdp(world, family):
    """XDP makes nobody ask for a neighbour; by the stack no packet would do it either."""
    w, remote = remote_world(world, "xdp")
    w.agent.stop()
    remote_address = remote.v4 if family == 4 else remote.v6
    w.node.ip(f"neigh del {remote_address} dev vc1")
    w.agent.start()
    tally = http(w.client, VIPS[family], total=50)
    assert tally.pods == {remote.name: 50}, tally
    w.node.ip(f"neigh del {remote_address} dev vc1")
    tally = http(w.client, VIPS[family], total=50, timeout=8)
    assert tally.pods == {remote.name: 50}, tally
