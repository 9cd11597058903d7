"""What must hold of the gateway and the name of the service."""

import json
import re
from collections.abc import Iterator

from registry import in_each_deployment
from templates import REGION, Deployment


@in_each_deployment
def gateway_throttles_what_it_routes(deployment: Deployment) -> Iterator[str]:
    """One route for everything, to ingest, throttled by default; settings of other routes would match nothing."""
    api = deployment.main.resources["Api"]["Properties"]["Body"]
    stage = deployment.main.resources["ApiApiGatewayDefaultStage"]["Properties"]
    routes = {path: list(methods) for path, methods in api["paths"].items()}
    if routes != {"$default": ["x-amazon-apigateway-any-method"]}:
        yield f"routes are {routes}"
    for route in stage.get("RouteSettings", {}):
        if route not in routes:
            yield f"settings of the route {route}, which is none"
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
    """Neither headers nor query, which may hold keys and messages."""
    log = deployment.main.resources["ApiApiGatewayDefaultStage"]["Properties"].get("AccessLogSettings", {})
    try:
        members = json.loads(log["Format"])
    except (KeyError, ValueError) as error:
        yield f"its format is no JSON: {error}"
        return
    for value in members.values():
        if re.search(r"header|authorizer|query|routeKey\.query|path\?", value):
            yield f"it shows {value}"
    if log["DestinationArn"] != "ApiLog.Arn":
        yield f"it goes to {log['DestinationArn']}"


@in_each_deployment
def client_certificates_close_the_other_door(deployment: Deployment) -> Iterator[str]:
    """Where they are asked for, the default address, which does not ask, is off; and nothing of ours depends on it."""
    [server] = deployment.main.resources["Api"]["Properties"]["Body"].get("servers", [{}])
    off = server.get("x-amazon-apigateway-endpoint-configuration", {}).get("disableExecuteApiEndpoint", False)
    domain = deployment.main.resources.get("Domain", {}).get("Properties", {})
    asked = "MutualTlsAuthentication" in domain
    if asked != bool(deployment.main.values["TruststoreUri"]):
        yield f"client certificates are asked for: {asked}"
    if off != asked:
        yield f"the default address is off: {off}"
    for name in ("Canary", "HealthCheck", "RegionLost"):
        if asked and name in deployment.main.resources:
            yield f"{name} needs the default address"


@in_each_deployment
def regions_share_the_name(deployment: Deployment) -> Iterator[str]:
    """A record by latency, one a region; Route 53 asks the region's own address, and people are told elsewhere."""
    for name, record in deployment.main.of_type("AWS::Route53::RecordSet").items():
        if (record.get("SetIdentifier"), record.get("Region")) != (REGION, REGION):
            yield f"{name} is not this region's own"
        if "HealthCheck" in deployment.main.resources and record.get("HealthCheckId") != "HealthCheck":
            yield f"{name} has no health check"
    for name, health in deployment.main.of_type("AWS::Route53::HealthCheck").items():
        config = health["HealthCheckConfig"]
        own = f"Api.execute-api.{REGION}.amazonaws.com"
        if (config.get("FullyQualifiedDomainName"), config.get("ResourcePath")) != (own, "/v1/status"):
            yield f"{name} asks {config.get('FullyQualifiedDomainName')}{config.get('ResourcePath')}"
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        url = function["Environment"]["Variables"].get("HB_CANARY_URL")
        if url not in (None, f"https://Api.execute-api.{REGION}.amazonaws.com"):
            yield f"the canary of {name} goes to {url}, which may be another region"
    watched = bool(deployment.main.values["OtherRegion"]) and "Canary" in deployment.main.resources
    if ("RegionLost" in deployment.main.resources) != watched:
        yield f"the loss of the other region raises an alarm: {not watched}"
