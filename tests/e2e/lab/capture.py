# SPDX-License-Identifier: Apache-2.0
"""Frames as a device sees them, and whether their checksums are right.

The kernel says of each captured frame whether its TCP or UDP checksum is still partial: then
only the pseudo header's sum stands there, for a network card to finish. Both are verified.
"""

import collections
import socket
import struct
import threading

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_CSUMNOTREADY = 8

Frame = collections.namedtuple("Frame", "data partial")


class Capture:
    """Collects what arrives at a device while the `with` block runs; outgoing: and leaves it."""

    def __init__(self, host, device="eth0", outgoing=False):
        self.frames = []
        self._sock = host.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, int(not outgoing))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._sock.bind((device, ETH_P_ALL))
        self._sock.settimeout(0.05)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._sock.close()

    def _main(self):
        while True:
            try:
                data, control, _, _ = self._sock.recvmsg(70000, 256)
            except socket.timeout:
                if self._stop.is_set():
                    return
                continue
            status = next((struct.unpack_from("=I", value)[0] for level, kind, value in control
                           if (level, kind) == (SOL_PACKET, PACKET_AUXDATA)), 0)
            self.frames.append(Frame(data, bool(status & TP_STATUS_CSUMNOTREADY)))

    def packets(self, kind=None, port=None):
        """(scapy packet, frame) of the TCP or UDP packets from or to a port."""
        for frame in self.frames:
            packet = Ether(frame.data)
            for layer in (TCP, UDP) if kind is None else (kind,):
                if layer in packet and (port is None or port in (packet[layer].sport,
                                                                 packet[layer].dport)):
                    yield packet, frame


def ones_sum(data):
    """The folded ones' complement sum, RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def pseudo_header(ip, proto, length):
    if isinstance(ip, IP):
        return socket.inet_aton(ip.src) + socket.inet_aton(ip.dst) + struct.pack("!HH", proto, length)
    return (socket.inet_pton(socket.AF_INET6, ip.src) + socket.inet_pton(socket.AF_INET6, ip.dst) +
            struct.pack("!II", length, proto))


def checksum_fault(packet, frame):
    """What is wrong with the checksums of a TCP or UDP packet; "" if nothing."""
    raw = frame.data[14:]
    if IP in packet:
        ip, header = packet[IP], packet[IP].ihl * 4
        if ones_sum(raw[:header]) != 0xffff:
            return "IPv4 header"
        segment = raw[header:ip.len]
    else:
        ip = packet[IPv6]
        segment = raw[40:40 + ip.plen]
    proto = 6 if TCP in packet else 17
    pseudo = pseudo_header(ip, proto, len(segment))
    if frame.partial:
        field = struct.unpack_from("!H", segment, 16 if proto == 6 else 6)[0]
        return "" if field == ones_sum(pseudo) else "partial"
    return "" if ones_sum(pseudo + segment) == 0xffff else "transport"
