//! Whole requests.

use crate::world::{RequestText, World, run};

/// Sends any request. Only what is answered with 200 is stored, of no host that its key does not cover.
pub fn router(data: &[u8]) {
    let Some(text) = RequestText::parse(data) else {
        return;
    };
    run(async {
        let world = World::new().await;
        let Some(request) = text.request() else {
            return;
        };
        let status = request.uri().path() == "/v1/status";
        let answer = world.send(request).await;
        let stored = world.stored().await;
        assert_eq!(stored.is_some(), answer.status == 200 && !status);
        if let Some((host, heartbeat)) = stored {
            let id = heartbeat.key.map(|key| key.to_string());
            let [all, web, canary] = [1, 2, 4].map(|number| Some(crate::world::id(number)));
            let ours = host.starts_with("hb:");
            assert!(
                id == all && !ours
                    || id == web && (host == "web" || host.starts_with("web"))
                    || id == canary && ours,
                "{id:?} {host}"
            );
        }
    });
}
