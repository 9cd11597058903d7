"""Checks of the tables."""

from collections.abc import Iterator

from facts import FACTS, NAMES
from registry import check, in_each_deployment
from templates import REGION, Deployment, Json, Templates


@in_each_deployment
def tables_match_the_code(deployment: Deployment) -> Iterator[str]:
    """Names, keys, indexes and types are those that the adapters use and `create_stage` creates."""
    wanted = FACTS["tables"]
    made = {table["TableName"]: table for table in deployment.tables().values()}
    if set(made) != set(wanted):
        yield f"tables {sorted(made)}, the code has {sorted(wanted)}"
    for name in set(made) & set(wanted):
        table, want = made[name], wanted[name]
        types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}

        def key(schema: Json, types: dict[str, str] = types) -> list[list[str]]:
            order = [a["AttributeName"] for a in sorted(schema, key=lambda a: a["KeyType"])]
            return [[attribute, types.get(attribute, "?")] for attribute in order]

        for schema in (table["KeySchema"], *(index["KeySchema"] for index in table.get("GlobalSecondaryIndexes", []))):
            if [part["KeyType"] for part in schema] != ["HASH", "RANGE"][: len(schema)]:
                yield f"a key of {name} is {schema}"
        if key(table["KeySchema"]) != want["key"]:
            yield f"the key of {name} is {key(table['KeySchema'])}, the code's {want['key']}"
        indexes = [
            {"name": i["IndexName"], "key": key(i["KeySchema"])} for i in table.get("GlobalSecondaryIndexes", [])
        ]
        if indexes != ([want["index"]] if want["index"] else []):
            yield f"the indexes of {name} are {indexes}, the code's {want['index']}"
        for index in table.get("GlobalSecondaryIndexes", []):
            if index["Projection"] != {"ProjectionType": "ALL"}:
                yield f"the index {index['IndexName']} of {name} does not project whole items"


@in_each_deployment
def declared_attributes_are_key_attributes(deployment: Deployment) -> Iterator[str]:
    """DynamoDB refuses a table that declares an attribute outside of its keys, or a key without a declaration."""
    for table in deployment.tables().values():
        declared = {a["AttributeName"] for a in table["AttributeDefinitions"]}
        schemas = [table["KeySchema"], *(i["KeySchema"] for i in table.get("GlobalSecondaryIndexes", []))]
        used = {a["AttributeName"] for schema in schemas for a in schema}
        if declared != used:
            yield f"{table['TableName']} declares {sorted(declared)} and uses {sorted(used)}"


@in_each_deployment
def tables_are_billed_per_request(deployment: Deployment) -> Iterator[str]:
    """Provisioned mode would need capacity settings in the table and in each replica."""
    for table in deployment.tables().values():
        if table.get("BillingMode") != "PAY_PER_REQUEST":
            yield f"{table['TableName']} has the billing mode {table.get('BillingMode', 'PROVISIONED')}"


@in_each_deployment
def eventual_tables_have_a_stream(deployment: Deployment) -> Iterator[str]:
    """Replication reads the stream. It exists with one region too, since it cannot be added together with a replica."""
    for table in deployment.data.of_type("AWS::DynamoDB::GlobalTable").values():
        is_ledger = table["TableName"] == NAMES["ledger"]
        stream = table.get("StreamSpecification", {}).get("StreamViewType")
        if not is_ledger and stream != "NEW_AND_OLD_IMAGES":
            yield f"{table['TableName']} has the stream {stream}"


@in_each_deployment
def the_ledger_is_strongly_consistent_across_regions(deployment: Deployment) -> Iterator[str]:
    """Only the ledger, and only with two regions; then with a witness in a third region of the same area."""
    for table in deployment.data.of_type("AWS::DynamoDB::GlobalTable").values():
        name, regions = table["TableName"], [replica["Region"] for replica in table["Replicas"]]
        wanted = name == NAMES["ledger"] and len(regions) > 1
        witnesses = [witness["Region"] for witness in table.get("GlobalTableWitnesses", [])]
        if table.get("MultiRegionConsistency") != ("STRONG" if wanted else None):
            yield f"{name} in {regions} has the consistency {table.get('MultiRegionConsistency')}"
        if len(witnesses) != (1 if wanted else 0) or set(witnesses) & set(regions) or ("GlobalTableWitnesses" in table) != wanted:
            yield f"{name} in {regions} has the witnesses {witnesses}"
        areas = {region.split("-")[0] for region in regions + witnesses}
        if wanted and len(areas) > 1:
            yield f"{name} would be strongly consistent over {sorted(areas)}, which DynamoDB does not offer"


@in_each_deployment
def regions_share_all_tables_except_system(deployment: Deployment) -> Iterator[str]:
    """All tables of the data stack have the same replicas; `system` belongs to one region."""
    tables = deployment.data.of_type("AWS::DynamoDB::GlobalTable").values()
    wanted = [REGION, *filter(None, [deployment.data.values["SecondRegion"]])]
    for table in tables:
        regions = [replica["Region"] for replica in table["Replicas"]]
        if regions != wanted:
            yield f"{table['TableName']} is in {regions}, not in {wanted}"
    if NAMES["system"] in {table["TableName"] for table in tables}:
        yield "system is replicated"


@in_each_deployment
def the_tables_come_with_their_stage(deployment: Deployment) -> Iterator[str]:
    """Inline, a nested stack makes the tables of the same stage, protected alike; apart, none does."""
    values = deployment.main.values
    given = [stack["Parameters"] for stack in deployment.main.of_type("AWS::CloudFormation::Stack").values()]
    inline = [{"Stage": values["Stage"], "DeletionProtection": values["DeletionProtection"]}]
    if given != (inline if values["Data"] == "inline" else []):
        yield f"with Data={values['Data']} nested stacks get {given}"


@check
def data_outlives_its_stack(templates: Templates) -> Iterator[str]:
    """Every replica is retained, unless its very creation failed, restorable, encrypted and protected against deletion; only acts of admins expire."""
    for deployment in templates.deployments:
        for stack in (deployment.main, deployment.data):
            for name, resource in stack.resources.items():
                if not resource["Type"].startswith("AWS::DynamoDB::"):
                    continue
                table = resource["Properties"]
                policies = (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
                if policies != ("RetainExceptOnCreate", "Retain"):
                    yield f"{name} would be deleted with its stack or on replacement, or stay after a failed creation: {policies}"
                if table.get("SSESpecification") != {"SSEEnabled": True, "SSEType": "KMS"}:
                    yield f"{name} is not encrypted with a key of the account"
                expiry = {"AttributeName": FACTS["expiry"], "Enabled": True} if table["TableName"] == NAMES["system"] else None
                if table.get("TimeToLiveSpecification") != expiry:
                    yield f"{name} has the time-to-live {table.get('TimeToLiveSpecification')}, not {expiry}"
                for copy in table.get("Replicas", [table]):
                    recovery = copy.get("PointInTimeRecoverySpecification", {})
                    if recovery.get("PointInTimeRecoveryEnabled") is not True:
                        yield f"{name} cannot be restored to a point in time"
                    if copy.get("DeletionProtectionEnabled") != "true":
                        yield f"{name} is not protected against deletion"
