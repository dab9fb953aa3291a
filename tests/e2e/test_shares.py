# SPDX-License-Identifier: Apache-2.0
"""Shares of weights, and what has no backend (scenarios S3 and S18). Sources and the secret are
fixed, so every run draws the same numbers."""

import pytest

from lab import k8s, stats, wait_for
from lab.cluster import VIP4
from lab.load import http, tuples, udp
from lab.world import DATAGRAM, HTTP, VIPS

N = 10_000
SOURCES = 20261123  # seed


def draw(w, n=N, address=VIP4, seed=SOURCES, family=4):
    return http(w.client, address, total=n, sources=tuples(w.client, seed, n, family=family))


def assert_share(tally, group, share):
    assert not tally.errors, tally
    assert stats.within(tally.groups[group], tally.n, share), (share, tally)


def assert_even(tally, pods):
    """Inside a group each pod gets its part."""
    n = sum(tally.pods[pod.name] for pod in pods)
    for pod in pods:
        assert stats.within(tally.pods[pod.name], n, 1 / len(pods)), tally.pods


@pytest.mark.parametrize("primary, canary", [(3, 3), (9, 1), (1, 9)])
def test_s3_canary_shares_are_those_of_the_weights_whatever_the_pods(world, primary, canary):
    w = world(groups={"primary": primary, "canary": canary})
    w.start({"primary": 100, "canary": 0}, kind="HTTPRoute")
    assert draw(w, 2000).groups == {"primary": 2000}
    for weight in (5, 25, 50, 100):
        w.split({"primary": 100 - weight, "canary": weight}, kind="HTTPRoute")
        w.agent.wait_weights(primary=100 - weight, canary=weight)
        tally = draw(w)
        assert_share(tally, "canary", weight / 100)
        if weight < 100:
            assert_even(tally, w.cluster.group("primary"))
        assert_even(tally, w.cluster.group("canary"))
    assert tally.groups == {"canary": N}


def test_a_ramp_moves_only_what_it_must_and_nobody_back(world):
    w = world().start({"blue": 100, "green": 0})
    before = None
    for weight, last in ((5, 0), (25, 5), (50, 25), (90, 50)):
        w.cli.run("weight", "demo", f"blue={100 - weight}", f"green={weight}")
        now = {r.source: (r.group, r.pod) for r in draw(w, 5000).records}
        if before:
            moved = [s for s in now if now[s] != before[s]]
            assert all(before[s][0] == "blue" and now[s][0] == "green" for s in moved)
            stayed_away = (weight - last) / 100
            assert stats.within(len(moved), len(now), stayed_away), (weight, len(moved))
        before = now


def test_shares_of_five_variants_fit_by_chi_square(world):
    weights = {"a": 1, "b": 10, "c": 100, "d": 300, "e": 589, "f": 0}
    w = world(groups={name: 1 for name in weights}).start(weights)
    tally = draw(w)
    assert not tally.errors
    shares = [weight / 1000 for weight in weights.values()]
    statistic, p = stats.chi_square([tally.groups[name] for name in weights], shares)
    assert p > 1e-4, (statistic, p, tally)


def test_ipv6_has_the_same_shares(world):
    w = world().start({"blue": 75, "green": 25})
    tally = draw(w, address=VIPS[6], family=6)
    assert_share(tally, "green", 0.25)
    assert_even(tally, w.cluster.group("green"))


def test_udp_flows_have_the_shares_too(world):
    w = world(ports=[DATAGRAM]).start({"blue": 75, "green": 25})
    for family in (4, 6):
        tally = udp(w.client, VIPS[family], 9001, tuples(w.client, 5, 2000, family=family), datagrams=2)
        assert_share(tally, "green", 0.25)


# ---- S18: zero, missing, forbidden, empty ------------------------------------------------------

def conditions(w, kind):
    return {c["type"]: c for c in w.agent.service()["conditions"]}[kind]


def assert_refuses(w, tally, share):
    refused = tally.errors["refused"]
    assert sum(tally.errors.values()) == refused, tally
    assert stats.within(refused, tally.n, share), tally
    slow = [r.took for r in tally.records if r.error and r.took > 0.1]
    assert not slow, f"{len(slow)} refusals took longer than 100 ms: {max(slow)}"


def test_s18_seventy_thirty_nought(world):
    w = world(groups={"a": 1, "b": 1, "c": 1}).start({"a": 70, "b": 30, "c": 0})
    tally = draw(w, 500)
    assert not tally.errors and tally.groups["c"] == 0
    assert abs(tally.share("a") - 0.7) < 0.05 and abs(tally.share("b") - 0.3) < 0.05


