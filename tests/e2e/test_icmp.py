# SPDX-License-Identifier: Apache-2.0
"""Path-MTU discovery through the split: the errors of routers on either side reach who sent too
much. nginx and sockets of the pods, routers and senders are the kernel's own."""

import socket
import threading

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether

from lab.capture import Capture, ones_sum, pseudo_header
from lab.cluster import neighbours
from lab.load import Long
from lab.remote import remote_world
from lab.world import DATAGRAM, ECHO, VIPS

SMALL, SIZE = 1300, 5 << 20
FAMILIES = [4, 6]
MODES = ["tcx", "xdp"]


def behind_router(w, member, router, family):
    """Puts a router between a client or pod and the node, with a small MTU on its way there.

    The router gets the member's interface; the member's packets are small, but it promises to
    take large ones, as hosts do that know nothing of the way.
    """
    host, address = member.host, member.v4 if family == 4 else member.v6
    near, far, advmss = ("192.0.2.1", "192.0.2.2", 1460) if family == 4 else \
        ("fdaa::1", "fdaa::2", 1440)
    if member in w.cluster.clients:
        gateway = member.gateway4 if family == 4 else member.gateway6
    else:
        gateway = "169.254.1.1" if family == 4 else "fe80::1"
    router.sysctl(net__ipv6__conf__default__accept_dad=0, net__ipv4__ip_forward=1,
                  net__ipv6__conf__all__forwarding=1)
    host.run("ip", "link", "set", "eth0", "netns", router.name)
    w.lab.veths((host, "inner", "02:00:03:00:00:01", router, "outer", "02:00:03:00:00:02"))
    router.ip("link set eth0 up", f"link set outer mtu {SMALL} up",
              f"addr add {near} dev eth0", f"addr add {far} dev outer",
              *neighbours("eth0", member.node_mac, gateway),
              *neighbours("outer", "02:00:03:00:00:01", address),
              *([f"route add {gateway} dev eth0"] if gateway != "fe80::1" else []),
              f"route add default via {gateway} dev eth0", f"route add {address} dev outer")
    host.ip(f"link set inner mtu {SMALL} up", f"addr add {address} dev inner",
            *neighbours("inner", "02:00:03:00:00:02", far), f"route add {far} dev inner",
            f"route add default via {far} dev inner advmss {advmss}")


def route_mtu(host, destination, family):
    """What a host has learnt of the way to an address."""
    words = host.run("ip", f"-{family}", "route", "get", destination).stdout.split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else None


def upload_and_download(sock, size):
    """Sends size bytes to an echo server and reads them back. DF is what Linux does by itself."""
    sock.settimeout(20)
    sender = threading.Thread(target=sock.sendall, args=(bytes(size),))
    sender.start()
    left = size
    while left:
        data = sock.recv(1 << 20)
        assert data, f"closed with {left} bytes to come"
        left -= len(data)
    sender.join()


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
    behind_router(w, member, router, family)
    w.start({"blue": 1})
    if side == "client":
        sender, destination = pod.host, w.client.v4 if family == 4 else w.client.v6
    else:
        sender, destination = w.client.host, vip
    with Capture(sender) as seen:
        held = Long(w.client, vip, 9000, 1, timeout=20)
        upload_and_download(held.sockets[0], SIZE)
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
    w = world(mode=mode, ports=[DATAGRAM], groups={"blue": 1}).start({"blue": 1})
    w.cluster.pods[0].host.nft("table inet closed {\n chain in {\n  type filter hook input priority 0;\n"
                               "  udp dport 9001 reject with icmpx type port-unreachable\n }\n}\n")
    sock = w.client.host.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                socket.SOCK_DGRAM)
    sock.settimeout(3)
    sock.connect((VIPS[family], 9001))
    sock.send(b"hello")
    with pytest.raises(ConnectionRefusedError):
        sock.recv(100)
    sock.close()
    assert w.agent.reasons()["ICMP_RESTORED"] == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_smaller_mtu_between_uplinks_is_told_by_the_node(world, side, hook, family):
    """Where Shunt itself routes: the way to one side takes less than both sides' own interfaces.

    On tc the senders' frames have partial checksums and are super-packets.
    """
    w, remote = remote_world(world, hook)
    member, sender = (w.client, remote.host) if side == "client" else (remote, w.client.host)
    address = member.v4 if family == 4 else member.v6
    device = "vc0" if side == "client" else "vc1"
    w.node.ip(f"route add {address} dev {device} mtu lock {SMALL}")
    with Capture(sender) as seen:
        held = Long(w.client, VIPS[family], 9000, 1, timeout=20)
        upload_and_download(held.sockets[0], SIZE)
        held.close()
    destination = remote.node[family] if side == "client" else VIPS[family]
    assert route_mtu(sender, destination, family) == SMALL
    found = list(errors(seen))
    assert found and all(right for _, right in found), found[0][0].summary()
    assert w.agent.reasons()["TOO_BIG"] >= len(found)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_the_node_is_a_hop_between_uplinks(world, hook, family):
    """As traceroute sees it: a datagram that ends there comes back as an error."""
    w, _ = remote_world(world, hook)
    kind, level, option = (socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) \
        if family == 6 else (socket.AF_INET, socket.IPPROTO_IP, socket.IP_TTL)
    with w.client.host.socket(kind, socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect((VIPS[family], DATAGRAM[0]))
        sock.send(b"hello")
        assert sock.recv(100).endswith(b"hello")
        sock.setsockopt(level, option, 1)
        sock.setsockopt(level, 25 if family == 6 else 11, 1)  # IPV6_RECVERR, IP_RECVERR
        sock.send(b"ends here")
        with pytest.raises(OSError) as raised:
            sock.recv(100)
    assert raised.value.errno == 113  # EHOSTUNREACH: time exceeded
    assert w.agent.reasons()["HOP_LIMIT"] == 1
