# SPDX-License-Identifier: Apache-2.0
"""One table of crafted packets against the very programs that run on a gate (BPF_PROG_TEST_RUN).

scapy is the other opinion: it builds each packet, and builds anew what must come out, all
checksums included. The two must be equal to the byte.
"""

import ctypes
import json
import os
import random

import pytest
from scapy.layers.inet import (ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP, IPOption_RR,
                               IPOption_Timestamp)
from scapy.layers.inet6 import (IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting, PadN)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from lab.world import DATAGRAM, HTTP, VIPS

FAMILIES = [4, 6]
MODES = ["tcx", "xdp"]
PASS = {"tcx": 0xffffffff, "xdp": 2}
CLIENT = {4: "10.1.0.2", 6: "fd01::2"}


# With both addresses: scapy would ask the network for them.
ETHER = Ether(dst="02:00:01:00:00:02", src="02:00:01:00:00:01")


def base(family, src, dst):
    """The IP header, without checksums and lengths: scapy fills them."""
    return IP(src=src, dst=dst, id=7, flags="DF") if family == 4 else \
        IPv6(src=src, dst=dst, fl=0x12345)


def plain(family, src, dst):
    return ETHER / base(family, src, dst)


def tagged(*tags):
    def shape(family, src, dst):
        frame = ETHER.copy()
        for tag in tags:
            frame = frame / tag.copy()
        return frame / base(family, src, dst)
    return shape


def optioned(*options):
    def shape(family, src, dst):
        assert family == 4
        return ETHER / IP(src=src, dst=dst, id=7, options=[o.copy() for o in options])
    return shape


def extended(*headers):
    def shape(family, src, dst):
        assert family == 6
        frame = Ether() / base(family, src, dst)
        for header in headers:
            frame = frame / header.copy()
        return frame
    return shape


PAD = [PadN(optdata=b"\0\0\0\0")]
DEST, HOP = IPv6ExtHdrDestOpt(options=PAD), IPv6ExtHdrHopByHop(options=PAD)
LONG = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(60))])
ROUTED = IPv6ExtHdrRouting(type=2, segleft=0, addresses=["fd77::1"])

# What comes through: (name, families, shape).
SHAPES = [
    ("plain", FAMILIES, plain),
    ("one tag", FAMILIES, tagged(Dot1Q(vlan=7))),
    ("two tags", FAMILIES, tagged(Dot1Q(vlan=7), Dot1Q(vlan=4094, prio=5))),
    ("service tag", FAMILIES, tagged(Dot1AD(vlan=9), Dot1Q(vlan=7))),
    ("no operation", [4], optioned(IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP())),
    ("record route", [4], optioned(IPOption_RR(length=7, routers=["0.0.0.0"]))),
    ("all options", [4], optioned(IPOption_Timestamp(length=40, timestamp=1))),
    ("destination", [6], extended(DEST)),
    ("hop by hop", [6], extended(HOP)),
    ("long header", [6], extended(LONG)),
    ("routing done", [6], extended(ROUTED)),
    ("atomic fragment", [6], extended(IPv6ExtHdrFragment(id=99))),
    ("six headers", [6], extended(HOP, DEST, DEST, DEST, DEST, DEST)),
]

# What is passed, untouched: (name, families, shape, reason).
PASSED = [
    ("three tags", FAMILIES, tagged(Dot1Q(vlan=1), Dot1Q(vlan=2), Dot1Q(vlan=3)), "VLAN_DEPTH"),
    ("seven headers", [6], extended(HOP, DEST, DEST, DEST, DEST, DEST, DEST), "EXT_HEADERS"),
]


def segments(family):
    """TCP's and UDP's packets of one flow, by name."""
    del family
    numbers = random.Random(7)
    data = Raw(bytes(numbers.randrange(256) for _ in range(101)))
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (5, 0)), ("NOP", None), ("WScale", 7)]
    return [
        ("SYN", TCP(dport=80, flags="S", seq=1000, options=options)),
        ("data", TCP(dport=80, flags="PA", seq=1001, ack=5001) / data),
        ("datagram", UDP(dport=9001) / data),
        ("empty datagram", UDP(dport=9001)),
    ]


def fresh(packet):
    """The packet with every length and checksum computed anew."""
    packet = packet.copy()
    for layer in (IP, IPv6, TCP, UDP):
        if layer in packet:
            for field in ("chksum", "len", "plen"):
                if field in packet[layer].fields:
                    del packet[layer].fields[field]
    return packet


def readdressed(packet, src=None, dst=None, sport=None, dport=None):
    """What a right translation makes of a packet."""
    packet = packet.copy()
    ip = packet[IP] if IP in packet else packet[IPv6]
    l4 = packet[TCP] if TCP in packet else packet[UDP]
    ip.src, ip.dst = src or ip.src, dst or ip.dst
    l4.sport, l4.dport = sport or l4.sport, dport or l4.dport
    return bytes(fresh(packet))


