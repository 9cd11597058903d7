"""The pages about the deployment name only what exists: commands with their options, parameters, outputs, alarms,
permissions. Readers paste these lines into an account that costs money.
"""

import json
import re
import shlex
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from samcli.commands.build.command import cli as sam_build
from samcli.commands.delete.command import cli as sam_delete
from samcli.commands.deploy.command import cli as sam_deploy

from check_alarms import alarms
from facts import FACTS, FUNCTIONS, NAMES, SECONDS, command_line, permissions
from templates import ROOT, Json, Templates, Texts, parse

PAGES = ["deployment.md", "pipeline.md", "operations.md", "security.md", "costs.md"]
SAM = {"build": sam_build, "deploy": sam_deploy, "delete": sam_delete}
OF_AWS_CLI = {"--region", "--query", "--output", "--profile", "--cli-binary-format"}
"""Options that every `aws` command takes (AWS CLI user guide, "Command line options")."""


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def on_aws(name: str) -> str:
    """The part of a page about AWS; `operations.md` also has one about the local server."""
    text = page(name)
    if name != "operations.md":
        return text
    return text.split("\n## On AWS\n", 1)[1].split("\n## ", 1)[0]


def commands(name: str) -> list[list[str]]:
    """All simple commands of a page, as words: in blocks (also inside `$( )`, loops and pipes) and in the text."""
    text = on_aws(name)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`((?:aws|sam|hb) [^`]+)`", text)
    found = []
    for line in lines:
        inner = re.findall(r"\$\(([^()]*)\)", line)
        for part in [re.sub(r"\$\([^()]*\)", "x", line), *inner]:
            words = shlex.split(part, comments=True)
            current: list[str] = []
            for word in [*words, ";"]:
                if word in (";", "|", "&&", "do", "done", "read") or word.endswith(";"):
                    found.append([*current, *([word[:-1]] if word not in (";",) and word.endswith(";") else [])])
                    current = []
                elif not re.match(r"^(?:[A-Z_]+=.*|xargs|-0|\d?>.*)$", word) or current:
                    current.append(word)
    return [command for command in found if command]


def of_program(program: str) -> list[tuple[str, list[str]]]:
    return [(name, c) for name in PAGES for c in commands(name) if c[0] == program]


def options(command: list[str]) -> set[str]:
    return {word.split("=")[0] for word in command if word.startswith("--")}


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates.of(Texts.read())


@cache
def service(name: str) -> Json:
    return botocore.session.get_session().get_service_model(name)


CUSTOMISED = {
    ("s3", "mb"): set(), ("s3", "cp"): set(), ("logs", "tail"): {"--since", "--filter-pattern"},
    ("dynamodb", "wait"): {"--table-name"},
    ("cloudformation", "wait"): {"--stack-name", "--change-set-name"},
}  # fmt: skip
"""Commands of the AWS CLI that are not operations of a service."""


def test_aws_commands_exist() -> None:
    checked = 0
    for where, (_, of, verb, *rest) in of_program("aws"):
        given = options(rest) - OF_AWS_CLI
        if (of, verb) in CUSTOMISED:
            assert given <= CUSTOMISED[of, verb], f"{where}: aws {of} {verb} does not take {given}"
            continue
        of = "s3" if of == "s3api" else of
        operations = {xform_name(name, "-"): name for name in service(of).operation_names}
        assert verb in operations, f"{where}: aws {of} has no {verb}"
        shape = service(of).operation_model(operations[verb]).input_shape
        members = shape.members if shape else {}
        known = {"--" + xform_name(member, "-") for member in members} | {"--" + xform_name(m, "-").lower() for m in members}
        known |= {"--no-" + xform_name(m, "-") for m, about in members.items() if about.type_name == "boolean"}
        assert given <= known, f"{where}: aws {of} {verb} does not take {sorted(given - known)}"
        required = {"--" + xform_name(member, "-") for member in (shape.required_members if shape else [])}
        # `aws lambda invoke` takes its output file as an argument, not as an option.
        assert required <= given, f"{where}: aws {of} {verb} needs {sorted(required - given)}"
        checked += 1
    assert checked > 15


def test_sam_commands_exist(templates: Templates) -> None:
    environments = templates.raw["samconfig.toml"]
    seen = of_program("sam")
    assert len(seen) > 10
    for where, (_, verb, *rest) in seen:
        if verb not in SAM:
            continue
        known = {option for parameter in SAM[verb].params for option in parameter.opts + parameter.secondary_opts}
        assert options(rest) <= known, f"{where}: sam {verb} does not take {options(rest) - known}"
        if "--config-env" in rest:
            assert rest[rest.index("--config-env") + 1] in environments, f"{where}: {rest}"


def test_parameters_exist(templates: Templates) -> None:
    known = {name for template in templates.raw.values() for name in template.get("Parameters", {})}
    for where, command in of_program("sam"):
        if "--parameter-overrides" in command:
            for pair in command[command.index("--parameter-overrides") + 1].split():
                assert pair.split("=")[0] in known, f"{where}: {pair}"
    for name in PAGES:
        for parameter, _ in re.findall(r"`([A-Z][a-z][A-Za-z]+)=([^`]*)`", on_aws(name)):
            assert parameter in known, f"{name}: {parameter}"


def test_the_table_of_parameters_is_complete(templates: Templates) -> None:
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|", page("deployment.md"), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)}
    assert listed == set(templates.raw["template.yaml"]["Parameters"])


def test_the_region_is_where_each_tool_reads_it() -> None:
    """`sam` does not read `AWS_REGION` (boto3: AWS_DEFAULT_REGION), `aws` and `hb` prefer it."""
    for name in PAGES:
        for line in re.findall(r"^export .*AWS_(?:DEFAULT_)?REGION=.*$", on_aws(name), re.MULTILINE):
            regions = re.findall(r"\bAWS_(DEFAULT_)?REGION=(\S+)", line)
            assert len(regions) == 2 and len({region for _, region in regions}) == 1, line
        assert not [c for c in re.findall(r"^AWS_REGION=.*", on_aws(name), re.MULTILINE) if " hb " not in c]


def test_an_import_names_each_table_and_has_no_outputs(templates: Templates) -> None:
    text = page("deployment.md").split("## From inline to apart")[1].split("\n## ")[0]
    [listed] = re.findall(r"jq -n '\{(.*?)\}", text)
    tables = dict(re.findall(r'(\w+): "(\w+)"', listed))
    resources = templates.raw["data.yaml"]["Resources"]
    assert tables == {name: r["Properties"]["TableName"]["Fn::Sub"].split("-")[-1] for name, r in resources.items()}
    assert all(r["Type"] == "AWS::DynamoDB::GlobalTable" and r["DeletionPolicy"] for r in resources.values())
    imported = parse(re.split(r"^Outputs:", templates.texts.files["data.yaml"], flags=re.MULTILINE)[0])
    assert "Outputs" not in imported and imported["Resources"] == resources


def test_outputs_exist(templates: Templates) -> None:
    outputs = templates.raw["template.yaml"]["Outputs"] | templates.raw["deploy-role.yaml"]["Outputs"]
    named = 0
    for name in PAGES:
        text = on_aws(name)
        for output in re.findall(r"outputs? `(\w+)`", text) + re.findall(r"OutputKey=='(\w+)'", text):
            assert output in outputs, f"{name}: {output}"
            named += 1
    assert named >= 5
    assert all(f"`{output}`" in page("deployment.md") for output in ("Url", "FirstKey", "FirstBeat"))


def test_commands_of_hb_exist(templates: Templates) -> None:
    known = command_line()
    everywhere = {"--help", "--version", *known[()]}
    seen = [command for _, command in of_program("hb")]
    outputs = templates.deployments[0].main.outputs
    seen.append(outputs["FirstKey"]["Value"].split()[1:])
    assert len(seen) > 10
    for command in seen:
        words = [word for word in command[1:] if not word.startswith("--")]
        words = words[1:] if "--stage" in command else words
        # Nouns have a verb; `send` and `cost` are verbs themselves.
        name = tuple(words[: 2 if words[0] in ("key", "subscription", "host", "audit") else 1])
        assert name in known, f"{command}"
        assert options(command) <= everywhere | set(known[name]), f"{command}: {options(command) - set(known[name])}"
        if "--scope" in command:
            assert command[command.index("--scope") + 1] in known[name]["--scope"], f"{command}"


def test_each_alarm_is_in_the_runbook(templates: Templates) -> None:
    alarm_names = {
        alarm["AlarmName"]
        for deployment in templates.deployments
        for stack in (deployment.main, deployment.edge)
        for alarm in alarms(stack).values()
    }
    rows = re.findall(r"^\| (`hb-dev-[^|]+) \|", on_aws("operations.md"), re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(hb-dev-[\w-]+)`", row)}
    assert described == alarm_names


def test_names_of_resources_exist(templates: Templates) -> None:
    """Tables, queues, functions and alarms in commands are those of a stage."""
    text = " ".join(str(d.main.resources) + str(d.data.resources) for d in templates.deployments)
    for name in PAGES:
        for command in commands(name):
            for word in command:
                for thing in re.findall(r"^hb-(?:dev|prod)-([a-z0-9-]+)$", word):
                    known = f"'hb-dev-{thing}'" in text or thing.endswith("-restored")
                    assert known, f"{name}: {word}"


def test_permissions_in_security_match_the_code() -> None:
    table = page("security.md").split("### What each function may do")[1].split("\n### ")[0]
    described = set(re.findall(r"`(?:\w+:)?([A-Z]\w+)`", table))
    needed = {action.split(":")[1] for function in FUNCTIONS for action, _ in permissions(function)}
    assert needed <= described and described <= needed | {"CreateLogStream", "PutLogEvents", "GenerateDataKey", "Decrypt", "SendMessage", "LogDays"}


def test_the_permission_of_the_audit_is_its_own() -> None:
    section = page("security.md").split("### Permissions of admins")[1].split("\n## ")[0]
    statements = json.loads(section.split("```json\n")[1].split("```")[0])
    assert [statement["Action"] for statement in statements] == ["dynamodb:PutItem", "dynamodb:Query"]
    for statement in statements:
        assert statement["Resource"].endswith(f":table/{NAMES['system']}")
        assert statement["Condition"] == {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [FACTS["auditKind"]]}}


def test_the_number_of_mistakes_is_right() -> None:
    from mutations import MUTATIONS

    assert f"[{len(MUTATIONS)} mistakes]" in page("deployment.md")


def test_the_numbers_of_a_lost_region_match_the_code(templates: Templates) -> None:
    life, slack = templates.deployments[0].main.resources["Sweep"]["Properties"]["Timeout"], SECONDS["slack"]
    numbers = [f"{SECONDS['canaryFresh']} s", f"{life + slack} s", f"{life} s", f"{slack} s"]
    numbers += [f"{SECONDS[name] // 60} min" for name in ("echoWait", "regionDeadAfter", "grace", "hold")]
    text = " ".join(on_aws("operations.md").split())
    for number in numbers:
        assert re.search(rf"\b{number}\b", text), number


def test_pages_exist() -> None:
    assert all(Path(ROOT / "docs" / name).is_file() for name in PAGES)
