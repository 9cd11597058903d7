"""Mistakes in the templates, with the checks that find each: exactly these, and no others.

`cfn-lint` runs on the template as written and, as `cfn-lint expanded`, on the output of SAM.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """The first `old` in a file becomes `new`."""

    mistake: str
    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]


def template(mistake: str, old: str, new: str, *caught_by: str) -> Mutation:
    return Mutation(mistake, "template.yaml", old, new, caught_by)


def data(mistake: str, old: str, new: str, *caught_by: str) -> Mutation:
    return Mutation(mistake, "data.yaml", old, new, caught_by)


STREAM = "      StreamSpecification:\n        StreamViewType: NEW_AND_OLD_IMAGES\n"
LEDGER = "table/hb-${Stage}-ledger\n"
RAW, EXPANDED = "cfn-lint", "cfn-lint expanded"

MUTATIONS = [
    # ---- data.yaml
    data("a global table without a stream", STREAM, "", "eventual tables have a stream"),
    data("a declared attribute that no key uses", "        - { AttributeName: r, AttributeType: S }\n",
         "        - { AttributeName: r, AttributeType: S }\n        - { AttributeName: l, AttributeType: N }\n",
         "declared attributes are key attributes"),
    data("an index on an undeclared attribute", "        - { AttributeName: open, AttributeType: N }\n", "",
         "declared attributes are key attributes", "tables match the code"),
    data("an attribute of a different type than the code writes", "AttributeName: open, AttributeType: N",
         "AttributeName: open, AttributeType: S", "tables match the code"),
    data("an index with a different name than the code queries", "IndexName: open", "IndexName: by-open",
         "tables match the code"),
    data("an index that projects keys only", "ProjectionType: ALL", "ProjectionType: KEYS_ONLY",
         "tables match the code"),
    data("a table with a different name than in the code", "hb-${Stage}-keys", "hb-${Stage}-apikeys",
         "tables match the code", "policies name resources of the stack"),
    data("provisioned mode without capacity", "BillingMode: PAY_PER_REQUEST", "BillingMode: PROVISIONED",
         "tables are billed per request"),
    data("the ledger eventually consistent over two regions", "      MultiRegionConsistency: !If [TwoRegions, STRONG, !Ref AWS::NoValue]\n", "",
         "the ledger is strongly consistent across regions"),
    data("the ledger strong in one region", "!If [TwoRegions, STRONG, !Ref AWS::NoValue]", "STRONG",
         "the ledger is strongly consistent across regions"),
    data("a strongly consistent ledger without its witness",
         "      GlobalTableWitnesses: !If\n        - TwoRegions\n        - - Region: !Ref WitnessRegion\n        - !Ref AWS::NoValue\n", "",
         "the ledger is strongly consistent across regions"),
    data("a table that is deleted with its stack", "    DeletionPolicy: RetainExceptOnCreate\n", "    DeletionPolicy: Delete\n",
         "data outlives its stack"),
    template("a table that stays after a failed creation", "    DeletionPolicy: RetainExceptOnCreate\n", "    DeletionPolicy: Retain\n",
             "data outlives its stack"),
    data("no point-in-time recovery", "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false",
         "data outlives its stack"),
    data("a time-to-live on an attribute in milliseconds", "      StreamSpecification:\n",
         "      TimeToLiveSpecification: { AttributeName: expires, Enabled: true }\n      StreamSpecification:\n",
         "data outlives its stack"),
    template("acts of admins that never expire", "      TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }\n", "",
             "data outlives its stack"),
    data("a replica in the wrong place", "          - Region: !Ref SecondRegion\n", "          - Region: !Ref WitnessRegion\n",
         "regions share all tables except system"),
    # ---- template.yaml: functions and schedules
    template("rate(1 minutes)", "rate(1 minute)", "rate(1 minutes)", "schedules invoke functions every minute"),
    template("a schedule that retries", "MaximumRetryAttempts: 0\n          MaximumEventAgeInSeconds: 60\n        DeadLetterConfig",
             "MaximumRetryAttempts: 3\n          MaximumEventAgeInSeconds: 60\n        DeadLetterConfig",
             "schedules invoke functions every minute"),
    template("a canary schedule with the event of the sweep", '{"task": "canary"}', '{"task": "sweep"}',
             "schedules invoke functions every minute"),
    template("the default retries of Lambda", "        MaximumRetryAttempts: 0\n", "        MaximumRetryAttempts: 2\n",
             "functions have enough time and no retries"),
    template("a sweep timeout without time for its margin", "Timeout: 90", "Timeout: 70", "functions have enough time and no retries"),
    template("more concurrent sweeps than SNS allows", "      Timeout: 90\n      ReservedConcurrentExecutions: !If [ReserveSweep, !Ref SweepConcurrency, !Ref AWS::NoValue]",
             "      Timeout: 90\n      ReservedConcurrentExecutions: 3", "functions have enough time and no retries"),
    template("a variable that the code does not read", "HB_SWEEP_EVERY_S", "HB_SWEEP_EVERY",
             "variables match those the code reads"),
    template("a missing variable that the code needs", "        HB_STAGE: !Ref Stage\n", "",
             "variables match those the code reads"),
    template("the canary's key given to ingest", "          HB_RATE_LIMIT: !Ref RateLimit\n",
             "          HB_RATE_LIMIT: !Ref RateLimit\n          HB_CANARY_KEY: !Ref CanaryKey\n",
             "variables match those the code reads"),
    Mutation("a function with the wrong program", "crates/lambda/Makefile", "build-Ingest: PROGRAM = ingest", "build-Ingest: PROGRAM = sweep",
             ("functions run the measured programs",)),
    template("a log group with a name that no function uses", "LogGroupName: !Sub /aws/lambda/hb-${Stage}-ingest",
             "LogGroupName: !Sub /aws/lambda/${Stage}-ingest", "each function has its own log group"),
    template("lines that Lambda drops", "        ApplicationLogLevel: !FindInMap [LogLevels, !Ref LogLevel, Application]\n", "",
             "each function has its own log group"),
    template("logs kept forever", "      RetentionInDays: !Ref LogDays\n", "", "each function has its own log group"),
    # ---- template.yaml: permissions
    template("all of DynamoDB on everything, as the predecessor had it",
             "                Action: dynamodb:GetItem\n                Resource: !Sub arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/hb-${Stage}-keys",
             "                Action: dynamodb:*\n                Resource: '*'",
             "roles allow exactly what functions call", "policies name resources of the stack"),
    template("an action that the code does not call", "Action: [dynamodb:Scan, dynamodb:Query]",
             "Action: [dynamodb:Scan, dynamodb:Query, dynamodb:DeleteItem]",
             "roles allow exactly what functions call"),
    template("a missing action that the code calls", "Action: [sqs:GetQueueUrl, sqs:ReceiveMessage, sqs:DeleteMessage]",
             "Action: [sqs:GetQueueUrl, sqs:ReceiveMessage]", "roles allow exactly what functions call"),
    template("a misspelt action", "dynamodb:UpdateItem", "dynamodb:UpdateItems", EXPANDED,
             "roles allow exactly what functions call"),
    template("a permission that omits the index", LEDGER.strip() + "/index/open", LEDGER.strip(),
             "roles allow exactly what functions call"),
    template("the table of another stage", "dynamodb:${AWS::Region}:${AWS::AccountId}:table/hb-${Stage}-keys",
             "dynamodb:${AWS::Region}:${AWS::AccountId}:table/hb-prod-keys",
             "roles allow exactly what functions call", "policies name resources of the stack"),
    template("a missing attribute in a condition", "[h, r, l, i, f, s, x, m, k, a, b]", "[h, r, l, i, f, s, x, k, a, b]",
             "conditions restrict items and attributes"),
    template("a sweep that may write the signal of a beat", "[h, r, l, f, x]", "[h, r, l, f, x, s]",
             "conditions restrict items and attributes"),
    template("a canary that may change any entry of the ledger", "            Statement:\n              - Sid: Log\n                Effect: Allow\n                Action: [logs:CreateLogStream, logs:PutLogEvents]\n                Resource: !GetAtt CanaryLog.Arn\n              - Sid: RememberCanaries",
             "            Statement:\n              - Sid: Log\n                Effect: Allow\n                Action: [logs:CreateLogStream, logs:PutLogEvents]\n                Resource: !GetAtt CanaryLog.Arn\n              - Sid: Remember",
             "conditions restrict items and attributes"),
    template("a key that its user may read", "                  StringEqualsIfExists:\n                    dynamodb:ReturnValues: NONE\n", "",
             "conditions restrict items and attributes"),
    template("a queue that any topic may send to", "              ArnEquals:\n                aws:SourceArn: !Ref Notices\n",
             "              ArnLike:\n                aws:PrincipalArn: '*'\n",
             "services act for this account only", "topic and queue match the code"),
    # ---- template.yaml: gateway and name
    template("settings of a route that does not exist", "        GET /v1/status: {", "        POST /v1/heartbeat: {",
             "gateway throttles its routes"),
    template("a gateway without throttling",
             "        ThrottlingRateLimit: !Ref GatewayRate\n        ThrottlingBurstLimit: !Ref GatewayBurst\n", "",
             EXPANDED, "gateway throttles its routes"),
    template("a canary that shares the route of the fleet", "Path: '/v1/heartbeat/hb:canary-2'", "Path: '/v1/heartbeat/hb:canary-3'",
             "gateway throttles its routes"),
    template("a key in the access log", '"path":"$context.path"', '"key":"$request.header.x-api-key","path":"$context.path"',
             "access log is json without secrets"),
    template("a path with quotes before other members", '"path":"$context.path"', '"path":"$context.path","stage":"$context.stage"',
             "access log is json without secrets"),
    template("client certificates with the default address enabled", "DisableExecuteApiEndpoint: !If [ClientCertificates, true, false]",
             "DisableExecuteApiEndpoint: false", "client certificates disable the default address"),
    template("a health check of the shared name", "FullyQualifiedDomainName: !Sub ${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}",
             "FullyQualifiedDomainName: !Ref DomainName", "regions share the domain name"),
    template("a canary that may reach the other region", "HB_CANARY_URL: !Sub https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}",
             "HB_CANARY_URL: !Sub https://${DomainName}", "regions share the domain name"),
    # ---- template.yaml: topics, alarms, dashboard
    template("a topic with a different name than in the code", "TopicName: !Sub hb-${Stage}-notices",
             "TopicName: !Sub hb-${Stage}-topic", "roles allow exactly what functions call",
             "topic and queue match the code"),
    template("an echo queue that receives only some notices", "      RawMessageDelivery: true\n",
             "      RawMessageDelivery: true\n      FilterPolicy: { kind: [missing] }\n",
             "topic and queue match the code"),
    template("alarms under a key that CloudWatch cannot use", "Principal: { Service: cloudwatch.amazonaws.com }\n            Action: [kms:GenerateDataKey, kms:Decrypt]",
             "Principal: { Service: events.amazonaws.com }\n            Action: [kms:GenerateDataKey, kms:Decrypt]",
             "alarms can use the encrypted topic"),
    template("an alarm that notifies no one", "      AlarmActions: [!Ref Ops]\n", "",
             "alarms can use the encrypted topic"),
    template("an alarm on a metric that is not emitted", "MetricName: SweepCompleted", "MetricName: SweepsCompleted",
             "alarms watch emitted metrics", "alarms are those of the table", "silence of the service raises an alarm"),
    template("an alarm with a dimension that the metric lacks", "        - { Name: Stage, Value: !Ref Stage }\n",
             "        - { Name: FunctionName, Value: !Ref Sweep }\n", "alarms watch emitted metrics",
             "alarms are those of the table"),
    template("an alarm that is always raised", "Threshold: 1\n", "Threshold: 0\n", "alarms are those of the table"),
    template("a comparison reversed", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "alarms are those of the table"),
    template("missing data treated as healthy", "TreatMissingData: breaching", "TreatMissingData: notBreaching",
             "alarms are those of the table", "silence of the service raises an alarm"),
    template("an alarm before the first sweep", ' AND NOT INSUFFICIENT_DATA("${SweepSeen}")', "",
             "alarms are those of the table", "silence of the service raises an alarm"),
    template("an alarm that forgets the first canary", "TreatMissingData: ignore", "TreatMissingData: missing",
             "alarms are those of the table", "silence of the service raises an alarm"),
    template("a dashboard that is not JSON", '"stat": "Sum", "period": 60,\n              "metrics": [["Heartbeat", "Beats"',
             '"stat": "Sum", "period": 60\n              "metrics": [["Heartbeat", "Beats"',
             "dashboard shows emitted metrics"),
    template("a widget for a metric that is not emitted", '"Heartbeat", "HostsMissing"', '"Heartbeat", "MissingHosts"',
             "dashboard shows emitted metrics"),
    # ---- edge.yaml
    Mutation("answers from a cache", "edge.yaml", "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "658327ea-f89d-4fab-a63d-7e88639e58f6",
             ("the edge passes everything but floods",)),
    Mutation("samples that show keys", "edge.yaml", "SampledRequestsEnabled: false", "SampledRequestsEnabled: true",
             ("the edge passes everything but floods",)),
    Mutation("an alarm on a metric that Route 53 lacks", "edge.yaml", "MetricName: HealthCheckStatus", "MetricName: HealthStatus",
             ("the edge passes everything but floods",)),
    # ---- all files
    template("a reference to nothing", "Role: !GetAtt IngestRole.Arn", "Role: !GetAtt IngestsRole.Arn", EXPANDED,
             "roles are taken by the service that acts"),
    template("a schedule with the role of the function that it starts", "RoleArn: !GetAtt SweepScheduleRole.Arn",
             "RoleArn: !GetAtt SweepRole.Arn", "roles are taken by the service that acts"),
    template("a function whose role the scheduler takes", "Service: lambda.amazonaws.com", "Service: scheduler.amazonaws.com",
             "roles are taken by the service that acts", "services act for this account only"),
    template("a SAM property that does not exist", "      EventInvokeConfig:\n        MaximumRetryAttempts: 0\n        MaximumEventAgeInSeconds: 60\n        DestinationConfig",
             "      EventInvokeConfiguration:\n        MaximumRetryAttempts: 0\n        MaximumEventAgeInSeconds: 60\n        DestinationConfig",
             RAW, EXPANDED),
    template("a different maximum length of stage names than in the code", "'[a-z0-9-]{1,24}'", "'[a-z0-9-]{1,40}'",
             "stage names match the code"),
    Mutation("an environment that sets an unknown parameter", "samconfig.toml", "OtherRegion=eu-central-1", "SecondRegion=eu-central-1",
             ("environments set existing parameters",)),
    Mutation("a different build than the measured one", "crates/lambda/Cargo.toml", "profile.release.lto=\\\"fat\\\"",
             "profile.release.lto=\\\"thin\\\"", ("functions run the measured programs",)),
]  # fmt: skip
