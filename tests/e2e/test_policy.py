# SPDX-License-Identifier: Apache-2.0
"""Policies as the agent has them: from a manifest to status, edited under way, and wrong ones."""

import os

from lab import k8s, wait_for
from lab.cluster import VIP4
from lab.k8s import traffic_policy as policy
from lab.load import Long, http
from lab.world import ECHO, HTTP

WEIGHTS = {"blue": 95, "green": 5}


def limits(average):
    return [{"unit": "connections", "scope": "client", "average": average, "burst": 1000000}]


def average(w, name="demo"):
    found = w.agent.service(name)["policy"]
    return found["rate_limits"][0]["average"] if found else None


def conditions(w, type_):
    return [c for c in w.agent.service()["conditions"] if c["type"] == type_]


def test_status_shows_a_policy_and_follows_its_changes(world):
    w = world().start(WEIGHTS)
    assert w.agent.service()["policy"] is None
    w.agent.apply("policy", policy(rateLimits=limits(5000000)))
    wait_for(lambda: average(w) == 5000000, 3, "the policy")
    limit = w.agent.service()["policy"]["rate_limits"][0]
    assert limit["source"]["kind"] == "TrafficPolicy" and limit["source"]["name"] == "demo"
    assert "at most 5000000 connections a second for each client (/32, /128), burst 1000000" in \
        w.agent.cli.run("status", "demo").stdout

    w.agent.apply("policy", policy(rateLimits=limits(6000000)))
    wait_for(lambda: average(w) == 6000000, 3, "the new average")
    assert w.agent.service()["policy"]["rate_limits"][0]["id"] == limit["id"], \
        "the limit is another one, and its buckets begin anew"
    os.unlink(f"{w.agent.source}/policy.yaml")
    wait_for(lambda: w.agent.service()["policy"] is None, 3, "the end of the policy")
    assert w.agent.weights() == WEIGHTS


def test_a_policy_that_becomes_wrong_stays_as_it_was(world):
    w = world().start(WEIGHTS)
    w.agent.apply("policy", policy(rateLimits=limits(5000000)))
    wait_for(lambda: average(w) == 5000000, 3, "the policy")
    for wrong in ({"rateLimits": limits(-1)},
                  {"circuitBreaker": {"expression": "NetworkErrorRatio() > 1"}},
                  {"sources": {"allow": ["10.0.0.0/64"]}}):
        w.agent.apply("policy", policy(**wrong))
        wait_for(lambda: conditions(w, "ManifestRefused"), 3, f"a word about {wrong}")
        text = conditions(w, "ManifestRefused")[0]["message"]
        assert "policy.yaml:" in text and "what it asked before stays in force" in text, text
        assert average(w) == 5000000
        w.agent.apply("policy", policy(rateLimits=limits(5000000)))
        wait_for(lambda: not conditions(w, "ManifestRefused"), 3, "a good policy again")
    tally = http(w.client, VIP4, total=200)
    assert not tally.errors, tally


def test_explain_says_whom_a_policy_lets_in(world):
    w = world().start(WEIGHTS)
    w.agent.apply("policy", policy(sources={"allow": ["192.0.2.0/24"]}, inFlight=[{"max": 9}]))
    wait_for(lambda: w.agent.service()["policy"], 3, "the policy")
    for client, verdict in (("192.0.2.7", "the client's address may connect"),
                            ("198.51.100.7", "the client's address is in none of the allowed")):
        text = w.agent.cli.run("explain", client, f"{VIP4}:80").stdout
        assert verdict in text and "at most 9 connections at once" in text, text
    tally = http(w.client, VIP4, total=20)
    assert tally.errors == {"refused": 20}, tally


