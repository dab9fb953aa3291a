# SPDX-License-Identifier: Apache-2.0
"""Probe mode: what Flagger's queries find when nobody sends anything but the agent itself."""

import socket

import pytest

from lab import wait_for
from lab.k8s import traffic_policy as policy
from lab.prometheus import Prometheus
from test_metrics_compat import DURATION, SUCCESS, ask

PROBE = {"path": "/fate", "interval": "200ms", "timeout": "500ms"}
GROUPS = {"podinfo-primary": 1, "podinfo-canary": 1}


def probed(world, probe=PROBE, **service_options):
    w = world(groups=GROUPS, options=["--metrics-compat", "traefik,linkerd"])
    if probe:
        w.agent.apply("policy", policy(probe=probe))
    return w.start({"podinfo-primary": 1, "podinfo-canary": 0}, **service_options)


def canary(w):
    (pod,) = [pod for pod in w.cluster.pods if pod.group == "podinfo-canary"]
    return pod


def counted(w, code, variant="podinfo-canary"):
    """What metrics say of the probes of a variant; None: nothing."""
    lines = [line for line in w.agent.http("/metrics")[1].splitlines()
             if line.startswith("shunt_probe_requests_total{")
             and f'variant="{variant}"' in line and f'code="{code}"' in line]
    return float(lines[0].split()[-1]) if lines else None


def grows(w, code):
    before = counted(w, code) or 0
    wait_for(lambda: (counted(w, code) or 0) > before + 1, 30, f"probes with {code}")


@pytest.mark.parametrize("protocol", ["http", None])
def test_without_traffic_flagger_finds_values(world, protocol):
    w = probed(world, app_protocol=protocol)
    assert "NotEnforced" not in str(w.agent.status())
    prometheus = Prometheus(w.lab, w.agent).wait()
    for provider, query in SUCCESS.items():
        value = wait_for(lambda q=query: ask(prometheus, q), 30, f"a value of {provider}")
        assert value == 100
        assert wait_for(lambda p=provider: ask(prometheus, DURATION[p]), 30, "the duration") > 0
    # The canary, whose weight is 0, begins to fail.
    canary(w).nginx.fate("500")
    for provider, query in SUCCESS.items():
        wait_for(lambda q=query: ask(prometheus, q) < 95, 60, f"a lower value of {provider}")
    assert counted(w, "5xx") > 0 and counted(w, "none") == 0
    # Nothing of it is traffic.
    (variant,) = [v for v in w.agent.service()["variants"] if v["name"] == "podinfo-canary"]
    assert variant["connections_total"] == 0 and not (variant["http"] or {}).get("requests")
    assert variant["probes"]["5xx"] > 0
    shown = w.agent.cli.run("status", "demo").stdout
    assert "probes of podinfo-canary: " in shown and "asked for /fate every" in shown, shown


def test_a_backend_that_hangs_or_goes_is_told(world):
    w = probed(world)
    grows(w, "2xx")
    pod = canary(w)
    pod.nginx.stop()
    grows(w, "none")
    with pod.host.socket() as hanging:
        hanging.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hanging.bind(("0.0.0.0", 8080))
        hanging.listen(64)
        grows(w, "none")
        # A change while some are under way, and the end of the agent.
        w.endpoints("podinfo-canary", [])
        wait_for(lambda: counted(w, "none") is None, 30, "the series to go")
        w.backends("podinfo-canary")
        grows(w, "none")
        w.agent.stop()
        w.agent.start()
        grows(w, "none")
    pod.nginx.start()
    grows(w, "2xx")


def test_without_the_setting_nobody_is_asked(world):
    w = probed(world, probe=None, app_protocol="http")
    assert counted(w, "2xx") is None
    assert 'probe="true"' not in w.agent.http("/metrics")[1]
    w.agent.apply("policy", policy(probe=PROBE))
    grows(w, "2xx")
    w.agent.apply("policy", policy(signals="http"))
    wait_for(lambda: counted(w, "2xx") is None, 30, "the series to go")
    accesses = canary(w).nginx.accesses()
    w.cli.run("status")
    assert canary(w).nginx.accesses() <= accesses + 1
