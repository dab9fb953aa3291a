# SPDX-License-Identifier: Apache-2.0
"""Circuit breakers: real nginx that fails or is slow, real connections; also with the agent killed.

Durations are short, and the breaker judges what HTTP answers to requests of new connections.
"""

import re
import time

import pytest

from lab import k8s, wait_for
from lab.cluster import VIP4
from lab.k8s import traffic_policy as policy
from lab.load import HttpLoad, http
from lab.world import AGENT, HTTP, VIPS

RATIO = "ResponseCodeRatio(500, 600, 0, 600) > 0.30"
OPEN_S, RECOVERY_S = 1.0, 2.0
FAST = {"expression": RATIO, "checkPeriod": "100ms", "fallbackDuration": "1s",
        "recoveryDuration": "2s", "minRequests": 20}


def guarded(world, breaker=None, groups=None, weights=None, mode="tcx", **more):
    """The usual scene with a breaker; all pods answer /fate well."""
    groups = groups or {"blue": 1}
    w = world(groups=groups, mode=mode, **more)
    w.agent.apply("policy", policy(circuitBreaker={**FAST, **(breaker or {})}))
    w.start(weights or {group: 1 for group in groups}, app_protocol="http")
    assert "NotEnforced" not in str(w.agent.status())
    return w


def load(w, rate=200, address=VIP4, **options):
    return HttpLoad(w.client, address, path="/fate", rate=rate, **options).start()


def ask(w, total, address=VIP4, **options):
    return http(w.client, address, total=total, path="/fate", **options)


def trip(w, **options):
    """Asks a little in several check periods: what fails is open then."""
    for _ in range(4):
        ask(w, 60, concurrency=4, **options)
        time.sleep(0.12)


def breakers(w):
    return w.agent.service()["breakers"]


def phase(w, **which):
    """The phase of the one breaker of the service, or of that with this variant."""
    (found,) = [b for b in breakers(w) if all(b[key] == which[key] for key in which)]
    return found["phase"]


def events(w, *reasons):
    return [e for e in w.agent.cli.json("events", "-n", "1000")
            if e["reason"] in (reasons or ("BreakerOpen", "BreakerRecovering", "BreakerClosed"))]


def first(tally, error):
    """When the first request that met `error` began; None if none did."""
    return min((r.start for r in tally.records if r.error == error), default=None)


def shares(tally, begin, length, parts):
    """The share of requests that got through, in each part of a time."""
    result = []
    for part in range(parts):
        now = tally.between(begin + part * length / parts, begin + (part + 1) * length / parts)
        result.append(sum(now.groups.values()) / max(1, now.n))
    return result


# ---- S10 ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("mode", ["tcx", "xdp"])
def test_it_opens_refuses_recovers_with_a_growing_share_and_closes(world, mode, agent):
    w = guarded(world, mode=mode)
    w.leave(agent)
    running = load(w, rate=200)
    time.sleep(1)
    tally = running.tally()
    assert not tally.errors, tally
    onset = time.monotonic()
    w.cluster.fate("500")
    opened = wait_for(lambda: first(running.tally(), "refused"), 5, "the breaker to open")
    w.cluster.fate()
    before = sum(w.cluster.accesses().values())
    time.sleep(0.7)
    assert sum(w.cluster.accesses().values()) - before <= 1, "something reached the backend"
    time.sleep(OPEN_S + RECOVERY_S + 0.5)
    tally = running.stop()

    # 200 a second were well, so 30 % of a window of good ones are errors after some 0.45 s.
    assert 0.2 < opened - onset < 1.3, opened - onset
    # A connection that was let in just before, and asks just behind, gets the 503.
    assert set(tally.errors) <= {"500", "refused", "503"} and tally.errors["503"] < 4, tally
    closed = tally.between(opened + 0.02, opened + OPEN_S - 0.05)
    assert closed.errors == {"refused": closed.n}, closed
    growth = shares(tally, opened + OPEN_S, RECOVERY_S, 4)
    assert growth[0] < 0.35 and growth[3] > 0.65, growth
    assert growth == sorted(growth) or max(
        a - b for a, b in zip(growth, growth[1:])) < 0.12, growth
    assert 0.40 < sum(growth) / 4 < 0.60, growth
    after = tally.since(opened + OPEN_S + RECOVERY_S + 0.1)
    assert after.n > 30 and not after.errors, after

    w.back(agent)
    assert phase(w) == "closed" and breakers(w)[0]["opened"] == 1
    told = events(w)
    assert [e["reason"] for e in told] == ["BreakerOpen", "BreakerRecovering", "BreakerClosed"]
    assert all(e["object"] == "default/demo" for e in told)
    # Each has the time at which it happened, whoever told it later.
    times = [e["time_ms"] for e in told]
    assert 950 < times[1] - times[0] < 1200 and 1950 < times[2] - times[1] < 2300, times
    assert RATIO in told[0]["text"] and "are refused for 1.0 s" in told[0]["text"], told[0]


