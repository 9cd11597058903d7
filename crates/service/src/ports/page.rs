//! Listings in pages. An item that cannot be read is reported by itself and never ends a page.

use serde::{Deserialize, Serialize};

use super::PortResult;

/// Where a page ended. Only the adapter that made it can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub String);

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items that could be read.
    pub items: Vec<T>,
    /// The items that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            unreadable: Vec::new(),
            next: None,
        }
    }
}

/// A stored item that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The key of the item.
    pub key: String,
    /// Why it cannot be read.
    pub cause: String,
}

/// All pages of a listing: the items that could be read, and those that could not.
pub async fn every_page<T, F>(
    turn: impl FnMut(Option<Cursor>) -> F,
) -> PortResult<(Vec<T>, Vec<Unreadable>)>
where
    F: Future<Output = PortResult<Page<T>>>,
{
    let mut items = Vec::new();
    let mut unreadable = Vec::new();
    each_page(turn, |page| {
        items.extend(page.items);
        unreadable.extend(page.unreadable);
    })
    .await?;
    Ok((items, unreadable))
}

/// Calls `with` for each page of a listing, for listings that need not be in memory as a whole.
pub async fn each_page<T, E, F>(
    mut turn: impl FnMut(Option<Cursor>) -> F,
    mut with: impl FnMut(Page<T>),
) -> Result<(), E>
where
    F: Future<Output = Result<Page<T>, E>>,
{
    let mut after = None;
    loop {
        let mut page = turn(after).await?;
        after = page.next.take();
        with(page);
        if after.is_none() {
            return Ok(());
        }
    }
}
