# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus on the agent's node that scrapes the agent."""

import http.client
import json
import urllib.parse

import yaml

from .core import wait_for

PORT = 9090


class Prometheus:
    """rules: files of alert rules. wait() returns when the agent was scraped."""

    def __init__(self, lab, agent, rules=(), name="prometheus"):
        self.host = agent.host
        directory = lab.path(name, "x")[:-2]
        config = f"{directory}/prometheus.yml"
        with open(config, "w") as f:
            yaml.safe_dump({
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": list(rules),
                "scrape_configs": [{"job_name": "shunt", "honor_labels": True,
                                    "static_configs": [{"targets": [agent.metrics]}]}]}, f)
        with open(f"{directory}/log", "w") as log:
            self.process = self.host.popen("prometheus", f"--config.file={config}",
                                           f"--storage.tsdb.path={directory}/data",
                                           f"--web.listen-address=127.0.0.1:{PORT}",
                                           stderr=log, stdout=log)

    def wait(self):
        wait_for(lambda: self.query("shunt_build_info"), 30, "Prometheus to scrape the agent", 0.2)
        return self

    def get(self, path, **parameters):
        """The data of an answer of its API; None while it is not up: it answers 503 for a while."""
        with self.host.entered():
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            try:
                connection.request("GET", f"{path}?{urllib.parse.urlencode(parameters)}")
                response = connection.getresponse()
                if response.status == 503:
                    return None
                answer = json.load(response)
            except OSError:
                return None
            finally:
                connection.close()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, text):
        """The values of an instant query, now."""
        data = self.get("/api/v1/query", query=text)
        return [float(sample["value"][1]) for sample in data["result"]] if data else []

    def names(self):
        """All metrics that it has seen."""
        return set(self.get("/api/v1/label/__name__/values"))

    def stop(self):
        self.process.terminate()
        self.process.wait()
