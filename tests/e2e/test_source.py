# SPDX-License-Identifier: Apache-2.0
"""Manifests: every dialect, edits under way, and bad ones that leave the last good state."""

import os
import time

import pytest

from lab import k8s, wait_for
from lab.cluster import VIP4
from lab.core import run as run_command
from lab.load import HttpLoad, http
from lab.world import HTTP

GOOD = {"blue": 70, "green": 30}


def istio(weights, kind="http"):
    route = [{"destination": {"host": "demo", "subset": name, **(
        {"port": {"number": 80}} if kind == "tcp" else {})}, "weight": weight}
        for name, weight in weights.items()]
    return [{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
             "metadata": k8s.meta("demo"),
             "spec": {"hosts": ["demo"], kind: [{"route": route}]}},
            {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
             "metadata": k8s.meta("demo"),
             "spec": {"host": "demo", "subsets": [{"name": name, "labels": {"version": name}}
                                                  for name in weights]}}]


def pods_of(w):
    """Pod objects with labels, and one slice of Service demo that names them."""
    objects, endpoints = [], []
    for pod in w.cluster.pods:
        objects.append({"apiVersion": "v1", "kind": "Pod",
                        "metadata": k8s.meta(pod.name, labels={"app": "demo",
                                                               "version": pod.group}),
                        "status": {"podIP": pod.v4, "podIPs": [{"ip": pod.v4}]}})
        endpoints.append({"addresses": [pod.v4], "conditions": {"ready": True},
                          "targetRef": {"kind": "Pod", "name": pod.name, "namespace": "default"}})
    objects.append({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": k8s.meta("demo-1", labels={"kubernetes.io/service-name": "demo"}),
                    "addressType": "IPv4", "endpoints": endpoints,
                    "ports": [{"name": "p80-tcp", "port": 8080, "protocol": "TCP"}]})
    return objects


@pytest.mark.parametrize("kind", ["TCPRoute", "HTTPRoute", "TraefikService"])
def test_each_dialect_splits_the_same_way(world, kind):
    w = world().start(GOOD, kind=kind)
    service = w.agent.service()
    assert {v["name"]: v["weight"] for v in service["variants"]} == GOOD
    assert service["source"]["kind"] == kind
    tally = http(w.client, VIP4, total=1000)
    assert not tally.errors and abs(tally.share("green") - 0.3) < 0.06


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_istio_subsets_split_by_the_labels_of_pods(world, kind):
    w = world(groups={"blue": 2, "green": 2})
    w.agent.apply("demo", k8s.service("demo", [VIP4], [HTTP]), pods_of(w), istio(GOOD, kind))
    w.agent.start()
    assert w.agent.weights() == GOOD
    tally = http(w.client, VIP4, total=1000)
    assert not tally.errors and abs(tally.share("green") - 0.3) < 0.06


@pytest.mark.parametrize("kind", ["IngressRoute", "IngressRouteTCP"])
def test_a_traefik_entry_point_is_split_at_its_own_address(world, kind):
    w = world(options=["--entrypoint", "web=10.97.0.1:80", "--entrypoint", "web=[fd97::1]:80"])
    route = k8s.ingress_route("site", "demo")
    if kind == "IngressRouteTCP":
        route["kind"] = kind
        route["spec"]["routes"] = [{"match": "HostSNI(`*`)", "services": [
            {"name": name, "port": 80, "weight": weight} for name, weight in GOOD.items()]}]
    w.backends()
    w.agent.apply("site", k8s.traefik_service("demo", GOOD), route)
    w.agent.start()
    for address in ("10.97.0.1", "fd97::1"):
        tally = http(w.client, address, total=500)
        assert not tally.errors and abs(tally.share("green") - 0.3) < 0.09, tally


def test_external_addresses_are_split_only_inside_the_allowed_networks(world):
    w = world(options=["--frontend-cidr", "203.0.113.0/24"])
    w.backends()
    w.agent.apply("demo", k8s.service("demo", [VIP4], [HTTP], external=["203.0.113.7"],
                                      load_balancer=["198.51.100.7"]),
                  k8s.route("TCPRoute", "demo", "demo", GOOD))
    w.agent.start()
    assert {f["address"] for f in w.agent.service()["frontends"]} == {VIP4, "203.0.113.7"}
    assert "198.51.100.7" in str(w.agent.status()), "the refused address is not reported"
    assert not http(w.client, "203.0.113.7", total=100).errors


