# SPDX-License-Identifier: Apache-2.0
"""Limits of a service's policy, by real connections; each holds with the agent killed."""

import time

import pytest

from lab import wait_for
from lab.cluster import VIP4
from lab.k8s import traffic_policy as policy
from lab.load import HttpLoad, Long, http
from lab.world import AGENT, ECHO, HTTP, VIPS

MODES = ["tcx", "xdp"]


def limited(world, mode, spec, ports=None, options=(), agent=AGENT[0]):
    """The usual scene with a policy in force."""
    w = world(mode=mode, ports=ports or [HTTP], groups={"blue": 1}, options=list(options))
    w.agent.apply("policy", policy(**spec))
    w.start({"blue": 1})
    assert "NotEnforced" not in str(w.agent.status())
    assert "RequestsNotSeen" not in str(w.agent.status())
    w.leave(agent)
    return w


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_a_service_takes_so_many_connections_a_second(world, mode, family, agent):
    w = limited(world, mode, {"rateLimits": [{"average": 50, "burst": 10}]}, agent=agent)
    began = time.monotonic()
    tally = HttpLoad(w.client, VIPS[family], total=600, rate=200).start().wait()
    took = time.monotonic() - began
    assert set(tally.errors) == {"refused"}, tally
    # The burst, and what Traefik would delay by half an interval.
    expected = 50 * took + 11
    assert 0.93 * (50 * took) <= tally.groups["blue"] <= expected + 1, (tally, took)


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("mode", MODES)
def test_each_client_has_a_rate_of_its_own(world, mode, agent):
    w = limited(world, mode, {"rateLimits": [
        {"scope": "client", "average": 1, "period": "1h", "burst": 3}]}, agent=agent)
    sources = [(w.client.address(c, 4), 20000 + p) for p in range(5) for c in range(40)]
    tally = http(w.client, VIP4, total=200, sources=sources, concurrency=8)
    assert tally.groups["blue"] == 120 and tally.errors["refused"] == 80, tally


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_so_many_connections_are_in_being_and_one_that_ends_makes_room(world, mode, family, agent):
    w = limited(world, mode, {"inFlight": [{"max": 20}]}, ports=[HTTP, ECHO], agent=agent)
    held = Long(w.client, VIPS[family], 9000, 15)
    # Ports of one Service count together.
    tally = http(w.client, VIPS[family], total=60, concurrency=1)
    assert tally.groups["blue"] == 60, tally
    more = Long(w.client, VIPS[family], 9000, 5)
    tally = http(w.client, VIPS[family], total=20)
    assert tally.errors == {"refused": 20}, tally
    more.close()
    wait_for(lambda: not http(w.client, VIPS[family], total=4, concurrency=1).errors, 5,
             "the room that closed connections leave")
    assert not held.ping()
    held.close()


@pytest.mark.parametrize("agent", AGENT)
def test_a_limit_frees_itself_when_clients_vanish_without_a_word(world, agent):
    w = limited(world, "tcx", {"inFlight": [{"max": 10}]}, ports=[HTTP, ECHO], agent=agent,
                options=["--timeout-established", "2s", "--timeout-closing", "1s"])
    held = Long(w.client, VIP4, 9000, 10)
    assert http(w.client, VIP4, total=5).errors == {"refused": 5}
    # Nothing of theirs comes through any more: neither FIN nor RST.
    w.client.host.nft("table inet mute { chain out { type filter hook output priority 0; "
                      "tcp dport 9000 drop; }; }")
    held.close()
    wait_for(lambda: not http(w.client, VIP4, total=1).errors, 15, "the limit to free itself")


