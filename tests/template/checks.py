"""What must hold of the templates and is not said by cfn-lint, `sam validate` or checkov. Each check has a name, which
the table of mutations refers to, and gives the problems that it finds.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator

import rust
from templates import ACCOUNT, REGION, Deployment, Json, Templates

Check = Callable[[Templates], Iterator[str]]
CHECKS: dict[str, Check] = {}


def check(of_all: Check) -> Check:
    """Names a check after its function."""
    CHECKS[of_all.__name__.replace("_", " ")] = of_all
    return of_all


def in_each_deployment(of_one: Callable[[Deployment], Iterator[str]]) -> Check:
    """A check of one deployment as a check of all scenarios."""

    def all_scenarios(templates: Templates) -> Iterator[str]:
        for deployment in templates.deployments:
            for problem in of_one(deployment):
                yield f"{deployment.scenario.name}: {problem}"

    all_scenarios.__name__ = of_one.__name__
    return check(all_scenarios)


def as_list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


# ---- Tables ----------------------------------------------------------------------------------------------------------


@in_each_deployment
def tables_are_those_of_the_code(deployment: Deployment) -> Iterator[str]:
    """Names, keys, indexes and types are what the adapters use and `create_stage` makes."""
    wanted = rust.tables("dev")
    made = {table["TableName"]: table for table in deployment.tables().values()}
    if set(made) != set(wanted):
        yield f"tables {sorted(made)}, the code has {sorted(wanted)}"
    for name in set(made) & set(wanted):
        table, want = made[name], wanted[name]
        types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}

        def key(schema: Json, types: dict[str, str] = types) -> list[tuple[str, str]]:
            order = [a["AttributeName"] for a in sorted(schema, key=lambda a: a["KeyType"])]
            return [(attribute, types.get(attribute, "?")) for attribute in order]

        if key(table["KeySchema"]) != want["key"]:
            yield f"the key of {name} is {key(table['KeySchema'])}, the code's {want['key']}"
        indexes = [(i["IndexName"], key(i["KeySchema"])) for i in table.get("GlobalSecondaryIndexes", [])]
        if indexes != ([(want["index"]["name"], want["index"]["key"])] if want["index"] else []):
            yield f"the indexes of {name} are {indexes}, the code's {want['index']}"
        for index in table.get("GlobalSecondaryIndexes", []):
            if index["Projection"] != {"ProjectionType": "ALL"}:
                yield f"the index {index['IndexName']} of {name} does not hold whole items"


@in_each_deployment
def declared_attributes_are_those_of_keys(deployment: Deployment) -> Iterator[str]:
    """DynamoDB refuses a table that declares an attribute that no key has, or has a key that it does not declare."""
    for table in deployment.tables().values():
        declared = {a["AttributeName"] for a in table["AttributeDefinitions"]}
        schemas = [table["KeySchema"], *(i["KeySchema"] for i in table.get("GlobalSecondaryIndexes", []))]
        used = {a["AttributeName"] for schema in schemas for a in schema}
        if declared != used:
            yield f"{table['TableName']} declares {sorted(declared)} and uses {sorted(used)}"


@in_each_deployment
def tables_are_charged_by_request(deployment: Deployment) -> Iterator[str]:
    """Provisioned mode would need settings of capacity, in the table and in each replica; nothing here has any."""
    for table in deployment.tables().values():
        if table.get("BillingMode") != "PAY_PER_REQUEST":
            yield f"{table['TableName']} is in mode {table.get('BillingMode', 'PROVISIONED')}"


@in_each_deployment
def eventual_tables_have_a_stream(deployment: Deployment) -> Iterator[str]:
    """Replication reads it. With one region it is there already: it cannot be added together with a replica."""
    for table in deployment.data.of_type("AWS::DynamoDB::GlobalTable").values():
        claims = table["TableName"] == rust.names("dev")["ledger"]
        stream = table.get("StreamSpecification", {}).get("StreamViewType")
        if not claims and stream != "NEW_AND_OLD_IMAGES":
            yield f"{table['TableName']} has the stream {stream}"


@in_each_deployment
def claims_are_strong_over_regions(deployment: Deployment) -> Iterator[str]:
    """The ledger alone, and only with two regions; then with a witness, and without a time-to-live."""
    for table in deployment.data.of_type("AWS::DynamoDB::GlobalTable").values():
        name, regions = table["TableName"], [replica["Region"] for replica in table["Replicas"]]
        wanted = name == rust.names("dev")["ledger"] and len(regions) > 1
        witnesses = [witness["Region"] for witness in table.get("GlobalTableWitnesses", [])]
        if (table.get("MultiRegionConsistency") == "STRONG") != wanted:
            yield f"{name} in {regions} has the consistency {table.get('MultiRegionConsistency')}"
        if len(witnesses) != (1 if wanted else 0) or set(witnesses) & set(regions):
            yield f"{name} in {regions} has the witnesses {witnesses}"
        areas = {region.split("-")[0] for region in regions + witnesses}
        if wanted and len(areas) > 1:
            yield f"{name} would be strong over {sorted(areas)}, which DynamoDB does not offer"


@in_each_deployment
def regions_share_all_tables_but_their_own(deployment: Deployment) -> Iterator[str]:
    """Each of the data stack has the same replicas; `system` holds the subscriptions of a region's own topic."""
    tables = deployment.data.of_type("AWS::DynamoDB::GlobalTable").values()
    wanted = [REGION, *filter(None, [deployment.data.values["SecondRegion"]])]
    for table in tables:
        regions = [replica["Region"] for replica in table["Replicas"]]
        if regions != wanted:
            yield f"{table['TableName']} is in {regions}, not in {wanted}"
    if rust.names("dev")["system"] in {table["TableName"] for table in tables}:
        yield "system is a table of all regions"


