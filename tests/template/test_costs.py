"""`hb cost` counts what the templates have, at the prices of one file; so does the page."""

import json
import re

import pytest

from facts import FACTS
from templates import ROOT, Deployment, Json, Stack, Templates, Texts

DATA = json.loads((ROOT / "crates/cli/src/command/cost/prices.json").read_text())
COUNTS, BYTES = DATA["counts"], DATA["bytes"]
PAGE = " ".join((ROOT / "docs/costs.md").read_text().split())

BILLED = {
    "AWS::ApiGatewayV2::Api": "requests",
    "AWS::CloudFront::Distribution": "cdnRequests",
    "AWS::CloudWatch::Alarm": "alarms",
    "AWS::CloudWatch::CompositeAlarm": "composites",
    "AWS::CloudWatch::Dashboard": "dashboards",
    "AWS::DynamoDB::GlobalTable": "writes",
    "AWS::DynamoDB::Table": "writes",
    "AWS::KMS::Key": "keys",
    "AWS::Lambda::Function": "starts",
    "AWS::Logs::LogGroup": "logged",
    "AWS::Route53::HealthCheck": "checks",
    "AWS::SNS::Subscription": "emails",
    "AWS::SNS::Topic": "publishes",
    "AWS::SQS::Queue": "queue",
    "AWS::Scheduler::Schedule": "schedules",
    "AWS::WAFv2::WebACL": "acls",
}
"""The price of each kind of resource, or one of its prices."""
FREE = {
    "AWS::ApiGatewayV2::ApiMapping", "AWS::ApiGatewayV2::DomainName", "AWS::ApiGatewayV2::Stage", "AWS::Budgets::Budget",
    "AWS::CertificateManager::Certificate", "AWS::CloudFormation::Stack", "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup", "AWS::IAM::Role", "AWS::Lambda::Alias", "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission", "AWS::Lambda::Version", "AWS::Route53::RecordSet", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy",
}  # fmt: skip


def dollars(name: str) -> float:
    return DATA["prices"][name]["dollars"]


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates.of(Texts.read())


def edge(templates: Templates, **values: str) -> Stack:
    given = {"OpsEmail": "ops@example.com", "HostedZoneId": "Z1", "OriginName": "heartbeat.example.com", **values}
    return Stack.of(templates.raw["edge.yaml"], given)


def test_each_kind_of_resource_has_a_price_or_is_free(templates: Templates) -> None:
    resources = [r for t in (templates.expanded, templates.raw["data.yaml"], templates.raw["edge.yaml"]) for r in t["Resources"].values()]
    kinds = {resource["Type"] for resource in resources}
    assert kinds <= set(BILLED) | FREE, kinds - set(BILLED) - FREE
    assert set(BILLED.values()) <= set(DATA["prices"])


def count(deployment: Deployment, kind: str) -> int:
    return len(deployment.main.of_type(f"AWS::{kind}"))


def test_stages_have_as_many_things_as_hb_cost_counts(templates: Templates) -> None:
    seen = set()
    for deployment in templates.deployments:
        canaries = count(deployment, "Scheduler::Schedule") > 1
        both = canaries and bool(deployment.main.values["OtherRegion"])
        seen.add((canaries, both))
        alarms = COUNTS["alarms"] - (not canaries) * COUNTS["canaryAlarms"] - (not both) * COUNTS["otherRegionAlarms"]
        # That of a new version, which `hb cost` does not count.
        alarms += deployment.main.values["Gradual"] == "true"
        assert count(deployment, "CloudWatch::Alarm") == alarms, deployment.scenario.name
        composites = COUNTS["composites"] - (not canaries) * COUNTS["canaryComposites"]
        assert count(deployment, "CloudWatch::CompositeAlarm") == composites, deployment.scenario.name
        assert count(deployment, "CloudWatch::Dashboard") == COUNTS["dashboards"]
        assert count(deployment, "KMS::Key") == COUNTS["keys"]
        memory = {function["MemorySize"] for function in deployment.main.of_type("AWS::Lambda::Function").values()}
        assert memory == {COUNTS["memoryMb"]}
        assert deployment.main.values["LogDays"] == COUNTS["logDays"]
        for check in deployment.main.of_type("AWS::Route53::HealthCheck").values():
            config = check["HealthCheckConfig"]
            assert config["RequestInterval"] == COUNTS["checkSeconds"]
            assert len(config["Regions"]) == COUNTS["checkingRegions"]
    assert seen >= {(False, False), (True, True)}, "the scenarios do not show both"


