# SPDX-License-Identifier: Apache-2.0
"""A laboratory on one machine: hosts made of network namespaces, with real servers, a load
generator, the agent and the CLI. Used by the end-to-end tests, the soak run and the demo.

Everything that one Lab makes carries its id, and the next Lab removes what an earlier run left
behind when it was killed.
"""

from .agent import Agent, Cli
from .cluster import Cluster
from .core import Lab, LabError, sweep, wait_for
from .world import World

__all__ = ["Agent", "Cli", "Cluster", "Lab", "LabError", "sweep", "wait_for", "World"]
