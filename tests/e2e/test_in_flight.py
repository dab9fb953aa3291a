# SPDX-License-Identifier: Apache-2.0
"""Limits of requests in flight: real nginx that takes its time, with the agent and without."""

import re
import socket
import struct
import time

import pytest

from lab import wait_for
from lab.cluster import VIP4
from lab.k8s import traffic_policy as policy
from lab.load import http
from lab.world import AGENT, VIPS

RESET = struct.pack("ii", 1, 0)


def scene(world, limit, groups=None, **more):
    w = world(groups=groups or {"blue": 1}, **more)
    w.agent.apply("policy", policy(inFlight=[{"unit": "requests", **limit}]))
    w.start({group: 1 for group in groups or {"blue": 1}}, app_protocol="http")
    assert "NotEnforced" not in str(w.agent.status())
    return w


def mute(pod):
    """Its answers are lost until speak(): requests stay in flight."""
    pod.host.nft("table inet mute { chain output { type filter hook output priority 0; "
                 "tcp sport 8080 tcp flags & psh == psh drop; }; }")


def speak(pod):
    pod.host.run("nft", "delete", "table", "inet", "mute")


def hold(w, family=4, source=None):
    """A connection whose request is not answered."""
    sock = w.client.host.socket(socket.AF_INET6 if family == 6 else socket.AF_INET)
    if source:
        sock.bind((source, 0))
    sock.settimeout(5)
    sock.connect((VIPS[family], 80))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
    time.sleep(0.05)
    return sock


def abort(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()
    time.sleep(0.05)


def asks(w, family=4):
    """What the next request meets: "" if it is answered well."""
    tally = http(w.client, VIPS[family], total=1, timeout=0.6)
    return next(iter(tally.errors), "")


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("mode,family", [("tcx", 4), ("tcx", 6), ("xdp", 4)])
def test_one_more_than_may_gets_a_429_until_one_is_answered(world, mode, family, agent):
    w = scene(world, {"max": 3}, mode=mode)
    w.leave(agent)
    (pod,) = w.cluster.pods
    assert not http(w.client, VIPS[family], total=50, concurrency=1).errors
    mute(pod)
    held = [hold(w, family) for _ in range(3)]
    with hold(w, family) as sock:
        answer = sock.recv(1000).decode()
        assert answer.startswith("HTTP/1.1 429 ") and sock.recv(10) == b"", answer
        assert re.search(r"Retry-After: +1\r\n", answer), answer
    assert asks(w, family) == "429"
    speak(pod)
    # nginx's TCP repeats the answers that were lost.
    for sock in held:
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    # Their connections go on, again and again, and count when they ask.
    for _ in range(5):
        for sock in held:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    assert not http(w.client, VIPS[family], total=50, concurrency=1).errors
    w.back(agent)
    text = w.agent.http("/metrics")[1]
    refused = re.search(r'shunt_limited_total\{[^}]*kind="in_flight",unit="requests"[^}]*\} '
                        r'(\d+)', text)
    assert refused and int(refused[1]) == 2, refused


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("end", ["the client resets", "the client goes", "the pod dies"])
def test_what_ends_without_an_answer_is_given_back(world, end, agent):
    w = scene(world, {"max": 2})
    w.leave(agent)
    (pod,) = w.cluster.pods
    mute(pod)
    held = [hold(w) for _ in range(2)]
    assert asks(w) == "429"
    if end == "the client resets":
        for sock in held:
            abort(sock)
    elif end == "the client goes":
        for sock in held:
            sock.close()
    else:
        pod.nginx.process.kill()
        pod.nginx.process.wait()
        pod.host.run("pkill", "-KILL", "-f", pod.nginx.config, check=False)
        speak(pod)
        wait_for(lambda: asks(w) == "refused", 5, "the end of nginx")
        pod.nginx.start()
        pod.nginx.wait()
        mute(pod)
    speak(pod)
    wait_for(lambda: asks(w) == "", 5, "the places to be free")
    mute(pod)
    again = [hold(w) for _ in range(2)]
    assert asks(w) == "429"
    for sock in again:
        abort(sock)


def test_who_went_without_a_word_is_forgotten_by_the_kernel_alone(world):
    w = scene(world, {"max": 2}, options=["--timeout-established", "3s"])
    w.agent.kill()
    (pod,) = w.cluster.pods
    mute(pod)
    held = [hold(w) for _ in range(2)]
    w.client.host.nft("table inet gone { chain output { type filter hook output priority 0; "
                      "tcp flags & (fin | rst) != 0 drop; }; }")
    for sock in held:
        sock.close()
    assert asks(w) == "429"
    speak(pod)
    w.client.host.run("nft", "delete", "table", "inet", "gone")
    # Those who come find the flows that are idle for too long, a few sets each.
    wait_for(lambda: "" in {asks(w) for _ in range(20)}, 40, "a place to be free")


@pytest.mark.parametrize("agent", AGENT)
def test_each_client_has_its_own(world, agent):
    w = scene(world, {"max": 1, "scope": "client"})
    w.leave(agent)
    (pod,) = w.cluster.pods
    mute(pod)
    first = hold(w, source=w.client.address(1))
    second = hold(w, source=w.client.address(2))
    third = hold(w, source=w.client.address(1))
    assert third.recv(100).startswith(b"HTTP/1.1 429 ")
    speak(pod)
    assert first.recv(100).startswith(b"HTTP/1.1 200")
    assert second.recv(100).startswith(b"HTTP/1.1 200")


def test_a_variant_s_limit_answers_as_it_says_and_status_shows_it(world):
    w = scene(world, {"max": 1, "scope": "variant", "answer": "reject"},
              groups={"blue": 1, "green": 1})
    for pod in w.cluster.pods:
        mute(pod)
    held = [hold(w) for _ in range(12)]
    met = []
    for sock in held:
        sock.settimeout(0.5)  # the client's TCP says it again before it is reset
        try:
            met.append(sock.recv(10))
        except OSError as e:
            met.append(type(e).__name__)
    assert met.count("TimeoutError") == 2 and met.count("ConnectionResetError") == 10, met
    page = w.cli.run("status", "demo").stdout
    assert re.search(r"at most 1 requests at once for each variant, else reject", page), page
    text = w.cli.run("explain", "10.9.9.9:4000", f"{VIP4}:80").stdout
    assert "requests" in text, text
