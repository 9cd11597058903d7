"""Empties the ledger of a stage into a file, and fills it from the file: it becomes strongly consistent only while it is
empty (docs/deployment.md, "Add a region").

    python scripts/ledger.py empty ledger.jsonl --stage prod --region eu-west-1
    python scripts/ledger.py fill ledger.jsonl --stage prod --region eu-west-1

`empty` stops what writes into the ledger, the functions sweep and canary, and `fill` starts them again as they were. Each
step checks what it finds, and either command can be run again after it was interrupted.
"""

import argparse
import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import boto3

Item = dict[str, Any]
BATCH = 25
"""Most items of a BatchWriteItem (DynamoDB developer guide, "Quotas")."""


class Stopped(Exception):
    """Why it goes no further; nothing is lost."""


class Move:
    def __init__(self, stage: str, region: str, file: Path, wait: int) -> None:
        self.dynamodb: Any = boto3.client("dynamodb", region_name=region)
        self.functions: Any = boto3.client("lambda", region_name=region)
        self.stage, self.table, self.file, self.wait = stage, f"hb-{stage}-ledger", file, wait
        self.concurrency = file.with_name(file.name + ".functions")

    def empty(self) -> None:
        self.stop()
        if not self.file.exists():
            self.save()
        saved = self.read()
        there = self.scan()
        self.check(saved, there)
        self.write([{"DeleteRequest": {"Key": {"h": {"S": host}}}} for host in there], "deleted")
        if left := self.scan():
            raise Stopped(f"{self.table} has {len(left)} new records: something still writes; find it, and run this again")
        print(f"{self.table} is empty; its {len(saved)} records are in {self.file}: keep it until both regions have swept")

    def fill(self) -> None:
        saved = self.read()
        there = self.scan()
        self.check(saved, there)
        missing = [{"PutRequest": {"Item": item}} for host, item in saved.items() if host not in there]
        self.write(missing, "written")
        if self.scan() != saved:
            raise Stopped(f"{self.table} differs from {self.file}: run this again")
        self.start()
        print(f"{self.table} has all {len(saved)} records of {self.file}")

    def check(self, saved: dict[str, Item], there: dict[str, Item]) -> None:
        """Whatever is in the table is also in the file."""
        for host, item in there.items():
            if saved.get(host) != item:
                raise Stopped(
                    f"{self.table} has another record of {host} than {self.file}: somebody changed it since. Nothing was "
                    "changed by this step; see to it by hand, or move the file away if nothing was deleted yet"
                )

    # ---- The functions that write.

    def writers(self) -> list[str]:
        return [f"hb-{self.stage}-sweep", f"hb-{self.stage}-canary"]

    def stop(self) -> None:
        """Reserves no concurrency for them, remembers what they had, and waits until those that run have ended."""
        before = json.loads(self.concurrency.read_text()) if self.concurrency.exists() else {}
        found = {}
        for name in self.writers():
            try:
                found[name] = self.functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
            except self.functions.exceptions.ResourceNotFoundException:
                print(f"{name} does not exist")
        self.concurrency.write_text(json.dumps({**found, **before}))
        running = [name for name in found if found[name] != 0]
        for name in running:
            self.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        if running:
            print(f"stopped {', '.join(running)}; waiting {self.wait} s for what still runs", flush=True)
            time.sleep(self.wait)

    def start(self) -> None:
        if not self.concurrency.exists():
            return
        for name, reserved in json.loads(self.concurrency.read_text()).items():
            if reserved is None:
                self.functions.delete_function_concurrency(FunctionName=name)
            else:
                self.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
            print(f"started {name}")
        self.concurrency.unlink()

    # ---- The records.

    def scan(self) -> dict[str, Item]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        return {item["h"]["S"]: item for page in pages for item in page["Items"]}

    def save(self) -> None:
        part = self.file.with_name(self.file.name + ".part")
        with part.open("w") as lines:
            for item in self.scan().values():
                lines.write(json.dumps(item, default=lambda value: base64.b64encode(value).decode()) + "\n")
        part.rename(self.file)

    def read(self) -> dict[str, Item]:
        def binary(value: Item) -> Any:
            data = value.get("B")
            return {"B": base64.b64decode(data)} if isinstance(data, str) else value

        if not self.file.exists():
            raise Stopped(f"there is no {self.file}: run the command empty first")
        items = (json.loads(line, object_hook=binary) for line in self.file.read_text().splitlines())
        return {item["h"]["S"]: item for item in items}

    def write(self, requests: list[Item], done: str) -> None:
        """In batches; what DynamoDB does not accept at once is sent again, with growing pauses."""
        for start in range(0, len(requests), BATCH):
            batch, pause = requests[start : start + BATCH], 0.1
            while batch:
                answer = self.dynamodb.batch_write_item(RequestItems={self.table: batch})
                batch = answer.get("UnprocessedItems", {}).get(self.table, [])
                if batch:
                    time.sleep(pause)
                    pause = min(2 * pause, 5)
            if start % 10_000 == 0 and start:
                print(f"{start} of {len(requests)} {done}", flush=True)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("command", choices=["empty", "fill"])
    arguments.add_argument("file", type=Path, help="the records, one a line; made by empty, read by fill")
    arguments.add_argument("--stage", required=True)
    arguments.add_argument("--region", required=True)
    arguments.add_argument("--wait", type=int, default=120, help="seconds until functions that run have ended (120)")
    given = arguments.parse_args()
    move = Move(given.stage, given.region, given.file, given.wait)
    try:
        move.empty() if given.command == "empty" else move.fill()
    except Stopped as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
