# SPDX-License-Identifier: Apache-2.0
"""shunt compare: nginx of one build, one of them failing more often and answering slower."""

import json
import subprocess

import pytest

from lab import LabError
from lab.cluster import VIP4
from lab.load import http

N = 100  # requests of one connection


def load(w, connections=24):
    """One connection after the other: the same noise for all variants."""
    for _ in range(connections):
        urls = [word for _ in range(N) for word in ("-o", "/dev/null", f"http://{VIP4}/judged")]
        w.client.host.run("curl", "-sS", "-m", "20", *urls)


def start(world, *groups):
    return world(groups={group: 1 for group in groups}).start({group: 1 for group in groups},
                                                              app_protocol="http")


def test_a_variant_that_is_worse_is_found_out(world):
    w = start(world, "blue", "worse")
    load(w)
    found = w.cli.json("compare", "demo", "blue", "worse")
    assert found["seconds"] is None
    for measure in "success_rate", "p50":
        assert found[measure]["verdict"] == "different", found
        assert found[measure]["better"] == "blue", found
    blue, worse = found["variants"]
    assert blue["requests"] + worse["requests"] == 24 * N
    assert worse["success_rate"]["high"] < blue["success_rate"]["low"]
    assert worse["p50_ms"]["low"] > blue["p50_ms"]["high"]
    assert 1.5 < worse["p50_ms"]["value"] < 10, "a request each 2.5 ms"
    text = w.cli.run("compare", "demo", "worse", "blue").stdout
    assert "success rate  a real difference: blue's is" in text, text
    assert "points higher than worse's" in text, text
    assert "p50           a real difference: blue takes" in text, text


def test_equal_variants_are_not_called_different(world):
    w = start(world, "blue", "twin")
    load(w)
    found = w.cli.json("compare", "demo", "blue", "twin")
    for measure in "success_rate", "p50":
        assert found[measure]["verdict"] == "no-difference-shown", found
        assert found[measure]["better"] is None
    assert 0.8 < found["variants"][0]["success_rate"]["value"] < 1, "some do fail"


def test_for_a_time_only_what_comes_then_counts(world):
    w = start(world, "blue", "twin")
    w.client.host.run("curl", "-sS", *["-o", "/dev/null", f"http://{VIP4}/500"] * 1)
    before = w.cli.json("compare", "demo", "blue", "twin")["variants"]
    assert sum(v["requests"] for v in before) == 1
    compare = w.cli.spawn("compare", "demo", "blue", "twin", "--for", "4s", "-o", "json",
                          stdout=subprocess.PIPE)
    load(w, 4)
    found = json.loads(compare.communicate(timeout=30)[0])
    assert found["seconds"] == pytest.approx(4, abs=0.5)
    assert sum(v["requests"] for v in found["variants"]) in range(1, 4 * N + 1)


def test_few_requests_and_opaque_services_are_told(world):
    w = start(world, "blue", "twin")
    w.client.host.run("curl", "-sS", f"http://{VIP4}/")
    text = w.cli.run("compare", "demo", "blue", "twin").stdout
    assert "too few requests to tell: " in text and "of at least 100\n" in text, text
    with pytest.raises(LabError, match="has no variant red; there are: blue, twin"):
        w.cli.run("compare", "demo", "blue", "red")
    with pytest.raises(LabError, match="no service none has a split"):
        w.cli.run("compare", "none", "blue", "red")


def test_of_a_service_that_is_no_http_connections_are_compared(world):
    w = world(groups={"blue": 2, "twin": 2}).start({"blue": 1, "twin": 1})
    w.cluster.group("twin")[0].nginx.stop()
    # A repeated SYN misses the other one of two pods 1 in 256 times, and is refused then.
    assert http(w.client, VIP4, total=600, concurrency=40, timeout=10).errors["refused"] < 12
    found = w.cli.json("compare", "demo", "blue", "twin")
    assert found["of"] == "connections", found
    assert found["success_rate"]["verdict"] == "different", found
    assert found["success_rate"]["better"] == "blue", found
    blue, twin = found["variants"]
    assert blue["success_rate"]["value"] == 1 and 0.4 < twin["success_rate"]["value"] < 0.95, found
    text = w.cli.run("compare", "demo", "blue", "twin").stdout
    assert ", TCP connections since the counters began" in text, text
