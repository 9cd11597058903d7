"""AWS on this machine: ministack, with what it lacks of the services that the templates use.

Each gap has one function here, and each function says what AWS does. Started by `account.py`, with the Python of
`.ci/requirements-emulator.txt`; the version is pinned there, since this reaches into its modules.

`HB_CUT` names a file: while it exists, writes to tables that replicate later (all but the ledger) stay in their region.
"""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ministack.app as app
import ministack.services.apigateway as gateway
import ministack.services.cloudformation.changesets as changesets
import ministack.services.cloudformation.handlers as requests
import ministack.services.cloudformation.provisioners as cloudformation
import ministack.services.cloudformation.stacks as engine
import ministack.services.cloudwatch as cloudwatch
import ministack.services.dynamodb as dynamodb
import ministack.services.eventbridge as eventbridge
import ministack.services.iam as roles
import ministack.services.lambda_svc as functions
import ministack.services.scheduler as scheduler
import ministack.services.sns as sns
import ministack.services.sqs as sqs
from ministack.core import iam_actions
from ministack.core import iam_evaluator as iam
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services.cloudformation import _stacks as stacks

import service_role
from service_role import allows as may

Json = Any
HANDLERS: dict[str, dict[str, Callable[..., Json]]] = cloudformation._RESOURCE_HANDLERS


def replaces(module: Any, name: str) -> Callable[[Callable[..., Json]], Callable[..., Json]]:
    """The function takes the place of `module.name`, which it gets as its first argument."""
    before = getattr(module, name)

    def put(function: Callable[..., Json]) -> Callable[..., Json]:
        setattr(module, name, lambda *given, **named: function(before, *given, **named))
        return function

    return put


def replaces_handler(kind: str, step: str) -> Callable[[Callable[..., Json]], Callable[..., Json]]:
    """The function does this step for resources of a kind; its first argument is the emulator's own one."""

    def put(function: Callable[..., Json]) -> Callable[..., Json]:
        HANDLERS[kind][step] = partial(function, HANDLERS[kind][step])
        return function

    return put


# ---- CloudFormation.


@replaces(cloudformation, "_physical_name")
def name(before: Callable[..., str], stack: str, resource: str, **named: Json) -> str:
    """Generated names of two regions differ: roles are of the whole account."""
    return before(f"{stack}-{get_region()}", resource, **named)


@replaces(changesets, "_resolve_props_for_diff")
def resolved(before: Callable[..., Json], template: Json, parameters: Json, *stack: str) -> Json:
    """A resource whose condition became false, or true, is a change."""
    known = before(template, parameters, *stack)
    holds = changesets._evaluate_conditions(template, parameters) if template else {}
    there = known.get("Resources", {}).items()
    return known | {"Resources": {name: about for name, about in there if holds.get(about.get("Condition"), True)}}


def composite_alarm(resource: str, properties: Json, stack: str) -> Json:
    status, _, body = cloudwatch._put_composite_alarm({}, properties, False, is_json=True)
    if status >= 400:
        raise ValueError(body)
    return properties["AlarmName"], {}


def delete_composite_alarm(physical: str, properties: Json) -> None:
    cloudwatch._composite_alarms.pop(physical, None)


# Nothing checks, counts or moves: an alias leads to a new version at once, whatever the alarms say.
for nothing in ("Route53::HealthCheck", "Budgets::Budget", "CodeDeploy::Application", "CodeDeploy::DeploymentGroup"):
    HANDLERS[f"AWS::{nothing}"] = {
        "create": lambda resource, properties, stack: (f"{stack}-{resource}", {}), "delete": lambda physical, properties: None,
    }  # fmt: skip
HANDLERS["AWS::IAM::OIDCProvider"] = {
    "create": lambda resource, properties, stack: (f"arn:aws:iam::{get_account_id()}:oidc-provider/{properties['Url'].split('//')[1]}", {}),
    "delete": lambda physical, properties: None,
}
HANDLERS["AWS::CloudWatch::CompositeAlarm"] = {
    "create": composite_alarm,
    "update": lambda physical, old, new, stack: composite_alarm("", new, stack),
    "delete": delete_composite_alarm,
}


