"""Every command of an admin (tests/shared/admin.json) on a deployed stage."""

import os
import subprocess
from pathlib import Path

from account import FIRST, ROOT, Account, Shell


def test_the_commands_of_an_admin_end_as_everywhere(account: Account, shell: Shell) -> None:
    shell.run(f"export AWS_REGION={FIRST} AWS_DEFAULT_REGION={FIRST}")
    shell.run("sam build")
    shell.run("sam deploy")
    name = "the_commands_of_an_admin_end_so_on_a_deployed_stage"
    command = ["cargo", "test", "--manifest-path", "tests/aws/Cargo.toml", "--locked", name, "--", "--ignored"]
    environment = os.environ | {"HB_DEPLOYED": account.url, "HB_BIN_DIR": str(Path(os.environ["HB_PROGRAM"]).parent)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
