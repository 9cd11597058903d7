"""Mistakes that somebody could make in the templates, and the checks that find each: exactly these, and no others.

`cfn-lint` is run on the template as it is written and, as `cfn-lint expanded`, on what SAM makes of it.
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
    data("an attribute declared that no key has", "        - { AttributeName: r, AttributeType: S }\n",
         "        - { AttributeName: r, AttributeType: S }\n        - { AttributeName: l, AttributeType: N }\n",
         "declared attributes are those of keys"),
    data("an index on an attribute that is not declared", "        - { AttributeName: open, AttributeType: N }\n", "",
         "declared attributes are those of keys", "tables are those of the code"),
    data("an attribute of another type than the code writes", "AttributeName: open, AttributeType: N",
         "AttributeName: open, AttributeType: S", "tables are those of the code"),
    data("an index of another name than the code queries", "IndexName: open", "IndexName: by-open",
         "tables are those of the code"),
    data("an index that holds keys only", "ProjectionType: ALL", "ProjectionType: KEYS_ONLY",
         "tables are those of the code"),
    data("a table of another name than the code's", "hb-${Stage}-keys", "hb-${Stage}-apikeys",
         "tables are those of the code", "statements name resources of the stack"),
    data("provisioned mode without capacity", "BillingMode: PAY_PER_REQUEST", "BillingMode: PROVISIONED",
         "tables are charged by request"),
    data("the ledger eventually consistent over two regions", "      MultiRegionConsistency: !If [TwoRegions, STRONG, !Ref AWS::NoValue]\n", "",
         "claims are strong over regions"),
    data("the ledger strong in one region", "!If [TwoRegions, STRONG, !Ref AWS::NoValue]", "STRONG",
         "claims are strong over regions"),
    data("a strong ledger without its witness",
         "      GlobalTableWitnesses: !If\n        - TwoRegions\n        - - Region: !Ref WitnessRegion\n        - !Ref AWS::NoValue\n", "",
         "claims are strong over regions"),
    data("a table that goes with its stack", "    DeletionPolicy: Retain\n", "    DeletionPolicy: Delete\n",
         "data outlives its stack"),
    data("no recovery to a point in time", "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false",
         "data outlives its stack"),
    data("a time-to-live on an attribute in milliseconds", "      StreamSpecification:\n",
         "      TimeToLiveSpecification: { AttributeName: expires, Enabled: true }\n      StreamSpecification:\n",
         "data outlives its stack"),
    data("a replica in the wrong place", "          - Region: !Ref SecondRegion\n", "          - Region: !Ref WitnessRegion\n",
         "regions share all tables but their own"),
    # ---- template.yaml: functions and schedules
    template("rate(1 minutes)", "rate(1 minute)", "rate(1 minutes)", "schedules start functions once a minute"),
    template("a schedule that tries again", "MaximumRetryAttempts: 0\n          MaximumEventAgeInSeconds: 60\n        DeadLetterConfig",
             "MaximumRetryAttempts: 3\n          MaximumEventAgeInSeconds: 60\n        DeadLetterConfig",
             "schedules start functions once a minute"),
    template("a canary schedule that sweeps", '{"task": "canary"}', '{"task": "sweep"}',
             "schedules start functions once a minute"),
    template("Lambda's own second and third try", "        MaximumRetryAttempts: 0\n", "        MaximumRetryAttempts: 2\n",
             "functions have time and no second try"),
    template("a sweep without time for its margin", "Timeout: 90", "Timeout: 70", "functions have time and no second try"),
    template("more sweeps at once than SNS bears", "      Timeout: 90\n      ReservedConcurrentExecutions: !If [ReserveSweep, !Ref SweepConcurrency, !Ref AWS::NoValue]",
             "      Timeout: 90\n      ReservedConcurrentExecutions: 3", RAW, EXPANDED, "functions have time and no second try"),
    template("a variable that the code does not read", "HB_SWEEP_EVERY_S", "HB_SWEEP_EVERY",
             "variables are those that the code reads"),
    template("a variable that the code needs, forgotten", "        HB_STAGE: !Ref Stage\n", "",
             "variables are those that the code reads"),
    template("the canary's key given to ingest", "          HB_RATE_LIMIT: !Ref RateLimit\n",
             "          HB_RATE_LIMIT: !Ref RateLimit\n          HB_CANARY_KEY: !Ref CanaryKey\n",
             "variables are those that the code reads"),
    template("a function with the other's program", "BuildProperties: { Binary: ingest }", "BuildProperties: { Binary: sweep }",
             "functions run the programs of the code"),
    template("a log group that is not the function's", "LogGroupName: !Sub /aws/lambda/hb-${Stage}-ingest",
             "LogGroupName: !Sub /aws/lambda/${Stage}-ingest", "log groups are the functions own"),
    template("logs kept for ever", "      RetentionInDays: !Ref LogDays\n", "", "log groups are the functions own"),
    # ---- template.yaml: permissions
    template("all of DynamoDB on everything, as the predecessor had it",
             "                Action: dynamodb:GetItem\n                Resource: !Sub arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/hb-${Stage}-keys",
             "                Action: dynamodb:*\n                Resource: '*'",
             "functions may do what they call and nothing else", "statements name resources of the stack"),
    template("an action that the code does not use", "Action: [dynamodb:Scan, dynamodb:Query]",
             "Action: [dynamodb:Scan, dynamodb:Query, dynamodb:DeleteItem]",
             "functions may do what they call and nothing else"),
    template("an action that the code uses, forgotten", "Action: [sqs:GetQueueUrl, sqs:ReceiveMessage, sqs:DeleteMessage]",
             "Action: [sqs:GetQueueUrl, sqs:ReceiveMessage]", "functions may do what they call and nothing else"),
    template("a misspelt action", "dynamodb:UpdateItem", "dynamodb:UpdateItems", EXPANDED,
             "functions may do what they call and nothing else"),
    template("the index forgotten in the permission", LEDGER.strip() + "/index/open", LEDGER.strip(),
             "functions may do what they call and nothing else"),
    template("the table of another stage", "dynamodb:${AWS::Region}:${AWS::AccountId}:table/hb-${Stage}-keys",
             "dynamodb:${AWS::Region}:${AWS::AccountId}:table/hb-prod-keys",
             "functions may do what they call and nothing else", "statements name resources of the stack"),
    template("an attribute forgotten in a condition", "[h, r, l, i, f, s, x, m]", "[h, r, l, i, f, s, x]",
             "conditions narrow items and attributes"),
    template("the canary free to change any entry", "            Statement:\n              - Sid: Log\n                Effect: Allow\n                Action: [logs:CreateLogStream, logs:PutLogEvents]\n                Resource: !GetAtt CanaryLog.Arn\n              - Sid: RememberCanaries",
             "            Statement:\n              - Sid: Log\n                Effect: Allow\n                Action: [logs:CreateLogStream, logs:PutLogEvents]\n                Resource: !GetAtt CanaryLog.Arn\n              - Sid: Remember",
             "conditions narrow items and attributes"),
    template("a queue that any topic may fill", "              ArnEquals:\n                aws:SourceArn: !Ref Notices\n",
             "              ArnLike:\n                aws:PrincipalArn: '*'\n",
             "outsiders act for this account only", "topic and queue are those of the code"),
    # ---- template.yaml: gateway and name
    template("settings of a route that does not exist", "      DefaultRouteSettings:\n",
             "      RouteSettings:\n        POST /v1/heartbeat: { ThrottlingRateLimit: 10 }\n      DefaultRouteSettings:\n",
             "gateway throttles what it routes"),
    template("a gateway that lets everything through",
             "        ThrottlingRateLimit: !Ref GatewayRate\n        ThrottlingBurstLimit: !Ref GatewayBurst\n", "",
             EXPANDED, "gateway throttles what it routes"),
    template("a key in the access log", '"path":"$context.path"', '"path":"$context.path","key":"$request.header.x-api-key"',
             "access log is json without secrets"),
    template("client certificates with the back door open", "DisableExecuteApiEndpoint: !If [ClientCertificates, true, false]",
             "DisableExecuteApiEndpoint: false", "client certificates close the other door"),
    template("a health check of the shared name", "FullyQualifiedDomainName: !Sub ${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}",
             "FullyQualifiedDomainName: !Ref DomainName", "regions share the name"),
    template("a canary that may land in the other region", "HB_CANARY_URL: !Sub https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}",
             "HB_CANARY_URL: !Sub https://${DomainName}", "regions share the name"),
    # ---- template.yaml: topics, alarms, dashboard
    template("a topic of another name than the code finds", "TopicName: !Sub hb-${Stage}-notices",
             "TopicName: !Sub hb-${Stage}-topic", "functions may do what they call and nothing else",
             "topic and queue are those of the code"),
    template("an echo that hears some notices only", "      RawMessageDelivery: true\n",
             "      RawMessageDelivery: true\n      FilterPolicy: { kind: [missing] }\n",
             "topic and queue are those of the code"),
    template("alarms under a key that CloudWatch may not use", "Principal: { Service: cloudwatch.amazonaws.com }\n            Action: [kms:GenerateDataKey, kms:Decrypt]",
             "Principal: { Service: events.amazonaws.com }\n            Action: [kms:GenerateDataKey, kms:Decrypt]",
             "alarms reach people through an encrypted topic"),
    template("an alarm that tells nobody", "      AlarmActions: [!Ref Ops]\n", "",
             "alarms reach people through an encrypted topic"),
    template("an alarm on a metric that nobody emits", "MetricName: SweepCompleted", "MetricName: SweepsCompleted",
             "alarms watch metrics that are emitted", "silence of the service is an alarm"),
    template("an alarm by a dimension that the metric lacks", "        - { Name: Stage, Value: !Ref Stage }\n",
             "        - { Name: FunctionName, Value: !Ref Sweep }\n", "alarms watch metrics that are emitted"),
    template("silence taken for health", "TreatMissingData: breaching", "TreatMissingData: notBreaching",
             "silence of the service is an alarm"),
    template("a dashboard that is no JSON", '"stat": "Sum", "period": 60,\n              "metrics": [["Heartbeat", "Beats"',
             '"stat": "Sum", "period": 60\n              "metrics": [["Heartbeat", "Beats"',
             "dashboard shows metrics that are emitted"),
    template("a widget of a metric that nobody emits", '"Heartbeat", "HostsMissing"', '"Heartbeat", "MissingHosts"',
             "dashboard shows metrics that are emitted"),
    # ---- all files
    template("a reference to nothing", "Role: !GetAtt IngestRole.Arn", "Role: !GetAtt IngestsRole.Arn", EXPANDED),
    template("a property of SAM that does not exist", "      EventInvokeConfig:\n        MaximumRetryAttempts: 0\n        MaximumEventAgeInSeconds: 60\n        DestinationConfig",
             "      EventInvokeConfiguration:\n        MaximumRetryAttempts: 0\n        MaximumEventAgeInSeconds: 60\n        DestinationConfig",
             RAW, EXPANDED),
    template("stages of another length than the code's", "'[a-z0-9-]{1,24}'", "'[a-z0-9-]{1,40}'",
             "stages are named as in the code"),
    Mutation("an environment that sets no parameter", "samconfig.toml", "OtherRegion=eu-central-1", "SecondRegion=eu-central-1",
             ("environments set parameters that exist",)),
    Mutation("another build than the measured one", "crates/lambda/Cargo.toml", "profile.release.lto=\\\"fat\\\"",
             "profile.release.lto=\\\"thin\\\"", ("functions run the programs of the code",)),
]  # fmt: skip
