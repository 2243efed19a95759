//! Which network a user wants: `user`, with ports that are forwarded, `tap=NAME` or `feed=FILE`.

use super::user::Forward;
use super::{Feed, Link, Tap, User};
use std::path::PathBuf;
use std::str::FromStr;

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// A gateway to this host's loopback interface, in our own process.
    User(Vec<Forward>),
    /// A tap interface of this host.
    Tap(String),
    /// What was captured.
    Feed(PathBuf),
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("tap=") {
            return Ok(Self::Tap(name.into()));
        }
        if let Some(file) = text.strip_prefix("feed=") {
            return Ok(Self::Feed(file.into()));
        }
        let mut words = text.split(',');
        if words.next() != Some("user") {
            return Err("it is one of user[,forward=HOSTPORT:GUESTPORT...], tap=NAME, feed=FILE".into());
        }
        words.map(forward).collect::<Result<_, _>>().map(Self::User)
    }
}

fn forward(word: &str) -> Result<Forward, String> {
    let ports = word.strip_prefix("forward=").and_then(|ports| ports.split_once(':'));
    let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
    ports.and_then(|(host, guest)| Some(Forward { host: port(host)?, guest: port(guest)? })).ok_or_else(
        || format!("`{word}`: behind `user` stands forward=HOSTPORT:GUESTPORT, ports from 1 to 65535"),
    )
}

impl Network {
    /// Opens it.
    pub fn open(&self) -> Result<Box<dyn Link>, String> {
        Ok(match self {
            Self::User(forwards) => Box::new(User::new(forwards)?),
            Self::Tap(name) => Box::new(Tap::open(name).map_err(|e| format!("the interface {name}: {e}"))?),
            Self::Feed(file) => Box::new(Feed::open(file).map_err(|e| format!("{}: {e}", file.display()))?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_as_people_write_it() {
        assert_eq!("user".parse(), Ok(Network::User(Vec::new())));
        let forwards = vec![Forward { host: 8080, guest: 80 }, Forward { host: 1, guest: 65535 }];
        assert_eq!("user,forward=8080:80,forward=1:65535".parse(), Ok(Network::User(forwards)));
        assert_eq!("tap=tap0".parse(), Ok(Network::Tap("tap0".into())));
        assert_eq!("feed=a,b.pcap".parse(), Ok(Network::Feed("a,b.pcap".into())));
        for wrong in
            ["", "bridge", "user,", "user,forward=80", "user,forward=0:80", "user,forward=1:65536", "users"]
        {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