@pytest.mark.parametrize("agent", AGENT)
def test_it_opens_again_if_the_backend_still_fails_while_it_recovers(world, agent):
    w = guarded(world)
    w.leave(agent)
    w.cluster.fate("forty")
    tally = load(w, rate=200, total=1400).wait()
    w.back(agent)
    assert breakers(w)[0]["opened"] >= 2, (breakers(w), tally)
    assert [e["reason"] for e in events(w)][:3] == ["BreakerOpen", "BreakerRecovering",
                                                    "BreakerOpen"]


def test_slow_answers_open_it_too(world):
    w = guarded(world, {"expression": "LatencyAtQuantileMS(50.0) > 100"})
    assert not ask(w, 60, concurrency=4).errors
    w.cluster.fate("slow")
    running = load(w, rate=60)
    wait_for(lambda: running.tally().errors["refused"], 8, "the breaker to open")
    running.stop()
    assert phase(w) != "closed"


# ---- S11 ---------------------------------------------------------------------------------------

def test_one_error_is_not_enough_unless_it_is_as_in_traefik(world):
    w = guarded(world)
    w.cluster.fate("500")
    assert ask(w, 19, concurrency=1).errors == {"500": 19}
    time.sleep(0.3)
    assert phase(w) == "closed" and breakers(w)[0]["requests"] == 19
    w.agent.apply("policy", policy(circuitBreaker={**FAST, "minRequests": 0}))
    wait_for(lambda: w.agent.service()["policy"]["circuit_breaker"]["min_requests"] == 0, 3,
             "the change")
    assert ask(w, 1).errors == {"500": 1}
    wait_for(lambda: phase(w) == "open", 2, "the breaker to open")


# ---- S12 as far as breakers go -------------------------------------------------------------------

@pytest.mark.parametrize("agent", AGENT)
def test_only_the_variant_that_fails_is_refused(world, agent):
    w = guarded(world, {"scope": "variant", "fallbackDuration": "60s"},
                groups={"blue": 1, "green": 1})
    w.leave(agent)
    w.cluster.fate("500", "green")
    trip(w)
    before = dict(w.cluster.accesses())
    tally = ask(w, 200)
    assert set(tally.errors) == {"refused"} and tally.groups["blue"] > 60, tally
    after = w.cluster.accesses()
    assert after["green-0"] == before["green-0"], (before, after)
    w.back(agent)
    assert phase(w, variant="green") == "open" and phase(w, variant="blue") == "closed"
    assert "breaker open" in w.agent.cli.run("status").stdout


@pytest.mark.parametrize("agent", AGENT)
def test_what_an_open_one_refuses_goes_to_the_fallback(world, agent):
    w = guarded(world, {"scope": "variant", "fallback": "blue", "fallbackDuration": "60s"},
                groups={"blue": 1, "green": 1})
    w.leave(agent)
    w.cluster.fate("500", "green")
    trip(w)
    before = dict(w.cluster.accesses())
    tally = ask(w, 200)
    assert not tally.errors and tally.groups["blue"] == 200, tally
    assert w.cluster.accesses()["green-0"] == before["green-0"]
    if agent == AGENT[1]:
        w.agent.start()
    else:
        assert "new connections go to blue for 60 s" in events(w, "BreakerOpen")[0]["text"]
    text = w.agent.cli.run("explain", "10.9.9.9", f"{VIP4}:80").stdout
    want = r"breaker +green: open for another .* a new connection goes to blue"
    assert re.search(want, text), text


