"""Checks `hb serve` against third-party programs: a mail server (aiosmtpd) and curl.

A host beats once and falls silent: exactly one e-mail reports it missing. It beats again: exactly one e-mail reports
its recovery. The line of old crontabs still works. SIGTERM ends the server with exit code 0.

    python smtp_check.py PATH/TO/hb
"""

import asyncio
import email
import email.policy
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

from aiosmtpd.smtp import SMTP

SENDER = "hb@example.com"
RECIPIENT = "on-call@example.com"
HOST = "ci-web-01"

ADDRESS = re.compile(r"listening on (http://\S+:\d+)")
KEY_FILE = re.compile(r"^\s*/.*first\.key$")
API_KEY = re.compile(r"hbk_[a-z2-7]{10}_[a-z2-7]{59}")
TOKEN = re.compile(r"hb subscription confirm --token (\w+)")
SUBJECT = re.compile(r"\[hb\] ([A-Z]+) (\S+) (?:since|at) ")

# From the README of the predecessor, including its misspelt path.
OLD_LINE = """curl -i -H "x-api-key: ${HB_API_KEY}" -d '{"hostId": "'${HOSTNAME}'"}' -X POST %s/v1/hearbeat"""

# Time limits in seconds: for a command, and for an action of the server.
COMMAND = 30
SOON = 60


class Failed(Exception):
    """Something expected did not happen."""


class Inbox:
    """A mail server's handler that keeps every e-mail it accepts."""

    def __init__(self):
        self.mails = []
        self.token = None

    async def handle_DATA(self, _server, _session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, str(message["subject"])))
        self.token = self.token or (found[1] if (found := TOKEN.search(message.get_content())) else None)
        return "250 accepted"

    def hosts(self, kind):
        """The hosts that e-mails of this kind were about, one entry for each e-mail."""
        subjects = (SUBJECT.match(subject) for _, _, subject in self.mails)
        return [match[2] for match in subjects if match and match[1] == kind.upper()]

    def expect(self, **expected):
        """Fails unless the e-mails of each kind are about exactly these hosts."""
        for kind, hosts in expected.items():
            if self.hosts(kind) != hosts:
                raise Failed(f"expected e-mails `{kind}` about {hosts}, got about {self.hosts(kind)}")


class Server:
    """A running `hb serve` and its output so far."""

    def __init__(self, process):
        self.process = process
        self.output, self.errors = [], []
        self.readers = [
            asyncio.create_task(collect(process.stdout, self.output)),
            asyncio.create_task(collect(process.stderr, self.errors)),
        ]

    async def until(self, what, found, seconds=SOON):
        """Waits until `found` returns a value, while the server runs."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not (value := found()):
            if self.process.returncode is not None:
                raise Failed(f"the server ended with exit code {self.process.returncode} before {what}")
            if loop.time() > end:
                raise Failed(f"no {what} within {seconds} s")
            await asyncio.sleep(0.1)
        return value

    async def stop(self):
        """Ends the server as a service manager does, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self.process.wait(), COMMAND)
        except asyncio.TimeoutError:
            raise Failed(f"the server is still running {COMMAND} s after SIGTERM") from None
        await asyncio.gather(*self.readers)
        return code

    async def clean_up(self):
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await asyncio.gather(*self.readers)


async def collect(stream, lines):
    async for line in stream:
        lines.append(line.decode(errors="replace").rstrip("\n"))


def first(pattern, lines):
    """The first match of `pattern` in the lines printed so far."""
    return next((match for line in lines if (match := pattern.search(line))), None)


