"""What must hold of topics, queues, alarms and the dashboard."""

import json
import re
from collections.abc import Iterator

import rust
from check_permissions import statements
from registry import as_list, in_each_deployment
from templates import Deployment


@in_each_deployment
def topic_and_queue_are_those_of_the_code(deployment: Deployment) -> Iterator[str]:
    """Their names; the echo hears everything, as it is; what nobody can read goes to a queue of its own."""
    names, main = rust.names("dev"), deployment.main
    topics = {n: t["TopicName"] for n, t in main.of_type("AWS::SNS::Topic").items()}
    queues = {n: q["QueueName"] for n, q in main.of_type("AWS::SQS::Queue").items()}
    if topics.get("Notices") != names["notices"] or queues.get("Echo") != names["echo"]:
        yield f"they are called {topics.get('Notices')} and {queues.get('Echo')}"
    echo = main.resources.get("EchoSubscription", {}).get("Properties", {})
    wanted = {"TopicArn": "Notices", "Protocol": "sqs", "Endpoint": "Echo.Arn", "RawMessageDelivery": True}
    if echo != wanted:
        yield f"the echo listens with {echo}"
    dead = main.resources["Echo"]["Properties"].get("RedrivePolicy", {}).get("deadLetterTargetArn")
    if dead != "EchoDead.Arn":
        yield f"what cannot be read goes to {dead}"
    allowed = [s for n, s in statements(deployment) if n == "EchoPolicy"]
    if [(s["Action"], s["Resource"], s["Condition"]) for s in allowed] != [
        ("sqs:SendMessage", "Echo.Arn", {"ArnEquals": {"aws:SourceArn": "Notices"}})
    ]:
        yield f"the topic may not send to the echo, or others may: {allowed}"


@in_each_deployment
def alarms_reach_people_through_an_encrypted_topic(deployment: Deployment) -> Iterator[str]:
    """CloudWatch may publish to the topic of operations and use its key; else alarms are lost without a word."""
    main = deployment.main
    may = {(name, action, statement.get("Principal", {}).get("Service"))
           for name, statement in statements(deployment) for action in as_list(statement["Action"])}  # fmt: skip
    for needed in (
        ("OpsPolicy", "sns:Publish", "cloudwatch.amazonaws.com"),
        ("TopicKey", "kms:GenerateDataKey", "cloudwatch.amazonaws.com"),
        ("TopicKey", "kms:Decrypt", "cloudwatch.amazonaws.com"),
    ):
        if needed not in may:
            yield f"{needed[2]} may not {needed[1]} ({needed[0]})"
    for name, topic in main.of_type("AWS::SNS::Topic").items():
        if topic.get("KmsMasterKeyId") != "TopicKey":
            yield f"{name} is encrypted under {topic.get('KmsMasterKeyId')}"
    for name, alarm in main.of_type("AWS::CloudWatch::Alarm").items():
        if alarm.get("AlarmActions") != ["Ops"] or alarm.get("OKActions") != ["Ops"]:
            yield f"{name} tells nobody when it begins or ends"

OF_AWS: dict[str, dict[str, tuple[str, ...]]] = {
    "AWS/Lambda": {"Errors": ("FunctionName",), "Throttles": ("FunctionName",)},
    "AWS/ApiGateway": dict.fromkeys(("4xx", "5xx", "Count", "Latency"), ("ApiId",)),
    "AWS/SNS": {"NumberOfNotificationsFailed": ("TopicName",), "SMSMonthToDateSpentUSD": ()},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible": ("QueueName",)},
}
"""The metrics of AWS that are used, with their dimensions. Sources: the pages on metrics in the developer guides of
Lambda, API Gateway (HTTP APIs), SNS and SQS."""


def metric_problem(namespace: str, metric: str, dimensions: frozenset[str]) -> str | None:
    ours, emitted = rust.metrics()
    if namespace == ours:
        known = emitted.get(metric)
        if known is None:
            return f"nobody emits {namespace} {metric}"
        return None if dimensions in known else f"{metric} is emitted by {known}, not by {set(dimensions)}"
    of_aws = OF_AWS.get(namespace, {}).get(metric)
    if of_aws is None or frozenset(of_aws) != dimensions:
        return f"{namespace} has no {metric} by {set(dimensions)}"
    return None


@in_each_deployment
def alarms_watch_metrics_that_are_emitted(deployment: Deployment) -> Iterator[str]:
    """Name, namespace and dimensions are those of the code or of AWS, and the values are resources of the stack."""
    main = deployment.main
    for name, alarm in main.of_type("AWS::CloudWatch::Alarm").items():
        dimensions = {d["Name"]: d["Value"] for d in alarm.get("Dimensions", [])}
        problem = metric_problem(alarm["Namespace"], alarm["MetricName"], frozenset(dimensions))
        if problem:
            yield f"{name}: {problem}"
        for value in dimensions.values():
            if value != "dev" and value.split(".")[0] not in main.resources:
                yield f"{name}: {value} is not in the stack"


LATE = {"SweepMissing": "SweepCompleted", "CanaryMissing": "CanaryAccepted"}
"""Alarms on something that does not happen, and what."""


@in_each_deployment
def silence_of_the_service_is_an_alarm(deployment: Deployment) -> Iterator[str]:
    """A sweep or canary that is not heard of raises an alarm; elsewhere no data is no trouble."""
    for name, alarm in deployment.main.of_type("AWS::CloudWatch::Alarm").items():
        wanted = "breaching" if name in LATE else "notBreaching"
        if alarm.get("TreatMissingData") != wanted:
            yield f"{name} takes missing data for {alarm.get('TreatMissingData')}"
        if name in LATE and (alarm["MetricName"], alarm["ComparisonOperator"]) != (LATE[name], "LessThanThreshold"):
            yield f"{name} watches {alarm['MetricName']} {alarm['ComparisonOperator']}"
    canaries = "Canary" in deployment.main.resources
    for name in LATE:
        if (name in deployment.main.resources) != (canaries or name == "SweepMissing"):
            yield f"{name} is there, canaries are {canaries}"


@in_each_deployment
def dashboard_shows_metrics_that_are_emitted(deployment: Deployment) -> Iterator[str]:
    """Its body is JSON, its widgets do not overlap, and each metric exists."""
    body = deployment.main.resources["Dashboard"]["Properties"]["DashboardBody"]
    try:
        widgets = json.loads(body)["widgets"]
    except ValueError as error:
        yield f"its body is no JSON: {error}"
        return
    places: set[tuple[int, int]] = set()
    for widget in widgets:
        title = widget["properties"]["title"]
        cells = {(x, y) for x in range(widget["x"], widget["x"] + widget["width"])
                 for y in range(widget["y"], widget["y"] + widget["height"])}  # fmt: skip
        if cells & places or max(x for x, _ in cells) >= 24:
            yield f"{title} lies over another widget or over the edge"
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
