"""Each permission of each role is needed: without it something fails, and says which one is missing."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from account import Account, Json, Shell, Stage, until

ROLES = ("IngestRole", "SweepRole", "CanaryRole", "SweepScheduleRole", "CanaryScheduleRole")


@pytest.fixture(scope="module")
def watched(stage: Stage, shell: Shell) -> Stage:
    """A stage with canaries, whose schedules do not tick: each test starts its functions itself."""
    shell.follow("Canaries")
    schedules = stage.account.client("scheduler")
    for name in ("hb-dev-sweep", "hb-dev-canary"):
        about = schedules.get_schedule(Name=name)
        schedules.update_schedule(State="DISABLED", **{name: about[name] for name in ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")})
    return stage


def fresh(stage: Stage) -> None:
    """Functions that have read nothing yet."""
    for name in ("ingest", "sweep", "canary"):
        stage.functions.update_function_configuration(FunctionName=f"hb-dev-{name}", Description=str(time.time_ns()))


def use(stage: Stage) -> str:
    """Everything that the functions do, and what they say of it."""
    before = {name: len(stage.log(name)) for name in ("ingest", "sweep", "canary")}
    fresh(stage)
    host, said = f"web-{time.time_ns()}", []
    # A new key, since a known one is not read again; a beat of each kind, one with a wrong clock.
    key = stage.account.key("dev")
    for path in ("", "/fail"):
        said.append(str(stage.request("POST", f"/v1/heartbeat/{host}{path}", key, {"message": "disk full"})))
    said.append(str(stage.request("GET", "/v1/status")))
    said += [json.dumps(stage.invoke(function)) for function in ("sweep", "canary", "sweep")]
    said += [line for name in before for line in stage.log(name)[before[name]:]]
    return "\n".join(said)


def test_everything_is_allowed(watched: Stage) -> None:
    said = use(watched)
    print(said)
    assert "not allowed" not in said
