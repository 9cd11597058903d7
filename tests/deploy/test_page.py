"""Every `sh` block of the pages about the deployment is run by a test of this folder, or has a reason here why none can."""

import re
from pathlib import Path

from account import ROOT

NOT_RUN = {
    "Prerequisites": "the step before this one installs the same, without `cargo install`",
}


def test_every_block_of_the_pages_is_run() -> None:
    with_blocks = set()
    for page in ("deployment", "pipeline"):
        text = (ROOT / f"docs/{page}.md").read_text()
        sections = re.findall(r"^#+ (.*)\n((?:(?!^#+ ).*\n)*)", re.sub(r"^# .*\n", "", text), re.MULTILINE)
        with_blocks |= {heading for heading, section in sections if "```sh" in section}
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("*.py"))
    run = set(re.findall(r'(?:follow|lines)\("([^"]+)"', tests))
    assert with_blocks == run | set(NOT_RUN)
