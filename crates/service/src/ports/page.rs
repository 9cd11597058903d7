//! Listings in pages: one item that cannot be read is an error of its own, never the end of a page.

use super::PortResult;

/// Where a page ended; only the adapter that made it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// Part of a listing.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What could be read.
    pub items: Vec<T>,
    /// What could not: each is an error for one item, and not the end of the page.
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
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub cause: String,
}

/// All pages of a listing, one after the other: what could be read, and what could not.
pub async fn every_page<T, F>(
    mut turn: impl FnMut(Option<Cursor>) -> F,
) -> PortResult<(Vec<T>, Vec<Unreadable>)>
where
    F: Future<Output = PortResult<Page<T>>>,
{
    let (mut items, mut unreadable, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = turn(after).await?;
        items.extend(page.items);
        unreadable.extend(page.unreadable);
        after = page.next;
        if after.is_none() {
            return Ok((items, unreadable));
        }
    }
}
