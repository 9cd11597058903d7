//! API key tokens, `hbk_<id>_<secret><checksum>`, and the keys of other systems.
//!
//! The prefix lets scanners find a leaked key; the checksum finds typos without a database.
//! All parts are lower-case base32 (RFC 4648), so that a double click selects a whole token:
//! `hbk_[a-z2-7]{10}_[a-z2-7]{59}`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "hbk_";
const ID_CHARS: usize = 10;
const SECRET_CHARS: usize = 52;
const CHECKSUM_CHARS: usize = 7;

/// RFC 4648 base32 in lower case, without padding; strict: trailing bits must be zero.
fn base32() -> &'static Encoding {
    static BASE32: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut specification = Specification::new();
        specification
            .symbols
            .push_str("abcdefghijklmnopqrstuvwxyz234567");
        specification
            .encoding()
            .unwrap_or(data_encoding::BASE32_NOPAD)
    });
    &BASE32
}

/// The public part of a token, by which keys are found and shown: 10 characters of `a-z 2-7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; ID_CHARS]);

/// A string that is not a [`KeyId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a key id is {ID_CHARS} characters of a-z and 2-7")]
pub struct KeyIdError;

impl KeyId {
    /// The id made of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 7]) -> Self {
        let text = base32().encode(&bytes);
        Self(std::array::from_fn(|i| text.as_bytes()[i]))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;
    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'2'..=b'7');
        let id = text.as_bytes().try_into().map_err(|_| KeyIdError)?;
        text.bytes()
            .all(allowed)
            .then_some(Self(id))
            .ok_or(KeyIdError)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;
    fn try_from(text: String) -> Result<Self, KeyIdError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.as_str().to_owned()
    }
}

/// The 256 secret bits of a token. `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// The secret made of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash to store: 256 random bits need neither a slow hash nor a salt.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The SHA-256 of a [`Secret`]. Without `==`, since it must be compared in constant time.
#[derive(Clone, Debug)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash with the bytes of [`SecretHash::as_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash, to be stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it is the hash of `secret`, in constant time.
    #[must_use]
    pub fn fits(&self, secret: &Secret) -> bool {
        self.0.ct_eq(&secret.hash().0).into()
    }
}

/// A whole API key, as clients send it. `Debug` shows only its id; [`Token::reveal`] shows all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: KeyId,
    secret: Secret,
}

/// Why a string is not a [`Token`]. Never contains a part of the string.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// It does not look like `hbk_<id>_<secret><checksum>`.
    #[error("not an API key: a key looks like hbk_, 10 characters, _, 59 characters")]
    Format,
    /// The format is right but the checksum differs.
    #[error("the checksum of the API key differs: a character was mistyped or cut off")]
    Checksum,
}

impl Token {
    /// The token of a key.
    #[must_use]
    pub fn new(id: KeyId, secret: Secret) -> Self {
        Self { id, secret }
    }

    /// Its public part.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Its secret part.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The whole token, to be shown to its owner once.
    #[must_use]
    pub fn reveal(&self) -> String {
        let body = format!("{PREFIX}{}_{}", self.id, base32().encode(&self.secret.0));
        let checksum = checksum(&body);
        body + &checksum
    }
}

/// CRC-32 of everything before it, as 7 characters.
fn checksum(body: &str) -> String {
    base32().encode(&crc32fast::hash(body.as_bytes()).to_be_bytes())
}

impl FromStr for Token {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (id, rest) = text
            .strip_prefix(PREFIX)
            .and_then(|t| t.split_once('_'))
            .ok_or(TokenError::Format)?;
        if rest.len() != SECRET_CHARS + CHECKSUM_CHARS || !rest.is_ascii() {
            return Err(TokenError::Format);
        }
        let id = id.parse().map_err(|_| TokenError::Format)?;
        let (body, sum) = text.split_at(text.len() - CHECKSUM_CHARS);
        if checksum(body) != sum {
            return Err(TokenError::Checksum);
        }
        let secret = base32()
            .decode(&rest.as_bytes()[..SECRET_CHARS])
            .map_err(|_| TokenError::Format)?;
        let secret = secret.try_into().map_err(|_| TokenError::Format)?;
        Ok(Self {
            id,
            secret: Secret(secret),
        })
    }
}

/// How many characters an API key of Amazon API Gateway has ("API Gateway API key file format" of its developer guide).
const OPAQUE_CHARS: RangeInclusive<usize> = 20..=128;

