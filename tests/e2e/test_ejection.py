# SPDX-License-Identifier: Apache-2.0
"""Outlier ejection: real nginx of which one pod fails, with the agent and without (S12).

Times are short: out for 1 s, then 2 s, instead of 30 s and 60 s.
"""

import re
import time

import pytest

from lab import wait_for
from lab.cluster import VIP4
from lab.k8s import traffic_policy as policy
from lab.load import HttpLoad, http
from lab.world import AGENT, VIPS

BASE_S = 1.0
RULE = {"consecutive5xxErrors": 5, "interval": "60s", "baseEjectionTime": "1s",
        "maxEjectionPercent": 50}


def scene(world, rule=None, n=4, app_protocol="http", **more):
    w = world(groups={"blue": n}, **more)
    w.agent.apply("policy", policy(outlierDetection={**RULE, **(rule or {})}))
    w.start({"blue": 1}, app_protocol=app_protocol)
    assert "NotEnforced" not in str(w.agent.status())
    return w


def load(w, rate=100, family=4):
    return HttpLoad(w.client, VIPS[family], path="/fate", rate=rate, concurrency=1000,
                    timeout=10).start()


def told(w, *reasons):
    return [e for e in w.agent.cli.json("events", "-n", "1000")
            if e["reason"] in (reasons or ("BackendEjected", "BackendReturned"))]


def backend(w, pod):
    """What status says of the pod's backend."""
    for variant in w.agent.service()["variants"]:
        for found in variant["backends"]:
            if found["address"] == pod.v4:
                return found["ejection"]
    raise AssertionError(f"no backend of {pod.name}")


def ejected(w):
    return {pod.name for pod in w.cluster.pods if backend(w, pod)["ejected"]}


def errors_from(tally, moment):
    return [r.start - moment for r in tally.since(moment).records if r.error]


# ---- S12 ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("mode,family", [("tcx", 4), ("tcx", 6), ("xdp", 4)])
def test_s12_one_bad_pod_of_four_goes_out_at_its_fifth_error(world, mode, family, agent):
    w = scene(world, mode=mode)
    w.leave(agent)
    bad = w.cluster.pods[0]
    running = load(w, family=family)
    time.sleep(1)
    assert not running.tally().errors, running.tally()
    onset = time.monotonic()
    bad.nginx.fate("500")
    time.sleep(1 + BASE_S + 2 * BASE_S + 0.7)
    tally = running.stop()
    late = errors_from(tally, onset)
    assert set(tally.errors) == {"500"}, tally
    # Five in a row, and who had come meanwhile; then five tries after 1 s, and after 2 s more.
    first = [t for t in late if t < 0.9]
    second = [t for t in late if 0.9 <= t < first[4] + BASE_S + 0.9]
    third = [t for t in late if t >= first[4] + BASE_S + 0.9]
    assert 5 <= len(first) <= 7 and first[-1] < 0.9, late
    assert 5 <= len(second) <= 7 and min(second) >= first[4] + BASE_S - 0.05, late
    assert 5 <= len(third) <= 7 and min(third) >= second[4] + 2 * BASE_S - 0.05, late
    # Meanwhile the others have served all.
    calm = tally.between(onset + first[-1] + 0.05, onset + min(second) - 0.05)
    assert calm.n > 60 and not calm.errors and len(calm.pods) == 3, calm

    w.back(agent)
    out = told(w)
    assert [e["reason"] for e in out] == 3 * ["BackendEjected"], out
    address = bad.v4 if family == 4 else bad.v6
    for event, seconds in zip(out, ("1.0 s", "2.0 s", "3.0 s")):
        assert address in event["text"] and "of blue is ejected" in event["text"], event
        assert seconds in event["text"] or seconds.replace(".0", "") in event["text"], event
    gap = out[1]["time_ms"] - out[0]["time_ms"]
    assert 1000 <= gap < 1600, out


@pytest.mark.parametrize("agent", AGENT)
def test_when_all_fail_at_most_half_are_out(world, agent):
    w = scene(world, {"baseEjectionTime": "60s"})
    w.leave(agent)
    w.cluster.fate("500")
    tally = http(w.client, VIP4, total=400, rate=200, path="/fate")
    assert tally.errors == {"500": 400}, tally
    w.back(agent)
    assert len(ejected(w)) == 2, ejected(w)
    assert len(told(w, "BackendEjected")) == 2, told(w)
    status = w.agent.status()
    assert status["health"] == "degraded"
    assert any("is ejected for another" in p["text"] and "1 more" in p["text"]
               for p in status["problems"]), status["problems"]


