# Every test.
test:
    cargo test --workspace

# Format and lints, as in CI.
lint:
    cargo fmt --all --check && cargo clippy --workspace --all-targets --locked -- -D warnings

# The API documentation, under target/doc.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Regenerate docs/cli.md.
docs:
    cargo run --quiet --features full -- man --markdown >docs/cli.md

# The whole service on this machine; options follow the recipe's name.
serve *options:
    cargo run --bin hb -- serve {{ options }}

# The templates of the deployment against the code (docs/development.md lists what to install).
templates:
    target/deploy/bin/pytest tests/template

# Search for inputs that break something, so many seconds for each target (docs/development.md, "Fuzzing").
fuzz seconds="60":
    bash .ci/fuzz {{ seconds }}

# All checks of CI.
ci:
    bash .ci/run

# Beats per second of the SQLite store.
bench:
    cargo run --release -p hb-sqlite --example throughput

# Run the tests and review each changed snapshot (needs `cargo install --locked cargo-insta`).
snapshots:
    cargo insta test --workspace --review
