#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench-live: packets a second of CPU through an XDP gate, by live frames on veth.

tests/bench/live.c generates, counts and says what is compared.
"""

import argparse
import json
import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.dont_write_bytecode = True

from lab import Agent, Cluster, Lab, LabError, k8s  # noqa: E402 (the path is set above)
from lab.cluster import VIP4  # noqa: E402
from lab.load import KeepAlive  # noqa: E402
from path_meter import read, softirq_threads  # noqa: E402

# What each way is set against.
AGAINST = {"gate, passes up": "bare pass", "empty, then redirect": "bare redirect",
           "gate, then redirect": "bare redirect", "gate redirects": "bare redirect"}
FLOWS = (1, 1024)
FIRST_PORT = 20000


def agent_of(cluster, build, name, pod, gates, options=()):
    agent = Agent(cluster, build, gates, options, name=name)
    agent.apply("demo", k8s.service("demo", [VIP4]),
                k8s.route("TCPRoute", "demo", "demo", {pod.group: 1}),
                k8s.service(pod.group), k8s.slices(pod.group, [{"v4": pod.v4}]))
    return agent


def wire(lab, build):
    """Returns the cluster and the connections, which must be held."""
    cluster = Cluster(lab, {"blue": 1, "green": 1}, clients=3)
    cluster.node.nft("delete table inet guard")
    # Redirect into a veth needs a program behind it.
    cluster.prepare_xdp(*cluster.clients, *cluster.pods)
    agent = agent_of(cluster, build, "agent", cluster.pods[0], ["vc0:xdp", "vc1:tc"])
    agent.start()
    redirect = agent_of(cluster, build, "redirect", cluster.pods[1], ["vc2:xdp", "vp1:tc"],
                        ["--forward", "redirect"])
    redirect.metrics = "127.0.0.1:9101"
    redirect.start()
    # Real connections through the gates: their segments are what is sent again and again.
    held = [KeepAlive(client, VIP4, 80, max(FLOWS),
                      sources=[(client.v4, FIRST_PORT + n) for n in range(max(FLOWS))])
            for client in cluster.clients]
    if redirect.reasons()["BY_STACK"]:
        raise LabError("connections do not go past the stack")
    # vc1 is free from now on; its connections stay its own.
    agent.stop()
    agent.gates = ["vc0:xdp"]
    agent.start()
    return cluster, held


def measure(cluster, build, rounds, flows):
    """Returns {way: [packets a second of CPU, ...]}."""
    (softirq,) = [pid for pid in softirq_threads()
                  if read(f"/proc/{pid}/comm") == f"ksoftirqd/{min(1, os.cpu_count() - 1)}\n"]
    clients, pods = cluster.clients, cluster.pods
    spaces = [m.host.path for m in clients] + [cluster.node.path] + [m.host.path for m in pods]
    out = cluster.node.run(os.path.join(build, "tests", "bench", "live"), *spaces, VIP4, pods[0].v4,
                           f"/proc/{softirq}/schedstat", flows, FIRST_PORT, rounds).stdout
    return json.loads(out)


def summary(rates, flows):
    cases = []
    for name, rounds in rates.items():
        case = {"way": name, "flows": flows, "rounds": len(rounds),
                "packets_per_cpu_s": statistics.median(rounds)}
        if name in AGAINST:
            ratios = [a / b for a, b in zip(rounds, rates[AGAINST[name]])]
            case.update(against=AGAINST[name], ratio=statistics.median(ratios),
                        ratio_min=min(ratios), ratio_max=max(ratios))
        cases.append(case)
    return cases


def run(lab, build, rounds, all_flows):
    cluster, held = wire(lab, build)
    cases = []
    for flows in all_flows:
        cases += summary(measure(cluster, build, rounds, flows), flows)
    for connections in held:
        connections.close()
    return {"cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--flows", type=lambda s: [int(n) for n in s.split(",")], default=FLOWS,
                        help=f"powers of two, at most {max(FLOWS)}")
    parser.add_argument("--json", help="also write the figures here")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("make bench-live: must be root, for network namespaces and BPF")
    build = os.path.abspath(args.build)
    os.environ["SHUNT_BUILD"] = build
    lab = Lab("bench-live")
    try:
        data = run(lab, build, args.rounds, args.flows)
    except LabError as e:
        sys.exit(f"make bench-live: {e}")
    finally:
        lab.close()
    for case in data["cases"]:
        print(f"{case['flows']:>4} flows: {case['way']:<20} {case['packets_per_cpu_s'] / 1e6:6.3f} M packets/s of CPU",
              end="")
        print(f"   {case['ratio']:.2f} ({case['ratio_min']:.2f} - {case['ratio_max']:.2f}) of"
              f" {case['against']}" if "ratio" in case else "")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(data, f, indent=1)


if __name__ == "__main__":
    main()
