"""One region: from the first beat to the tear down. The `sh` blocks of docs/deployment.md are what runs."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from account import Account, Json, Shell, Stage, until


@pytest.fixture(scope="module")
def key(account: Account, stage: Stage) -> str:
    return account.key("dev")


def announced(stage: Stage, host: str) -> list[str]:
    """What is said about a host, once something is, and in two more sweeps."""

    def found() -> list[str]:
        stage.sweep()
        return [notice["kind"] for notice in stage.notices() if [one["hostId"] for one in notice["hosts"]] == [host]]

    first: list[str] = until(found, f"no notice of {host}")
    return first + found() + found()


def test_a_silent_host_is_announced_once_and_so_is_its_return(stage: Stage, key: str) -> None:
    stage.beat(key, "web-10", intervalMs=1000)
    assert announced(stage, "web-10") == ["registered"]
    assert announced(stage, "web-10") == ["missing"]
    stage.beat(key, "web-10", intervalMs=600_000)
    assert announced(stage, "web-10") == ["recovered"]


def test_200_hosts_are_in_one_digest(stage: Stage, key: str) -> None:
    for path, kind in ("/fail", "failing"), ("", "recovered"):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: stage.beat(key, f"job-{number}", path), range(200)))
        stage.sweep()
        stage.sweep()
        assert [(notice["kind"], len(notice["hosts"])) for notice in stage.notices()] == [(kind, 200)]


def test_canaries_prove_the_coverage_and_the_doctor_finds_nothing(stage: Stage, shell: Shell) -> None:
    shell.follow("Canaries")
    assert stage.invoke("canary") == {"blackoutSeconds": 0}
    stage.sweep()
    shown = shell.run("hb --stage dev doctor")
    assert not re.findall(r"^(?:warning|problem) .*", shown, re.MULTILINE)


def test_each_alarm_of_the_service_has_its_metric(account: Account, stage: Stage) -> None:
    cloudwatch = account.client("cloudwatch")
    stage.request("POST", "/v1/heartbeat/web-01", "wrong")

    def series(metric: Json) -> tuple[str, str, list[tuple[str, str]]]:
        return metric["Namespace"], metric["MetricName"], sorted((d["Name"], d["Value"]) for d in metric["Dimensions"])

    there = [series(metric) for page in cloudwatch.get_paginator("list_metrics").paginate() for metric in page["Metrics"]]
    alarms = cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    own = [alarm for alarm in alarms["MetricAlarms"] if alarm["Namespace"] == "Heartbeat"]
    assert len(own) >= 9
    assert not [alarm["AlarmName"] for alarm in own if series(alarm) not in there]
    assert {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms["CompositeAlarms"]} == {
        "hb-dev-sweep-missing": "OK", "hb-dev-canary-missing": "OK",
    }  # fmt: skip
    assert ("Heartbeat", "RefusedBeats", [("Reason", "unauthenticated"), ("Stage", "dev")]) in there


def test_the_schedule_sweeps_and_sends_canaries(stage: Stage) -> None:
    """The last one: a minute has passed since the deployment."""

    def started(function: str) -> int:
        return sum("START" in line for line in stage.log(function))

    before = {function: started(function) for function in ("sweep", "canary")}
    for function, runs in before.items():
        until(lambda: started(function) > runs, f"no {function} was started by its schedule", 90)
