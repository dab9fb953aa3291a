# SPDX-License-Identifier: Apache-2.0
"""The dead-man switch: a canary of real nginx that begins to fail; also with the agent killed."""

import time

import pytest

from lab import k8s, wait_for
from lab.cluster import VIP4
from lab.k8s import traffic_policy as policy
from lab.load import HttpLoad, http
from lab.servers import HangUp
from lab.world import AGENT

DEAD_MAN = {"canary": "green", "stable": "blue", "marginBasisPoints": 500, "minSamples": 20,
            "window": "2s"}
WEIGHTS = {"blue": 3, "green": 1}


def guarded(world, mode="tcx"):
    w = world(groups={"blue": 1, "green": 1}, mode=mode)
    w.agent.apply("policy", policy(deadMan=DEAD_MAN))
    w.start(WEIGHTS, app_protocol="http")
    assert "NotEnforced" not in str(w.agent.status())
    return w


def load(w):
    return HttpLoad(w.client, VIP4, path="/fate", rate=300).start()


def share(w, total=120):
    """How many of new connections the canary gets."""
    return http(w.client, VIP4, total=total, path="/fate").groups["green"] / total


def variant(w, name="green"):
    (found,) = [v for v in w.agent.service()["variants"] if v["name"] == name]
    return found


def told(w):
    return [e for e in w.agent.cli.json("events", "-n", "1000") if e["reason"] == "DeadManTripped"]


def metric(w, name="green"):
    (line,) = [line for line in w.agent.http("/metrics")[1].splitlines()
               if line.startswith("shunt_variant_tripped{") and f'variant="{name}"' in line]
    return float(line.split()[-1])


def trip(w, agent=AGENT[0]):
    """The canary, well so far, fails. Returns how long it got connections then."""
    running = load(w)
    time.sleep(1)
    tally = running.tally()
    assert not tally.errors and tally.groups["green"] > 30, tally
    w.leave(agent)
    onset = time.monotonic()
    w.cluster.fate("500", "green")
    time.sleep(2)
    tally = running.stop()
    assert set(tally.errors) == {"500"}, tally
    return max(r.start for r in tally.records if r.error) - onset


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("mode", ["tcx", "xdp"])
def test_a_canary_that_fails_gets_nothing_within_a_second(world, mode, agent):
    w = guarded(world, mode)
    assert metric(w) == 0
    assert trip(w, agent) < 1
    w.cluster.fate()
    assert share(w) == 0, "it must stay out when it is well again"
    w.back(agent)
    assert variant(w)["tripped"] and variant(w)["share"] == 0
    assert not variant(w, "blue")["tripped"] and variant(w, "blue")["share"] == 1
    assert variant(w)["weight"] == 1, "what was asked for is still shown"
    assert metric(w) == 1 and metric(w, "blue") == 0
    assert "tripped" in w.agent.cli.run("status", "demo").stdout
    explained = w.agent.cli.run("explain", f"{w.client.address(1)}:4000", f"{VIP4}:80").stdout
    assert "blue, weight 3 of 3" in explained and "without green, whose" in explained, explained
    assert w.agent.status()["health"] == "degraded"
    assert "dead-man switch of green" in str(w.agent.status()["problems"])
    assert "dead man green" in w.agent.cli.run("doctor", check=False).stdout
    (event,) = wait_for(lambda: told(w), 3, "the event")
    assert event["object"] == "default/demo", event
    assert "takes green out" in event["text"], event
    assert share(w) == 0


def test_only_a_new_weight_or_an_operator_ends_it(world):
    w = guarded(world)
    trip(w)
    w.cluster.fate()
    # Another service, another policy, a restart, and pods that come and go.
    w.agent.apply("more", k8s.service("more", ["10.96.0.99"]),
                  k8s.slices("more", w.cluster.endpoints("blue")))
    w.agent.apply("policy", policy(deadMan={**DEAD_MAN, "minSamples": 30}))
    w.agent.kill()
    w.agent.start()
    assert variant(w)["tripped"] and share(w) == 0
    # An operator's word, though it is the same number.
    answer = w.agent.cli.json("weight", "demo", "green=1")
    assert answer["changed"], answer
    assert not variant(w)["tripped"] and 0.1 < share(w) < 0.45
    # What tripped it is forgotten, so it takes new errors to trip it again.
    before = len(told(w))
    trip(w)
    w.cluster.fate()
    assert variant(w)["tripped"] and share(w) == 0
    wait_for(lambda: len(told(w)) == before + 1, 3, "the second event")
    # And a new weight from the manifest.
    w.agent.cli.run("weight", "demo", "--from-manifest")
    trip(w)
    w.cluster.fate()
    w.split({"blue": 3, "green": 2}, app_protocol="http")
    wait_for(lambda: not variant(w)["tripped"], 3, "the new weight")
    assert 0.2 < share(w) < 0.6


@pytest.mark.parametrize("agent", AGENT)
def test_a_canary_stays_while_the_stable_variant_is_as_bad(world, agent):
    w = guarded(world)
    w.leave(agent)
    w.cluster.fate("502", "blue")
    w.cluster.fate("500", "green")
    tally = HttpLoad(w.client, VIP4, path="/fate", rate=300, total=600).start().wait()
    assert set(tally.errors) == {"500", "502"} and tally.errors["500"] > 90, tally
    # Well again, the stable variant shows that the canary is not.
    w.cluster.fate(None, "blue")
    tally = HttpLoad(w.client, VIP4, path="/fate", rate=300, total=900).start().wait()
    assert 0 < tally.errors["500"] < 180, tally
    w.back(agent)
    assert variant(w)["tripped"]


@pytest.mark.parametrize("agent", AGENT)
def test_without_http_connections_that_are_cut_off_trip_it(world, agent):
    w = world(groups={"blue": 1, "green": 1})
    w.agent.apply("policy", policy(deadMan=DEAD_MAN))
    w.start(WEIGHTS)
    assert "RequestsNotSeen" not in str(w.agent.status())
    w.leave(agent)
    assert share(w) > 0, "those that work do not trip it"
    (green,) = [pod for pod in w.cluster.pods if pod.group == "green"]
    green.nginx.stop()
    bad = HangUp(green)
    try:
        load = HttpLoad(w.client, VIP4, path="/fate", rate=200).start()
        w.back(agent)
        wait_for(lambda: variant(w)["tripped"], 30, "the switch")
        assert load.stop().errors, "the canary's clients see what it does"
        assert share(w) == 0
    finally:
        bad.close()
        green.nginx.start()
