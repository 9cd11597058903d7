"""The templates as CloudFormation would see them: SAM expanded, parameters and conditions put in.

An attribute that only AWS knows remains a token, `Sweep.Arn` or `Notices` for a `Ref`, so that checks can compare it.
"""

import copy
import json
import logging
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT, REGION = "123456789012", "eu-west-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "heartbeat",
    "AWS::URLSuffix": "amazonaws.com",
}

# It warns that no one collects its own metrics.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)

Json = Any
"""A node of a template: dict, list, string or number."""

NOTHING = object()
"""The value of AWS::NoValue."""


@dataclass(frozen=True)
class Texts:
    """The files of the deployment as text, so that a mutation can change them."""

    files: dict[str, str]

    @staticmethod
    def read() -> "Texts":
        names = ["template.yaml", "data.yaml", "edge.yaml", "deploy-role.yaml", "samconfig.toml", "crates/lambda/Cargo.toml", "crates/lambda/Makefile"]
        return Texts({name: (ROOT / name).read_text() for name in names})

    def replaced(self, file: str, old: str, new: str) -> "Texts":
        """A copy with the first `old` of a file replaced; an error if there is none."""
        if old not in self.files[file]:
            raise LookupError(f"{file} has no {old!r}")
        return Texts({**self.files, file: self.files[file].replace(old, new, 1)})


@dataclass
class Scenario:
    """A deployment: values of parameters, by template."""

    name: str
    template: dict[str, Json] = field(default_factory=dict)
    data: dict[str, Json] = field(default_factory=dict)
    edge: dict[str, Json] = field(default_factory=lambda: {"OpsEmail": "ops@example.com", "AWS::Region": "us-east-1"})


KEY = "hbk_" + "a" * 10 + "_" + "a" * 59
SCENARIOS = [
    Scenario("one region, defaults"),
    Scenario(
        "two regions, own name, everything on",
        {
            "Data": "apart", "OtherRegion": "eu-central-1", "CanaryKey": KEY, "DomainName": "heartbeat.example.com",
            "HostedZoneId": "Z1", "IngestConcurrency": 100, "SweepConcurrency": 2, "OpsEmail": "ops@example.com",
            "Segments": 4, "Concurrency": 50, "RateLimit": 5, "MonthlyBudget": 100, "Gradual": "true", "Boundary": "true",
        },
        {"SecondRegion": "eu-central-1", "WitnessRegion": "eu-west-3"},
        {"OpsEmail": "ops@example.com", "EdgeName": "beats.example.com", "HostedZoneId": "Z1", "OriginName": "o.example.com",
         "FirstHealthCheck": "check-1", "SecondHealthCheck": "check-2", "AWS::Region": "us-east-1"},
    ),
    Scenario(
        "client certificates",
        {"DomainName": "heartbeat.example.com", "HostedZoneId": "Z1", "TruststoreUri": "s3://bucket/ca.pem",
         "TruststoreVersion": "v1", "CanaryKey": KEY},
    ),
    Scenario("one region, canaries", {"CanaryKey": KEY, "OpsEmail": "ops@example.com", "LogLevel": "off"}),
    Scenario(
        "two regions, client certificates",
        {"Data": "apart", "OtherRegion": "eu-central-1", "DomainName": "heartbeat.example.com", "HostedZoneId": "Z1",
         "TruststoreUri": "s3://bucket/ca.pem"},
        {"SecondRegion": "eu-central-1", "WitnessRegion": "eu-west-3"},
    ),
]  # fmt: skip


def parse(text: str) -> Json:
    """A template with short forms (`!Sub`) expanded to long ones."""
    return json.loads(json.dumps(yaml_parse(text)))