def test_several_slices_are_one_set_of_backends(world):
    w = world(groups={"blue": 3})
    pods = w.cluster.endpoints("blue")
    w.agent.apply("blue", k8s.service("blue", ports=[HTTP]), k8s.slices("blue", pods[:2], [HTTP]),
                  k8s.slices("blue", pods[1:], [HTTP], suffix="-b"))
    w.split({"blue": 1})
    w.agent.start()
    assert len(w.agent.service()["variants"][0]["backends"]) == 6
    assert len(http(w.client, VIP4, total=300).pods) == 3


# ---- edits -------------------------------------------------------------------------------------------

BROKEN = """apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: demo-80
spec: [
"""


def test_a_broken_file_keeps_its_last_good_state_and_is_named(world):
    w = world().start(GOOD)
    run = HttpLoad(w.client, VIP4, rate=300).start()
    path = f"{w.agent.source}/demo.yaml"
    good = open(path).read()
    with open(path, "w") as f:
        f.write(BROKEN)
    problem = w.agent.wait_status(lambda s: s["problems"], "the problem")[0]
    assert problem["file"].endswith("demo.yaml") and problem["line"] >= 3 and problem["text"]
    assert w.agent.weights() == GOOD and w.agent.status()["health"] == "degraded"
    assert w.agent.log_text().count("demo.yaml") >= 1
    with open(path, "w") as f:
        f.write(good.replace("70", "60").replace("30", "40"))
    w.agent.wait_weights(blue=60, green=40)
    assert not w.agent.status()["problems"]
    assert not run.stop().errors


def test_a_file_that_was_broken_before_the_start_is_reported(world):
    w = world()
    w.backends().split(GOOD)
    with open(f"{w.agent.source}/other.yaml", "w") as f:
        f.write(BROKEN)
    w.agent.start()
    assert w.agent.weights() == GOOD
    assert "other.yaml" in str(w.agent.status()["problems"])


def test_edits_are_seen_however_they_are_made(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 0})
    path = f"{w.agent.source}/demo.yaml"
    text = open(path).read()

    def edit(weight):
        return text.replace("weight: 0", f"weight: {weight}")

    with open(path, "w") as f:  # in place
        f.write(edit(2))
    w.agent.wait_weights(blue=1, green=2)
    with open(path + "~", "w") as f:  # by rename, as editors do
        f.write(edit(3))
    os.rename(path + "~", path)
    w.agent.wait_weights(blue=1, green=3)
    os.unlink(path)  # as a ConfigMap volume: a link to ..data, which is swapped
    for number in (4, 5):
        os.mkdir(f"{w.agent.source}/..{number}")
        with open(f"{w.agent.source}/..{number}/demo.yaml", "w") as f:
            f.write(edit(number))
        os.symlink(f"..{number}", f"{w.agent.source}/..new")
        os.rename(f"{w.agent.source}/..new", f"{w.agent.source}/..data")
        if number == 4:
            os.symlink("..data/demo.yaml", path)
        w.agent.wait_weights(blue=1, green=number)
    begun = time.monotonic()
    os.unlink(path)
    os.makedirs(f"{w.agent.source}/below")
    with open(f"{w.agent.source}/below/demo.yaml", "w") as f:
        f.write(edit(6))
    w.agent.wait_weights(blue=1, green=6)
    assert time.monotonic() - begun < 2


# ---- bad input: each one clear line with file, line and field ------------------------------------------

ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: bad, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: bad, port: 80}]
  rules:
  - backendRefs:
    - {name: blue, port: 80, weight: %s}
"""
SERVICE = """apiVersion: v1
kind: Service
metadata: {name: bad, namespace: default}
spec:
  clusterIP: %s
  ports: [{name: p80-tcp, port: %s, targetPort: 8080}]
