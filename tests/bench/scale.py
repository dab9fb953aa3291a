#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench-scale: what grows with services, backends and flows.

A real agent loads manifests and takes weight changes from the real CLI; tests/bench/growth
measures packets. docs/BENCHMARKS.md says what is counted how; scale_plot.py draws the figures.
"""

import argparse
import glob
import json
import os
import random
import re
import statistics
import sys
import time
import types

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.dont_write_bytecode = True

import scale_manifests as manifests  # noqa: E402 (the path is set above)
from lab import Agent, Lab, LabError, wait_for  # noqa: E402
from lab.core import run  # noqa: E402

# For 10 000 services of 10 backends; the defaults are for a tenth of that.
SIZES = ["--max-services", "16384", "--max-variants", "32768", "--max-backends", "131072",
         "--max-frontends", "131072", "--max-ring-entries", "16777216"]
BACKENDS = 10
PAUSE_S = 0.2  # between changes: the bookkeeping of one is over before the next


def read(path):
    with open(path) as f:
        return f.read()


def status_mib(pid, *names):
    text = read(f"/proc/{pid}/status")
    return sum(int(re.search(rf"{name}:\s+(\d+) kB", text).group(1)) for name in names) / 1024


def maps_mib(agent):
    """What the kernel says that the maps take."""
    total = 0
    for path in glob.glob(f"{agent.bpffs}/v*/shunt_*"):
        total += int(json.loads(run(["bpftool", "-j", "map", "show", "pinned", path]).stdout)
                     ["bytes_memlock"])
    return total / 2**20


def mapped_maps_mib(pid):
    """Pages of maps that the agent has mapped: in its RSS, and in maps_mib too."""
    total, ours = 0, False
    for line in read(f"/proc/{pid}/smaps").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            ours = "bpf-map" in line
        elif ours and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total / 1024


def cpu_s(pid):
    fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def startup_ms(agent):
    """From the start of the CLI until it speaks: what `shunt version` takes in all."""
    times = []
    for _ in range(11):
        begun = time.monotonic()
        run([agent.cli.program, "version"])
        times.append((time.monotonic() - begun) * 1e3)
    return statistics.median(times)


def changes(agent, services, count):
    """One weight change after another by the CLI: ms from its start to the kernel, and to its
    end, when the change is on disk too."""
    choice, kernel, end = random.Random(1), [], []
    startup = startup_ms(agent)
    for n in range(count):
        name = f"s{choice.randrange(services)}"
        begun = time.monotonic()
        out = run([agent.cli.program, "weight", *agent.locations, f"bench/{name}",
                   f"{name}-a={1 + n % 49}", f"{name}-b={99 - n % 49}", "-o", "json"]).stdout
        end.append((time.monotonic() - begun) * 1e3)
        kernel.append(startup + json.loads(out)["took_ms"])
        time.sleep(PAUSE_S)
    return kernel, end


def quantiles(values):
    values = sorted(values)
    return {"p50": values[len(values) // 2], "p99": values[int(len(values) * 0.99)],
            "max": values[-1]}


def load(lab, build, services, n_changes):
    """Starts an agent on so many services; returns what it took."""
    cluster = types.SimpleNamespace(lab=lab, node=lab.hosts["node"])
    agent = Agent(cluster, build, [], SIZES, name=f"load{services}")
    manifests.write_directory(agent.source, services, BACKENDS)
    begun = time.monotonic()
    agent.spawn()
    wait_for(agent.ready, 120, "shuntd to be ready", 0.002)
    wall = time.monotonic() - begun
    pid = agent.process.pid  # nsenter becomes the program that it starts
    result = {"services": services, "backends": services * BACKENDS, "load_s": wall,
              "load_cpu_s": cpu_s(pid)}
    mapped = mapped_maps_mib(pid)
    result["agent_mib"] = status_mib(pid, "VmRSS") - mapped
    result["agent_peak_mib"] = status_mib(pid, "VmHWM") - mapped
    result["maps_mib"] = maps_mib(agent)
    kernel, end = changes(agent, services, n_changes)
    result["kernel_ms"], result["end_ms"] = quantiles(kernel), quantiles(end)
    agent.cli.run("detach")
    agent.process.wait(30)
    return result


def packets(lab, build, services, backends, flows, rounds):
    """tests/bench/growth on so many services, backends of each, and flows."""
    path = lab.path(f"growth-{services}-{backends}.yaml")
    if not os.path.exists(path):
        manifests.write_file(path, services, backends)
    out = run([os.path.join(build, "tests", "bench", "growth"), path, str(services), str(flows),
               str(rounds)]).stdout
    return {**json.loads(out), "backends": services * backends}


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(lab, build, args):
    lab.add_host("node")
    data = {"load": [], "services": [], "backends": [], "flows": []}
    for services in args.services:
        data["load"].append(load(lab, build, services, args.changes))
        say(f"load {data['load'][-1]}")
    for services in args.services:
        data["services"].append(packets(lab, build, services, BACKENDS, 65536, args.rounds))
        say(f"services {data['services'][-1]}")
    for backends in (2, 10, 100, 1000, 10000):
        data["backends"].append(packets(lab, build, 10, backends, 65536, args.rounds))
        say(f"backends {data['backends'][-1]}")
    for flows in (1, 1 << 8, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20):
        data["flows"].append(packets(lab, build, 1, BACKENDS, flows, args.rounds))
        say(f"flows {data['flows'][-1]}")
    return data


def print_loads(data):
    print(f"{'services':>8} {'load s':>7} {'CPU s':>6} {'agent MiB':>9} {'peak':>5} {'maps MiB':>8}"
          f"   {'to the kernel, ms p50':>21} {'p99':>6} {'max':>6}   {'to the end p50':>14}"
          f" {'p99':>6}")
    for row in data["load"]:
        kernel, end = row["kernel_ms"], row["end_ms"]
        print(f"{row['services']:>8} {row['load_s']:>7.2f} {row['load_cpu_s']:>6.2f}"
              f" {row['agent_mib']:>9.0f} {row['agent_peak_mib']:>5.0f} {row['maps_mib']:>8.0f}"
              f"   {kernel['p50']:>21.1f} {kernel['p99']:>6.1f} {kernel['max']:>6.1f}"
              f"   {end['p50']:>14.1f} {end['p99']:>6.1f}")


def print_packets(data):
    for axis in ("services", "backends", "flows"):
        print(f"\n{axis:>10} {'established ns':>15} {'SYN ns':>8}")
        for row in data[axis]:
            print(f"{row[axis]:>10} {row['established_ns']:>15.1f} {row['new_ns']:>8.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=5, help="of the packets' figures")
    parser.add_argument("--changes", type=int, default=100, help="weight changes at each size")
    parser.add_argument("--services", type=lambda s: [int(n) for n in s.split(",")],
                        default=[1, 10, 100, 1000, 10000])
    parser.add_argument("--json", help="also write the figures here")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("make bench-scale: must be root, for BPF")
    lab = Lab("bench-scale")
    try:
        data = measure(lab, os.path.abspath(args.build), args)
    except LabError as e:
        sys.exit(f"make bench-scale: {e}")
    finally:
        lab.close()
    print_loads(data)
    print_packets(data)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(data, f, indent=1)


if __name__ == "__main__":
    main()
