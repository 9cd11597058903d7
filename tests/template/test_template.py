"""The templates match the code, and each mistake in them is found by the checks that the table names."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from check_alarms import ALARMS, table_of_alarms
from checks import CHECKS
from lint import lint_problems
from mutations import MUTATIONS, Mutation
from templates import Templates, Texts

TABLE = Path(__file__).with_name("mutations.md")


@pytest.fixture(scope="session")
def templates() -> Templates:
    return Templates.of(Texts.read())


@pytest.mark.parametrize("name", CHECKS)
def test_templates_pass(name: str, templates: Templates) -> None:
    assert list(CHECKS[name](templates)) == []


def test_templates_pass_cfn_lint() -> None:
    assert list(lint_problems(Texts.read())) == []


def caught(mutation: Mutation) -> set[str]:
    """The checks that find a mistake."""
    texts = Texts.read().replaced(mutation.file, mutation.old, mutation.new)
    files = (mutation.file,) if mutation.file.endswith(".yaml") else ()
    found = {name for name, _ in lint_problems(texts, files)}
    try:
        mutated = Templates.of(texts)
    except Exception:  # noqa: BLE001 - SAM refuses it, which `lint_problems` reports
        return found
    for name, check in CHECKS.items():
        try:
            if next(check(mutated), None):
                found.add(name)
        except (KeyError, LookupError):
            # What it checks is missing.
            found.add(name)
    return found


@pytest.fixture(scope="session")
def all_caught() -> dict[str, set[str]]:
    with ProcessPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) as pool:
        return dict(zip((m.mistake for m in MUTATIONS), pool.map(caught, MUTATIONS), strict=True))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.mistake)
def test_a_mistake_is_found_by(mutation: Mutation, all_caught: dict[str, set[str]]) -> None:
    assert all_caught[mutation.mistake] == set(mutation.caught_by)


def test_each_check_finds_a_mistake() -> None:
    """A check without a mutation may be unable to fail."""
    proven = {name for mutation in MUTATIONS for name in mutation.caught_by}
    assert set(CHECKS) - proven == set()


def test_the_table_of_alarms_is_up_to_date(templates: Templates) -> None:
    """`HB_WRITE=1 pytest tests/template` regenerates it, and the table of mistakes: look at what changed."""
    if os.environ.get("HB_WRITE"):
        ALARMS.write_text(table_of_alarms(templates))
    assert ALARMS.read_text() == table_of_alarms(templates)


def test_the_table_is_the_list() -> None:
    rows = [f"| {m.mistake} | {m.file} | {'; '.join(m.caught_by)} |" for m in MUTATIONS]
    table = "\n".join([
        "# Mistakes, and the checks that find them", "",
        "Generated from `mutations.py`. A test makes each mistake, and exactly the named checks find it.", "",
        "| mistake | in | found by |", "| --- | --- | --- |", *rows, "",
    ])  # fmt: skip
    if os.environ.get("HB_WRITE"):
        TABLE.write_text(table)
    assert TABLE.read_text() == table
