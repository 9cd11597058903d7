//! An older version of the code beside this one, as during a deployment: it drops with its next write what it does not
//! know (docs/decisions/0023-renamed-stored-names.md). Not the incarnation: without it the copies of a notice that was pending
//! during that deployment had two ids.

use std::any::Any;
use std::sync::Arc;

use hb_domain::{Entry, Receiver};

/// The record as the older version writes it.
pub(crate) fn without_news(record: &dyn Any) -> Option<Arc<dyn Any + Send + Sync>> {
    if let Some(entry) = record.downcast_ref::<Entry>() {
        let mut entry = entry.clone();
        entry.rechecked_in.clear();
        entry.inquiry = None;
        return Some(Arc::new(entry));
    }
    let receiver = record.downcast_ref::<Receiver>()?;
    Some(Arc::new(Receiver {
        unheard_since: None,
        ..receiver.clone()
    }))
}
