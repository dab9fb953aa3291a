# SPDX-License-Identifier: Apache-2.0
"""manifests/monitoring: alert rules and dashboard name what a running agent really serves."""

import json
import os
import re
import subprocess

import yaml

from lab import wait_for
from lab.cluster import VIP4
from lab.prometheus import Prometheus

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MONITORING = os.path.join(ROOT, "manifests", "monitoring")
RULES = os.path.join(MONITORING, "shunt-rules.yaml")
CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "alert_cases.yaml")
METRIC = re.compile(r"\b(?:shunt|traefik|response)_[a-z0-9_]+\b(?!=)")
# Panels that show something only where a policy limits or breaks.
ONLY_WITH_POLICY = re.compile(r"shunt_(limit|breaker)")


def alerts():
    with open(RULES) as f:
        return [rule for group in yaml.safe_load(f)["groups"] for rule in group["rules"]]


def dashboard():
    with open(os.path.join(MONITORING, "shunt-dashboard.json")) as f:
        return json.load(f)


def panel_queries():
    """(title, query) of all panels, with the variables set to all."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], re.sub(r"\$(namespace|service)\b", ".*", query)


def families(text):
    """The names of /metrics; of a histogram those of its series."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
        found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} \
            if kind == "histogram" else {name}
    return found


def promtool(*args):
    done = subprocess.run(["promtool", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules():
    promtool("check", "rules", RULES)


def test_each_alert_fires_when_it_should_and_only_then():
    promtool("test", "rules", CASES)
    with open(CASES) as f:
        cases = f.read()
    for alert in alerts():
        assert f'alertname="{alert["alert"]}"' in cases, f"{alert['alert']} is not tested"


def test_each_alert_says_what_to_do():
    for alert in alerts():
        assert alert["labels"]["severity"] in ("info", "warning", "critical"), alert["alert"]
        for name in ("summary", "description", "runbook"):
            assert alert["annotations"][name], alert["alert"]
        assert re.match(r"[A-Z].{30,}\.$", alert["annotations"]["runbook"]), alert["alert"]


def test_panels_do_not_overlap_and_ids_are_unique():
    panels, taken = dashboard()["panels"], set()
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_what_they_name_is_there_and_answers(world):
    w = world(groups={"blue": 1, "green": 1}).start({"blue": 1, "green": 1}, app_protocol="http")
    served = families(w.agent.http("/metrics")[1])
    with open(os.path.join(ROOT, "docs", "metrics.md")) as f:
        documented = f.read()
    queries = [(alert["alert"], alert["expr"]) for alert in alerts()]
    for title, query in [*queries, *panel_queries()]:
        names = set(METRIC.findall(query))
        assert names, title
        assert names <= served, f"{title}: {names - served} is not in /metrics"
        for name in names:
            assert re.sub("_(bucket|sum|count)$", "", name) in documented, name
    prometheus = Prometheus(w.lab, w.agent, [RULES]).wait()
    for _ in range(12):
        urls = [word for path in ("/", "/500") for word in ("-o", "/dev/null",
                                                           f"http://{VIP4}{path}")]
        w.client.host.run("curl", "-sS", "-m", "10", *urls * 5)
    rate = 'sum(rate(shunt_http_responses_total{code="5xx"}[1m]))'
    wait_for(lambda: sum(prometheus.query(rate)) > 0, 10, "a rate", 0.2)
    for title, query in panel_queries():
        if not ONLY_WITH_POLICY.search(query) and not query.endswith("> 0"):
            assert prometheus.query(query), f"{title} shows nothing: {query}"
    # Half of the responses are 5xx and a file is broken: both are on their way to an alert.
    with open(f"{w.agent.source}/broken.yaml", "w") as f:
        f.write("kind: [")
    for alert in "ShuntVariantFailing", "ShuntSourceProblems":
        wait_for(lambda a=alert: prometheus.query(f'ALERTS{{alertname="{a}"}}'), 10, alert, 0.2)
    assert not prometheus.query('ALERTS{alertname="ShuntConfigStale"}')
