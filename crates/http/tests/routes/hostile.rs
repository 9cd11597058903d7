//! No request, whatever its bytes, may cause a panic or a 5xx.

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;

use crate::world::{MAIN, World, token};

fn bytes(pattern: &'static str) -> impl Strategy<Value = Vec<u8>> {
    pattern.prop_map(String::into_bytes)
}

fn uri() -> impl Strategy<Value = Vec<u8>> {
    const STARTS: &[&str] = &[
        "/v1/heartbeat/",
        "/v1/heartbeat",
        "/v1/hearbeat",
        "/v1/status",
        "/",
    ];
    const PATH: &str = "(web|%[0-9a-f]{2}|/|fail|-?[0-9]{1,20}){0,6}";
    const PARAMETERS: &str =
        r"\?((hostId|intervalMs|status|message)=(ok|fail|[0-9]{0,12}|%[0-9a-f]{2})&){0,5}";
    let rest = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        bytes("[a-z0-9%/?&=+.:@~-]{0,60}"),
        (bytes(PATH), bytes(PARAMETERS)).prop_map(|(path, parameters)| [path, parameters].concat()),
    ];
    (prop::sample::select(STARTS), rest)
        .prop_map(|(start, rest)| [start.as_bytes(), &rest].concat())
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    const MEMBERS: &str = r#"(, ?"(hostId|intervalMs|status|message|x)": ?("\PC{0,20}"|-?[0-9.e]{1,20}|null|\[\])){0,3}"#;
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        bytes(r#"[{}\[\]":,\\uda80-9nt \n]{0,200}"#),
        bytes(MEMBERS).prop_map(|members| [br#"{"y": 0"#, members.as_slice(), b"}"].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_request_causes_a_panic_or_a_5xx(
        method in prop::sample::select(&["GET", "POST", "PUT", "HEAD", "DELETE", "X"]),
        uri in uri(),
        body in body(),
    ) {
        let Ok(uri) = axum::http::Uri::try_from(uri) else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(async {
            let request = Request::builder().method(method).uri(uri).header("x-api-key", token(MAIN));
            World::new().await.send(request.body(Body::from(body)).unwrap()).await
        });
        prop_assert!([200, 400, 404, 405].contains(&answer.status.as_u16()), "{}", answer.full());
        prop_assert_eq!(&answer.headers["cache-control"], "no-store");
        prop_assert_eq!(answer.body.is_empty(), method == "HEAD");
    }
}
