"""Checks that the pages about the code name what exists.

- docs/guards.md: every function of the column "where" and every test of the column "test" is in the sources.
- docs/architecture.md, docs/guards.md, docs/recipes.md: every path of a source file or folder exists, written from the
  root or from `crates/` without `src/`, as in `domain/decide.rs`.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["docs/architecture.md", "docs/guards.md", "docs/recipes.md"]

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
ITEM = re.compile(r"\b(?:fn|struct|enum|trait|type|const)\s+(\w+)")
FUNCTION = re.compile(r"\bfn\s+(\w+)")
PATH = re.compile(r"[a-z_]+(?:/[\w.-]+)+/?")


def sources():
    """The text of every Rust file."""
    for folder in ("crates", "tests"):
        for path in (ROOT / folder).rglob("*.rs"):
            if "target" not in path.parts:
                yield path.read_text()


def rows(text):
    """The rows of the tables whose columns are condition, where, test."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 3 and "`" in cells[1] and "`" in cells[2]:
            yield cells


def exists(path):
    """Whether a path leads somewhere, from the root or from a crate's folder `src`."""
    crate, _, rest = path.partition("/")
    places = [ROOT / path, ROOT / "crates" / path, ROOT / "crates" / crate / "src" / rest]
    return any(place.exists() for place in places)


def main():
    texts = list(sources())
    functions = {name for text in texts for name in FUNCTION.findall(text)}
    items = {name for text in texts for name in ITEM.findall(text)}
    problems, checked = [], 0
    for _, where, tests in rows((ROOT / "docs/guards.md").read_text()):
        for name in CODE.findall(where):
            checked += 1
            if name.split("::")[-1] not in items:
                problems.append(f"docs/guards.md: the code has no {name}")
        for name in CODE.findall(tests):
            checked += 1
            if name not in functions:
                problems.append(f"docs/guards.md: there is no test {name}")
    if checked < 100:
        problems.append(f"docs/guards.md: only {checked} names were found; its tables have another form")
    for page in PAGES:
        for code in CODE.findall(FENCE.sub("", (ROOT / page).read_text())):
            if PATH.fullmatch(code):
                checked += 1
                if not exists(code):
                    problems.append(f"{page}: {code} does not exist")
    for problem in sorted(set(problems)):
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"all {checked} functions, tests and paths that the pages name exist")


if __name__ == "__main__":
    main()
