# SPDX-License-Identifier: Apache-2.0
"""What an unmodified Flagger asks of Prometheus about a canary, answered by a real one."""

import math
import time

import pytest

from lab import wait_for
from lab.cluster import VIP4
from lab.prometheus import Prometheus

# The queries of Flagger's builtin checks for a canary of Deployment podinfo in namespace default,
# as its templates come out, with an interval of one minute.
TRAEFIK = 'service=~"default-podinfo-canary-[0-9a-zA-Z-]+@kubernetescrd"'
LINKERD = 'namespace="default", deployment=~"podinfo", direction="inbound"'
SUCCESS = {
    "traefik": f"""
        sum(rate(traefik_service_request_duration_seconds_bucket{{
            {TRAEFIK}, code!~"5..", le="+Inf"}}[1m]))
        / sum(rate(traefik_service_request_duration_seconds_bucket{{
            {TRAEFIK}, le="+Inf"}}[1m])) * 100""",
    "linkerd": f"""
        sum(rate(response_total{{classification!="failure", {LINKERD}}}[1m]))
        / sum(rate(response_total{{{LINKERD}}}[1m])) * 100""",
}
DURATION = {
    "traefik": f"""histogram_quantile(0.99, sum(rate(
        traefik_service_request_duration_seconds_bucket{{{TRAEFIK}}}[1m])) by (le))""",
    "linkerd": f"""histogram_quantile(0.99, sum(rate(
        response_latency_ms_bucket{{{LINKERD}}}[1m])) by (le))""",
}
TO_MS = {"traefik": 1000, "linkerd": 1}


def curl(w, paths):
    urls = [word for path in paths for word in ("-o", "/dev/null", f"http://{VIP4}{path}")]
    w.client.host.run("curl", "-sS", "-m", "10", *urls)


def ask(prometheus, query):
    """The one value that Flagger takes; None: no values found, and it holds the canary."""
    values = prometheus.query(query)
    return values[0] if len(values) == 1 and not math.isnan(values[0]) else None


@pytest.mark.parametrize("kind", ["TraefikService", "HTTPRoute"])
def test_flagger_finds_success_rate_and_duration(world, kind):
    w = world(groups={"podinfo-primary": 1, "podinfo-canary": 1},
              options=["--metrics-compat", "traefik,linkerd"])
    w.start({"podinfo-primary": 1, "podinfo-canary": 3}, kind, app_protocol="http")
    prometheus = Prometheus(w.lab, w.agent).wait()
    # Without a request there are series of 0, and no value: 0 of 0.
    for provider, query in SUCCESS.items():
        values = wait_for(lambda q=query: prometheus.query(q), 10, f"series of {provider}")
        assert math.isnan(values[0])
    for _ in range(8):
        curl(w, ["/", "/404", "/", "/500"])
        time.sleep(0.3)
    for provider, query in SUCCESS.items():
        wait_for(lambda q=query: ask(prometheus, q), 10, f"success rate for {provider}", 0.2)
        wait_for(lambda q=query: abs(ask(prometheus, q) - 75) < 0.01, 10,
                 f"75 % for {provider}, not {prometheus.query(query)}", 0.2)
        duration = ask(prometheus, DURATION[provider]) * TO_MS[provider]
        assert 0 < duration < 500, provider
    (canary,) = [v for v in w.agent.service()["variants"] if v["name"] == "podinfo-canary"]
    wait_for(lambda: sum(prometheus.query('sum(response_total{deployment="podinfo"})')) ==
             canary["http"]["requests"] > 0, 10, "the same count as in status", 0.2)


def test_a_restart_of_the_agent_is_no_jump(world):
    w = world(groups={"podinfo-primary": 1, "podinfo-canary": 1},
              options=["--metrics-compat", "traefik"])
    w.start({"podinfo-primary": 0, "podinfo-canary": 1}, app_protocol="http")
    prometheus = Prometheus(w.lab, w.agent).wait()
    curl(w, ["/"] * 50)
    query = "sum(increase(traefik_service_requests_total[1m]))"
    wait_for(lambda: sum(prometheus.query(query)) > 40, 10, "50 requests", 0.2)
    w.agent.stop()
    w.agent.start()
    curl(w, ["/"] * 10)
    wait_for(lambda: sum(prometheus.query("sum(traefik_service_requests_total)")) == 10, 10,
             "the new start", 0.2)
    assert sum(prometheus.query(query)) < 90, "50 and 10, and what Prometheus adds at the ends"


def test_it_is_off_unless_asked_for(world):
    w = world(groups={"podinfo-canary": 1}).start({"podinfo-canary": 1}, app_protocol="http")
    text = w.agent.http("/metrics")[1]
    assert "shunt_http_requests_total{" in text
    assert "traefik_" not in text and "response_total" not in text
