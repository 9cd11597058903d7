//! The pages whose commands are run.

/// The pages for admins, which hold on one machine and on a stage.
pub(crate) const ADMIN: [&str; 3] = [
    "api-key-management",
    "subscription-management",
    "from-hb-api",
];

/// The `sh` blocks of a page under `docs`, as far as it is not about AWS alone.
pub(crate) fn blocks(page: &str) -> Vec<String> {
    // From the folder of either package.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    let text = std::fs::read_to_string(format!("{root}/{page}.md")).unwrap();
    let text = text.split("\n## On AWS\n").next().unwrap_or_default();
    let blocks = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split_once("\n```").unwrap().0.to_owned());
    blocks.collect()
}
