"""`scripts/ledger.py` moves every record, resumes where it was interrupted, and stops when somebody else writes."""

import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from templates import ROOT, Json

sys.path.insert(0, str(ROOT / "scripts"))
from ledger import Move, Stopped

REGION = "eu-west-1"
SWEEP, CANARY = "hb-prod-sweep", "hb-prod-canary"
HOSTS = 60
"""More than two batches."""


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        boto3.client("dynamodb", REGION).create_table(
            TableName="hb-prod-ledger", BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "h", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "h", "KeyType": "HASH"}],
        )  # fmt: skip
        for number in range(HOSTS):
            put(f"main/web-{number}", number)
        archive = io.BytesIO()
        zipfile.ZipFile(archive, "w").writestr("bootstrap", "x")
        role = boto3.client("iam", REGION).create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        for name in (SWEEP, CANARY):
            boto3.client("lambda", REGION).create_function(
                FunctionName=name, Runtime="provided.al2023", Role=role, Handler="bootstrap",
                Code={"ZipFile": archive.getvalue()},
            )  # fmt: skip
        boto3.client("lambda", REGION).put_function_concurrency(FunctionName=SWEEP, ReservedConcurrentExecutions=2)
        yield


def put(host: str, number: int) -> None:
    item = {"h": {"S": host}, "v": {"N": str(number)}, "j": {"B": bytes([number])}, "m": {"M": {"B": {"S": "b"}}}}
    boto3.client("dynamodb", REGION).put_item(TableName="hb-prod-ledger", Item=item)


def items() -> list[Json]:
    found = boto3.client("dynamodb", REGION).scan(TableName="hb-prod-ledger")["Items"]
    return sorted(found, key=lambda item: item["h"]["S"])


def reserved(name: str) -> int | None:
    found = boto3.client("lambda", REGION).get_function_concurrency(FunctionName=name)
    return found.get("ReservedConcurrentExecutions")


def move(folder: Path) -> Move:
    return Move("prod", REGION, folder / "ledger.jsonl", wait=0)


def test_all_records_come_back_and_the_writers_stand_still(stage: None, tmp_path: Path) -> None:
    before = items()
    move(tmp_path).empty()
    assert (items(), reserved(SWEEP), reserved(CANARY)) == ([], 0, 0)
    move(tmp_path).fill()
    assert (items(), reserved(SWEEP), reserved(CANARY)) == (before, 2, None)


class Cut(Exception):
    """What ends a step in the middle."""


@pytest.mark.parametrize("command", ["empty", "fill"])
def test_an_interrupted_command_is_run_again(
    stage: None, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = items()
    if command == "fill":
        move(tmp_path).empty()
    broken = move(tmp_path)
    send, sent = broken.dynamodb.batch_write_item, []

    def one_batch(**request: Json) -> Json:
        if sent:
            raise Cut
        sent.append(request)
        return send(**request)

    monkeypatch.setattr(broken.dynamodb, "batch_write_item", one_batch)
    with pytest.raises(Cut):
        getattr(broken, command)()
    assert 0 < len(items()) < HOSTS
    assert (reserved(SWEEP), reserved(CANARY)) == (0, 0)
    move(tmp_path).empty() if command == "empty" else None
    move(tmp_path).fill()
    assert (items(), reserved(SWEEP), reserved(CANARY)) == (before, 2, None)


def test_what_dynamodb_does_not_take_is_sent_again(stage: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, busy = items(), move(tmp_path)
    send = busy.dynamodb.batch_write_item

    def half(RequestItems: dict[str, list[Json]]) -> Json:  # noqa: N803 - as boto3 names it
        [(table, batch)] = RequestItems.items()
        send(RequestItems={table: batch[:10]})
        return {"UnprocessedItems": {table: batch[10:]} if batch[10:] else {}}

    monkeypatch.setattr(busy.dynamodb, "batch_write_item", half)
    monkeypatch.setattr("ledger.time.sleep", lambda _: None)
    busy.empty()
    busy.fill()
    assert items() == before


@pytest.mark.parametrize("command", ["empty", "fill"])
def test_a_record_that_somebody_changed_stops_it(stage: None, tmp_path: Path, command: str) -> None:
    move(tmp_path).empty()
    put("main/web-1", 99)
    with pytest.raises(Stopped, match="another record of main/web-1"):
        getattr(move(tmp_path), command)()
    assert [item["h"]["S"] for item in items()] == ["main/web-1"]
    assert reserved(SWEEP) == 0


def test_a_stage_without_canaries_has_one_writer(stage: None, tmp_path: Path) -> None:
    boto3.client("lambda", REGION).delete_function(FunctionName=CANARY)
    move(tmp_path).empty()
    move(tmp_path).fill()
    assert (len(items()), reserved(SWEEP)) == (HOSTS, 2)


def test_nothing_is_filled_without_a_file(stage: None, tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="run the command empty first"):
        move(tmp_path).fill()
