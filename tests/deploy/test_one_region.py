"""One region: from the first beat to the tear down. The `sh` blocks of docs/deployment.md are what runs."""

import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import pytest

from account import Account, Json, Shell, Stage, until


@pytest.fixture(scope="module")
def key(account: Account, stage: Stage) -> str:
    return account.key("dev")


def announced(stage: Stage, host: str) -> list[str]:
    """What is said about a host, by itself or with others, once something is, and in two more sweeps."""

    def found() -> list[str]:
        stage.sweep()
        return [notice["kind"] for notice in stage.notices() if host in [one["hostId"] for one in notice["hosts"]]]

    first: list[str] = until(found, f"no notice of {host}")
    return first + found() + found()


def test_a_silent_host_is_announced_once_and_so_is_its_return(stage: Stage, key: str) -> None:
    stage.beat(key, "web-10", intervalMs=4000)
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


class Fleet:
    """Hosts that beat every half second, and try again when they are not answered 200, as `curl --retry` does."""

    def __init__(self, stage: Stage, key: str) -> None:
        self.stage, self.key = stage, key
        self.hosts, self.beats = [f"till-{number}" for number in range(10)], 0
        self.stopped = Event()
        self.thread = Thread(target=self.run)

    def run(self) -> None:
        while not self.stopped.wait(0.5):
            for host in self.hosts:
                while self.stage.request("POST", f"/v1/heartbeat/{host}", self.key, {"intervalMs": 15_000})[0] != 200:
                    time.sleep(0.1)
                self.beats += 1

    def __enter__(self) -> "Fleet":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()


def earlier(account: Account, built: Path) -> Path:
    """What was built of an earlier version: HB_BUILD_BEFORE, or the same programs under the name of another commit."""
    if given := os.environ.get("HB_BUILD_BEFORE"):
        return Path(given)
    before = account.folder / "before"
    shutil.copytree(built, before)
    [commit] = re.findall(r"\((\w+)\)", (built / "built.yaml").read_text())
    for file in [before / "built.yaml", *before.glob("*/bootstrap")]:
        file.write_bytes(file.read_bytes().replace(commit.encode(), b"0123456789ab"[: len(commit)]))
    return before


def test_an_upgrade_and_the_way_back_lose_no_beat_and_announce_nothing_twice(
    account: Account, stage: Stage, key: str, shell: Shell
) -> None:
    now = (account.folder / "built").resolve()
    stage.beat(key, "web-20", intervalMs=4000)
    assert announced(stage, "web-20") == ["registered"]
    assert announced(stage, "web-20") == ["missing"]
    programs = []
    with Fleet(stage, key) as fleet:
        for built in (earlier(account, now), now):
            account.checked_out(built)
            stage.invoke("canary")
            stage.sweep()
            shell.follow("Upgrade and roll back")
            programs.append(stage.output("Program"))
            assert programs[-1].split("(")[1][:-1] in stage.request("GET", "/v1/status")[1]
            stage.sweep()
    stage.sweep()
    assert len(set(programs)) == 2 and fleet.beats > 40
    stored = {item["h"]["S"]: int(item["l"]["N"]) for item in stage.dynamodb.scan(TableName="hb-dev-heartbeats")["Items"]}
    assert all(stored[f"main/{host}"] > (time.time() - 10) * 1000 for host in fleet.hosts)
    told = [(host["hostId"], notice["kind"]) for notice in stage.notices() for host in notice["hosts"]]
    assert not [one for one in told if one[0] in ["web-20", *fleet.hosts] and one[1] != "registered"]


def test_the_schedule_sweeps_and_sends_canaries(stage: Stage) -> None:
    """The last one: a minute has passed since the deployment."""
    for function in ("sweep", "canary"):
        until(
            lambda name=function: sum(line.startswith("START") for line in stage.log(name)) > stage.invoked[name],
            f"no {function} was started by its schedule", 90,
        )  # fmt: skip
