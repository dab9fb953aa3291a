# SPDX-License-Identifier: Apache-2.0
"""Clients, a node and pods, wired as a veth-based CNI does it.

    client --- vc0 [node] vp0 --- pod

Pods are routed one by one (/32, /128) behind 169.254.1.1 and fe80::1, as Calico and Cilium do
it; with bridge=True they are ports of one bridge, as the CNI plugin `bridge` has it.
"""

from . import servers
from .core import wait_for

VIP4, VIP6 = "10.96.0.10", "fd96::10"
POOL_BITS = 16  # of a client's address pool

GUARD = """
table inet guard {
	counter invalid { }
	chain forward {
		type filter hook forward priority -10; policy accept;
		ct state invalid counter name invalid drop
	}
	chain input {
		type filter hook input priority -10; policy accept;
		ct state invalid counter name invalid drop
	}
}
"""


def neighbours(device, mac, *addresses):
    return [f"neigh add {address} lladdr {mac} dev {device} nud permanent"
            for address in addresses]


def address(member, family):
    """A client's or pod's own address."""
    return getattr(member, f"v{family}")


class Client:
    """A host outside of the node, with a pool of addresses beside its own."""

    def __init__(self, host, index):
        self.host = host
        self.index = index
        self.dev = f"vc{index}"
        self.mac, self.node_mac = f"02:00:01:00:{index:02x}:01", f"02:00:01:00:{index:02x}:02"
        self.v4, self.gateway4 = f"10.1.{index}.2", f"10.1.{index}.1"
        self.v6, self.gateway6 = f"fd01:{index:x}::2", f"fd01:{index:x}::1"
        self.pool4 = f"10.{100 + index}"
        self.pool6 = f"fd64:{index:x}"

    def address(self, n, family=4):
        """The n-th address of the pool, n below 65 000."""
        high, low = divmod(n + 1, 250)
        return f"{self.pool4}.{high}.{low + 1}" if family == 4 else f"{self.pool6}::{n + 1:x}"

    def configure(self, node):
        node.ip(f"addr add {self.gateway4}/24 dev {self.dev}",
                f"addr add {self.gateway6}/64 dev {self.dev} nodad",
                f"addr add fe80::1/64 dev {self.dev} nodad",
                f"link set {self.dev} up",
                *neighbours(self.dev, self.mac, self.v4, self.v6),
                f"route add {self.pool4}.0.0/{POOL_BITS} via {self.v4}",
                f"route add {self.pool6}::/64 via {self.v6}")
        self.host.ip(f"addr add {self.v4}/24 dev eth0", f"addr add {self.v6}/64 dev eth0 nodad",
                     "addr add fe80::2/64 dev eth0 nodad", "link set eth0 up",
                     *neighbours("eth0", self.node_mac, self.gateway4, self.gateway6),
                     f"route add default via {self.gateway4}",
                     f"route add default via {self.gateway6}",
                     f"route add local {self.pool4}.0.0/{POOL_BITS} dev lo",
                     f"route add local {self.pool6}::/64 dev lo")
        # Many short connections from one host: ports must come back soon.
        self.host.sysctl(net__ipv4__ip_local_port_range="1024 60999", net__ipv4__tcp_tw_reuse=1,
                         net__ipv6__ip_nonlocal_bind=1)


class Pod:
    """A backend: a namespace with nginx on port 8080 and whatever a test adds."""

    def __init__(self, host, group, number, index):
        self.host = host
        self.group = group
        self.name = f"{group}-{number}"
        self.dev = f"vp{index}"
        self.mac, self.node_mac = f"02:00:02:00:{index:02x}:01", f"02:00:02:00:{index:02x}:02"
        self.v4, self.v6 = f"10.244.{index // 200}.{index % 200 + 10}", f"fd02::{index + 10:x}"
        self.local6 = f"fe80::{index + 10:x}"
        self.nginx = None

    def configure(self, node, bridge):
        self.host.ip(f"addr add {self.local6}/64 dev eth0 nodad")
        if bridge:
            node.ip(f"link set {self.dev} master br0", f"link set {self.dev} up")
            self.host.ip(f"addr add {self.v4}/16 dev eth0", f"addr add {self.v6}/64 dev eth0 nodad",
                         "link set eth0 up", "route add default via 10.244.0.1",
                         "route add default via fd02::1")
            return
        node.ip(f"addr add 169.254.1.1/32 dev {self.dev} scope link",
                f"addr add fe80::1/64 dev {self.dev} nodad", f"link set {self.dev} up",
                *neighbours(self.dev, self.mac, self.v4, self.v6),
                f"route add {self.v4}/32 dev {self.dev}", f"route add {self.v6}/128 dev {self.dev}")
        self.host.ip(f"addr add {self.v4}/32 dev eth0", f"addr add {self.v6}/128 dev eth0 nodad",
                     "link set eth0 up",
                     *neighbours("eth0", self.node_mac, "169.254.1.1", "fe80::1"),
                     "route add 169.254.1.1/32 dev eth0",
                     "route add default via 169.254.1.1",
                     "route add default via fe80::1 dev eth0")

    def endpoint(self, **conditions):
        """As k8s.slices() wants it."""
        return {"v4": self.v4, "v6": self.v6, **conditions}


