# SPDX-License-Identifier: Apache-2.0
"""What people and programs see: status, metrics, maps under bpftool, doctor."""

import json
import os
import re
import shutil
import signal

import pytest

from lab.cluster import VIP4
from lab.core import run as run_command
from lab import wait_for
from lab.load import Long, http
from lab.world import ECHO, SMALL

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONTRACT = {
    "": ["generation", "services"],
    "service": ["namespace", "name", "frontends", "affinity", "variants", "source", "conditions"],
    "frontend": ["address", "port", "protocol"],
    "variant": ["name", "weight", "share", "connections_total", "connections_active",
                "packets_in", "bytes_in", "packets_out", "bytes_out", "tcp", "backends"],
    "backend": ["address", "port", "state", "connections_total", "connections_active", "tcp"],
    "source": ["kind", "namespace", "name"],
    "condition": ["type", "status", "reason", "message"],
}


def has(thing, kind):
    missing = [name for name in CONTRACT[kind] if name not in thing]
    assert not missing, f"{kind} lacks {missing}"


def test_status_keeps_its_contract(world):
    w = world().start({"blue": 3, "green": 1})
    assert not http(w.client, VIP4, total=100).errors
    status = w.agent.status()
    has(status, "")
    (service,) = status["services"]
    has(service, "service")
    has(service["source"], "source")
    for name, kind in (("frontends", "frontend"), ("variants", "variant"),
                       ("conditions", "condition")):
        assert service[name]
        for thing in service[name]:
            has(thing, kind)
    for variant in service["variants"]:
        for backend in variant["backends"]:
            has(backend, "backend")
    assert [v["share"] for v in service["variants"]] == [0.75, 0.25]
    assert sum(v["connections_total"] for v in service["variants"]) == 100
    assert all(v["bytes_in"] > v["packets_in"] * 40 for v in service["variants"])
    table = w.cli.run("status").stdout
    assert "demo" in table and "blue" in table and "\x1b" not in table, "colour without a terminal"


def test_metrics_are_clean_and_there_before_the_first_packet(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 3, "green": 1})
    status, before = w.agent.http("/metrics")
    assert status == 200
    checked = run_command(["promtool", "check", "metrics"], input=before, check=False)
    assert checked.returncode == 0 and not checked.stderr.strip(), checked
    zero = [line for line in before.split("\n") if re.match(r"shunt_connections_total\{", line)]
    assert zero and all(line.endswith(" 0") for line in zero), zero

    assert not http(w.client, VIP4, total=80).errors
    _, after = w.agent.http("/metrics")
    total = sum(int(float(line.split()[-1])) for line in after.split("\n")
                if re.match(r"shunt_connections_total\{", line))
    assert total == 80, [line for line in after.split("\n") if "connections_total" in line]
    assert {line.split(" ")[0] for line in before.split("\n")} <= \
        {line.split(" ")[0] for line in after.split("\n")}, "series vanished"
    assert w.agent.http("/healthz")[0] == 200 and w.agent.http("/readyz")[0] == 200
    assert w.agent.http("/nothing")[0] == 404


def test_bpftool_shows_every_map_with_named_fields_and_the_page_explains_it(world):
    w = world(groups={"blue": 1, "green": 1}, options=[*SMALL, "--max-flows", "1024"])
    w.start({"blue": 3, "green": 1})
    assert not http(w.client, VIP4, total=20).errors
    (version,) = [f for f in os.listdir(w.agent.bpffs) if f.startswith("v")]
    folder = f"{w.agent.bpffs}/{version}"
    page = open(f"{ROOT}/docs/maps.md").read()
    source = open(f"{ROOT}/bpf/maps.h").read() + open(f"{ROOT}/bpf/maps_guard.h").read()
    for name in re.findall(r"} (shunt_\w+) SEC\(\"\.maps\"\)|^SHUNT_\w*ARRAY\((shunt_\w+),",
                           source, re.M):
        name = name[0] or name[1]
        if name == "shunt_events":
            continue  # a ring buffer cannot be looked into
        dump = json.loads(run_command(["bpftool", "-j", "map", "dump", "pinned",
                                       f"{folder}/{name}"]).stdout)
        assert isinstance(dump, list), (name, dump)
        assert f"{name}" in page, f"docs/maps.md says nothing of {name}"
        if name in ("shunt_sessions", "shunt_fragments", "shunt_placed", "shunt_sources_v4",
                    "shunt_sources_v6"):
            continue  # empty here: their types are checked by the loader's tests
        formatted = dump[0]["formatted"]
        value = formatted.get("value", formatted.get("values"))
        assert not isinstance(value, str) or not value.startswith("0x"), (name, value)
    weights = [v["weight"] for split in json.loads(run_command(
        ["bpftool", "-j", "map", "dump", "pinned", f"{folder}/shunt_splits"]).stdout)
        for v in split["formatted"]["value"]["variant"]]
    assert 3 in weights and 1 in weights


