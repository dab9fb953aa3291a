# SPDX-License-Identifier: Apache-2.0
"""shunt trace: what a person sees of real connections, and that nothing else notices."""

import glob
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from lab import wait_for
from lab.cluster import VIP4, VIP6
from lab.core import run as run_command
from lab.load import HttpLoad, Long, http, udp
from lab.world import DATAGRAM, ECHO, HTTP, MODES

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Trace:
    """One `shunt trace` that is under way."""

    def __init__(self, w, *words):
        self.w = w
        self.process = w.node.popen(
            w.cli.program, "trace", *w.agent.locations, *words, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.begun = self.process.stderr.readline()
        assert "tracing" in self.begun, self.begun + self.process.stderr.read()

    def stop(self, signum=signal.SIGINT):
        """Ends it as Ctrl-C does. Returns (lines, what it said on stderr)."""
        self.process.send_signal(signum)
        return self.wait()

    def wait(self, status=0):
        out, err = self.process.communicate(timeout=15)
        assert self.process.returncode == status, (self.process.returncode, out, err)
        return out.splitlines(), err

    def packets(self):
        """Ends it; returns the objects of -o json. Two CPUs may tell in another order."""
        lines, self.said = self.stop()
        return sorted((json.loads(line) for line in lines), key=lambda p: p["time_ns"])


def programs(w):
    """(where, program id) of everything of the agent that is attached."""
    found = []
    for path in sorted(glob.glob(f"{w.agent.bpffs}/v*/links/*")):
        link = json.loads(run_command(["bpftool", "-j", "link", "show", "pinned", path]).stdout)
        found.append((os.path.basename(path), link["prog_id"]))
    for client in w.cluster.clients:
        for direction in ("ingress", "egress"):
            shown = w.node.run("tc", "filter", "show", "dev", client.dev, direction, check=False)
            found += [(f"{client.dev} {direction}", int(number))
                      for number in re.findall(r"direct-action.*? id (\d+)", shown.stdout)]
    assert found
    return found


def stages(packet):
    return [stage["stage"] for stage in packet["stages"]]


@pytest.mark.parametrize("mode", MODES)
def test_one_request_is_told_packet_by_packet_with_names(world, mode):
    w = world(mode=mode, groups={"blue": 1, "green": 1}).start({"blue": 3, "green": 1})
    for family, vip, address in ((4, VIP4, w.client.v4),
                                 (6, VIP6, str(ipaddress.ip_address(w.client.v6)))):
        trace = Trace(w, "-o", "json", "service", "demo", "host", vip)
        assert not http(w.client, vip, total=1).errors
        packets = trace.packets()
        first, answer = packets[0], next(p for p in packets if p["direction"] == "egress")
        assert first["reason"] == "FORWARDED" and first["packet"]["flags"] == "SYN", first
        assert first["gate"] == "vc0" and first["hook"] == ("xdp" if mode == "xdp" else "tc")
        assert first["service"] == "default/demo:80" and first["new"] is True
        assert stages(first) == ["parse", "lookup", "conntrack", "gate", "admit", "variant",
                                 "backend", "entry", "rewrite"]
        chosen = next(s for s in first["stages"] if s["stage"] == "variant")
        assert chosen["variant"] == first["variant"] in ("blue", "green")
        assert (chosen["weight"], chosen["weights"]) == ({"blue": 3, "green": 1}[first["variant"]], 4)
        pod = w.cluster.group(first["variant"])[0]
        assert first["backend"] == (f"{pod.v4}:8080" if family == 4 else f"[{ipaddress.ip_address(pod.v6)}]:8080")
        rewrite = first["stages"][-1]
        assert rewrite["to"]["dst"] == first["backend"]
        assert rewrite["from"]["src"] == rewrite["to"]["src"] and address in rewrite["from"]["src"]
        assert answer["reason"] == "RESTORED" and answer["packet"]["flags"] == "SYN,ACK"
        assert answer["packet"]["src"] == first["backend"]
        assert answer["variant"] == first["variant"] and stages(answer) == \
            ["parse", "conntrack", "rewrite"]
        assert [p["stages"][-2]["state_after"] for p in packets if p["new"] is False][-1] in \
            ("CLOSED", "FIN_CLIENT", "FIN_BACKEND")
        assert {p["reason"] for p in packets} == {"FORWARDED", "RESTORED"}
        assert "0 more" not in trace.said and "ended" in trace.said


def test_a_person_reads_one_line_a_packet_or_one_a_stage(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    pod = w.cluster.pods[0]
    trace = Trace(w, "new")
    assert not http(w.client, VIP4, total=1).errors
    lines, said = trace.stop()
    assert len(lines) == 1, lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6}  vc0 +tc in +tcp SYN %s:\d+ > %s:80  FORWARDED to "
                        r"%s:8080  default/demo:80 blue, new, weight 1 of 1" %
                        tuple(map(re.escape, (w.client.v4, VIP4, pod.v4))), lines[0]), lines
    assert "1 packet shown" in said

    trace = Trace(w, "-v", "-n", "1", "port", "80")
    assert not http(w.client, VIP4, total=1).errors
    lines, said = trace.wait()
    words = [line.split()[0] for line in lines[1:]]
    assert words == ["parse", "lookup", "conntrack", "gate", "admit", "variant", "backend",
                     "entry", "rewrite", "verdict"], lines
    assert "as many packets as were wanted" in said


