"""The resources of the templates on emulated AWS, created from their own properties.

An unknown property is an error, so that none is omitted unnoticed. Those that the emulator does not support are listed
with the reason.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer

from templates import ACCOUNT, REGION, Deployment, Json

UNSUPPORTED = {
    "Replicas": "one region is emulated",
    "MultiRegionConsistency": "the same",
    "GlobalTableWitnesses": "the same",
    "PointInTimeRecoverySpecification": "set after a table is created; no test restores one",
    "TimeToLiveSpecification": "set after a table is created; no test waits until an item expires",
    "KmsMasterKeyId": "no key is emulated",
}
"""Properties that are not passed on, with the reason."""

CREDENTIALS: Any = {"aws_access_key_id": "AKIDTEST", "aws_secret_access_key": "hunter2hunter2", "region_name": REGION}


class UnknownPropertyError(Exception):
    """A template has a property that the emulated stage would lack."""


def pick(properties: dict[str, Json], known: set[str]) -> dict[str, Json]:
    """The known properties; all others must be unsupported by the emulator."""
    unknown = set(properties) - known - set(UNSUPPORTED)
    if unknown:
        raise UnknownPropertyError(f"add to tests/template/emulated.py: {sorted(unknown)}")
    return {name: value for name, value in properties.items() if name in known}


class Stage:
    """A deployed stage."""

    def __init__(self, deployment: Deployment, url: str):
        self.deployment, self.url = deployment, url
        session = boto3.Session(**CREDENTIALS)
        self.dynamodb: Any = session.client("dynamodb", endpoint_url=url)
        self.sns: Any = session.client("sns", endpoint_url=url)
        self.sqs: Any = session.client("sqs", endpoint_url=url)
        for table in deployment.tables().values():
            self.create_table(table)
        for topic in deployment.main.of_type("AWS::SNS::Topic").values():
            self.create_topic(topic)
        # Dead-letter queues first: other queues refer to them.
        queues = deployment.main.of_type("AWS::SQS::Queue")
        for queue in sorted(queues.values(), key=lambda queue: "RedrivePolicy" in queue):
            self.create_queue(queue)
        for subscription in deployment.main.of_type("AWS::SNS::Subscription").values():
            self.subscribe(subscription)

    def create_table(self, table: Json) -> None:
        request = pick(table, {
            "TableName", "BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes",
            "StreamSpecification", "SSESpecification", "DeletionProtectionEnabled",
        })  # fmt: skip
        if "StreamSpecification" in request:
            request["StreamSpecification"] = {"StreamEnabled": True, **request["StreamSpecification"]}
        request["SSESpecification"] = {
            "Enabled": request["SSESpecification"]["SSEEnabled"],
            "SSEType": request["SSESpecification"]["SSEType"],
        }
        if "DeletionProtectionEnabled" in request:
            request["DeletionProtectionEnabled"] = request["DeletionProtectionEnabled"] == "true"
        self.dynamodb.create_table(**request)

    def create_topic(self, topic: Json) -> None:
        request = pick(topic, {"TopicName", "DisplayName"})
        attributes = {name: value for name, value in request.items() if name == "DisplayName"}
        self.sns.create_topic(Name=request["TopicName"], Attributes=attributes)

    def create_queue(self, queue: Json) -> None:
        request = pick(queue, {
            "QueueName", "SqsManagedSseEnabled", "VisibilityTimeout", "MessageRetentionPeriod", "RedrivePolicy",
        })  # fmt: skip
        attributes = {name: str(value).lower() for name, value in request.items() if name not in ("QueueName", "RedrivePolicy")}
        if "RedrivePolicy" in request:
            policy = request["RedrivePolicy"]
            dead = self.arn("sqs", policy["deadLetterTargetArn"].removesuffix(".Arn"))
            attributes["RedrivePolicy"] = json.dumps({**policy, "deadLetterTargetArn": dead})
        self.sqs.create_queue(QueueName=request["QueueName"], Attributes=attributes)

    def subscribe(self, subscription: Json) -> None:
        request = pick(subscription, {"TopicArn", "Protocol", "Endpoint", "RawMessageDelivery"})
        endpoint = request["Endpoint"]
        if request["Protocol"] == "sqs":
            endpoint = self.arn("sqs", endpoint.removesuffix(".Arn"))
        raw = str(request.get("RawMessageDelivery", False)).lower()
        attributes = {"RawMessageDelivery": raw} if request["Protocol"] == "sqs" else {}
        self.sns.subscribe(
            TopicArn=self.arn("sns", request["TopicArn"]), Protocol=request["Protocol"], Endpoint=endpoint,
            Attributes=attributes,
        )  # fmt: skip

    def arn(self, service: str, logical: str) -> str:
        """The ARN of a topic or queue of the template."""
        properties = self.deployment.main.resources[logical]["Properties"]
        return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{properties.get('TopicName') or properties.get('QueueName')}"

    def listen(self, name: str) -> str:
        """A new queue that receives all notices; returns its URL."""
        url: str = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.sns.subscribe(
            TopicArn=self.arn("sns", "Notices"), Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
            Attributes={"RawMessageDelivery": "true"},
        )  # fmt: skip
        return url

    def messages(self, url: str) -> list[str]:
        """The bodies of all messages in a queue."""
        bodies: list[str] = []
        while some := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [message["Body"] for message in some]
        return bodies

    def items(self, table: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.dynamodb.scan(TableName=table)["Items"]
        return found


@contextmanager
def emulated(deployment: Deployment) -> Iterator[Stage]:
    """A stage on a server of its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # The state is global to the process.
        moto_api_backend.reset()
        yield Stage(deployment, f"http://{host}:{port}")
    finally:
        server.stop()