/// A string that is not the key of another system.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a key of another system is {} to {} visible ASCII characters, and does not start with {PREFIX}",
    OPAQUE_CHARS.start(), OPAQUE_CHARS.end()
)]
pub struct OpaqueError;

/// The id and the secret of a key that another system made.
///
/// It has neither: the secret is its hash, and the id is the beginning of the hash that is stored. So it is found by one
/// read, as a token is, and its id says no more of it than what is stored.
pub fn opaque(text: &str) -> Result<(KeyId, Secret), OpaqueError> {
    let allowed = OPAQUE_CHARS.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.starts_with(PREFIX);
    if !allowed {
        return Err(OpaqueError);
    }
    let secret = Secret(Sha256::digest(text).into());
    let stored = secret.hash();
    let id = KeyId::from_random(std::array::from_fn(|i| stored.0[i]));
    Ok((id, secret))
}

/// The id and the secret of what a client sent: of a [`Token`], or of a key of another system.
pub fn credential(text: &str) -> Result<(KeyId, Secret), TokenError> {
    match text.parse() {
        Ok(Token { id, secret }) => Ok((id, secret)),
        Err(error) => opaque(text).map_err(|OpaqueError| error),
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({PREFIX}{}_hidden)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        Token::new(KeyId::from_random([7; 7]), Secret::from_random([42; 32]))
    }

    #[test]
    fn the_format_never_changes() {
        insta::assert_snapshot!(token().reveal(), @"hbk_a4dqobyha4_fivcukrkfivcukrkfivcukrkfivcukrkfivcukrkfivcukrkfivajrcfnci");
    }

    #[test]
    fn debug_hides_the_secret() {
        insta::assert_snapshot!(format!("{:?} {:?}", token(), token().secret()), @"Token(hbk_a4dqobyha4_hidden) Secret(hidden)");
    }

    #[test]
    fn typos_are_distinguished_from_other_text() {
        let mut typo = token().reveal();
        typo.replace_range(20..21, if &typo[20..21] == "a" { "b" } else { "a" });
        assert_eq!(typo.parse::<Token>(), Err(TokenError::Checksum));
        for nonsense in [
            "",
            "hbk_",
            "hbk__",
            "secret",
            &token().reveal()[..70],
            &(token().reveal() + "a"),
        ] {
            assert_eq!(
                nonsense.parse::<Token>(),
                Err(TokenError::Format),
                "{nonsense}"
            );
        }
    }

    #[test]
    fn the_id_and_the_hash_of_an_opaque_key_never_change() {
        let (id, secret) = opaque("apikey1234abcdefghij0123456789").unwrap();
        let stored = data_encoding::HEXLOWER.encode(secret.hash().as_bytes());
        insta::assert_snapshot!(format!("{id} {stored}"), @"mempi2kwoj 6118f46956726337787db90cbdf71c79468028eb057e8bdb7dfe7624464b0ca6");
    }

    #[test]
    fn an_opaque_key_is_long_visible_and_no_token() {
        for right in ["a".repeat(20), "~".repeat(128)] {
            let (id, secret) = opaque(&right).unwrap();
            assert_eq!(credential(&right), Ok((id, secret.clone())));
            assert!(
                !secret
                    .hash()
                    .fits(&opaque(&("b".to_owned() + &right[1..])).unwrap().1)
            );
        }
        let token = token().reveal();
        for wrong in [
            "a".repeat(19),
            "a".repeat(129),
            "a".repeat(20) + " ",
            "\u{e4}".repeat(10),
            token.clone(),
            token[..70].to_owned(),
        ] {
            assert_eq!(opaque(&wrong), Err(OpaqueError), "{wrong}");
        }
        assert_eq!(credential(&token[..70]), Err(TokenError::Format));
        assert_eq!(credential(&token).unwrap().0, *super::tests::token().id());
    }

    #[test]
    fn only_the_right_secret_matches_a_hash() {
        assert!(token().secret().hash().fits(token().secret()));
        assert!(!token().secret().hash().fits(&Secret::from_random([43; 32])));
    }

    proptest! {
        #[test]
        fn tokens_read_back(id: [u8; 7], secret: [u8; 32]) {
            let token = Token::new(KeyId::from_random(id), Secret::from_random(secret));
            prop_assert_eq!(token.reveal().parse(), Ok(token));
        }

        #[test]
        fn no_string_panics(text in "\\PC*|hbk_[a-z2-7]{10}_.{59}|hbk_[a-z2-7]{10}_[a-z0-9]{59}") {
            let _ = text.parse::<Token>();
            let _ = credential(&text);
        }
    }
}
