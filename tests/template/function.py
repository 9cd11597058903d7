"""A function of the template as a process: the output of `sam build` with the variables and the timeout of the template,
between a Lambda Runtime API and emulated AWS.

Source: Lambda developer guide, "Using the Lambda runtime API for custom runtimes".
"""

import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

from templates import REGION, Json


class RuntimeApi(ThreadingHTTPServer):
    """Passes events to one function and receives its answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.events: Queue[tuple[bytes, int]] = Queue()
        self.outcomes: Queue[tuple[str, Json]] = Queue()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        event, seconds = self.server.events.get()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + seconds) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", f"arn:aws:lambda:{REGION}:123456789012:function:f")
        self.send_header("Content-Length", str(len(event)))
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.outcomes.put((self.path.rsplit("/", 1)[1], json.loads(body or b"null")))

    def log_message(self, *_: object) -> None:
        pass


class Function:
    """A running function."""

    def __init__(self, program: Path, function: Json, url: str, changed: dict[str, str] | None = None):
        self.api, self.timeout = RuntimeApi(), function["Timeout"]
        variables = {name: str(value) for name, value in function["Environment"]["Variables"].items()}
        environment = {
            **variables,
            **(changed or {}),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.api.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": function["FunctionName"],
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function["MemorySize"]),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIDTEST",
            "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
            "AWS_ENDPOINT_URL": url,
        }
        self.process = subprocess.Popen(
            [program], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lock = threading.Lock()

    def invoke(self, event: Json) -> tuple[str, Json]:
        """`response` or `error`, and the answer of the function."""
        with self.lock:
            self.api.events.put((json.dumps(event).encode(), self.timeout))
            return self.api.outcomes.get(timeout=self.timeout)

    def stop(self) -> tuple[list[Json], list[Json]]:
        """Ends the process; returns its metrics and its log."""
        self.process.kill()
        out, err = self.process.communicate()
        self.api.shutdown()
        return [json.loads(line) for line in out.splitlines()], [json.loads(line) for line in err.splitlines()]


def http_event(method: str, path: str, headers: dict[str, str], body: str = "") -> Json:
    """An event as an HTTP API sends it, in the format that the template requests."""
    return {
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers,
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": body, "isBase64Encoded": False,
    }  # fmt: skip


class Gateway(ThreadingHTTPServer):
    """An HTTP server in front of a function, like an HTTP API."""

    daemon_threads = True

    def __init__(self, function: Function) -> None:
        super().__init__(("127.0.0.1", 0), Front)
        self.function = function
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Front(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        _, answer = self.server.function.invoke(http_event("POST", self.path, headers, body))
        content = answer["body"].encode()
        self.send_response(answer["statusCode"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
