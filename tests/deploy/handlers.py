"""Which permissions CloudFormation needs for each type of resource: AWS's own list, the handlers in the schema of the type, as
cfn-lint brings it (`HB_SCHEMAS`), without what the templates do not use.
"""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

Json = Any
SCHEMAS = Path(os.environ["HB_SCHEMAS"])
UNUSED = [
    (r"^(ec2|elasticfilesystem|s3files):", "functions without a network or file system of their own"),
    (r"^(application-autoscaling|kinesis|firehose):|Kinesis|AutoScaling|ContributorInsights|ImportTable|DescribeImport", "tables without these"),
    (r"(Put|Delete)ResourcePolicy|AssociateTableReplica|DisassociateTableReplica", "tables without policies, of one account"),
    (r"(Put|Delete)(DataProtection|Index)Policy|KmsKey|DeletionProtection|BearerToken|REST|ToCloud", "logs and topics without these"),
    (r"^lambda:(Put|Delete)(Provisioned|Runtime|FunctionRecursion|FunctionScaling|FunctionCodeSigning)", "functions without these"),
    (r"^lambda:(PassCapacityProvider|AssociateRuntimeAlias|GetLayerVersion|GetCodeSigningConfig)", "functions without these"),
    (r"^iam:((At|De)tachRolePolicy|DeleteRolePermissionsBoundary)", "roles with policies of their own and, for good, a boundary"),
    (r"^apigateway:(Tag|Untag)Resource", "IAM has no such action: a tag is POST and DELETE of /tags"),
    (r"^codedeploy:RegisterOnPremisesInstance|^acm-pca:|^route53-recovery-control-config:", "none of these"),
    (r"^cloudformation:(SetStackPolicy|UpdateTerminationProtection)", "nested stacks without these"),
]  # fmt: skip
"""Actions that the handlers name, and why nothing here needs them."""
NOT_FOR = {
    "AWS::ApiGatewayV2::Api": "s3:", "AWS::CloudFormation::Stack": "iam:", "AWS::DynamoDB::GlobalTable": "kms:",
    "AWS::DynamoDB::Table": "kms:|logs:|s3:|iam:|dynamodb:(CreateTableReplica|Query|Scan|.*Item)", "AWS::Lambda::Function": "kms:|s3:GetObjectVersion",
    "AWS::Logs::LogGroup": "logs:(CreateLogDelivery|PutResourcePolicy|DeleteResourcePolicy)", "AWS::SNS::Subscription": "iam:", "AWS::SNS::Topic": "iam:",
}  # fmt: skip
"""The same for one type: no roles of topics, keys of AWS only."""
BESIDES = {
    # API Gateway developer guide, "Configure logging for HTTP APIs".
    "AWS::ApiGatewayV2::Stage": [
        *(f"logs:{verb}LogDelivery" for verb in ("Create", "Update", "Delete", "Get")), "logs:ListLogDeliveries",
        "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
    ],
    # DynamoDB developer guide, "Multi-Region strong consistency": of a witness.
    "AWS::DynamoDB::GlobalTable": ["dynamodb:CreateGlobalTableWitness", "dynamodb:DeleteGlobalTableWitness"],
}  # fmt: skip
"""What the handlers do not name, but the guides."""


def unused(kind: str, action: str) -> bool:
    return any(re.search(pattern, action) for pattern, _ in UNUSED) or bool(re.match(NOT_FOR.get(kind, "$"), action))


@cache
def schemas() -> dict[str, str]:
    return json.loads((SCHEMAS / "providers/eu-west-1.json").read_text())


@cache
def needed(kind: str) -> dict[str, list[str]]:
    """The actions for a type of resource, by step: create, update, delete."""
    handlers: Json = json.loads((SCHEMAS / f"resources/{schemas()[kind]}.json").read_text())["handlers"]
    steps = {}
    for step in ("create", "update", "delete"):
        named = handlers.get(step, {}).get("permissions", []) + handlers.get("read", {}).get("permissions", [])
        # Its spelling is not always that of the action.
        named = {action.replace("s3:getObject", "s3:GetObject") for action in named}
        steps[step] = sorted({action for action in named if not unused(kind, action)} | set(BESIDES.get(kind, [])))
    return steps
