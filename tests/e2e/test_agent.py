# SPDX-License-Identifier: Apache-2.0
"""The agent's life: killed, absent, restarted, replaced, without rights, beside a second one
(scenario S19), and the files, gates and disks that it lives on."""

import json
import os
import shutil
import socket
import time

import pytest

from lab import Agent, stats, wait_for
from lab.cluster import VIP4
from lab.core import run as run_command
from lab.load import HttpLoad, KeepAlive, Long, http
from lab.world import ECHO, HTTP, SMALL

MODES = ["tcx", "clsact", "xdp"]
DECIDING = ["shunt_services", "shunt_rules", "shunt_splits", "shunt_rings", "shunt_members",
            "shunt_backends", "shunt_variants", "shunt_settings"]


def pins(w, version=None):
    folders = [f for f in os.listdir(w.agent.bpffs) if f.startswith("v")]
    return f"{w.agent.bpffs}/{version or folders[0]}"


def maps(w):
    """What decides about new flows, without the count of the host's changes of routes."""
    dumps = {name: json.loads(run_command(["bpftool", "-j", "map", "dump", "pinned",
                                           f"{pins(w)}/{name}"]).stdout) for name in DECIDING}
    dumped = {name: [entry["formatted"]["value"] for entry in dump]
              for name, dump in dumps.items()}
    dumped["shunt_settings"][0].pop("route_generation")
    return dumped


@pytest.mark.parametrize("mode, absent", [
    *((mode, 0) for mode in MODES), pytest.param("tcx", 600, id="full", marks=pytest.mark.soak)])