def test_one_bad_pod_of_two(world):
    w = guarded(world, {"scope": "backend", "fallbackDuration": "60s"}, groups={"blue": 2})
    w.cluster.pods[0].nginx.fate("500")
    trip(w)
    tally = ask(w, 200)
    assert set(tally.errors) == {"refused"}, tally
    states = {b["backend"].rsplit(":", 1)[0]: b["phase"] for b in breakers(w)
              if "[" not in b["backend"]}
    bad, good = w.cluster.pods
    assert states == {bad.v4: "open", good.v4: "closed"}, breakers(w)
    assert f"backend {bad.v4}:8080 of blue opens" in events(w, "BreakerOpen")[0]["text"]


# ---- forced --------------------------------------------------------------------------------------

@pytest.mark.parametrize("agent", AGENT)
@pytest.mark.parametrize("family", [4, 6])
def test_what_an_operator_forces_holds_until_auto(world, agent, family):
    w = guarded(world)
    w.cli.run("breaker", "demo", "open", "--force", "--reason", "the database moves")
    w.leave(agent)
    tally = ask(w, 50, VIPS[family])
    assert tally.errors == {"refused": 50}, tally
    assert sum(w.cluster.accesses().values()) == 0
    time.sleep(OPEN_S + 0.2)
    assert ask(w, 20, VIPS[family]).errors == {"refused": 20}, "it recovers by itself"
    if agent == AGENT[1]:
        w.agent.start()
        (told,) = events(w, "BreakerForced")
        assert "at the start of the agent the breaker is forced open" in told["text"], told
    else:
        (told,) = events(w, "BreakerForced")
        assert told["text"] == "the breaker held open by uid 0: the database moves", told
    assert phase(w) == "forced open"

    w.cli.run("breaker", "demo", "close")
    w.cluster.fate("500")
    assert ask(w, 100, VIPS[family]).errors == {"500": 100}
    assert phase(w) == "forced closed"
    w.cluster.fate()
    w.cli.run("breaker", "demo", "auto")
    assert phase(w) == "closed"
    assert events(w, "BreakerAuto")[0]["text"] == "the breaker left to the kernel again by uid 0"


def test_a_variant_is_forced_alone_and_mistakes_are_told(world):
    w = guarded(world, {"scope": "variant"}, groups={"blue": 1, "green": 1})
    done = w.cli.json("breaker", "demo", "open", "--variant", "green")
    assert done["changed"]
    assert {i["variant"]: i["phase"] for i in done["breakers"][0]["instances"]} == {
        "blue": "closed", "green": "forced open"}
    assert not w.cli.json("breaker", "demo", "open", "--variant", "green")["changed"]
    tally = ask(w, 200)
    assert tally.groups["green"] == 0 and tally.groups["blue"] > 60, tally
    page = w.cli.run("breaker", "demo").stdout
    assert re.search(r"\n  green +forced open +0 +0\n", page), page

    for arguments, code, words in (
            (["nobody"], 3, "no service nobody has a split"),
            (["demo", "open", "--variant", "red"], 3, "has no variant red; it has blue, green"),
            (["demo", "open"], 4, "--force overrides"),
            (["demo", "shut"], 2, "want open, close or auto")):
        done = w.cli.run("breaker", *arguments, check=False)
        assert done.returncode == code and words in done.stderr, done
    w.agent.apply("policy")
    wait_for(lambda: w.agent.service()["policy"] is None, 3, "the end of the policy")
    done = w.cli.run("breaker", "demo", check=False)
    assert done.returncode == 3 and "has no circuit breaker: a TrafficPolicy" in done.stderr, done
    assert breakers(w) == [] and not ask(w, 50).errors


# ---- what keeps its state ------------------------------------------------------------------------

def test_a_weight_change_and_a_restart_keep_the_state(world):
    w = guarded(world, {"scope": "variant", "fallbackDuration": "60s"},
                groups={"blue": 1, "green": 1})
    w.cluster.fate("500", "green")
    trip(w)
    assert phase(w, variant="green") == "open"
    left = [b for b in breakers(w) if b["variant"] == "green"][0]["left_ms"]
    w.cli.run("weight", "demo", "green=3")
    w.agent.apply("policy", policy(circuitBreaker={
        **FAST, "scope": "variant", "fallbackDuration": "60s", "checkPeriod": "200ms"}))
    wait_for(lambda: w.agent.service()["policy"]["circuit_breaker"]["check_ms"] == 200, 3,
             "the change of the policy")
    assert phase(w, variant="green") == "open"
    w.agent.kill()
    w.agent.start()
    (green,) = [b for b in breakers(w) if b["variant"] == "green"]
    assert green["phase"] == "open" and green["opened"] == 1 and green["left_ms"] < left, green
    assert ask(w, 100).groups["green"] == 0
    (told,) = events(w, "BreakerOpen")
    assert "at the start of the agent the breaker of variant green is open" in told["text"], told
    status = w.agent.status()
    assert status["health"] == "degraded"
    assert "the breaker of variant green is open" in status["problems"][0]["text"], status