def test_metrics_are_those_of_the_code() -> None:
    metrics = FACTS["metrics"].values()
    assert len(metrics) == COUNTS["metrics"]
    # Per reason: only refused beats.
    assert sum(len(metric["dimensions"]) - 1 for metric in metrics) == 1
    assert f"{COUNTS['metrics'] + COUNTS['reasons']} metrics, up to {COUNTS['alarms']} alarms" in PAGE


def test_the_edge_has_as_many_things_as_hb_cost_counts(templates: Templates) -> None:
    checked = edge(templates, FirstHealthCheck="1", SecondHealthCheck="2")
    full = edge(templates, FirstHealthCheck="1", SecondHealthCheck="2", EdgeName="beats.example.com")
    assert len(checked.of_type("AWS::CloudWatch::Alarm")) == 2, "one for each region"
    assert len(full.of_type("AWS::CloudWatch::Alarm")) == 2 + COUNTS["edgeAlarms"]
    assert len(checked.of_type("AWS::KMS::Key")) == len(full.of_type("AWS::KMS::Key")) == COUNTS["edgeKeys"]
    [acl] = full.of_type("AWS::WAFv2::WebACL").values()
    assert len(acl["Rules"]) == COUNTS["edgeRules"]


def test_the_dashboard_calculates_with_the_same_prices(templates: Templates) -> None:
    [dashboard] = templates.deployments[0].main.of_type("AWS::CloudWatch::Dashboard").values()
    [factors] = re.findall(r"24 \* \(r \* ([\d.]+) \+ w \* ([\d.]+) \+ q \* ([\d.]+)\) / 1000000", str(dashboard["DashboardBody"]))
    assert tuple(map(float, factors)) == (dollars("reads"), dollars("writes"), dollars("requests") + dollars("starts"))


def test_lines_of_the_gateways_log_are_as_long_as_hb_cost_takes_them_for(templates: Templates) -> None:
    [api] = templates.deployments[0].main.of_type("AWS::ApiGatewayV2::Stage").values()
    line: Json = api["AccessLogSettings"]["Format"]
    sample = {
        "requestTime": "27/Nov/2026:01:27:36 +0000", "identity.sourceIp": "203.0.113.110", "httpMethod": "POST", "status": "200",
        "responseLength": "16", "responseLatency": "12", "integrationLatency": "10", "error.responseType": "-",
        "requestId": "JKJaXmPLvHcESHA=", "path": "/v1/heartbeat/web-01.prod1",
    }  # fmt: skip
    for name, value in sample.items():
        assert f"$context.{name}\"" in line
        line = line.replace(f"$context.{name}\"", f'{value}"')
    assert "$context" not in line
    assert abs(BYTES["gatewayLine"] / (len(line) + 1) - 1) < 0.05, len(line)


def test_the_cost_of_a_flood_is_that_of_its_parts() -> None:
    function = dollars("starts") + 5e-3 * COUNTS["memoryMb"] / 1024 * dollars("time")
    passed, read, line = dollars("requests") + function, dollars("reads"), 0.3 * dollars("logged")
    answer = (BYTES["answer"] + BYTES["handshake"]) / 1e3 * dollars("out")
    together = sum(round(part + 1e-9, 2) for part in (passed, read, line, answer))
    for row in (passed, read, line, answer, together):
        assert f"| {row + 1e-9:.2f} |" in PAGE, row
    assert f"need no read: {together - round(read + 1e-9, 2):.2f}." in PAGE
    assert f"a line in its log and an answer: {line + answer:.2f}." in PAGE
    [(rate, own, month, day)] = re.findall(r"of (\d+) and these (\d+) are at most ([\d,]+) dollars a month, (\d+) a day", PAGE)
    most = (int(rate) + int(own)) * 730 * 3600 / 1e6 * together
    assert int(month.replace(",", "")) == round(most, -1) and int(day) == round(most / 730 * 24)
    [(lines, answers)] = re.findall(r"(\d+) dollars a day, and up to (\d+) with a handshake each", PAGE)
    millions = 10_000 * 86_400 / 1e6
    assert int(lines) == round(millions * line, -1) and int(answers) == round(millions * answer)
