//! Where a target listens: on a TCP port, or on a unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a target listens, as histories and reports write it: `127.0.0.1:8080`, or
/// `unix:/run/x.sock` (unix(7)); a path that begins with `@` is an abstract name.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum ServerAddress {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl ServerAddress {
    /// The TCP address; the kernel shows nothing of what goes on behind others.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            ServerAddress::Tcp(address) => Some(*address),
            ServerAddress::Unix(_) => None,
        }
    }

    /// What a client writes into `Host` (RFC 9110, section 7.2); as curl does, `localhost` for a unix
    /// socket, which has no name.
    pub fn host(&self) -> String {
        match self {
            ServerAddress::Tcp(address) => address.to_string(),
            ServerAddress::Unix(_) => "localhost".into(),
        }
    }

    /// The address as people write it to ask for its first page.
    pub fn url(&self) -> String {
        match self {
            ServerAddress::Tcp(_) => self.page("/"),
            ServerAddress::Unix(_) => self.to_string(),
        }
    }

    /// One of its pages, as people write it.
    pub fn page(&self, path: &str) -> String {
        match self {
            ServerAddress::Tcp(address) => format!("http://{address}{path}"),
            ServerAddress::Unix(_) => format!("{self} {path}"),
        }
    }
}

/// The name of a unix socket as the kernel has it: an abstract one begins with a zero byte where
/// people write `@` (unix(7)).
pub fn kernel_name(path: &Path) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) => PathBuf::from(format!("\0{name}")),
        None => path.to_owned(),
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        ServerAddress::Tcp(address)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Tcp(address) => write!(f, "{address}"),
            ServerAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("a unix socket has a path: unix:/run/x.sock".into()),
            Some(path) => Ok(ServerAddress::Unix(path.into())),
            None => text
                .parse()
                .map(ServerAddress::Tcp)
                .map_err(|_| format!("{text:?} is neither ADDRESS:PORT nor unix:/PATH")),
        }
    }
}

impl TryFrom<String> for ServerAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ServerAddress> for String {
    fn from(address: ServerAddress) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:8080", "[::1]:80", "unix:/run/x.sock", "unix:@name"] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let json = serde_json::to_string(&address).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<ServerAddress>(&json).unwrap(), address);
        }
        assert!("unix:".parse::<ServerAddress>().is_err());
        assert!("localhost".parse::<ServerAddress>().is_err());
    }
}
