"""A stage gets tables of their own, then a second region, and gives it up: as docs/deployment.md says."""

import re

import pytest

from account import FIRST, ROOT, SECOND, Account, Json, Shell, Stage, lines

OF_TWO = re.compile(r', "(?:Data=apart|OtherRegion=[\w-]+|SecondRegion=[\w-]+|WitnessRegion=[\w-]+)"')
"""What samconfig.toml says of two regions."""


@pytest.fixture(scope="module")
def one(account: Account, shell: Shell) -> Stage:
    """The stage prod in one region, with its tables inline."""
    shell.run(f"export AWS_REGION={FIRST} AWS_DEFAULT_REGION={FIRST}")
    config = account.folder / "clone/samconfig.toml"
    config.write_text(OF_TWO.sub("", config.read_text()))
    shell.run("sam build")
    shell.run("sam deploy --config-env region-1")
    return Stage(account, "prod")


@pytest.fixture(scope="module")
def key(account: Account, one: Stage) -> str:
    return account.key("prod")


def items(stage: Stage, table: str) -> list[Json]:
    found: list[Json] = stage.dynamodb.scan(TableName=f"hb-prod-{table}")["Items"]
    return sorted(found, key=str)


def stacks(account: Account, region: str) -> set[str]:
    return {stack["StackName"] for stack in account.client("cloudformation", region).describe_stacks()["Stacks"] if "heartbeat" in stack["StackName"]}


def test_from_inline_to_apart(account: Account, one: Stage, key: str, shell: Shell) -> None:
    one.beat(key, "web-1")
    one.sweep()
    before = {table: items(one, table) for table in ("heartbeats", "keys", "ledger")}
    shell.follow("From inline to apart")
    assert {table: items(one, table) for table in before} == before
    assert "heartbeat-prod-data" in stacks(account, FIRST)
    one.beat(key, "web-1")
    one.sweep()


def test_add_a_region(account: Account, one: Stage, key: str, shell: Shell) -> None:
    empty, *rest = lines("Add a region")
    before = [item for item in items(one, "ledger") if "#" not in item["h"]["S"]]
    shell.run(empty)
    assert items(one, "ledger") == []
    with pytest.raises(one.functions.exceptions.TooManyRequestsException):
        one.sweep()
    (account.folder / "clone/samconfig.toml").write_text((ROOT / "samconfig.toml").read_text())
    one.beat(key, "web-2")
    for line in rest:
        shell.run(line)
    two = Stage(account, "prod", SECOND)
    assert [item for item in items(two, "ledger") if "#" not in item["h"]["S"]] == before
    two.beat(key, "web-3")
    for stage in (one, two):
        stage.sweep()
        assert account.hb("--stage", "prod", "host", "list", "--region", stage.region).stdout.count(" up ") == 3


def test_remove_a_region(account: Account, one: Stage, key: str, shell: Shell) -> None:
    shell.run(f"sam delete --stack-name heartbeat-prod --region {SECOND} --no-prompts")
    for line in lines("Remove a region"):
        shell.run(line)
    assert account.client("dynamodb", SECOND).list_tables()["TableNames"] == ["hb-prod-system"]
    one.beat(key, "web-1")
    one.sweep()
    assert account.hb("--stage", "prod", "host", "list").stdout.count(" up ") == 3
