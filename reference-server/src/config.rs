//! The configuration: flags, their defaults, and the address to listen on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// What the service can be told. Durations are written like `20s`, `1m 30s`, `250ms`.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Where to listen: `:8080` and `8080` are that port of every interface, port 0 is any free one.
    #[arg(long, env = "PORT", default_value = ":8080", value_name = "ADDRESS")]
    pub listen: Listen,

    /// How long new connections are still served after the signal, though readiness has failed.
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    pub lame_duck: Duration,

    /// How long requests in process and job turns may take after that, all together.
    #[arg(long, default_value = "20s", value_name = "DURATION", value_parser = parse_duration)]
    pub shutdown_timeout: Duration,

    /// How long a turn of the background job takes; `0s` is for no such job.
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = parse_duration)]
    pub background_job: Duration,

    /// How long a turn of the heavy background job takes; `0s` is for no such job.
    #[arg(long, default_value = "15s", value_name = "DURATION", value_parser = parse_duration)]
    pub heavy_job: Duration,

    /// How long, once new ones are refused, a client may neither send nor take what is waited for.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = parse_duration)]
    pub stall_timeout: Duration,
}

/// The longest duration accepted, so that no deadline is beyond what the clock can tell.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        Ok(_) => Err("at most one day is possible".to_owned()),
        Err(error) => Err(format!("{error}, expected something like `20s` or `250ms`")),
    }
}

/// An address to listen on; without a host it is every interface, IPv6 and IPv4, as in Go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listen {
    host: Option<IpAddr>,
    port: u16,
}

impl Listen {
    /// The socket addresses to try, in this order, until one can be bound.
    #[must_use]
    pub fn candidates(self) -> Vec<SocketAddr> {
        match self.host {
            Some(host) => vec![SocketAddr::new(host, self.port)],
            None => vec![
                SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), self.port),
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.port),
            ],
        }
    }
}

impl FromStr for Listen {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Self, ParseListenError> {
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            return Ok(Self { host: None, port });
        }
        let address: SocketAddr = text.parse().map_err(|_| ParseListenError)?;
        Ok(Self { host: Some(address.ip()), port: address.port() })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(host) => SocketAddr::new(host, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// The text is no address to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseListenError;

impl fmt::Display for ParseListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `:8080`, `8080`, `127.0.0.1:8080` or `[::1]:8080`")
    }
}

impl std::error::Error for ParseListenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_accepts_ports_and_addresses() {
        for (text, shown, first) in [
            (":8080", ":8080", "[::]:8080"),
            ("8080", ":8080", "[::]:8080"),
            ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80", "[::1]:80"),
        ] {
            let listen: Listen = text.parse().expect(text);
            assert_eq!(listen.to_string(), shown);
            assert_eq!(listen.candidates()[0].to_string(), first);
        }
        for text in ["", ":", "localhost", "65536", "127.0.0.1", "1.2.3.4:x"] {
            assert_eq!(text.parse::<Listen>(), Err(ParseListenError), "{text}");
        }
    }
}
