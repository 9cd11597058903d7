"""Checks of parameters and environments."""

import tomllib
from collections.abc import Iterator

from facts import FACTS
from registry import check
from templates import Templates


@check
def environments_set_existing_parameters(templates: Templates) -> Iterator[str]:
    """samconfig.toml sets parameters of the template that it deploys, to allowed values; the two regions name each
    other, and the data stack both."""
    config = tomllib.loads(templates.texts.files["samconfig.toml"])
    given: dict[str, dict[str, str]] = {}
    for environment in ("default", "data", "region-1", "region-2", "edge"):
        deploy = config[environment]["deploy"]["parameters"]
        template = templates.raw[deploy["template_file"].removeprefix(".aws-sam/build/")]
        values = dict(pair.split("=", 1) for pair in deploy["parameter_overrides"] if not pair.startswith("file://"))
        values["region"] = config[environment]["global"]["parameters"].get("region", "")
        given[environment] = values
        for name, value in values.items():
            about = template["Parameters"].get(name)
            if name != "region" and about is None:
                yield f"{environment} sets {name}, which is not a parameter"
            elif about and "AllowedValues" in about and value not in map(str, about["AllowedValues"]):
                yield f"{environment} sets {name} to {value}"
    data, first, second = given["data"], given["region-1"], given["region-2"]
    if (first["region"], first["OtherRegion"]) != (data["region"], data["SecondRegion"]):
        yield "region-1 and data do not name the same regions"
    if (second["region"], second["OtherRegion"]) != (data["SecondRegion"], data["region"]):
        yield "region-2 and data do not name the same regions"
    differing = {name for name in first if first[name] != second.get(name)}
    if len({v["Stage"] for v in (data, first, second)}) != 1 or differing != {"region", "OtherRegion"}:
        yield f"the two regions differ in {sorted(differing)}"


@check
def stage_names_match_the_code(templates: Templates) -> Iterator[str]:
    """Both templates accept the stages that the code accepts."""
    for name, template in templates.raw.items():
        pattern = template["Parameters"]["Stage"]["AllowedPattern"]
        if pattern != f"[a-z0-9-]{{1,{FACTS['stageChars']}}}":
            yield f"{name} accepts {pattern}"
