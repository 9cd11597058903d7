"""CloudFormation under the role of a stack, which the emulator does not know: a resource is made, changed and deleted only if
that role has the permissions that AWS's own handler of its type asks for (`handlers.py`).

`HB_ASKED` is the file that gets each question: action, resource, and whether it was allowed.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ministack.services.cloudformation.changesets as changesets
import ministack.services.cloudformation.handlers as requests
import ministack.services.cloudformation.provisioners as provisioners
import ministack.services.cloudformation.stacks as engine
import ministack.services.iam as roles
from ministack.core import iam_evaluator as iam
from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import _stacks as stacks

from handlers import needed

Json = Any
SERVICES = {"AWS::Lambda::Function": "lambda", "AWS::Scheduler::Schedule": "scheduler", "AWS::CodeDeploy::DeploymentGroup": "codedeploy"}
"""To which service a type of resource passes a role."""


def allows(role: str, action: str, resource: str, **keys: Json) -> bool:
    """Whether a role may, by its policies and its boundary; `keys` are those of conditions, with `_` for `:`."""
    account = get_account_id()
    name = role.rsplit("/", 1)[1]
    known = {key.replace("_", ":").lower(): value for key, value in keys.items()}
    context = iam.EvalContext(role, "AssumedRole", account, action, resource, get_region(), service_context=known)
    limits = iam._permissions_boundary(roles._roles, name, account)
    return bool(iam.evaluate(context, iam._gather_role_policies(name, account), *limits).decision == "Allow")


# ---- A change set names the role.


def create(before: Callable[..., Json], parameters: Json) -> Json:
    """Who gives CloudFormation a role must be allowed to pass it; the stack keeps it."""
    role, stack = changesets._p(parameters, "RoleARN"), changesets._p(parameters, "StackName")
    caller = iam.caller_arn()
    if role and ":assumed-role/" in caller:
        taken = f"arn:aws:iam::{get_account_id()}:role/" + caller.split("/")[1]
        if not allows(taken, "iam:PassRole", role, iam_PassedToService="cloudformation.amazonaws.com"):
            return changesets._error("AccessDenied", f"User: {caller} is not authorized to perform: iam:PassRole on resource: {role}", 403)
    answer = before(parameters)
    if role and stack.split("/")[-1] and (found := requests._resolve_stack(stack)):
        found["_role"] = role
    return answer


def role_of(stack: str) -> str | None:
    """The role of a stack, or of the one in which it is nested."""
    named = [known for name, known in stacks.items() if stack == name or stack.startswith(f"{name}-")]
    return next((known["_role"] for known in named if "_role" in known), None)


# ---- What the role is asked for.


def resources(action: str, kind: str, stack: str, physical: str, properties: Json) -> Iterator[tuple[str, Json]]:
    """The resources of an action, and what its conditions see."""
    service, verb = action.split(":")
    here = f"arn:aws:{service}:{get_region()}:{get_account_id()}"
    text = json.dumps(properties)
    name = next((properties[key] for key in ("AlarmName", "LogGroupName", "TableName", "Name", "ApplicationName") if properties.get(key)), physical)
    if action == "iam:PassRole":
        for role in sorted(set(re.findall(r"arn:aws:iam::\d+:role/[\w.@=,+-]+", text))):
            yield role, {"iam_PassedToService": f"{SERVICES[kind]}.amazonaws.com"}
    elif action == "iam:CreateServiceLinkedRole":
        service = "replication.dynamodb.amazonaws.com"
        yield f"arn:aws:iam::{get_account_id()}:role/aws-service-role/{service}/x", {"iam_AWSServiceName": service}
    elif service == "iam":
        yield f"arn:aws:iam::{get_account_id()}:role/{physical}", {"iam_PermissionsBoundary": properties.get("PermissionsBoundary")}
    elif service == "s3":
        code = properties.get("Code", {})
        uri = re.search(r"s3://([^\"]+)", text)
        if code or uri:
            yield "arn:aws:s3:::" + (f"{code['S3Bucket']}/{code['S3Key']}" if code else uri[1]), {}
    elif service == "lambda":
        yield f"{here}:function:" + properties["FunctionName"].rsplit("function:", 1)[-1], {}
    elif service == "dynamodb":
        yield f"{here}:table/{name}", {}
    elif service == "logs" and kind == "AWS::Logs::LogGroup" and "Describe" not in verb:
        yield f"{here}:log-group:{name}", {}
    elif service == "cloudwatch" and "DashboardName" in properties:
        yield f"arn:aws:cloudwatch::{get_account_id()}:dashboard/{properties['DashboardName']}", {}
    elif service == "cloudwatch" and verb not in ("DescribeAlarms", "PutMetricData"):
        yield f"{here}:alarm:{name}", {}
    elif service == "scheduler":
        yield f"{here}:schedule/default/{name}", {}
    elif service == "budgets":
        yield f"arn:aws:budgets::{get_account_id()}:budget/{properties['Budget']['BudgetName']}", {}
    elif service == "cloudformation":
        yield physical, {}
    elif service == "sns":
        yield properties.get("TopicArn") or properties.get("Topics", [physical])[0], {}
    elif service == "sqs":
        yield f"{here}:" + properties.get("Queues", [physical])[0].rsplit("/", 1)[1], {}
    elif action == "codedeploy:GetDeploymentConfig":
        yield f"{here}:deploymentconfig:CodeDeployDefault.LambdaAllAtOnce", {}
    elif service == "codedeploy":
        application = kind.endswith("::Application") or "Revision" in verb
        yield f"{here}:application:{name}" if application else f"{here}:deploymentgroup:{stack}-x/{stack}-x", {}
    elif service == "apigateway":
        domain = "DomainName" in kind or "Certificate" in verb
        yield f"arn:aws:apigateway:{get_region()}::/{'domainnames' if domain else 'apis'}/{physical}", {}
    else:
        yield f"{here}:{physical}", {}


def ask(step: str, kind: str, stack: str, physical: str, properties: Json) -> None:
    if not (role := role_of(stack)):
        return
    # The list has it, but no role of the templates needs it.
    attach = ["iam:AttachRolePolicy"] if properties.get("ManagedPolicyArns") else []
    for action in needed(kind)[step] + attach:
        for resource, keys in resources(action, kind, stack, physical, properties):
            allowed = allows(role, action, resource, **keys)
            with Path(os.environ["HB_ASKED"]).open("a") as file:
                file.write(json.dumps([action, resource, allowed]) + "\n")
            if not allowed:
                raise ValueError(f"User: {role} is not authorized to perform: {action} on resource: {resource}")


def provision(before: Callable[..., Json], kind: str, resource: str, properties: Json, stack: str) -> Json:
    made = before(kind, resource, properties, stack)
    try:
        # Some names are known only now.
        ask("create", kind, stack, made[0], properties)
    except ValueError:
        provisioners._delete_resource(kind, made[0], properties, stack, resource)
        raise
    return made


def update(before: Callable[..., Json], kind: str, physical: str, old: Json, new: Json, stack: str, *more: Json) -> Json:
    if old != new:
        ask("update", kind, stack, physical, new)
    return before(kind, physical, old, new, stack, *more)


def delete(before: Callable[..., Json], kind: str, physical: str, properties: Json, stack: str, *more: Json) -> Json:
    ask("delete", kind, stack, physical, properties)
    return before(kind, physical, properties, stack, *more)
