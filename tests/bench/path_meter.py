# SPDX-License-Identifier: Apache-2.0
"""What a path is measured with: load from a client, and the CPU time that it takes in all."""

import contextlib
import json
import os
import re
import time

ACCOUNT, SHARES = "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu"
CONNECTIONS, STREAMS = 32, 8
# Client and server keep to a CPU each: where the scheduler puts them decides more than the path.
CLIENT_CPU, SERVER_CPU = 0, max(os.sched_getaffinity(0))


def on_cpu(cpu, *command):
    return ["taskset", "-c", str(cpu), *command]


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(str(text))


def softirq_threads():
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and read(f"/proc/{entry}/comm").startswith("ksoftirqd/"):
                found.append(int(entry))
    return found


class Meter:
    """A CPU accounting group of this process and all that it starts.

    Packets are also handled by the kernel's ksoftirqd, which is counted too. Against other load
    of the machine the group has large shares; ksoftirqd, outside of it, is reniced so as not to
    starve beside it. close() puts back what was changed.
    """

    def __init__(self, name):
        self.groups = [f"{base}/{name}" for base in (ACCOUNT, SHARES)]
        self.threads = {pid: os.getpriority(os.PRIO_PROCESS, pid) for pid in softirq_threads()}
        for group in self.groups:
            os.makedirs(group, exist_ok=True)
            write(f"{group}/cgroup.procs", os.getpid())
        write(f"{self.groups[1]}/cpu.shares", 4096)
        for pid in self.threads:
            os.setpriority(os.PRIO_PROCESS, pid, -19)

    def cpu_s(self):
        used_ns = int(read(f"{self.groups[0]}/cpuacct.usage"))
        used_ns += sum(int(read(f"/proc/{pid}/schedstat").split()[0]) for pid in self.threads)
        return used_ns / 1e9

    def close(self):
        for pid, nice in self.threads.items():
            os.setpriority(os.PRIO_PROCESS, pid, nice)
        for group in self.groups:
            write(f"{os.path.dirname(group)}/cgroup.procs", os.getpid())
            with contextlib.suppress(OSError):
                os.rmdir(group)  # a process that is about to end may still be in it


def _number(pattern, text):
    found = re.search(pattern, text)
    return float(found.group(1)) if found else 0.0


def wrk(host, address, port, seconds, *headers):
    """Returns (answers a second, answers, errors)."""
    more = [word for header in headers for word in ("-H", header)]
    text = host.run(*on_cpu(CLIENT_CPU, "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s",
                    "--timeout", "2s", *more, f"http://{address}:{port}/").stdout
    errors = sum(int(n) for line in re.findall(r"Socket errors:.*", text)
                 for n in re.findall(r"\d+", line))
    return (_number(r"Requests/sec:\s+([\d.]+)", text), _number(r"(\d+) requests in", text),
            errors + _number(r"Non-2xx or 3xx responses: (\d+)", text))


def iperf3(host, address, seconds):
    """Returns (Gbit/s, GB, 0); raises if it fails."""
    text = host.run(*on_cpu(CLIENT_CPU, "iperf3"), "-c", address, "-p", "5201", "-t", seconds, "-P",
                    STREAMS, "-J").stdout
    end = json.loads(text)["end"]["sum_received"]
    return end["bits_per_second"] / 1e9, end["bytes"] / 1e9, 0


# name: (what is done, unit of the rate, unit of the cost)
MEASURES = {
    "keep-alive": (lambda host, address, port, seconds: wrk(host, address, port, seconds),
                   "requests/s", "us CPU/request"),
    "connections": (lambda host, address, port, seconds:
                    wrk(host, address, port, seconds, "Connection: close"),
                    "connections/s", "us CPU/connection"),
    "iperf3": (lambda host, address, _port, seconds: iperf3(host, address, seconds),
               "Gbit/s", "us CPU/MB"),
}


def measure(meter, name, host, address, port, seconds):
    """One measurement: {"rate": .., "cost": us of CPU for each unit of work, "errors": ..}."""
    run = MEASURES[name][0]
    before = meter.cpu_s()
    rate, work, errors = run(host, address, port, seconds)
    time.sleep(0.1)  # the ends of connections belong to it
    spent_us = (meter.cpu_s() - before) * 1e6
    if name == "iperf3":
        work *= 1000
    return {"rate": rate, "cost": spent_us / work if work else float("nan"), "errors": errors}
