# SPDX-License-Identifier: Apache-2.0
"""A pod that dies without a word of the cluster: new connections go to another, by the kernel
alone, with the agent or without (S13)."""

import pytest

from lab import wait_for
from lab.load import HttpLoad, http
from lab.world import AGENT, HTTP, VIPS

HOOKS = ["tcx", "xdp"]
MUTE = ("table inet mute {{ chain {hook} {{ type filter hook {hook} priority 0; "
        "tcp dport 8080 drop; }}; }}")


def scene(world, hook, agent, n=4):
    w = world(mode=hook, ports=[HTTP], groups={"blue": n}).start({"blue": 1})
    w.leave(agent)
    return w


def under_load(w, family, kill):
    """200 connections a second; kill() after a second of it. Returns those from then on."""
    load = HttpLoad(w.client, VIPS[family], rate=200, total=1000, concurrency=1000,
                    timeout=10).start()
    wait_for(lambda: len(load.records) >= 200, 10, "a second of load")
    kill()
    return load.wait()


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("hook", HOOKS)
def test_s13_a_pod_that_refuses_costs_a_second_and_no_connection(world, hook, family, agent):
    w = scene(world, hook, agent)
    dead = w.cluster.pods[0]
    tally = under_load(w, family, dead.nginx.stop)
    # What nginx had taken and not answered yet ends with it.
    assert set(tally.errors) <= {"reset"} and tally.errors["reset"] < 5, tally
    assert len(tally.pods) == 4 and tally.slowest() < 2.5, (tally, tally.slowest())
    late = [r for r in tally.records if r.took > 0.9]
    assert len(late) > 50 and all(r.pod != dead.name for r in late), len(late)


@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("family", [4, 6])
def test_s13_a_pod_that_answers_nothing_costs_a_second_and_no_connection(world, family, agent):
    w = scene(world, "tcx", agent)
    dead = w.cluster.pods[0]
    tally = under_load(w, family, lambda: dead.host.nft(MUTE.format(hook="input")))
    assert not tally.errors, tally
    late = [r for r in tally.records if r.took > 0.9]
    assert len(late) > 50 and all(r.pod != dead.name for r in late), len(late)


@pytest.mark.parametrize("family", [4, 6])
def test_when_all_refuse_a_client_is_told_after_its_second_try(world, family):
    w = scene(world, "tcx", AGENT[0], n=2)
    for pod in w.cluster.pods:
        pod.nginx.stop()
    tally = http(w.client, VIPS[family], total=20, timeout=10)
    assert tally.errors == {"refused": 20}, tally
    assert 0.9 < tally.slowest() < 2.5, tally.slowest()


def test_the_last_pod_of_a_service_refuses_at_once(world):
    w = scene(world, "tcx", AGENT[0], n=1)
    w.cluster.pods[0].nginx.stop()
    tally = http(w.client, VIPS[4], total=20)
    assert tally.errors == {"refused": 20} and tally.slowest() < 0.5, tally
