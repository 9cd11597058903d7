"""The roles of deploy-role.yaml: what the workflow does with them, from nothing to the tear down, what it cannot do without
each permission, and what it can do in no case.
"""

import base64
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

import boto3
import pytest
from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse

from account import FIRST, ROOT, SCHEMAS, SECOND, Account, Json, Shell, Stage, lines, until

os.environ.setdefault("HB_SCHEMAS", str(SCHEMAS))
from handlers import needed  # noqa: E402 - it reads them from there

SUBJECT = "repo:example/heartbeat:environment:prod"
ALL_ON = '"DomainName=heartbeat.example.com", "HostedZoneId=ZONE", "OpsEmail=ops@example.com", "MonthlyBudget=100", "CanaryKey=KEY", '
KEY = f"hbk_{'a' * 10}_{'a' * 59}"


def credentials(account: Account, role: str, sub: str, aud: str = "sts.amazonaws.com") -> dict[str, str]:
    """What GitHub's token is exchanged for."""
    claims = {"iss": "https://token.actions.githubusercontent.com", "sub": sub, "aud": aud}
    token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims, {}))
    given = account.client("sts").assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::000000000000:role/hb-prod-{role}", RoleSessionName="github", WebIdentityToken=token
    )["Credentials"]  # fmt: skip
    return {"AWS_ACCESS_KEY_ID": given["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"], "AWS_SESSION_TOKEN": given["SessionToken"]}


class Job:
    """A job of the workflow: one role, and the command that it runs."""

    def __init__(self, account: Account, role: str) -> None:
        self.account, self.role = account, f"hb-prod-{role}"
        self.keys = credentials(account, role, SUBJECT + ("-plan" if role == "plan" else ""))
        self.shell = Shell(account)
        for name, value in self.keys.items():
            self.shell.run(f"export {name}={value}")
        self.commands = lines("Deploy from a terminal", "pipeline")

    def client(self, service: str, region: str = FIRST) -> Json:
        keys = {name.lower(): value for name, value in self.keys.items()}
        return boto3.client(service, region_name=region, endpoint_url=self.account.url, **keys)

    def plan(self, code: int = 0, environments: str = "data region-1 region-2") -> tuple[str, list[Json]]:
        """What a person reads, and what the other job takes."""
        [command] = re.findall(r"\((.*?) \|", self.commands[0])
        shown = self.shell.run(command.replace("data region-1 region-2", environments), code)
        return shown, json.loads(next((line for line in shown.splitlines() if line.startswith("[")), "[]"))

    def apply(self, changes: list[Json], code: int = 0) -> str:
        self.shell.run(f"changes='{json.dumps(changes)}'")
        return self.shell.run(self.commands[1], code)


@contextmanager
def without(account: Account, role: str, sid: str, action: str) -> Iterator[None]:
    """Takes an action of a statement away from a role."""
    iam = account.client("iam")
    [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    before = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    after = json.loads(json.dumps(before))
    [statement] = (one for one in after["Statement"] if one["Sid"] == sid)
    statement["Action"] = [one for one in listed(statement["Action"]) if one != action] or ["none:none"]
    assert after != before
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(after))
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(before))


def listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def statements(role: str) -> list[Json]:
    [policy] = yaml_parse((ROOT / "deploy-role.yaml").read_text())["Resources"][role]["Properties"]["Policies"]
    found: list[Json] = policy["PolicyDocument"]["Statement"]
    return found


def actions(role: str) -> list[tuple[str, str]]:
    return [(one["Sid"], action) for one in statements(role) for action in listed(one["Action"])]


@pytest.fixture(scope="module")
def admin(account: Account, shell: Shell) -> Shell:
    """The account with the roles of the page and the buckets of `sam`, and a stage that is to have all that one may have."""
    zone = account.client("route53").create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"].rsplit("/", 1)[1]
    roles, limit, *_ = lines("Set up", "pipeline")
    shell.run(roles)
    shell.run(limit)
    config = account.folder / "clone/samconfig.toml"
    assert config.read_text().count('"Boundary=true"') == 2
    config.write_text(config.read_text().replace('"Stage=prod", "Data=apart"', ALL_ON.replace("ZONE", zone).replace("KEY", KEY) + '"Stage=prod", "Data=apart"'))
    shell.run(f"sam package --template-file data.yaml --resolve-s3 --region {SECOND} --output-template-file /dev/null")
    shell.run("sam build")
    return shell


