# SPDX-License-Identifier: Apache-2.0
"""--forward redirect: connections go from gate to gate past the host's stack, both ways."""

import os
import socket

import pytest

from lab import wait_for
from lab.cluster import address
from lab.load import HttpLoad, Long, http, is_echoed, udp
from lab.world import ALL_PORTS, VIPS

FAMILIES = [4, 6]
HOOKS = ["tc", "xdp"]
REDIRECT = ["--forward", "redirect"]

WATCH = """
table inet watch {
	counter seen { }
	chain prerouting {
		type filter hook prerouting priority -310;
		iifname != "lo" meta l4proto { tcp, udp } counter name seen
	}
}
"""


def seen(w):
    """TCP and UDP packets that the node's netfilter has met."""
    return w.node.nft_packets("watch", "seen")


def tracked(w):
    """Connections that the node's conntrack knows, but for the agent's own."""
    with w.node.entered(), open("/proc/thread-self/net/nf_conntrack") as f:
        return [line for line in f if line.split()[2] in ("tcp", "udp") and "127.0.0.1" not in line]


def redirect_world(world, hook="tc", forward="redirect", **options):
    options.setdefault("groups", {"blue": 2, "green": 2})
    options.setdefault("gates", [f"vc*:{hook}", f"vp*:{hook}"])
    w = world(mode="xdp" if hook == "xdp" else "tcx", ports=ALL_PORTS,
              options=["--forward", forward, *options.pop("options", [])], **options)
    if hook == "xdp":
        w.cluster.prepare_xdp(*w.cluster.pods)
    w.node.nft(WATCH)
    return w


def exercise(member, family, n=200):
    """TCP, UDP and a long stream from a client or a pod; returns who answered."""
    vip = VIPS[family]
    tally = http(member, vip, total=n)
    assert not tally.errors, tally
    datagrams = udp(member, vip, 9001, [(address(member, family), 20000 + i) for i in range(60)],
                    datagrams=3)
    assert not datagrams.errors, datagrams
    held = Long(member, vip, 9000, 1, timeout=30)
    assert is_echoed(held.sockets[0], os.urandom(1 << 20) * 5)
    held.close()
    return tally


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_netfilter_sees_neither_direction(world, family, hook):
    w = redirect_world(world, hook).start({"blue": 50, "green": 50})
    assert len(exercise(w.client, family).pods) == 4
    assert seen(w) == 0 and not tracked(w)
    reasons = w.agent.reasons()
    assert reasons["RESTORED"] > 400 and not reasons["BY_STACK"]
    assert w.agent.status()["forward"] == "redirect"
    for command in ("status", "doctor"):
        said = " ".join(w.cli.run(command, check=False).stdout.split())
        assert "redirect: " in said and "network policies" in said


def test_by_the_stack_it_sees_both(world):
    w = redirect_world(world, forward="stack").start({"blue": 1})
    exercise(w.client, 4)
    assert seen(w) > 1000 and tracked(w)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_pods_reach_each_other_and_themselves(world, family, hook):
    w = redirect_world(world, hook).start({"blue": 50, "green": 50})
    caller = w.cluster.pods[0]
    assert len(exercise(caller, family).pods) == 4
    assert seen(w) == 0 and not tracked(w)
    reasons = w.agent.reasons()
    assert reasons["HAIRPIN"] and reasons["FORWARDED"]


@pytest.mark.parametrize("family", FAMILIES)
def test_behind_a_bridge_that_netfilter_does_not_see(world, family):
    """By the stack half of each connection meets conntrack, and its INVALID rule drops it."""
    w = redirect_world(world, gates=["vc*:tc", "vp*:tc"], bridge=True)
    for name in ("iptables", "ip6tables"):
        path = f"/proc/sys/net/bridge/bridge-nf-call-{name}"
        if os.path.exists(path):
            w.node.sysctl(**{f"net__bridge__bridge-nf-call-{name}": 0})
    w.start({"blue": 50, "green": 50})
    for member in (w.cluster.pods[0], w.client):
        assert len(exercise(member, family).pods) == 4
    assert w.cluster.invalid() == 0 and seen(w) == 0 and not tracked(w)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_backend_without_a_gate_is_reached_by_the_stack(world, family, hook):
    w = redirect_world(world, hook, groups={"blue": 2}, gates=[f"vc*:{hook}", f"vp0:{hook}"])
    w.start({"blue": 1})
    tally = http(w.client, VIPS[family], total=200)
    assert not tally.errors and len(tally.pods) == 2, tally
    reasons = w.agent.reasons()
    assert reasons["BY_STACK"] == tally.pods["blue-1"]  # each connection's first packet
    assert seen(w) > 4 * reasons["BY_STACK"]
    assert len(tracked(w)) == reasons["BY_STACK"]


@pytest.mark.parametrize("hook", HOOKS)
def test_live_connections_keep_their_way_when_the_option_changes(world, hook):
    w = redirect_world(world, hook).start({"blue": 50, "green": 50})
    forward = w.agent.options.index("redirect")
    held = Long(w.client, VIPS[4], 9000, 10)
    w.agent.stop()
    w.agent.options[forward] = "stack"
    w.agent.start()
    before = seen(w)
    assert not held.ping() and seen(w) == before
    later = Long(w.client, VIPS[4], 9000, 10)
    assert seen(w) > before
    w.agent.kill()
    w.agent.options[forward] = "redirect"
    w.agent.start()
    before = seen(w)
    assert not held.ping() and seen(w) == before
    assert not later.ping() and seen(w) > before
    held.close()
    later.close()


