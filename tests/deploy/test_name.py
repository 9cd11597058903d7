"""A name of its own, a limit for each address, certificates of clients, and none any more: as docs/deployment.md says."""

import urllib.error
import urllib.request

import pytest

from account import Account, Json, Shell, Stage, lines

NAME = "heartbeat.example.com"


@pytest.fixture(scope="module")
def zone(account: Account) -> str:
    made = account.client("route53").create_hosted_zone(Name="example.com", CallerReference="1")
    return str(made["HostedZone"]["Id"]).rsplit("/", 1)[1]


def beat_by_name(stage: Stage) -> int:
    """The status of a beat to the name; it leads to the emulator here, which has no TLS."""
    headers = {"x-api-key": stage.account.key("dev"), "host": NAME}
    try:
        return int(urllib.request.urlopen(urllib.request.Request(f"{stage.account.url}/v1/heartbeat/web-01", headers=headers)).status)
    except urllib.error.HTTPError as error:
        return error.code


def names(account: Account) -> list[Json]:
    found: list[Json] = account.client("apigatewayv2").get_domain_names()["Items"]
    return found


def test_a_name_leads_to_the_stage(account: Account, stage: Stage, shell: Shell, zone: str) -> None:
    assert beat_by_name(stage) == 404
    for line in lines("A domain name"):
        shell.run(line.replace("Z0123456789", zone))
    assert beat_by_name(stage) == 200 and stage.output("Url") == f"https://{NAME}"
    records = account.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    [record] = [record for record in records if record["Name"] == f"{NAME}."]
    assert record["SetIdentifier"] == stage.region and record["HealthCheckId"]


def test_a_limit_for_each_address_stands_before_it(account: Account, stage: Stage, shell: Shell, zone: str) -> None:
    for line in lines("Floods from strangers"):
        shell.run(line.replace("Z0123456789", zone).replace("heartbeat-prod ", "heartbeat-dev "))
    [distribution] = account.client("cloudfront").list_distributions()["DistributionList"]["Items"]
    assert distribution["Origins"]["Items"][0]["DomainName"] == NAME
    waf = account.client("wafv2", "us-east-1")
    [known] = waf.list_web_acls(Scope="CLOUDFRONT")["WebACLs"]
    about = waf.get_web_acl(Scope="CLOUDFRONT", Name=known["Name"], Id=known["Id"])["WebACL"]
    assert distribution["WebACLId"] == about["ARN"]
    assert [int(rule["Statement"]["RateBasedStatement"]["Limit"]) for rule in about["Rules"]] == [3000]
    alarms = account.client("cloudwatch", "us-east-1").describe_alarms()["MetricAlarms"]
    assert len(alarms) == 3


def test_the_authority_of_clients_is_set_and_replaced(account: Account, stage: Stage, shell: Shell, zone: str) -> None:
    *commands, client = lines("Client certificates")
    assert "--cert" in client  # Only AWS asks for it.
    for line in commands:
        shell.run(line.replace("Z0123456789", zone))
    versions = account.client("s3").list_object_versions(Bucket="heartbeat-truststore-example")["Versions"]
    [name] = names(account)
    assert len(versions) == 2
    assert name["MutualTlsAuthentication"]["TruststoreVersion"] == next(one["VersionId"] for one in versions if one["IsLatest"])


def test_both_are_given_up(account: Account, stage: Stage, shell: Shell) -> None:
    _, name, certificates = lines("Change a parameter, switch something off")
    shell.run(certificates)
    assert not names(account)[0].get("MutualTlsAuthentication", {}).get("TruststoreUri")
    shell.run(name)
    assert names(account) == [] and beat_by_name(stage) == 404
    assert stage.request("GET", "/v1/status")[0] == 200
