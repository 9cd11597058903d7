"""The output of `sam build` runs on the resources that the templates describe: a beat, a silence, a notice, a canary.

`HB_BUILD` names a folder with the output of `sam build` for each architecture, `x86_64` and `arm64`; that of this
machine runs.
"""

import hashlib
import json
import os
import platform
import re
import time
import zlib
from base64 import b32encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulated import Stage, emulated
from function import Function, Gateway, http_event
from templates import Deployment, Templates, Texts

SET = os.environ.get("HB_BUILD")
if not SET:
    assert not os.environ.get("CI"), "CI must not skip the build: set HB_BUILD"
    pytest.skip("SKIPPED: set HB_BUILD to the output folder of sam build", allow_module_level=True)
BUILD = Path(SET)
HERE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
MACHINES = {"x86_64": 0x3E, "arm64": 0xB7}
"""The ELF code of each architecture."""
GLIBC = 34
"""The minor version of glibc 2 in Amazon Linux 2023, on which `provided.al2023` runs."""


@pytest.mark.parametrize("architecture", MACHINES)
def test_programs_fit_the_architecture_and_the_runtime(architecture: str, deployment: Deployment) -> None:
    for name in deployment.main.of_type("AWS::Lambda::Function"):
        program = (BUILD / architecture / name / "bootstrap").read_bytes()
        assert program[:4] == b"\x7fELF" and program[18] == MACHINES[architecture]
        wanted = {int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", program)}
        assert wanted and max(wanted) <= GLIBC


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return Templates.of(Texts.read()).deployments[1]


@pytest.fixture
def stage(deployment: Deployment) -> Iterator[Stage]:
    with emulated(deployment) as made:
        yield made


class Running:
    """The functions of a stage while a test runs."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.started: list[Function] = []

    def start(self, name: str, **changed: str) -> Function:
        properties = self.stage.deployment.main.resources[name]["Properties"]
        function = Function(BUILD / HERE / name / "bootstrap", properties, self.stage.url, changed)
        self.started.append(function)
        return function


@pytest.fixture
def running(stage: Stage) -> Iterator[Running]:
    functions = Running(stage)
    yield functions
    for function in functions.started:
        function.stop()


def base32(data: bytes) -> str:
    return b32encode(data).decode().rstrip("=").lower()


def api_key(stage: Stage, scope: str) -> str:
    """A key as `hb key create` writes it (crates/domain/src/key.rs, crates/aws/src/keys.rs)."""
    secret = hashlib.sha256(scope.encode()).digest()
    body = "hbk_" + base32(secret)[:10] + "_" + base32(secret)
    checksum = base32(zlib.crc32(body.encode()).to_bytes(4, "big"))
    stage.dynamodb.put_item(
        TableName="hb-dev-keys",
        Item={
            "id": {"S": base32(secret)[:10]}, "name": {"S": scope}, "hash": {"B": hashlib.sha256(secret).digest()},
            "fleet": {"S": "main"}, "scope": {"S": scope}, "prefixes": {"L": []},
            "created": {"N": str(int(time.time() * 1000))},
        },
    )  # fmt: skip
    return body + checksum


def test_a_silent_host_is_reported_once(stage: Stage, running: Running) -> None:
    ingest, sweep = running.start("Ingest"), running.start("Sweep")
    queue, key = stage.listen("on-call"), api_key(stage, "ingest")
    # As `hb fleet set main --group-wait 0s --group-interval 0s` stores it.
    record = '{"fleet": "main", "settings": {"groupWait": 0, "groupInterval": 0}}'
    fleet = {"h": {"S": "#fleet/main"}, "entry": {"S": record}, "version": {"N": "1"}, "open": {"N": "19"},
             "writer": {"S": "00000000-0000-0000-0000-000000000000"}}  # fmt: skip
    stage.dynamodb.put_item(TableName="hb-dev-ledger", Item=fleet)
    beat = http_event("POST", "/v1/heartbeat", {"x-api-key": key}, '{"hostId": "web-01", "intervalMs": 1000}')
    kind, answer = ingest.invoke(beat)
    assert (kind, answer["statusCode"], answer["body"]) == ("response", 200, '{"message":"OK"}')
    # The interval, and the clock skew that the sweep allows.
    time.sleep(7)
    for _ in range(3):
        kind, minute = sweep.invoke({"task": "sweep"})
        assert (kind, minute["failed"], minute["skipped"]) == ("response", 0, 0)
    notices = [json.loads(body) for body in stage.messages(queue)]
    assert [(n["kind"], n["hosts"][0]["hostId"], n["attempt"]) for n in notices] == [("missing", "web-01", 1)]
    metrics, log = sweep.stop()
    assert [line["SweepCompleted"] for line in metrics] == [1, 1, 1]
    assert not [line for line in log if line["level"] == "ERROR"]


def test_the_status_checks_table_and_topic(running: Running) -> None:
    kind, answer = running.start("Ingest").invoke(http_event("GET", "/v1/status", {}))
    assert (kind, answer["statusCode"]) == ("response", 200)


def test_a_canary_takes_the_whole_path(stage: Stage, running: Running) -> None:
    gateway = Gateway(running.start("Ingest"))
    canary = running.start("Canary", HB_CANARY_URL=gateway.url, HB_CANARY_KEY=api_key(stage, "canary"))
    kind, done = canary.invoke({"task": "canary"})
    gateway.shutdown()
    assert (kind, done) == ("response", {"blackoutSeconds": 0})
    beats = {item["h"]["S"] for item in stage.items("hb-dev-heartbeats")}
    assert len(beats) == 3
    [receiver] = stage.items("hb-dev-ledger")
    assert receiver["h"]["S"] == "#receiver/eu-west-1"
    metrics, _ = canary.stop()
    assert [line["CanaryAccepted"] for line in metrics] == [1]


def test_an_event_that_is_not_a_request_is_an_error(running: Running) -> None:
    kind, error = running.start("Ingest").invoke({"detail-type": "Scheduled Event"})
    assert (kind, error["errorType"]) == ("error", "NotHttp")
