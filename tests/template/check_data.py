"""What must hold of the tables."""

from collections.abc import Iterator

import rust
from registry import check, in_each_deployment
from templates import REGION, Deployment, Json, Templates


@in_each_deployment
def tables_are_those_of_the_code(deployment: Deployment) -> Iterator[str]:
    """Names, keys, indexes and types are what the adapters use and `create_stage` makes."""
    wanted = rust.tables("dev")
    made = {table["TableName"]: table for table in deployment.tables().values()}
    if set(made) != set(wanted):
        yield f"tables {sorted(made)}, the code has {sorted(wanted)}"
    for name in set(made) & set(wanted):
        table, want = made[name], wanted[name]
        types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}

        def key(schema: Json, types: dict[str, str] = types) -> list[tuple[str, str]]:
            order = [a["AttributeName"] for a in sorted(schema, key=lambda a: a["KeyType"])]
            return [(attribute, types.get(attribute, "?")) for attribute in order]

        if key(table["KeySchema"]) != want["key"]:
            yield f"the key of {name} is {key(table['KeySchema'])}, the code's {want['key']}"
        indexes = [(i["IndexName"], key(i["KeySchema"])) for i in table.get("GlobalSecondaryIndexes", [])]
        if indexes != ([(want["index"]["name"], want["index"]["key"])] if want["index"] else []):
            yield f"the indexes of {name} are {indexes}, the code's {want['index']}"
        for index in table.get("GlobalSecondaryIndexes", []):
            if index["Projection"] != {"ProjectionType": "ALL"}:
                yield f"the index {index['IndexName']} of {name} does not hold whole items"


@in_each_deployment
def declared_attributes_are_those_of_keys(deployment: Deployment) -> Iterator[str]:
    """DynamoDB refuses a table that declares an attribute that no key has, or has a key that it does not declare."""
    for table in deployment.tables().values():
        declared = {a["AttributeName"] for a in table["AttributeDefinitions"]}
        schemas = [table["KeySchema"], *(i["KeySchema"] for i in table.get("GlobalSecondaryIndexes", []))]
        used = {a["AttributeName"] for schema in schemas for a in schema}
        if declared != used:
            yield f"{table['TableName']} declares {sorted(declared)} and uses {sorted(used)}"


@in_each_deployment
def tables_are_charged_by_request(deployment: Deployment) -> Iterator[str]:
    """Provisioned mode would need settings of capacity, in the table and in each replica; nothing here has any."""
    for table in deployment.tables().values():
        if table.get("BillingMode") != "PAY_PER_REQUEST":
            yield f"{table['TableName']} is in mode {table.get('BillingMode', 'PROVISIONED')}"


@in_each_deployment
def eventual_tables_have_a_stream(deployment: Deployment) -> Iterator[str]:
    """Replication reads it. With one region it is there already: it cannot be added together with a replica."""
    for table in deployment.data.of_type("AWS::DynamoDB::GlobalTable").values():
        claims = table["TableName"] == rust.names("dev")["ledger"]
        stream = table.get("StreamSpecification", {}).get("StreamViewType")
        if not claims and stream != "NEW_AND_OLD_IMAGES":
            yield f"{table['TableName']} has the stream {stream}"


@in_each_deployment
def claims_are_strong_over_regions(deployment: Deployment) -> Iterator[str]:
    """The ledger alone, and only with two regions; then with a witness, and without a time-to-live."""
    for table in deployment.data.of_type("AWS::DynamoDB::GlobalTable").values():
        name, regions = table["TableName"], [replica["Region"] for replica in table["Replicas"]]
        wanted = name == rust.names("dev")["ledger"] and len(regions) > 1
        witnesses = [witness["Region"] for witness in table.get("GlobalTableWitnesses", [])]
        if (table.get("MultiRegionConsistency") == "STRONG") != wanted:
            yield f"{name} in {regions} has the consistency {table.get('MultiRegionConsistency')}"
        if len(witnesses) != (1 if wanted else 0) or set(witnesses) & set(regions):
            yield f"{name} in {regions} has the witnesses {witnesses}"
        areas = {region.split("-")[0] for region in regions + witnesses}
        if wanted and len(areas) > 1:
            yield f"{name} would be strong over {sorted(areas)}, which DynamoDB does not offer"


@in_each_deployment
def regions_share_all_tables_but_their_own(deployment: Deployment) -> Iterator[str]:
    """Each of the data stack has the same replicas; `system` holds the subscriptions of a region's own topic."""
    tables = deployment.data.of_type("AWS::DynamoDB::GlobalTable").values()
    wanted = [REGION, *filter(None, [deployment.data.values["SecondRegion"]])]
    for table in tables:
        regions = [replica["Region"] for replica in table["Replicas"]]
        if regions != wanted:
            yield f"{table['TableName']} is in {regions}, not in {wanted}"
    if rust.names("dev")["system"] in {table["TableName"] for table in tables}:
        yield "system is a table of all regions"


@check
def data_outlives_its_stack(templates: Templates) -> Iterator[str]:
    """Retained, restorable, encrypted, protected against deletion, in every replica; nothing expires by itself."""
    for deployment in templates.deployments:
        for stack in (deployment.main, deployment.data):
            for name, resource in stack.resources.items():
                if not resource["Type"].startswith("AWS::DynamoDB::"):
                    continue
                table = resource["Properties"]
                if {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")} != {"Retain"}:
                    yield f"{name} would be deleted with its stack, or when it is replaced"
                if not table.get("SSESpecification", {}).get("SSEEnabled"):
                    yield f"{name} is not encrypted under a key of the account"
                if "TimeToLiveSpecification" in table:
                    yield f"{name} has a time-to-live, and nothing in it an expiry in seconds"
                for copy in table.get("Replicas", [table]):
                    recovery = copy.get("PointInTimeRecoverySpecification", {})
                    if recovery.get("PointInTimeRecoveryEnabled") is not True:
                        yield f"{name} cannot be restored to a point in time"
                    if copy.get("DeletionProtectionEnabled") != "true":
                        yield f"{name} is not protected against deletion"