def move(w, family, old, new):
    """The old pod's address is now the new one's: as when a pod is rescheduled."""
    bits = 32 if family == 4 else 128
    where = address(old, family)
    new.host.ip(f"addr add {where}/{bits} dev eth0" + (" nodad" if family == 6 else ""))
    w.node.ip(f"neigh replace {where} lladdr {new.mac} dev {new.dev} nud permanent",
              f"route replace {where}/{bits} dev {new.dev}")


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_route_that_changes_is_followed_within_a_second(world, family, hook, alive):
    w = redirect_world(world, hook, groups={"blue": 1, "spare": 1})
    w.start({"blue": 1})
    old, new = w.cluster.group("blue")[0], w.cluster.group("spare")[0]
    load = HttpLoad(w.client, VIPS[family], rate=300, timeout=1.5).start()
    wait_for(lambda: load.tally().n > 100, 5, "the load to run")
    if not alive:
        w.agent.kill()
    move(w, family, old, new)
    wait_for(lambda: new.name in load.tally().pods, 1.5, "the new pod to answer")
    moved = next(r.start for r in load.tally().records if r.pod == new.name)
    wait_for(lambda: load.tally().since(moved + 1.2).n > 100, 5, "more of the load")
    tally = load.stop()
    assert not tally.since(moved + 1.2).errors
    assert set(tally.since(moved + 1.2).pods) == {new.name}
    assert seen(w) == 0


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_neighbour_that_changes_is_followed_within_a_second(world, family, alive):
    """XDP writes the link address itself; the pod drops frames to another one."""
    w = redirect_world(world, "xdp", groups={"blue": 1}).start({"blue": 1})
    pod, vip = w.cluster.pods[0], VIPS[family]
    assert not http(w.client, vip, total=50).errors
    if not alive:
        w.agent.kill()
    mac = "02:00:02:00:99:01"
    pod.host.ip(f"link set eth0 address {mac}")
    w.node.ip(f"neigh replace {address(pod, family)} lladdr {mac} dev {pod.dev} nud permanent")
    tally = http(w.client, vip, total=1, timeout=5)
    assert not tally.errors and tally.slowest() < 1.5, tally.records
    assert not http(w.client, vip, total=50).errors and seen(w) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_way_ends_live_connections_go_on_by_the_stack(world, family):
    """The route leads to where no gate is any more: the flow changes over, both ways at once."""
    w = redirect_world(world, groups={"blue": 1}).start({"blue": 1})
    pod = w.cluster.pods[0]
    held = Long(w.client, VIPS[family], 9000, 5)
    assert not held.ping() and seen(w) == 0
    w.agent.gates[1] = "none*"
    w.agent.stop()
    w.agent.start()  # detaches what is no gate of its own
    wait_for(lambda: len(w.agent.status()["gates"]) == 1, 3, "the pod's gate to go")
    assert not held.ping() and seen(w) > 0
    assert w.agent.reasons()["BY_STACK"] == 5
    held.close()
    assert not http(w.client, VIPS[family], total=20).errors, pod


@pytest.mark.parametrize("family", FAMILIES)
def test_a_smaller_mtu_on_the_way_is_told_by_the_stack(world, family):
    w = redirect_world(world, groups={"blue": 1}).start({"blue": 1})
    pod = w.cluster.pods[0]
    bits = 32 if family == 4 else 128
    w.node.ip(f"route replace {address(pod, family)}/{bits} dev {pod.dev} mtu lock 1300")
    w.client.host.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off")
    exercise(w.client, family)
    assert 0 < seen(w) < 100


@pytest.mark.parametrize("forward", ["stack", "redirect"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_only_taken_from_where_its_backend_is(world, family, hook, forward):
    """An external gate lets nobody speak for a pod, whatever connection he knows of."""
    w = redirect_world(world, hook, forward, groups={"blue": 1}, clients=2,
                       gates=[f"vc*:{hook}:external", f"vp*:{hook}"]).start({"blue": 1})
    w.node.sysctl(net__ipv4__conf__all__rp_filter=0)
    pod, liar = w.cluster.pods[0], w.cluster.clients[1]
    liar.host.ip(f"addr add {address(pod, family)} dev lo" + (" nodad" if family == 6 else ""))
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    with w.client.host.socket(kind, socket.SOCK_DGRAM) as victim, \
            liar.host.socket(kind, socket.SOCK_DGRAM) as sock:
        victim.settimeout(0.5)
        victim.bind((address(w.client, family), 20000))
        victim.connect((VIPS[family], 9001))
        victim.send(b"1")
        assert victim.recv(100).endswith(b" 1")
        sock.bind((address(pod, family), 9001))
        sock.sendto(b"a lie", (address(w.client, family), 20000))
        wait_for(lambda: w.agent.reasons()["SPOOFED"] == 1, 2, "the lie to be dropped")
        with pytest.raises(TimeoutError):
            victim.recv(100)
        victim.send(b"2")
        assert victim.recv(100).endswith(b" 2")
