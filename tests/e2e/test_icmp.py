# SPDX-License-Identifier: Apache-2.0
"""Path-MTU discovery through the split: the errors of routers on either side reach who sent too
much. nginx and sockets of the pods, routers and senders are the kernel's own."""

import socket

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether

from lab.capture import Capture, ones_sum, pseudo_header
from lab.load import Long
from lab.world import ECHO, VIPS

SMALL, SIZE = 1300, 5 << 20
FAMILIES = [4, 6]
MODES = ["tcx", "xdp"]


def behind_router(w, member, router, family):
    """Puts a router between a host's eth0 and the node; its link to the host has the small MTU.

    member: a client or a pod; the router takes over its interface and its addresses' next hop.
    """
    host, bits = member.host, (32, 128)[family == 6]
    address = member.v4 if family == 4 else member.v6
    near, far = ("192.0.2.1", "192.0.2.2") if family == 4 else ("fdaa::1", "fdaa::2")
    router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
                  net__ipv4__conf__all__rp_filter=0)
    gateway = ("169.254.1.1" if family == 4 else "fe80::1") if member.dev.startswith("vp") else \
        (member.gateway4 if family == 4 else member.gateway6)
    host.run("ip", "link", "set", "eth0", "netns", router.name)
    router.ip("link set eth0 up", f"addr add {near}/{bits} dev eth0",
              *([f"route add {gateway}/{bits} dev eth0"] if family == 4 or ":" in gateway and
                not gateway.startswith("fe80") else []),
              f"neigh replace {gateway} lladdr {member.node_mac} dev eth0 nud permanent",
              f"route add default via {gateway} dev eth0")
    w.lab.veths((host, "inner", "02:00:03:00:00:01", router, "outer", "02:00:03:00:00:02"))
    router.ip(f"addr add {far}/{bits} dev outer", f"link set outer up mtu {SMALL}",
              f"neigh replace {address} lladdr 02:00:03:00:00:01 dev outer nud permanent",
              f"route add {address}/{bits} dev outer")
    host.ip(f"addr add {address}/{bits} dev inner", "link set inner up",
            f"neigh replace {far} lladdr 02:00:03:00:00:02 dev inner nud permanent",
            f"route add {far}/{bits} dev inner src {address}",
            f"route add default via {far} dev inner src {address}")


def route_mtu(host, destination, family):
    """What a host has learnt of the way to an address."""
    words = host.run("ip", f"-{family}", "route", "get", destination).stdout.split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else None


def move(sock, size):
    """Sends size bytes to an echo server and reads them back. DF is what Linux does by itself."""
    sock.settimeout(20)
    left, todo, chunk = size, size, b"x" * 65536
    while todo:
        sent = sock.send(chunk[:todo])
        todo -= sent
        while left - todo > 262144 or (not todo and left):
            data = sock.recv(65536)
            assert data, "closed early"
            left -= len(data)
    assert not left


def errors(capture):
    """(packet, is its checksum right?) of the errors that arrived."""
    for frame in capture.frames:
        packet = Ether(frame.data)
        raw = frame.data[14:]
        if ICMP in packet and packet[ICMP].type == 3:
            yield packet, ones_sum(raw[20:packet[IP].len]) == 0xffff and ones_sum(raw[:20]) == 0xffff
        elif ICMPv6PacketTooBig in packet:
            message = raw[40:40 + packet[IPv6].plen]
            pseudo = pseudo_header(packet[IPv6], 58, len(message))
            yield packet, ones_sum(pseudo + message) == 0xffff


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_smaller_mtu_behind_a_router_is_found(world, mode, side, family):
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1})
    (router,) = w.lab.add_hosts("router")
    pod, vip = w.cluster.pods[0], VIPS[family]
    member = w.client if side == "client" else pod
    # Super-packets would be cut at the router instead of being refused.
    for host in (w.client.host, pod.host):
        host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off")
    behind_router(w, member, router, family)
    if mode == "xdp" and side == "client":
        router.run("ethtool", "-K", "eth0", "tx", "off")
    w.start({"blue": 1})
    sender, device, destination = (pod.host, "eth0", w.client.v4 if family == 4 else w.client.v6) \
        if side == "client" else (w.client.host, "eth0", vip)
    with Capture(sender, device) as seen:
        held = Long(w.client, vip, 9000, 1, timeout=20)
        move(held.sockets[0], SIZE)
        held.close()
    assert route_mtu(sender, destination, family) == SMALL
    found = list(errors(seen))
    assert found and all(right for _, right in found), found[0][0].summary()
    counted = w.agent.reasons()
    name = "ICMP_FORWARDED" if side == "client" else "ICMP_RESTORED"
    assert counted[name] >= len(found) and not counted.get("ICMP_UNKNOWN")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_a_closed_port_of_a_backend_is_reported_by_the_frontend(world, mode, family):
    """Port unreachable: the client's socket takes it only from whom it sent to."""
    from lab.world import DATAGRAM
    w = world(mode=mode, ports=[DATAGRAM], groups={"blue": 1})
    w.ports[0] = (9001, 9077, "UDP")  # nobody listens there
    w.start({"blue": 1})
    with w.client.host.entered():
        sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.settimeout(3)
    sock.connect((VIPS[family], 9001))
    sock.send(b"hello")
    with pytest.raises(ConnectionRefusedError):
        sock.recv(100)
    sock.close()
    assert w.agent.reasons()["ICMP_RESTORED"] == 1