def test_what_is_not_split_says_why(world):
    w = world(groups={"blue": 1}, ports=[HTTP, DATAGRAM]).start({"blue": 1})
    trace = Trace(w, "-o", "json", "dst", VIP4)
    assert http(w.client, VIP4, port=81, total=1).errors
    foreign = trace.packets()
    assert {p["reason"] for p in foreign} == {"NO_SERVICE"} and foreign[0]["verdict"] == "pass"
    assert foreign[0]["service"] is None and "not a frontend" in foreign[0]["text"]

    w.split({"blue": 0})
    w.agent.wait_weights(blue=0)
    trace = Trace(w, "reason", "no_weight")
    assert http(w.client, VIP4, total=1).errors == {"refused": 1}
    udp(w.client, VIP4, 9001, [(w.client.v4, 20000)], timeout=0.2)
    lines, _ = trace.stop()
    assert len(lines) == 2 and all(
        line.endswith("NO_WEIGHT rejected: all variants have weight 0  default/demo" + port)
        for line, port in zip(lines, (":80, new", ":9001/udp, new"))), lines


def test_filters_tell_only_what_they_name_and_mistakes_are_pointed_at(world):
    w = world(groups={"blue": 1}, clients=2, ports=[HTTP, ECHO]).start({"blue": 1})
    one, two = w.cluster.clients
    for words, expected in (((f"host {one.v4}",), {"vc0"}), (("gate", "vc1"), {"vc1"}),
                            (("src", "10.0.0.0/8"), {"vc0", "vc1"}),
                            (("service", "default/demo:9000"), set()),
                            (("udp",), set()), (("ip6",), set())):
        trace = Trace(w, "-o", "json", *words)
        for client in (one, two):
            assert not http(client, VIP4, total=1).errors
        packets = [p for p in trace.packets() if "ethertype" not in p["packet"]]
        gates = {p["gate"] for p in packets if p["gate"].startswith("vc")}
        assert gates == expected, (words, gates)
    for words, exit_code, sentence in (
            (("tcp", "host", "10.0.0"), 2, 'at character 10, "10.0.0": want an address'),
            (("service", "shop/nothing"), 3, "no service shop/nothing"),
            (("gate", "nowhere0"), 3, "no interface nowhere0"),
            (("gate", "lo"), 3, "lo is no gate"),
            (("reason", "BORED"), 2, "want a reason such as FORWARDED"),
            (("--rate", "0"), 2, "want a number from 1")):
        done = w.cli.run("trace", *words, check=False)
        assert done.returncode == exit_code and sentence in done.stderr, done