def after(kind: str) -> Callable[[Callable[[str, Json], None]], Callable[[str, Json], None]]:
    """The function gets the id and the properties of each resource of a kind that was created or updated."""

    def put(function: Callable[[str, Json], None]) -> Callable[[str, Json], None]:
        for step in ("create", "update"):
            HANDLERS[kind][step] = then(HANDLERS[kind][step], function)
        return function

    return put


def then(before: Callable[..., Json], function: Callable[[str, Json], None]) -> Callable[..., Json]:
    def step(*given: Json, **named: Json) -> Json:
        result = before(*given, **named)
        # (resource, properties, stack), or (id, old properties, new properties, stack).
        function(result[0], next(one for one in reversed(given) if isinstance(one, dict)))
        return result

    return step


@after("AWS::ApiGatewayV2::Api")
def routes(api: str, properties: Json) -> None:
    """The `Body` of an HTTP API makes its routes and their integrations."""
    gateway._routes[api], gateway._integrations[api] = {}, {}
    for path, methods in properties["Body"]["paths"].items():
        for method, operation in methods.items():
            about = operation["x-amazon-apigateway-integration"]
            integration = {
                "integrationType": "AWS_PROXY", "integrationUri": about["uri"], "payloadFormatVersion": about["payloadFormatVersion"],
            }  # fmt: skip
            made = json.loads(gateway._create_integration(api, integration)[2])["integrationId"]
            key = path if path == "$default" else f"{method.upper()} {path}"
            gateway._create_route(api, {"routeKey": key, "target": f"integrations/{made}"})


@after("AWS::SNS::Subscription")
def address(subscription: str, properties: Json) -> None:
    if properties["Protocol"] == "email" and "@" not in properties["Endpoint"]:
        raise ValueError(f"Invalid parameter: Email address: {properties['Endpoint']}")


@after("AWS::SNS::Topic")
def encrypted(topic: str, properties: Json) -> None:
    sns._topics[topic]["attributes"]["KmsMasterKeyId"] = properties["KmsMasterKeyId"]


@after("AWS::IAM::Role")
def bounded(role: str, properties: Json) -> None:
    roles._roles[role]["PermissionsBoundary"] = properties.get("PermissionsBoundary")


@after("AWS::DynamoDB::Table")
def protected(table: str, properties: Json) -> None:
    """A value of a parameter is text; the property is true or false."""
    dynamodb._tables[table]["DeletionProtectionEnabled"] = properties["DeletionProtectionEnabled"] == "true"


@after("AWS::DynamoDB::GlobalTable")
def replicas(name: str, properties: Json) -> None:
    """A global table has the replicas that the template names, protected as it says."""
    table, wanted = dynamodb._tables[name], {one["Region"]: one for one in properties["Replicas"]}
    there = set(dynamodb._replica_group(table)) or {get_region()}
    changes = [{"Create": {"RegionName": region}} for region in wanted if region not in there]
    changes += [{"Delete": {"RegionName": region}} for region in there if region not in wanted]
    if refused := dynamodb._apply_replica_updates(name, table, changes):
        raise ValueError(refused)
    for region, replica in wanted.items():
        copy = dynamodb._tables.get_scoped(get_account_id(), region, name)
        copy["DeletionProtectionEnabled"] = replica["DeletionProtectionEnabled"] == "true"


@replaces_handler("AWS::DynamoDB::Table", "delete")
@replaces_handler("AWS::DynamoDB::GlobalTable", "delete")
def delete(before: Callable[..., None], table: str, properties: Json) -> None:
    if dynamodb._tables.get(table, {}).get("DeletionProtectionEnabled"):
        raise ValueError(f"Resource cannot be deleted as it is currently protected against deletion: {table}")
    before(table, properties)


