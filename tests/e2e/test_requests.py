# SPDX-License-Identifier: Apache-2.0
"""Limits of requests: refused on their connections, by the kernel, with real nginx and curl."""

import subprocess
import time

import pytest

from lab import wait_for
from lab.cluster import VIP4, VIP6
from lab.k8s import traffic_policy as policy
from lab.servers import H2_PORT
from lab.world import AGENT, HTTP, MODES

H2C = (81, H2_PORT, "TCP")


def limited(world, mode, limit, ports=(HTTP,), agent=AGENT[0], options=()):
    """The usual scene, its requests limited."""
    w = world(mode=mode, ports=list(ports), groups={"blue": 1}, options=list(options))
    w.agent.apply("policy", policy(rateLimits=[{"unit": "requests", **limit}]))
    w.start({"blue": 1}, app_protocol="http")
    assert "NotEnforced" not in str(w.agent.status())
    assert "RequestsNotSeen" not in str(w.agent.status())
    w.leave(agent)
    return w


def curl(w, address, n, *words, check=True):
    """GETs, over one connection as far as the server keeps it. Codes, and header lines."""
    host = f"[{address}]" if ":" in address else address
    urls = [word for _ in range(n) for word in ("-o", "/dev/null", f"http://{host}/")]
    got = w.client.host.run("curl", "-sS", "-m", "10", "-w", "%{http_code} %header{retry-after}\n",
                            *words, *urls, check=check)
    lines = got.stdout.split("\n")
    return [line.split() for line in lines if line], got


def held(w):
    """TCP connections that the backends hold."""
    return sum(len(pod.host.run("ss", "-Htn", "sport", "=", ":8080").stdout.splitlines())
               for pod in w.cluster.pods)


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("address", [VIP4, VIP6], ids=["v4", "v6"])
@pytest.mark.parametrize("mode", MODES)
def test_curl_reads_429_and_comes_back_when_it_was_told_to(world, mode, address, agent):
    w = limited(world, mode, {"average": 1, "period": "2s", "burst": 3}, agent=agent)
    lines, got = curl(w, address, 6)
    assert not got.stderr, got.stderr
    assert lines[:3] == [["200"]] * 3, lines
    assert [line[0] for line in lines[3:]] == ["429"] * 3, lines
    wait = int(lines[-1][1])
    assert 1 <= wait <= 2, lines
    time.sleep(wait)
    lines, _ = curl(w, address, 1)
    assert lines == [["200"]]
    wait_for(lambda: held(w) == 0, 5, "the backends to be rid of who was refused")


@pytest.mark.parametrize("mode", MODES)
def test_so_many_of_a_hundred_requests_are_answered(world, mode):
    w = limited(world, mode, {"average": 10, "burst": 20})
    began = time.monotonic()
    lines, got = curl(w, VIP4, 100)
    took = time.monotonic() - began
    assert not got.stderr, got.stderr
    answered = lines.count(["200"])
    assert 20 <= answered <= 22 + 10 * took, (answered, took)
    assert {line[0] for line in lines} == {"200", "429"}
    assert w.agent.reasons()["REQUEST_LIMITED"] == 100 - answered
    # Of each that was refused: a RST to the backend, and what the client closes with.
    wait_for(lambda: held(w) == 0, 5, "the backends to be rid of who was refused")
    text = w.agent.http("/metrics")[1]
    refused = next(line for line in text.splitlines() if line.startswith("shunt_limited_total{"))
    assert 'unit="requests"' in refused and refused.endswith(f" {100 - answered}"), refused


@pytest.mark.parametrize("mode", MODES)
def test_a_body_is_taken_and_a_refused_one_ends_well(world, mode):
    w = limited(world, mode, {"average": 1, "period": "1h", "burst": 1})
    with open(w.lab.path("body"), "wb") as f:
        f.write(b"GET / HTTP/1.1\r\n" * 20000)
    post = ["--data-binary", f"@{w.lab.path('body')}", "-H", "Expect:"]
    lines, got = curl(w, VIP4, 1, *post, check=False)
    assert lines[0][0] in ("200", "405"), (lines, got.stderr)
    for _ in range(5):
        lines, got = curl(w, VIP4, 1, *post, check=False)
        assert lines[0][0] == "429" and "reset" not in got.stderr, (lines, got.stderr)
    wait_for(lambda: held(w) == 0, 5, "the backends to be rid of who was refused")
    gone = ["ss", "-Htn", "dst", VIP4]
    wait_for(lambda: not w.client.host.run(*gone).stdout, 5, "the client to be done, too")


@pytest.mark.parametrize("mode", MODES)
def test_http2_is_reset(world, mode):
    w = limited(world, mode, {"average": 1, "period": "1h", "burst": 50}, ports=(HTTP, H2C))
    done = w.client.host.run("h2load", "-n", 200, "-c", 1, "-m", 1, f"http://{VIP4}:81/",
                             check=False).stdout
    assert "status codes: 50 2xx" in done, done
    wait_for(lambda: held(w) == 0, 5, "the backends to be rid of who was refused")


def test_reset_and_drop_are_answers_too(world):
    w = limited(world, "tcx", {"average": 1, "period": "1h", "burst": 1, "answer": "reject"})
    assert curl(w, VIP4, 1)[0] == [["200"]]
    began = time.monotonic()
    lines, got = curl(w, VIP4, 1, check=False)
    assert lines == [["000"]] and "reset" in got.stderr, (lines, got.stderr)
    assert time.monotonic() - began < 2
    generation = w.agent.status()["generation"]
    w.agent.apply("policy", policy(rateLimits=[{"unit": "requests", "average": 2, "burst": 1,
                                                "answer": "drop"}]))
    w.agent.wait_status(lambda s: s["generation"] > generation, "the change")
    began = time.monotonic()
    lines, got = curl(w, VIP4, 4)
    assert lines == [["200"]] * 4, (lines, got.stderr)
    assert time.monotonic() - began > 1


@pytest.mark.parametrize("mode", MODES)
def test_an_open_breaker_answers_on_connections_that_are_there(world, mode):
    w = world(mode=mode, groups={"blue": 1})
    w.agent.apply("policy", policy(circuitBreaker={
        "expression": "NetworkErrorRatio() > 0.9", "responseCode": 507}))
    w.start({"blue": 1}, app_protocol="http")
    go = w.lab.path("go")
    script = ("import http.client, os, time\n"
              f"c = http.client.HTTPConnection('{VIP4}', timeout=10)\n"
              "for n in range(2):\n"
              "  c.request('GET', '/')\n"
              "  r = c.getresponse()\n"
              "  print(r.status, r.read(), flush=True)\n"
              f"  while not os.path.exists('{go}'): time.sleep(0.05)\n")
    client = w.client.host.popen("/usr/bin/python3", "-c", script,
                                 stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline().startswith("200 ")
    w.cli.run("breaker", "demo", "open", "--force", "--reason", "the test")
    with open(go, "w"):
        pass
    assert client.communicate(timeout=10)[0] == "507 b'circuit breaker open\\n'\n"
    wait_for(lambda: held(w) == 0, 5, "the backend to be rid of who was refused")
    assert w.agent.reasons()["BREAKER_OPEN"] == 1