"""
SLICE = """apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: bad, namespace: default, labels: {kubernetes.io/service-name: blue}}
addressType: IPv4
endpoints:
- addresses: ["%s"]
ports: [{name: "p80-tcp", port: %s, protocol: TCP}]
"""

BAD = {
    "malformed": (BROKEN, [":4:"]),
    "unknown kind of a known group": (ROUTE.replace("TCPRoute", "TeaRoute") % 1, ["TeaRoute"]),
    "no kind": ("apiVersion: v1\nmetadata: {name: x}\n", ["kind"]),
    "not an object": ("- 1\n- 2\n", []),
    "duplicate key": ("kind: Service\nkind: Service\n", [":2:"]),
    "spec of the wrong type": ("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: 5\n",
                               ["spec"]),
    "weight as text": (ROUTE % '"ten"', ["weight", ":8:"]),
    "weight negative": (ROUTE % -1, ["weight", ":8:"]),
    "weight fractional": (ROUTE % 0.5, ["weight", ":8:"]),
    "weight too large": (ROUTE % 1000001, ["weight", ":8:"]),
    "port 0": (SERVICE % ("10.96.0.50", 0), ["port", ":6:"]),
    "port 65536": (SERVICE % ("10.96.0.50", 65536), ["port", ":6:"]),
    "no address": (SERVICE % ("10.96.0.300", 80), ["clusterIP", ":5:"]),
    "address of the wrong family": (SLICE % ("fd02::7", 8080), ["addresses"]),
    "endpoint port 0": (SLICE % ("10.244.0.50", 0), ["port"]),
    "loopback endpoint": (SLICE.replace(": blue", ": pods") % ("127.0.0.1", 8080) + "---\n" +
                          SERVICE % ("10.96.0.50", 80) + "---\n" +
                          SERVICE.replace("bad", "pods") % ("10.96.0.51", 80) + "---\n" +
                          ROUTE.replace(": blue", ": pods") % 1, ["addresses"]),
    "header match": (ROUTE.replace("TCPRoute", "HTTPRoute").replace(
        "  - backendRefs", "  - matches: [{headers: [{name: x, value: y}]}]\n    backendRefs") % 1,
        ["headers"]),
    "filter": (ROUTE.replace("TCPRoute", "HTTPRoute").replace(
        "  - backendRefs", "  - filters: [{type: RequestMirror}]\n    backendRefs") % 1, ["filters"]),
    "two rules": (ROUTE % 1 + "  - backendRefs: []\n", ["rules"]),
}


@pytest.mark.parametrize("name", BAD)
def test_check_names_file_line_and_field(lab, build, name):
    text, words = BAD[name]
    path = lab.path("bad.yaml")
    with open(path, "w") as f:
        f.write(text)
    done = run_command([f"{build}/shunt", "check", path], check=False)
    said = done.stdout + done.stderr
    lines = [line for line in said.split("\n") if "bad.yaml" in line]
    assert done.returncode not in (0, 5, 8) and done.returncode < 64, done
    assert len(lines) == 1, said
    assert "bad.yaml:" in lines[0]
    for word in words:
        assert word in lines[0], (word, lines[0])


def test_bad_objects_leave_the_good_ones_in_force(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 1})
    for number, (text, _) in enumerate(BAD.values()):
        with open(f"{w.agent.source}/bad{number}.yaml", "w") as f:
            f.write(text.replace("bad", f"bad{number}"))
    w.agent.wait_status(lambda s: len(s["problems"]) >= 2 and len(s["reports"]) >= 8,
                        "problems and reports")
    assert w.agent.weights() == {"blue": 1, "green": 1}
    tally = http(w.client, VIP4, total=200)
    assert not tally.errors and len(tally.groups) == 2
    w.agent.kill()
    w.agent.start()
    assert w.agent.weights() == {"blue": 1, "green": 1}


def test_check_accepts_what_is_good_and_takes_directories(world, build):
    w = world()
    w.backends().split(GOOD)
    done = run_command([f"{build}/shunt", "check", w.agent.source], check=False)
    assert done.returncode == 0, done


def test_check_refuses_a_file_beyond_sixteen_megabytes(lab, build):
    path = lab.path("large.yaml")
    with open(path, "w") as f:
        for _ in range(17):
            f.write("#" * (1 << 20) + "\n")
    done = run_command([f"{build}/shunt", "check", path], check=False)
    assert done.returncode not in (0, 8) and "16" in done.stdout + done.stderr, done


def test_the_same_object_twice_is_a_problem_of_the_later_file(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 0})
    w.agent.apply("zz", k8s.route("TCPRoute", "demo-80", "demo", {"green": 1}))
    problems = w.agent.wait_status(lambda s: s["problems"], "the problem")
    assert problems[0]["file"].endswith("zz.yaml")
    assert w.agent.weights() == {"blue": 1, "green": 0}
    os.unlink(f"{w.agent.source}/zz.yaml")
    wait_for(lambda: not w.agent.status()["problems"], 3, "the problem to end")
