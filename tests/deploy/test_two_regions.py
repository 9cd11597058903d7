"""Two regions with one ledger: what is announced, and by whom, while one of them or the way between them fails."""

import json
import time

import pytest

from account import FIRST, SECOND, Account, Shell, Stage, until

Regions = tuple[Stage, Stage]


@pytest.fixture(scope="module")
def regions(account: Account, shell: Shell) -> Regions:
    shell.follow("Two regions")
    both = Stage(account, "prod", FIRST), Stage(account, "prod", SECOND)
    for stage in both:
        stage.listen()
    return both


@pytest.fixture(scope="module")
def key(account: Account, regions: Regions) -> str:
    return account.key("prod")


def minute(*stages: Stage) -> None:
    """What the schedules do."""
    for stage in stages:
        assert stage.invoke("canary") == {"blackoutSeconds": 0}
    for stage in stages:
        stage.sweep()


def settled(stage: Stage, key: str, host: str, **fields: int) -> None:
    """A host that is not new: one of the last two minutes is only registered, whatever it does."""
    stage.beat(key, host, **fields)
    stage.dynamodb.update_item(
        TableName="hb-prod-heartbeats", Key={"h": {"S": f"main/{host}"}, "r": {"S": stage.region}},
        UpdateExpression="SET f = :f", ExpressionAttributeValues={":f": {"N": str(time.time_ns() // 10**6 - 600_000)}},
    )  # fmt: skip


class Heard:
    """What was said about the silence of a host, in either region."""

    def __init__(self, regions: Regions, host: str) -> None:
        self.regions, self.host, self.notices = regions, host, []

    def kinds(self) -> list[str]:
        for stage in self.regions:
            self.notices += [notice for notice in stage.notices() if self.host in str(notice["hosts"])]
        return [notice["kind"] for notice in self.notices if notice["kind"] in ("missing", "recovered")]


def test_the_doctor_finds_nothing(regions: Regions, shell: Shell) -> None:
    minute(*regions)
    minute(*regions)
    shown = shell.run("AWS_REGION=eu-west-1 hb --stage prod doctor")
    assert "warning" not in shown.split() and "problem" not in shown.split()


def test_one_of_both_announces(regions: Regions, key: str) -> None:
    heard = Heard(regions, "web-1")
    settled(regions[0], key, "web-1", intervalMs=1000)

    def told(kind: str) -> bool:
        minute(*regions)
        return kind in heard.kinds()

    until(lambda: told("missing"), "no notice")
    regions[1].beat(key, "web-1", intervalMs=600_000)
    until(lambda: told("recovered"), "no notice")
    minute(*regions)
    assert heard.kinds() == ["missing", "recovered"]


def test_a_host_that_beats_elsewhere_is_not_missing_while_nothing_is_copied(account: Account, regions: Regions, key: str) -> None:
    one, two = regions
    heard = Heard(regions, "web-2")
    settled(one, key, "web-2", intervalMs=1000)
    minute(*regions)
    account.cut.touch()
    two.beat(key, "web-2", intervalMs=600_000)
    time.sleep(7)  # The interval, and how much clocks may differ.
    for _ in range(3):
        minute(*regions)
    item = one.dynamodb.scan(TableName="hb-prod-heartbeats")["Items"]
    assert {beat["r"]["S"] for beat in item if beat["h"]["S"] == "main/web-2"} == {FIRST}, "the beat was copied"
    account.cut.unlink()
    for _ in range(2):
        minute(*regions)
    item = one.dynamodb.scan(TableName="hb-prod-heartbeats")["Items"]
    assert {beat["r"]["S"] for beat in item if beat["h"]["S"] == "main/web-2"} == {FIRST, SECOND}, "the beat was not copied later"
    assert heard.kinds() == []


def test_a_silence_is_announced_once_while_nothing_is_copied(account: Account, regions: Regions, key: str) -> None:
    heard = Heard(regions, "web-3")
    settled(regions[0], key, "web-3", intervalMs=1000)
    account.cut.touch()

    def told() -> bool:
        minute(*regions)
        return "missing" in heard.kinds()

    until(told, "no notice")
    account.cut.unlink()
    minute(*regions)
    minute(*regions)
    assert heard.kinds() == ["missing"]


FUNCTIONS = {"ingest": 100, "sweep": 2, "canary": 1}


def reserve(stage: Stage, **concurrency: int) -> None:
    for name, most in concurrency.items():
        stage.functions.put_function_concurrency(FunctionName=f"hb-prod-{name}", ReservedConcurrentExecutions=most)


def test_the_other_region_announces_once_when_one_stands_still(account: Account, regions: Regions, key: str) -> None:
    one, two = regions
    heard = Heard(regions, "web-4")
    settled(one, key, "web-4", intervalMs=1000)
    settled(two, key, "web-4", intervalMs=1000)
    minute(*regions)
    reserve(two, ingest=0, sweep=0, canary=0)
    assert two.request("GET", "/v1/status")[0] >= 400
    # Instead of six minutes of waiting: its last canaries, and the beats, were that long ago.
    ago = str(time.time_ns() // 10**6 - 360_000)
    for item in one.dynamodb.scan(TableName="hb-prod-heartbeats")["Items"]:
        if item["r"]["S"] == SECOND:
            one.dynamodb.update_item(
                TableName="hb-prod-heartbeats", Key={"h": item["h"], "r": item["r"]},
                UpdateExpression="SET l = :ago", ExpressionAttributeValues={":ago": {"N": ago}},
            )  # fmt: skip
    place = {"h": {"S": f"#receiver/{SECOND}"}}
    receiver = one.dynamodb.get_item(TableName="hb-prod-ledger", Key=place)["Item"]
    entry = json.loads(receiver["entry"]["S"]) | {"heard": int(ago)}
    one.dynamodb.put_item(TableName="hb-prod-ledger", Item=receiver | {"entry": {"S": json.dumps(entry)}})

    def told() -> bool:
        minute(one)
        return "missing" in heard.kinds()

    until(told, "no notice")
    minute(one)
    reserve(two, **FUNCTIONS)
    two.invoke("canary")
    minute(*regions)
    assert heard.kinds() == ["missing"]
    assert f"region {SECOND} is unreachable" in json.dumps(heard.notices)
