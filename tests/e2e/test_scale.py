# SPDX-License-Identifier: Apache-2.0
"""Many services: what is done for one change does not grow with them. Counts of work, not times;
`make bench-scale` measures."""

import os
import sys
import types

import pytest

from lab import Agent, wait_for

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "bench"))
import scale_manifests as manifests  # noqa: E402 (the path is set above)

SERVICES, BACKENDS = 2000, 4


@pytest.fixture
def agent(lab, build):
    cluster = types.SimpleNamespace(lab=lab, node=lab.add_host("node"))
    made = Agent(cluster, build, [], ["--log-level", "debug"])
    manifests.write_directory(made.source, SERVICES, BACKENDS)
    return made.start(60)


def differing(before, after):
    return [key for key in before if before[key] != after[key]]


def test_one_change_among_many_services_touches_its_own_records_only(agent):
    maps = ("rules", "splits", "services", "variants", "backends")
    assert len(agent.status()["services"]) == SERVICES
    before = {name: agent.map_entries(f"shunt_{name}") for name in maps}
    agent.cli.run("weight", "bench/s777", "s777-a=90", "s777-b=10")
    after = {name: agent.map_entries(f"shunt_{name}") for name in maps}
    changed = {name: differing(before[name], after[name]) for name in maps}

    assert not changed["services"] + changed["backends"], changed
    (rule,), (split,) = changed["rules"], changed["splits"]
    assert after["rules"][rule]["split"] == [split, split]
    old = before["splits"][before["rules"][rule]["split"][0]]
    new = after["splits"][split]
    assert [v["weight"] for v in new["variant"][:2]] == [90, 10]
    # Of the two variants' own records the weight alone.
    assert changed["variants"] == sorted(v["variant"] for v in new["variant"][:2]), changed
    for variant in changed["variants"]:
        asked = after["variants"][variant]["weight"]
        assert after["variants"][variant] == {**before["variants"][variant], "weight": asked}
    # The backends' tables are the old ones.
    assert [v["ring_first"] for v in new["variant"][:2]] == \
        [v["ring_first"] for v in old["variant"][:2]]


def test_one_changed_manifest_among_many_compiles_one_service(agent):
    path = f"{agent.source}/s000700.yaml"
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace("{name: s777-a, port: 80, weight: 50}",
                             "{name: s777-a, port: 80, weight: 20}"))
    wait_for(lambda: f"1 of {SERVICES} services changed, 1 compiled" in agent.log_text(), 20,
             "one service to be compiled")
