"""`sam build` and `sam deploy` with samconfig.toml: a change of any crate is built, what was built is deployed, and what is
left out or emptied. Cargo is replaced by a program that takes the hash of all sources for a build.
"""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from samcli.cli.types import CfnParameterOverridesType
from samcli.commands.deploy.deploy_context import DeployContext

from templates import KEY, ROOT, Stack, Templates, Texts

CARGO = """#!/usr/bin/env bash
set -euo pipefail
while [[ $1 != --lambda-dir ]]; do shift; done
root=$(cd ../.. && pwd)
mkdir -p "$2"
{ cat "$root"/crates/*/src/*.rs | sha256sum; echo "110heartbeat 0.1.0 (0123456789ab)"; } >"$2/bootstrap"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of what `sam build` reads."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/cargo").write_text(CARGO)
    (tmp_path / "bin/cargo").chmod(0o755)
    for name in ("template.yaml", "data.yaml", "samconfig.toml", "crates/lambda/Makefile", "crates/lambda/src/lib.rs",
                 "crates/domain/src/lib.rs"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def sam(clone: Path, *arguments: str, architecture: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "PATH": f"{clone}/bin:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        **({"ARCHITECTURE": architecture} if architecture else {}),
    }  # fmt: skip
    return subprocess.run(["sam", *arguments], cwd=clone, env=environment, capture_output=True, text=True, check=False)


def build(clone: Path, architecture: str | None = None) -> dict[str, str]:
    """The programs of the functions."""
    built = sam(clone, "build", architecture=architecture)
    assert built.returncode == 0, built.stderr
    programs = (clone / ".aws-sam/build").glob("*/bootstrap")
    return {program.parent.name: program.read_text() for program in programs}


def test_a_change_of_any_crate_changes_the_programs(clone: Path) -> None:
    before = build(clone)
    assert set(before) == {"Ingest", "Sweep", "Canary"}
    with (clone / "crates/domain/src/lib.rs").open("a") as source:
        source.write("// a change\n")
    after = build(clone)
    assert all(after[name] != before[name] for name in before)


def test_what_was_built_is_what_is_deployed(clone: Path) -> None:
    build(clone, "x86_64")
    config = tomllib.loads((clone / "samconfig.toml").read_text())
    for environment in ("default", "region-1", "region-2"):
        deploy = config[environment]["deploy"]["parameters"]
        assert deploy["template_file"] == ".aws-sam/build/template.yaml"
        assert deploy["parameter_overrides"][0] == "file://.aws-sam/build/built.yaml"
    assert yaml.safe_load((clone / ".aws-sam/build/built.yaml").read_text()) == {
        "Architecture": "x86_64",
        "Program": "0.1.0 (0123456789ab)",
    }


def test_nothing_is_deployed_without_a_build(clone: Path) -> None:
    deployed = sam(clone, "deploy", "--region", "eu-west-1")
    assert deployed.returncode != 0
    assert ".aws-sam/build" in deployed.stderr, deployed.stderr


def given(*overrides: str) -> dict[str, str]:
    """The parameters that `sam deploy` sends; all others keep their values."""
    values = CfnParameterOverridesType().convert(overrides, None, None)
    sent = DeployContext.merge_parameters(Templates.of(Texts.read()).raw["template.yaml"], values)
    return {one["ParameterKey"]: one["ParameterValue"] for one in sent if not one.get("UsePreviousValue")}


NAME = {"DomainName": "heartbeat.example.com", "HostedZoneId": "Z1", "TruststoreUri": "s3://bucket/ca.pem", "TruststoreVersion": "1"}


@pytest.mark.parametrize(
    ("before", "overrides", "gone"),
    [
        ({"CanaryKey": KEY}, ['CanaryKey=""'], {"Canary", "CanarySchedule", "CanaryMissing"}),
        (NAME, ['DomainName=""', 'HostedZoneId=""', 'TruststoreUri=""', 'TruststoreVersion=""'], {"Domain", "Record", "Mapping", "Certificate"}),
        ({"OpsEmail": "ops@example.com"}, ['OpsEmail=""'], {"OpsMail"}),
    ],
)  # fmt: skip
def test_an_emptied_parameter_switches_off(before: dict[str, str], overrides: list[str], gone: set[str]) -> None:
    template = Templates.of(Texts.read()).expanded
    assert gone <= set(Stack.of(template, before).resources)
    after = {**before, **given(*overrides)}
    assert not gone & set(Stack.of(template, after).resources)


def test_certificates_are_switched_off_without_the_name() -> None:
    template = Templates.of(Texts.read()).expanded
    after = {**NAME, **given('TruststoreUri=""', 'TruststoreVersion=""')}
    domain = Stack.of(template, after).resources["Domain"]["Properties"]
    assert "MutualTlsAuthentication" not in domain


def test_a_parameter_that_is_left_out_keeps_its_value() -> None:
    assert given("LogDays=7") == {"LogDays": "7"}