class Cluster:
    def __init__(self, lab, groups=None, clients=1, bridge=False):
        self.lab = lab
        self.bridge = bridge
        groups = {"blue": 3, "green": 3} if groups is None else groups
        members = [(group, number) for group, count in groups.items() for number in range(count)]
        roles = ["node", *(f"client{i}" for i in range(clients)),
                 *(f"{group}-{number}" for group, number in members)]
        hosts = lab.add_hosts(*roles)
        self.node = hosts[0]
        self.clients = [Client(host, i) for i, host in enumerate(hosts[1:1 + clients])]
        self.pods = [Pod(host, group, number, index) for index, (host, (group, number))
                     in enumerate(zip(hosts[1 + clients:], members))]
        self._wire()
        self.node.nft(GUARD)
        for pod in self.pods:
            pod.nginx = servers.Nginx(lab, pod)
        for pod in self.pods:
            pod.nginx.wait()

    def _wire(self):
        for host in self.lab.hosts.values():
            # Addresses and neighbours are given below: finding them out takes a second.
            host.sysctl(net__ipv6__conf__default__accept_dad=0,
                        net__ipv6__conf__default__addr_gen_mode=1)
        self.node.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
                         net__ipv4__conf__all__send_redirects=0,
                         net__ipv4__conf__default__send_redirects=0)
        self.lab.veths(*((m.host, "eth0", m.mac, self.node, m.dev, m.node_mac)
                         for m in [*self.clients, *self.pods]))
        if self.bridge:
            self.node.ip("link add br0 type bridge", "addr add 10.244.0.1/16 dev br0",
                         "addr add fd02::1/64 dev br0 nodad", "addr add fe80::1/64 dev br0 nodad",
                         "link set br0 up")
        for client in self.clients:
            client.configure(self.node)
        for pod in self.pods:
            pod.configure(self.node, self.bridge)

    @property
    def client(self):
        return self.clients[0]

    def group(self, name):
        return [pod for pod in self.pods if pod.group == name]

    def endpoints(self, name, **conditions):
        return [pod.endpoint(**conditions) for pod in self.group(name)]

    def prepare_xdp(self, *members):
        """For clients or pods behind an XDP gate: complete frames out, XDP_TX frames in."""
        program = self.lab.program("pass.bpf.o")
        for member in members:
            member.host.run("ethtool", "-K", "eth0", "tx", "off")
            member.host.run("ip", "link", "set", "dev", "eth0", "xdp", "obj", program, "sec", "xdp")

    def invalid(self):
        """Packets that netfilter of the node took for INVALID: never one, or we broke a flow."""
        return self.node.nft_packets("guard", "invalid")

    def proxy(self, backends, *ports):
        """An nftables DNAT at random over pods: stands in for kube-proxy; [] removes it.

        ports: (frontend port, pods' port), (80, 8080) by default
        """
        self.node.run("nft", "delete", "table", "inet", "proxy", check=False)
        if not backends:
            return
        rules = []
        for family, match, vip in (("v4", "ip", VIP4), ("v6", "ip6", VIP6)):
            pods = ", ".join(f"{i} : {getattr(pod, family)}" for i, pod in enumerate(backends))
            rules += [f"{match} daddr {vip} tcp dport {port} dnat {match} to numgen random "
                      f"mod {len(backends)} map {{ {pods} }}:{target}"
                      for port, target in ports or [(80, 8080)]]
        self.node.nft("table inet proxy {\n chain prerouting {\n"
                      "  type nat hook prerouting priority dstnat; policy accept;\n  " +
                      "\n  ".join(rules) + "\n }\n}\n")

    def fate(self, word=None, group=None):
        """What GET /fate meets at the pods of a group, or at all: see Nginx.fate()."""
        for pod in self.pods if group is None else self.group(group):
            pod.nginx.fate(word)

    def accesses(self):
        """Lines of nginx's access logs by pod name: one for each request that was answered."""
        return {pod.name: pod.nginx.accesses() for pod in self.pods}

    def wait_accesses(self, total, timeout=2.0):
        """nginx writes its log after the answer: waits until all requests are in."""
        wait_for(lambda: sum(self.accesses().values()) >= total, timeout,
                 f"{total} lines in the access logs, there are {self.accesses()}")
        return self.accesses()
