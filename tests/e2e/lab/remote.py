# SPDX-License-Identifier: Apache-2.0
"""A backend on another node, reached by an uplink."""

from .servers import Echoes, Nginx
from .world import ALL_PORTS


class Remote:
    """A backend on another node: the second client's host."""

    def __init__(self, w):
        member = w.cluster.clients[1]
        self.host, self.group, self.name = member.host, "blue", "blue-remote"
        self.v4, self.v6 = member.v4, member.v6
        self.node = {4: member.gateway4, 6: "fd01:1::1"}
        self.nginx = Nginx(w.lab, self)
        echoes = Echoes(w.lab)
        echoes.tcp(self, 9000)
        echoes.udp(self, 9001)
        self.nginx.wait()

    def endpoint(self):
        return {"v4": self.v4, "v6": self.v6}


def remote_world(world, hook, local=0, options=()):
    """Two clients behind uplinks, one of which is the backend; local: as many pods beside it."""
    w = world(mode="xdp" if hook == "xdp" else "tcx", groups={"blue": max(local, 1)}, clients=2,
              gates=[f"vc*:{hook}:uplink", "vp*:tc"], ports=ALL_PORTS, options=options)
    remote = Remote(w)
    pods = w.cluster.pods if local else []
    w.endpoints("blue", [*(pod.endpoint() for pod in pods), remote.endpoint()])
    w.split({"blue": 1})
    w.agent.start()
    return w, remote
