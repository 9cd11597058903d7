"""Checks on the repository as text.

- No file names a path of the machine it was written on.
- What pip installs has its hash in the repository.
- Every relative link of every Markdown file leads to an existing file and, where it has an anchor, to a heading.
"""

import re
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
# Not part of the repository: its history, build output, data of `hb serve`.
OUTSIDE = {".git", "target", "hb-data", ".aws-sam"}

MACHINE_PATH = re.compile(rb"(?<![\w.~-])/(?:work|root)/")
INSTALL = re.compile(rb"\bpip install\b(?:\\\n|[^\n])*")
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?^ {0,3}\1[`~]*[ \t]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
INLINE_LINK = re.compile(r"\]\(\s*<?([^\s<>)]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?([^\s<>]+)", re.MULTILINE)
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
SCHEME = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def files():
    """Every file of the repository."""
    for path in sorted(ROOT.rglob("*")):
        if OUTSIDE.isdisjoint(path.relative_to(ROOT).parts) and path.is_file():
            yield path


def machine_paths(path):
    """The lines of a file that name a path of the machine."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if MACHINE_PATH.search(line):
            yield f"line {number} names a path of a machine: {line.decode(errors='replace').strip()}"


def unhashed_installs(path):
    """The commands of a file that install Python packages without comparing their hashes."""
    for command in INSTALL.findall(path.read_bytes()):
        if b"--require-hashes" not in command:
            yield f"installs without --require-hashes: {command.decode(errors='replace')}"


def blank(match):
    """The same number of lines without their text, so that line numbers remain valid."""
    return "\n" * match.group().count("\n")


def anchors(path):
    """The anchors of the headings of a Markdown file, as the usual forges generate them."""
    seen = {}
    for heading in HEADING.findall(FENCE.sub(blank, path.read_text())):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        yield f"{slug}-{count}" if count else slug


def broken_links(path):
    """The broken relative links of a Markdown file."""
    text = CODE.sub("", FENCE.sub(blank, path.read_text()))
    for link in INLINE_LINK.findall(text) + REFERENCE.findall(text):
        if SCHEME.match(link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.is_relative_to(ROOT) or not target.exists():
            yield f"links to {link}, which does not exist"
        elif anchor and target.suffix == ".md" and anchor not in set(anchors(target)):
            yield f"links to {link}, but {target.name} has no such heading"


def main():
    problems, pages = [], 0
    for path in files():
        found = list(machine_paths(path))
        if path != Path(__file__).resolve():
            found += unhashed_installs(path)
        if path.suffix == ".md":
            pages += 1
            found += broken_links(path)
        problems += [f"{path.relative_to(ROOT)}: {problem}" for problem in found]
    if not (ROOT / "README.md").is_file():
        problems.append("README.md: does not exist")
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"no path of a machine; every relative link of {pages} Markdown files is valid")


if __name__ == "__main__":
    main()
