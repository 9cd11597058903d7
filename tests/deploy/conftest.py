"""One account for each file of tests, and in it the stage `dev` as docs/deployment.md deploys it."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from account import Account, Shell, Stage

SET = [os.environ.get(name) for name in ("HB_BUILD", "HB_EMULATOR", "HB_PROGRAM")]
HERE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not all(SET):
        assert not os.environ.get("CI"), "CI must not skip the deployment: set HB_BUILD, HB_EMULATOR and HB_PROGRAM"
        for item in items:
            item.add_marker(pytest.mark.skip(reason="set HB_BUILD, HB_EMULATOR and HB_PROGRAM (docs/development.md)"))


@pytest.fixture(scope="module")
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    made = Account(tmp_path_factory.mktemp("account"), Path(os.environ["HB_BUILD"]) / HERE)
    yield made
    made.stop()
    if request.session.testsfailed:
        print((made.folder / "emulator.log").read_text()[-20_000:])
    shutil.rmtree(made.folder)


@pytest.fixture(scope="module")
def shell(account: Account) -> Iterator[Shell]:
    terminal = Shell(account)
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def stage(account: Account, shell: Shell) -> Stage:
    shown = shell.follow("One region")
    assert '{"message":"OK"}' in shown[-3]
    assert "web-01  main   up" in shown[-1]
    deployed = Stage(account, "dev")
    deployed.listen()
    return deployed
