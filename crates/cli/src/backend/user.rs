//! Who runs this command, as the operating system knows it.

use async_trait::async_trait;
use hb_domain::Who;
use hb_service::ports::{Identity, PortResult};

/// The user of this process. As trustworthy as the machine: whoever is root there can be anybody.
pub(crate) struct SystemUser;

#[async_trait]
impl Identity for SystemUser {
    async fn who(&self) -> PortResult<Who> {
        let sudo = std::env::var_os("SUDO_USER").unwrap_or_default();
        Ok(named(&user(), &machine(), &sudo.to_string_lossy()))
    }
}

/// `user@machine`. The variable of sudo is only said to be there: anybody can set it.
fn named(user: &str, machine: &str, sudo: &str) -> Who {
    let who = format!("{user}@{machine}");
    match sudo {
        "" => Who::new(&who),
        sudo => Who::new(&format!("{who} (SUDO_USER {sudo})")),
    }
}

/// The name of the process's user, not that of the environment.
#[cfg(unix)]
fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    uzers::get_user_by_uid(uid).map_or_else(
        || format!("uid-{uid}"),
        |user| user.name().to_string_lossy().into_owned(),
    )
}

#[cfg(unix)]
fn machine() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn user() -> String {
    std::env::var("USERNAME").unwrap_or_default()
}

#[cfg(not(unix))]
fn machine() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_users_and_what_sudo_says_is_marked() {
        for (sudo, expected) in [
            ("", "heartbeat@db-1"),
            ("alice", "heartbeat@db-1 (SUDO_USER alice)"),
            (
                "a\nroot@db\u{1b}[2J",
                "heartbeat@db-1 (SUDO_USER a root@db [2J)",
            ),
        ] {
            assert_eq!(named("heartbeat", "db-1", sudo).to_string(), expected);
        }
    }
}
