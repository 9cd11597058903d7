# Every test.
test:
    cargo test --workspace

# Format and lints, as CI asks for them.
lint:
    cargo fmt --all --check && cargo clippy --workspace --all-targets --locked -- -D warnings

# The API documentation, under target/doc.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The page of the command line, from the program.
docs:
    cargo run --quiet --features full -- man --markdown >docs/cli.md

# The whole service on this machine; options go after the recipe's name.
serve *options:
    cargo run --bin hb -- serve {{ options }}

# The templates of the deployment against the code (docs/development.md says what to install).
templates:
    target/deploy/bin/pytest tests/template

# Everything that CI checks.
ci:
    bash .ci/run

# How many beats a second the embedded database takes.
bench:
    cargo run --release -p hb-sqlite --example throughput

# Run the tests and look at each changed snapshot (needs `cargo install cargo-insta`).
snapshots:
    cargo insta test --workspace --review
