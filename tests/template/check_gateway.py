"""Checks of the gateway and the domain name of the service."""

import json
import re
from collections.abc import Iterator

from facts import FACTS
from registry import in_each_deployment
from templates import ACCOUNT, REGION, Deployment, Json


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
    ingest = {
        "httpMethod": "POST", "type": "aws_proxy", "payloadFormatVersion": "2.0",
        "uri": f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/IngestAliaslive/invocations",
    }  # fmt: skip
    for methods in api["paths"].values():
        for method in methods.values():
            if method["x-amazon-apigateway-integration"] != ingest:
                yield f"requests go to {method['x-amazon-apigateway-integration']}"
    if api["paths"]["$default"]["x-amazon-apigateway-any-method"].get("isDefaultRoute") is not True:
        yield "$default is not the route of all other requests"


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
    values = deployment.main.values
    checked = "HealthCheck" if values["DomainName"] and not values["TruststoreUri"] else None
    if set(deployment.main.of_type("AWS::Route53::HealthCheck")) != ({checked} if checked else set()):
        yield f"Route 53 asks for {sorted(deployment.main.of_type('AWS::Route53::HealthCheck'))}"
    for name, record in deployment.main.of_type("AWS::Route53::RecordSet").items():
        if (record.get("SetIdentifier"), record.get("Region")) != (REGION, REGION):
            yield f"{name} is not the record of this region"
        if record.get("HealthCheckId") != checked:
            yield f"{name} has the health check {record.get('HealthCheckId')}"
    for name, health in deployment.main.of_type("AWS::Route53::HealthCheck").items():
        config = health["HealthCheckConfig"]
        own = f"Api.execute-api.{REGION}.amazonaws.com"
        if (config.get("FullyQualifiedDomainName"), config.get("ResourcePath")) != (own, "/v1/status"):
            yield f"{name} checks {config.get('FullyQualifiedDomainName')}{config.get('ResourcePath')}"
    for name, function in deployment.main.of_type("AWS::Lambda::Function").items():
        url = function["Environment"]["Variables"].get("HB_CANARY_URL")
        if url not in (None, f"https://Api.execute-api.{REGION}.amazonaws.com"):
            yield f"the canary of {name} goes to {url}, which may be another region"
    watched = bool(values["OtherRegion"]) and "Canary" in deployment.main.resources
    if ("RegionLost" in deployment.main.resources) != watched:
        yield f"the loss of the other region raises an alarm: {not watched}, expected {watched}"


CHECKERS = {"us-east-1", "us-west-1", "us-west-2", "eu-west-1", "ap-northeast-1", "ap-southeast-1", "ap-southeast-2", "sa-east-1"}
"""From where Route 53 can ask, at least from three (Route 53 API reference, HealthCheckConfig)."""


@in_each_deployment
def a_name_leads_to_the_gateway(deployment: Deployment) -> Iterator[str]:
    """A certificate that the zone of the name validates, the name at the gateway, its stage, and the record of the zone; the
    alias has the zone of the gateway, not that of the customer. Route 53 asks over TLS, with the name of the API.
    """
    main = deployment.main
    name, zone = main.values["DomainName"], main.values["HostedZoneId"]
    wanted: dict[str, Json] = {
        "Certificate": {"DomainName": name, "ValidationMethod": "DNS", "DomainValidationOptions": [{"DomainName": name, "HostedZoneId": zone}]},
        "Domain": {
            "DomainName": name,
            "DomainNameConfigurations": [{"CertificateArn": "Certificate", "EndpointType": "REGIONAL", "SecurityPolicy": "TLS_1_2"}],
        },
        "Mapping": {"ApiId": "Api", "DomainName": "Domain", "Stage": "ApiApiGatewayDefaultStage"},
        "Record": {
            "HostedZoneId": zone, "Name": name, "Type": "A",
            "AliasTarget": {"DNSName": "Domain.RegionalDomainName", "HostedZoneId": "Domain.RegionalHostedZoneId"},
        },
    } if name else {}  # fmt: skip
    store = {"TruststoreUri": main.values["TruststoreUri"], "TruststoreVersion": main.values["TruststoreVersion"]}
    if any(store.values()):
        wanted["Domain"]["MutualTlsAuthentication"] = {part: value for part, value in store.items() if value}
    kinds = ("CertificateManager::Certificate", "ApiGatewayV2::DomainName", "ApiGatewayV2::ApiMapping", "Route53::RecordSet")
    there = {name: about for kind in kinds for name, about in main.of_type(f"AWS::{kind}").items()}
    if set(there) != set(wanted):
        yield f"for the name {name} there are {sorted(there)}"
        return
    for part, about in wanted.items():
        # The others are those of two regions.
        others = {"SetIdentifier", "Region", "HealthCheckId"} if part == "Record" else set()
        if {key: value for key, value in there[part].items() if key not in others} != about:
            yield f"{part} is {there[part]}, not {about}"
    for check_of, health in main.of_type("AWS::Route53::HealthCheck").items():
        config = health["HealthCheckConfig"]
        asked = (config["Type"], config["Port"], config["EnableSNI"], config["RequestInterval"], config["FailureThreshold"])
        if asked != ("HTTPS", 443, True, 30, 3) or len(config["Regions"]) < 3 or set(config["Regions"]) - CHECKERS:
            yield f"{check_of} asks {config}"


