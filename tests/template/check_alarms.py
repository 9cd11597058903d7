"""Checks of topics, queues, alarms and the dashboard."""

import json
import re
from collections.abc import Iterator

from check_permissions import statements
from facts import FACTS, NAMES
from registry import as_list, check, in_each_deployment, in_each_stack
from templates import ACCOUNT, ROOT, Deployment, Json, Stack, Templates


ABSENCE = {"SweepMissing": ("Sweep", "SweepCompleted"), "CanaryMissing": ("Canary", "CanaryAccepted")}
"""Alarms on the absence of an event: the first word of the two alarms that they are made of, and the metric of these."""
PARTS = {first + last for first, _ in ABSENCE.values() for last in ("Absent", "Seen")}
SILENT = {*PARTS, "IngestVersionErrors"}
"""Alarms that tell nobody: other alarms ask the parts, and CodeDeploy asks the other one."""


def alarms(stack: Stack) -> dict[str, Json]:
    """The alarms that notify people, by logical id."""
    of_metrics = {n: a for n, a in stack.of_type("AWS::CloudWatch::Alarm").items() if n not in SILENT}
    return of_metrics | stack.of_type("AWS::CloudWatch::CompositeAlarm")


BY_ACCOUNT = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def granted(stack: Stack, resource: str) -> list[Json]:
    """Who may do what with a topic, a queue or a key, by its own policy."""
    return [
        (next(iter(s["Principal"].values())), as_list(s["Action"]), s["Resource"], s.get("Condition"))
        for name, s in statements(stack) if name == resource
    ]  # fmt: skip


@in_each_deployment
def topics_and_queues_are_those_of_the_code(deployment: Deployment) -> Iterator[str]:
    """Their names; the echo queue receives every notice unchanged, and from nobody else; unreadable messages go to a queue
    of their own.
    """
    main = deployment.main
    stage = main.values["Stage"]
    names = {n: r.get("QueueName") or r.get("TopicName") for k in ("SQS::Queue", "SNS::Topic") for n, r in main.of_type(f"AWS::{k}").items()}
    wanted = {"Notices": NAMES["notices"], "Echo": NAMES["echo"], "Ops": f"hb-{stage}-ops", "EchoDead": f"hb-{stage}-echo-dead", "SweepDead": f"hb-{stage}-sweep-dead"}
    if names != wanted:
        yield f"names are {names}"
    echo = main.resources.get("EchoSubscription", {}).get("Properties", {})
    if echo != {"TopicArn": "Notices", "Protocol": "sqs", "Endpoint": "Echo.Arn", "RawMessageDelivery": True}:
        yield f"the echo subscription has {echo}"
    dead = main.resources["Echo"]["Properties"].get("RedrivePolicy", {}).get("deadLetterTargetArn")
    if dead != "EchoDead.Arn":
        yield f"unreadable messages go to {dead}"
    topic = [("sns.amazonaws.com", ["sqs:SendMessage"], "Echo.Arn", {"ArnEquals": {"aws:SourceArn": "Notices"}})]
    queues = [policy["Queues"] for policy in main.of_type("AWS::SQS::QueuePolicy").values()]
    if granted(main, "EchoPolicy") != topic or queues != [["Echo"]]:
        yield f"the topic cannot send to the echo queue, or others can: {granted(main, 'EchoPolicy')} for {queues}"


@in_each_stack
def alarms_can_use_the_encrypted_topic(stack: Stack) -> Iterator[str]:
    """CloudWatch, and nobody else, may publish to the operations topic and use its key; otherwise alarms are lost silently.
    They go to the address that was given. The key turns, and is deleted a week after its stack.
    """
    cloudwatch, mail = "cloudwatch.amazonaws.com", stack.values["OpsEmail"]
    allowed = {
        "OpsPolicy": [(cloudwatch, ["sns:Publish"], "Ops", BY_ACCOUNT)],
        "TopicKey": [
            (f"arn:aws:iam::{ACCOUNT}:root", ["kms:*"], "*", None),
            (cloudwatch, ["kms:GenerateDataKey", "kms:Decrypt"], "*", BY_ACCOUNT),
        ],
    }
    given = {resource: granted(stack, resource) for resource in allowed}
    topics = [policy["Topics"] for policy in stack.of_type("AWS::SNS::TopicPolicy").values()]
    if given != allowed or topics != [["Ops"]]:
        yield f"policies allow {given} for {topics}"
    name = f"hb-{stack.values['Stage']}-{'edge-ops' if 'EdgeName' in stack.values else 'ops'}"
    if stack.resources["Ops"]["Properties"]["TopicName"] != name:
        yield f"the topic is called {stack.resources['Ops']['Properties']['TopicName']}, not {name}"
    key = stack.resources["TopicKey"]["Properties"]
    if (key["EnableKeyRotation"], key["PendingWindowInDays"]) != (True, 7):
        yield f"the key is {key}"
    mails = [s for n, s in stack.of_type("AWS::SNS::Subscription").items() if n != "EchoSubscription"]
    if mails != ([{"TopicArn": "Ops", "Protocol": "email", "Endpoint": mail}] if mail else []):
        yield f"alarms go to {mails}"
    for name, topic in stack.of_type("AWS::SNS::Topic").items():
        if topic.get("KmsMasterKeyId") != "TopicKey":
            yield f"{name} is encrypted under {topic.get('KmsMasterKeyId')}"
    for name, alarm in alarms(stack).items():
        if alarm.get("AlarmActions") != ["Ops"] or alarm.get("OKActions") != ["Ops"]:
            yield f"{name} notifies no one when it starts or ends"


