//! Counts the requests that are lost when a server under load is terminated; slow, hence ignored.
//!
//! `TRIALS=500 cargo test -p reference-server --release --test stress -- --ignored --nocapture`

mod common;

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Response, Server};
use nix::sys::signal::Signal;

const CLIENTS: usize = 8;

/// What one client, or all of them, saw.
#[derive(Default)]
struct Outcome {
    answered: usize,
    /// Requests without a complete response: when their write had returned, and what came instead.
    losses: Vec<(Instant, String)>,
    /// Connections closed by the server without a `Connection: close` before.
    unannounced: usize,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.losses.extend(other.losses);
        self.unannounced += other.unannounced;
    }
}

/// Terminates a server under a closed loop of clients at a moment that the seed decides; returns
/// what they saw, and the time just before the signal.
fn trial(seed: u64, client: fn(SocketAddr) -> Outcome) -> (Outcome, Instant) {
    let mut server = Server::start(&[]);
    let address = server.address;
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| std::thread::spawn(move || client(address))).collect();
    std::thread::sleep(Duration::from_micros(5_000 + seed.wrapping_mul(7_919) % 10_000));
    let before = Instant::now();
    server.signal(Signal::SIGTERM);
    let mut outcome = Outcome::default();
    for client in clients {
        outcome.add(client.join().expect("no panic"));
    }
    server.wait_gracefully();
    (outcome, before)
}

fn stress(name: &str, client: fn(SocketAddr) -> Outcome) {
    let trials = std::env::var("TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let mut total = Outcome::default();
    let (mut sent_before, mut sent_later) = (Vec::new(), Vec::new());
    for seed in 0..trials {
        let (mut outcome, signal) = trial(seed, client);
        for (sent, what) in outcome.losses.drain(..) {
            if sent < signal { &mut sent_before } else { &mut sent_later }.push((seed, what));
        }
        total.add(outcome);
    }
    println!(
        "{name}: {trials} trials, {} answered; lost: {} sent before the signal, {} later; \
         {} closes not announced",
        total.answered,
        sent_before.len(),
        sent_later.len(),
        total.unannounced,
    );
    println!("before: {sent_before:?}, later: {sent_later:?}");
    assert!(sent_before.is_empty());
}

fn ask(client: &mut Client, request: &[u8], outcome: &mut Outcome) -> Option<Response> {
    let written = client.reader.get_mut().write_all(request);
    let sent = Instant::now();
    match written.map_err(|error| error.to_string()).and_then(|()| client.try_response()) {
        Ok(response) => {
            outcome.answered += 1;
            Some(response)
        }
        Err(error) => {
            outcome.losses.push((sent, error));
            None
        }
    }
}

/// A new connection, unless refused. A SYN that finds the filter gets no answer for a second: that
/// is a refusal too.
fn connect(address: SocketAddr) -> Option<Client> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Some(Client { reader: BufReader::new(stream) })
}

/// Connects anew for each request until refused.
fn reconnecting(address: SocketAddr) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(mut client) = connect(address) {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        ask(&mut client, request, &mut outcome);
    }
    outcome
}

/// Sends request after request on one connection until it ends.
fn reusing(address: SocketAddr) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(mut client) = connect(address) else {
        return outcome; // Started after the signal.
    };
    loop {
        match ask(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut outcome) {
            Some(response) if response.header("connection").as_deref() == Some("close") => break,
            Some(_) => {}
            None => {
                outcome.unannounced += 1;
                break;
            }
        }
    }
    outcome
}

#[test]
#[ignore = "takes minutes"]
fn reconnecting_clients_lose_nothing() {
    stress("reconnecting", reconnecting);
}

#[test]
#[ignore = "takes minutes"]
fn keep_alive_clients_lose_nothing() {
    stress("keep-alive", reusing);
}

/// Where a connection is when the server stands still.
#[derive(Clone, Copy)]
enum Place {
    /// Accepted, and used before.
    Kept,
    /// Accepted.
    Fresh,
    /// Waiting to be accepted.
    Queued,
}

const WHOLE: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: [&str; 2] = ["GET / HTTP/1.1\r\nHo", "st: a\r\n\r\n"];
const BODY: [&str; 2] = ["POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo", "dy"];

/// What is sent on a connection before the server is frozen, while it is, and after the signal.
const STATES: [(Place, [&str; 3]); 15] = [
    (Place::Kept, ["", "", ""]),
    (Place::Kept, ["", "", WHOLE]),
    (Place::Kept, ["", WHOLE, ""]),
    (Place::Kept, ["", HEAD[0], HEAD[1]]),
    (Place::Fresh, ["", "", ""]),
    (Place::Fresh, ["", "", WHOLE]),
    (Place::Fresh, ["", WHOLE, ""]),
    (Place::Fresh, [HEAD[0], "", HEAD[1]]),
    (Place::Fresh, [HEAD[0], HEAD[1], ""]),
    (Place::Fresh, [BODY[0], "", BODY[1]]),
    (Place::Queued, ["", "", ""]),
    (Place::Queued, ["", "", WHOLE]),
    (Place::Queued, ["", WHOLE, ""]),
    (Place::Queued, ["", HEAD[0], HEAD[1]]),
    (Place::Queued, ["", BODY[0], BODY[1]]),
];

/// Terminates a server that stands still with connections in all these states; returns those that
/// were not answered though part of a request had come, or that were reset.
fn frozen_trial(seed: u64) -> Vec<String> {
    let mut server = Server::start(&[]);
    let mut clients = STATES.map(|(place, sent)| {
        let mut client = (!matches!(place, Place::Queued)).then(|| server.connect());
        if let (Place::Kept, Some(client)) = (place, &mut client) {
            client.get("/");
            client.response().expect_whole();
        }
        client.iter_mut().for_each(|client| client.send(sent[0]));
        client
    });
    let mut last = server.connect(); // Accepted after all others.
    last.get("/");
    last.response().expect_whole();
    server.freeze();
    for (client, (_, sent)) in clients.iter_mut().zip(STATES) {
        client.get_or_insert_with(|| server.connect()).send(sent[1]);
    }
    let signal = if seed.is_multiple_of(2) { Signal::SIGTERM } else { Signal::SIGINT };
    server.signal(signal);
    std::thread::sleep(Duration::from_millis([0, 150, 1000][seed as usize % 3]));
    server.signal(Signal::SIGCONT);
    std::thread::sleep(Duration::from_millis([0, 20][seed as usize / 3 % 2]));
    for (client, (_, sent)) in clients.iter_mut().flatten().zip(STATES) {
        let _ = client.reader.get_mut().write_all(sent[2].as_bytes()); // Reading tells what came of it.
    }
    let mut lost = Vec::new();
    for (number, (client, (_, sent))) in clients.iter_mut().flatten().zip(STATES).enumerate() {
        let owed = !(sent[0].is_empty() && sent[1].is_empty());
        match client.try_response() {
            Ok(_) => client.expect_end(),
            Err(error) if owed || !error.starts_with("end of file after 0 ") => {
                lost.push(format!("seed {seed}, state {number}: {error}"));
            }
            Err(_) => {}
        }
    }
    drop((clients, last));
    server.wait_gracefully();
    lost
}

#[test]
#[ignore = "takes minutes"]
fn nothing_that_lies_in_the_kernel_is_lost() {
    let trials = std::env::var("TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let lost: Vec<_> = (0..trials).flat_map(frozen_trial).collect();
    println!("frozen: {trials} trials of {} connections; lost or reset: {lost:?}", STATES.len());
    assert!(lost.is_empty());
}