HANDLERS["AWS::DynamoDB::GlobalTable"]["import"] = cloudformation._ddb_import
changesets._IMPORT_LOOKUPS["AWS::DynamoDB::GlobalTable"] = changesets._IMPORT_LOOKUPS["AWS::DynamoDB::Table"]


@replaces_handler("AWS::CloudFormation::Stack", "delete")
def nested(before: Callable[..., None], physical: str, properties: Json) -> None:
    """What a nested stack retains stays with it, unless its creation is rolled back."""
    child = stacks[cloudformation._nested_stack_lookup_name(physical)]
    if not any(stack["StackStatus"] == "ROLLBACK_IN_PROGRESS" for stack in stacks.values()):
        about = child["_template"]["Resources"]
        child["_resources"] = {name: made for name, made in child["_resources"].items() if "DeletionPolicy" not in about[name]}
    before(physical, properties)


requests._ACTION_HANDLERS["CreateChangeSet"] = partial(service_role.create, requests._ACTION_HANDLERS["CreateChangeSet"])
replaces(engine, "_provision_resource")(service_role.provision)
replaces(engine, "_update_resource")(service_role.update)
replaces(engine, "_delete_resource")(service_role.delete)


# ---- DynamoDB.

CUT = Path(os.environ["HB_CUT"])
waiting: list[tuple[str, str, tuple[Json, ...]]] = []
"""Account, region and arguments of each write that the other region does not have yet."""
one_by_one = threading.Lock()


@replaces(dynamodb, "_replicate_write")
def replicate(before: Callable[..., None], table: Json, *change: Json) -> None:
    if not dynamodb._replica_group(table):
        return
    if table["TableName"].endswith("-ledger"):
        before(table, *change)
        return
    with one_by_one:
        waiting.append((get_account_id(), get_region(), (table, *change)))
        while waiting and not CUT.exists():
            account, region, late = waiting.pop(0)
            with request_scope(account, region):
                before(*late)


# ---- The services that act under a role or a key.


@replaces(app, "pin_request_origin")
def origin(before: Callable[..., None], address: str, secure: bool) -> None:
    """All requests come over TLS: the bucket of `sam` refuses others."""
    before(address, True)



@replaces(iam_actions, "extract_iam_action")
def action(before: Callable[..., str | None], service: str, *request: Json) -> str | None:
    """A batch needs the permission of the single call (Service authorization reference, SQS and SNS)."""
    found = before(service, *request)
    return found.removesuffix("Batch") if found and service in ("sqs", "sns") else found


@replaces(iam_actions, "extract_resource_arn")
def resource(before: Callable[..., str], service: str, method: str, path: str, headers: Json, body: bytes, query: Json, *where: str) -> str:
    """The resource of a request about a subscription is its topic (Service authorization reference, SNS)."""
    subscription = query.get("SubscriptionArn")
    return subscription[0].rsplit(":", 1)[0] if subscription else before(service, method, path, headers, body, query, *where)


@replaces(iam_actions, "dynamodb_service_context")
def context(before: Callable[..., Json], body: bytes) -> Json:
    """A condition sees every attribute that a request names, and the partition key of what it reads or writes (DynamoDB
    developer guide, "Using IAM policy conditions for fine-grained access control").
    """
    request, known = json.loads(body), before(body)
    item = request.get("Key") or request.get("Item") or {}
    names = {*item, *request.get("ExpressionAttributeNames", {}).values()}
    table = dynamodb._tables.get(request.get("TableName"), {})
    keys = [value for name, key in item.items() if name == table.get("pk_name") for value in key.values()]
    return known | {"dynamodb:Attributes": sorted(names) or None, "dynamodb:LeadingKeys": keys or None}


@replaces(functions, "_route_async_failure")
def failed(before: Callable[..., None], queue: str, name: str, event: Json, result: Json) -> None:
    """Lambda sends what failed under the role of the function."""
    if may(functions._functions[name]["config"]["Role"], "sqs:SendMessage", queue):
        before(queue, name, event, result)


