"""Checks of the gateway and the domain name of the service."""

import json
import re
from collections.abc import Iterator

from registry import in_each_deployment
from templates import REGION, Deployment


@in_each_deployment
def gateway_throttles_its_only_route(deployment: Deployment) -> Iterator[str]:
    """One route for everything, to ingest, throttled by the default settings; other settings would match no route."""
    api = deployment.main.resources["Api"]["Properties"]["Body"]
    stage = deployment.main.resources["ApiApiGatewayDefaultStage"]["Properties"]
    routes = {path: list(methods) for path, methods in api["paths"].items()}
    if routes != {"$default": ["x-amazon-apigateway-any-method"]}:
        yield f"routes are {routes}"
    for route in stage.get("RouteSettings", {}):
        if route not in routes:
            yield f"settings of the route {route}, which does not exist"
    settings = stage.get("DefaultRouteSettings", {})
    if not settings.get("ThrottlingRateLimit") or not settings.get("ThrottlingBurstLimit"):
        yield "requests are not throttled"
    for methods in api["paths"].values():
        for method in methods.values():
            integration = method["x-amazon-apigateway-integration"]
            if "Ingest.Arn" not in integration["uri"] or integration["payloadFormatVersion"] != "2.0":
                yield f"requests go to {integration}"


@in_each_deployment
def access_log_is_json_without_secrets(deployment: Deployment) -> Iterator[str]:
    """No headers and no query, which may contain keys and messages."""
    log = deployment.main.resources["ApiApiGatewayDefaultStage"]["Properties"].get("AccessLogSettings", {})
    try:
        members = json.loads(log["Format"])
    except (KeyError, ValueError) as error:
        yield f"its format is not JSON: {error}"
        return
    for value in members.values():
        if re.search(r"header|authorizer|query|routeKey\.query|path\?", value):
            yield f"it logs {value}"
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