OF_AWS: dict[str, dict[str, tuple[str, ...]]] = {
    "AWS/Lambda": {"Errors": ("FunctionName",), "Throttles": ("FunctionName",)},
    "AWS/ApiGateway": dict.fromkeys(("4xx", "5xx", "Count", "Latency"), ("ApiId",)),
    "AWS/SNS": {"NumberOfNotificationsFailed": ("TopicName",), "SMSMonthToDateSpentUSD": ()},
    "AWS/Route53": {"HealthCheckStatus": ("HealthCheckId",)},
    "AWS/WAFV2": {"BlockedRequests": ("WebACL", "Rule")},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible": ("QueueName",)},
}
"""The metrics of AWS that are used, with their dimensions. Sources: the metrics pages of the developer guides of
Lambda, API Gateway (HTTP APIs), SNS, SQS, Route 53 and WAF (of CloudFront, without a region)."""


OF_VERSION = frozenset({"Resource", "ExecutedVersion"})
"""Metrics of Lambda are also by alias and version ("View metrics for Lambda functions")."""


def metric_problem(namespace: str, metric: str, dimensions: frozenset[str]) -> str | None:
    if namespace == FACTS["namespace"]:
        known = FACTS["metrics"].get(metric)
        if known is None:
            return f"the code does not emit {namespace} {metric}"
        emitted = {frozenset(by) for by in known["dimensions"]}
        return None if dimensions in emitted else f"{metric} is emitted by {known}, not by {set(dimensions)}"
    of_aws = OF_AWS.get(namespace, {}).get(metric)
    if namespace == "AWS/Lambda" and dimensions > OF_VERSION:
        dimensions -= OF_VERSION
    if of_aws is None or frozenset(of_aws) != dimensions:
        return f"{namespace} has no {metric} by {set(dimensions)}"
    return None


@in_each_stack
def alarms_watch_emitted_metrics(stack: Stack) -> Iterator[str]:
    """Name, namespace and dimensions are those of the code or of AWS; the values are resources of the stack, or given to
    it.
    """
    made = {metric for acl in stack.of_type("AWS::WAFv2::WebACL").values() for metric in
            (of["VisibilityConfig"]["MetricName"] for of in (acl, *acl["Rules"]))}  # fmt: skip
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        dimensions = {d["Name"]: d["Value"] for d in alarm.get("Dimensions", [])}
        problem = metric_problem(alarm["Namespace"], alarm["MetricName"], frozenset(dimensions))
        if problem:
            yield f"{name}: {problem}"
        for value in dimensions.values():
            if re.split("[.:]", value)[0] not in {*stack.resources, *stack.values.values(), *made}:
                yield f"{name}: {value} is not in the stack"


ALARMS = ROOT / "tests/template/alarms.md"
OPERATORS = {
    "GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": ">=",
    "LessThanThreshold": "<", "LessThanOrEqualToThreshold": "<=",
}  # fmt: skip


def row_of_alarm(alarm: Json) -> str:
    """When an alarm is raised, and what it says: all of it but whom it tells."""
    if "AlarmRule" in alarm:
        when, missing = f"`{alarm['AlarmRule']}`", ""
    else:
        # SAM puts a hash behind the name of a version.
        by = re.sub(r"(Version)[0-9a-f]{10}", r"\1", ", ".join(f"{d['Name']} {d['Value']}" for d in alarm.get("Dimensions", []))) or "all"
        of = alarm["EvaluationPeriods"]
        when = (
            f"{alarm.get('Statistic') or alarm['ExtendedStatistic']} of {alarm['Namespace']} {alarm['MetricName']} ({by}) "
            f"{OPERATORS[alarm['ComparisonOperator']]} {alarm['Threshold']} "
            f"in {alarm.get('DatapointsToAlarm', of)} of {of} x {alarm['Period']} s"
        )
        missing = alarm["TreatMissingData"]
    return f"| {alarm['AlarmName']} | {when} | {missing} | {alarm.get('AlarmDescription', '')} |"


