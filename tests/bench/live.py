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
from lab.world import DATAGRAM  # noqa: E402
from path_meter import read, softirq_threads  # noqa: E402

# What each way is set against.
AGAINST = {"gate, passes up": "bare pass", "gate, then redirect": "bare redirect"}


def measure(lab, build, rounds):
    cluster = Cluster(lab, {"blue": 1}, clients=2)
    cluster.node.nft("delete table inet guard")
    cluster.prepare_xdp(*cluster.clients)  # redirect into a veth needs a program behind it
    pod = cluster.pods[0]
    agent = Agent(cluster, build, ["vc0:xdp"])
    agent.apply("demo", k8s.service("demo", [VIP4], [DATAGRAM]),
                k8s.route("UDPRoute", "demo", "demo", {"blue": 1}, 9001),
                k8s.service("blue", ports=[DATAGRAM]),
                k8s.slices("blue", [{"v4": pod.v4}], [DATAGRAM]))
    agent.start()
    spaces = [host.path for host in (cluster.clients[0].host, cluster.clients[1].host,
                                     cluster.node, pod.host)]
    (softirq,) = [pid for pid in softirq_threads()
                  if read(f"/proc/{pid}/comm") == f"ksoftirqd/{min(1, os.cpu_count() - 1)}\n"]
    out = cluster.node.run(os.path.join(build, "tests", "bench", "live"), *spaces, VIP4, pod.v4,
                           f"/proc/{softirq}/schedstat", rounds).stdout
    return json.loads(out)


def summary(rates):
    cases = []
    for name, rounds in rates.items():
        case = {"way": name, "rounds": len(rounds), "packets_per_cpu_s": statistics.median(rounds)}
        if name in AGAINST:
            ratios = [a / b for a, b in zip(rounds, rates[AGAINST[name]])]
            case.update(against=AGAINST[name], ratio=statistics.median(ratios),
                        ratio_min=min(ratios), ratio_max=max(ratios))
        cases.append(case)
    return {"cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", help="also write the figures here")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("make bench-live: must be root, for network namespaces and BPF")
    build = os.path.abspath(args.build)
    os.environ["SHUNT_BUILD"] = build
    lab = Lab("bench-live")
    try:
        data = summary(measure(lab, build, args.rounds))
    except LabError as e:
        sys.exit(f"make bench-live: {e}")
    finally:
        lab.close()
    for case in data["cases"]:
        print(f"{case['way']:<20} {case['packets_per_cpu_s'] / 1e6:6.3f} M packets/s of CPU", end="")
        print(f"   {case['ratio']:.2f} ({case['ratio_min']:.2f} - {case['ratio_max']:.2f}) of"
              f" {case['against']}" if "ratio" in case else "")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(data, f, indent=1)


if __name__ == "__main__":
    main()
