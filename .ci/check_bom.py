"""Checks that programs name what they are made of: `check_bom.py FILE...`.

`cargo auditable` puts a list of all crates into the section `.dep-v0` of each program: JSON, compressed with zlib
(github.com/rust-secure-code/cargo-auditable, PARSING.md). A list must have this workspace in its version, the TLS
stack, and nothing that the lock file does not have.
"""

import json
import subprocess
import sys
import zlib
from pathlib import Path
from struct import unpack_from

ROOT = Path(__file__).resolve().parent.parent


def section(program, wanted):
    """A section of an ELF file of 64 bits, or None."""
    (table,) = unpack_from("<Q", program, 0x28)
    size, count, of_names = unpack_from("<HHH", program, 0x3A)
    headers = [unpack_from("<IIQQQQ", program, table + size * n) for n in range(count)]
    names = headers[of_names][4]
    for name, _, _, _, begin, length in headers:
        if program.startswith(wanted + b"\0", names + name):
            return program[begin : begin + length]
    return None


def crates(packages):
    return {f"{package['name']} {package['version']}" for package in packages}


def main():
    metadata = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", ROOT / "Cargo.toml"]
    locked = json.loads(subprocess.run(metadata, check=True, capture_output=True).stdout)["packages"]
    ours = {package["name"]: package["version"] for package in locked if package["source"] is None}
    for path in sys.argv[1:]:
        found = section(Path(path).read_bytes(), b".dep-v0")
        if found is None:
            sys.exit(f"{path} does not name its crates: build it with cargo auditable (docs/security.md)")
        packages = json.loads(zlib.decompress(found))["packages"]
        [root] = [package["name"] for package in packages if package.get("root")]
        named = crates(packages)
        missing = {f"{name} {ours.get(name)}" for name in (root, "hb-domain")} - named
        rustls = [crate for crate in named if crate.startswith("rustls ")]
        if missing or len(rustls) != 1 or not named <= crates(locked):
            sys.exit(f"{path}: missing {missing}, TLS {rustls}, not in Cargo.lock {named - crates(locked)}")
        print(f"{path}: {len(named)} crates of {root} {ours[root]}, {rustls[0]} among them")


if __name__ == "__main__":
    main()