@pytest.fixture(scope="module")
def plan(account: Account, admin: Shell) -> Iterator[Job]:
    job = Job(account, "plan")
    yield job
    job.shell.close()


@pytest.fixture(scope="module")
def deploy(account: Account, admin: Shell) -> Iterator[Job]:
    job = Job(account, "deploy")
    yield job
    job.shell.close()


@pytest.mark.parametrize(
    ("role", "sub", "aud"),
    [
        ("deploy", f"{SUBJECT}-plan", "sts.amazonaws.com"), ("plan", SUBJECT, "sts.amazonaws.com"),
        ("deploy", "repo:example/heartbeat:ref:refs/heads/main", "sts.amazonaws.com"),
        ("deploy", "repo:example/heartbeat:pull_request", "sts.amazonaws.com"),
        ("deploy", "repo:stranger/heartbeat:environment:prod", "sts.amazonaws.com"), ("deploy", SUBJECT, "https://github.com/example"),
        ("cloudformation", SUBJECT, "sts.amazonaws.com"),
    ],
)  # fmt: skip
def test_nobody_else_takes_a_role(account: Account, admin: Shell, role: str, sub: str, aud: str) -> None:
    with pytest.raises(ClientError, match="Not authorized"):
        credentials(account, role, sub, aud)


def test_a_plan_changes_nothing_and_is_executed_until_something_is_wrong(account: Account, plan: Job, deploy: Job) -> None:
    shown, changes = plan.plan()
    assert "| Add | Ledger | AWS::DynamoDB::GlobalTable |" in shown and [change["region"] for change in changes] == [FIRST, FIRST, SECOND]
    assert account.client("dynamodb").list_tables()["TableNames"] == []
    # An empty stage has no key and no sweep.
    said = deploy.apply(changes, code=1)
    assert f"deploy.py: {FIRST}: hb doctor: exit code 1" in said and "no active key can send beats" in said
    assert "not allowed" not in said
    functions = [account.client("lambda", region).list_functions()["Functions"] for region in (FIRST, SECOND)]
    assert len(functions[0]) == 3 and functions[1] == []
    # Somebody makes the first deployment by hand; here it is the role.
    deploy.client("cloudformation", SECOND).execute_change_set(ChangeSetName=changes[2]["changeSet"], StackName="heartbeat-prod")
    account.client("cloudformation", SECOND).get_waiter("stack_create_complete").wait(StackName="heartbeat-prod", WaiterConfig={"Delay": 1})


@pytest.fixture(scope="module")
def stages(account: Account, admin: Shell) -> tuple[Stage, Stage]:
    """Both regions, with what an admin adds."""
    both = Stage(account, "prod"), Stage(account, "prod", SECOND)
    config = account.folder / "clone/samconfig.toml"
    config.write_text(config.read_text().replace(KEY, account.key("prod", "--scope", "canary")))
    for stage in both:
        stage.listen()
        admin.run(f"sam deploy --config-env {'region-1' if stage.region == FIRST else 'region-2'}")
    key = account.key("prod")
    for stage in both:
        stage.beat(key, "web-01")
        assert stage.invoke("canary") == {"blackoutSeconds": 0}
    for stage in (*both, *both):
        said = json.dumps(stage.sweep())
        assert "not allowed" not in "".join([said, *stage.log("sweep"), *stage.log("ingest"), *stage.log("canary")])
    return both


def test_the_same_again_changes_nothing(stages: tuple[Stage, Stage], plan: Job) -> None:
    shown, changes = plan.plan(environments="data region-1")
    assert changes == [] and shown.count("Nothing changes.") == 2


def changed(account: Account) -> int:
    """A change of both regions: another limit of an alarm."""
    config = account.folder / "clone/samconfig.toml"
    text, limit = config.read_text(), 1 + max(map(int, re.findall(r"RefusedBeatsLimit=(\d+)", config.read_text())), default=500)
    config.write_text(re.sub(r'(?:"RefusedBeatsLimit=\d+", )?"Stage=prod", "Data=apart"', f'"RefusedBeatsLimit={limit}", "Stage=prod", "Data=apart"', text))
    return limit