def test_what_is_not_enforced_is_told(world):
    w = world().start(WEIGHTS)
    w.agent.apply("policy", policy(circuitBreaker={"expression": "NetworkErrorRatio() > 0.30"}))
    wait_for(lambda: w.agent.service()["policy"], 3, "the policy")
    breaker = w.agent.service()["policy"]["circuit_breaker"]
    reports = {r["name"]: {c["type"]: c for c in r["conditions"]}
               for r in w.agent.status()["reports"]}
    told = [e for e in w.agent.cli.json("events") if e["reason"] == "NotEnforced"]
    if breaker["enforced"]:
        assert not told and "NotEnforced" not in reports.get("demo", {})
        return
    assert "circuit breaker" in reports["demo"]["NotEnforced"]["message"], reports
    assert told and "circuit breaker" in told[0]["text"], told
    page = w.agent.cli.run("status", "demo").stdout
    assert "NOT ENFORCED by this version" in page, page


def test_of_two_policies_the_older_one_holds(world):
    w = world().start(WEIGHTS)
    w.agent.apply("a", policy("young", created="2026-02-01T00:00:00Z", rateLimits=limits(5000000)))
    wait_for(lambda: average(w) == 5000000, 3, "the policy")
    w.agent.apply("b", policy("old", created="2026-01-01T00:00:00Z", rateLimits=limits(6000000)))
    wait_for(lambda: average(w) == 6000000, 3, "the older policy")
    report = next(r for r in w.agent.status()["reports"] if r["name"] == "young")
    accepted = next(c for c in report["conditions"] if c["type"] == "Accepted")
    assert accepted["reason"] == "Conflicted" and "default/old" in accepted["message"], report


def test_a_service_without_a_split_is_led_by_its_policy(world):
    w = world().start()
    w.agent.apply("demo", k8s.service("demo", [VIP4]),
                  k8s.slices("demo", w.cluster.endpoints("blue")))
    w.agent.apply("policy", policy(rateLimits=limits(5000000)))
    wait_for(lambda: w.agent.service(), 3, "the Service")
    assert w.agent.weights() == {"demo": 1}
    assert w.agent.service()["source"]["kind"] == "TrafficPolicy"
    tally = http(w.client, VIP4, total=200)
    assert not tally.errors, tally
    total = sum(w.agent.backends().values())
    assert total >= 200, w.agent.backends()


def test_check_says_where_an_expression_is_wrong(world, lab):
    w = world()
    path = lab.path("check.yaml")
    breaker = {"expression": "NetworkErrorRatio() > 0.30 ||", "minRequests": 0}
    k8s.write(path, policy("bad", circuitBreaker=breaker))
    done = w.cluster.node.run(os.path.join(w.agent.build, "shunt"), "check", path, check=False)
    assert done.returncode != 0
    assert f"{path}:" in done.stdout and "spec.circuitBreaker.expression: character 30: " \
        "expected a function or '(', got the end" in done.stdout, done.stdout


# ---- the other dialects, in force --------------------------------------------------------------

EDGE = "10.97.0.1"


def traefik(kind, name, spec, **more):
    return {"apiVersion": "traefik.io/v1alpha1", "kind": kind, "metadata": k8s.meta(name, **more),
            "spec": spec}


def edge(world, port, *middlewares):
    """An entry point that leads to blue and green through all of these middlewares."""
    is_http = middlewares[0]["kind"] == "Middleware"
    w = world(ports=[HTTP, ECHO], options=["--entrypoint", f"web={EDGE}:{port}"])
    w.backends()
    rule = {"match": "PathPrefix(`/`)" if is_http else "HostSNI(`*`)",
            "services": [{"name": group, "port": port} for group in ("blue", "green")],
            "middlewares": [{"name": m["metadata"]["name"]} for m in middlewares]}
    w.agent.apply("site", *middlewares, traefik(
        "IngressRoute" if is_http else "IngressRouteTCP", "site",
        {"entryPoints": ["web"], "routes": [{"kind": "Rule", **rule} if is_http else rule]}))
    w.agent.start()
    assert "NotEnforced" not in str(w.agent.status())
    assert "RequestsNotSeen" not in str(w.agent.status())
    return w