def test_metrics_and_status_show_it(world):
    w = guarded(world, {"fallbackDuration": "60s"})
    labels = ('{namespace="default",service="demo",variant="",port="80",backend="",'
              'scope="service"}')
    text = w.agent.http("/metrics")[1]
    assert f"shunt_breaker_state{labels} 0\n" in text
    assert f"shunt_breaker_opened_total{labels} 0\n" in text
    assert w.agent.status()["health"] == "ok"
    w.cluster.fate("500")
    trip(w)
    wait_for(lambda: f"shunt_breaker_state{labels} 1\n" in w.agent.http("/metrics")[1], 2, "1")
    text = w.agent.http("/metrics")[1]
    assert f"shunt_breaker_opened_total{labels} 1\n" in text
    assert 'shunt_decisions_total{reason="BreakerOpen"} 1\n' in text
    assert "shunt_decisions_lost_total 0\n" in text
    page = w.cli.run("status", "demo").stdout
    assert re.search(r"  breaker +open for another \d", page), page
    text = w.cli.run("explain", "10.9.9.9:4000", f"{VIP4}:80").stdout
    assert re.search(r"breaker +open for another .*: a new connection is refused", text), text
    said = w.cli.json("explain", "10.9.9.9:4000", f"{VIP4}:80")["breaker"]
    assert said["phase"] == "open" and said["admits"] == 0, said


def test_much_that_was_decided_without_an_agent_is_told_in_short(world):
    w = guarded(world, {"minRequests": 0, "checkPeriod": "1ms", "fallbackDuration": "1ms",
                        "recoveryDuration": "1ms"})
    w.agent.kill()
    w.cluster.fate("500")
    ask(w, 200, rate=200)
    w.agent.start()
    (late,) = events(w, "DecisionsLate")
    n = int(re.search(r"has decided (\d+) times while no agent ran; the last 20 follow",
                      late["text"])[1])
    assert n > 40, late
    # And what is in force now, unless that was the last.
    assert len(events(w)) in (20, 21), events(w)
    seen = re.findall(r'shunt_decisions_total\{reason="Breaker\w+"\} (\d+)',
                      w.agent.http("/metrics")[1])
    assert n == sum(map(int, seen)), seen


# ---- Traefik -------------------------------------------------------------------------------------

def test_a_middleware_of_traefik_is_a_breaker(world):
    edge = "10.97.0.1"
    w = world(groups={"blue": 1}, options=["--entrypoint", f"web={edge}:80"])
    w.backends()
    w.agent.apply(
        "site",
        {"apiVersion": "traefik.io/v1alpha1", "kind": "Middleware", "metadata": k8s.meta("trip"),
         "spec": {"circuitBreaker": {"expression": RATIO, "checkPeriod": "100ms",
                                     "fallbackDuration": "1s", "recoveryDuration": "2s"}}},
        {"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": k8s.meta("site"),
         "spec": {"entryPoints": ["web"], "routes": [{
             "kind": "Rule", "match": "PathPrefix(`/`)", "middlewares": [{"name": "trip"}],
             "services": [{"name": "blue", "port": 80}]}]}})
    w.agent.start()
    (service,) = w.agent.status()["services"]
    assert service["policy"]["circuit_breaker"]["source"]["kind"] == "Middleware", service
    assert [b["phase"] for b in service["breakers"]] == ["closed"], service
    w.cluster.fate("500")
    # Traefik has no least number of requests.
    assert ask(w, 1, edge).errors == {"500": 1}
    assert ask(w, 10, edge).errors == {"refused": 10}
    w.cluster.fate()
    # The first packet after its time begins the recovery.
    time.sleep(OPEN_S + 0.1)
    ask(w, 5, edge)
    time.sleep(RECOVERY_S + 0.1)
    assert not ask(w, 50, edge).errors
