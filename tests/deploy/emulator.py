"""AWS on this machine: ministack, with what it lacks of the services that the templates use.

Each gap has one function here, and each function says what AWS does. Started by `account.py`, with the Python of
`.ci/requirements-emulator.txt`; the version is pinned there, since this reaches into its modules.

`HB_CUT` names a file: while it exists, writes to tables that replicate later (all but the ledger) stay in their region.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ministack.app as app
import ministack.services.apigateway as gateway
import ministack.services.cloudformation.provisioners as cloudformation
import ministack.services.cloudwatch as cloudwatch
import ministack.services.dynamodb as dynamodb
import ministack.services.eventbridge as eventbridge
import ministack.services.lambda_svc as functions
import ministack.services.scheduler as scheduler
import ministack.services.sns as sns
from ministack.core import iam_actions
from ministack.core import iam_evaluator as iam
from ministack.core.responses import get_account_id, get_region, request_scope

Json = Any
HANDLERS: dict[str, dict[str, Callable[..., Json]]] = cloudformation._RESOURCE_HANDLERS


def replaces(module: Any, name: str) -> Callable[[Callable[..., Json]], Callable[..., Json]]:
    """The function takes the place of `module.name`, which it gets as its first argument."""
    before = getattr(module, name)

    def put(function: Callable[..., Json]) -> Callable[..., Json]:
        setattr(module, name, lambda *given, **named: function(before, *given, **named))
        return function

    return put


# ---- CloudFormation.


@replaces(cloudformation, "_physical_name")
def name(before: Callable[..., str], stack: str, resource: str, **named: Json) -> str:
    """Generated names of two regions differ: roles are of the whole account."""
    return before(f"{stack}-{get_region()}", resource, **named)


def composite_alarm(resource: str, properties: Json, stack: str) -> Json:
    status, _, body = cloudwatch._put_composite_alarm({}, properties, False, is_json=True)
    if status >= 400:
        raise ValueError(body)
    return properties["AlarmName"], {}


def delete_composite_alarm(physical: str, properties: Json) -> None:
    cloudwatch._composite_alarms.pop(physical, None)


HANDLERS["AWS::CloudWatch::CompositeAlarm"] = {
    "create": composite_alarm,
    "update": lambda physical, old, new, stack: composite_alarm("", new, stack),
    "delete": delete_composite_alarm,
}


def routed(before: Callable[..., Json]) -> Callable[..., Json]:
    """The `Body` of an HTTP API makes its routes and their integrations."""

    def make(*given: Json, **named: Json) -> Json:
        api, attributes = before(*given, **named)
        # (resource, properties, stack), or (api, old properties, new properties, stack).
        body = next(properties for properties in reversed(given) if isinstance(properties, dict)).get("Body")
        if body:
            gateway._routes[api], gateway._integrations[api] = {}, {}
            for path, methods in body["paths"].items():
                for method, operation in methods.items():
                    about = operation["x-amazon-apigateway-integration"]
                    made = json.loads(gateway._create_integration(api, {
                        "integrationType": "AWS_PROXY", "integrationUri": about["uri"],
                        "payloadFormatVersion": about["payloadFormatVersion"],
                    })[2])  # fmt: skip
                    key = path if path == "$default" else f"{method.upper()} {path}"
                    gateway._create_route(api, {"routeKey": key, "target": f"integrations/{made['integrationId']}"})
        return api, attributes

    return make


for step in ("create", "update"):
    HANDLERS["AWS::ApiGatewayV2::Api"][step] = routed(HANDLERS["AWS::ApiGatewayV2::Api"][step])


def replicated(before: Callable[..., Json]) -> Callable[..., Json]:
    """A global table has the replicas that the template names, in one account, protected as it says."""

    def make(*given: Json, **named: Json) -> Json:
        result = before(*given, **named)
        properties = next(one for one in reversed(given) if isinstance(one, dict))
        table = dynamodb._tables[properties["TableName"]]
        wanted = {replica["Region"]: replica for replica in properties["Replicas"]}
        there = set(dynamodb._replica_group(table)) or {get_region()}
        changes = [{"Create": {"RegionName": region}} for region in wanted if region not in there]
        changes += [{"Delete": {"RegionName": region}} for region in there if region not in wanted]
        if changes and (refused := dynamodb._apply_replica_updates(table["TableName"], table, changes)):
            raise ValueError(refused)
        for region, replica in wanted.items():
            member = dynamodb._tables.get_scoped(get_account_id(), region, table["TableName"])
            member["DeletionProtectionEnabled"] = replica["DeletionProtectionEnabled"] == "true"
        return result

    return make


for step in ("create", "update"):
    HANDLERS["AWS::DynamoDB::GlobalTable"][step] = replicated(HANDLERS["AWS::DynamoDB::GlobalTable"][step])
HANDLERS["AWS::DynamoDB::GlobalTable"]["import"] = cloudformation._ddb_import



def protected(before: Callable[..., Json]) -> Callable[..., Json]:
    """A value of a parameter is text; the property is true or false."""

    def make(*given: Json) -> Json:
        return before(*({**one, "DeletionProtectionEnabled": one.get("DeletionProtectionEnabled") == "true"} if isinstance(one, dict) else one for one in given))

    return make


for step in ("create", "update"):
    HANDLERS["AWS::DynamoDB::Table"][step] = protected(HANDLERS["AWS::DynamoDB::Table"][step])

# ---- DynamoDB.

CUT = Path(os.environ["HB_CUT"])
waiting: list[tuple[str, str, tuple[Json, ...]]] = []
"""Account, region and arguments of each write that the other region does not have yet."""


@replaces(dynamodb, "_replicate_write")
def replicate(before: Callable[..., None], table: Json, *change: Json) -> None:
    if not dynamodb._replica_group(table):
        return
    if table["TableName"].endswith("-ledger"):
        before(table, *change)
        return
    waiting.append((get_account_id(), get_region(), (table, *change)))
    while waiting and not CUT.exists():
        account, region, late = waiting.pop(0)
        with request_scope(account, region):
            before(*late)


# ---- The services that act under a role or a key.


@replaces(iam_actions, "extract_iam_action")
def action(before: Callable[..., str | None], service: str, *request: Json) -> str | None:
    """A batch needs the permission of the single call (Service authorization reference, SQS and SNS)."""
    found = before(service, *request)
    return found.removesuffix("Batch") if found and service in ("sqs", "sns") else found


def may(role: str, action: str, resource: str) -> bool:
    account = get_account_id()
    context = iam.EvalContext(role, "AssumedRole", account, action, resource, get_region())
    policies = iam._gather_role_policies(role.rsplit("/", 1)[1], account)
    return bool(iam.evaluate(context, policies).decision == "Allow")


def dead_letter(role: str, queue: str, event: Json, error: str) -> None:
    """What was not done goes to the dead letters, if the role may send there."""
    if queue and may(role, "sqs:SendMessage", queue):
        functions._route_async_failure.before(queue, "", event, {"body": {"errorMessage": error}})


scheduler._SCHEDULE_TICK_INTERVAL = 1


@replaces(eventbridge, "_invoke_target")
def start(before: Callable[..., None], target: Json, event: Json, rule: Json, *more: Json) -> None:
    """The scheduler starts its target under the role of the schedule."""
    role = target.get("RoleArn")
    if not role or may(role, "lambda:InvokeFunction", target["Arn"]):
        before(target, event, rule, *more)
    else:
        dead_letter(role, target.get("DeadLetterConfig", {}).get("Arn", ""), event, f"{role} may not lambda:InvokeFunction")


send_failure = functions._route_async_failure


def failed(queue: str, name: str, event: Json, result: Json) -> None:
    """Lambda sends what failed under the role of the function."""
    role = functions._functions[name]["config"]["Role"] if name else ""
    if not role or may(role, "sqs:SendMessage", queue):
        send_failure(queue, name, event, result)


functions._route_async_failure = failed
failed.before = send_failure  # type: ignore[attr-defined]


@replaces(sns, "publish_internal")
def publish(before: Callable[..., Json], topic: str, *given: Json, **named: Json) -> Json:
    """Who publishes to an encrypted topic must be allowed to use its key (SNS developer guide, "Key management")."""
    key = sns._topics[topic]["attributes"].get("KmsMasterKeyId") if topic in sns._topics else None
    caller = iam.caller_arn()
    if key and ":assumed-role/" in caller:
        arn = key if key.startswith("arn:") else f"arn:aws:kms:{get_region()}:{get_account_id()}:key/{key}"
        role = f"arn:aws:iam::{get_account_id()}:role/{caller.split('/')[1]}"
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            if not may(role, action, arn):
                raise sns.SnsPublishError("KMSAccessDenied", f"{caller} is not authorized to perform: {action} on {arn}")
    return before(topic, *given, **named)


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


if __name__ == "__main__":
    app.main()
