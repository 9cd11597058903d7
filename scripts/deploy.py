"""Deploys a stage in two steps: somebody looks at the changes between them (docs/pipeline.md).

    python scripts/deploy.py plan data region-1 region-2
    python scripts/deploy.py apply '[...]'

`plan` makes a change set for each of these environments of samconfig.toml, and changes nothing else. It prints the changes as
Markdown; the last line is what `apply` takes. `apply` executes exactly these change sets, one after the other: the next one
only when the stack before has no alarm for ten minutes and `hb doctor` finds no problem.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

Json = Any
POLL = 15
"""Seconds between two looks."""


class Stopped(Exception):
    """Why it goes no further."""


def plan(environments: list[str]) -> None:
    with open("samconfig.toml", "rb") as file:
        config = tomllib.load(file)
    changes = []
    for environment in environments:
        about = config.get(environment, {}).get("global", {}).get("parameters", {})
        if not {"stack_name", "region"} <= set(about):
            raise Stopped(f"samconfig.toml has no environment {environment} with stack_name and region")
        stack, region = about["stack_name"], about["region"]
        stage = stack.removeprefix("heartbeat-").removesuffix("-data")
        account = boto3.client("sts", region_name=region).get_caller_identity()["Account"]
        role = f"arn:aws:iam::{account}:role/hb-{stage}-cloudformation"
        command = ["sam", "deploy", "--config-env", environment, "--no-execute-changeset", "--no-confirm-changeset", "--role-arn", role]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stdout.splitlines() if line.strip() and "Uploading" not in line]
            raise Stopped("\n".join([f"{' '.join(command)}: exit code {done.returncode}", *said[-10:]]))
        # Without changes there is none.
        made = re.findall(r"arn:\S+:changeSet/\S+", done.stdout)[-1:]
        print(f"### {stack} in {region}\n")
        if not made:
            print("Nothing changes.\n")
            continue
        print(table(region, stack, made[0]))
        changes.append({"stack": stack, "stage": stage, "region": region, "changeSet": made[0]})
    print(json.dumps(changes))


def table(region: str, stack: str, change_set: str) -> str:
    """The changes as a table; what is replaced or removed first."""
    rows = []
    pages = boto3.client("cloudformation", region_name=region).get_paginator("describe_change_set").paginate(ChangeSetName=change_set, StackName=stack)
    for change in (change["ResourceChange"] for page in pages for change in page["Changes"]):
        replaced = change.get("Replacement", "False")
        properties = sorted({detail["Target"].get("Name") or detail["Target"]["Attribute"] for detail in change.get("Details", [])})
        mild = change["Action"] != "Remove" and replaced == "False"
        row = [change["Action"], change["LogicalResourceId"], change["ResourceType"], replaced, ", ".join(properties)]
        rows.append((mild, f"| {' | '.join(row)} |"))
    return "\n".join(["| action | resource | type | replaced | properties |", "| --- | --- | --- | --- | --- |", *(row for _, row in sorted(rows)), ""])


def read(line: str) -> list[Json]:
    try:
        return json.loads(line)
    except ValueError as error:
        raise Stopped(f"apply takes the last line of plan, a list in JSON: {error}") from error


def apply(changes: list[Json], seconds: int) -> None:
    for change in changes:
        stack, region = change["stack"], change["region"]
        print(f"{stack} in {region}: {change['changeSet']}", flush=True)
        execute(stack, region, change["changeSet"], max(1, min(POLL, seconds)))
        if not stack.endswith("-data"):
            watch(change["stage"], region, seconds)
        print(f"{stack} in {region} is deployed", flush=True)


def execute(stack: str, region: str, change_set: str, poll: int) -> None:
    cloudformation = boto3.client("cloudformation", region_name=region)
    [before] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    old = {event["EventId"] for event in cloudformation.describe_stack_events(StackName=stack)["StackEvents"]}
    cloudformation.execute_change_set(ChangeSetName=change_set, StackName=stack)
    step = "create" if before["StackStatus"] == "REVIEW_IN_PROGRESS" else "update"
    try:
        cloudformation.get_waiter(f"stack_{step}_complete").wait(StackName=stack, WaiterConfig={"Delay": poll, "MaxAttempts": 240})
    except WaiterError as error:
        pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
        failed = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
            for page in pages for event in page["StackEvents"]
            if event["EventId"] not in old and event["ResourceStatus"].endswith("_FAILED")
        ]  # fmt: skip
        # The newest is first, and the oldest is the cause.
        cause = failed[-1] if failed else error
        raise Stopped(f"{stack} in {region}: {cause}. CloudFormation goes back to what was there before. Nothing after it was deployed") from error


def watch(stage: str, region: str, seconds: int) -> None:
    """Returns when no alarm of the stage was raised for so long, and the doctor finds no problem."""
    cloudwatch = boto3.client("cloudwatch", region_name=region)
    end = time.monotonic() + seconds
    while True:
        pages = cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=f"hb-{stage}-", AlarmTypes=["MetricAlarm", "CompositeAlarm"], StateValue="ALARM"
        )
        alarms = [alarm for page in pages for alarm in page["MetricAlarms"] + page["CompositeAlarms"]]
        # The others are parts of these.
        if raised := sorted(alarm["AlarmName"] for alarm in alarms if alarm["AlarmActions"]):
            raise Stopped(f"{region}: {', '.join(raised)}: see docs/operations.md. Nothing after it was deployed; to go back, deploy the version before")
        if time.monotonic() >= end:
            break
        time.sleep(min(POLL, max(0, end - time.monotonic())))
    done = subprocess.run(["hb", "--stage", stage, "doctor"], env={**os.environ, "AWS_REGION": region}, check=False)
    if done.returncode:
        raise Stopped(f"{region}: hb doctor: exit code {done.returncode}, see above. Nothing after it was deployed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["plan", "apply"])
    parser.add_argument("what", nargs="+", help="environments of samconfig.toml; for apply, the last line of plan")
    parser.add_argument("--wait", type=int, default=600, help="seconds for which a region is watched before the next one")
    given = parser.parse_args()
    try:
        plan(given.what) if given.step == "plan" else apply(read(given.what[0]), given.wait)
    except (Stopped, BotoCoreError, ClientError, OSError) as error:
        sys.exit(f"deploy.py: {error}")


if __name__ == "__main__":
    main()