def test_s18_a_missing_service_keeps_its_share_and_rejects_it(world):
    w = world().start({"blue": 50, "nowhere": 50})
    assert_refuses(w, draw(w), 0.5)
    assert conditions(w, "Accepted")["status"] == "True"
    condition = conditions(w, "ResolvedRefs")
    assert (condition["status"], condition["reason"]) == ("False", "BackendNotFound")
    assert "nowhere" in condition["message"]


def test_s18_a_forbidden_reference_is_rejected_until_the_grant_is_there(world):
    # For routes whose parent is a Service, Gateway API asks for no grant unless we do.
    w = world(options=["--require-reference-grants"])
    w.backends("blue")
    pods = w.cluster.endpoints("green")
    w.agent.apply("other", k8s.service("green", ports=[HTTP], namespace="other"),
                  k8s.slices("green", pods, [HTTP], namespace="other"))
    route = k8s.route("TCPRoute", "demo", "demo", {"blue": 50, "green": 50})
    route["spec"]["rules"][0]["backendRefs"][1]["namespace"] = "other"
    w.agent.apply("demo", k8s.service("demo", [VIP4], [HTTP]), route)
    w.agent.start()
    assert_refuses(w, draw(w, 2000), 0.5)
    assert conditions(w, "ResolvedRefs")["reason"] == "RefNotPermitted"
    w.agent.apply("grant", {
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": k8s.meta("grant", "other"),
        "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "TCPRoute",
                           "namespace": "default"}],
                 "to": [{"group": "", "kind": "Service"}]}})
    wait_for(lambda: conditions(w, "ResolvedRefs")["status"] == "True", 1, "the grant to heal")
    assert_share(draw(w, 2000), "green", 0.5)


def test_s18_all_weights_zero_refuse_everything(world):
    w = world().start({"blue": 0, "green": 0})
    assert_refuses(w, draw(w, 500), 1.0)


def test_s18_only_the_oldest_of_two_routes_serves(world):
    w = world()
    routes = []
    for name, weights, born in (("young", {"green": 1}, "2026-02-01T00:00:00Z"),
                                ("old", {"blue": 1}, "2026-01-01T00:00:00Z")):
        route = k8s.route("TCPRoute", name, "demo", weights)
        route["metadata"]["creationTimestamp"] = born
        routes.append(route)
    w.backends()
    w.agent.apply("demo", k8s.service("demo", [VIP4], [HTTP]), *routes)
    w.agent.start()
    assert draw(w, 200).groups == {"blue": 200}
    assert w.agent.service()["source"]["name"] == "old"


def test_an_empty_group_rejects_its_share_and_heals(world):
    w = world()
    w.backends("blue")
    w.endpoints("green", [])
    w.split({"blue": 50, "green": 50})
    w.agent.start()
    assert_refuses(w, draw(w, 2000), 0.5)
    w.backends("green")
    w.agent.wait_status(lambda s: len(s["services"][0]["variants"][1]["backends"]) == 6,
                        "three green pods")
    assert_share(draw(w, 2000), "green", 0.5)


def test_a_setting_gives_the_share_of_an_empty_group_to_the_others(world):
    w = world().start({"blue": 30, "green": 30, "nowhere": 40},
                      annotations={"shunt.io/empty-variant": "redistribute"})
    assert_share(draw(w, 2000), "green", 0.5)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", ["tcx", "clsact", "xdp"])
def test_rejections_are_rst_and_icmp_at_every_hook(world, mode, family):
    w = world(mode=mode, ports=[HTTP, DATAGRAM]).start({"blue": 50, "nowhere": 50})
    assert_refuses(w, draw(w, 1000, VIPS[family], family=family), 0.5)
    tally = udp(w.client, VIPS[family], 9001, tuples(w.client, 3, 400, family=family))
    assert_refuses(w, tally, 0.5)


def test_a_terminating_pod_gets_nothing_new_while_others_are_ready(world):
    w = world(groups={"blue": 2, "green": 2}).start({"blue": 0, "green": 100})
    leaving, staying = w.cluster.group("green")
    w.endpoints("green", [leaving.endpoint(ready=False, serving=True, terminating=True),
                          staying.endpoint()])
    w.agent.wait_status(lambda s: "terminating" in str(s["services"]), "a terminating pod")
    assert draw(w, 500).pods == {staying.name: 500}
    w.endpoints("green", [pod.endpoint(ready=False, serving=True, terminating=True)
                          for pod in (leaving, staying)])
    w.agent.wait_status(lambda s: str(s["services"]).count("terminating") >= 4,
                        "both to terminate")
    assert_even(draw(w, 1000), [leaving, staying])
