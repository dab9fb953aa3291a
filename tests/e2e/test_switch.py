# SPDX-License-Identifier: Apache-2.0
"""Blue-green switches and rollbacks under load (scenarios S1 and S2)."""

import os
import time

import pytest

from lab import wait_for
from lab.cluster import VIP4
from lab.load import HttpLoad, KeepAlive

LIMIT_S = 1.0  # from the change to the last connection on the old weights

SHORT = pytest.param(1.5, id="short")
FULL = pytest.param(30, id="full", marks=pytest.mark.soak)


def last_start(tally, group, since):
    """Seconds after `since` at which the last connection to group began."""
    return max((r.start - since for r in tally.records if r.group == group), default=0.0)


@pytest.mark.parametrize("hold", [SHORT, FULL])
def test_s1_a_patched_manifest_moves_all_new_connections_within_a_second(world, hold):
    w = world().start({"blue": 100, "green": 0}, kind="TraefikService")
    held = KeepAlive(w.client, VIP4, 80, 50)
    assert held.groups == {"blue": 50}
    run = HttpLoad(w.client, VIP4, rate=400 if hold < 10 else 200).start()
    time.sleep(hold)
    patched = time.monotonic()
    w.split({"blue": 0, "green": 100}, kind="TraefikService")
    time.sleep(LIMIT_S + hold)
    tally = run.stop()

    assert not tally.errors, tally
    before = tally.between(0, patched)
    assert before.groups["green"] == 0 and before.groups["blue"] > 300 * hold / 2
    assert last_start(tally, "blue", patched) < LIMIT_S
    assert tally.since(patched).groups["green"] > 0
    assert not held.ping() and held.groups == {"blue": 50}, "long connections left blue"
    wait_for(lambda: "50 connections remain on blue, whose share is 0" in
             w.cli.run("status", "demo").stdout, 3, "status to say what remains on blue")
    assert "50 connections remain" in w.cli.run("status").stdout
    held.close()
    wait_for(lambda: w.agent.service()["variants"][0]["connections_active"] == 0, 3,
             "the closed connections to be given back")
    assert "remain" not in w.cli.run("status").stdout


@pytest.mark.parametrize("hold", [pytest.param(0.4, id="short"), FULL])
def test_s2_ten_switches_lose_nothing_and_count_ten_generations(world, hold):
    w = world().start({"blue": 100, "green": 0}, kind="TraefikService")
    generation = w.agent.status()["generation"]
    run = HttpLoad(w.client, VIP4, rate=400).start()
    for n in range(10):
        old, new = ("blue", "green") if n % 2 == 0 else ("green", "blue")
        time.sleep(hold)
        asked = time.monotonic()
        w.cli.run("switch", "demo", new)
        done = time.monotonic()
        assert done - asked < LIMIT_S
        time.sleep(0.05)
        late = [r for r in run.tally().records if r.start > done and r.group == old]
        assert not late, f"{len(late)} new connections on {old} after switch {n} was confirmed"
    tally = run.stop()
    assert not tally.errors, tally
    assert w.agent.status()["generation"] == generation + 10


def test_rollback_returns_to_the_weights_before_the_last_change(world):
    w = world().start({"blue": 100, "green": 0})
    run = HttpLoad(w.client, VIP4, rate=300).start()
    w.cli.run("weight", "demo", "blue=75", "green=25", "--reason", "canary")
    assert w.agent.weights() == {"blue": 75, "green": 25}
    w.cli.run("switch", "demo", "green")
    assert w.agent.weights() == {"blue": 0, "green": 100}
    w.cli.run("rollback", "demo")
    assert w.agent.weights() == {"blue": 75, "green": 25}
    w.cli.run("rollback", "demo")
    assert w.agent.weights() == {"blue": 0, "green": 100}
    assert not run.stop().errors
    changes = w.cli.json("history", "demo")["changes"]
    assert [c["command"] for c in changes][:4] == ["rollback", "rollback", "switch", "weight"]
    assert changes[3]["reason"] == "canary" and changes[3]["who_uid"] == 0
    assert changes[3]["from"] == {"blue": 100, "green": 0}
    assert changes[3]["to"] == {"blue": 75, "green": 25}


