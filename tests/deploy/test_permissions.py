"""Every permission of every role is needed: without it something fails, and the log names what is missing."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from samtranslator.yaml_helper import yaml_parse

from account import ROOT, Json, Shell, Stage, until


def statements() -> list[tuple[str, Json]]:
    """The statements of each role in the template."""
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    return [
        (role, statement)
        # There is no CodeDeploy.
        for role, about in resources.items() if about["Type"] == "AWS::IAM::Role" and role != "ShiftRole"
        for policy in about["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]  # fmt: skip


def listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


PERMISSIONS = [(role, one["Sid"], action) for role, one in statements() for action in listed(one["Action"])]
"""Role, statement and action of each permission."""
NARROWED = [
    (role, one["Sid"], value)
    for role, one in statements()
    for condition in one.get("Condition", {}).values()
    for key, values in condition.items() if key in ("dynamodb:Attributes", "dynamodb:LeadingKeys")
    for value in listed(values)
]  # fmt: skip
"""Role, statement and value of each attribute and leading key that a permission is narrowed to."""
OF_SERVICES = [one for one in PERMISSIONS if one[0].endswith("ScheduleRole") or one[1] in ("Log", "ReportFailure")]
"""Those that a service of AWS uses, not the program."""
FUNCTIONS = ("ingest", "sweep", "canary")


@pytest.fixture(scope="module")
def watched(stage: Stage, shell: Shell) -> Stage:
    """A stage with canaries, whose schedules do not tick: each test starts its functions itself."""
    shell.follow("Canaries")
    scheduler = stage.account.client("scheduler")
    for name in ("hb-dev-sweep", "hb-dev-canary"):
        about = scheduler.get_schedule(Name=name)
        kept = {member: about[member] for member in ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")}
        scheduler.update_schedule(State="DISABLED", **kept)
    # The default policy of a topic would allow what a role does not.
    topic = f"arn:aws:sns:{stage.region}:000000000000:hb-dev-notices"
    nobody = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sns:Publish", "Resource": topic}
    stage.account.client("sns").set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps({"Statement": [nobody]})
    )
    # Enough hosts of one key for a sweep to note their number.
    key = stage.account.key("dev")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: stage.beat(key, f"crowd-{number}"), range(100)))
    stage.sweep()
    return stage


@contextmanager
def without(stage: Stage, role: str, *lost: tuple[str, str]) -> Iterator[None]:
    """Takes actions, or values of conditions, of statements away from a role."""
    about = stage.account.client("cloudformation").describe_stack_resource(StackName="heartbeat-dev", LogicalResourceId=role)
    name = about["StackResourceDetail"]["PhysicalResourceId"]
    [policy] = stage.iam.list_role_policies(RoleName=name)["PolicyNames"]
    before = stage.iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    after = json.loads(json.dumps(before))
    for statement in after["Statement"]:
        gone = [what for sid, what in lost if sid == statement["Sid"]]
        # No list may be empty.
        statement["Action"] = [one for one in listed(statement["Action"]) if one not in gone] or ["iam:GetUser"]
        for condition in statement.get("Condition", {}).values():
            for key, values in condition.items():
                condition[key] = [one for one in listed(values) if one not in gone] or ["none"]
    assert after != before, f"{role} has none of {lost}"
    stage.iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(after))
    try:
        yield
    finally:
        stage.iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(before))


def use(stage: Stage) -> str:
    """Everything that the programs do, and what they say of it."""
    began = time.time_ns() // 10**6
    for name in FUNCTIONS:
        stage.functions.update_function_configuration(FunctionName=f"hb-dev-{name}", MemorySize=128, Description=str(began))
    version = stage.functions.publish_version(FunctionName="hb-dev-ingest")["Version"]
    stage.functions.update_alias(FunctionName="hb-dev-ingest", Name="live", FunctionVersion=version)
    # A known key is not read again. A host whose clock is an hour ahead has its instants mended.
    key, host, ahead = stage.account.key("dev"), f"web-{time.time_ns()}", str(time.time_ns() // 10**6 + 3_600_000)
    paths = ("", "/start?rid=a&maxRunMs=60000", "/log", "/ok?rid=a&graceMs=60000", "/fail")
    said = [str(stage.request("POST", f"/v1/heartbeat/{host}{path}", key, {"message": "disk full"})) for path in paths]
    with suppress(stage.dynamodb.exceptions.ConditionalCheckFailedException):
        stage.dynamodb.update_item(
            TableName="hb-dev-heartbeats", Key={"h": {"S": f"main/{host}"}, "r": {"S": stage.region}},
            UpdateExpression="SET l = :ahead, f = :ahead, x = :ahead", ExpressionAttributeValues={":ahead": {"N": ahead}},
            ConditionExpression="attribute_exists(i)",
        )  # fmt: skip
    said.append(str(stage.request("GET", "/v1/status")))
    said += [json.dumps(stage.invoke(function)) for function in ("sweep", "canary", "sweep")]
    return "\n".join(said + [line for name in FUNCTIONS for line in stage.log(name, began)])


def test_nothing_is_missing(watched: Stage) -> None:
    said = use(watched)
    print(said)
    assert "not allowed" not in said and '"errorType"' not in said


@pytest.mark.parametrize(("role", "sid", "action"), [one for one in PERMISSIONS if one not in OF_SERVICES])
def test_a_program_names_the_permission_that_it_lacks(watched: Stage, role: str, sid: str, action: str) -> None:
    with without(watched, role, (sid, action)):
        said = use(watched)
    print(said)
    assert f"allow {action} on" in said or f"perform: {action} on" in said


@pytest.mark.parametrize(("role", "sid", "value"), NARROWED)
def test_no_permission_is_narrowed_too_much(watched: Stage, role: str, sid: str, value: str) -> None:
    with without(watched, role, (sid, value)):
        said = use(watched)
    print(said)
    assert "not allowed: allow dynamodb:" in said


@pytest.mark.parametrize(("role", "sid", "action"), [one for one in OF_SERVICES if one[1] == "Log"])
def test_there_is_no_log_without(watched: Stage, role: str, sid: str, action: str) -> None:
    name = role.removesuffix("Role").lower()
    with without(watched, role, (sid, action)):
        began = time.time_ns() // 10**6
        use(watched)
        assert watched.log(name, began) == []
    use(watched)
    assert watched.log(name, began)


def started(stage: Stage, function: str) -> int:
    return sum(line.startswith("START") for line in stage.log(function))


def dead_letters(stage: Stage) -> list[str]:
    """Those since the last call."""
    return [message["Body"] for message in stage.received("hb-dev-sweep-dead")]


def schedule(stage: Stage, *functions: str, denied: str = "") -> None:
    """Lets the schedules of functions be due once, in this order, with their targets and roles; waits for those that start."""
    scheduler, before = stage.account.client("scheduler"), {name: started(stage, name) for name in functions}
    for function in functions:
        target = scheduler.get_schedule(Name=f"hb-dev-{function}")["Target"]
        scheduler.create_schedule(
            Name=f"once-{time.time_ns()}", ScheduleExpression="at(2026-01-01T00:00:00)", FlexibleTimeWindow={"Mode": "OFF"}, Target=target
        )
    for function in functions:
        if function != denied:
            until(lambda name=function: started(stage, name) > before[name], f"{function} is not started")


@pytest.mark.parametrize(("function", "other"), [("sweep", "canary"), ("canary", "sweep")])
def test_nothing_is_started_without(watched: Stage, function: str, other: str) -> None:
    role, before = f"{function.capitalize()}ScheduleRole", started(watched, function)
    dead_letters(watched)
    with without(watched, role, ("Start", "lambda:InvokeFunction")):
        schedule(watched, function, other, denied=function)
        letters = dead_letters(watched)
    assert started(watched, function) == before
    assert len(letters) == (function == "sweep") and all("lambda:InvokeFunction" in letter for letter in letters)
    schedule(watched, other, function)


def test_a_sweep_that_is_not_started_leaves_no_letter_without(watched: Stage) -> None:
    dead_letters(watched)
    with without(watched, "SweepScheduleRole", ("Start", "lambda:InvokeFunction"), ("ReportFailure", "sqs:SendMessage")):
        schedule(watched, "sweep", "canary", denied="sweep")
    assert dead_letters(watched) == []


def test_a_sweep_that_fails_leaves_no_letter_without(watched: Stage) -> None:
    def fail() -> None:
        runs = started(watched, "sweep")
        watched.functions.invoke(FunctionName="hb-dev-sweep", InvocationType="Event", Payload='{"task": "sweep"}')
        until(lambda: started(watched, "sweep") > runs, "it is not started")

    dead_letters(watched)
    with without(watched, "SweepRole", ("ReadBeats", "dynamodb:Scan")):
        with without(watched, "SweepRole", ("ReportFailure", "sqs:SendMessage")):
            fail()
        assert dead_letters(watched) == []
        fail()
        [letter] = until(lambda: dead_letters(watched), "no dead letter")
    assert "allow dynamodb:Scan on table hb-dev-heartbeats" in letter


def test_each_permission_is_in_a_test() -> None:
    of_tests = {("SweepScheduleRole", "Start"), ("CanaryScheduleRole", "Start"), ("SweepScheduleRole", "ReportFailure"), ("SweepRole", "ReportFailure")}
    assert {(role, sid) for role, sid, _ in OF_SERVICES if sid != "Log"} == of_tests
    assert len(PERMISSIONS) > 30
