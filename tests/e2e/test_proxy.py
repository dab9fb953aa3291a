# SPDX-License-Identifier: Apache-2.0
"""Beside the cluster's proxy: connections that an nftables DNAT carries (standing in for
kube-proxy) survive whatever the agent does, and those of the agent survive its orderly end."""

import os

import pytest

from lab import wait_for
from lab.cluster import VIP4
from lab.load import HttpLoad, Long, http
from lab.world import ECHO, HTTP, VIPS

MODES = ["tcx", "clsact", "xdp"]


def scene(world, mode, **options):
    w = world(mode=mode, ports=[HTTP, ECHO], **options)
    w.cluster.proxy(w.cluster.group("blue"), (80, 8080), (9000, 9000))
    return w


def no_hooks(w):
    filters = "".join(w.node.run("tc", "filter", "show", "dev", "vc0", direction, check=False).stdout
                      for direction in ("ingress", "egress"))
    return "bpf" not in filters and "xdp" not in w.node.run("ip", "link", "show", "vc0").stdout


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_proxied_connections_survive_gate_split_release_and_detach(world, mode, family):
    w = scene(world, mode)
    vip = VIPS[family]
    carried = Long(w.client, vip, 9000, 100)
    assert carried.groups == {"blue": 100}

    w.backends()
    w.agent.start()  # a gate attached late
    assert not carried.ping(), "attaching a gate"

    w.split({"blue": 0, "green": 100})
    w.agent.wait_status(lambda s: s["services"], "the split")
    assert not carried.ping(), "adding a split"
    ours = Long(w.client, vip, 9000, 50)
    assert ours.groups == {"green": 50}
    assert http(w.client, vip, total=100).groups == {"green": 100}

    w.agent.apply("demo", [])
    wait_for(lambda: http(w.client, vip, total=20).groups == {"blue": 20}, 3,
             "new connections to go to the proxy")
    assert not carried.ping() and not ours.ping(), "removing the split"

    w.split({"blue": 0, "green": 100})
    wait_for(lambda: http(w.client, vip, total=20).groups == {"green": 20}, 3, "the split again")
    assert not carried.ping() and not ours.ping(), "adding it again"

    run = HttpLoad(w.client, vip, rate=200).start()
    ours.close()
    w.cli.run("detach")
    assert not carried.ping(), "detach"
    assert w.agent.process.wait(5) == 0
    assert no_hooks(w)
    assert http(w.client, vip, total=100).groups == {"blue": 100}
    run.stop()


@pytest.mark.parametrize("mode", MODES)
def test_detach_with_drain_loses_neither_proxied_nor_own_connections(world, mode):
    w = scene(world, mode)
    carried = Long(w.client, VIP4, 9000, 100)
    w.start({"blue": 0, "green": 100})
    ours = Long(w.client, VIP4, 9000, 50)
    assert ours.groups == {"green": 50}
    run = HttpLoad(w.client, VIP4, rate=300).start()
    detaching = w.cli.spawn("detach", "--drain", "--deadline", "20s")
    wait_for(lambda: [r.group for r in run.tally().records[-1:]] == ["blue"], 3,
             "new connections at the proxy")
    assert not ours.ping() and not carried.ping(), "while draining"
    assert detaching.poll() is None, "detached before its connections had ended"
    ours.close()
    assert detaching.wait(10) == 0 and w.agent.process.wait(5) == 0
    assert no_hooks(w)
    tally = run.stop()
    assert not tally.errors and not carried.ping(), tally


@pytest.mark.parametrize("mode", MODES)
def test_a_detach_takes_every_pin_with_it(world, mode):
    w = scene(world, mode).start({"blue": 1, "green": 1})
    assert os.listdir(w.agent.bpffs)
    w.cli.run("detach")
    assert w.agent.process.wait(5) == 0
    assert not os.path.exists(w.agent.bpffs) or os.listdir(w.agent.bpffs) == []


def test_an_owned_frontend_resets_what_it_does_not_know(world):
    """Mid-stream without an entry: shared is passed up, owned is answered."""
    w = scene(world, "tcx")
    carried = Long(w.client, VIP4, 9000, 10)
    w.start({"blue": 1, "green": 1}, annotations={"shunt.io/frontends": "owned"})
    failures = carried.ping()
    assert failures == {"reset": 10}, failures
