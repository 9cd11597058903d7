"""A machine of the predecessor beats with its own line, key and name while both are given to a stage, as docs/deployment.md
says.
"""

import re
import subprocess

import pytest

from account import ROOT, Account, Shell, Stage, lines

NAME, KEY, OFF = "heartbeat.example.com", "vP3kT0xqWnE8zR2yB6uJ1hD9sL5mC7aG4fX0iQ8o", "iQ8ovP3kT0xqWnE8zR2yB6uJ1hD9sL5mC7aG4fX0"
[LINE] = re.findall(r"^curl .*/v1/hearbeat$", (ROOT / "docs/usage.md").read_text(), re.MULTILINE)


class Predecessor:
    """Its API with one key that is in use and one that is switched off, its name, and the health check of its region. The
    answer is its own, so that it shows which of both took a beat.
    """

    def __init__(self, account: Account) -> None:
        self.gateway, self.route53 = account.client("apigateway"), account.client("route53")
        self.api = self.gateway.create_rest_api(name="dev-hb-api")["id"]
        [root] = self.gateway.get_resources(restApiId=self.api)["items"]
        part = root["id"]
        for name in ("v1", "hearbeat"):
            part = self.gateway.create_resource(restApiId=self.api, parentId=part, pathPart=name)["id"]
        of = {"restApiId": self.api, "resourceId": part, "httpMethod": "POST"}
        self.gateway.put_method(**of, authorizationType="NONE", apiKeyRequired=True)
        self.gateway.put_integration(**of, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
        self.gateway.put_method_response(**of, statusCode="200")
        self.gateway.put_integration_response(**of, statusCode="200", responseTemplates={"application/json": '{"message": "old"}'})
        self.gateway.create_deployment(restApiId=self.api, stageName="dev")
        plan = self.gateway.create_usage_plan(name="plan", apiStages=[{"apiId": self.api, "stage": "dev"}])["id"]
        for name, key, enabled in (("web", KEY, True), ("gone", OFF, False)):
            made = self.gateway.create_api_key(name=name, value=key, enabled=enabled)["id"]
            self.gateway.create_usage_plan_key(usagePlanId=plan, keyId=made, keyType="API_KEY")
        self.gateway.create_domain_name(domainName=NAME, endpointConfiguration={"types": ["REGIONAL"]})
        self.gateway.create_base_path_mapping(domainName=NAME, restApiId=self.api, stage="dev")
        config = {"Type": "HTTPS", "FullyQualifiedDomainName": f"{self.api}.execute-api.eu-west-1.amazonaws.com", "ResourcePath": "/dev/v1/status"}
        self.route53.create_health_check(CallerReference="old", HealthCheckConfig=config)

    def asked(self) -> tuple[str, str]:
        """Host and path that its health check asks."""
        [check] = self.route53.list_health_checks()["HealthChecks"]
        config = check["HealthCheckConfig"]
        return config["FullyQualifiedDomainName"].split(".")[0], config["ResourcePath"]

    def remove(self) -> None:
        """As `serverless remove`, without the plugin."""
        self.gateway.delete_rest_api(restApiId=self.api)


@pytest.fixture(scope="module")
def old(account: Account) -> Predecessor:
    return Predecessor(account)


def beat(account: Account, host: str, key: str = KEY) -> str:
    """The line of the predecessor, in a crontab that nobody changes."""
    environment = {**account.environment, "HB_API_KEY": key, "HOSTNAME": host, "HB_URL": account.url}
    # The name leads to the emulator, which has no TLS.
    command = LINE.replace("curl", f"curl -H 'host: {NAME}'", 1)
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False).stdout


def test_keys_and_name_are_taken_over(account: Account, stage: Stage, shell: Shell, old: Predecessor) -> None:
    assert '"old"' in beat(account, "old-01")
    for line in lines("Move from the predecessor"):
        shown = shell.run(line)
        if "update-api-mapping" in line:
            # The next request is the first of the new API, and it has the key.
            assert '{"message":"OK"}' in beat(account, "old-01")
        if "host list" in line:
            assert "old-01" in shown
    assert old.asked() == (stage.output("RegionUrl").split("//")[1].split(".")[0], "/dev/v1/status")
    assert stage.request("GET", "/dev/v1/status")[0] == 200


def test_only_keys_in_use_are_imported(account: Account, stage: Stage) -> None:
    assert " 401" in beat(account, "old-02", OFF).splitlines()[0]
    assert KEY not in account.hb("--stage", "dev", "key", "export").stdout


def test_the_name_outlives_the_predecessor(account: Account, old: Predecessor) -> None:
    old.remove()
    assert '{"message":"OK"}' in beat(account, "old-01")