def table_of_alarms(templates: Templates) -> str:
    found: dict[str, list[int]] = {}
    for number, deployment in enumerate(templates.deployments, 1):
        for stack in (deployment.main, deployment.edge):
            for kind in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
                for alarm in stack.of_type(kind).values():
                    found.setdefault(row_of_alarm(alarm), []).append(number)
    names = "; ".join(f"{n}: {d.scenario.name}" for n, d in enumerate(templates.deployments, 1))
    return "\n".join([
        "# Alarms", "", f"Generated from the templates. {names}.", "",
        "| alarm | raised when | missing data | says | in |", "| --- | --- | --- | --- | --- |",
        *(f"{row} {' '.join(map(str, where))} |" for row, where in sorted(found.items())), "",
    ])  # fmt: skip


@check
def alarms_are_those_of_the_table(templates: Templates) -> Iterator[str]:
    """Metric, statistic, operator, threshold, periods, missing data and text, in each deployment."""
    table = table_of_alarms(templates).splitlines()
    for line in set(ALARMS.read_text().splitlines()) ^ set(table):
        yield f"{'new' if line in table else 'gone'}: {line}"


@in_each_deployment
def silence_of_the_service_raises_an_alarm(deployment: Deployment) -> Iterator[str]:
    """A missing sweep or canary raises an alarm, but not before the first one; for all other alarms missing data is
    healthy.
    """
    main = deployment.main
    of_metrics = main.of_type("AWS::CloudWatch::Alarm")
    for name, alarm in of_metrics.items():
        wanted = "breaching" if name.endswith("Absent") else "ignore" if name in PARTS else "notBreaching"
        if alarm.get("TreatMissingData") != wanted:
            yield f"{name} treats missing data as {alarm.get('TreatMissingData')}"
    rules = main.of_type("AWS::CloudWatch::CompositeAlarm")
    for name, (first, metric) in ABSENCE.items():
        there = name == "SweepMissing" or "Canary" in main.resources
        if (name in rules) != there:
            yield f"{name} exists: {name in rules}"
        if not there:
            continue
        if rules[name]["AlarmRule"] != f'ALARM("{first}Absent") AND NOT INSUFFICIENT_DATA("{first}Seen")':
            yield f"{name} is {rules[name]['AlarmRule']}"
        for part in (f"{first}Absent", f"{first}Seen"):
            watched = (of_metrics[part]["MetricName"], of_metrics[part]["ComparisonOperator"])
            if watched != (metric, "LessThanThreshold"):
                yield f"{part} watches {watched}"


@in_each_deployment
def dashboard_shows_emitted_metrics(deployment: Deployment) -> Iterator[str]:
    """The body is JSON, widgets do not overlap, and each metric exists."""
    body = deployment.main.resources["Dashboard"]["Properties"]["DashboardBody"]
    try:
        widgets = json.loads(body)["widgets"]
    except ValueError as error:
        yield f"the body is not JSON: {error}"
        return
    places: set[tuple[int, int]] = set()
    for widget in widgets:
        title = widget["properties"]["title"]
        cells = {(x, y) for x in range(widget["x"], widget["x"] + widget["width"])
                 for y in range(widget["y"], widget["y"] + widget["height"])}  # fmt: skip
        if cells & places or max(x for x, _ in cells) >= 24:
            yield f"{title} overlaps another widget or the edge"
        places |= cells
        ids = {m[-1]["id"] for m in widget["properties"]["metrics"] if isinstance(m[-1], dict) and "id" in m[-1]}
        for metric in widget["properties"]["metrics"]:
            parts = [part for part in metric if isinstance(part, str)]
            if not parts:
                expression = metric[0]["expression"]
                unknown = set(re.findall(r"\b[a-z]\b", expression)) - ids
                named = re.search(r"\{(\w+),([\w,]+)\} MetricName=\"(\w+)\"", expression)
                if named:
                    problem = metric_problem(named[1], named[3], frozenset(named[2].split(",")))
                    if problem:
                        yield f"{title}: {problem}"
                elif unknown:
                    yield f"{title}: {unknown} in {expression}"
                continue
            problem = metric_problem(parts[0], parts[1], frozenset(parts[2::2]))
            if problem:
                yield f"{title}: {problem}"
