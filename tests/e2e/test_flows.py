# SPDX-License-Identifier: Apache-2.0
"""Flows that share something: a backend, a client port, a pod that goes away."""

import time

import pytest

from lab import k8s, wait_for
from lab.cluster import VIP4, VIP6
from lab.load import Long, http
from lab.world import ECHO, HTTP, VIPS

MODES = ["tcx", "clsact", "xdp"]
OTHER = {4: "10.96.0.20", 6: "fd96::20"}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_two_frontends_on_one_backend_serve_one_client_port(world, mode, family):
    """The second flow has the same tuple towards the pod: its source port is translated."""
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1}).start({"blue": 1})
    w.agent.apply("other", k8s.service("other", [OTHER[4], OTHER[6]], [ECHO]),
                  k8s.route("TCPRoute", "other", "other", {"blue": 1}, 9000))
    w.agent.wait_status(lambda s: len(s["services"]) == 2, "both services")
    ports = [(w.client.v4 if family == 4 else w.client.v6, 40000 + n) for n in range(50)]
    first = Long(w.client, VIPS[family], 9000, 50, sources=ports)
    second = Long(w.client, OTHER[family], 9000, 50, sources=ports)
    for _ in range(2):
        assert not first.ping() and not second.ping()
    first.close()
    assert not second.ping()
    second.close()


@pytest.mark.parametrize("order", ["direct first", "service first"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_a_direct_flow_and_a_service_flow_share_a_client_port(world, mode, family, order):
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1}).start({"blue": 1})
    pod = w.cluster.pods[0]
    targets = [pod.v4 if family == 4 else pod.v6, VIPS[family]]
    if order == "service first":
        targets.reverse()
    ports = [(w.client.v4 if family == 4 else w.client.v6, 40000 + n) for n in range(50)]
    held = [Long(w.client, target, 9000, 50, sources=ports) for target in targets]
    for _ in range(2):
        assert not held[0].ping() and not held[1].ping()
    held[0].close()
    assert not held[1].ping()
    held[1].close()
    assert w.agent.service()["variants"][0]["connections_total"] == 50


@pytest.mark.parametrize("mode", MODES)
def test_a_client_port_that_comes_back_is_a_new_connection(world, mode):
    """The same tuple again and again, sooner than the closed entry times out."""
    w = world(mode=mode, groups={"blue": 1}).start({"blue": 1})
    w.client.host.sysctl(net__ipv4__tcp_tw_reuse=1)
    sources = [(w.client.v4, 45000)] * 60
    tally = http(w.client, VIP4, total=60, sources=sources, concurrency=1)
    assert not tally.errors, tally
    assert w.agent.service()["variants"][0]["connections_total"] == 60


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_a_removed_backend_serves_until_the_deadline_and_is_reset_then(world, mode, family):
    w = world(mode=mode, ports=[HTTP, ECHO], groups={"blue": 2}, options=["--default-drain", "2s"])
    w.start({"blue": 1})
    held = Long(w.client, VIPS[family], 9000, 40, timeout=1)
    leaving, staying = w.cluster.pods
    w.endpoints("blue", [staying.endpoint()])
    w.agent.wait_status(lambda s: "removed" in str(s["services"]) or str(
        s["services"]).count("'address': '10.244.0.10'") == 0, "the pod to be removed")
    removed = time.monotonic()
    assert not held.ping(), "before the deadline"
    assert http(w.client, VIPS[family], total=200).pods == {staying.name: 200}
    time.sleep(max(0, removed + 2.3 - time.monotonic()))
    failures = held.ping()
    assert failures == {"reset": held.pods.count(leaving.name)}, failures
    held.close()


@pytest.mark.parametrize("mode", MODES)
def test_half_open_and_idle_flows_are_given_back(world, mode):
    """New flows sweep the table as they come: no timer and no agent is needed for it."""
    w = world(mode=mode, groups={"blue": 1}, options=[
        "--max-flows", "1024", "--timeout-half-open", "300ms", "--timeout-closed", "200ms",
        "--timeout-established", "700ms"])
    w.start({"blue": 1})
    pod = w.cluster.pods[0]

    def states():
        return w.agent.status()["flows"]["states"]

    def swept(state):
        assert not http(w.client, VIP4, total=50).errors
        return state not in states()

    pod.host.nft("table inet mute { chain out { type filter hook output priority 0; "
                 "tcp sport 8080 tcp flags & syn == syn drop; }; }")
    with w.client.host.socket() as half:
        half.setblocking(False)
        half.connect_ex((VIP4, 80))
        wait_for(lambda: states() == {"SYN": 1}, 2, "the half-open flow")
    pod.host.run("nft", "delete", "table", "inet", "mute")
    wait_for(lambda: swept("SYN"), 4, "the half-open flow to go")
    with w.client.host.socket() as idle:
        idle.connect((VIP4, 80))
        wait_for(lambda: states().get("ESTABLISHED") == 1, 2, "the established flow")
        wait_for(lambda: swept("ESTABLISHED"), 4, "the idle flow to go")
        wait_for(lambda: w.agent.service()["variants"][0]["connections_active"] == 0, 2,
                 "the count to be given back")


def test_explain_says_what_the_data_path_then_does(world):
    """The prediction is for the very tuple, by the very code."""
    w = world(ports=[ECHO]).start({"blue": 50, "green": 50})
    for n in range(30):
        source = (w.client.v4, 42000 + n)
        said = w.cli.run("explain", f"{source[0]}:{source[1]}", f"{VIP4}:9000").stdout
        held = Long(w.client, VIP4, 9000, 1, sources=[source])
        (group,) = held.groups
        pod = next(p for p in w.cluster.pods if p.name == held.pods[0])
        assert group in said and f"{pod.v4}:9000" in said, (group, pod.v4, said)
        held.close()


def test_both_families_of_one_service_are_served_at_once(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 1})
    for vip in (VIP4, VIP6):
        tally = http(w.client, vip, total=200)
        assert not tally.errors and set(tally.groups) == {"blue", "green"}
    addresses = {f["address"] for f in w.agent.service()["frontends"]}
    assert addresses == {VIP4, VIP6}
    with pytest.raises(OSError):
        # A port that is no frontend is not ours: nobody answers for it.
        with w.client.host.socket() as sock:
            sock.settimeout(0.3)
            sock.connect((VIP4, 81))
