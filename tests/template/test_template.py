"""The templates keep to the code, and a mistake in them is found by the check that says so."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

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
    except Exception:  # noqa: BLE001 - SAM refuses it, and `lint_problems` has said so
        return found
    for name, check in CHECKS.items():
        try:
            if next(check(mutated), None):
                found.add(name)
        except (KeyError, LookupError):
            # What it looks at is not there.
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
    """A check that no mutation proves may be one that cannot fail."""
    proven = {name for mutation in MUTATIONS for name in mutation.caught_by}
    assert set(CHECKS) - proven == set()


def test_the_table_is_the_list() -> None:
    """`HB_WRITE=1 pytest tests/template` writes it anew."""
    rows = [f"| {m.mistake} | {m.file} | {'; '.join(m.caught_by)} |" for m in MUTATIONS]
    table = "\n".join([
        "# Mistakes, and the checks that find them", "",
        "Made from `mutations.py`; a test holds the two together and makes each mistake. Each is found by the checks",
        "named and by no other.", "", "| mistake | in | found by |", "| --- | --- | --- |", *rows, "",
    ])  # fmt: skip
    if os.environ.get("HB_WRITE"):
        TABLE.write_text(table)
    assert TABLE.read_text() == table
