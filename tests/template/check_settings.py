"""Checks of parameters, rules and environments."""

import re
from collections.abc import Iterator

from facts import FACTS
from registry import check, in_each_deployment
from templates import REGION, SCENARIOS, Deployment, Json, Resolver, Templates


def broken_rules(template: Json, values: dict[str, Json]) -> set[str]:
    """The names of the rules that refuse these values."""
    resolver = Resolver(template, values)
    return {
        name for name, rule in template.get("Rules", {}).items()
        if resolver.value(rule.get("RuleCondition", True)) and not all(resolver.value(a["Assert"]) for a in rule["Assertions"])
    }  # fmt: skip


def refused(about: Json, value: str) -> bool:
    """Whether a parameter does not allow a value."""
    allowed, least, most = about.get("AllowedValues"), about.get("MinValue"), about.get("MaxValue")
    return (
        (allowed is not None and value not in map(str, allowed))
        or not re.fullmatch(about.get("AllowedPattern", ".*"), value)
        or (least is not None and float(value) < least)
        or (most is not None and float(value) > most)
    )


EDGE: dict[str, Json] = {"OpsEmail": "ops@example.com", "EdgeName": "beats.example.com", "AWS::Region": "us-east-1"}
REFUSED: list[tuple[str, dict[str, Json], str]] = [
    ("template.yaml", {"DomainName": "beats.example.com"}, "NameNeedsZone"),
    ("template.yaml", {"TruststoreUri": "s3://bucket/ca.pem"}, "CertificatesNeedName"),
    ("template.yaml", {"MonthlyBudget": 5}, "BudgetNeedsAddress"),
    ("template.yaml", {"OtherRegion": "eu-central-1"}, "TwoRegionsShareData"),
    ("template.yaml", {"OtherRegion": REGION, "Data": "apart"}, "TwoRegionsShareData"),
    ("data.yaml", {"SecondRegion": "eu-central-1"}, "WitnessWithSecondRegion"),
    ("data.yaml", {"SecondRegion": "eu-central-1", "WitnessRegion": "eu-central-1"}, "WitnessWithSecondRegion"),
    ("data.yaml", {"SecondRegion": REGION, "WitnessRegion": "eu-west-3"}, "WitnessWithSecondRegion"),
    ("data.yaml", {"SecondRegion": "eu-central-1", "WitnessRegion": REGION}, "WitnessWithSecondRegion"),
    ("edge.yaml", {"OpsEmail": "ops@example.com"}, "OnlyThere"),
    ("edge.yaml", EDGE | {"HostedZoneId": "Z1"}, "NameNeedsOrigin"),
    ("edge.yaml", EDGE | {"OriginName": "o.example.com"}, "NameNeedsOrigin"),
]
"""Values of parameters that a rule of a template refuses before anything is changed."""


@check
def rules_refuse_what_cannot_work(templates: Templates) -> Iterator[str]:
    """And nothing of what can."""
    for file, values, rule in REFUSED:
        broken = broken_rules(templates.raw[file], values)
        if broken != {rule}:
            yield f"{file} with {values}: refused by {broken}, not by {rule}"
    for scenario in SCENARIOS:
        for file, values in (("template.yaml", scenario.template), ("data.yaml", scenario.data), ("edge.yaml", scenario.edge)):
            if broken := broken_rules(templates.raw[file], values):
                yield f"{scenario.name}: {file} is refused by {broken}"


def given_by(environment: Json) -> dict[str, str]:
    """The parameters that an environment of samconfig.toml sets, and the region."""
    values = dict(pair.split("=", 1) for pair in environment["deploy"]["parameters"]["parameter_overrides"] if not pair.startswith("file://"))
    region = environment["global"]["parameters"].get("region")
    return values | ({"AWS::Region": region} if region else {})


def capabilities(template: Json) -> set[str]:
    """What must be acknowledged: roles, and templates within templates."""
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    roles, nested = "AWS::IAM::Role" in kinds, "AWS::Serverless::Application" in kinds
    named = any("RoleName" in resource.get("Properties", {}) for resource in template["Resources"].values())
    return ({"CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"} if roles else set()) | ({"CAPABILITY_AUTO_EXPAND"} if nested else set())


