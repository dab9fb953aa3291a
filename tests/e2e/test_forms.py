# SPDX-License-Identifier: Apache-2.0
"""Packets that are not of the plain form, made and taken by the kernel's own stacks: fragments,
VLAN tags, IPv4 options, IPv6 extension headers, jumbo frames."""

import random
import socket
import threading

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from lab.capture import Capture
from lab.cluster import neighbours
from lab.world import DATAGRAM, ECHO, VIPS

FAMILIES = [4, 6]
MODES = ["tcx", "xdp"]
SIZE = 2 << 20


def udp_socket(host, family):
    sock = host.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.settimeout(5)
    return sock


def tcp_socket(host, family):
    sock = host.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
    sock.settimeout(10)
    return sock


def line(sock):
    text = b""
    while not text.endswith(b"\n"):
        byte = sock.recv(1)
        assert byte, "closed"
        text += byte
    return text


def exchange(sock, size=SIZE):
    """Sends random bytes to an echo server, behind its greeting, and compares what comes back."""
    assert line(sock).startswith(b"blue ")
    data = random.Random(size).randbytes(size)
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    back = bytearray()
    while len(back) < size:
        part = sock.recv(1 << 20)
        assert part, f"closed after {len(back)} bytes"
        back += part
    sender.join()
    assert back == data


def translated(w):
    """All was translated: nothing passed on for its form, or dropped."""
    reasons = w.agent.reasons()
    odd = ["FRAGMENT", "FRAGMENT_UNKNOWN", "IPV4_OPTIONS", "EXT_HEADERS", "VLAN_DEPTH", "REWRITE",
           "TRUNCATED"]
    assert not {name: reasons[name] for name in odd if reasons.get(name)}
    assert reasons["FORWARDED"] and reasons["RESTORED"]
    return reasons


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_a_datagram_in_fragments_is_answered_in_fragments(world, mode, family):
    w = world(mode=mode, ports=[DATAGRAM], groups={"blue": 1}).start({"blue": 1})
    sock = udp_socket(w.client.host, family)
    sock.connect((VIPS[family], 9001))
    for size in (8000, 3000, 60000, 1, 8000):
        data = random.Random(size).randbytes(size)
        sock.send(data)
        answer = sock.recv(65536)
        assert answer.startswith(b"blue ") and answer.endswith(data)
    # 6 + 3 + 41 + 1 + 6 packets of 1500 bytes at the most
    assert translated(w)["FORWARDED"] >= 50
    assert w.cluster.invalid() == 0


