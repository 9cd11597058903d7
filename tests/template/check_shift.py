"""Checks of how requests move to a new version of `ingest`."""

from collections.abc import Iterator

from registry import check, in_each_deployment
from templates import Deployment, Json, Stack, Templates


@in_each_deployment
def a_new_version_of_ingest_is_tried_first(deployment: Deployment) -> Iterator[str]:
    """CodeDeploy moves the alias, and goes back: all at once, or 10 % for ten minutes while two alarms watch. An alarm on 5xx
    needs three minutes, so that five would hardly do.
    """
    main = deployment.main
    [(version, about)] = ((name, r) for name, r in main.resources.items() if r["Type"] == "AWS::Lambda::Version")
    if (about["Properties"]["FunctionName"], about["DeletionPolicy"]) != ("Ingest", "Retain"):
        yield f"the version is {about}"
    [alias] = (r for r in main.resources.values() if r["Type"] == "AWS::Lambda::Alias")
    if alias["Properties"] != {"Name": "live", "FunctionName": "Ingest", "FunctionVersion": f"{version}.Version"}:
        yield f"the alias is {alias['Properties']}"
    moved = {"CodeDeployLambdaAliasUpdate": {"ApplicationName": "ServerlessDeploymentApplication", "DeploymentGroupName": "IngestDeploymentGroup"}}
    if alias.get("UpdatePolicy") != moved:
        yield f"the alias is moved by {alias.get('UpdatePolicy')}"
    gradual = main.values["Gradual"] == "true"
    names = ["hb-dev-ingest-version-errors", "hb-dev-gateway-5xx"] if gradual else []
    wanted: Json = {
        "ApplicationName": "ServerlessDeploymentApplication", "ServiceRoleArn": "ShiftRole.Arn",
        "DeploymentConfigName": f"CodeDeployDefault.Lambda{'Canary10Percent10Minutes' if gradual else 'AllAtOnce'}",
        "DeploymentStyle": {"DeploymentType": "BLUE_GREEN", "DeploymentOption": "WITH_TRAFFIC_CONTROL"},
        "AutoRollbackConfiguration": {"Enabled": True, "Events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]},
        "AlarmConfiguration": {},
    }  # fmt: skip
    alarms = {alarm["AlarmName"]: alarm for alarm in main.of_type("AWS::CloudWatch::Alarm").values()}
    if gradual:
        # The group cannot refer to the alarm of the gateway, which needs the alias.
        named = {"IngestVersionErrors": alarms["hb-dev-ingest-version-errors"]["AlarmName"]}
        wanted["AlarmConfiguration"] = {"Enabled": True, "Alarms": [{"Name": name} for name in [*named, names[1]]]}
        by = {d["Name"]: d["Value"] for d in alarms[names[0]]["Dimensions"]}
        if by != {"FunctionName": "Ingest", "Resource": "Ingest:live", "ExecutedVersion": f"{version}.Version"}:
            yield f"it watches {by}"
    [group] = main.of_type("AWS::CodeDeploy::DeploymentGroup").values()
    if group != wanted:
        yield f"requests move as {group}, not {wanted}"
    if missing := set(names) - set(alarms):
        yield f"{missing} do not exist"
    [application] = main.of_type("AWS::CodeDeploy::Application").values()
    if application != {"ComputePlatform": "Lambda"}:
        yield f"the application is {application}"


def other(about: Json) -> str:
    """Another value of a parameter than its default."""
    return next((str(value) for value in about.get("AllowedValues", []) if value != about["Default"]), f"{about['Default']}1")


@check
def a_change_of_ingest_is_a_new_version(templates: Templates) -> Iterator[str]:
    """A version is made when its id or its description changes. SAM makes the id from the text of the template, so that the
    description must have each parameter that changes the function.
    """
    [version] = (name for name, r in templates.expanded["Resources"].items() if r["Type"] == "AWS::Lambda::Version")
    # These are no part of a version.
    beside = {"ReservedConcurrentExecutions", "Tags", "FunctionName"}

    def of(values: dict[str, Json]) -> tuple[Json, str]:
        stack = Stack.of(templates.expanded, values)
        function = stack.resources["Ingest"]["Properties"]
        return {name: value for name, value in function.items() if name not in beside}, stack.resources[version]["Properties"]["Description"]

    before, described = of({})
    for name, about in templates.expanded["Parameters"].items():
        after, description = of({name: other(about)})
        # Another stage is another function.
        if name != "Stage" and after != before and description == described:
            yield f"another {name} makes no new version"
    ingest = templates.raw["template.yaml"]["Resources"]["Ingest"]["Properties"]
    if ingest.get("AutoPublishAliasAllProperties") is not True:
        yield "a change of the template makes no new version"