def of_client(w, number, count):
    return [(w.client.address(number, 4), 20000 + n) for n in range(count)]


def test_a_middleware_holds_so_many_connections_of_each_client(world):
    w = edge(world, 9000, traefik("MiddlewareTCP", "few", {"inFlightConn": {"amount": 3}}))
    held = Long(w.client, EDGE, 9000, 3, sources=of_client(w, 1, 3))
    try:
        Long(w.client, EDGE, 9000, 1, sources=[(w.client.address(1, 4), 21000)])
        raise AssertionError("a fourth connection was let in")
    except ConnectionRefusedError:
        pass
    other = Long(w.client, EDGE, 9000, 3, sources=of_client(w, 2, 3))
    assert not held.ping() and not other.ping()
    held.close()
    other.close()
    wait_for(lambda: not opens(w, 1), 5, "room for the first client again")


def opens(w, number):
    """What goes wrong with one more connection of a client; "": nothing."""
    try:
        Long(w.client, EDGE, 9000, 1, sources=[(w.client.address(number, 4), 22000)]).close()
        return ""
    except OSError as e:
        return str(e)


def test_a_chain_of_middlewares_holds_in_all_its_parts(world):
    parts = [traefik("Middleware", "rate",
                     {"rateLimit": {"average": 1, "period": "1h", "burst": 5}},
                     annotations={"shunt.io/unit": "connections"}),
             traefik("Middleware", "inside", {"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}})]
    chain = traefik("Middleware", "chain",
                    {"chain": {"middlewares": [{"name": "rate"}, {"name": "inside"}]}})
    w = world(ports=[HTTP], options=["--entrypoint", f"web={EDGE}:80"])
    w.agent.apply("parts", *parts)
    w = edge(lambda **_: w, 80, chain)
    assert w.agent.service("site")["policy"]["sources"]["allow"] == ["10.0.0.0/8"]
    tally = http(w.client, EDGE, total=10, concurrency=1, sources=of_client(w, 3, 10))
    assert sum(tally.groups.values()) == 5 and tally.errors == {"refused": 5}, tally
    tally = http(w.client, EDGE, total=5, concurrency=1, sources=of_client(w, 4, 5))
    assert sum(tally.groups.values()) == 5, tally


def test_a_destination_rule_bounds_the_connections_of_one_variant(world):
    w = world(ports=[ECHO])
    w.agent.apply("rule", {
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": k8s.meta("green"),
        "spec": {"host": "green", "trafficPolicy": {
            "connectionPool": {"tcp": {"maxConnections": 4}}}}})
    w.start({"blue": 50, "green": 50})
    opened = {"blue": 0, "green": 0}
    held, refused = [], 0
    for _ in range(40):
        try:
            held.append(Long(w.client, VIP4, 9000, 1))
            opened[next(iter(held[-1].groups))] += 1
        except ConnectionRefusedError:
            refused += 1
    assert opened["green"] == 4 and refused and opened["blue"] + refused == 36, (opened, refused)
    for each in held:
        each.close()


def test_a_policy_splits_a_service_by_itself_and_follows_its_weights(world):
    refs = [{"name": "blue", "weight": 80}, {"name": "green", "weight": 20}]
    w = world(ports=[HTTP]).start()
    w.agent.apply("demo", k8s.service("demo", [VIP4], [HTTP]),
                  policy(backendRefs=refs, rateLimits=limits(5000000)))
    w.agent.wait_weights(blue=80, green=20)
    assert average(w) == 5000000
    tally = http(w.client, VIP4, total=2000)
    assert not tally.errors and 300 < tally.groups["green"] < 500, tally
    w.agent.apply("demo", k8s.service("demo", [VIP4], [HTTP]),
                  policy(backendRefs=[{**refs[0], "weight": 0}, refs[1]]))
    w.agent.wait_weights(blue=0, green=20)
    assert set(http(w.client, VIP4, total=200).groups) == {"green"}
