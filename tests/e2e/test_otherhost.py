# SPDX-License-Identifier: Apache-2.0
"""Frames for another host, which a gate that hears everything sees: not ours to answer."""

import pytest

from lab import wait_for
from lab.cluster import neighbours
from lab.load import Long, http
from lab.world import ECHO, VIPS

MODES = ["tcx", "clsact", "xdp"]
OTHER = "02:00:09:00:00:09"


def send_to(w, mac):
    """From now on the client's frames carry this MAC."""
    for line in neighbours("eth0", mac, w.client.gateway4, w.client.gateway6):
        w.client.host.ip(line.replace("neigh add", "neigh replace"))


def connects(w, family):
    try:
        Long(w.client, VIPS[family], 9000, 1, timeout=0.3).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", MODES)
def test_a_frame_for_another_host_is_neither_answered_nor_split(world, mode, family):
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1})
    w.node.ip("link set vc0 promisc on")
    w.start({"blue": 1}, annotations={"shunt.io/frontends": "owned"})
    held = Long(w.client, VIPS[family], 9000, 1, timeout=0.5)

    # Another node has the service now; its connection must not be reset by us.
    w.agent.apply("demo")
    w.agent.wait_status(lambda s: not s["services"], "the flows' service to go")
    held.close()
    w.split({"blue": 1}, annotations={"shunt.io/frontends": "owned"})
    w.agent.wait_status(lambda s: s["services"], "the service")
    send_to(w, OTHER)
    before = w.agent.reasons()
    assert not connects(w, family)
    after = w.agent.reasons()
    assert after["OTHER_HOST"] > before["OTHER_HOST"]
    assert after["FORWARDED"] == before["FORWARDED"]
    assert after["MIDSTREAM_OWNED"] == before["MIDSTREAM_OWNED"]
    send_to(w, w.client.node_mac)
    assert connects(w, family)


@pytest.mark.parametrize("mode", MODES)
def test_a_gate_that_gets_another_mac_is_known_by_it(world, mode):
    w = world(mode=mode, ports=[ECHO], groups={"blue": 1}).start({"blue": 1})
    assert connects(w, 4)
    w.node.ip(f"link set vc0 address {OTHER}")
    send_to(w, OTHER)
    wait_for(lambda: connects(w, 4), 2, "the service at the new MAC")


def test_a_macvlan_on_a_gate_is_this_host_too(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    w.node.ip(f"link add mv0 link vc0 address {OTHER} type macvlan mode bridge",
              "link set mv0 up")
    w.node.sysctl(net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__mv0__rp_filter=0)
    send_to(w, OTHER)
    wait_for(lambda: not http(w.client, VIPS[4], total=1, timeout=0.3).errors, 2,
             "the service behind the macvlan's MAC")
    assert w.agent.reasons()["FORWARDED"] > 0