def limits(account: Account) -> list[float]:
    """What both regions have."""
    found = [account.client("cloudwatch", region).describe_alarms(AlarmNames=["hb-prod-refused-beats"]) for region in (FIRST, SECOND)]
    return [alarm["Threshold"] for one in found for alarm in one["MetricAlarms"]]


def version(account: Account) -> str:
    """The one that the gateway starts."""
    return str(account.client("lambda").get_alias(FunctionName="hb-prod-ingest", Name="live")["FunctionVersion"])


def test_a_change_comes_to_one_region_after_the_other(account: Account, stages: tuple[Stage, Stage], plan: Job, deploy: Job) -> None:
    """A parameter that `ingest` reads makes a new version, to which the alias leads."""
    limit, before = changed(account), version(account)
    config = account.folder / "clone/samconfig.toml"
    config.write_text(config.read_text().replace('"RefusedBeatsLimit', '"LogLevel=debug", "RefusedBeatsLimit'))
    shown, changes = plan.plan()
    assert "| Modify | RefusedBeats | AWS::CloudWatch::Alarm |" in shown and "| AWS::Lambda::Version |" in shown
    said = deploy.apply(changes)
    assert int(version(account)) > int(before)
    assert f"heartbeat-prod in {FIRST} is deployed" in said and f"heartbeat-prod in {SECOND} is deployed" in said
    assert limits(account) == [limit, limit]


def test_an_alarm_keeps_a_change_from_the_second_region(account: Account, stages: tuple[Stage, Stage], plan: Job, deploy: Job) -> None:
    limit = changed(account)
    _, changes = plan.plan()
    cloudwatch = account.client("cloudwatch")
    # One that tells people, and a part of another one.
    for name in ("hb-prod-second-copies", "hb-prod-sweep-seen"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    said = deploy.apply(changes, code=1)
    assert f"deploy.py: {FIRST}: hb-prod-second-copies: see docs/operations.md" in said
    assert limits(account) == [limit, limit - 1]
    cloudwatch.set_alarm_state(AlarmName="hb-prod-second-copies", StateValue="OK", StateReason="test")
    # What was planned is executed once.
    assert "deploy.py: An error occurred" in deploy.apply(changes[:1], code=1)
    deploy.apply(changes[1:])
    assert limits(account) == [limit, limit]


NOT_READ = {("Transform", "cloudformation:CreateChangeSet"), ("Upload", "s3:GetObject")}
"""The emulator does not ask for it: SAM's transform, and the template, which CloudFormation reads for the role."""


@pytest.mark.parametrize(("sid", "action"), [one for one in actions("PlanRole") if one not in NOT_READ])
def test_a_plan_names_the_permission_that_it_lacks(account: Account, stages: tuple[Stage, Stage], plan: Job, sid: str, action: str) -> None:
    template = account.folder / "clone/data.yaml"
    before = template.read_text()
    # Something that was not uploaded before.
    template.write_text(before.replace("The tables, in this", f"The tables of {sid}, in this"))
    with without(account, plan.role, sid, action):
        said, _ = plan.plan(code=1, environments="data")
    template.write_text(before)
    # `sam` would make the bucket that it does not see.
    assert f"perform: {action}" in said or (sid == "FindBucket" and "Failed to create managed resources" in said), said


@pytest.mark.parametrize(("sid", "action"), [one for one in actions("DeployRole") if not one[0].startswith("Read")])
def test_a_deployment_names_the_permission_that_it_lacks(account: Account, stages: tuple[Stage, Stage], plan: Job, deploy: Job, sid: str, action: str) -> None:
    changed(account)
    _, changes = plan.plan(environments="region-1")
    with without(account, deploy.role, sid, action):
        said = deploy.apply(changes, code=1)
    assert f"perform: {action}" in said, said


@pytest.mark.parametrize(("sid", "action"), [one for one in actions("DeployRole") if one[0].startswith("Read")])
def test_the_doctor_names_the_permission_that_it_lacks(account: Account, stages: tuple[Stage, Stage], deploy: Job, sid: str, action: str) -> None:
    with without(account, deploy.role, sid, action):
        said = deploy.shell.run(f"AWS_REGION={FIRST} hb --stage prod doctor", code=1)
    assert f"allow {action} on" in said, said


def test_what_the_service_role_lacks_is_named_and_taken_back(account: Account, stages: tuple[Stage, Stage], plan: Job, deploy: Job) -> None:
    limit = changed(account)
    _, changes = plan.plan(environments="region-1")
    with without(account, "hb-prod-cloudformation", "Alarms", "cloudwatch:PutMetricAlarm"):
        said = deploy.apply(changes, code=1)
    assert "RefusedBeats: " in said
    assert "is not authorized to perform: cloudwatch:PutMetricAlarm on resource: arn:aws:cloudwatch:eu-west-1:000000000000:alarm:hb-prod-refused-beats" in said
    [stack] = account.client("cloudformation").describe_stacks(StackName="heartbeat-prod")["Stacks"]
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE" and limits(account)[0] < limit


# ---- What can be done in no case.


def with_role(account: Account, plan: Job, deploy: Job, properties: Json) -> str:
    """Why a deployment with one more role fails; nothing when it does not."""
    template = yaml_parse((ROOT / "data.yaml").read_text())
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}]}
    template["Resources"]["Admin"] = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust, **properties}}
    about = {"StackName": "heartbeat-prod-data", "ChangeSetName": f"admin-{len(json.dumps(properties))}"}
    cloudformation = plan.client("cloudformation")
    cloudformation.create_change_set(
        **about, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": name, "UsePreviousValue": True} for name in ("Stage", "SecondRegion", "WitnessRegion")],
        RoleARN="arn:aws:iam::000000000000:role/hb-prod-cloudformation",
    )  # fmt: skip
    cloudformation.get_waiter("change_set_create_complete").wait(**about, WaiterConfig={"Delay": 1})
    deploy.client("cloudformation").execute_change_set(**about)

    def ended() -> str:
        [stack] = account.client("cloudformation").describe_stacks(StackName="heartbeat-prod-data")["Stacks"]
        return "" if stack["StackStatus"].endswith("IN_PROGRESS") else stack["StackStatus"]

    if until(ended, "it does not end") == "UPDATE_COMPLETE":
        return ""
    events = account.client("cloudformation").describe_stack_events(StackName="heartbeat-prod-data")["StackEvents"]
    return str(next(event["ResourceStatusReason"] for event in events if event["LogicalResourceId"] == "Admin" and event["ResourceStatus"].endswith("_FAILED")))