@pytest.mark.parametrize("mode", MODES)
def test_packets_of_a_client_are_held_to_their_rate(world, mode):
    """A thousand datagrams a second, of which a hundred get through."""
    port = (9001, 9001, "UDP")
    w = limited(world, mode, {"rateLimits": [
        {"unit": "packets", "scope": "client", "average": 100, "burst": 10}]}, ports=[port])
    script = ("import socket,time\n"
              "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
              f"s.connect(('{VIP4}',9001))\n"
              "t=time.monotonic()\n"
              "for n in range(2000):\n"
              "  s.send(b'x'*100)\n"
              "  time.sleep(max(0,t+n/1000-time.monotonic()))\n")
    w.client.host.run("/usr/bin/python3", "-c", script)
    packets = sum(v["packets_in"] for v in w.agent.service()["variants"])
    assert 190 <= packets <= 220, packets
    assert w.agent.reasons()["LIMITED_DROP"] == 2000 - packets
    text = w.agent.http("/metrics")[1]
    labels = 'namespace="default",service="demo",variant="",port="9001",' \
        'protocol="UDP",kind="rate",unit="packets",scope="client"'
    assert f"shunt_limit_admitted_total{{{labels}" in text
    refused = next(line for line in text.splitlines() if line.startswith("shunt_limited_total{"))
    assert refused.endswith(f" {2000 - packets}"), refused


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("mode", MODES)
def test_only_those_on_the_list_may_connect(world, mode, agent):
    w = limited(world, mode, {"sources": {"allow": ["10.0.0.0/8"], "deny": ["203.0.113.0/24"]}},
                agent=agent)
    inside = w.client.address(1, 4)
    assert inside.startswith("10.")
    tally = http(w.client, VIP4, total=20, sources=[(inside, 30000 + n) for n in range(20)])
    assert tally.groups["blue"] == 20, tally
    tally = http(w.client, VIPS[6], total=20)
    assert tally.errors == {"refused": 20}, tally


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("mode", MODES)
def test_load_balancer_ranges_hold_at_its_address_alone(world, mode, agent):
    """As kube-proxy has it: others are dropped, and a family without a range is open."""
    w = world(mode=mode, groups={"blue": 1},
              options=["--frontend-cidr", "203.0.113.0/24", "--frontend-cidr", "2001:db8::/32"])
    inside, outside = w.client.address(1, 4), w.client.address(2, 4)
    w.start({"blue": 1}, load_balancer=["203.0.113.7", "2001:db8::7"],
            source_ranges=[f"{inside}/32"])
    assert "NotEnforced" not in str(w.agent.status())
    explained = w.agent.cli.run("explain", f"{outside}:4000", "203.0.113.7:80").stdout
    assert "none of the loadBalancerSourceRanges" in explained, explained
    w.leave(agent)

    def connect(address, client, port):
        return http(w.client, address, total=5, concurrency=5, timeout=1,
                    sources=[(client, port + n) for n in range(5)])

    assert connect("203.0.113.7", inside, 30000).groups["blue"] == 5
    tally = connect("203.0.113.7", outside, 30000)
    assert tally.errors == {"timeout": 5}, tally
    # The cluster's own address is not the load balancer's, nor is the other family's filtered.
    assert connect(VIP4, outside, 31000).groups["blue"] == 5
    assert not http(w.client, "2001:db8::7", total=5).errors


def test_a_change_of_numbers_keeps_what_was_used(world):
    """The bucket of a limit that stays is not full again after a change of another."""
    w = limited(world, "tcx", {"rateLimits": [{"average": 1, "period": "1h", "burst": 5}]})
    tally = http(w.client, VIP4, total=10, concurrency=1)
    assert tally.groups["blue"] == 5, tally
    generation = w.agent.status()["generation"]
    w.agent.apply("policy", policy(rateLimits=[{"average": 1, "period": "1h", "burst": 5}],
                                   inFlight=[{"max": 100}]))
    w.agent.wait_status(lambda s: s["generation"] > generation, "the change")
    assert http(w.client, VIP4, total=5, concurrency=1).errors == {"refused": 5}
    w.agent.kill()
    w.agent.start()
    assert http(w.client, VIP4, total=5, concurrency=1).errors == {"refused": 5}
    w.agent.apply("policy")
    w.agent.wait_status(lambda s: s["generation"] > generation + 1, "the end of the policy")
    assert not http(w.client, VIP4, total=20).errors
