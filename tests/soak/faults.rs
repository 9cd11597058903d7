//! What breaks in the middle of a soak, and is mended a while later.

use std::time::Duration;

use rustix::process::{Pid, Resource, getrlimit, prlimit};

use crate::fleet::Fleet;
use crate::server::Server;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody reads what the server prints.
    Pipe,
    /// The clock is an hour ahead.
    Clock,
    /// The server can open no file, and accept no connection.
    Descriptors,
    /// The disk is full.
    Disk,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Pipe, Self::Clock, Self::Descriptors, Self::Disk];

    /// Whether beats must be answered meanwhile.
    pub(crate) fn lets_beats_in(self) -> bool {
        matches!(self, Self::Pipe | Self::Clock)
    }

    pub(crate) async fn strike(self, server: &Server, fleet: &Fleet, duration: Duration) {
        match self {
            Self::Pipe => {
                server.read_output(false);
                tokio::time::sleep(duration).await;
                server.read_output(true);
            }
            Self::Clock => {
                server.set_clock(3_600);
                tokio::time::sleep(duration).await;
                server.set_clock(0);
            }
            Self::Descriptors => {
                let pid = Pid::from_raw(server.pid().cast_signed());
                let mut limit = getrlimit(Resource::Nofile);
                limit.current = Some(16);
                let before = prlimit(pid, Resource::Nofile, limit).unwrap();
                tokio::time::sleep(duration).await;
                prlimit(pid, Resource::Nofile, before).unwrap();
            }
            Self::Disk => {
                let ballast = server.data().join("ballast");
                // Until the disk is full.
                let _ = std::fs::write(&ballast, vec![0; crate::server::DISK_BYTES]);
                // Beats of known hosts need no room for long, because the log of SQLite is written again.
                fleet.grow(true);
                tokio::time::sleep(duration).await;
                fleet.grow(false);
                std::fs::remove_file(ballast).unwrap();
            }
        }
    }
}
