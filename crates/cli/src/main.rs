//! The binary `hb`.

fn main() {}
