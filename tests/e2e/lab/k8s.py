# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects for the source directory."""

import os

import yaml

GATEWAY = "gateway.networking.k8s.io/v1"


def meta(name, namespace="default", **more):
    return {"name": name, "namespace": namespace, **more}


def service(name, addresses=(), ports=((80, 8080, "TCP"),), namespace="default", external=(),
            load_balancer=(), affinity=None, annotations=None, node_ports=None,
            app_protocol=None, source_ranges=()):
    """addresses: cluster addresses; ports: (port, target port, protocol); node_ports: by port."""
    spec = {"ports": [{"name": f"p{port}-{proto.lower()}", "port": port, "targetPort": target,
                       "protocol": proto} for port, target, proto in ports],
            "selector": {"app": name}}
    if app_protocol:
        for port in spec["ports"]:
            port["appProtocol"] = app_protocol
    if addresses:
        spec["clusterIP"] = addresses[0]
        spec["clusterIPs"] = list(addresses)
    if external:
        spec["externalIPs"] = list(external)
    if node_ports:
        spec["type"] = "NodePort"
        for port in spec["ports"]:
            if port["port"] in node_ports:
                port["nodePort"] = node_ports[port["port"]]
    if affinity:
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": affinity}}
    result = {"apiVersion": "v1", "kind": "Service", "spec": spec,
              "metadata": meta(name, namespace, **({"annotations": annotations}
                                                   if annotations else {}))}
    if load_balancer:
        spec["type"] = "LoadBalancer"
        result["status"] = {"loadBalancer": {"ingress": [{"ip": ip} for ip in load_balancer]}}
        if source_ranges:
            spec["loadBalancerSourceRanges"] = list(source_ranges)
    return result


def slices(name, pods, ports=((80, 8080, "TCP"),), namespace="default", suffix=""):
    """EndpointSlices of a Service, one for each family that the pods have.

    pods: dictionaries with "v4", "v6", and optionally "ready", "serving", "terminating".
    """
    result = []
    for family, kind in (("v4", "IPv4"), ("v6", "IPv6")):
        endpoints = [{"addresses": [pod[family]],
                      "conditions": {"ready": pod.get("ready", True),
                                     "serving": pod.get("serving", pod.get("ready", True)),
                                     "terminating": pod.get("terminating", False)}}
                     for pod in pods if pod.get(family)]
        result.append({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                       "metadata": meta(f"{name}-{family}{suffix}", namespace,
                                        labels={"kubernetes.io/service-name": name}),
                       "addressType": kind, "endpoints": endpoints,
                       "ports": [{"name": f"p{port}-{proto.lower()}", "port": target,
                                  "protocol": proto} for port, target, proto in ports]})
    return result


def backend_refs(weights, port):
    return [{"name": name, "port": port, "weight": weight} for name, weight in weights.items()]


def route(kind, name, parent, weights, port=80, namespace="default", generation=None):
    """A TCPRoute or UDPRoute (or an HTTPRoute without matches) of a Service."""
    more = {"generation": generation} if generation else {}
    return {"apiVersion": GATEWAY, "kind": kind, "metadata": meta(name, namespace, **more),
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": parent,
                                     "port": port}],
                     "rules": [{"backendRefs": backend_refs(weights, port)}]}}


def http_route(name, parent, weights, port=80, namespace="default"):
    """As Flagger writes it: group core, one PathPrefix / match."""
    return {"apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": meta(name, namespace),
            "spec": {"parentRefs": [{"group": "core", "kind": "Service", "name": parent,
                                     "namespace": namespace, "port": port}],
                     "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                                "backendRefs": [{"group": "", "kind": "Service", **ref}
                                                for ref in backend_refs(weights, port)]}]}}


def traefik_service(name, weights, port=80, namespace="default"):
    return {"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService",
            "metadata": meta(name, namespace),
            "spec": {"weighted": {"services": [{"name": variant, "port": port, "weight": weight}
                                               for variant, weight in weights.items()]}}}


def ingress_route(name, service_name, entry_points=("web",), namespace="default"):
    return {"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
            "metadata": meta(name, namespace),
            "spec": {"entryPoints": list(entry_points),
                     "routes": [{"kind": "Rule", "match": "PathPrefix(`/`)",
                                 "services": [{"name": service_name, "kind": "TraefikService"}]}]}}


def traffic_policy(name="demo", target="demo", created=None, **spec):
    """A TrafficPolicy of one Service; created: its creationTimestamp."""
    more = {"creationTimestamp": created} if created else {}
    return {"apiVersion": "shunt.io/v1alpha1", "kind": "TrafficPolicy",
            "metadata": meta(name, **more),
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": target}], **spec}}


def write(path, *objects):
    """Puts objects into a file as one rename, as careful tools do."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flat = [o for item in objects for o in (item if isinstance(item, list) else [item])]
    temporary = os.path.join(os.path.dirname(path), "." + os.path.basename(path) + ".tmp")
    with open(temporary, "w") as f:
        yaml.safe_dump_all(flat, f, sort_keys=False)
    os.rename(temporary, path)