@pytest.mark.parametrize("mode", MODES)
def test_two_clients_fragments_are_not_mixed_up(world, mode):
    """All at once, each with many datagrams under way: every answer is its own client's."""
    w = world(mode=mode, ports=[DATAGRAM], groups={"blue": 3}, clients=2).start({"blue": 1})
    failed = []

    def ask(client, family, seed):
        sock = udp_socket(client.host, family)
        sock.connect((VIPS[family], 9001))
        dice = random.Random(seed)
        for _ in range(20):
            data = dice.randbytes(5000)
            sock.send(data)
            if not sock.recv(65536).endswith(data):
                failed.append(seed)

    threads = [threading.Thread(target=ask, args=(client, family, 10 * n + family))
               for n, client in enumerate(w.cluster.clients * 2) for family in FAMILIES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    translated(w)


def add_vlans(w, tags):
    """A VLAN between client 0 and the node; tags: [(protocol, id), ...], outermost first."""
    client, node = w.client, w.node
    if node.run("ip", "link", "add", "link", "lo", "name", "trial", "type", "vlan", "id", "1",
                check=False).returncode:
        pytest.skip("this kernel has no VLAN devices")
    node.ip("link del trial")
    for host, device, address4, address6 in ((client.host, "eth0", "10.55.0.2", "fd55::2"),
                                             (node, client.dev, "10.55.0.1", "fd55::1")):
        # Tags in the frame, not beside it.
        host.run("ethtool", "-K", device, "txvlan", "off", "rxvlan", "off", check=False)
        host.run("ethtool", "-K", device, "tx-vlan-stag-hw-insert", "off", check=False)
        for protocol, number in tags:
            host.ip(f"link set {device} mtu 1508 up",
                    f"link add link {device} name {device}.{number} type vlan proto {protocol} "
                    f"id {number}")
            device = f"{device}.{number}"
        host.ip(f"link set {device} mtu 1500 up", f"addr add {address4}/24 dev {device}",
                f"addr add {address6}/64 dev {device} nodad")
    inner = "eth0" + "".join(f".{number}" for _, number in tags)
    outer = client.dev + "".join(f".{number}" for _, number in tags)
    client.host.ip(f"route replace {VIPS[4]} via 10.55.0.1 dev {inner} src 10.55.0.2",
                   f"route replace {VIPS[6]} via fd55::1 dev {inner} src fd55::2",
                   *neighbours(inner, client.node_mac, "10.55.0.1", "fd55::1"))
    node.ip(*neighbours(outer, client.mac, "10.55.0.2", "fd55::2"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tags", [[("802.1Q", 5)], [("802.1ad", 7), ("802.1Q", 5)]],
                         ids=["vlan", "qinq"])
@pytest.mark.parametrize("mode", MODES)
def test_connections_in_a_vlan_are_split(world, mode, tags, family):
    w = world(mode=mode, ports=[ECHO, DATAGRAM], groups={"blue": 1},
              gates=["vc0:xdp" if mode == "xdp" else "vc0:tc"])
    add_vlans(w, tags)
    w.start({"blue": 1})
    with Capture(w.client.host) as seen:
        sock = tcp_socket(w.client.host, family)
        sock.connect((VIPS[family], 9000))
        exchange(sock)
        sock.close()
        sock = udp_socket(w.client.host, family)
        sock.connect((VIPS[family], 9001))
        data = random.Random(1).randbytes(5000)
        sock.send(data)
        assert sock.recv(65536).endswith(data)
    translated(w)
    assert w.cluster.invalid() == 0
    assert any(Dot1Q in Ether(frame.data) for frame in seen.frames), "no tag was in a frame"


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_with_ipv4_options_is_split(world, mode):
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1}).start({"blue": 1})
    sock = tcp_socket(w.client.host, 4)
    # Record route: the routers on the way write into it.
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([7, 39, 4]) + bytes(36) + b"\0")
    with Capture(w.client.host) as seen:
        sock.connect((VIPS[4], 9000))
        exchange(sock)
    assert any(IP in packet and packet[IP].ihl == 15
               for packet in (Ether(frame.data) for frame in seen.frames))
    translated(w)
    assert w.cluster.invalid() == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_with_ipv6_extension_headers_is_split(world, mode):
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1}).start({"blue": 1})
    # Linux 6.18 takes super-packets with extension headers for too big, with or without us.
    w.client.host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off")
    sock = tcp_socket(w.client.host, 6)
    padding = bytes([0, 0, 1, 4, 0, 0, 0, 0])
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, padding)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, padding)
    with Capture(w.cluster.pods[0].host) as seen:
        sock.connect((VIPS[6], 9000))
        exchange(sock)
    assert any(IPv6 in packet and packet[IPv6].nh == 0
               for packet in (Ether(frame.data) for frame in seen.frames))
    translated(w)
    assert w.cluster.invalid() == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_jumbo_frames_are_split(world, hook, family):
    w = world(mode="tcx", gates=[f"vc*:{hook}"], ports=[ECHO, DATAGRAM], groups={"blue": 1})
    pod = w.cluster.pods[0]
    for host, device in ((w.client.host, "eth0"), (w.node, w.client.dev), (w.node, pod.dev),
                         (pod.host, "eth0")):
        host.ip(f"link set {device} mtu 9000")
    w.client.host.run("ethtool", "-K", "eth0", "tx", "off")
    w.start({"blue": 1})
    with Capture(pod.host) as seen:
        sock = tcp_socket(w.client.host, family)
        sock.connect((VIPS[family], 9000))
        exchange(sock)
        sock = udp_socket(w.client.host, family)
        sock.connect((VIPS[family], 9001))
        data = random.Random(1).randbytes(8900)
        sock.send(data)
        assert sock.recv(65536).endswith(data)
    translated(w)
    assert max(len(frame.data) for frame in seen.frames) > 8900
    assert w.cluster.invalid() == 0
