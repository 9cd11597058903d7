"""Checks of functions, their schedules and their logs."""

import json
import re
import tomllib
from collections.abc import Iterator

from facts import FACTS, FUNCTIONS, SECONDS, profile
from registry import check, in_each_deployment
from templates import ROOT, Deployment, Json, Templates


DAY = 86_400


@check
def functions_run_the_measured_programs(templates: Templates) -> Iterator[str]:
    """The binaries exist, are built with the measured profile, and start as `bootstrap` on a bare runtime."""
    built = dict(re.findall(r"^(build-[^:]+): PROGRAM = (\w+)$", templates.texts.files["crates/lambda/Makefile"], re.MULTILINE))
    programs = {target: program for targets, program in built.items() for target in targets.split()}
    for name, function in functions(templates.raw["template.yaml"]).items():
        program = programs.get(f"build-{name}")
        if FUNCTIONS[name]["program"] != program or function.get("Metadata") != {"BuildMethod": "makefile"}:
            yield f"{name} is built as {program}, {function.get('Metadata')}"
        if not (ROOT / f"crates/lambda/src/bin/{program}.rs").is_file():
            yield f"{name} runs {program}, which does not exist"
    runtime = templates.raw["template.yaml"]["Globals"]["Function"]
    if (runtime["Runtime"], runtime["Handler"], runtime["CodeUri"]) != ("provided.al2023", "bootstrap", "crates/lambda"):
        yield "functions are not bootstraps of crates/lambda on provided.al2023"
    build = tomllib.loads(templates.texts.files["crates/lambda/Cargo.toml"])["package"]["metadata"]["lambda"]["build"]
    given = tomllib.loads("\n".join(build["config"]))["profile"]["release"]
    if given != profile() or not build["disable_optimizations"]:
        yield f"sam build would use {build}, [profile.lambda] is {profile()}"


def functions(template: Json) -> dict[str, Json]:
    found = template["Resources"].items()
    return {name: r for name, r in found if r["Type"] == "AWS::Serverless::Function"}


@check
def variables_match_those_the_code_reads(templates: Templates) -> Iterator[str]:
    """Each function is given exactly the variables that it reads."""
    lambdas = templates.deployments[1].main.of_type("AWS::Lambda::Function")
    for name, function in lambdas.items():
        given = set(function.get("Environment", {}).get("Variables", {}))
        wanted = set(FUNCTIONS[name]["variables"])
        for variable in sorted(given - wanted):
            yield f"{name} is given {variable}, which it does not read"
        for variable in sorted(wanted - given):
            yield f"{name} is not given {variable}, which it reads"


OF_PARAMETERS = {
    "HB_STAGE": "Stage", "HB_LOG": "LogLevel", "HB_RATE_LIMIT": "RateLimit", "HB_SWEEP_EVERY_S": "SweepEvery",
    "HB_SEGMENTS": "Segments", "HB_CONCURRENCY": "Concurrency", "HB_CANARY_KEY": "CanaryKey",
}  # fmt: skip
"""The parameter that each variable has its value from."""
SECONDS_OF = {"Ingest": 10, "Sweep": 90, "Canary": 30}
"""The time of each function: a client waits for 10 s (docs/usage.md), three canaries take less than 30 s."""


@in_each_deployment
def functions_get_the_values_of_parameters(deployment: Deployment) -> Iterator[str]:
    """Variables, reserved environments, memory and time."""
    values = deployment.main.values
    reserved = {"Ingest": values["IngestConcurrency"], "Sweep": values["SweepConcurrency"]}
    # It has one of its own where the sweep has.
    reserved["Canary"] = 1 if reserved["Sweep"] else 0
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        for variable, value in function["Environment"]["Variables"].items():
            if variable in OF_PARAMETERS and value != values[OF_PARAMETERS[variable]]:
                yield f"{name} gets {variable}={value}"
        # With 0 it never runs.
        if function.get("ReservedConcurrentExecutions") != (reserved[name] or None):
            yield f"{name} has {function.get('ReservedConcurrentExecutions')} environments, not {reserved[name]}"
        if (function["MemorySize"], function["Timeout"]) != (128, SECONDS_OF[name]):
            yield f"{name} has {function['MemorySize']} MB and {function['Timeout']} s"