def test_an_override_outlives_the_agent_and_ends_with_the_manifests_own_change(world):
    w = world().start({"blue": 100, "green": 0})
    w.cli.run("weight", "demo", "blue=60", "green=40")
    w.agent.stop()
    w.agent.start()
    found = w.agent.service()
    assert {v["name"]: v["weight"] for v in found["variants"]} == {"blue": 60, "green": 40}
    assert found["override"]["command"] == "weight" and found["override"]["who_uid"] == 0
    w.split({"blue": 90, "green": 10})
    w.agent.wait_weights(blue=90, green=10)
    assert w.agent.service()["override"] is None
    w.cli.run("weight", "demo", "blue=1", "green=1")
    w.cli.run("weight", "demo", "--from-manifest")
    assert w.agent.weights() == {"blue": 90, "green": 10}


@pytest.mark.parametrize("words, code", [
    (["weight", "demo", "blue=-1"], 2),
    (["weight", "demo", "blue=1000001"], 2),
    (["weight", "demo", "blue=0.5"], 2),
    (["weight", "demo", "blue=0", "green=0"], 2),
    (["weight", "demo", "purple=5"], 3),
    (["weight", "nobody", "blue=5"], 3),
    (["switch", "demo", "purple"], 3),
    (["rollback", "demo"], 3),
    (["frobnicate"], 2),
])
def test_a_wrong_command_is_refused_with_one_line_and_its_exit_code(world, words, code):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 100, "green": 0})
    done = w.cli.run(*words, check=False)
    assert done.returncode == code, done
    assert done.stdout == "" and done.stderr.count("\n") == 1, done
    assert w.agent.weights() == {"blue": 100, "green": 0}


def test_a_command_without_an_agent_says_so(world):
    w = world(groups={})
    done = w.cli.run("status", check=False)
    assert done.returncode == 5 and done.stderr.count("\n") == 1, done


def test_the_guard_refuses_weight_for_a_group_without_ready_pods(world):
    w = world().start({"blue": 100, "green": 0})
    w.endpoints("green", w.cluster.endpoints("green", ready=False))
    w.agent.wait_status(lambda s: all(
        b["state"] == "not-ready" for v in s["services"][0]["variants"] if v["name"] == "green"
        for b in v["backends"]), "green to be not ready")
    generation = w.agent.status()["generation"]
    run = HttpLoad(w.client, VIP4, rate=300).start()

    refused = w.cli.run("switch", "demo", "green", check=False)
    assert refused.returncode == 4 and "green" in refused.stderr, refused
    w.split({"blue": 0, "green": 100})
    condition = wait_for(lambda: next((c for c in w.agent.service()["conditions"]
                                       if c["type"] == "WeightRefused"), None), 3, "WeightRefused")
    assert (condition["status"], condition["reason"]) == ("True", "NoReadyEndpoints")
    assert w.agent.weights() == {"blue": 100, "green": 0}
    assert w.agent.status()["generation"] == generation

    w.backends("green")  # judged again when the endpoints change
    w.agent.wait_weights(blue=0, green=100)
    tally = run.stop()
    assert not tally.errors and tally.records[-1].group == "green"


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_the_guard_knows_the_weights_in_force_without_its_file(world, how):
    w = world(groups={"blue": 1, "green": 1})
    w.endpoints("green", w.cluster.endpoints("green", ready=False))
    w.backends("blue").split({"blue": 90, "green": 10})  # new: as it is asked
    w.agent.start()
    w.agent.stop()
    path = f"{w.agent.state_dir}/last_good.json"
    if how == "lost":
        os.remove(path)
    else:
        with open(path, "w") as f:
            f.write("[")
    w.split({"blue": 90, "green": 60})
    w.agent.start()
    assert w.agent.weights() == {"blue": 90, "green": 10}
    assert "NoReadyEndpoints" in str(w.agent.service()["conditions"])
    events = [e for e in w.cli.json("events") if e["reason"].startswith("State")]
    assert len(events) == 1 and "in force" in events[0]["text"], events


def test_force_overrides_the_guard(world):
    w = world().start({"blue": 100, "green": 0})
    w.endpoints("green", w.cluster.endpoints("green", ready=False))
    w.agent.wait_status(lambda s: "not-ready" in str(s["services"]), "green to be not ready")
    w.cli.run("switch", "demo", "green", "--force")
    assert w.agent.weights() == {"blue": 0, "green": 100}