@in_each_deployment
def the_gateway_starts_ingest_and_is_deployed(deployment: Deployment) -> Iterator[str]:
    """Only this API may start `ingest`, by its alias; its one stage has no prefix, and each change of a route is live."""
    main = deployment.main
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:Api/*/"
    given = list(main.of_type("AWS::Lambda::Permission").values())
    allowed = {"Action": "lambda:InvokeFunction", "FunctionName": "IngestAliaslive", "Principal": "apigateway.amazonaws.com"}
    if any({**one, "SourceArn": None} != {**allowed, "SourceArn": None} or not one["SourceArn"].startswith(source) for one in given):
        yield f"ingest is started by {given}"
    # SAM adds one for each of the other routes, which this one includes.
    if source + "*" not in [one["SourceArn"] for one in given]:
        yield f"some routes do not start ingest: {given}"
    [stage] = main.of_type("AWS::ApiGatewayV2::Stage").values()
    if (stage["ApiId"], stage["StageName"], stage["AutoDeploy"]) != ("Api", "$default", True):
        yield f"the stage is {stage}"
    if stage["DefaultRouteSettings"].get("DetailedMetricsEnabled", False):
        yield "each route has metrics of its own, which cost 0.30 dollars each"
    rates = (main.values["GatewayRate"], main.values["GatewayBurst"])
    limits = stage["DefaultRouteSettings"]
    if (limits["ThrottlingRateLimit"], limits["ThrottlingBurstLimit"]) != rates:
        yield f"beats are throttled at {limits}, not {rates}"
    for route, settings in stage["RouteSettings"].items():
        if settings != {"ThrottlingRateLimit": 50, "ThrottlingBurstLimit": 100}:
            yield f"{route} is throttled at {settings} (docs/deployment.md says 50)"


@in_each_deployment
def the_edge_passes_everything_but_floods(deployment: Deployment) -> Iterator[str]:
    """CloudFront keeps nothing, passes keys on and speaks TLS on both sides; WAF counts requests by address, and never
    samples them, since samples show keys.
    """
    edge = deployment.edge
    name, zone, stage = (edge.values[of] for of in ("EdgeName", "HostedZoneId", "Stage"))

    def counted(end: str) -> Json:
        return {"CloudWatchMetricsEnabled": True, "SampledRequestsEnabled": False, "MetricName": f"hb-{stage}-{end}"}

    alias = {"DNSName": "Distribution.DomainName", "HostedZoneId": "Z2FDTNDATAQYW2"}
    limit = {"AggregateKeyType": "IP", "EvaluationWindowSec": 300, "Limit": edge.values["AddressRate"]}
    wanted: dict[str, Json] = {
        "WebAcl": {
            "Name": f"hb-{stage}-edge", "Scope": "CLOUDFRONT", "DefaultAction": {"Allow": {}}, "VisibilityConfig": counted("edge"),
            "Rules": [{"Name": "address", "Priority": 0, "Action": {"Block": {}}, "Statement": {"RateBasedStatement": limit},
                       "VisibilityConfig": counted("address")}],
        },
        "Certificate": {"DomainName": name, "ValidationMethod": "DNS", "DomainValidationOptions": [{"DomainName": name, "HostedZoneId": zone}]},
        "Distribution": {"DistributionConfig": {
            "Comment": f"Beats of hb-{stage}", "Enabled": True, "HttpVersion": "http2", "IPV6Enabled": True, "Aliases": [name],
            "WebACLId": "WebAcl.Arn",
            "ViewerCertificate": {"AcmCertificateArn": "Certificate", "MinimumProtocolVersion": "TLSv1.2_2021", "SslSupportMethod": "sni-only"},
            "Origins": [{"Id": "service", "DomainName": edge.values["OriginName"], "CustomOriginConfig": {
                "OriginProtocolPolicy": "https-only", "OriginSSLProtocols": ["TLSv1.2"], "OriginReadTimeout": 30}}],
            "DefaultCacheBehavior": {
                "TargetOriginId": "service", "ViewerProtocolPolicy": "https-only",
                "AllowedMethods": ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"],
                # CachingDisabled and AllViewerExceptHostHeader.
                "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "OriginRequestPolicyId": "b689b0a8-53d0-40ab-baf2-68738e2966ac",
            },
        }},
        "RecordV4": {"HostedZoneId": zone, "Name": name, "Type": "A", "AliasTarget": alias},
        "RecordV6": {"HostedZoneId": zone, "Name": name, "Type": "AAAA", "AliasTarget": alias},
    } if name else {}  # fmt: skip
    alarming = {"TopicKey", "Ops", "OpsPolicy", "OpsMail", "FirstUnhealthy", "SecondUnhealthy", "AddressesRefused"}
    there = {part: resource["Properties"] for part, resource in edge.resources.items() if part not in alarming}
    for part in {**wanted, **there}:
        if there.get(part) != wanted.get(part):
            yield f"{part} is {there.get(part)}, not {wanted.get(part)}"
