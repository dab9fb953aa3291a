#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make bench-paths: what a request, a connection and a stream cost on the ways to a pod.

Rounds are interleaved over the set-ups; each figure is set against plain routing's of the same
round, and medians are shown. docs/BENCHMARKS.md says what is measured.
"""

import argparse
import json
import os
import signal
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.dont_write_bytecode = True

from lab import Cluster, Lab, LabError  # noqa: E402 (the path is set above)
from path_meter import MEASURES, SERVER_CPU, Meter, measure, on_cpu, read, write  # noqa: E402
from path_setups import BASE, SETUPS  # noqa: E402

CONNTRACK_MAX = "/proc/sys/net/netfilter/nf_conntrack_max"


def wire(lab, build):
    cluster = Cluster(lab, {"pod": 1})
    # Only who needs netfilter's conntrack pays for it.
    cluster.node.nft("delete table inet guard")
    for host in (cluster.client.host, cluster.pods[0].host):
        host.sysctl(net__core__somaxconn=8192, net__ipv4__tcp_max_syn_backlog=8192)
    # All set-ups use the same client ports: what one leaves in TIME_WAIT would make the next
    # one wait for a SYN to be repeated.
    cluster.pods[0].host.sysctl(net__ipv4__tcp_max_tw_buckets=0)
    cluster.pods[0].nginx.stop()
    pod = cluster.pods[0].host
    pod.popen(*on_cpu(SERVER_CPU, os.path.join(build, "tests", "bench", "httpd")), "8080", "8081")
    with open(lab.path("iperf3.log"), "w") as log:
        pod.popen(*on_cpu(SERVER_CPU, "iperf3"), "-s", "-p", "5201", stdout=log, stderr=log)
    return cluster


def say(text):
    """What is going on, in place of what was said before."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)


def run_rounds(cluster, meter, build, args):
    """Returns {set-up: {measure: [a round's figures, ...]}}."""
    results = {name: {m: [] for m in args.measures} for name in args.setups}
    for number in range(args.rounds):
        first = number % len(args.setups)  # nobody comes always first
        for name in args.setups[first:] + args.setups[:first]:
            say(f"round {number + 1} of {args.rounds}: {name}")
            with SETUPS[name](cluster, build) as (address, port):
                for m in args.measures:
                    results[name][m].append(
                        measure(meter, m, cluster.client.host, address, port, args.seconds))
    say("")
    return results


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summary(results):
    """One element for each set-up and measure; ratios are to the base's of the same round."""
    cases = []
    for name, measures in results.items():
        for m, rounds in measures.items():
            case = {"setup": name, "measure": m, "rounds": len(rounds),
                    "rate_unit": MEASURES[m][1], "cost_unit": MEASURES[m][2],
                    "errors": sum(r["errors"] for r in rounds)}
            for what in ("rate", "cost"):
                case[what] = spread([r[what] for r in rounds])
                if BASE in results:
                    case[f"{what}_ratio"] = spread(
                        [r[what] / b[what] for r, b in zip(rounds, results[BASE][m])])
            cases.append(case)
    return {"cases": cases}


def print_table(data, measures):
    for m in measures:
        cases = [case for case in data["cases"] if case["measure"] == m]
        print(f"{m}: {cases[0]['rate_unit']:<14} {'median':>9} {'ratio':>6} {'min':>5} {'max':>5}"
              f"   {cases[0]['cost_unit']:<17} {'median':>8} {'ratio':>6} {'min':>5} {'max':>5}"
              f" {'errors':>7}")
        for case in cases:
            print(f"  {case['setup']:<{len(m) + 14}}", end="")
            for what, width in (("rate", 10), ("cost", 29)):
                ratio = case.get(f"{what}_ratio", {})
                print(f"{case[what]['median']:>{width}.6g}", end="")
                print("".join(f" {ratio.get(k, float('nan')):>{w}.2f}"
                              for k, w in (("median", 6), ("min", 5), ("max", 5))), end="")
            print(f" {case['errors']:>7.0f}")
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of load for each figure")
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--setups", type=lambda s: s.split(","), default=list(SETUPS))
    parser.add_argument("--measures", type=lambda s: s.split(","), default=list(MEASURES))
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("make bench-paths: must be root, for network namespaces and BPF")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    build = os.path.abspath(args.build)
    os.environ["SHUNT_BUILD"] = build
    conntrack = read(CONNTRACK_MAX) if os.path.exists(CONNTRACK_MAX) else None
    lab = Lab("bench-paths")
    meter = Meter(f"shunt-{lab.id}")
    try:
        if conntrack:  # connections of some rounds stay there for two minutes
            write(CONNTRACK_MAX, max(int(conntrack), 1 << 20))
        data = summary(run_rounds(wire(lab, build), meter, build, args))
    except LabError as e:
        sys.exit(f"make bench-paths: {e}")
    finally:
        lab.close()
        meter.close()
        if conntrack:
            write(CONNTRACK_MAX, conntrack)
    print_table(data, args.measures)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(data, f, indent=1)


if __name__ == "__main__":
    main()
