# SPDX-License-Identifier: Apache-2.0
"""Manifests of very many services, written as text: a YAML library takes minutes for them.

Service s<i> of namespace bench stands at 10.200.0.0 + i, port 80, split in halves between
s<i>-a and s<i>-b, which have the backends from 10.0.0.0 on, port 8080.
"""

import os

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: s{i}, namespace: bench}}
spec: {{clusterIP: {vip}, ports: [{{port: 80}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {{name: s{i}, namespace: bench}}
spec:
  parentRefs: [{{group: '', kind: Service, name: s{i}}}]
  rules:
  - backendRefs:
    - {{name: s{i}-a, port: 80, weight: 50}}
    - {{name: s{i}-b, port: 80, weight: 50}}
---
"""

VARIANT = """\
apiVersion: v1
kind: Service
metadata: {{name: s{i}-{v}, namespace: bench}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: s{i}-{v}
  namespace: bench
  labels: {{kubernetes.io/service-name: s{i}-{v}}}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints:
"""

SERVICES_A_FILE = 100


def address(number):
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def service(i, backends):
    """One service with so many backends (even) in its two variants."""
    parts = [SERVICE.format(i=i, vip=address(0x0AC80000 + i))]
    for v, first in (("a", i * backends), ("b", i * backends + backends // 2)):
        parts.append(VARIANT.format(i=i, v=v))
        parts += [f"- addresses: [{address(0x0A000000 + n)}]\n"
                  for n in range(first, first + backends // 2)]
        parts.append("---\n")
    return "".join(parts)


def write_directory(path, services, backends):
    """Files of a hundred services, as a source directory."""
    os.makedirs(path, exist_ok=True)
    for first in range(0, services, SERVICES_A_FILE):
        with open(f"{path}/s{first:06}.yaml", "w") as f:
            for i in range(first, min(services, first + SERVICES_A_FILE)):
                f.write(service(i, backends))


def write_file(path, services, backends):
    with open(path, "w") as f:
        for i in range(services):
            f.write(service(i, backends))