BOUNDARY = "arn:aws:iam::000000000000:policy/hb-prod-boundary"
ALL = {"PolicyName": "all", "PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}}
OF_AWS = {"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}


@pytest.mark.parametrize(
    ("properties", "refused"),
    [
        (OF_AWS, "iam:CreateRole"), ({"Policies": [ALL]}, "iam:CreateRole"), (OF_AWS | {"PermissionsBoundary": BOUNDARY}, "iam:AttachRolePolicy"),
        ({"PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess", "Policies": [ALL]}, "iam:CreateRole"),
        ({"RoleName": "hb-prod-other", "PermissionsBoundary": BOUNDARY, "Policies": [ALL]}, "iam:CreateRole"),
        ({"RoleName": "Admin", "PermissionsBoundary": BOUNDARY, "Policies": [ALL]}, "iam:CreateRole"),
    ],
)  # fmt: skip
def test_no_administrator_is_made(account: Account, stages: tuple[Stage, Stage], plan: Job, deploy: Job, properties: Json, refused: str) -> None:
    assert f"is not authorized to perform: {refused} on resource" in with_role(account, plan, deploy, properties)


def test_a_role_with_every_permission_reaches_the_stage_only(account: Account, stages: tuple[Stage, Stage], plan: Job, deploy: Job) -> None:
    assert with_role(account, plan, deploy, {"PermissionsBoundary": BOUNDARY, "Policies": [ALL]}) == ""
    role = account.client("cloudformation").describe_stack_resource(StackName="heartbeat-prod-data", LogicalResourceId="Admin")
    name = role["StackResourceDetail"]["PhysicalResourceId"]
    given = account.client("sts").assume_role(RoleArn=f"arn:aws:iam::000000000000:role/{name}", RoleSessionName="job")["Credentials"]
    keys = {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"], "aws_session_token": given["SessionToken"]}

    def client(service: str) -> Json:
        return boto3.client(service, region_name=FIRST, endpoint_url=account.url, **keys)

    client("dynamodb").scan(TableName="hb-prod-keys")
    for service, attempt, about in (
        ("iam", "create_user", {"UserName": "x"}), ("iam", "delete_role_permissions_boundary", {"RoleName": name}), ("s3", "list_buckets", {}),
        ("dynamodb", "delete_table", {"TableName": "hb-prod-keys"}), ("dynamodb", "scan", {"TableName": "hb-other-keys"}),
    ):  # fmt: skip
        print(attempt)
        with pytest.raises(ClientError, match="not authorized"):
            getattr(client(service), attempt)(**about)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda job: job.client("cloudformation").create_change_set(StackName="other", ChangeSetName="x", TemplateBody="{}", ChangeSetType="CREATE"),
        lambda job: job.client("cloudformation").create_change_set(StackName="heartbeat-prod-deploy-role", ChangeSetName="x", TemplateBody="{}"),
        lambda job: job.client("cloudformation").create_change_set(StackName="heartbeat-prod", ChangeSetName="x", RoleARN="arn:aws:iam::000000000000:role/Admin", UsePreviousTemplate=True),
        lambda job: job.client("cloudformation").update_stack(StackName="heartbeat-prod", UsePreviousTemplate=True),
        lambda job: job.client("cloudformation").delete_stack(StackName="heartbeat-prod"),
        lambda job: job.client("iam").create_role(RoleName="heartbeat-prod-x", AssumeRolePolicyDocument="{}"),
        lambda job: job.client("sts").assume_role(RoleArn="arn:aws:iam::000000000000:role/hb-prod-cloudformation", RoleSessionName="job"),
        lambda job: job.client("dynamodb").put_item(TableName="hb-prod-keys", Item={"id": {"S": "x"}}),
        lambda job: job.client("lambda").invoke(FunctionName="hb-prod-sweep"),
        lambda job: job.client("s3").list_buckets(),
        lambda job: job.client("cloudwatch").set_alarm_state(AlarmName="hb-prod-gateway-5xx", StateValue="OK", StateReason="x"),
    ],
)  # fmt: skip
def test_neither_job_does_anything_else(stages: tuple[Stage, Stage], plan: Job, deploy: Job, attempt: Callable[[Job], None]) -> None:
    for job in (plan, deploy):
        with pytest.raises(ClientError, match="not authorized"):
            attempt(job)


def test_neither_job_does_the_work_of_the_other(stages: tuple[Stage, Stage], plan: Job, deploy: Job) -> None:
    with pytest.raises(ClientError, match="not authorized to perform: cloudformation:ExecuteChangeSet"):
        plan.client("cloudformation").execute_change_set(StackName="heartbeat-prod", ChangeSetName="x")
    with pytest.raises(ClientError, match="not authorized to perform: cloudformation:CreateChangeSet"):
        deploy.client("cloudformation").create_change_set(StackName="heartbeat-prod", ChangeSetName="x", TemplateBody="{}")


# ---- The end.


def test_the_service_role_has_what_the_types_of_resources_need(account: Account, stages: tuple[Stage, Stage]) -> None:
    """And nothing that no type needs."""
    template = account.client("cloudformation").get_template(StackName="heartbeat-prod", TemplateStage="Processed")["TemplateBody"]
    kinds = {about["Type"] for about in template["Resources"].values()} | {"AWS::DynamoDB::GlobalTable"}
    assert len(kinds) >= 30
    needs = {action.lower() for kind in kinds for named in needed(kind).values() for action in named}
    given = {action.lower() for _, action in actions("ServiceRole")}
    assert {need for need in needs if not any(fnmatchcase(need, one.lower()) or fnmatchcase(one, need) for one in given)} == set()
    assert {one for one in given if not any(fnmatchcase(need, one) or fnmatchcase(one, need) for need in needs)} == set()


def test_a_stage_is_removed_under_the_service_role(account: Account, stages: tuple[Stage, Stage], admin: Shell) -> None:
    asked = account.folder / "asked"
    before = len(asked.read_text().splitlines())
    for stack, region in ("heartbeat-prod", SECOND), ("heartbeat-prod", FIRST), ("heartbeat-prod-data", FIRST):
        admin.run(f"sam delete --stack-name {stack} --region {region} --no-prompts")
    questions = [json.loads(line) for line in asked.read_text().splitlines()]
    assert len(questions) > before + 100
    assert len(account.client("dynamodb").list_tables()["TableNames"]) == 4
