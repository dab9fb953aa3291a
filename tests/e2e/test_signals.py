# SPDX-License-Identifier: Apache-2.0
"""What plaintext HTTP is asked and answers, as the kernel sees it: real nginx, curl and h2load."""

import json
import re
import socket
import subprocess
import time

import pytest

from lab import wait_for
from lab.cluster import VIP4, VIP6
from lab.servers import H2_PORT
from lab.world import ECHO, HTTP, MODES

PATHS = ["/", "/204", "/302", "/404", "/500", "/503", "/", "/"]
WANT = {"unknown": 0, "1xx": 0, "2xx": 4, "3xx": 1, "4xx": 1, "5xx": 2}
H2C = (81, H2_PORT, "TCP")


def curl(w, address, paths, port=80):
    """GETs them over one connection, as far as the server keeps it."""
    host = f"[{address}]" if ":" in address else address
    urls = [word for path in paths for word in ("-o", "/dev/null", f"http://{host}:{port}{path}")]
    w.client.host.run("curl", "-sS", "-m", "10", *urls)


def signals(w, variant="blue", port=80):
    """What status says of a variant's HTTP on one port."""
    (service,) = [s for s in w.agent.status()["services"] if s["ports"][0]["port"] == port]
    (found,) = [v for v in service["variants"] if v["name"] == variant]
    return found["http"]


@pytest.mark.parametrize("address", [VIP4, VIP6], ids=["v4", "v6"])
@pytest.mark.parametrize("mode", MODES)
def test_requests_and_responses_are_counted_by_class(world, mode, address):
    w = world(groups={"blue": 1}, mode=mode).start({"blue": 1}, app_protocol="http")
    curl(w, address, PATHS)
    for path in PATHS:
        curl(w, address, [path])
    http = signals(w)
    assert http["requests"] == 2 * len(PATHS)
    assert http["responses"] == {name: 2 * n for name, n in WANT.items()}
    assert http["success_rate"] == pytest.approx(0.75)
    assert 0 < http["p50_ms"] <= http["p99_ms"] < 1000
    # nginx closes behind a 500.
    assert w.agent.service()["variants"][0]["connections_total"] == len(PATHS) + 2


@pytest.mark.parametrize("mode", MODES)
def test_http2_is_counted_too(world, mode):
    w = world(groups={"blue": 1}, mode=mode, ports=(HTTP, H2C)).start({"blue": 1},
                                                                      app_protocol="http")
    urls = [f"http://{VIP4}:81{path}" for path in PATHS]
    done = w.client.host.run("h2load", "-n", 30 * len(PATHS), "-c", 3, "-m", 8, *urls).stdout
    assert f"{30 * len(PATHS)} done" in done, done
    http = signals(w, port=81)
    assert http["requests"] == 30 * len(PATHS)
    # 302 and 503 are not in HPACK's static table; nginx spells them out.
    assert http["responses"] == {name: 30 * n for name, n in WANT.items()}, http
    assert 0 < http["p50_ms"] <= http["p99_ms"] < 1000
    assert signals(w)["requests"] == 0, "the other port's"


def test_a_long_answer_is_one_response(world):
    w = world(groups={"blue": 1}).start({"blue": 1}, app_protocol="http")
    with open(w.lab.path("files", "big"), "wb") as f:
        f.write(b"HTTP/1.1 500 in a body\r\n" * 400000)
    curl(w, VIP4, ["/files/big", "/", "/files/big"])
    http = signals(w)
    assert http["requests"] == 3
    assert http["responses"]["2xx"] == 3
    assert sum(http["responses"].values()) == 3


def test_what_is_no_http_is_not_counted(world):
    w = world(groups={"blue": 1}, ports=(HTTP, ECHO)).start({"blue": 1}, app_protocol="grpc")
    with w.client.host.entered():
        with socket.create_connection((VIP4, 9000), timeout=5) as s:
            s.recv(100)  # it greets first
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert s.recv(100)
    http = signals(w, port=9000)
    assert http["requests"] == 0 and sum(http["responses"].values()) == 0
    assert http["p99_ms"] is None and http["success_rate"] is None


def test_a_service_that_does_not_say_http_is_left_alone(world):
    w = world(groups={"blue": 1}).start({"blue": 1})
    curl(w, VIP4, PATHS)
    assert signals(w) is None
    assert "signals     80 opaque (TCP only)\n" in w.cli.run("status", "demo").stdout
    assert "shunt_http_requests_total{" not in w.agent.http("/metrics")[1]


def test_people_and_prometheus_see_it(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 0}, app_protocol="http")
    zero = w.agent.http("/metrics")[1]
    assert "shunt_http_responses_total{" in zero and 'code="5xx"} 0' in zero
    curl(w, VIP4, PATHS)
    table = w.cli.run("status", "demo").stdout
    assert re.search(r"VARIANT +REQUESTS +SUCCESS +4XX +5XX +P50 +P99\n +blue +8 +75.0 % +1 +2 ",
                     table), table
    metrics = w.agent.http("/metrics")[1]
    labels = r'\{namespace="default",service="demo",variant="blue",port="80"'
    total = sum(int(n) for n in re.findall(
        r"shunt_http_responses_total" + labels + r',backend="[^"]*",code="5xx"\} (\d+)', metrics))
    assert total == 2, metrics
    assert re.search(r"shunt_http_response_seconds_bucket" + labels + r',le="\+Inf"\} 8\n', metrics)
    assert re.search(r"shunt_http_response_seconds_count" + labels + r"\} 8\n", metrics)


def test_status_shows_the_last_minute_not_all_time(world):
    w = world(groups={"blue": 1}).start({"blue": 1}, app_protocol="http")
    curl(w, VIP4, ["/500"] * 10)
    window = signals(w)["window"]
    assert window["responses"]["5xx"] == 10 and 0 < window["seconds"] < 60
    w.agent.stop()
    w.agent.start()
    curl(w, VIP4, ["/"] * 5)
    http = signals(w)
    assert http["responses"]["5xx"] == 10 and http["window"]["responses"]["5xx"] == 0
    assert http["window"]["success_rate"] == 1 and http["window"]["requests"] == 5
    table = w.cli.run("status", "demo").stdout
    assert "signals     80 plaintext HTTP\n" in table, table
    assert re.search(r"blue +5 +100.0 % +0 +0 ", table), table
    assert re.search(r"plaintext HTTP of the last \d+ s; SUCCESS: below 500", table), table


def test_top_shows_the_http_of_the_interval(world):
    w = world(groups={"blue": 1}).start({"blue": 1}, app_protocol="http")
    curl(w, VIP4, ["/500"] * 10)
    top = w.cli.spawn("top", "--interval", "2s", "-n", "1", "-o", "json", stdout=subprocess.PIPE)
    time.sleep(0.7)
    curl(w, VIP4, ["/"] * 6 + ["/503"] * 2)
    (row,) = json.loads(top.communicate(timeout=20)[0])["variants"]
    assert row["success_rate"] == pytest.approx(0.75), row
    assert row["requests_per_s"] == pytest.approx(4, rel=0.2)
    assert 0 < row["p50_ms"] <= row["p99_ms"] < 1000


def test_counts_outlive_the_agent_and_go_on_without_it(world):
    w = world(groups={"blue": 1}).start({"blue": 1}, app_protocol="http")
    curl(w, VIP4, PATHS)
    w.agent.kill()
    curl(w, VIP4, PATHS)
    w.agent.start()
    wait_for(lambda: signals(w)["requests"] == 2 * len(PATHS), 5, "the counts")
    assert signals(w)["responses"]["5xx"] == 4
