# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests. Run through `make test-e2e` (root, Linux namespaces)."""

import os
import re
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from lab import Lab, World  # noqa: E402 (the path is set above)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.setdefault("SHUNT_BUILD", os.path.join(ROOT, "build")))
LOGS = os.path.join(BUILD, "test-logs", "e2e")


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: a scenario at full length, only in `make soak`")
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root: they make network namespaces", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


@pytest.fixture
def build():
    return BUILD


@pytest.fixture
def lab(request):
    """A laboratory of this test; its logs are kept if the test fails."""
    made = Lab(request.node.nodeid)
    yield made
    report = getattr(request.node, "report_call", None)
    if report is None or report.failed:
        made.keep = os.path.join(LOGS, re.sub(r"[^A-Za-z0-9.-]+", "_", request.node.name))
    made.close()


@pytest.fixture
def world(lab, build):
    """Makes the usual scene; afterwards netfilter must not have seen an INVALID packet."""
    worlds = []

    def make(**options):
        worlds.append(World(lab, build, **options))
        return worlds[-1]

    yield make
    for made in worlds:
        process = made.agent.process
        if process is not None and process.poll() not in (None, 0, -9):
            pytest.fail(f"shuntd ended with {process.poll()}:\n{made.agent.log_text()[-3000:]}")
        if not made.cluster.bridge:
            assert made.cluster.invalid() == 0, "netfilter saw half-translated flows"
