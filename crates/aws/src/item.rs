//! Reads and writes the attributes of items. Nothing that is stored makes this panic.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use hb_domain::{HostKey, Timestamp};
use hb_service::ports::{Page, Unreadable};

use crate::size::AttributeMap;

/// Why an item is unreadable.
pub(crate) type Cause = String;

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// In milliseconds since 1970.
pub(crate) fn instant(value: Timestamp) -> AttributeValue {
    number(value.as_millis())
}

pub(crate) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub(crate) fn of<const N: usize>(attributes: [(&str, AttributeValue); N]) -> AttributeMap {
    attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Why an attribute is unreadable.
pub(crate) fn wrong(name: &str, cause: impl Display) -> Cause {
    format!("attribute {name}: {cause}")
}

pub(crate) fn get_text<'a>(item: &'a AttributeMap, name: &str) -> Result<&'a str, Cause> {
    optional_text(item, name)?.ok_or_else(|| wrong(name, "missing"))
}

pub(crate) fn optional_text<'a>(
    item: &'a AttributeMap,
    name: &str,
) -> Result<Option<&'a str>, Cause> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(name, "not a text")),
    }
}

/// A text that is parsed into a domain type.
pub(crate) fn get_parsed<T: FromStr<Err: Display>>(
    item: &AttributeMap,
    name: &str,
) -> Result<T, Cause> {
    get_text(item, name)?
        .parse()
        .map_err(|error| wrong(name, error))
}

pub(crate) fn get_number<T: FromStr<Err: Display>>(
    item: &AttributeMap,
    name: &str,
) -> Result<T, Cause> {
    match item.get(name) {
        None => Err(wrong(name, "missing")),
        Some(AttributeValue::N(digits)) => digits.parse().map_err(|error| wrong(name, error)),
        Some(_) => Err(wrong(name, "not a number")),
    }
}

pub(crate) fn optional_number<T: FromStr<Err: Display>>(
    item: &AttributeMap,
    name: &str,
) -> Result<Option<T>, Cause> {
    item.contains_key(name)
        .then(|| get_number(item, name))
        .transpose()
}

/// An interval in milliseconds.
pub(crate) fn optional_millis<T>(item: &AttributeMap, name: &str) -> Result<Option<T>, Cause>
where
    T: TryFrom<u64, Error: std::fmt::Display>,
{
    let millis = optional_number(item, name)?.map(T::try_from);
    millis.transpose().map_err(|error| wrong(name, error))
}

/// Of IPv4 4 bytes, of IPv6 16: a third of what their texts have.
pub(crate) fn address(value: IpAddr) -> AttributeValue {
    match value {
        IpAddr::V4(address) => bytes(&address.octets()),
        IpAddr::V6(address) => bytes(&address.octets()),
    }
}

pub(crate) fn optional_address(item: &AttributeMap, name: &str) -> Result<Option<IpAddr>, Cause> {
    let Some(value) = item.get(name) else {
        return Ok(None);
    };
    let bytes = value
        .as_b()
        .map_err(|_| wrong(name, "not binary"))?
        .as_ref();
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address
        .map(Some)
        .map_err(|_| wrong(name, format!("{} bytes are no address", bytes.len())))
}

pub(crate) fn get_instant(item: &AttributeMap, name: &str) -> Result<Timestamp, Cause> {
    Timestamp::from_millis(get_number(item, name)?).map_err(|error| wrong(name, error))
}

pub(crate) fn optional_instant(
    item: &AttributeMap,
    name: &str,
) -> Result<Option<Timestamp>, Cause> {
    item.contains_key(name)
        .then(|| get_instant(item, name))
        .transpose()
}

/// A host, stored as `fleet/host`.
pub(crate) fn get_host(item: &AttributeMap, name: &str) -> Result<HostKey, Cause> {
    let (fleet, host) = get_text(item, name)?
        .split_once('/')
        .ok_or_else(|| wrong(name, "no slash"))?;
    let fleet = fleet.parse().map_err(|error| wrong(name, error))?;
    Ok(HostKey::new(
        fleet,
        host.parse().map_err(|error| wrong(name, error))?,
    ))
}

/// The key attributes of an item, joined by slashes, for error messages.
pub(crate) fn label(item: &AttributeMap, key: &[&str]) -> String {
    let parts: Vec<_> = key
        .iter()
        .map(|name| get_text(item, name).unwrap_or("?"))
        .collect();
    parts.join("/")
}

/// Decodes the items of a page. Unreadable ones are named by their `key` attributes.
pub(crate) fn page<T>(
    items: Vec<AttributeMap>,
    key: &[&str],
    decode: impl Fn(&AttributeMap) -> Result<T, Cause>,
) -> Page<T> {
    let mut page = Page {
        items: Vec::with_capacity(items.len()),
        ..Page::default()
    };
    for item in items {
        match decode(&item) {
            Ok(value) => page.items.push(value),
            Err(cause) => page.unreadable.push(Unreadable {
                key: label(&item, key),
                cause,
            }),
        }
    }
    page
}
