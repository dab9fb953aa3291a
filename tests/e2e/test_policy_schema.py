# SPDX-License-Identifier: Apache-2.0
"""The schema of TrafficPolicy refuses what the decoder refuses: one table is fed to both.

tests/unit/test_dialect_policy.c feeds it to the decoder. Here the plain part of the schema is
judged; `make test-crd` judges all of it, CEL rules included, by the API server's own code.
"""

import os
import re

import pytest
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CRD = os.path.join(ROOT, "manifests", "crd", "trafficpolicies.shunt.io.yaml")
CASES = os.path.join(ROOT, "tests", "unit", "policy_cases.yaml")

TYPES = {"object": dict, "array": list, "string": str, "integer": int}
KNOWN = {"type", "description", "required", "properties", "items", "enum", "pattern", "format",
         "default", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
         "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}


def load(path):
    with open(path, encoding="utf-8") as f:
        return yaml.safe_load(f)


def bounds(schema, kind, value):
    """Lower and upper bound of a number or of a length."""
    return (value >= schema.get("min" + kind, value)) and (value <= schema.get("max" + kind, value))


def wrong(schema, value, path="spec"):
    """What is wrong with a value, as an API server finds it by the plain schema; None: nothing.
    Unknown fields are wrong, as with kubectl's strict validation."""
    kind = TYPES[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return f"{path}: not of type {schema['type']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{path}: not one of {schema['enum']}"
    if kind is str and not (bounds(schema, "Length", len(value))
                            and re.search(schema.get("pattern", ""), value)):
        return f"{path}: length or pattern"
    if kind is int and not bounds(schema, "imum", value):
        return f"{path}: not between its bounds"
    if kind is list and not bounds(schema, "Items", len(value)):
        return f"{path}: number of items"
    if kind is list:
        found = (wrong(schema["items"], v, f"{path}[{i}]") for i, v in enumerate(value))
        return next(filter(None, found), None)
    return wrong_members(schema, value, path) if kind is dict else None


def wrong_members(schema, value, path):
    missing = [key for key in schema.get("required", []) if key not in value]
    unknown = [key for key in value if key not in schema["properties"]]
    if missing or unknown:
        return f"{path}: missing {missing}, unknown {unknown}"
    found = (wrong(schema["properties"][k], v, f"{path}.{k}") for k, v in value.items())
    return next(filter(None, found), None)


def nodes(schema):
    yield schema
    for child in [*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])]:
        yield from nodes(child)


SPEC = load(CRD)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
TABLE = load(CASES)


@pytest.mark.parametrize("case", TABLE, ids=[case["is"].replace(" ", "_") for case in TABLE])
def test_the_plain_schema_agrees_with_the_decoder(case):
    spec = {"targetRefs": [{"kind": "Service", "name": "app"}], **case["spec"]}
    by_schema = "refused" in case and case.get("by", "schema") == "schema"
    found = wrong(SPEC, spec)
    assert (found is not None) == by_schema, found or "the schema takes it"


def test_the_schema_is_structural_and_bounded():
    for node in nodes(SPEC):
        assert set(node) <= KNOWN, node
        assert node.get("description") or node is not SPEC
        # Without bounds the API server cannot tell what its rules cost, and refuses them.
        if node["type"] == "string" and "enum" not in node:
            assert "maxLength" in node, node
        if node["type"] == "array":
            assert "maxItems" in node, node
        for rule in node.get("x-kubernetes-validations", []):
            assert rule["rule"] and rule["message"]


def test_what_only_rules_refuse_has_a_rule():
    """As many rules as there are kinds of cases that nothing else of the schema refuses."""
    rules = [rule["message"] for node in nodes(SPEC)
             for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) >= 20
    assert sum(case.get("by") == "rule" for case in TABLE) >= 14
