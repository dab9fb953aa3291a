# SPDX-License-Identifier: Apache-2.0
"""The laboratory itself: what it measures must be true, and nothing may be left behind."""

import os
import signal
import subprocess
import sys
import time

from lab import Cluster, Lab, capture, load, stats
from lab.cluster import VIP4, VIP6

HERE = os.path.dirname(os.path.abspath(__file__))

VICTIM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from lab import Cluster, Lab
lab = Lab("victim")
cluster = Cluster(lab, {"blue": 1})
print(lab.id, flush=True)
time.sleep(60)
"""


def test_a_killed_run_is_swept_by_the_next(lab):
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, HERE], stdout=subprocess.PIPE,
                              text=True)
    victim_id = victim.stdout.readline().strip()
    assert any(victim_id in name for name in os.listdir("/run/netns"))
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    Lab("next").close()
    assert not any(victim_id in name for name in os.listdir("/run/netns"))
    assert not os.path.exists(f"/run/shunt-lab/{victim_id}")
    assert lab.id in os.listdir("/run/shunt-lab"), "a living run was swept"


def test_the_stand_in_proxy_reaches_every_pod_without_an_agent(lab):
    cluster = Cluster(lab)
    cluster.proxy(cluster.pods)
    for vip in (VIP4, VIP6):
        tally = load.http(cluster.client, vip, total=1000)
        assert not tally.errors
        _, p = stats.chi_square([tally.pods[pod.name] for pod in cluster.pods], [1 / 6] * 6)
        assert p > 1e-5, tally.pods
    assert sum(cluster.wait_accesses(2000).values()) == 2000
    assert cluster.invalid() == 0


def test_load_keeps_its_rate_and_counts_its_errors(lab):
    cluster = Cluster(lab, {"blue": 1})
    begun = time.monotonic()
    tally = load.http(cluster.client, cluster.pods[0].v4, 8080, total=300, rate=300)
    assert 0.9 < time.monotonic() - begun < 2.5 and tally.groups == {"blue": 300}
    refused = load.http(cluster.client, cluster.pods[0].v4, 8081, total=20)
    assert refused.errors == {"refused": 20}
    cluster.pods[0].host.ip("link set eth0 down")
    lost = load.http(cluster.client, cluster.pods[0].v4, 8080, total=20, timeout=0.3)
    assert lost.errors == {"timeout": 20}


def test_the_same_seed_gives_the_same_sources(lab):
    client = Cluster(lab, {}).client
    once, again = (list(load.tuples(client, 7, 500)) for _ in range(2))
    assert once == again and len(set(once)) == 500


def test_a_capture_tells_good_checksums_from_bad_ones(lab):
    cluster = Cluster(lab, {"blue": 1})
    with capture.Capture(cluster.client.host) as seen:
        load.http(cluster.client, cluster.pods[0].v4, 8080, total=5)
        load.http(cluster.client, cluster.pods[0].v6, 8080, total=5)
    packets = list(seen.packets(port=8080))
    assert len(packets) >= 30
    for packet, frame in packets:
        assert capture.checksum_fault(packet, frame) == ""
        bad = capture.Frame(frame.data[:40] + bytes([frame.data[40] ^ 1]) + frame.data[41:], False)
        assert capture.checksum_fault(packet, bad) != ""


def test_statistics_agree_with_known_values():
    assert abs(stats.chi_square([60, 40], [.5, .5])[1] - 0.0455) < 0.005
    assert stats.chi_square([10, 1], [1, 0])[1] == 0
    low, high = stats.wilson(5, 100)
    assert abs(low - 0.0215) < 0.001 and abs(high - 0.1118) < 0.001
    assert stats.within(587, 10000, .05) and not stats.within(588, 10000, .05)
    assert stats.within(0, 100, 0) and not stats.within(1, 100, 0)
