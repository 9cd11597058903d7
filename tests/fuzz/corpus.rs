//! The inputs that were kept, without a search for others.

use std::fs;
use std::path::Path;

#[test]
fn what_must_hold_holds_of_every_input_that_was_kept() {
    for (name, target) in hb_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let mut inputs = 0;
        for file in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let file = file.unwrap().path();
            // Shown only when the test fails.
            println!("{}", file.display());
            target(&fs::read(file).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{} is empty", folder.display());
    }
}