def expand(template: Json) -> Json:
    """The output of SAM for a template, without calls to AWS."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    # Where `sam deploy` would upload the code and the nested template.
    local = copy.deepcopy(template)
    for resource in local["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/code"
        if resource["Type"] == "AWS::Serverless::Application":
            resource["Properties"]["Location"] = "https://bucket.s3.amazonaws.com/data.yaml"
    local.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    translator = Translator({}, Parser())
    expanded = translator.translate(sam_template=local, parameter_values={})
    return json.loads(json.dumps(expanded))


class Resolver:
    """Resolves parameters, pseudo-parameters and conditions of a template."""

    def __init__(self, template: Json, values: dict[str, Json]):
        unknown = set(values) - set(template["Parameters"]) - set(PSEUDO)
        if unknown:
            raise LookupError(f"unknown parameters: {sorted(unknown)}")
        defaults = {name: about.get("Default") for name, about in template["Parameters"].items()}
        self.values = {**PSEUDO, **defaults, **values}
        self.template = template

    def holds(self, condition: str) -> bool:
        return bool(self.value(self.template["Conditions"][condition]))

    def value(self, node: Json) -> Json:
        if isinstance(node, list):
            return [v for v in map(self.value, node) if v is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if name in ("Ref", "Condition") and isinstance(argument, str):
                return self.ref(argument) if name == "Ref" else self.holds(argument)
            if name.startswith("Fn::"):
                return self.function(name, argument)
        resolved = ((key, self.value(child)) for key, child in node.items())
        return {key: child for key, child in resolved if child is not NOTHING}

    def ref(self, name: str) -> Json:
        if name == "AWS::NoValue":
            return NOTHING
        if name.split(".")[0] in self.template["Resources"]:
            return name
        return self.values[name]

    def function(self, name: str, argument: Json) -> Json:
        match name:
            case "Fn::If":
                # Both, so that a mistake shows in each.
                then, otherwise = (NOTHING if branch == {"Ref": "AWS::NoValue"} else self.value(branch) for branch in argument[1:])
                # SAM writes nothing else for a deployment without alarms.
                if {} in (then, otherwise) and "Alarms" not in then:
                    raise LookupError(f"{argument} has an empty value")
                return then if self.holds(argument[0]) else otherwise
            case "Fn::Equals":
                return str(self.value(argument[0])) == str(self.value(argument[1]))
            case "Fn::Not":
                return not self.value(argument[0])
            case "Fn::And":
                return all(map(self.value, argument))
            case "Fn::GetAtt":
                return self.ref(argument if isinstance(argument, str) else ".".join(argument))
            case "Fn::Join":
                return argument[0].join(map(str, self.value(argument[1])))
            case "Fn::FindInMap":
                first, *rest = map(self.value, argument)
                found = self.template["Mappings"][first]
                for key in rest:
                    found = found[str(key)]
                return found
            case "Fn::Sub":
                return self.sub(argument)
        raise NotImplementedError(f"{name}: not supported by Resolver.function")

    def sub(self, argument: Json) -> str:
        text, own = argument if isinstance(argument, list) else (argument, {})
        own = {name: self.value(value) for name, value in own.items()}

        def put(match: re.Match[str]) -> str:
            name = match.group(1)
            return str(own[name] if name in own else self.ref(name))

        return re.sub(r"\$\{([^!}][^}]*)\}", put, text)


@dataclass
class Stack:
    """One template, deployed with certain values."""

    resources: dict[str, Json]
    outputs: dict[str, Json]
    values: dict[str, Json]

    @staticmethod
    def of(template: Json, values: dict[str, Json]) -> "Stack":
        resolver = Resolver(template, values)

        def made(part: dict[str, Json]) -> dict[str, Json]:
            there = {n: r for n, r in part.items() if "Condition" not in r or resolver.holds(r["Condition"])}
            return {n: resolver.value({k: v for k, v in r.items() if k != "Condition"}) for n, r in there.items()}

        return Stack(made(template["Resources"]), made(template.get("Outputs", {})), resolver.values)

    def of_type(self, kind: str) -> dict[str, Json]:
        """The properties of all resources of a type, by logical id."""
        found = self.resources.items()
        return {name: r.get("Properties", {}) for name, r in found if r["Type"] == kind}


@dataclass
class Deployment:
    """All stacks of one scenario."""

    scenario: Scenario
    main: Stack
    data: Stack
    edge: Stack

    @staticmethod
    def of(scenario: Scenario, template: Json, raw: dict[str, Json]) -> "Deployment":
        """`template` is the output of SAM."""
        return Deployment(
            scenario, Stack.of(template, scenario.template), Stack.of(raw["data.yaml"], scenario.data),
            Stack.of(raw["edge.yaml"], scenario.edge),
        )  # fmt: skip

    def tables(self) -> dict[str, Json]:
        """The properties of all tables, by logical id."""
        return {
            **self.data.of_type("AWS::DynamoDB::GlobalTable"),
            **self.main.of_type("AWS::DynamoDB::Table"),
        }


@dataclass
class Templates:
    """The input of the checks."""

    texts: Texts
    raw: dict[str, Json]
    expanded: Json
    deployments: list[Deployment]

    @staticmethod
    def of(texts: Texts) -> "Templates":
        raw = {name: parse(text) for name, text in texts.files.items() if name.endswith(".yaml")}
        raw["samconfig.toml"] = tomllib.loads(texts.files["samconfig.toml"])
        expanded = expand(raw["template.yaml"])
        return Templates(texts, raw, expanded, [Deployment.of(s, expanded, raw) for s in SCENARIOS])


if __name__ == "__main__":
    # For the linters.
    print(json.dumps(expand(parse(Texts.read().files["template.yaml"])), indent=1))
