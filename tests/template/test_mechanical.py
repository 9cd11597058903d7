"""Mistakes that a machine makes: each node of resources, rules, conditions and environments is deleted, each value is changed,
one at a time.

What no check finds is counted in `survivors.md`, by file, type and property. cfn-lint, which is slow, is asked only for the
survivors that it is said to find; the tests that run the deployment are not asked.
"""

import copy
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from checks import CHECKS
from lint import problems_of
from templates import SCENARIOS, Deployment, Json, Templates, Texts

SURVIVORS = Path(__file__).with_name("survivors.md")
FILES = ["template.yaml", "data.yaml", "edge.yaml", "samconfig.toml"]
UNTOUCHED = {"AWSTemplateFormatVersion", "Description", "Parameters", "Outputs", "version"}
PATH = tuple[str | int, ...]
REASONS = [
    (r"Tags|Description|DisplayName|BudgetName|DashboardName|Body\.(info|openapi|tags)|httpapi:createdBy|Metadata", "for people and tools; nothing depends on it"),
    (r"(Policy Properties\.PolicyDocument|KeyPolicy)\.Statement", "Sid, for people"),
    (r"Rules .*Assertions", "AssertDescription, for people"),
    (r"default deploy.*overrides", "what is particular to the stage dev"),
    (r"deploy-role global", "roles are of the whole account, in any region"),
    (r"default build", "`test_build.py` builds with it"),
    (r"Function Properties\.Code|Stack Properties\.TemplateURL", "`sam deploy` puts it in"),
    (r"Body\.paths", "SAM writes it"),
    (r"Function Properties\.(Architectures|Runtime|Handler)", "`test_run.py` and `tests/deploy` run the programs with it"),
    (r"Role Properties\.Policies", "`tests/deploy/test_permissions.py` takes each action away; Sid and PolicyName are for people"),
    (r"maxReceiveCount", "more than 3 is as good"),
    (r"DetailedMetricsEnabled", "false is the default"),
    (r"Lambda::Permission (whole|Properties.SourceArn)", "SAM adds it beside the one for all routes"),
    (r" Type$", "cfn-lint"),
]  # fmt: skip
"""Why what survives may: the first that matches file, type and property. Others wait for a check."""


def nodes(node: Json, path: PATH = ()) -> Iterator[tuple[PATH, bool]]:
    """The place of each node, and whether it is a value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if path:
        yield path, inner is None
    for key, child in inner or ():
        yield from nodes(child, (*path, key))


def changed(value: Json) -> Json:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return str(int(value) + 1) if value.isdigit() else value + "x"
    return value + 1


def mutants(template: Json) -> Iterator[tuple[PATH, Json]]:
    """Each with the place of its mistake."""
    for path, is_value in nodes(template):
        if path[0] in UNTOUCHED:
            continue
        for change in (False, True) if is_value else (False,):
            mutant = copy.deepcopy(template)
            at = mutant
            for key in path[:-1]:
                at = at[key]
            if change:
                at[path[-1]] = changed(at[path[-1]])
            else:
                del at[path[-1]]
            yield path, mutant


def part_of(templates: Templates, file: str) -> Json:
    """What is changed: of template.yaml the output of SAM."""
    return templates.expanded if file == "template.yaml" else templates.raw[file]


def found(templates: Templates, file: str, mutant: Json) -> bool:
    try:
        raw, expanded = templates.raw, templates.expanded
        if file == "template.yaml":
            expanded = mutant
            # SAM copies what it does not expand.
            raw = raw | {file: raw[file] | {part: mutant.get(part, {}) for part in ("Rules", "Conditions", "Mappings")}}
        else:
            raw = raw | {file: mutant}
        mutated = Templates(templates.texts, raw, expanded, [Deployment.of(s, expanded, raw) for s in SCENARIOS])
        return any(next(check(mutated), None) for check in CHECKS.values())
    except Exception:  # noqa: BLE001 - what a check needs is missing
        return True


def survivors_of(file: str, first: int, of: int) -> tuple[int, list[tuple[PATH, Json]]]:
    """The count of every `of`-th mutant of one file, and those that no check finds."""
    templates = Templates.of(Texts.read())
    mine = list(mutants(part_of(templates, file)))[first::of]
    return len(mine), [(path, mutant) for path, mutant in mine if not found(templates, file, mutant)]


def place(file: str, whole: Json, path: PATH) -> str:
    """A row of the table: resources by type, and what they have in common."""
    if path[0] == "Resources" and len(path) > 1:
        path = (whole["Resources"][path[1]]["Type"], *path[2:5])
    return f"{file} " + " ".join([str(path[0]), ".".join(map(str, path[1:4])) or "whole"])


def linted(mutant: Json, file: str) -> bool:
    return bool(problems_of(json.dumps(mutant), "us-east-1" if file == "edge.yaml" else "eu-west-1"))


def test_the_list_of_survivors_is_up_to_date() -> None:
    """`HB_WRITE=1 pytest tests/template` writes it: a change that adds some wants a check, or a reason."""
    templates = Templates.of(Texts.read())
    assert not any(found(templates, file, part_of(templates, file)) for file in FILES), "without a mistake a check finds one"
    work = [(file, first, 4) for file in FILES for first in range(4)]
    with ProcessPoolExecutor() as pool:
        counts, survivors = 0, defaultdict[str, list[tuple[str, Json]]](list)
        for (file, *_), (count, alive) in zip(work, pool.map(survivors_of, *zip(*work, strict=True)), strict=True):
            counts += count
            for path, mutant in alive:
                survivors[place(file, part_of(templates, file), path)].append((file, mutant))
        why = {row: next((reason for pattern, reason in REASONS if re.search(pattern, row)), "") for row in survivors}
        by_cfn_lint = [alive for row, those in survivors.items() if why[row] == "cfn-lint" for alive in those]
        missed = [file for (file, _), seen in zip(by_cfn_lint, pool.map(linted, *zip(*((m, f) for f, m in by_cfn_lint), strict=True)), strict=True) if not seen]
    assert not missed, "cfn-lint does not find what the table says that it finds"
    total = sum(map(len, survivors.values()))
    open_ones = sum(len(those) for row, those in survivors.items() if not why[row])
    table = "\n".join([
        "# Mistakes that no check finds", "",
        f"Generated by `test_mechanical.py`: of {counts} mistakes, one at a time, the checks find {counts - total}. "
        f"{total - open_ones} of the others have a reason, {open_ones} wait for a check.", "",
        "| file, type and place | mistakes | why they may stay |", "| --- | --- | --- |",
        *(f"| {row} | {len(those)} | {why[row]} |" for row, those in sorted(survivors.items())), "",
    ])  # fmt: skip
    if os.environ.get("HB_WRITE"):
        SURVIVORS.write_text(table)
    assert SURVIVORS.read_text() == table
