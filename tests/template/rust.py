"""What the Rust sources say about AWS: names, tables, variables, metrics, and the calls of each function.

The sources are read as text. Each reader fails when it finds nothing, so that a rewrite of the code cannot make a check
pass by hiding what it checks.
"""

import re
import tomllib
from functools import cache

from templates import ROOT, Json

CRATES = ROOT / "crates"


@cache
def source(path: str) -> str:
    """A source file without its tests, comments and the line breaks within chains of calls."""
    text = (CRATES / path).read_text().split("#[cfg(test)]")[0]
    text = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\s*\n\s*\.", ".", text)


def found(pattern: str, text: str) -> list[Json]:
    matches = re.findall(pattern, text, re.DOTALL)
    if not matches:
        raise LookupError(f"the code has no {pattern!r} any more: teach tests/template/rust.py its new form")
    return matches


def constants(path: str) -> dict[str, str]:
    return dict(found(r'const (\w+): &(?:\'static )?str = "([^"]*)"', source(path)))


# ---- Names and tables ----------------------------------------------------------------------------------------------


def names(stage: str) -> dict[str, str]:
    """What `Stage` calls things: tables, topic, queue, by method."""
    [form] = found(r'format!\("(hb-\{\}-\{what\})"', source("aws/src/names.rs"))
    methods = found(r'pub fn (\w+)\(&self\) -> String \{\s*self\.named\("(\w+)"\)', source("aws/src/names.rs"))
    return {method: form.replace("{}", stage).replace("{what}", what) for method, what in methods}


def stage_pattern() -> int:
    """The longest name of a stage."""
    [chars] = found(r"const STAGE_CHARS: usize = (\d+)", source("aws/src/names.rs"))
    return int(chars)


def tables(stage: str) -> dict[str, Json]:
    """The tables of `table_definitions`: key, index, and the types of their attributes, by name."""
    text = source("aws/src/create.rs")
    modules = {
        "beat": constants("aws/src/heartbeats/stored.rs"),
        "ledger": constants("aws/src/ledger.rs"),
        "keys": constants("aws/src/keys.rs"),
        "records": constants("aws/src/records.rs"),
    }

    def attributes(vec: str) -> list[tuple[str, str]]:
        kinds = {"text": "S", "number": "N"}
        each = found(r"(text|number)\((\w+)::(\w+)\)", vec)
        return [(modules[module][name], kinds[kind]) for kind, module, name in each]

    [(index_name, index_key)] = found(r"IndexDefinition \{ name: ledger::(\w+), key: vec!\[(.*?)\] \}", text)
    index = {"name": modules["ledger"][index_name], "key": attributes(index_key)}
    rows = found(r"TableDefinition \{\s*name: stage\.(\w+)\(\),\s*key: vec!\[(.*?)\],\s*index: (\w+)", text)
    called = names(stage)
    return {
        called[method]: {"key": attributes(key), "index": None if which == "None" else index}
        for method, key, which in rows
    }


def beat_attributes() -> set[str]:
    """All attributes of a stored beat."""
    own = constants("aws/src/heartbeats/stored.rs")
    return {value for name, value in own.items() if name not in ("FAIL", "OK")}


# ---- Settings --------------------------------------------------------------------------------------------------------


def variables() -> dict[str, set[str]]:
    """The variables that each program reads, by its name."""
    text = source("lambda/src/settings.rs")

    def read_by(header: str) -> set[str]:
        [body] = found(re.escape(header) + r" \{(.*?)\n\}", text)
        return set(re.findall(r'"(HB_[A-Z_]+)"', body))

    both = read_by("impl Settings") | set(found(r'"(HB_LOG)"', text))
    return {
        "ingest": both | read_by("impl IngestSettings"),
        "sweep": both | read_by("impl SweepSettings") | read_by("impl CanarySettings"),
    }


CANARY_VARIABLES = {"HB_CANARY_URL", "HB_CANARY_KEY"}


def sweep_timing() -> tuple[int, int]:
    """Seconds that the passes of an invocation share, and the last part in which nothing is begun."""
    text = source("lambda/src/passes.rs")
    [minutes] = found(r"const MINUTE: Duration = Duration::from_mins\((\d+)\)", text)
    [margin] = found(r"const MARGIN: Duration = Duration::from_secs\((\d+)\)", text)
    return 60 * int(minutes), int(margin)


def canary_freshness() -> int:
    """Seconds that the receiver is believed after a canary, where sweeps are distributed."""
    [seconds] = found(r"fn distributed.*?fresh: seconds\((\d+)\)", source("service/src/sweep.rs"))
    return int(seconds)


def messages_per_second() -> int:
    [number] = found(r"MESSAGES_PER_SECOND: u32 = (\d+)", source("domain/src/limits.rs"))
    return int(number)


# ---- Metrics ---------------------------------------------------------------------------------------------------------


def metrics() -> tuple[str, dict[str, set[frozenset[str]]]]:
    """The namespace, and the metrics with the sets of dimensions that they come with."""
    text, own = source("lambda/src/metrics.rs"), constants("lambda/src/metrics.rs")
    stage = frozenset({own["STAGE"]})
    named = {name: {stage} for name in found(r'\(\s*"([A-Z]\w+)",', text)}
    for sets, name in found(r'directive\(&\[([^=]*?)\], \[\("(\w+)"', text):
        each = re.findall(r"\[([^\[\]]+)\]", sets)
        named[name] = {frozenset(own[part.strip()] for part in one.split(",")) for one in each}
    return own["NAMESPACE"], named


# ---- Calls and permissions --------------------------------------------------------------------------------------------