@check
def environments_set_existing_parameters(templates: Templates) -> Iterator[str]:
    """samconfig.toml sets parameters of the template that it deploys, to values that it and its rules allow, and
    acknowledges what it makes; the two regions name each other, and the data stack both.
    """
    config = templates.raw["samconfig.toml"]
    ends = {"default": "", "data": "-data", "region-1": "", "region-2": "", "edge": "-edge", "deploy-role": "-deploy-role"}
    if set(config) != {"version", *ends}:
        yield f"there are the environments {sorted(config)}"
    given = {environment: given_by(config[environment]) for environment in ends}
    for environment, values in given.items():
        deploy = config[environment]["deploy"]["parameters"]
        file = {"-data": "data.yaml", "-edge": "edge.yaml", "-deploy-role": "deploy-role.yaml"}.get(ends[environment], "template.yaml")
        template = templates.raw[file]
        built = file == "template.yaml"
        stack = f"heartbeat-{values['Stage']}{ends[environment]}"
        wanted = {
            "template_file": f".aws-sam/build/{file}" if built else file, "resolve_s3": True, "s3_prefix": stack,
            "confirm_changeset": environment != "default", "fail_on_empty_changeset": False,
        }  # fmt: skip
        if {name: deploy.get(name) for name in wanted} != wanted or config[environment]["global"]["parameters"].get("stack_name") != stack:
            yield f"{environment} is deployed by {deploy}, expected {wanted}"
        if ("file://.aws-sam/build/built.yaml" in deploy["parameter_overrides"]) != built:
            yield f"{environment} is told what was built: {not built}"
        if set(deploy.get("capabilities", [])) != capabilities(template):
            yield f"{environment} acknowledges {deploy.get('capabilities')}, the template needs {capabilities(template)}"
        for name, value in values.items():
            about = template["Parameters"].get(name)
            if name != "AWS::Region" and (about is None or refused(about, value)):
                yield f"{environment} sets {name} to {value}, which {file} does not allow"
        # Who deploys the edge adds the address.
        if broken := broken_rules(template, values):
            yield f"{environment} is refused by {broken}"
    data, first, second = given["data"], given["region-1"], given["region-2"]
    if (first["AWS::Region"], first["OtherRegion"]) != (data["AWS::Region"], data["SecondRegion"]):
        yield "region-1 and data do not name the same regions"
    if (second["AWS::Region"], second["OtherRegion"]) != (data["SecondRegion"], data["AWS::Region"]):
        yield "region-2 and data do not name the same regions"
    differing = {name for name, _ in first.items() ^ second.items()}
    if len({given[name]["Stage"] for name in given if name != "default"}) != 1 or differing != {"AWS::Region", "OtherRegion"}:
        yield f"the two regions differ in {sorted(differing)}"


@check
def stage_names_match_the_code(templates: Templates) -> Iterator[str]:
    """The templates accept the stages that the code accepts; that of the pipeline only those whose roles keep their names."""
    for name in ("template.yaml", "data.yaml", "edge.yaml", "deploy-role.yaml"):
        pattern = templates.raw[name]["Parameters"]["Stage"]["AllowedPattern"]
        if pattern != f"[a-z0-9-]{{1,{14 if name == 'deploy-role.yaml' else FACTS['stageChars']}}}":
            yield f"{name} accepts {pattern}"


@in_each_deployment
def a_budget_tells_its_address(deployment: Deployment) -> Iterator[str]:
    """At 80 and 100 % of what was spent, and at 100 % of the forecast."""
    values = deployment.main.values
    address = [{"SubscriptionType": "EMAIL", "Address": values["OpsEmail"]}]
    of = [("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
    wanted = {
        "Budget": {
            "BudgetName": f"hb-{values['Stage']}", "BudgetType": "COST", "TimeUnit": "MONTHLY",
            "BudgetLimit": {"Amount": values["MonthlyBudget"], "Unit": "USD"},
        },
        "NotificationsWithSubscribers": [
            {"Notification": {"NotificationType": kind, "ComparisonOperator": "GREATER_THAN", "Threshold": percent}, "Subscribers": address}
            for kind, percent in of
        ],
    }  # fmt: skip
    budgets = list(deployment.main.of_type("AWS::Budgets::Budget").values())
    if budgets != ([wanted] if values["MonthlyBudget"] else []):
        yield f"of {values['MonthlyBudget']} dollars: {budgets}"