@check
def data_outlives_its_stack(templates: Templates) -> Iterator[str]:
    """Retained, restorable, encrypted, protected against deletion, in every replica; nothing expires by itself."""
    for deployment in templates.deployments:
        for stack in (deployment.main, deployment.data):
            for name, resource in stack.resources.items():
                if not resource["Type"].startswith("AWS::DynamoDB::"):
                    continue
                table = resource["Properties"]
                if {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")} != {"Retain"}:
                    yield f"{name} would be deleted with its stack, or when it is replaced"
                if not table.get("SSESpecification", {}).get("SSEEnabled"):
                    yield f"{name} is not encrypted under a key of the account"
                if "TimeToLiveSpecification" in table:
                    yield f"{name} has a time-to-live, and nothing in it an expiry in seconds"
                for copy in table.get("Replicas", [table]):
                    recovery = copy.get("PointInTimeRecoverySpecification", {})
                    if recovery.get("PointInTimeRecoveryEnabled") is not True:
                        yield f"{name} cannot be restored to a point in time"
                    if copy.get("DeletionProtectionEnabled") != "true":
                        yield f"{name} is not protected against deletion"


# ---- Functions -------------------------------------------------------------------------------------------------------

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


# ---- Permissions -----------------------------------------------------------------------------------------------------

OF_PLATFORM = {
    "logs:CreateLogStream": "Lambda writes the log in the function's name",
    "logs:PutLogEvents": "the same",
    "kms:GenerateDataKey": "SNS encrypts a message in the name of who publishes it",
    "kms:Decrypt": "the same (SNS developer guide, key management)",
    "sqs:SendMessage": "Lambda and the scheduler report a failure in the name of the role",
    "lambda:InvokeFunction": "the scheduler starts the function",
}
"""Actions that no call in the code needs, and who needs them."""

ANY_RESOURCE = {
    ("TopicKey", "Account"): "the policy of a key: * is the key itself, and without this nobody could ever change it",
    ("TopicKey", "Alarms"): "the policy of a key: * is the key itself",
}
"""The statements that may name every resource, and why."""


def statements(deployment: Deployment) -> Iterator[tuple[str, Json]]:
    """All statements about permissions, with the logical id of the resource that has them."""
    for name, role in deployment.main.of_type("AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            yield from ((name, statement) for statement in as_list(policy["PolicyDocument"]["Statement"]))
    for kind, member in (
        ("AWS::SQS::QueuePolicy", "PolicyDocument"),
        ("AWS::SNS::TopicPolicy", "PolicyDocument"),
        ("AWS::KMS::Key", "KeyPolicy"),
    ):
        for name, resource in deployment.main.of_type(kind).items():
            yield from ((name, statement) for statement in as_list(resource[member]["Statement"]))


@in_each_deployment
def statements_name_resources_of_the_stack(deployment: Deployment) -> Iterator[str]:
    """No action with a star, no resource with one, nothing that the stack or its tables do not have."""
    tables = [table["TableName"] for table in deployment.tables().values()]
    arns = {f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}{end}" for name in tables for end in ("", "/index/open")}
    resources = deployment.main.resources
    for name, statement in statements(deployment):
        sid = statement.get("Sid")
        excused = (name, sid) in ANY_RESOURCE
        for action in as_list(statement["Action"]):
            if "*" in action and (name, sid) != ("TopicKey", "Account"):
                yield f"{name} {sid} allows {action}"
        for resource in as_list(statement["Resource"]):
            own = resource in arns or resource in resources or resource.removesuffix(".Arn") in resources
            if not own and not (excused and resource == "*"):
                yield f"{name} {sid} names {resource}"
    for name, role in deployment.main.of_type("AWS::IAM::Role").items():
        if role.get("ManagedPolicyArns"):
            yield f"{name} has {role['ManagedPolicyArns']}, which says more than is needed"


@in_each_deployment
def outsiders_act_for_this_account_only(deployment: Deployment) -> Iterator[str]:
    """A service of AWS that is let in is held to this account or to one resource of it."""
    trusts = ((n, s) for n, r in deployment.main.of_type("AWS::IAM::Role").items()
              for s in r["AssumeRolePolicyDocument"]["Statement"])  # fmt: skip
    for name, statement in [*statements(deployment), *trusts]:
        service = statement.get("Principal", {}).get("Service")
        conditions = {key for values in statement.get("Condition", {}).values() for key in values}
        if statement.get("Principal") == "*" or statement.get("Principal", {}).get("AWS") == "*":
            yield f"{name} {statement.get('Sid')} lets everybody in"
        if service not in (None, "lambda.amazonaws.com") and not conditions & {"aws:SourceAccount", "aws:SourceArn"}:
            yield f"{name} {statement.get('Sid')} lets {service} in for any account"


@in_each_deployment
def functions_may_do_what_they_call_and_nothing_else(deployment: Deployment) -> Iterator[str]:
    """The permissions of each role are the calls in the code of its function, resource by resource."""
    physical = {f"{n}.Arn": q["QueueName"] for n, q in deployment.main.of_type("AWS::SQS::Queue").items()}
    physical |= {n: t["TopicName"] for n, t in deployment.main.of_type("AWS::SNS::Topic").items()}
    physical |= {f"{n}.Arn": t["TableName"] for n, t in deployment.main.of_type("AWS::DynamoDB::Table").items()}
    for function in deployment.main.of_type("AWS::Lambda::Function"):
        role = deployment.main.resources[f"{function}Role"]["Properties"]
        given = set()
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                for action in as_list(statement["Action"]):
                    for resource in as_list(statement["Resource"]):
                        given.add((action, physical.get(resource, resource.rsplit(":table/")[-1])))
        needed = rust.permissions(function, "dev")
        for action, resource in sorted(needed - given):
            yield f"{function} calls {action} on {resource} and may not"
        for action, resource in sorted(given - needed):
            if action not in OF_PLATFORM:
                yield f"{function} may {action} on {resource} and never does"


@in_each_deployment
def conditions_narrow_items_and_attributes(deployment: Deployment) -> Iterator[str]:
    """Beats write their own attributes, the sweep its own record, the canary records of receivers; no more, no less."""
    wanted = {
        ("IngestRole", "RecordBeats"): ("dynamodb:Attributes", rust.beat_attributes()),
        ("SweepRole", "RememberSweeps"): ("dynamodb:LeadingKeys", {rust.sweep_record()}),
        ("CanaryRole", "RememberCanaries"): ("dynamodb:LeadingKeys", {rust.canary_prefix() + "*"}),
    }
    present = dict(((name, s.get("Sid")), s) for name, s in statements(deployment))
    for (role, sid), (key, values) in wanted.items():
        if role not in deployment.main.resources:
            continue
        conditions = present.get((role, sid), {}).get("Condition", {})
        given = [set(as_list(v)) for c, by in conditions.items() if c.startswith("ForAllValues:") for k, v in by.items() if k == key]
        if given != [values]:
            yield f"{role} {sid}: {key} is {given}, not {sorted(values)}"


# ---- Gateway and name ------------------------------------------------------------------------------------------------


@in_each_deployment
def gateway_throttles_what_it_routes(deployment: Deployment) -> Iterator[str]:
    """One route for everything, to ingest, throttled by default; settings of other routes would match nothing."""
    api = deployment.main.resources["Api"]["Properties"]["Body"]
    stage = deployment.main.resources["ApiApiGatewayDefaultStage"]["Properties"]
    routes = {path: list(methods) for path, methods in api["paths"].items()}
    if routes != {"$default": ["x-amazon-apigateway-any-method"]}:
        yield f"routes are {routes}"
    for route in stage.get("RouteSettings", {}):
        if route not in routes:
            yield f"settings of the route {route}, which is none"
    settings = stage.get("DefaultRouteSettings", {})
    if not settings.get("ThrottlingRateLimit") or not settings.get("ThrottlingBurstLimit"):
        yield "requests are not throttled"
    for methods in api["paths"].values():
        for method in methods.values():
            integration = method["x-amazon-apigateway-integration"]
            if "Ingest.Arn" not in integration["uri"] or integration["payloadFormatVersion"] != "2.0":
                yield f"requests go to {integration}"


@in_each_deployment
def access_log_is_json_without_secrets(deployment: Deployment) -> Iterator[str]:
    """Neither headers nor query, which may hold keys and messages."""
    log = deployment.main.resources["ApiApiGatewayDefaultStage"]["Properties"].get("AccessLogSettings", {})
    try:
        members = json.loads(log["Format"])
    except (KeyError, ValueError) as error:
        yield f"its format is no JSON: {error}"
        return
    for value in members.values():
        if re.search(r"header|authorizer|query|routeKey\.query|path\?", value):
            yield f"it shows {value}"
    if log["DestinationArn"] != "ApiLog.Arn":
        yield f"it goes to {log['DestinationArn']}"


@in_each_deployment
def client_certificates_close_the_other_door(deployment: Deployment) -> Iterator[str]:
    """Where they are asked for, the default address, which does not ask, is off; and nothing of ours depends on it."""
    [server] = deployment.main.resources["Api"]["Properties"]["Body"].get("servers", [{}])
    off = server.get("x-amazon-apigateway-endpoint-configuration", {}).get("disableExecuteApiEndpoint", False)
    domain = deployment.main.resources.get("Domain", {}).get("Properties", {})
    asked = "MutualTlsAuthentication" in domain
    if asked != bool(deployment.main.values["TruststoreUri"]):
        yield f"client certificates are asked for: {asked}"
    if off != asked:
        yield f"the default address is off: {off}"
    for name in ("Canary", "HealthCheck", "RegionLost"):
        if asked and name in deployment.main.resources:
            yield f"{name} needs the default address"


@in_each_deployment
def regions_share_the_name(deployment: Deployment) -> Iterator[str]:
    """A record by latency, one a region; Route 53 asks the region's own address, and people are told elsewhere."""
    for name, record in deployment.main.of_type("AWS::Route53::RecordSet").items():
        if (record.get("SetIdentifier"), record.get("Region")) != (REGION, REGION):
            yield f"{name} is not this region's own"
        if "HealthCheck" in deployment.main.resources and record.get("HealthCheckId") != "HealthCheck":
            yield f"{name} has no health check"
    for name, health in deployment.main.of_type("AWS::Route53::HealthCheck").items():
        config = health["HealthCheckConfig"]
        own = f"Api.execute-api.{REGION}.amazonaws.com"
        if (config.get("FullyQualifiedDomainName"), config.get("ResourcePath")) != (own, "/v1/status"):
            yield f"{name} asks {config.get('FullyQualifiedDomainName')}{config.get('ResourcePath')}"
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        url = function["Environment"]["Variables"].get("HB_CANARY_URL")
        if url not in (None, f"https://Api.execute-api.{REGION}.amazonaws.com"):
            yield f"the canary of {name} goes to {url}, which may be another region"
    watched = bool(deployment.main.values["OtherRegion"]) and "Canary" in deployment.main.resources
    if ("RegionLost" in deployment.main.resources) != watched:
        yield f"the loss of the other region raises an alarm: {not watched}"


# ---- Topics and queues -----------------------------------------------------------------------------------------------


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


# ---- Alarms and dashboard --------------------------------------------------------------------------------------------

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


# ---- Parameters ------------------------------------------------------------------------------------------------------


@check
def environments_set_parameters_that_exist(templates: Templates) -> Iterator[str]:
    """samconfig.toml names parameters of the template that it deploys, with values that they may have; the two regions
    name each other, and the data stack both."""
    config = tomllib.loads(templates.texts.files["samconfig.toml"])
    given: dict[str, dict[str, str]] = {}
    for environment in ("default", "data", "region-1", "region-2"):
        deploy = config[environment]["deploy"]["parameters"]
        template = templates.raw[deploy.get("template_file", "template.yaml")]
        values = dict(pair.split("=", 1) for pair in deploy["parameter_overrides"])
        values["region"] = config[environment]["global"]["parameters"].get("region", "")
        given[environment] = values
        for name, value in values.items():
            about = template["Parameters"].get(name)
            if name != "region" and about is None:
                yield f"{environment} sets {name}, which is no parameter"
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
def stages_are_named_as_in_the_code(templates: Templates) -> Iterator[str]:
    """Both templates take the stages that the code takes."""
    for name, template in templates.raw.items():
        pattern = template["Parameters"]["Stage"]["AllowedPattern"]
        if pattern != f"[a-z0-9-]{{1,{rust.stage_pattern()}}}":
            yield f"{name} takes {pattern}"
