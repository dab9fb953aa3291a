# SPDX-License-Identifier: Apache-2.0
"""The ways from a client to a pod that are compared.

    client --- vc0 [node] vp0 --- pod: httpd at 8080 (blue) and 8081 (green), iperf3 at 5201

All balance VIP4:80 over the same two ports of one pod, so that what differs is the path alone;
plain routing addresses the pod itself. Each setup is a context manager that yields the address
and port to ask.
"""

import contextlib
import os
import time

from lab import Agent, k8s, wait_for
from lab.cluster import VIP4

HTTP, BULK = (80, 8080, "TCP"), (5201, 5201, "TCP")


def answers(cluster, address, port):
    with cluster.client.host.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex((address, port)) == 0


@contextlib.contextmanager
def daemon(cluster, address, *command):
    """A program on the node that listens at the virtual address."""
    cluster.node.ip(f"addr add {address}/32 dev lo")
    process = cluster.node.popen(*command)
    try:
        wait_for(lambda: answers(cluster, address, 80), 5, command[0])
        yield address, 80
    finally:
        process.terminate()
        process.wait()
        cluster.node.ip(f"addr del {address}/32 dev lo")


@contextlib.contextmanager
def plain_routing(cluster, _build):
    yield cluster.pods[0].v4, 8080


@contextlib.contextmanager
def nftables(cluster, _build):
    """As kube-proxy does it in its nftables mode: a verdict map, then a random endpoint."""
    pod = cluster.pods[0].v4
    cluster.node.nft(f"""
table ip proxy {{
	chain blue {{ meta l4proto tcp dnat to {pod}:8080; }}
	chain green {{ meta l4proto tcp dnat to {pod}:8081; }}
	chain bulk {{ meta l4proto tcp dnat to {pod}:5201; }}
	chain web {{ numgen random mod 2 vmap {{ 0 : goto blue, 1 : goto green }}; }}
	map services {{ type ipv4_addr . inet_proto . inet_service : verdict
		elements = {{ {VIP4} . tcp . 80 : goto web, {VIP4} . tcp . 5201 : goto bulk }} }}
	chain prerouting {{ type nat hook prerouting priority dstnat;
		ip daddr . meta l4proto . th dport vmap @services; }}
}}""")
    try:
        yield VIP4, 80
    finally:
        cluster.node.run("nft", "delete", "table", "ip", "proxy")


def haproxy(cluster, _build):
    pod, path = cluster.pods[0].v4, cluster.lab.path("haproxy", "conf")
    with open(path, "w") as f:
        f.write(f"""
global
	nbthread {os.cpu_count()}
	maxconn 8000
defaults
	mode tcp
	timeout connect 2s
	timeout client 10s
	timeout server 10s
listen web
	bind {VIP4}:80
	balance roundrobin
	server blue {pod}:8080
	server green {pod}:8081
listen bulk
	bind {VIP4}:5201
	server blue {pod}:5201
""")
    return daemon(cluster, VIP4, "haproxy", "-db", "-q", "-f", path)


def nginx_stream(cluster, _build):
    pod, path = cluster.pods[0].v4, cluster.lab.path("stream", "conf")
    with open(path, "w") as f:
        f.write(f"""
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; worker_processes {os.cpu_count()};
pid {path}.pid; error_log {path}.log;
events {{ worker_connections 8192; }}
stream {{
	upstream web {{ server {pod}:8080; server {pod}:8081; }}
	upstream bulk {{ server {pod}:5201; }}
	server {{ listen {VIP4}:80; proxy_pass web; }}
	server {{ listen {VIP4}:5201; proxy_pass bulk; }}
}}
""")
    return daemon(cluster, VIP4, "nginx", "-e", f"{path}.log", "-c", path)


def manifests(agent, pod):
    agent.apply("demo", k8s.service("demo", [VIP4], [HTTP, BULK]),
                k8s.route("TCPRoute", "web", "demo", {"blue": 50, "green": 50}, 80),
                k8s.route("TCPRoute", "bulk", "demo", {"bulk": 1}, 5201))
    for group, port, target in (("blue", 80, 8080), ("green", 80, 8081), ("bulk", 5201, 5201)):
        ports = [(port, target, "TCP")]
        agent.apply(group, k8s.service(group, ports=ports),
                    k8s.slices(group, [{"v4": pod.v4}], ports))


@contextlib.contextmanager
def shunt(cluster, build, gates, options=()):
    agent = Agent(cluster, build, gates, options, name=f"agent{time.monotonic_ns()}")
    manifests(agent, cluster.pods[0])
    agent.start()
    try:
        yield VIP4, 80
    finally:
        agent.cli.run("detach")  # ends the agent too
        agent.process.wait(10)


def shunt_tc(cluster, build):
    return shunt(cluster, build, ["vc*:tc"])


def shunt_tc_redirect(cluster, build):
    """Past the stack; answers are restored at the pod's gate."""
    return shunt(cluster, build, ["vc*:tc", "vp*:tc"], ["--forward", "redirect"])


@contextlib.contextmanager
def shunt_xdp(cluster, build):
    """XDP on veth: complete frames must come in, so the client cuts and sums by itself."""
    cluster.prepare_xdp(cluster.client)
    try:
        with shunt(cluster, build, ["vc*:xdp"]) as target:
            yield target
    finally:
        cluster.client.host.run("ip", "link", "set", "dev", "eth0", "xdp", "off")
        cluster.client.host.run("ethtool", "-K", "eth0", "tx", "on")


SETUPS = {
    "plain routing": plain_routing,
    "nftables DNAT": nftables,
    "shunt tc": shunt_tc,
    "shunt tc redirect": shunt_tc_redirect,
    "shunt xdp": shunt_xdp,
    "haproxy tcp": haproxy,
    "nginx stream": nginx_stream,
}
BASE = "plain routing"