def test_a_full_flow_table_is_a_problem_while_it_refuses(world):
    w = world(groups={"blue": 1}, ports=[ECHO],
              options=[*SMALL, "--max-flows", "1024", "--client-share", "100"])
    w.start({"blue": 1})
    assert w.agent.status()["health"] == "ok"
    held = []
    with pytest.raises(ConnectionRefusedError):
        for _ in range(60):
            held.append(Long(w.client, VIP4, 9000, 20))
    assert len(held) > 10, "a set was full too early"
    problems = w.agent.wait_status(lambda s: s["problems"], "the problem")
    assert "--max-flows (now 1024)" in problems[0]["text"], problems
    assert w.agent.status()["health"] == "degraded"
    assert "FlowTableFull" in [e["reason"] for e in w.cli.json("events")]
    wait_for(lambda: w.agent.status()["health"] == "ok", 15, "refusals to be forgotten")
    w.agent.kill()
    w.agent.start()
    assert w.agent.status()["health"] == "ok", "what was counted before is not new"


@pytest.mark.parametrize("mode, word", [("tcx", "tcx"), ("clsact", "clsact"), ("xdp", "xdp")])
def test_doctor_says_what_is_in_use(world, mode, word):
    w = world(mode=mode, groups={"blue": 1}).start({"blue": 1})
    done = w.cli.run("doctor")
    assert word in done.stdout and "vc0" in done.stdout, done.stdout
    json.loads(w.cli.run("doctor", "-o", "json").stdout)


def test_doctor_names_the_gates_on_a_bridge_that_netfilter_does_not_see(world):
    w = world(groups={"blue": 1}, bridge=True, gates=["vp*:tc"]).start({"blue": 1})

    def said():
        checks = json.loads(w.cli.run("doctor", "-o", "json").stdout)["checks"]
        return next(c for c in checks if c["name"] == "bridge netfilter")

    w.node.sysctl(**{"net__bridge__bridge-nf-call-iptables": 0})
    assert said()["state"] == "warn" and "vp0" in said()["text"], said()
    assert "bridge-nf-call-iptables=1" in said()["hint"]
    w.node.sysctl(**{"net__bridge__bridge-nf-call-iptables": 1,
                     "net__bridge__bridge-nf-call-ip6tables": 1})
    assert said()["state"] == "ok", said()


@pytest.mark.parametrize("mode, lost", [("tcx", "links"), ("xdp", "links"), ("tcx", "")])
def test_healthz_tells_of_pins_that_vanish(world, mode, lost):
    w = world(mode=mode, groups={"blue": 1}).start({"blue": 1})
    assert w.agent.http("/healthz")[0] == 200
    (version,) = [name for name in os.listdir(w.agent.bpffs) if name.startswith("v")]
    shutil.rmtree(os.path.join(w.agent.bpffs, version, lost))
    status, text = w.agent.http("/healthz")
    assert status == 503 and " is gone" in text and lost in text, text
    w.agent.process.send_signal(signal.SIGHUP)  # it looks at its gates, and cannot help it
    w.agent.wait_status(lambda s: s["gates"][0]["state"] == "failed", "the gate to be missed")
    assert w.agent.http("/healthz")[0] == 503
    w.agent.stop()
    w.agent.start()  # as whoever asks for /healthz does
    assert w.agent.http("/healthz")[0] == 200
    assert not http(w.client, VIP4, total=50).errors


def test_events_tell_what_happened(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 0})
    w.cli.run("switch", "demo", "green", "--reason", "tuesday")
    events = w.cli.json("events")
    assert any("demo" in e["object"] and "green" in e["text"] for e in events), events


def test_the_checks_that_readme_and_examples_show_find_nothing(build):
    pages = [f"{ROOT}/README.md", f"{ROOT}/manifests/examples/traefik-blue-green.yaml"]
    lines = [line for page in pages for line in
             re.findall(r"shunt (check [^#\n]*manifests[^#\n]*)", open(page).read())]
    assert len(lines) == 2, lines
    for line in lines:
        done = run_command([f"{build}/shunt", *line.split()], cwd=ROOT)
        assert " 0 findings" in done.stdout, done


def test_every_program_explains_itself(build):
    for program in ("shunt", "shuntd"):
        done = run_command([f"{build}/{program}", "--help"])
        assert program in done.stdout and len(done.stdout.split("\n")) > 10
    assert run_command([f"{build}/shuntd", "--version"]).stdout.strip()
    assert run_command([f"{build}/shunt", "version"]).stdout.strip()
    for command in ("status", "weight", "switch", "rollback", "history", "drain", "explain", "trace",
                    "check", "events", "doctor", "detach"):
        assert command in run_command([f"{build}/shunt", "--help"]).stdout
        assert run_command([f"{build}/shunt", command, "--help"]).stdout
