"""An AWS account on this machine, and the commands of the pages run in it as a user runs them.

`sam`, `aws` and `hb` are the real programs. Only these lines stand between them and the emulator:

- `sam build` takes the output of an earlier one, from the folder `HB_BUILD`;
- `sam deploy` does not ask; `sam delete` leaves what it uploaded: it does not understand the emulator's addresses of S3;
- `curl` and `hb` call the emulator instead of the address of an API;
- `scripts/ledger.py` waits for a second, not for two minutes, until functions that still run have ended;
- `git` does nothing.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parents[2]
Json = Any
FIRST, SECOND = "eu-west-1", "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2"}
"""Those of the account's owner, whom nothing is forbidden."""
SCHEMAS = Path(str(find_spec("cfnlint").origin)).parent / "data/schemas"  # type: ignore[union-attr]
KEY = re.compile(r"hbk_[a-z2-7]{10}_[a-z2-7]{59}")

SHIMS = {
    "sam": """case $1 in
  build) rm -rf .aws-sam && mkdir .aws-sam && cp -r "$HOME/built/." .aws-sam/build ;;
  deploy) exec PROGRAM "$@" --no-confirm-changeset ;;
  delete)
    for argument in "${@:2}"; do [[ $argument == --no-prompts ]] || arguments+=("$argument"); done
    aws cloudformation delete-stack "${arguments[@]}" && aws cloudformation wait stack-delete-complete "${arguments[@]}" ;;
  *) exec PROGRAM "$@" ;;
esac""",
    "curl": """for argument; do arguments+=("$(here "$argument")"); done
exec PROGRAM --silent --show-error --fail-with-body "${arguments[@]}\"""",
    "hb": """[[ ! ${HB_URL:-} ]] || export HB_URL=$(here "$HB_URL")
exec PROGRAM "$@\"""",
    "aws": 'exec PROGRAM "$@"',
    "python": 'exec PROGRAM "$@" --wait 1',
    "git": "exit 0",
}
"""What the shell of a test runs instead of `PROGRAM`."""

LOCAL = r"""#!/usr/bin/env bash
here() { sed -E "s|https://(\w+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com|$AWS_ENDPOINT_URL/_aws/execute-api/\1/\$default|" <<<"$1"; }
"""
"""The address of an API, where the emulator answers."""


def programs() -> dict[str, str]:
    """The programs behind the shims."""
    emulator = Path(os.environ["HB_EMULATOR"]).parent
    return {
        "sam": str(Path(sys.executable).with_name("sam")), "curl": shutil.which("curl") or "curl",
        "hb": os.environ["HB_PROGRAM"], "aws": str(emulator / "aws"), "python": sys.executable,
    }  # fmt: skip


class Account:
    """An account without anything in it, and a folder with what a user has cloned."""

    def __init__(self, folder: Path, built: Path) -> None:
        self.folder, self.cut = folder, folder / "cut"
        for name in ("template.yaml", "data.yaml", "edge.yaml", "deploy-role.yaml", "samconfig.toml", "scripts/deploy.py", "scripts/ledger.py"):
            (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "clone" / name)
        (folder / "bin").mkdir()
        for name, text in SHIMS.items():
            text = text.replace("PROGRAM", programs().get(name, ""))
            (folder / "bin" / name).write_text(f"{LOCAL}{text}\n")
            (folder / "bin" / name).chmod(0o755)
        self.checked_out(built)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), "LANG": "C.UTF-8", "TMPDIR": str(folder),
            **CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true", "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.5",
        }  # fmt: skip
        self.log = (folder / "emulator.log").open("w")
        self.process = subprocess.Popen(
            [os.environ["HB_EMULATOR"], ROOT / "tests/deploy/emulator.py"],
            env={
                **self.environment, "HB_CUT": str(self.cut), "AUTH": "true", "LAMBDA_EXECUTOR": "local",
                "HB_ASKED": str(folder / "asked"), "HB_SCHEMAS": str(SCHEMAS), "PYTHONDONTWRITEBYTECODE": "1",
                "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": self.url.rsplit(":", 1)[1], "IOT_MTLS_ENABLED": "0",
                "STATE_DIR": str(folder / "state"),
            },
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            until(self.answers, "the emulator does not start")
        except BaseException:
            self.stop()
            raise

    def checked_out(self, built: Path) -> None:
        """From now on `sam build` makes this."""
        (self.folder / "built").unlink(missing_ok=True)
        (self.folder / "built").symlink_to(built)

    def answers(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5).status == 200)
        except OSError:
            assert self.process.poll() is None, (self.folder / "emulator.log").read_text()
            return False

    def stop(self) -> None:
        """Ends it, and the functions that run in it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def client(self, service: str, region: str = FIRST) -> Any:
        secrets = {name.lower(): value for name, value in CREDENTIALS.items()}
        return boto3.client(service, region_name=region, endpoint_url=self.url, **secrets)

    def hb(self, *arguments: str, stdin: str = "", code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [os.environ["HB_PROGRAM"], *arguments], env={**self.environment, "AWS_REGION": FIRST}, input=stdin,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, f"hb {arguments}: {done.stdout}{done.stderr}"
        return done

    def key(self, stage: str, *options: str) -> str:
        # The tests are about other things than how long notices wait for each other.
        self.hb("--stage", stage, "fleet", "set", "main", "--group-wait", "0s", "--group-interval", "0s")
        return self.hb("--stage", stage, "key", "create", f"key-{time.time_ns()}", *options).stdout.strip()


class Shell:
    """One terminal: each line of a page in its turn. The first that fails ends the test."""

    def __init__(self, account: Account) -> None:
        self.account, self.last_key = account, "hbk_..."
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=account.folder / "clone", env=account.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, line: str, code: int = 0) -> str:
        assert self.bash.stdin and self.bash.stdout
        # A page shows `hbk_...` for the key that was just made.
        print(f"$ {line}")
        self.bash.stdin.write(f"{{ {line.replace('hbk_...', self.last_key)}\n}} </dev/null\nprintf '\\n%s %s\\n' ENDED $?\n")
        self.bash.stdin.flush()
        output = []
        for shown in self.bash.stdout:
            if ended := re.match(r"ENDED (\d+)", shown):
                text = "".join(output)
                print(text)
                assert int(ended[1]) == code, f"{line}\nended with {ended[1]}:\n{text}"
                self.last_key = (KEY.findall(text) or [self.last_key])[-1]
                return text
            output.append(shown)
        raise AssertionError(f"the shell ended at {line}:\n{''.join(output)}")

    def follow(self, heading: str) -> list[str]:
        """Runs all `sh` blocks of a section, without those of its subsections; returns what each line shows."""
        return [self.run(line) for line in lines(heading)]

    def close(self) -> None:
        self.bash.kill()
        self.bash.communicate()


def lines(heading: str, page: str = "deployment") -> list[str]:
    """The commands of a section of a page."""
    text = (ROOT / f"docs/{page}.md").read_text()
    section = re.split(r"^#+ ", re.split(rf"^#+ {re.escape(heading)}\n", text, flags=re.MULTILINE)[1], flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return "".join(blocks).splitlines()


def until(condition: Any, why: str, seconds: float = 60) -> Any:
    """Waits for what another process does; returns it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"after {seconds} s: {why}"
        time.sleep(0.1)
    return found


