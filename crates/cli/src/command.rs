//! The commands, one module per noun.

pub(crate) mod audit;
#[cfg(feature = "cost")]
pub(crate) mod cost;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod fleet;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod maintenance;
pub(crate) mod man;
pub(crate) mod send;
pub(crate) mod status;
pub(crate) mod subscription;
pub(crate) mod table;

use hb_service::ports::Unreadable;

use crate::output;

/// Reports the stored items that a listing leaves out because they cannot be read.
fn report_unreadable(what: &str, unreadable: &[Unreadable]) {
    for Unreadable { key, cause } in unreadable {
        output::remark(&format!(
            "warning: {what} {key} is left out, its stored record is unreadable: {cause}"
        ));
    }
}
