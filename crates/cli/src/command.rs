//! The commands, one module a noun.

pub(crate) mod cost;
pub(crate) mod doctor;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod man;
pub(crate) mod send;
pub(crate) mod subscription;

use hb_service::ports::Unreadable;

use crate::output;

/// Says which stored items were left out of a listing because they cannot be read.
fn tell_unreadable(what: &str, unreadable: &[Unreadable]) {
    for Unreadable { key, cause } in unreadable {
        output::remark(&format!(
            "warning: {what} {key} is stored but unreadable and left out: {cause}"
        ));
    }
}
