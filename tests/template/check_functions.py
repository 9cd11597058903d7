"""What must hold of functions, their schedules and their logs."""

import json
import tomllib
from collections.abc import Iterator

import rust
from registry import check, in_each_deployment
from templates import Deployment, Json, Templates

PROGRAMS = {"Ingest": "ingest", "Sweep": "sweep", "Canary": "sweep"}
"""The program that each function runs."""


@check
def functions_run_the_programs_of_the_code(templates: Templates) -> Iterator[str]:
    """The binaries exist, are built with the measured profile, and start as `bootstrap` on a bare runtime."""
    for name, function in functions(templates.raw["template.yaml"]).items():
        program = function.get("Metadata", {}).get("BuildProperties", {}).get("Binary")
        if PROGRAMS.get(name) != program or function["Metadata"].get("BuildMethod") != "rust-cargolambda":
            yield f"{name} is built as {function.get('Metadata')}"
        if not (rust.CRATES / f"lambda/src/bin/{program}.rs").is_file():
            yield f"{name} runs {program}, which the code does not have"
    runtime = templates.raw["template.yaml"]["Globals"]["Function"]
    if (runtime["Runtime"], runtime["Handler"], runtime["CodeUri"]) != ("provided.al2023", "bootstrap", "crates/lambda"):
        yield "functions are not bootstraps of crates/lambda on provided.al2023"
    build = tomllib.loads(templates.texts.files["crates/lambda/Cargo.toml"])["package"]["metadata"]["lambda"]["build"]
    given = tomllib.loads("\n".join(build["config"]))["profile"]["release"]
    if given != rust.profile() or not build["disable_optimizations"]:
        yield f"sam build would use {build}, [profile.lambda] is {rust.profile()}"


def functions(template: Json) -> dict[str, Json]:
    found = template["Resources"].items()
    return {name: r for name, r in found if r["Type"] == "AWS::Serverless::Function"}


@check
def variables_are_those_that_the_code_reads(templates: Templates) -> Iterator[str]:
    """Each that is set is read, and each that is read can be set; the canary's belong to its function alone."""
    read, deployment = rust.variables(), templates.deployments[1]
    lambdas = deployment.main.of_type("AWS::Lambda::Function")
    for name, function in lambdas.items():
        given = set(function.get("Environment", {}).get("Variables", {}))
        wanted = set(read[PROGRAMS[name]])
        if name == "Sweep":
            wanted -= rust.CANARY_VARIABLES
        if name == "Canary":
            wanted = rust.CANARY_VARIABLES | (read["ingest"] & read["sweep"])
        for variable in sorted(given - wanted):
            yield f"{name} is given {variable}, which it does not read"
        for variable in sorted(wanted - given):
            yield f"{name} is not given {variable}, which it reads"


@in_each_deployment
def functions_have_time_and_no_second_try(deployment: Deployment) -> Iterator[str]:
    """A sweep has its passes and its margin; no more of them at once than may send; what failed is not tried again."""
    minute, margin = rust.sweep_timing()
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        if name == "Sweep":
            if not minute + margin <= function["Timeout"] < 2 * minute:
                yield f"Sweep has {function['Timeout']} s; passes and margin take {minute + margin} s"
            most = function.get("ReservedConcurrentExecutions", -(-function["Timeout"] // minute))
            if most * rust.messages_per_second() >= 10:
                yield f"{most} sweeps at once send {most * rust.messages_per_second()} messages a second"
        if name in ("Sweep", "Canary"):
            invoked = deployment.main.resources.get(f"{name}EventInvokeConfig", {}).get("Properties", {})
            if invoked.get("MaximumRetryAttempts") != 0:
                yield f"Lambda would start {name} again after an error"


@in_each_deployment
def schedules_start_functions_once_a_minute(deployment: Deployment) -> Iterator[str]:
    """`rate(1 minute)`, at once, without a second try, with the event that the code knows, by a role that may."""
    made = deployment.main.of_type("AWS::Scheduler::Schedule")
    wanted = {f"{name}.Arn": name.lower() for name in deployment.main.of_type("AWS::Lambda::Function") if name != "Ingest"}
    if {schedule["Target"]["Arn"] for schedule in made.values()} != set(wanted):
        yield f"schedules start {[schedule['Target']['Arn'] for schedule in made.values()]}, not {sorted(wanted)}"
    for name, schedule in made.items():
        target = schedule["Target"]
        if schedule["ScheduleExpression"] != "rate(1 minute)" or schedule["FlexibleTimeWindow"] != {"Mode": "OFF"}:
            yield f"{name} runs at {schedule['ScheduleExpression']}, {schedule['FlexibleTimeWindow']}"
        if target.get("RetryPolicy", {}).get("MaximumRetryAttempts") != 0:
            yield f"{name} tries again"
        if json.loads(target["Input"]) != {"task": wanted.get(target["Arn"])}:
            yield f"{name} sends {target['Input']}"
        if schedule.get("State", "ENABLED") != "ENABLED":
            yield f"{name} is off"
    # One canary may be late by a quarter of a minute without a blackout.
    if not 60 < rust.canary_freshness() < 120:
        yield f"a canary a minute, and it is believed for {rust.canary_freshness()} s"


@in_each_deployment
def log_groups_are_the_functions_own(deployment: Deployment) -> Iterator[str]:
    """Each function writes JSON to a group of its own, named after it, which is kept for a while and not for ever."""
    groups = deployment.main.of_type("AWS::Logs::LogGroup")
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        log = function.get("LoggingConfig", {})
        group = groups.get(log.get("LogGroup", ""))
        if group is None or group["LogGroupName"] != f"/aws/lambda/{function['FunctionName']}":
            yield f"{name} logs to {log.get('LogGroup')}: {group}"
        if log.get("LogFormat") != "JSON":
            yield f"{name} logs as {log.get('LogFormat')}"
    for name, group in groups.items():
        if not group.get("RetentionInDays"):
            yield f"{name} keeps logs for ever"