PORTS = {
    # port: the adapter's file, and what it lies on
    "heartbeats": ("aws/src/heartbeats.rs", "heartbeats"),
    "ledger": ("aws/src/ledger.rs", "ledger"),
    "keys": ("aws/src/keys.rs", "keys"),
    "topic": ("aws/src/topic.rs", "notices"),
    "echoes": ("aws/src/echo.rs", "echo"),
    "system": ("aws/src/system.rs", "system"),
}
"""Digests and receivers are records of the ledger's table, behind the same adapter."""

HELPERS = {"system": "aws/src/records.rs"}
"""Where an adapter's calls are made, if not in its own file."""

USE_CASES = {
    "Ingest": ["http/src/*.rs", "service/src/record.rs", "service/src/auth.rs", "service/src/health.rs"],
    "Sweep": [
        "service/src/sweep.rs",
        "service/src/sweep/*.rs",
        "service/src/swap.rs",
        "service/src/canary.rs::receivers",
    ],
    "Canary": ["service/src/canary.rs::send", "service/src/swap.rs"],
}
"""What each function runs, by the logical id in the template: files, or one function of a file."""

CALL = re.compile(r"\b(heartbeats|ledger|digests|receivers|keys|topic|echoes|system)\.(\w+)\(")


def port_calls(function: str) -> set[tuple[str, str]]:
    """The methods of ports that a function's use cases call."""
    methods = set(found(r"async fn (\w+)", source("service/src/ports.rs")))
    calls = set()
    for pattern in USE_CASES[function]:
        files, _, only = pattern.partition("::")
        paths = [str(path.relative_to(CRATES)) for path in sorted(CRATES.glob(files))]
        if not paths:
            raise LookupError(f"there is no {files} any more")
        for path in paths:
            text = functions(path)[only] if only else source(path)
            calls |= {(port, method) for port, method in CALL.findall(text) if method in methods}
    return {("ledger" if port in ("digests", "receivers") else port, method) for port, method in calls}


def functions(path: str) -> dict[str, str]:
    """The bodies of a file's functions, by name."""
    parts = re.split(r"\bfn (\w+)", source(path))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def operations(path: str, method: str, seen: frozenset[str] = frozenset()) -> set[tuple[str, bool]]:
    """The operations that a method calls, itself or through others of its file, and whether on an index."""
    bodies = functions(path)
    if method not in bodies or method in seen:
        return set()
    body = bodies[method]
    own = {(name, ".index_name(" in body) for name in re.findall(r"Operation::(\w+)", body)}
    for called in re.findall(r"(?:self|sweeps|records)\.(\w+)\(", body):
        own |= operations(path, called, seen | {method})
    return own


@cache
def actions() -> dict[str, str]:
    """What IAM calls each operation."""
    return dict(found(r'Self::(\w+) => "(\w+:\w+)"', source("aws/src/meter.rs")))


def permissions(function: str, stage: str) -> set[tuple[str, str]]:
    """Action and resource of each call that a function can make."""
    called, needed = names(stage), set()
    for port, method in port_calls(function):
        path, on = PORTS[port]
        calls = operations(path, method)
        if not calls and port in HELPERS:
            through = re.findall(r"sweeps\.(\w+)\(", functions(path)[method])
            calls = set().union(*(operations(HELPERS[port], helper) for helper in through))
        if not calls:
            raise LookupError(f"{function} calls {port}.{method}, and {path} shows no operation for it")
        for operation, indexed in calls:
            needed.add((actions()[operation], called[on] + ("/index/open" if indexed else "")))
        if port == "topic":
            # The topic's address is told by a table (`find_stage`).
            found_by = operations("aws/src/create.rs", "find_stage")
            needed |= {(actions()[operation], called["ledger"]) for operation, _ in found_by}
    return needed


def canary_prefix() -> str:
    """What the keys of receivers begin with in the ledger."""
    prefix: str
    [prefix] = found(r'Receiver::TABLE => Self \{ prefix: "([^"]+)"', source("aws/src/ledger.rs"))
    return prefix


def sweep_record() -> str:
    """The kind of the records that the sweep keeps in the table system."""
    kind: str
    [kind] = found(r'sweeps: Records::new\(clients, stage, "(\w+)"\)', source("aws/src/system.rs"))
    return kind


# ---- Build and command line ------------------------------------------------------------------------------------------


def profile() -> dict[str, Json]:
    """The values of the build profile of the functions."""
    with (ROOT / "Cargo.toml").open("rb") as file:
        values = tomllib.load(file)["profile"]["lambda"]
    return {name: value for name, value in values.items() if name != "inherits"}


def command_line() -> tuple[set[str], set[str]]:
    """Subcommands and options of `hb`."""
    paths = sorted((CRATES / "cli/src").glob("**/*.rs"))
    whole = re.sub(r"^\s*//.*$", "", "".join(path.read_text() for path in paths), flags=re.MULTILINE)
    trees = [path for path in paths if "#[derive(Debug, Subcommand)]" in path.read_text()]
    text = "".join(path.read_text() for path in trees)
    verbs: set[str] = set()
    for name in re.findall(r"^    ([A-Z][A-Za-z]+)\s*(?:[({,]|$)", text, re.MULTILINE):
        verbs.add(re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower())
    options = {"--help", "--version"}
    form = r"#\[arg\(([^\]]*\blong\b[^\]]*)\)\]\s*(?:pub(?:\(crate\))? )?(\w+):"
    for attributes, name in found(form, whole):
        given = re.search(r'long = "([\w-]+)"', attributes)
        options.add("--" + (given.group(1) if given else name.replace("_", "-")))
    return verbs, options
