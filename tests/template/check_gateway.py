"""Checks of the gateway and the domain name of the service."""

import json
import re
from collections.abc import Iterator

from check_alarms import metric_problem
from facts import FACTS
from registry import check, in_each_deployment
from templates import REGION, Deployment, Stack, Templates


@in_each_deployment
def gateway_throttles_its_routes(deployment: Deployment) -> Iterator[str]:
    """All requests go to ingest, throttled; health checks and canaries have routes of their own, so that beats do not take
    their places. Settings of another route would match none.
    """
    api = deployment.main.resources["Api"]["Properties"]["Body"]
    stage = deployment.main.resources["ApiApiGatewayDefaultStage"]["Properties"]
    routes = {f"{method.upper()} {path}".removeprefix("X-AMAZON-APIGATEWAY-ANY-METHOD ")
              for path, methods in api["paths"].items() for method in methods}  # fmt: skip
    own = {"GET /v1/status", *(f"POST {path}" for path in FACTS["canaryPaths"])}
    if routes != {"$default", *own}:
        yield f"routes are {sorted(routes)}"
    given = stage.get("RouteSettings", {})
    if set(given) != own:
        yield f"settings are of the routes {sorted(given)}"
    for route, settings in {"$default": stage.get("DefaultRouteSettings", {}), **given}.items():
        if not settings.get("ThrottlingRateLimit") or not settings.get("ThrottlingBurstLimit"):
            yield f"requests to {route} are not throttled"
    for methods in api["paths"].values():
        for method in methods.values():
            integration = method["x-amazon-apigateway-integration"]
            if "Ingest.Arn" not in integration["uri"] or integration["payloadFormatVersion"] != "2.0":
                yield f"requests go to {integration}"


@in_each_deployment
def access_log_is_json_without_secrets(deployment: Deployment) -> Iterator[str]:
    """No headers and no query, which may contain keys and messages. Quotes are not escaped: of what may have some there is
    only the path, at the end.
    """
    log = deployment.main.resources["ApiApiGatewayDefaultStage"]["Properties"].get("AccessLogSettings", {})
    try:
        members = json.loads(log["Format"])
    except (KeyError, ValueError) as error:
        yield f"its format is not JSON: {error}"
        return
    for value in members.values():
        if re.search(r"header|authorizer|query|routeKey\.query|path\?", value):
            yield f"it logs {value}"
        if re.search(r"\.(message|messageString|path|rawPath|domainName|userAgent)\b", value) and value != list(members.values())[-1]:
            yield f"{value} is not the last one"
    if log["DestinationArn"] != "ApiLog.Arn":
        yield f"it goes to {log['DestinationArn']}"


@in_each_deployment
def client_certificates_disable_the_default_address(deployment: Deployment) -> Iterator[str]:
    """The default address, which does not require them, is disabled, and nothing of ours depends on it."""
    [server] = deployment.main.resources["Api"]["Properties"]["Body"].get("servers", [{}])
    disabled = server.get("x-amazon-apigateway-endpoint-configuration", {}).get("disableExecuteApiEndpoint", False)
    domain = deployment.main.resources.get("Domain", {}).get("Properties", {})
    required = "MutualTlsAuthentication" in domain
    if required != bool(deployment.main.values["TruststoreUri"]):
        yield f"client certificates are required: {required}"
    if disabled != required:
        yield f"the default address is disabled: {disabled}"
    for name in ("Canary", "HealthCheck", "RegionLost"):
        if required and name in deployment.main.resources:
            yield f"{name} needs the default address"


@in_each_deployment
def regions_share_the_domain_name(deployment: Deployment) -> Iterator[str]:
    """One latency record per region; Route 53 and the canary use the region's own address."""
    for name, record in deployment.main.of_type("AWS::Route53::RecordSet").items():
        if (record.get("SetIdentifier"), record.get("Region")) != (REGION, REGION):
            yield f"{name} is not the record of this region"
        if "HealthCheck" in deployment.main.resources and record.get("HealthCheckId") != "HealthCheck":
            yield f"{name} has no health check"
    for name, health in deployment.main.of_type("AWS::Route53::HealthCheck").items():
        config = health["HealthCheckConfig"]
        own = f"Api.execute-api.{REGION}.amazonaws.com"
        if (config.get("FullyQualifiedDomainName"), config.get("ResourcePath")) != (own, "/v1/status"):
            yield f"{name} checks {config.get('FullyQualifiedDomainName')}{config.get('ResourcePath')}"
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        url = function["Environment"]["Variables"].get("HB_CANARY_URL")
        if url not in (None, f"https://Api.execute-api.{REGION}.amazonaws.com"):
            yield f"the canary of {name} goes to {url}, which may be another region"
    watched = bool(deployment.main.values["OtherRegion"]) and "Canary" in deployment.main.resources
    if ("RegionLost" in deployment.main.resources) != watched:
        yield f"the loss of the other region raises an alarm: {not watched}, expected {watched}"


@check
def the_edge_passes_everything_but_floods(templates: Templates) -> Iterator[str]:
    """CloudFront keeps nothing and passes keys on; WAF counts requests by address, and never samples them."""
    values = {"OpsEmail": "ops@example.com", "EdgeName": "beats.example.com", "HostedZoneId": "Z1", "OriginName": "o.example.com",
              "FirstHealthCheck": "1", "SecondHealthCheck": "2"}  # fmt: skip
    edge = Stack.of(templates.raw["edge.yaml"], values)
    config = edge.resources["Distribution"]["Properties"]["DistributionConfig"]
    behavior = config["DefaultCacheBehavior"]
    policies = (behavior.get("CachePolicyId"), behavior.get("OriginRequestPolicyId"))
    if policies != ("4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "b689b0a8-53d0-40ab-baf2-68738e2966ac"):
        yield f"CloudFront has the policies {policies}, not CachingDisabled and AllViewerExceptHostHeader"
    if not {"GET", "HEAD", "POST", "PUT"} <= set(behavior["AllowedMethods"]):
        yield f"CloudFront allows only {behavior['AllowedMethods']}"
    if config.get("WebACLId") != "WebAcl.Arn":
        yield f"CloudFront asks {config.get('WebACLId')}"
    acl = edge.resources["WebAcl"]["Properties"]
    [rule] = acl["Rules"]
    limit = rule["Statement"]["RateBasedStatement"]
    if (limit["AggregateKeyType"], limit["Limit"], rule["Action"]) != ("IP", 3000, {"Block": {}}):
        yield f"WAF has the rule {rule}"
    for of in (acl, rule):
        if of["VisibilityConfig"]["SampledRequestsEnabled"]:
            yield "samples of requests would show keys"
    for name, alarm in edge.of_type("AWS::CloudWatch::Alarm").items():
        problem = metric_problem(alarm["Namespace"], alarm["MetricName"], frozenset(d["Name"] for d in alarm["Dimensions"]))
        if problem or alarm["AlarmActions"] != ["Ops"]:
            yield f"{name}: {problem}, {alarm['AlarmActions']}"