async def run(*command, env):
    """Runs a command and returns its standard output."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), COMMAND)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
        raise Failed(f"{command[0]} {command[1]} is still running after {COMMAND} s") from None
    if process.returncode != 0:
        raise Failed(f"{command[0]} {command[1]} ended with exit code {process.returncode}: {err.decode()}")
    return out.decode()


async def check(hb, directory, inbox, mail_port, servers):
    env = {"PATH": os.environ["PATH"], "HOME": directory}
    pipe = asyncio.subprocess.PIPE
    server = Server(
        await asyncio.create_subprocess_exec(
            hb, "serve", "--listen", "127.0.0.1:0", "--data-dir", directory, "--sweep-every", "1s",
            "--smtp-url", f"smtp://127.0.0.1:{mail_port}", "--smtp-from", SENDER,
            env=env, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe,
        )
    )  # fmt: skip
    servers.append(server)
    url = (await server.until("line `listening on` on stderr", lambda: first(ADDRESS, server.errors)))[1]
    file = await server.until("file with the API key on stdout", lambda: first(KEY_FILE, server.output))
    key = API_KEY.search(Path(file[0].strip()).read_text())[0]
    times = ("--group-wait", "0s", "--group-interval", "0s")
    await run(hb, "fleet", "set", "main", *times, "--data-dir", directory, env=env)
    await run(hb, "subscription", "add", "email", RECIPIENT, "--data-dir", directory, env=env)
    token = await server.until("confirmation e-mail", lambda: inbox.token)
    await run(hb, "subscription", "confirm", "--token", token, "--data-dir", directory, env=env)

    async def beat(interval_ms):
        body = f'{{"hostId": "{HOST}", "intervalMs": {interval_ms}}}'
        headers = ("-H", f"x-api-key: {key}")
        await run("curl", "-fsS", "--max-time", "10", *headers, "-d", body, f"{url}/v1/heartbeat", env=env)

    answer = await run("sh", "-c", OLD_LINE % url, env={**env, "HB_API_KEY": key, "HOSTNAME": "ci-old-01"})
    head, _, body = answer.partition("\r\n\r\n")
    if not re.match(r"HTTP/1\.1 200\b", head) or body != '{"message":"OK"}':
        raise Failed(f"the response to the old crontab line was:\n{answer}")

    await beat(2_000)
    await server.until("e-mail `missing`", lambda: inbox.hosts("missing"))
    inbox.expect(missing=[HOST], recovered=[])
    subject = inbox.mails[-1][2]
    if not subject.startswith(f"[hb] MISSING {HOST} since"):
        raise Failed(f"the subject is {subject}")

    # A long interval, so that a slow machine does not cause a second silence.
    for _ in range(SOON):
        await beat(60_000)
        if inbox.hosts("recovered"):
            break
        await asyncio.sleep(1)
    for _ in range(3):
        await asyncio.sleep(1)
        await beat(60_000)
    inbox.expect(missing=[HOST], recovered=[HOST])
    for sender, recipients, subject in inbox.mails:
        if sender != SENDER or recipients != [RECIPIENT]:
            raise Failed(f"`{subject}` went from {sender} to {recipients}")

    code = await server.stop()
    if code != 0:
        raise Failed(f"exit code {code} after SIGTERM")


async def main(hb):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    inbox, servers = Inbox(), []
    # A fixed name, because the default asks the resolver for the machine's own.
    mail = await loop.create_server(lambda: SMTP(inbox, hostname="mail.example.com", loop=loop), "127.0.0.1", 0)
    mail_port = mail.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hb-ci-") as directory:
        try:
            await check(hb, directory, inbox, mail_port, servers)
        except Failed as failed:
            for server in servers:
                await server.clean_up()
                print("output of the server:", *server.errors[-50:], sep="\n  ", file=sys.stderr)
            print("received by the mail server:", *inbox.mails, sep="\n  ", file=sys.stderr)
            print(f"failed: {failed}", file=sys.stderr)
            return 1
        finally:
            for server in servers:
                await server.clean_up()
            mail.close()
    print("one e-mail `missing`, one `recovered`; the old crontab line works; exit code 0 after SIGTERM")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit(f"usage: {sys.argv[0]} PATH/TO/hb, an existing file")
    sys.exit(asyncio.run(main(str(Path(sys.argv[1]).resolve()))))