@replaces(functions, "_reserved_concurrency")
def reserved(before: Callable[..., int | None], function: Json, config: Json) -> int | None:
    """Versions and aliases share the reserved concurrency of their function (Lambda developer guide, "Reserved concurrency")."""
    return before(functions._functions.get(config["FunctionName"], function), config)


scheduler._SCHEDULE_TICK_INTERVAL = 1


@replaces(eventbridge, "_invoke_target")
def start(before: Callable[..., None], target: Json, event: Json, rule: Json, *more: Json) -> None:
    """The scheduler starts its target under the role of the schedule, and tells its queue under the same when it may not."""
    role, queue = target["RoleArn"], target.get("DeadLetterConfig", {}).get("Arn")
    if may(role, "lambda:InvokeFunction", target["Arn"]):
        before(target, event, rule, *more)
    elif queue and may(role, "sqs:SendMessage", queue):
        letter = f"{role} is not authorized to perform: lambda:InvokeFunction"
        sqs._act_send_message({"MessageBody": letter}, sqs._queue_by_arn(queue)["url"])


@replaces(sns, "_get_topic")
def topic(before: Callable[..., Json], arn: str, action: str | None = None) -> Json:
    """Who publishes to an encrypted topic must be allowed to use its key (SNS developer guide, "Key management")."""
    found, refused = before(arn, action)
    key, caller = (found or {}).get("attributes", {}).get("KmsMasterKeyId"), iam.caller_arn()
    if action == "sns:Publish" and key and ":assumed-role/" in caller:
        arn = f"arn:aws:kms:{get_region()}:{get_account_id()}:key/{key}"
        for needed in ("kms:GenerateDataKey", "kms:Decrypt"):
            if not may("/" + caller.split("/")[1], needed, arn, kms_ViaService=f"sns.{get_region()}.amazonaws.com"):
                text = f"User: {caller} is not authorized to perform: {needed} on resource: {arn}"
                return None, sns._error("KMSAccessDenied", text, 400)
    return found, refused


@replaces(functions, "_emit_lambda_logs")
def log(before: Callable[..., None], function: Json, request: str, text: str, *more: Json, **named: Json) -> None:
    """Lambda writes the log under the role of the function, and its metrics are read out of the log (CloudWatch user
    guide, "Embedding metrics within logs").
    """
    group = function["config"].get("LoggingConfig", {}).get("LogGroup", "")
    arn = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}:log-stream:new"
    if not all(may(function["config"]["Role"], f"logs:{action}", arn) for action in ("CreateLogStream", "PutLogEvents")):
        return
    before(function, request, text, *more, **named)
    for line in text.splitlines():
        if '"CloudWatchMetrics"' in line:
            metrics(json.loads(line))
    cloudwatch._evaluate_all_alarms()


def metrics(line: Json) -> None:
    for group in line["_aws"]["CloudWatchMetrics"]:
        for names in group["Dimensions"]:
            dimensions = {name: line[name] for name in names}
            for metric in group["Metrics"]:
                value = line[metric["Name"]]
                for one in value if isinstance(value, list) else [value]:
                    cloudwatch.record_metric(group["Namespace"], metric["Name"], one, metric.get("Unit", "None"), dimensions)


@replaces(functions, "_provided_worker_env")
def environment(before: Callable[..., dict[str, str]], *given: Json) -> dict[str, str]:
    """Only the emulator answers under the addresses of the APIs, without TLS."""
    return {name: local(value) for name, value in before(*given).items()}


def local(text: str) -> str:
    address = os.environ["AWS_ENDPOINT_URL"]
    return re.sub(r"https://(\w+)\.execute-api\.[\w-]+\.amazonaws\.com", rf"{address}/_aws/execute-api/\1/$default", text)


def end_with(parent: int) -> None:
    """Nothing stays behind when the tests are killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=[os.getppid()], daemon=True).start()
    app.main()
