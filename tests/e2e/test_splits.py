# SPDX-License-Identifier: Apache-2.0
"""Ports of one Service that routes split differently; requests that are out of bounds."""

import json
import socket

import pytest

from lab import k8s, wait_for
from lab.cluster import VIP4
from lab.world import DATAGRAM, HTTP



def two_splits(world):
    """TCP port 80 and UDP port 9001 of demo, each with weights of its own."""
    w = world(ports=[HTTP, DATAGRAM], groups={"blue": 2, "green": 2})
    w.backends()
    w.agent.apply("demo", k8s.service("demo", [VIP4], w.ports),
                  w.splitter({"blue": 90, "green": 10}, None, HTTP),
                  w.splitter({"blue": 50, "green": 50}, None, DATAGRAM))
    w.agent.start()
    return w


def drained(w):
    """(port, variant) and (port, backend) of demo that are drained."""
    splits = {s["ports"][0]["port"]: s for s in w.agent.status()["services"]}
    return ({(port, v["name"]) for port, s in splits.items() for v in s["variants"]
             if v["drained"]} |
            {(port, f"{b['address']}:{b['port']}") for port, s in splits.items()
             for v in s["variants"] for b in v["backends"] if b["state"] == "drained"})


def test_a_drain_finds_its_split_among_several(world):
    w = two_splits(world)
    pod = next(pod for pod in w.cluster.pods if pod.group == "blue")

    w.cli.run("drain", "demo", "green", "--port", "80")
    assert drained(w) == {(80, "green")}
    w.cli.run("drain", "demo", f"{pod.v4}:9001")
    assert drained(w) == {(80, "green"), (9001, f"{pod.v4}:9001")}
    assert "demo:80" in str(w.cli.json("events")) and "demo:9001/udp" in str(w.cli.json("events"))
    w.cli.run("drain", "demo", f"{pod.v4}:9001", "--undo")
    w.cli.run("drain", "demo", "green", "--undo")
    assert not drained(w)

    # The whole pod: both splits; the last one of a group: refused, and nothing is half done.
    w.cli.run("drain", "demo", pod.v4)
    assert drained(w) == {(80, f"{pod.v4}:8080"), (9001, f"{pod.v4}:9001")}
    other = next(p for p in w.cluster.pods if p.group == "blue" and p is not pod)
    refused = w.cli.run("drain", "demo", f"{other.v4}", check=False)
    assert refused.returncode == 4 and "last usable" in refused.stderr, refused
    assert drained(w) == {(80, f"{pod.v4}:8080"), (9001, f"{pod.v4}:9001")}
    w.cli.run("drain", "demo", f"{other.v4}:8080", "--force")
    assert drained(w) == {(80, f"{pod.v4}:8080"), (9001, f"{pod.v4}:9001"),
                          (80, f"{other.v4}:8080")}


def test_a_port_of_both_protocols_is_drained_in_both_or_in_the_named_one(world):
    w = world(ports=[(53, 9000, "TCP"), (53, 9001, "UDP")], groups={"blue": 1, "green": 1})
    w.backends()
    w.agent.apply("demo", k8s.service("demo", [VIP4], w.ports),
                  k8s.route("TCPRoute", "demo-tcp", "demo", {"blue": 1, "green": 1}, 53),
                  k8s.route("UDPRoute", "demo-udp", "demo", {"blue": 1, "green": 1}, 53))
    w.agent.start()

    def without_green():
        return {s["ports"][0]["protocol"] for s in w.agent.status()["services"]
                for v in s["variants"] if v["name"] == "green" and v["drained"]}

    done = w.cli.run("drain", "demo", "green", "--port", "53")
    assert without_green() == {"TCP", "UDP"}
    assert "default/demo ports 53, 53/udp: variant green gets nothing new" in done.stdout, done
    done = w.cli.run("drain", "demo", "green", "--undo", "--port", "53/tcp")
    assert without_green() == {"UDP"} and "demo port 53/tcp: variant green" in done.stdout, done
    done = w.cli.run("weight", "demo", "green=7", "--port", "53/udp", "-o", "json")
    assert json.loads(done.stdout)["protocol"] == "udp" and not without_green()
    refused = w.cli.run("switch", "demo", "green", "--port", "53/sctp", check=False)
    assert refused.returncode == 2 and "/tcp or /udp" in refused.stderr, refused


def test_the_history_of_a_service_outlives_its_split(world):
    w = two_splits(world)
    w.cli.run("weight", "demo", "green=20", "--port", "9001", "--reason", "last act")
    w.agent.apply("demo", k8s.service("demo", [VIP4], w.ports))
    w.agent.wait_status(lambda s: not s["services"], "the splits to go")
    for name in ("demo", "default/demo"):
        told = w.cli.json("history", name)
        assert told["gone"] and told["namespace"] == "default"
        assert {c["split"] for c in told["changes"]} == {"80", "9001/udp"}
    text = w.cli.run("history", "demo").stdout
    assert "default/demo has no split any more" in text and "last act" in text, text
    assert w.cli.run("history", "nobody", check=False).returncode == 3


