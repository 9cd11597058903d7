//! The token of a key.

use hb_domain::{KeyId, Secret, Token, TokenError, credential, opaque};

/// Reads any text as a token, and finds any changed character of a right one.
pub fn token(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        read(text);
    }
    if let Some((random, rest)) = data.split_first_chunk() {
        mistyped(*random, rest);
    }
}

fn read(text: &str) {
    let found = credential(text);
    assert!(
        text.parse::<Token>().is_err() || opaque(text).is_err(),
        "a key of one kind"
    );
    assert_eq!(
        found.is_ok(),
        text.parse::<Token>().is_ok() || opaque(text).is_ok()
    );
    match text.parse::<Token>() {
        Ok(token) => {
            assert_eq!(token.reveal(), text, "one key, one token");
            assert_eq!(*token.id(), token.id().as_str().parse().expect("an id"));
            assert!(token.secret().hash().fits(token.secret()));
            assert!(!format!("{token:?}").contains(&text[15..]));
        }
        Err(TokenError::Checksum) => assert_eq!(text.len(), 74),
        Err(TokenError::Format) => {}
    }
}

/// One byte of a right token is replaced, then two neighbours change places.
fn mistyped(random: [u8; 39], rest: &[u8]) {
    let id = KeyId::from_random(std::array::from_fn(|i| random[i]));
    let secret = Secret::from_random(std::array::from_fn(|i| random[i + 7]));
    let right = Token::new(id, secret).reveal();
    assert_eq!(right.parse::<Token>().expect("a token").reveal(), right);
    let [at, byte, ..] = *rest else { return };
    let at = usize::from(at) % right.len();
    let mut replaced = right.clone().into_bytes();
    replaced[at] = byte;
    let mut swapped = right.clone().into_bytes();
    swapped.swap(at, (at + 1) % right.len());
    for wrong in [replaced, swapped] {
        if let Ok(wrong) = String::from_utf8(wrong)
            && wrong != right
        {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
    }
}
