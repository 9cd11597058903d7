//! Notices for machines.

use serde_json::{Value, json};

use super::{About, Notice, NoticeHost, Subject};
use crate::acknowledgement::Note;
use crate::host::HostKey;
use crate::transition::Caveat;

impl Notice {
    /// The JSON for machines, in the format of `version` 1; at most [`limits::NOTICE_BYTES`](crate::limits::NOTICE_BYTES).
    /// A digest lists each of its hosts in short form.
    #[must_use]
    pub fn json(&self) -> Value {
        let hosts: Vec<_> = match &self.about {
            About::Host(host) => vec![long(host)],
            About::Digest(members) => members
                .iter()
                .map(|member| {
                    let mut json =
                        json!({"hostId": member.host, "since": member.since.to_string()});
                    add(&mut json, "back", member.back.then_some(true));
                    add(&mut json, "failing", member.failing.then_some(true));
                    add(&mut json, "message", member.reason.clone());
                    json
                })
                .collect(),
        };
        let mut json = json!({
            "version": 1,
            "id": self.id,
            "attempt": self.attempt,
            "kind": self.kind,
            "severity": self.severity(),
            "fleet": self.fleet,
            "count": self.count(),
            "hosts": hosts,
            "digest": matches!(self.about, About::Digest(_)),
            "at": self.at.to_string(),
            "text": self.text(),
        });
        let caveat = self.caveat.as_ref().map(|caveat| match caveat {
            Caveat::RegionUnreachable(region) => json!({"regionUnreachable": region}),
            Caveat::ReceiverDown => json!("receiverDown"),
            Caveat::Blackout(blackout) => json!({"blackout": {
                "since": blackout.since.to_string(), "until": blackout.until.to_string(),
            }}),
        });
        add(&mut json, "caveat", caveat);
        let sites = (!self.sites.is_empty()).then(|| json!(self.sites));
        add(&mut json, "sites", sites);
        add(
            &mut json,
            "reminder",
            self.reminder.map(|reminder| json!(reminder)),
        );
        let follows = self.follows.as_ref().map(|sent| json!(sent.id));
        add(&mut json, "follows", follows);
        add(&mut json, "test", self.test.then_some(true));
        json
    }

    /// The notice that some JSON describes, and the attempt; `None` when it describes none.
    #[must_use]
    pub fn read_subject(json: &Value) -> Option<(Subject, u32)> {
        let attempt = json.get("attempt")?.as_u64()?.try_into().ok()?;
        let id = json.get("id")?.as_str()?.parse().ok()?;
        let subject = if json.get("digest")?.as_bool()? {
            Subject::Digest(id)
        } else {
            let host = json.get("hosts")?.get(0)?;
            let fleet = json.get("fleet")?.as_str()?.parse().ok()?;
            let key = HostKey::new(fleet, host.get("hostId")?.as_str()?.parse().ok()?);
            Subject::Host(key, host.get("epoch")?.as_u64()?, id)
        };
        Some((subject, attempt))
    }
}

fn long(host: &NoticeHost) -> Value {
    let NoticeHost {
        host_id,
        since,
        last_beat,
        grace,
        epoch,
        message,
        flapping,
        details,
        ..
    } = host;
    let mut json = json!({
        "hostId": host_id,
        "since": since.to_string(),
        "lastBeat": last_beat.to_string(),
        "intervalMs": host.timing().usual_millis(),
        "epoch": epoch,
        "message": message,
    });
    add(&mut json, "graceMs", grace.map(u64::from));
    let flapping = flapping
        .map(|flapping| json!({"times": flapping.times, "since": flapping.since.to_string()}));
    add(&mut json, "flapping", flapping);
    add(&mut json, "note", details.note.as_ref().map(Note::as_str));
    let tags = (!details.tags.is_empty()).then(|| json!(details.tags));
    add(&mut json, "tags", tags);
    json
}

/// Adds a member that is only there when it says something.
fn add(json: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let (Some(members), Some(value)) = (json.as_object_mut(), value) {
        members.insert(name.to_owned(), value.into());
    }
}
