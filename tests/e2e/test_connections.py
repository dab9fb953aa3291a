# SPDX-License-Identifier: Apache-2.0
"""What becomes of TCP connections, as the kernel counts it: real servers that refuse, are silent,
hang up, and work."""

import re
import socket
import struct
import threading
import time

import pytest

from lab import wait_for
from lab.cluster import VIP4
from lab.k8s import traffic_policy as policy
from lab.load import http
from lab.servers import HangUp
from lab.world import AGENT, ECHO, HTTP, MODES, VIPS

NOTHING = {"refused": 0, "unanswered": 0, "reset": 0}


def tcp(w, variant="blue", port=80):
    """What status says of a variant's connections to one port."""
    (service,) = [s for s in w.agent.status()["services"] if s["ports"][0]["port"] == port]
    (found,) = [v for v in service["variants"] if v["name"] == variant]
    return found["tcp"]


def check(w, **want):
    """Are the counts these, the other troubles being 0?"""
    got = tcp(w)
    assert {name: got[name] for name in {**NOTHING, **want}} == {**NOTHING, **want}, got


def connect(w, address, n, timeout, say=b"GET / HTTP/1.0\r\n\r\n"):
    """n connections at once. Returns how each ended: answered, refused, reset, silent."""
    ends = []

    def one():
        try:
            with w.client.host.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
                s.settimeout(timeout)
                s.connect((address, 80))
                s.sendall(say)
                ends.append("answered" if s.recv(100) else "silent")
        except ConnectionRefusedError:
            ends.append("refused")
        except ConnectionResetError:
            ends.append("reset")
        except socket.timeout:
            ends.append("silent")

    threads = [threading.Thread(target=one) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_connections_that_work_are_established_timed_and_closed(world, mode, family):
    w = world(groups={"blue": 2}, mode=mode).start({"blue": 1})
    for _ in range(30):
        assert not http(w.client, VIPS[family], total=1).errors
        time.sleep(0.01)
    check(w, established=30)
    wait_for(lambda: tcp(w)["closed"] == 30, 3, "all to be closed")
    got = tcp(w)
    assert 0 < got["connect_p50_ms"] <= got["connect_p99_ms"] < 1000, got
    assert 0 < got["connect_mean_ms"] < 1000
    backends = w.agent.service()["variants"][0]["backends"]
    assert sum(b["tcp"]["established"] for b in backends) == 30


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_refused_silent_and_broken_backends_are_told_apart(world, mode, family, agent):
    w = world(groups={"blue": 1}, mode=mode).start({"blue": 1})
    (pod,) = w.cluster.pods
    w.leave(agent)

    pod.nginx.stop()
    assert connect(w, VIPS[family], 7, 2) == ["refused"] * 7
    server = HangUp(pod)
    assert connect(w, VIPS[family], 5, 2) == ["reset"] * 5
    server.close()
    pod.nginx.start()
    pod.nginx.wait()
    # Linux repeats a SYN after a second, and after two more.
    pod.host.nft("table inet mute { chain in { type filter hook input priority 0; "
                 "tcp dport 8080 drop; }; }")
    assert connect(w, VIPS[family], 4, 3.5) == ["silent"] * 4
    pod.host.run("nft", "delete", "table", "inet", "mute")
    assert connect(w, VIPS[family], 3, 2) == ["answered"] * 3

    w.back(agent)
    check(w, established=8, refused=7, unanswered=4, reset=5)
    metrics = w.agent.http("/metrics")[1]
    for name, n in (("established", 8), ("refused", 7), ("unanswered", 4), ("reset", 5)):
        assert re.search(rf'shunt_connections_{name}_total\{{namespace="default",service="demo",'
                         rf'variant="blue",port="80",backend="[^o"]*"\}} {n}\n', metrics), name
    table = w.cli.run("status", "demo").stdout
    assert re.search(r"VARIANT +ESTABLISHED +REFUSED +UNANSWERED +RESET +CLOSED +CONNECT P50 +P99\n"
                     r" +blue +8 +7 +4 +5 ", table), table
    assert re.search(r"TOTAL +REFUSED +UNANSWERED +RESET\n(.*\n)?.*ready.* 7 +4 +5\n", table), table


def test_a_forged_reset_does_not_count(world):
    w = world(groups={"blue": 1}, ports=[HTTP]).start({"blue": 1})
    w.node.nft("delete chain inet guard forward")  # it drops them, being INVALID
    (pod,) = w.cluster.pods
    pod.host.nft("table inet mute { chain in { type filter hook input priority 0; "
                 "tcp dport 8080 drop; }; }")
    with w.client.host.socket() as s:
        s.setblocking(False)
        s.connect_ex((VIP4, 80))
        wait_for(lambda: w.agent.service()["variants"][0]["connections_total"] == 1, 2, "the SYN")
        client = s.getsockname()
        with pod.host.socket(kind=socket.SOCK_RAW, proto=socket.IPPROTO_TCP) as raw:
            for ack in (0, 1, 0x7fffffff, 0xffffffff):
                raw.sendto(reset(pod.v4, 8080, *client, ack), (client[0], 0))
    wait_for(lambda: w.agent.service()["variants"][0]["packets_out"] == 4, 2, "the resets")
    check(w)


def reset(source, sport, destination, dport, ack):
    """A TCP header with RST and ACK."""
    header = struct.pack("!HHIIBBHHH", sport, dport, 0, ack, 5 << 4, 0x14, 0, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(
        "!BBH", 0, socket.IPPROTO_TCP, len(header))
    total = sum(struct.unpack(f"!{len(pseudo + header) // 2}H", pseudo + header))
    total = (total & 0xffff) + (total >> 16)
    total = ~((total & 0xffff) + (total >> 16)) & 0xffff
    return header[:16] + struct.pack("!H", total) + header[18:]


def test_nothing_is_counted_where_signals_are_off(world):
    w = world(groups={"blue": 1}, ports=[HTTP, ECHO])
    w.agent.apply("policy", policy(signals="off"))
    w.start({"blue": 1})
    assert not http(w.client, VIP4, total=5).errors
    assert tcp(w) is None
    metrics = w.agent.http("/metrics")[1]
    assert 'shunt_connections_established_total{' not in metrics
    assert w.agent.service()["variants"][0]["connections_total"] == 5