class Stage:
    """A deployed stage, seen from one region."""

    def __init__(self, account: Account, name: str, region: str = FIRST) -> None:
        self.account, self.name, self.region = account, name, region
        self.dynamodb, self.functions = account.client("dynamodb", region), account.client("lambda", region)
        self.sqs, self.iam = account.client("sqs", region), account.client("iam", region)
        self.invoked: Counter[str] = Counter()

    def output(self, name: str) -> str:
        [stack] = self.account.client("cloudformation", self.region).describe_stacks(StackName=f"heartbeat-{self.name}")["Stacks"]
        return str(next(output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == name))

    @cached_property
    def api(self) -> str:
        """Where its gateway answers."""
        return f"{self.account.url}/_aws/execute-api/{self.output('RegionUrl').split('//')[1].split('.')[0]}/$default"

    # ---- As a host.

    def request(self, method: str, path: str, key: str = "", body: Json = None) -> tuple[int, str]:
        """An answer of the gateway."""
        request = urllib.request.Request(
            self.api + path, method=method, data=json.dumps(body).encode() if body else None,
            headers={"x-api-key": key} if key else {},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def beat(self, key: str, host: str, path: str = "", **fields: Json) -> None:
        answer = self.request("POST", f"/v1/heartbeat/{host}{path}", key, fields)
        assert answer == (200, '{"message":"OK"}'), answer

    # ---- As the schedules.

    def invoke(self, function: str) -> Json:
        """What a function answers to the event of its schedule; with `errorType`, it failed."""
        self.invoked[function] += 1
        task = json.dumps({"task": function}).encode()
        return json.loads(self.functions.invoke(FunctionName=f"hb-{self.name}-{function}", Payload=task)["Payload"].read())

    def sweep(self) -> Json:
        done = self.invoke("sweep")
        assert done.get("failed") == 0 and done.get("skipped") == 0, done
        return done

    # ---- As a subscriber.

    def listen(self) -> None:
        """A queue that gets all notices of this region."""
        name = f"on-call-{self.name}"
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = f"arn:aws:sqs:{self.region}:000000000000:{name}"
        policy = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}]}
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
        self.account.hb("--stage", self.name, "subscription", "add", "sqs", arn, "--region", self.region)

    def received(self, queue: str) -> list[Json]:
        """The messages since the last call."""
        url, found = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"], []
        while some := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += some
            for message in some:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def notices(self) -> list[Json]:
        """The notices since the last call."""
        return [json.loads(message["Body"]) for message in self.received(f"on-call-{self.name}")]

    def log(self, function: str, since: int = 0) -> list[str]:
        """The lines of a function's log, from an instant in milliseconds on."""
        pages = self.account.client("logs", self.region).get_paginator("filter_log_events")
        pages = pages.paginate(logGroupName=f"/aws/lambda/hb-{self.name}-{function}", startTime=since)
        return [event["message"] for page in pages for event in page["events"]]
