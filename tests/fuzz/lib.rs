//! What fuzzing calls: each function takes any bytes, reads them as one kind of input, and panics when what must always
//! hold of it does not.
//!
//! The programs in `bin` search for new inputs with libFuzzer; `corpus.rs` tests those that were kept.

#![expect(
    clippy::missing_panics_doc,
    reason = "to panic is how these functions report"
)]

mod csv;
mod event;
mod item;
mod json;
mod path;
mod router;
mod token;
mod world;

pub use csv::csv;
pub use event::event;
pub use item::item;
pub use json::json;
pub use path::path;
pub use router::router;
pub use token::token;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them; the inputs of each are in a folder of its name in `corpus`.
pub const TARGETS: [(&str, Target); 7] = [
    ("csv", csv),
    ("event", event),
    ("item", item),
    ("json", json),
    ("path", path),
    ("router", router),
    ("token", token),
];