class RunOptions(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf."""
    _fields_ = [("sz", ctypes.c_size_t), ("data_in", ctypes.c_char_p),
                ("data_out", ctypes.c_void_p), ("data_size_in", ctypes.c_uint32),
                ("data_size_out", ctypes.c_uint32), ("ctx_in", ctypes.c_void_p),
                ("ctx_out", ctypes.c_void_p), ("ctx_size_in", ctypes.c_uint32),
                ("ctx_size_out", ctypes.c_uint32), ("retval", ctypes.c_uint32),
                ("repeat", ctypes.c_int), ("duration", ctypes.c_uint32), ("flags", ctypes.c_uint32),
                ("cpu", ctypes.c_uint32), ("batch_size", ctypes.c_uint32)]


class Gate:
    """The programs of a gate, run on one frame at a time."""

    def __init__(self, world, mode):
        self.world, self.mode = world, mode
        self.libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        device = world.node.has_link("vc0")
        self.egress = self.program_of(f"{device}-egress")
        self.ingress = self.program_of(f"{device}-{'xdp' if mode == 'xdp' else 'ingress'}")

    def program_of(self, link):
        """A descriptor of the program at a pinned link; open until the test ends."""
        (version,) = os.listdir(self.world.agent.bpffs)
        shown = self.world.node.run("bpftool", "-j", "link", "show", "pinned",
                                    f"{self.world.agent.bpffs}/{version}/links/{link}")
        fd = self.libbpf.bpf_prog_get_fd_by_id(json.loads(shown.stdout)["prog_id"])
        assert fd >= 0, os.strerror(ctypes.get_errno())
        return fd

    def run(self, program, frame):
        """(verdict, frame that came out)"""
        out = ctypes.create_string_buffer(16384)
        options = RunOptions(sz=ctypes.sizeof(RunOptions), data_in=frame, data_size_in=len(frame),
                             data_out=ctypes.addressof(out), data_size_out=len(out), repeat=1)
        # Here, not in the scene: the kernel's stand-in device is `lo` of the caller's namespace.
        failed = self.libbpf.bpf_prog_test_run_opts(program, ctypes.byref(options))
        assert not failed, os.strerror(ctypes.get_errno())
        return options.retval, out.raw[:options.data_size_out]

    def reason(self, program, frame):
        """(verdict, frame, the reasons that were counted)"""
        before = self.world.agent.reasons()
        verdict, out = self.run(program, frame)
        after = self.world.agent.reasons()
        # The gate is live: neighbours and listeners find each other by ICMPv6 meanwhile.
        return verdict, out, [name for name in after
                              if after[name] != before.get(name, 0) and name != "L4_PROTO"]


def scene(world, mode):
    return world(mode=mode, ports=[HTTP, DATAGRAM], groups={"blue": 1, "green": 1}).start(
        {"blue": 50, "green": 50})


def rows(table):
    return [(family, *row) for row in table for family in row[1]]


@pytest.mark.parametrize("mode", MODES)
def test_what_comes_out_is_what_scapy_would_have_built(world, mode):
    w = scene(world, mode)
    gate = Gate(w, mode)
    faults = []
    port = 20000
    for family, name, _, shape in rows(SHAPES):
        backends = {pod.v4 if family == 4 else pod.v6 for pod in w.cluster.pods}
        for what, l4 in segments(family):
            l4 = l4.copy()
            tcp = TCP in l4
            # Data belong to the connection of the SYN before them.
            port += what != "data"
            l4.sport = port
            sent = fresh(shape(family, CLIENT[family], VIPS[family]) / l4)
            label = f"{name}, IPv{family}, {what}"
            verdict, out = gate.run(gate.ingress, bytes(sent))
            got = Ether(out)
            ip = got[IP] if IP in got else got[IPv6] if IPv6 in got else None
            if verdict != PASS[mode] or ip is None or ip.dst not in backends:
                faults.append(f"{label}: verdict {verdict:#x}, to {ip and ip.dst}")
                continue
            target = 8080 if tcp else 9001
            if out != readdressed(sent, dst=ip.dst, dport=target):
                faults.append(f"{label}: {out.hex()} is not as scapy has it")
            # The pod's answer, of the same shape.
            back = l4.copy()
            back.sport, back.dport = target, port
            if tcp:
                back.flags, back.seq, back.ack = ("SA", 5000, 1001) if what == "SYN" else \
                    ("A", 5001, 1102)
            answer = fresh(shape(family, ip.dst, CLIENT[family]) / back)
            verdict, out = gate.run(gate.egress, bytes(answer))
            if out != readdressed(answer, src=VIPS[family], sport=80 if tcp else 9001):
                faults.append(f"{label}: the answer {out.hex()} is not as scapy has it")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_understood_is_passed_untouched_and_counted(world, mode):
    w = scene(world, mode)
    gate = Gate(w, mode)
    for family, name, _, shape, reason in rows(PASSED):
        for what, l4 in segments(family):
            l4 = l4.copy()
            l4.sport = 30000
            sent = bytes(fresh(shape(family, CLIENT[family], VIPS[family]) / l4))
            for program, expected in ((gate.ingress, PASS[mode]), (gate.egress, PASS["tcx"])):
                verdict, out, reasons = gate.reason(program, sent)
                assert (verdict, out, reasons) == (expected, sent, [reason]), \
                    f"{name}, IPv{family}, {what}"


def pieces(packet, size, ident):
    """The fragments of a packet with `size` bytes of IP payload each, a multiple of 8."""
    ip = packet[IP] if IP in packet else packet[IPv6]
    raw, made = bytes(fresh(packet))[len(ETHER) + (20 if IP in packet else 40):], []
    proto = 6 if TCP in packet else 17
    for offset in range(0, len(raw), size):
        more = offset + size < len(raw)
        part = Raw(raw[offset:offset + size])
        if IP in packet:
            head = IP(src=ip.src, dst=ip.dst, id=ident, frag=offset // 8, proto=proto,
                      flags="MF" if more else 0)
        else:
            head = IPv6(src=ip.src, dst=ip.dst) / IPv6ExtHdrFragment(
                id=ident, offset=offset // 8, m=int(more), nh=proto)
        made.append(bytes(ETHER / head / part))
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_fragments_go_where_their_first_one_went(world, mode, family):
    w = scene(world, mode)
    gate = Gate(w, mode)
    backends = {pod.v4 if family == 4 else pod.v6 for pod in w.cluster.pods}
    payload = Raw(random.Random(9).randbytes(3000))
    for n in range(4):
        sent = plain(family, CLIENT[family], VIPS[family]) / UDP(sport=40000 + n, dport=9001) / payload
        if family == 4:
            sent[IP].flags = 0
        parts = pieces(sent, 1400, 500 + n)
        # Without its first one a fragment says nothing of its ports.
        assert gate.reason(gate.ingress, parts[1])[1:] == (parts[1], ["FRAGMENT_UNKNOWN"])
        _, first = gate.run(gate.ingress, parts[0])
        got = Ether(first)
        backend = (got[IP] if family == 4 else got[IPv6]).dst
        assert backend in backends
        there = Ether(readdressed(sent, dst=backend))
        assert [first, *(gate.run(gate.ingress, part)[1] for part in parts[1:])] == \
            pieces(there, 1400, 500 + n)
        answer = plain(family, backend, CLIENT[family]) / UDP(sport=9001, dport=40000 + n) / payload
        back = [gate.run(gate.egress, part)[1] for part in pieces(answer, 1400, 800 + n)]
        home = Ether(readdressed(answer, src=VIPS[family]))
        assert back == pieces(home, 1400, 800 + n)


@pytest.mark.parametrize("mode", MODES)
def test_a_packet_that_ends_at_any_byte_is_passed_untouched(world, mode):
    """Headers cut short: nothing is read behind the end, nothing is made up."""
    w = scene(world, mode)
    gate = Gate(w, mode)
    for family in FAMILIES:
        whole = bytes(fresh(plain(family, CLIENT[family], VIPS[family]) /
                            TCP(sport=50000, dport=80, flags="S")))
        # The kernel's test run for tc wants a whole IP header.
        least = 15 if mode == "xdp" else 34 if family == 4 else 54
        for length in range(least, len(whole)):
            assert gate.run(gate.ingress, whole[:length]) == (PASS[mode], whole[:length]), length


@pytest.mark.parametrize("mode", MODES)
def test_other_protocols_and_other_addresses_are_not_touched(world, mode):
    w = scene(world, mode)
    gate = Gate(w, mode)
    for family in FAMILIES:
        other = "10.99.99.99" if family == 4 else "fd99::1"
        ping = bytes(ETHER / IP(src=CLIENT[4], dst=VIPS[4]) / ICMP())
        for frame in (bytes(fresh(plain(family, CLIENT[family], other) / TCP(dport=80, flags="S"))),
                      bytes(fresh(plain(family, CLIENT[family], VIPS[family]) / TCP(dport=81))),
                      bytes(fresh(plain(family, CLIENT[family], VIPS[family]) / UDP(dport=80))),
                      ping):
            assert gate.run(gate.ingress, frame) == (PASS[mode], frame)
            assert gate.run(gate.egress, frame)[1] == frame
