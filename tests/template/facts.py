"""The facts of the code that templates and pages repeat, as `crates/lambda/examples/facts.rs` prints them.

`HB_FACTS` may name the built program; without it cargo builds and runs it.
"""

import json
import os
import re
import subprocess
import tomllib

from templates import ROOT, Json


def read() -> Json:
    given = os.environ.get("HB_FACTS", "")
    if not given.startswith("{"):
        program = [given] if given else ["cargo", "run", "--quiet", "-p", "hb-lambda", "--example", "facts"]
        given = subprocess.run(program, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        # The processes that run the mutations read it from here.
        os.environ["HB_FACTS"] = given
    return json.loads(given)


FACTS = read()
NAMES: dict[str, str] = FACTS["names"]
FUNCTIONS: dict[str, Json] = FACTS["functions"]
SECONDS: dict[str, int] = FACTS["seconds"]


def permissions(function: str) -> set[tuple[str, str]]:
    """Action and resource of each AWS call of a function."""
    return {(action, resource) for action, resource in FUNCTIONS[function]["permissions"]}


def profile() -> dict[str, Json]:
    """The values of the build profile of the functions."""
    values = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]["lambda"]
    return {name: value for name, value in values.items() if name != "inherits"}


def command_line() -> dict[tuple[str, ...], dict[str, set[str]]]:
    """The options of each command of `hb`, and the values of those that take one of several (docs/cli.md)."""
    commands = {}
    for section in re.split(r"^## hb", (ROOT / "docs/cli.md").read_text(), flags=re.MULTILINE)[1:]:
        words, _, text = section.partition("\n")
        rows = re.findall(r"^\| `(--[\w-]+).*", text, re.MULTILINE), re.findall(r"^\| `--.*", text, re.MULTILINE)
        commands[tuple(words.split())] = {
            option: set(re.findall(r"`([^`]+)`", row.partition("One of ")[2])) for option, row in zip(*rows, strict=True)
        }
    return commands
