"""Checks of permissions: the code lists what each function needs."""

from collections.abc import Iterator

from facts import FACTS, permissions
from registry import as_list, in_each_deployment, in_each_stack
from templates import ACCOUNT, REGION, Deployment, Json, Stack

OF_PLATFORM = {
    "logs:CreateLogStream": "Lambda writes the log with the role of the function",
    "logs:PutLogEvents": "the same",
    "kms:GenerateDataKey": "SNS encrypts a message with the role of the publisher",
    "kms:Decrypt": "the same (SNS developer guide, key management)",
    "sqs:SendMessage": "Lambda and the scheduler report a failure with the role",
    "lambda:InvokeFunction": "the scheduler invokes the function",
}
"""Actions that the code does not call, and what needs them."""

ANY_RESOURCE = {
    ("TopicKey", "Account"): "the policy of a key: * is the key itself, and without this no one could ever change it",
    ("TopicKey", "Alarms"): "the policy of a key: * is the key itself",
    ("ShiftRole", "WatchAlarms"): "it reads the state of alarms, and changes nothing",
}
"""The statements that may name every resource, with the reason."""


def statements(stack: Stack) -> Iterator[tuple[str, Json]]:
    """All statements of policies, with the logical id of their resource."""
    for name, role in stack.of_type("AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            yield from ((name, statement) for statement in as_list(policy["PolicyDocument"]["Statement"]))
    for kind, member in (
        ("AWS::SQS::QueuePolicy", "PolicyDocument"),
        ("AWS::SNS::TopicPolicy", "PolicyDocument"),
        ("AWS::KMS::Key", "KeyPolicy"),
    ):
        for name, resource in stack.of_type(kind).items():
            yield from ((name, statement) for statement in as_list(resource[member]["Statement"]))


@in_each_deployment
def policies_name_resources_of_the_stack(deployment: Deployment) -> Iterator[str]:
    """No wildcards, and no resource outside of the stack and its tables."""
    tables = [table["TableName"] for table in deployment.tables().values()]
    arns = {f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}{end}" for name in tables for end in ("", "/index/open")}
    resources = deployment.main.resources
    for name, statement in statements(deployment.main):
        sid = statement.get("Sid")
        excused = (name, sid) in ANY_RESOURCE
        for action in as_list(statement["Action"]):
            if "*" in action and (name, sid) != ("TopicKey", "Account"):
                yield f"{name} {sid} allows {action}"
        for resource in as_list(statement["Resource"]):
            own = resource in arns or resource in resources or resource.removesuffix(":live").removesuffix(".Arn") in resources
            if not own and not (excused and resource == "*"):
                yield f"{name} {sid} names {resource}"
    for name, role in deployment.main.of_type("AWS::IAM::Role").items():
        if role.get("ManagedPolicyArns"):
            yield f"{name} has {role['ManagedPolicyArns']}, which allows more than is needed"


@in_each_stack
def services_act_for_this_account_only(stack: Stack) -> Iterator[str]:
    """A service of AWS that a policy admits is restricted to this account or to one resource of it."""
    trusts = ((n, s) for n, r in stack.of_type("AWS::IAM::Role").items()
              for s in r["AssumeRolePolicyDocument"]["Statement"])  # fmt: skip
    for name, statement in [*statements(stack), *trusts]:
        service = statement.get("Principal", {}).get("Service")
        conditions = {key for values in statement.get("Condition", {}).values() for key in values}
        if statement.get("Principal") == "*" or statement.get("Principal", {}).get("AWS") == "*":
            yield f"{name} {statement.get('Sid')} admits everyone"
        if service not in (None, "lambda.amazonaws.com") and not conditions & {"aws:SourceAccount", "aws:SourceArn"}:
            yield f"{name} {statement.get('Sid')} admits {service} for any account"


@in_each_deployment
def roles_are_taken_by_the_service_that_acts(deployment: Deployment) -> Iterator[str]:
    """Lambda takes the role of a function, the scheduler that of a schedule, CodeDeploy its own, and nobody another one. All
    of them have the boundary, if there is one.
    """
    main = deployment.main
    lambda_, scheduler = "lambda.amazonaws.com", "scheduler.amazonaws.com"
    used = {f["Role"]: (lambda_, {}) for f in main.of_type("AWS::Lambda::Function").values()}
    of_account = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    used |= {s["Target"]["RoleArn"]: (scheduler, of_account) for s in main.of_type("AWS::Scheduler::Schedule").values()}
    used |= {g["ServiceRoleArn"]: ("codedeploy.amazonaws.com", of_account) for g in main.of_type("AWS::CodeDeploy::DeploymentGroup").values()}
    roles = main.of_type("AWS::IAM::Role")
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/hb-{main.values['Stage']}-boundary" if main.values["Boundary"] == "true" else None
    for unknown in set(used) ^ {f"{name}.Arn" for name in roles}:
        yield f"{unknown} is no role, or nobody takes it"
    for name, role in roles.items():
        service, condition = used.get(f"{name}.Arn", ("", {}))
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        wanted = statement | ({"Condition": condition} if condition else {})
        trust = role["AssumeRolePolicyDocument"]
        if trust != {"Version": "2012-10-17", "Statement": [wanted]}:
            yield f"{name} is taken by {trust}"
        if role.get("PermissionsBoundary") != boundary:
            yield f"{name} has the boundary {role.get('PermissionsBoundary')}"


@in_each_stack
def policies_are_of_today_and_allow(stack: Stack) -> Iterator[str]:
    """Their version, without which variables and operators are those of 2008; none denies."""
    policies = [p["PolicyDocument"] for r in stack.of_type("AWS::IAM::Role").values() for p in r["Policies"]]
    policies += [p["PolicyDocument"] for kind in ("SQS::QueuePolicy", "SNS::TopicPolicy") for p in stack.of_type(f"AWS::{kind}").values()]
    policies += [key["KeyPolicy"] for key in stack.of_type("AWS::KMS::Key").values()]
    for policy in policies:
        if policy.get("Version") != "2012-10-17" or any(s["Effect"] != "Allow" for s in policy["Statement"]):
            yield f"a policy has version {policy.get('Version')}, or denies: {policy}"


@in_each_deployment
def roles_allow_exactly_what_functions_call(deployment: Deployment) -> Iterator[str]:
    """The permissions of each role are the calls of its function, resource by resource."""
    physical = {f"{n}.Arn": q["QueueName"] for n, q in deployment.main.of_type("AWS::SQS::Queue").items()}
    physical |= {n: t["TopicName"] for n, t in deployment.main.of_type("AWS::SNS::Topic").items()}
    physical |= {f"{n}.Arn": t["TableName"] for n, t in deployment.main.of_type("AWS::DynamoDB::Table").items()}
    for function in deployment.main.of_type("AWS::Lambda::Function"):
        role = deployment.main.resources[f"{function}Role"]["Properties"]
        given = set()
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                for action in as_list(statement["Action"]):
                    for resource in as_list(statement["Resource"]):
                        given.add((action, physical.get(resource, resource.rsplit(":table/")[-1])))
        needed = permissions(function)
        for action, resource in sorted(needed - given):
            yield f"{function} calls {action} on {resource} without permission"
        for action, resource in sorted(given - needed):
            if action not in OF_PLATFORM:
                yield f"{function} has permission for {action} on {resource} and never calls it"


@in_each_deployment
def conditions_restrict_items_and_attributes(deployment: Deployment) -> Iterator[str]:
    """Beats write exactly their own attributes, the sweep only instants of beats and its own records, the canary records
    of receivers.
    """
    wanted = {
        ("IngestRole", "RecordBeats"): ("dynamodb:Attributes", set(FACTS["beatAttributes"])),
        ("SweepRole", "MendInstants"): ("dynamodb:Attributes", set(FACTS["mendedAttributes"])),
        ("SweepRole", "CountHostsOfKeys"): ("dynamodb:Attributes", set(FACTS["countedAttributes"])),
        ("SweepRole", "RememberSweeps"): ("dynamodb:LeadingKeys", {FACTS["sweepKind"]}),
        ("CanaryRole", "RememberCanaries"): ("dynamodb:LeadingKeys", {FACTS["receiverPrefix"] + "*"}),
    }
    present = dict(((name, s.get("Sid")), s) for name, s in statements(deployment.main))
    for (role, sid), (key, values) in wanted.items():
        if role not in deployment.main.resources:
            continue
        conditions = present.get((role, sid), {}).get("Condition", {})
        given = [set(as_list(v)) for c, by in conditions.items() if c.startswith("ForAllValues:") for k, v in by.items() if k == key]
        if given != [values]:
            yield f"{role} {sid}: {key} is {given}, not {sorted(values)}"
    for sid in ("RecordBeats", "NoteDayOfUse"):
        returned = present.get(("IngestRole", sid), {}).get("Condition", {}).get("StringEqualsIfExists", {})
        if returned != {"dynamodb:ReturnValues": "NONE"}:
            yield f"IngestRole {sid} may read what it updates: {returned}"