@pytest.mark.parametrize("agent", AGENT)
def test_a_pod_that_is_well_again_comes_back(world, agent):
    w = scene(world)
    w.leave(agent)
    bad = w.cluster.pods[0]
    bad.nginx.fate("500")
    http(w.client, VIP4, total=100, rate=200, path="/fate")
    bad.nginx.fate()
    time.sleep(1.1)
    http(w.client, VIP4, total=60, rate=200, path="/fate")
    tally = http(w.client, VIP4, total=400, path="/fate")
    assert not tally.errors and tally.pods[bad.name] > 50, (tally, tally.pods)
    w.back(agent)
    assert [e["reason"] for e in told(w)] == ["BackendEjected", "BackendReturned"], told(w)
    assert backend(w, bad)["times"] == 1 and not ejected(w)


# ---- connections that fail ------------------------------------------------------------------------

@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("app_protocol", ["http", None])
def test_a_pod_that_refuses_goes_out_and_costs_nobody_more_than_a_second(world, app_protocol,
                                                                        agent):
    w = scene(world, {"baseEjectionTime": "60s"}, app_protocol=app_protocol)
    w.leave(agent)
    dead = w.cluster.pods[0]
    dead.nginx.stop()
    tally = http(w.client, VIP4, total=100, rate=100, path="/fate", timeout=10)
    assert not tally.errors and tally.slowest() < 2.5, tally
    after = http(w.client, VIP4, total=200, path="/fate")
    # Nobody meets it any more.
    assert not after.errors and after.slowest() < 0.9, (after, after.slowest())
    w.back(agent)
    assert ejected(w) == {dead.name}


def test_a_flood_and_a_scan_eject_nobody(world):
    """SYNs of nobody, and of who hangs up at once: the backend has answered them."""
    w = scene(world, app_protocol=None)
    for _ in range(200):
        with w.client.host.socket() as sock:
            sock.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: reset at close
            sock.connect((VIP4, 80))
    w.client.host.run("nft", "add", "table", "inet", "mute")
    w.client.host.nft("table inet mute { chain input { type filter hook input priority 0; "
                      "tcp sport 80 drop; }; }")
    http(w.client, VIP4, total=60, concurrency=60, timeout=3.5)
    w.client.host.run("nft", "delete", "table", "inet", "mute")
    assert not ejected(w) and told(w) == [], told(w)
    for pod in w.cluster.pods:
        assert backend(w, pod)["times"] == 0


# ---- for people ------------------------------------------------------------------------------------

def test_status_metrics_and_explain_show_it_and_the_end_of_the_rule_ends_it(world):
    w = scene(world, {"baseEjectionTime": "60s"})
    bad = w.cluster.pods[0]
    bad.nginx.fate("500")
    http(w.client, VIP4, total=100, rate=200, path="/fate")
    assert ejected(w) == {bad.name}
    labels = ('{namespace="default",service="demo",variant="blue",port="80",'
              f'backend="{bad.v4}:8080"}}')
    text = w.agent.http("/metrics")[1]
    assert f"shunt_backend_ejected{labels} 1\n" in text, text
    assert f"shunt_backend_ejections_total{labels} 1\n" in text
    page = w.cli.run("status", "demo").stdout
    assert re.search(rf"{re.escape(bad.v4)}:8080.*ejected", page), page
    # explain says what connections meet, for each of them.
    for port in range(4000, 4040):
        said = w.cli.json("explain", f"10.9.9.9:{port}", f"{VIP4}:80")
        assert bad.v4 not in str(said["backend"]), said
    texts = {w.cli.run("explain", f"10.9.9.9:{port}", f"{VIP4}:80").stdout
             for port in range(4000, 4020)}
    assert any("ejected" in text for text in texts), texts
    # A change of weights, of the rule, and another agent keep it.
    w.agent.apply("policy", policy(outlierDetection={**RULE, "maxEjectionPercent": 30}))
    wait_for(lambda: w.agent.service()["policy"]["outlier_detection"]["max_ejection_percent"]
             == 30, 3, "the change of the policy")
    w.agent.kill()
    w.agent.start()
    assert ejected(w) == {bad.name} and backend(w, bad)["times"] == 1
    w.agent.apply("policy")
    wait_for(lambda: w.agent.service()["policy"] is None, 3, "the end of the policy")
    tally = http(w.client, VIP4, total=200, path="/fate")
    assert tally.errors["500"] > 20, tally
