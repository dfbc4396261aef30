//! Where the target listens: taken apart from URLs, and only ever on this machine.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use serde::{Serialize, Serializer};

use super::Layers;
use crate::cli::error::UsageError;
use crate::cli::values;
use crate::model::secrets::hidden_text;

/// The longest path of a unix socket, without the zero byte at its end (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// A host of this machine, and a port where one is given; or a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `127.0.0.1`, `::1` (without brackets), `localhost` or another loopback address.
    pub host: String,
    /// The port; where absent, the harness hands one over or finds out.
    pub port: Option<u16>,
    /// The path of a unix socket, in place of both; `{port}` in it stands for a trial's number of
    /// its own.
    pub socket: Option<String>,
}

impl Default for Address {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.to_string(), port: None, socket: None }
    }
}

impl Address {
    /// Whether nothing was said about it.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Whether both name the same interface, as far as that can be known without a resolver.
    fn same_host(&self, other: &Self) -> bool {
        let literal = |host: &str| match host {
            "localhost" => Ipv4Addr::LOCALHOST.to_string(),
            host => host.to_owned(),
        };
        literal(&self.host) == literal(&other.host) && self.socket == other.socket
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(socket) = &self.socket {
            return serializer.collect_str(&format_args!("unix:{socket}"));
        }
        let port = self.port.map_or("{port}".to_owned(), |port| port.to_string());
        let (left, right) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        serializer.collect_str(&format_args!("http://{left}{}{right}:{port}", self.host))
    }
}

/// What the settings say of where the target listens.
pub(super) struct Found {
    pub(super) address: Address,
    pub(super) ready_path: Option<String>,
}

/// The address and the readiness path of the strongest layers that name them.
pub(super) fn resolve(layers: &Layers<'_>) -> Result<Found, UsageError> {
    let file_port = layers.file.port.as_ref().map(|port| port.get_ref().get());
    let places = [
        (layers.line.start.port, layers.line.start.url.as_deref()),
        (layers.env.start.port, layers.env.start.url.as_deref()),
        (file_port, layers.file.url.as_deref()),
    ];
    let url = places.iter().find_map(|(_, url)| *url).map(parse).transpose()?;
    let mut address = url.as_ref().map(|(address, _)| address.clone()).unwrap_or_default();
    // A port outweighs the URL of a weaker layer, whose host and path stay.
    if let Some((Some(port), _)) =
        places.iter().find(|(port, url)| port.or(url.map(|_| 0)).is_some())
    {
        (address.port, address.socket) = (Some(*port), None);
    }
    let ready_url = super::first(
        layers.line.start.ready_url.as_deref(),
        layers.env.start.ready_url.as_deref(),
        layers.file.ready_url.as_deref(),
    );
    let ready_path = match ready_url {
        Some(text) => Some(ready_path(text, &mut address, url.is_some())?),
        None => None,
    };
    Ok(Found { address, ready_path })
}

/// The path of the readiness URL, which may be what tells the port.
fn ready_path(text: &str, address: &mut Address, placed: bool) -> Result<String, UsageError> {
    if text.starts_with('/') {
        return values::path(text).map_err(|reason| refused(text, reason));
    }
    let (ready, path) = parse(text)?;
    let same_port = ready.port.is_none() || address.port.is_none() || ready.port == address.port;
    if placed && !address.same_host(&ready) || !same_port {
        let reason = "readiness is asked for where the target listens: give a path alone";
        return Err(refused(text, reason.into()));
    }
    if !placed {
        (address.host, address.socket) = (ready.host, ready.socket);
    }
    address.port = address.port.or(ready.port);
    Ok(path.unwrap_or_else(|| "/".into()))
}

/// Host and port, and the path where the URL has more than `/`.
pub(super) fn parse(url: &str) -> Result<(Address, Option<String>), UsageError> {
    taken_apart(url).map_err(|reason| refused(url, reason))
}

/// The error, in which neither a password nor a token of the URL is repeated.
fn refused(url: &str, reason: String) -> UsageError {
    let shown = match url.split_once("//").and_then(|(_, rest)| rest.rsplit_once('@')) {
        Some((_, rest)) => format!("…@{}", hidden_text(rest)),
        None => hidden_text(url),
    };
    UsageError::Url { url: shown, reason }
}

fn taken_apart(url: &str) -> Result<(Address, Option<String>), String> {
    let lower = url.to_ascii_lowercase();
    if lower.starts_with("https://") {
        return Err("https is not spoken yet: name a port of the target that speaks http".into());
    }
    if let Some(path) = url.strip_prefix("unix:") {
        return Ok((of_socket(path.strip_prefix("//").unwrap_or(path))?, None));
    }
    if lower.starts_with("http+unix://") {
        return with_page(&url["http+unix://".len()..]);
    }
    if !lower.starts_with("http://") {
        return Err("it has to begin with http:// or unix:, as in http://127.0.0.1:8080/ or \
                    unix:/run/x.sock"
            .into());
    }
    let rest = &url["http://".len()..];
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = match path {
        "" | "/" => None,
        path if path.starts_with('/') => Some(values::path(path)?),
        path => Some(values::path(&format!("/{path}"))?),
    };
    if authority.contains('@') {
        return Err("user and password don't go there: use --header 'Authorization: …'".into());
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !loopback && !host.eq_ignore_ascii_case("localhost") {
        return Err(format!(
            "{host:?} is not this machine: the target is started here, so use 127.0.0.1, \
             [::1] or localhost"
        ));
    }
    let port = match port {
        None | Some("") => Some(80),
        Some("{port}") => None,
        Some(text) => match text.parse::<NonZeroU16>() {
            Ok(port) => Some(port.get()),
            Err(_) => return Err(format!("{text:?} is no port: use 1 to 65535, or {{port}}")),
        },
    };
    Ok((Address { host: host.to_ascii_lowercase(), port, socket: None }, path))
}

/// A unix socket by its path, or by its abstract name.
fn of_socket(path: &str) -> Result<Address, String> {
    if !path.starts_with(['/', '@']) {
        return Err(format!("{path:?} is no absolute path: write unix:/run/server-{{port}}.sock"));
    }
    // A port has five digits at most.
    let longest = path.replace("{port}", "65535");
    if longest.len() > SOCKET_PATH_MAX {
        return Err(format!(
            "the path of a unix socket has {SOCKET_PATH_MAX} bytes at most (unix(7)), and this one \
             {}",
            longest.len()
        ));
    }
    Ok(Address { socket: Some(path.into()), ..Address::default() })
}

/// The rest of `http+unix://%2Frun%2Fx.sock/page`.
fn with_page(rest: &str) -> Result<(Address, Option<String>), String> {
    let (socket, page) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let page = match page {
        "" | "/" => None,
        page => Some(values::path(page)?),
    };
    let decoded = percent_encoding::percent_decode_str(socket).decode_utf8();
    let socket = decoded.map_err(|_| format!("{socket:?} is no path"))?;
    Ok((of_socket(&socket)?, page))
}