def test_s19_nothing_changes_while_the_agent_is_dead_nor_when_it_returns(world, mode, absent):
    w = world(mode=mode, options=SMALL).start({"blue": 75, "green": 25}, affinity=10800)
    held = KeepAlive(w.client, VIP4, 80, 100, sources=((w.client.address(n), 0)
                                                       for n in range(100)))
    generation, before = w.agent.status()["generation"], maps(w)
    w.agent.kill()
    tally = http(w.client, VIP4, total=10_000,
                 sources=((w.client.address(n), 0) for n in range(10_000)))
    assert not tally.errors and stats.within(tally.groups["green"], 10_000, 0.25), tally
    run = HttpLoad(w.client, VIP4, rate=400 if not absent else 100).start()
    for _ in range(max(1, absent // 10)):
        time.sleep(min(10, absent))
        assert not held.ping()
    w.agent.start()
    time.sleep(0.3)
    assert not run.stop().errors and not held.ping()
    assert w.agent.status()["generation"] == generation
    assert maps(w) == before, "a restart changed the tables without a change of an object"
    held.close()


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("mode", MODES)
def test_restarts_under_load_lose_nothing_and_keep_the_counters(world, mode, how):
    w = world(mode=mode, ports=[HTTP, ECHO]).start({"blue": 50, "green": 50})
    held = Long(w.client, VIP4, 9000, 30)
    run = HttpLoad(w.client, VIP4, rate=400).start()
    last = 0
    for _ in range(3):
        time.sleep(0.3)
        getattr(w.agent, how)()
        w.agent.start()
        now = sum(w.agent.backends().values())
        assert now >= last, "counters fell"
        last = now
    tally = run.stop()
    assert not tally.errors and not held.ping(), tally
    assert sum(w.agent.backends().values()) == tally.n
    held.close()


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_with_another_abi_takes_over_and_gives_back_under_load(world, build, mode):
    w = world(mode=mode, ports=[HTTP, ECHO]).start({"blue": 50, "green": 50})
    held = Long(w.client, VIP4, 9000, 100)
    run = HttpLoad(w.client, VIP4, rate=400).start()
    time.sleep(0.5)
    other = os.path.join(build, "abi-next")
    for target in (other, build, other, build):
        before = sum(w.agent.backends().values())
        w.agent.stop()
        w.agent.build = target
        w.agent.start()
        assert sum(w.agent.backends().values()) >= before, "counters fell"
        assert not held.ping()
        assert len([f for f in os.listdir(w.agent.bpffs) if f.startswith("v")]) == 1
        time.sleep(0.3)
    tally = run.stop()
    assert not tally.errors, tally
    assert sum(w.agent.backends().values()) == tally.n
    held.close()


def test_the_agent_needs_two_capabilities_and_no_more(world):
    """uid 65534, CAP_BPF and CAP_NET_ADMIN: every program must load under the stricter verifier."""
    w = world(gates=["vc0:tc", "vc1:xdp"], clients=2)
    w.cluster.prepare_xdp(w.cluster.clients[1])
    w.backends().split({"blue": 50, "green": 50})
    for path in (w.agent.bpffs, os.path.dirname(w.agent.socket)):
        os.makedirs(path, exist_ok=True)
        run_command(["chown", "-R", "65534:65534", path])
    run_command(["chmod", "755", w.lab.dir, os.path.dirname(w.agent.bpffs)])
    words = w.agent.command()
    program = w.lab.path("nobody", "shuntd")
    shutil.copy(words[0], program)
    w.agent.command = lambda: ["setpriv", "--reuid", "65534", "--regid", "65534",
                               "--clear-groups", "--inh-caps", "-all,+bpf,+net_admin",
                               "--ambient-caps", "-all,+bpf,+net_admin", "--bounding-set",
                               "-all,+bpf,+net_admin", program, *words[1:]]
    w.agent.start()
    for client in w.cluster.clients:
        tally = http(client, VIP4, total=200)
        assert not tally.errors and len(tally.groups) == 2, tally
    assert {g["hook"] for g in w.agent.status()["gates"]} == {"tc", "xdp"}


# ---- where it cannot work: one clear line and an exit code -----------------------------------------

def one_line_and_end(agent, *words, code=None):
    agent.spawn()
    status = agent.process.wait(10)
    agent.process = None
    text = agent.log_text().strip()
    assert status != 0 and (code is None or status == code), (status, text)
    assert len([line for line in text.split("\n") if "error" in line.lower()]) <= 1
    for word in words:
        assert word in text, text
    assert len(text.split("\n")) <= 4, text


def test_a_second_agent_on_the_same_pins_is_refused(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    second = Agent(w.cluster, w.build, ["vc*:tc"], name="second")
    second.bpffs = w.agent.bpffs
    second.locations = ["--socket", second.socket, "--bpffs", w.agent.bpffs, "--state-dir",
                        second.state_dir]
    second.metrics = "127.0.0.1:9101"

    one_line_and_end(second, w.agent.bpffs)
    assert not http(w.client, VIP4, total=50).errors


def test_a_second_agent_on_the_same_state_is_refused(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    second = Agent(w.cluster, w.build, ["vc*:tc"], name="second")
    second.locations = ["--socket", second.socket, "--bpffs", second.bpffs, "--state-dir",
                        w.agent.state_dir]
    second.metrics = "127.0.0.1:9101"

    one_line_and_end(second, w.agent.state_dir, code=5)
    w.agent.kill()
    w.agent.start()


def test_no_bpffs_is_said(world):
    w = world(groups={})
    w.agent.locations[3] = w.lab.path("plain", "x")
    one_line_and_end(w.agent, "bpf")


def test_missing_rights_are_named(world):
    w = world(groups={})
    words = w.agent.command()
    w.agent.command = lambda: ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps",
                               "-all", "--bounding-set", "-all", *words]
    run_command(["chmod", "755", w.lab.dir])
    run_command(["chown", "-R", "65534", os.path.dirname(w.agent.socket)])
    w.agent.spawn()
    assert w.agent.process.wait(10) != 0
    assert "CAP_" in w.agent.log_text() or "ermission" in w.agent.log_text(), w.agent.log_text()
    w.agent.process = None


@pytest.mark.parametrize("words", [
    ["--gate", "vc*:tx"], ["--gate", ""], ["--metrics", "nowhere"], ["--metrics", "127.0.0.1:65536"],
    ["--tc", "sideways"], ["--frontend-cidr", "10.0.0.0/33"], ["--entrypoint", "web=10.0.0.1"],
    ["--max-step", "0"], ["--nat-ports", "5-4"], ["--no-such-option"], ["--default-drain", "soon"],
])
def test_a_wrong_option_is_one_line_and_exit_code_2(world, words):
    w = world(groups={}, options=words)
    one_line_and_end(w.agent, words[0].strip("-"), code=2)


def test_a_missing_source_directory_is_said(world):
    w = world(groups={})
    shutil.rmtree(w.agent.source)
    one_line_and_end(w.agent, w.agent.source)


# ---- gates -------------------------------------------------------------------------------------------

def gates(w):
    return {g["ifname"]: g["hook"] for g in w.agent.status()["gates"]}


def test_gates_are_taken_as_they_appear_and_forgotten_as_they_go(world):
    w = world(groups={"blue": 1}, gates=["vc0:tc", "extra*:tc"]).start({"blue": 1})
    assert gates(w) == {"vc0": "tc"}
    w.node.ip("link add extra1 type veth peer name peer1", "link set extra1 up",
              "link add extra2 type veth peer name peer2")
    wait_for(lambda: gates(w) == {"vc0": "tc", "extra1": "tc", "extra2": "tc"}, 3, "new gates")
    w.node.ip("link del extra1")
    wait_for(lambda: gates(w) == {"vc0": "tc", "extra2": "tc"}, 3, "the gate to be forgotten")
    w.node.ip("link set extra2 down", "link set extra2 name other")
    wait_for(lambda: "extra2" not in gates(w), 3, "the renamed gate to be let go")
    assert not http(w.client, VIP4, total=50).errors


def test_a_gate_that_does_not_exist_is_waited_for_and_reported(world):
    w = world(groups={"blue": 1}, gates=["nothere0:tc"])
    w.backends().split({"blue": 1})
    w.agent.spawn()
    wait_for(lambda: w.agent.http("/healthz")[0] == 200, 5, "the agent")
    code, text = w.agent.http("/readyz")
    assert code == 503 and text, text
    assert gates(w) == {} and "nothere0" in w.agent.log_text()
    w.node.ip("link set vc0 down", "link set vc0 name nothere0", "link set nothere0 up",
              f"route add {w.client.pool4}.0.0/16 via {w.client.v4}")
    wait_for(lambda: gates(w) == {"nothere0": "tc"}, 3, "the gate")
    assert not http(w.client, VIP4, total=50).errors


def test_a_hook_that_was_taken_away_comes_back(world):
    w = world(mode="clsact", groups={"blue": 1}, options=["--resync", "200ms"]).start({"blue": 1})
    w.node.run("tc", "qdisc", "del", "dev", "vc0", "clsact")
    wait_for(lambda: not http(w.client, VIP4, total=5, timeout=0.3).errors, 5, "the repaired gate")


# ---- disks, sockets ------------------------------------------------------------------------------------

def test_a_full_disk_does_not_stop_a_switch_and_is_said(world):
    w = world(groups={"blue": 1, "green": 1})
    secret = open(f"{w.agent.state_dir}/secret").read()
    run_command(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", w.agent.state_dir])
    try:
        with open(os.open(f"{w.agent.state_dir}/secret", os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(secret)
        w.start({"blue": 100, "green": 0})
        with open(f"{w.agent.state_dir}/filler", "wb", buffering=0) as f:
            with pytest.raises(OSError):
                while True:
                    f.write(b"x" * 4096)
        done = w.cli.run("switch", "demo", "green", "-o", "json")
        assert "space" in (done.stdout + done.stderr).lower(), done
        assert http(w.client, VIP4, total=50).groups == {"green": 50}
        os.unlink(f"{w.agent.state_dir}/filler")
        w.cli.run("switch", "demo", "blue")
        w.agent.stop()
        w.agent.start()
        assert w.agent.weights() == {"blue": 100, "green": 0}
    finally:
        w.agent.kill() if w.agent.process and w.agent.process.poll() is None else None
        run_command(["umount", "-l", w.agent.state_dir])


GARBAGE = {
    "bytes": b"\0\xff\xfe\n",
    "no command": b"{}\n",
    "an array": b"[1,2]\n",
    "no arguments": b'{"command":"weight"}\n',
    "an unknown argument": b'{"command":"status","args":{"no":1}}\n',
    "an unknown command": b'{"command":"nothing"}\n',
    "half an object": b'{"command":\n',
    "a line without end": b"x" * (2 << 20),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_on_the_socket_gets_an_error_and_harms_nobody(world, kind):
    w = world(groups={"blue": 1}).start({"blue": 1})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(w.agent.socket)
        try:
            sock.sendall(GARBAGE[kind])
        except BrokenPipeError:
            pass
        answer = json.loads(sock.makefile().readline())
    assert answer["ok"] is False and answer["error"], answer
    assert w.agent.weights() == {"blue": 1}


def test_the_socket_is_private_and_other_users_are_turned_away(world):
    w = world(groups={}).start()
    assert os.stat(w.agent.socket).st_mode & 0o777 == 0o600
    os.chmod(w.agent.socket, 0o666)
    run_command(["chmod", "755", w.lab.dir, os.path.dirname(w.agent.socket)])
    program = w.lab.path("nobody", "shunt")
    shutil.copy(w.cli.program, program)
    done = run_command(["setpriv", "--reuid", "65534", "--clear-groups", program, "status",
                        "--socket", w.agent.socket], check=False)
    assert done.returncode == 7, done
