"""A first deployment that fails, what it leaves, the one after it, and the tear down: as docs/deployment.md says."""

import pytest

from account import FIRST, Account, Shell, lines

WRONG = "sam deploy --parameter-overrides file://.aws-sam/build/built.yaml Stage=dev OpsEmail=nobody"
TABLES = [f"hb-dev-{name}" for name in ("heartbeats", "keys", "ledger", "system")]


@pytest.fixture(scope="module")
def terminal(shell: Shell) -> Shell:
    shell.run(f"export AWS_REGION={FIRST} AWS_DEFAULT_REGION={FIRST}")
    shell.run("sam build")
    return shell


def tables(account: Account) -> list[str]:
    found: list[str] = account.client("dynamodb").list_tables()["TableNames"]
    return found


def stacks(account: Account) -> dict[str, str]:
    found = account.client("cloudformation").describe_stacks()["Stacks"]
    return {stack["StackName"]: stack["StackStatus"] for stack in found if stack["StackName"].startswith("heartbeat")}


def test_a_failed_one_leaves_nothing(account: Account, terminal: Shell) -> None:
    terminal.run(f"{WRONG} DeletionProtection=false", code=1)
    assert stacks(account) == {"heartbeat-dev": "ROLLBACK_COMPLETE"} and tables(account) == []
    why, delete, *_ = lines("A first deployment that failed")
    assert terminal.run(why).split("\t")[0] == "OpsMail"
    terminal.run(delete)
    assert stacks(account) == {}


def test_a_failed_one_leaves_protected_tables(account: Account, terminal: Shell) -> None:
    terminal.run(f"{WRONG} DeletionProtection=true", code=1)
    assert stacks(account)["heartbeat-dev"] == "ROLLBACK_FAILED" and tables(account) == TABLES
    _, _, count, *rest = lines("A first deployment that failed")
    assert '"Count": 0' in terminal.run(count)
    for line in rest:
        terminal.run(line)
    assert stacks(account) == {} and tables(account) == []


def test_the_next_one_works(account: Account, terminal: Shell) -> None:
    shown = terminal.follow("One region")
    assert "web-01  main   up" in shown[-1]


def test_what_was_given_is_switched_off(account: Account, terminal: Shell) -> None:
    def functions() -> set[str]:
        return {one["FunctionName"] for one in account.client("lambda").list_functions()["Functions"]}

    terminal.follow("Canaries")
    assert "hb-dev-canary" in functions()
    terminal.follow("Change a parameter, switch something off")
    assert functions() == {"hb-dev-ingest", "hb-dev-sweep"}
    assert account.client("scheduler").list_schedules()["Schedules"][0]["Name"] == "hb-dev-sweep"


def test_the_tear_down_keeps_the_data_until_it_is_deleted_as_well(account: Account, terminal: Shell) -> None:
    delete, data = lines("Tear down")
    terminal.run(delete)
    assert stacks(account) == {} and tables(account) == TABLES
    assert account.client("lambda").list_functions()["Functions"] == []
    terminal.run(data)
    assert tables(account) == []