def test_what_a_command_does_to_several_splits_is_that_commands_in_history(world):
    w = two_splits(world)
    w.cli.run("switch", "demo", "green", "--reason", "night")
    w.cli.run("weight", "demo", "--from-manifest", "--reason", "morning")
    w.cli.run("drain", "demo", "blue", "--reason", "noon")
    w.cli.run("drain", "demo", "blue", "--undo", "--reason", "evening")
    changes = w.cli.json("history", "demo")["changes"]
    told = [(c["split"], c["command"], c["reason"]) for c in changes if c["from"]]
    want = [("drain", "evening"), ("drain", "noon"), ("weight", "morning"), ("switch", "night")]
    for split in ("80", "9001/udp"):
        assert [t[1:] for t in told if t[0] == split] == want, told
    assert all(c["who_uid"] == 0 for c in changes if c["from"])


@pytest.mark.parametrize("target", ["blue", "10.99.99.99", "10.99.99.99:80", "pod"])
def test_the_end_of_a_drain_that_is_none_is_not_found(world, target):
    w = two_splits(world)
    if target == "pod":
        target = f"{w.cluster.pods[0].v4}:8080"
    done = w.cli.run("drain", "demo", target, "--undo", check=False)
    assert done.returncode == 3 and not done.stdout, done
    assert "is not drained" in done.stderr or "no variant or backend" in done.stderr, done


def test_history_and_refusals_name_the_ports(world):
    w = two_splits(world)
    w.cli.run("weight", "demo", "green=20", "--port", "9001")
    changes = w.cli.json("history", "demo")["changes"]
    assert {c["split"] for c in changes} == {"80", "9001/udp"}
    assert changes[0]["split"] == "9001/udp" and changes[0]["to"] == {"blue": 50, "green": 20}
    assert "demo:9001/udp" in w.cli.run("status").stdout
    done = w.cli.run("switch", "demo", "green")
    assert "demo:80\n" in done.stdout and "demo:9001/udp\n" in done.stdout, done
    refused = w.cli.run("weight", "demo", "red=1", "--port", "80", check=False)
    assert refused.returncode == 3 and "demo:80: " in refused.stderr, refused


@pytest.mark.parametrize("command, args, field", [
    ("drain", {"service": "demo", "target": "blue", "deadline_ms": -1}, "deadline_ms"),
    ("drain", {"service": "demo", "target": "blue", "port": 0}, "port"),
    ("weight", {"service": "demo", "weights": {"blue": -1}}, "blue"),
    ("weight", {"service": "demo", "weights": {"blue": 1}, "port": 65536}, "port"),
    ("switch", {"service": "demo", "variant": "blue", "port": -1}, "port"),
    ("rollback", {"service": "demo", "port": 0}, "port"),
    ("rollback", {"service": "demo", "protocol": "sctp"}, "protocol"),
    ("history", {"service": "demo", "last": -1}, "last"),
    ("events", {"last": -1}, "last"),
    ("detach", {"deadline_ms": -1}, "deadline_ms"),
    ("rollback", {"service": "demo", "reason": "x" * 256}, "reason"),
])
def test_absurd_numbers_are_refused_by_name(world, command, args, field):
    w = world(groups={"blue": 1}).start({"blue": 1})
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(w.agent.socket)
        s.sendall(json.dumps({"command": command, "args": args}).encode() + b"\n")
        answer = json.loads(s.makefile().readline())
    assert (answer["ok"], answer["code"]) == (False, "USAGE"), answer
    assert field in answer["error"], answer


def test_a_drained_variant_counts_as_nothing_before_a_change(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 95, "green": 5})
    w.cli.run("drain", "demo", "blue")
    change = w.cli.json("weight", "demo", "green=7")
    assert change["from"] == {"blue": 0, "green": 5} and change["to"] == {"blue": 0, "green": 7}


def test_events_name_things_once_and_alike(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 0})
    w.endpoints("green", w.cluster.endpoints("green", ready=False))
    w.split({"blue": 0, "green": 1})
    wait_for(lambda: "WeightRefused default/demo: NoReadyEndpoints: " in w.agent.log_text(), 3,
             "the refusal in the log")
    with open(f"{w.agent.source}/x.yaml", "w") as f:
        f.write("kind: [")
    line = wait_for(lambda: next((line for line in w.agent.log_text().split("\n")
                                  if "FileProblem" in line), None), 3, "the problem in the log")
    assert line.count("x.yaml") == 1 and ": line 2, column " in line, line


def test_a_reason_forges_no_line_of_the_log(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 1})
    w.cli.run("weight", "demo", "green=2", "--reason", "x\nfake ERROR y\x1b[31m")
    wait_for(lambda: "x?fake ERROR y?[31m" in w.agent.log_text(), 3, "the event in the log")
    assert "\x1b" not in w.agent.log_text()


def test_not_ready_without_a_single_gate_and_says_why(world):
    w = world(groups={"blue": 1}, gates=["vc*:xdp"], options=["--tc", "tcx"])
    w.backends().split({"blue": 1})
    other = "pass.bpf.o"
    program = f"{w.build}/tests/e2e/{other}"
    w.node.run("ip", "link", "set", "dev", "vc0", "xdp", "obj", program, "sec", "xdp")
    w.agent.spawn()
    status, text = wait_for(lambda: (lambda a: a if a[0] == 503 and "guarded" in a[1] else None)(
        w.agent.http("/readyz")), 10, "503")
    assert "vc0" in text, text
