# SPDX-License-Identifier: Apache-2.0
"""Clients that stay where they are (scenario S4): by hash of the address, and by session."""

import time

import pytest

from lab import stats
from lab.cluster import VIP4
from lab.load import HttpLoad, KeepAlive, http

CLIENTS = 10_000
HASH = {"shunt.io/affinity": "hash"}


def ask(w, clients, repeats=1):
    """Groups by client address; each client asks `repeats` times from different ports."""
    sources = [(w.client.address(n), 0) for _ in range(repeats) for n in range(clients)]
    tally = http(w.client, VIP4, total=len(sources), sources=sources)
    assert not tally.errors, tally
    groups = {}
    for record in tally.records:
        groups.setdefault(record.source[0], set()).add(record.group)
    return groups


def test_s4_a_ramp_moves_only_the_clients_that_it_must(world):
    w = world().start({"blue": 95, "green": 5}, annotations=HASH)
    before = ask(w, CLIENTS, repeats=5)
    assert all(len(groups) == 1 for groups in before.values()), "a client saw two variants"
    canary = {c for c, groups in before.items() if groups == {"green"}}
    assert stats.within(len(canary), CLIENTS, 0.05)

    w.cli.run("weight", "demo", "blue=75", "green=25")
    after = ask(w, CLIENTS, repeats=5)
    assert all(len(groups) == 1 for groups in after.values())
    assert all(after[c] == {"green"} for c in canary), "a client left the canary"
    moved = [c for c in after if c not in canary and after[c] == {"green"}]
    assert stats.within(len(moved), CLIENTS - len(canary), 20 / 95)


@pytest.mark.parametrize("drain", [
    2, pytest.param(60, id="full", marks=pytest.mark.soak)])
def test_sessions_keep_their_variant_and_new_clients_follow_the_weights(world, drain):
    w = world(options=["--default-drain", f"{drain}s"])
    w.start({"blue": 95, "green": 5}, affinity=10800)
    first = ask(w, 2000, repeats=2)
    assert all(len(groups) == 1 for groups in first.values())
    canary = [c for c, groups in first.items() if groups == {"green"}]
    assert stats.within(len(canary), 2000, 0.05)

    w.cli.run("weight", "demo", "blue=5", "green=95")
    assert ask(w, 2000) == first, "a session moved with the weights"

    w.cli.run("weight", "demo", "blue=100", "green=0")
    drained = time.monotonic()
    assert ask(w, 2000) == first, "a session was cut before the drain deadline"
    fresh = [(w.client.address(n), 0) for n in range(3000, 4000)]
    tally = http(w.client, VIP4, total=1000, sources=fresh)
    assert tally.groups == {"blue": 1000}, "a new client came to a variant of weight 0"
    assert time.monotonic() - drained < drain, "the machine is too slow for this deadline"
    time.sleep(drained + drain + 0.3 - time.monotonic())
    assert set().union(*ask(w, 2000).values()) == {"blue"}, "sessions outlived the deadline"


def test_a_session_times_out(world):
    w = world().start({"blue": 50, "green": 50}, affinity=1)
    before = ask(w, 200)
    w.cli.run("switch", "demo", "green")
    assert ask(w, 200) == before
    assert "sessions stay" in w.cli.run("status").stdout, "nothing says why blue still gets some"
    time.sleep(1.3)
    assert set().union(*ask(w, 200).values()) == {"green"}


def test_established_connections_stay_on_pods_that_terminate(world):
    w = world().start({"blue": 75, "green": 25}, affinity=10800)
    held = KeepAlive(w.client, VIP4, 80, 100, sources=((w.client.address(n), 0)
                                                       for n in range(100)))
    assert held.groups["green"] > 5
    run = HttpLoad(w.client, VIP4, rate=200).start()
    w.endpoints("green", w.cluster.endpoints("green", ready=False, serving=True,
                                             terminating=True))
    w.agent.wait_status(lambda s: "terminating" in str(s["services"]), "terminating pods")
    for _ in range(3):
        time.sleep(0.3)
        assert not held.ping()
    assert not run.stop().errors
    held.close()
