"""Checks of the roles of the pipeline. `tests/deploy/test_pipeline.py` takes each action away from them."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import cfnlint

from check_permissions import statements
from registry import as_list, check
from templates import ACCOUNT, Json, Stack, Templates

KNOWN: Json = json.loads((Path(cfnlint.__file__).parent / "data/AdditionalSpecs/Policies.json").read_text())
"""The actions of AWS with the types of resources that they may be limited to (Service authorization reference)."""
ANYTHING = {"acm", "kms", "route53"}
"""Services whose resources have no names."""
READS = {"cloudwatch:DescribeAlarms", "cloudwatch:PutMetricData", "billing:GetBillingViewData"}
"""What changes nothing."""
HOST = "token.actions.githubusercontent.com"


def roles(templates: Templates) -> Stack:
    return Stack.of(templates.raw["deploy-role.yaml"], {"Stage": "dev", "Repository": "example/heartbeat"})


def policies(stack: Stack) -> Iterator[tuple[str, Json]]:
    for name, role in stack.of_type("AWS::IAM::Role").items():
        [policy] = role["Policies"]
        yield name, policy["PolicyDocument"]
    yield "Boundary", stack.resources["Boundary"]["Properties"]["PolicyDocument"]


@check
def only_two_environments_take_the_roles(templates: Templates) -> Iterator[str]:
    """Of this repository, each its own role, with a token for AWS; and CloudFormation the third."""
    for provider in ("", f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"):
        values = {"Stage": "dev", "Repository": "example/heartbeat", "Provider": provider}
        stack = Stack.of(templates.raw["deploy-role.yaml"], values)
        by = {"PlanRole": "dev-plan", "DeployRole": "dev"}
        for name, environment in by.items():
            role = stack.resources[name]["Properties"]
            sub = f"repo:example/heartbeat:environment:{environment}"
            [trust] = role["AssumeRolePolicyDocument"]["Statement"]
            if trust != {
                "Effect": "Allow", "Principal": {"Federated": provider or "GitHub"}, "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {f"{HOST}:aud": "sts.amazonaws.com", f"{HOST}:sub": sub}},
            }:  # fmt: skip
                yield f"{name} is taken by {trust}"
        [trust] = stack.resources["ServiceRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        if (trust["Principal"], trust["Condition"]) != ({"Service": "cloudformation.amazonaws.com"}, {"StringEquals": {"aws:SourceAccount": ACCOUNT}}):
            yield f"ServiceRole is taken by {trust}"
        made = stack.of_type("AWS::IAM::OIDCProvider")
        if made != ({} if provider else {"GitHub": {"Url": f"https://{HOST}", "ClientIdList": ["sts.amazonaws.com"]}}):
            yield f"the provider is {made}"


@check
def the_pipeline_is_limited_to_its_stage(templates: Templates) -> Iterator[str]:
    """Each action is limited to what is named after the stage, if AWS can limit it and its resources have names; if not, it
    is allowed on everything, for otherwise it would be allowed on nothing.
    """
    for name, policy in policies(roles(templates)):
        size = len(json.dumps(policy, separators=(",", ":")))
        if size > (6144 if name == "Boundary" else 10240):
            yield f"{name} has {size} characters, more than IAM takes"
        for one in policy["Statement"]:
            everything = one["Resource"] == "*"
            for action in as_list(one["Action"]):
                service, verb = action.lower().split(":")
                limited = "Resources" in KNOWN[service]["Actions"].get(verb, {"Resources": []})
                if not everything and not limited:
                    yield f"{name} {one['Sid']}: {action} cannot be limited to {one['Resource']}"
                if everything and limited and service not in ANYTHING and action not in READS:
                    yield f"{name} {one['Sid']}: {action} is not limited"
            for resource in () if everything else as_list(one["Resource"]):
                unnamed = resource.startswith(("arn:aws:apigateway:", "arn:aws:kms:", "arn:aws:s3:::heartbeat-truststore-"))
                of_aws = resource.endswith((":transform/Serverless-2016-10-31", "/aws-sam-cli-managed-default/*", ":CodeDeployDefault.*", "replication.dynamodb.amazonaws.com/*"))
                own = resource in ("ServiceRole.Arn",) or "hb-dev" in resource or "heartbeat-dev" in resource
                if not (own or unnamed or of_aws):
                    yield f"{name} {one['Sid']} names {resource}"


@check
def nobody_becomes_an_administrator(templates: Templates) -> Iterator[str]:
    """Roles are made with the boundary only, and passed to the services that act; no managed policy is attached, no boundary
    removed. Who makes change sets cannot execute them, import nothing with them, and the other way round.
    """
    found: dict[str, list[Json]] = {}
    for name, policy in policies(roles(templates)):
        for one in policy["Statement"]:
            for action in as_list(one["Action"]):
                if action.startswith(("iam:", "sts:")) or "ChangeSet" in action:
                    found.setdefault(f"{name} {action}", []).append(one.get("Condition", {}))
                if action in ("*", "iam:*") or (action.startswith(("iam:", "sts:", "cloudformation:")) and "*" in action):
                    yield f"{name} may {action}"
    bounded = [{"StringEquals": {"iam:PermissionsBoundary": "Boundary"}}]
    wanted: Json = {
        "PlanRole iam:PassRole": [{"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}],
        "PlanRole cloudformation:CreateChangeSet": [{"Null": {"cloudformation:ImportResourceTypes": True}}, {}],
        "PlanRole cloudformation:DescribeChangeSet": [{}],
        "DeployRole cloudformation:ExecuteChangeSet": [{}],
        "ServiceRole iam:PassRole": [{"StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com", "scheduler.amazonaws.com", "codedeploy.amazonaws.com"]}}],
        "ServiceRole iam:CreateServiceLinkedRole": [{"StringEquals": {"iam:AWSServiceName": "replication.dynamodb.amazonaws.com"}}],
        **{f"ServiceRole iam:{action}": bounded for action in ("CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary")},
    }  # fmt: skip
    harmless = {f"ServiceRole iam:{action}" for action in (
        "DeleteRole", "DeleteRolePolicy", "GetRole", "GetRolePolicy", "ListAttachedRolePolicies", "ListRolePolicies", "TagRole",
        "UntagRole", "UpdateAssumeRolePolicy", "UpdateRole", "UpdateRoleDescription",
    )}  # fmt: skip
    for name in sorted((set(found) ^ set(wanted)) - harmless):
        yield f"{name}: {found.get(name)}"
    for name, conditions in wanted.items():
        if found.get(name) != conditions:
            yield f"{name} has the conditions {found.get(name)}"


@check
def the_boundary_lets_functions_work(templates: Templates) -> Iterator[str]:
    """What a role of the stage may do, the boundary allows; and it allows nothing else."""
    stack = roles(templates)
    boundary = stack.resources["Boundary"]["Properties"]["PolicyDocument"]["Statement"]
    main = templates.deployments[1].main
    arns = {f"{n}.Arn": f"arn:aws:sqs:r:{ACCOUNT}:{q['QueueName']}" for n, q in main.of_type("AWS::SQS::Queue").items()}
    arns |= {n: f"arn:aws:sns:r:{ACCOUNT}:{t['TopicName']}" for n, t in main.of_type("AWS::SNS::Topic").items()}
    arns |= {f"{n}.Arn": f"arn:aws:dynamodb:r:{ACCOUNT}:table/{t['TableName']}" for n, t in main.of_type("AWS::DynamoDB::Table").items()}
    arns |= {f"{n}.Arn{end}": f"arn:aws:lambda:r:{ACCOUNT}:function:{f['FunctionName']}{end}" for n, f in main.of_type("AWS::Lambda::Function").items() for end in ("", ":live")}
    arns |= {f"{n}.Arn": f"arn:aws:logs:r:{ACCOUNT}:log-group:{g['LogGroupName']}:*" for n, g in main.of_type("AWS::Logs::LogGroup").items()}
    arns |= {"TopicKey.Arn": f"arn:aws:kms:r:{ACCOUNT}:key/1"}
    used = set()
    for name, statement in statements(main):
        if main.resources[name]["Type"] != "AWS::IAM::Role":
            continue
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                arn = arns.get(resource, resource)
                if not any(action in one["Action"] and any(fnmatchcase(arn, pattern) for pattern in as_list(one["Resource"])) for one in boundary):
                    yield f"{name}: {action} on {arn} is beyond the boundary"
                used.add(action)
    for action in sorted({action for one in boundary for action in as_list(one["Action"])} - used):
        yield f"the boundary allows {action}, which no role has"
    [encrypt] = (one for one in boundary if one["Sid"] == "Encrypt")
    if encrypt.get("Condition") != {"StringLike": {"kms:ViaService": "sns.*.amazonaws.com"}}:
        yield f"the boundary allows keys as {encrypt.get('Condition')}"