@in_each_deployment
def functions_have_enough_time_and_no_retries(deployment: Deployment) -> Iterator[str]:
    """A sweep has time for its passes and its margin; concurrent sweeps stay below the limit of SNS; nothing is retried."""
    minute, margin, rate = SECONDS["minute"], SECONDS["margin"], FACTS["messagesPerSecond"]
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        if name == "Sweep":
            if not minute + margin <= function["Timeout"] < 2 * minute:
                yield f"Sweep has {function['Timeout']} s; passes and margin take {minute + margin} s"
            most = function.get("ReservedConcurrentExecutions", -(-function["Timeout"] // minute))
            if most * rate >= 10:
                yield f"{most} concurrent sweeps send {most * rate} messages per second"
        if name in ("Sweep", "Canary"):
            invoked = deployment.main.resources.get(f"{name}EventInvokeConfig", {}).get("Properties", {})
            if invoked.get("MaximumRetryAttempts") != 0:
                yield f"Lambda would retry {name} after an error"


@in_each_deployment
def schedules_invoke_functions_every_minute(deployment: Deployment) -> Iterator[str]:
    """`rate(1 minute)`, without a flexible window or retries, with the event that the code expects."""
    made = deployment.main.of_type("AWS::Scheduler::Schedule")
    tasks = {name: FUNCTIONS[name]["task"] for name in deployment.main.of_type("AWS::Lambda::Function")}
    wanted = {f"{name}.Arn": task for name, task in tasks.items() if task}
    if {schedule["Target"]["Arn"] for schedule in made.values()} != set(wanted):
        yield f"schedules invoke {[schedule['Target']['Arn'] for schedule in made.values()]}, not {sorted(wanted)}"
    for name, schedule in made.items():
        target = schedule["Target"]
        if schedule["ScheduleExpression"] != "rate(1 minute)" or schedule["FlexibleTimeWindow"] != {"Mode": "OFF"}:
            yield f"{name} runs at {schedule['ScheduleExpression']}, {schedule['FlexibleTimeWindow']}"
        if target.get("RetryPolicy", {}).get("MaximumRetryAttempts") != 0:
            yield f"{name} retries"
        if json.loads(target["Input"]) != {"task": wanted.get(target["Arn"])}:
            yield f"{name} sends {target['Input']}"
        if schedule.get("State", "ENABLED") != "ENABLED":
            yield f"{name} is disabled"
    # A canary may be 15 s late without causing a blackout; a lost one must cause it.
    if not 60 < SECONDS["canaryFresh"] < 120:
        yield f"there is a canary per minute, and the receiver counts as healthy for {SECONDS['canaryFresh']} s"


@in_each_deployment
def what_fails_is_kept(deployment: Deployment) -> Iterator[str]:
    """A sweep that fails, or is not started within its minute, leaves a dead letter; a canary that fails is followed by the
    next. Dead letters are kept as long as SQS can, notices for their echo long enough for a weekend; all of them encrypted.
    """
    main = deployment.main
    dead = {"Sweep": "SweepDead.Arn"}
    started = [function for function in ("Sweep", "Canary") if function in main.resources]
    if set(main.of_type("AWS::Lambda::EventInvokeConfig")) != {f"{name}EventInvokeConfig" for name in started}:
        yield f"what fails is kept of {sorted(main.of_type('AWS::Lambda::EventInvokeConfig'))}"
    for name in started:
        destination = {"OnFailure": {"Destination": dead[name]}} if name in dead else {}
        wanted = {"DestinationConfig": destination, "FunctionName": name, "MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0, "Qualifier": "$LATEST"}
        invoked = main.resources[f"{name}EventInvokeConfig"]["Properties"]
        if invoked != wanted:
            yield f"when {name} fails: {invoked}"
        schedule = main.resources[f"{name}Schedule"]["Properties"]
        letter = {"Arn": dead[name]} if name in dead else None
        if schedule["Target"].get("DeadLetterConfig") != letter or schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] != 60:
            yield f"when {name} is not started: {schedule['Target']}"
        if schedule["Name"] != main.resources[name]["Properties"]["FunctionName"]:
            yield f"the schedule of {name} is called {schedule['Name']}"
    for name, queue in main.of_type("AWS::SQS::Queue").items():
        kept = queue["MessageRetentionPeriod"]
        if queue.get("SqsManagedSseEnabled") is not True or kept != (4 if name == "Echo" else 14) * DAY:
            yield f"{name} keeps {kept} s, encrypted {queue.get('SqsManagedSseEnabled')}"
    echo = main.resources["Echo"]["Properties"]
    # A message that a sweep holds comes back within the minute, so that the next sweep finds it.
    if echo["VisibilityTimeout"] > SECONDS["minute"] // 2 or echo["RedrivePolicy"]["maxReceiveCount"] < 3:
        yield f"an echo comes back after {echo['VisibilityTimeout']} s, {echo['RedrivePolicy']['maxReceiveCount']} times"


@check
def lambda_keeps_the_lines_of_each_level(templates: Templates) -> Iterator[str]:
    """It knows no level for `off`, and names the others in capital letters."""
    template = templates.raw["template.yaml"]
    wanted = {level: {"Application": {"off": "FATAL"}.get(level, level.upper())} for level in template["Parameters"]["LogLevel"]["AllowedValues"]}
    if template["Mappings"]["LogLevels"] != wanted:
        yield f"levels are {template['Mappings']['LogLevels']}, not {wanted}"


@in_each_deployment
def each_function_has_its_own_log_group(deployment: Deployment) -> Iterator[str]:
    """Each function writes JSON to a log group named after it, with limited retention."""
    groups = deployment.main.of_type("AWS::Logs::LogGroup")
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        log = function.get("LoggingConfig", {})
        group = groups.get(log.get("LogGroup", ""))
        if group is None or group["LogGroupName"] != f"/aws/lambda/{function['FunctionName']}":
            yield f"{name} logs to {log.get('LogGroup')}: {group}"
        if (log.get("LogFormat"), log.get("SystemLogLevel")) != ("JSON", "WARN"):
            yield f"{name} logs as {log}"
        level = function["Environment"]["Variables"]["HB_LOG"]
        if log.get("ApplicationLogLevel") != {"off": "FATAL"}.get(level, level.upper()):
            yield f"{name} logs at {level}, Lambda keeps {log.get('ApplicationLogLevel')}"
    for name, group in groups.items():
        if group.get("RetentionInDays") != deployment.main.values["LogDays"]:
            yield f"{name} keeps logs for {group.get('RetentionInDays')} days"
    if set(groups) != {"ApiLog", *(f"{name}Log" for name in deployment.main.of_type("AWS::Lambda::Function"))}:
        yield f"the log groups are {sorted(groups)}"
    if groups["ApiLog"]["LogGroupName"] != f"/aws/vendedlogs/hb-{deployment.main.values['Stage']}-api":
        yield f"the gateway logs to {groups['ApiLog']}"
