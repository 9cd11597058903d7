"""cfn-lint on the templates as written and on the output of SAM, where half of the mistakes show."""

import json
from collections.abc import Iterator

from cfnlint.api import lint
from cfnlint.config import ManualArgs

from templates import REGION, Texts, expand, parse


def problems_of(text: str, region: str = REGION) -> list[str]:
    """Errors and warnings. Informational findings are style."""
    config = ManualArgs(regions=[region], ignore_checks=["I"])
    return [f"{match.rule.id} {match.message}" for match in lint(text, config=config)]


def lint_problems(texts: Texts, files: tuple[str, ...] = ("template.yaml", "data.yaml", "edge.yaml", "deploy-role.yaml")) -> Iterator[tuple[str, str]]:
    """Problems of these files, each with the name of the check: `cfn-lint` or `cfn-lint expanded`."""
    for name in files:
        for problem in problems_of(texts.files[name], "us-east-1" if name == "edge.yaml" else REGION):
            yield "cfn-lint", f"{name}: {problem}"
    if "template.yaml" in files:
        try:
            expanded = expand(parse(texts.files["template.yaml"]))
        except Exception as error:  # noqa: BLE001 - every refusal by SAM is a problem of the template
            yield "cfn-lint expanded", f"SAM does not expand it: {error}"
            return
        for problem in problems_of(json.dumps(expanded, indent=1)):
            yield "cfn-lint expanded", problem