def test_one_traces_at_a_time_and_everybody_hears_of_it(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    first = Trace(w, "tcp")
    second = w.cli.run("trace", check=False)
    assert second.returncode == 4 and "one tracing at a time" in second.stderr
    first.stop()
    events = {e["reason"]: e["text"] for e in w.cli.json("events")}
    assert "uid 0 traces packets that match: tcp" in events["TraceStarted"]
    assert "it was interrupted" in events["TraceEnded"]
    Trace(w, "--for", "300ms").wait()


def test_what_is_not_told_is_counted(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    trace = Trace(w, "--rate", "5")
    assert not http(w.client, VIP4, total=300).errors
    lines, said = trace.stop()
    more = sum(map(int, re.findall(r"(\d+) more packets matched, above the rate", said)))
    total = int(re.search(r"(\d+) more above the rate", said).group(1))
    assert lines and total >= 1000 and more <= total, said

    trace = Trace(w, "--rate", "1000000", "-o", "json")
    trace.process.send_signal(signal.SIGSTOP)  # a reader that does not read
    assert not http(w.client, VIP4, total=1500).errors
    trace.process.send_signal(signal.SIGCONT)
    lines, said = trace.stop()
    lost = int(re.search(r"(\d+) lost", said).group(1))
    assert lost > 0 and len(lines) + lost >= 1500 * 10, (len(lines), said)


@pytest.mark.parametrize("mode", MODES)
def test_tracing_comes_and_goes_without_a_lost_connection(world, mode):
    w = world(mode=mode, groups={"blue": 2, "green": 2}, ports=[HTTP, ECHO])
    w.start({"blue": 1, "green": 1})
    before = programs(w)
    long = Long(w.client, VIP4, 9000, 50)
    load = HttpLoad(w.client, VIP4, rate=300).start()
    for _ in range(4):
        trace = Trace(w, "new")
        assert programs(w) != before
        time.sleep(0.4)
        lines, _ = trace.stop()
        assert len(lines) > 20
        assert programs(w) == before
        assert not long.ping()
    load.stop()
    tally = load.tally()
    assert tally.n > 300 and not tally.errors, tally


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_that_dies_while_it_traces_leaves_a_data_path_that_works(world, mode):
    w = world(mode=mode, groups={"blue": 1}, ports=[HTTP, ECHO]).start({"blue": 1})
    plain = len(programs(w))
    long = Long(w.client, VIP4, 9000, 10)
    trace = Trace(w, "--for", "60s")
    traced = programs(w)
    w.agent.kill()
    _, said = trace.wait(5)
    assert "the agent has gone" in said
    assert programs(w) == traced
    assert not http(w.client, VIP4, total=50).errors and not long.ping()
    w.agent.start()
    after = programs(w)
    assert len(after) == plain and not {p[1] for p in after} & {p[1] for p in traced}
    assert not http(w.client, VIP4, total=50).errors and not long.ping()


def test_the_plain_programs_come_back_however_the_reader_leaves(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    before = programs(w)
    for leave in (signal.SIGKILL, signal.SIGTERM):
        trace = Trace(w)
        trace.process.send_signal(leave)
        trace.process.communicate(timeout=10)
        wait_for(lambda: programs(w) == before, 3, "the plain programs")
    trace = Trace(w)
    assert w.agent.stop() == 0
    assert "the agent ends" in trace.wait()[1]
    assert programs(w) == before


def test_without_tracing_the_programs_are_those_that_never_heard_of_it(build, tmp_path):
    """The plain objects, compiled from sources without a line of tracing, are the same code."""
    for folder in ("bpf", "include"):
        shutil.copytree(f"{ROOT}/{folder}", tmp_path / folder)
    removed = 0
    for path in (tmp_path / "bpf").glob("*.h"):
        text = path.read_text()
        if path.name == "trace.h":
            continue
        text = text.replace('#include "trace.h"\n', "")
        # An empty statement: some stand behind a condition.
        stripped, n = re.subn(r"^\s*TRACE_[A-Z]+\([^;]*\);$", "\t;", text, flags=re.M)
        removed += n
        path.write_text(stripped)
    (tmp_path / "bpf" / "trace.h").unlink()
    assert removed > 20
    for name in ("tc", "xdp", "xdp_frags"):
        target = f"{tmp_path}/{name}.bpf.o"
        recipe = run_command(["make", "-n", "-B", "V=1", "-C", ROOT, f"BUILD={build}",
                              f"{build}/bpf/{name}.bpf.o"]).stdout
        (compile_it,) = [line for line in recipe.splitlines() if line.startswith("clang ")]
        run_command(compile_it.replace(f"-o {build}/bpf/{name}.bpf.o", f"-o {target}").split(),
                    cwd=tmp_path)
        assert code_of(target, tmp_path) == code_of(f"{build}/bpf/{name}.bpf.o", tmp_path), name


def code_of(path, folder):
    """The instructions of an object, by section."""
    out = {}
    for section in (".text", "tc", "xdp", "xdp.frags"):
        target = folder / "section"
        target.unlink(missing_ok=True)
        run_command(["llvm-objcopy", f"--dump-section={section}={target}", path, "/dev/null"],
                    check=False)
        out[section] = target.read_bytes() if target.exists() else b""
    assert len(out[".text"]) > 10000, path
    return out
