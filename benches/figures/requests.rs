//! Requests per second of the load engine, each of them recorded, beside wrk.

use std::error::Error;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use shutdown_check::load::clients::{Clients, Stage};
use shutdown_check::load::request::PreparedRequest;
use shutdown_check::model::event::{Event, EventKind, RequestEnd};
use shutdown_check::model::plan::{Arrivals, LoadShape};
use shutdown_check::model::target::RequestTemplate;
use shutdown_check::observe::recorder::Recorder;
use tokio::task::{JoinSet, LocalSet};

use super::Outcome;
use super::bundled::ReferenceServer;
use super::samples::{Samples, number};

const CONNECTIONS: u16 = 64;
const SECONDS: u64 = 3;
const PAIRS: usize = 5;

/// How fast one of the two was, and what it took of the processor.
struct Measured {
    per_second: f64,
    cpu_us_each: f64,
}

/// Runs the engine and wrk in turns against one server: a closed loop without pauses on kept
/// connections, in one thread.
///
/// The time on the processor, user's and system's, is for each request; it changes less with what
/// else the machine does than the rate.
pub(crate) fn measure() -> Outcome {
    let server = ReferenceServer::start()?;
    println!("GET / of the reference server, {CONNECTIONS} connections, {SECONDS} s each");
    println!("  pair   engine/s  wrk -t1/s     ratio   engine CPU us     wrk CPU us");
    let mut rates = Vec::new();
    let mut ratios = Vec::new();
    for pair in 1..=PAIRS {
        // Whoever comes second finds another machine than the first: they take turns.
        let (engine, wrk) = if pair % 2 == 1 {
            let engine = engine(&server)?;
            (engine, wrk(&server)?)
        } else {
            let wrk = wrk(&server)?;
            (engine(&server)?, wrk)
        };
        let ratio = wrk.as_ref().map(|wrk| engine.per_second / wrk.per_second);
        let shown = |value: Option<f64>| value.map_or("-".into(), number);
        println!(
            "  {pair:<4}{:>11}{:>11}{:>10}{:>16}{:>15}",
            number(engine.per_second),
            shown(wrk.as_ref().map(|wrk| wrk.per_second)),
            shown(ratio),
            number(engine.cpu_us_each),
            shown(wrk.as_ref().map(|wrk| wrk.cpu_us_each)),
        );
        rates.push(engine.per_second);
        ratios.extend(ratio);
    }
    let (rates, ratios) = (Samples::new(rates), Samples::new(ratios));
    match ratios.count() {
        0 => println!("  median {}; wrk can't be run here", number(rates.median())),
        _ => println!("  median ratio {}; aim: at least 1", number(ratios.median())),
    }
    Ok(())
}

fn engine(server: &ReferenceServer) -> Result<Measured, Box<dyn Error>> {
    let before = cpu_us(UsageWho::RUSAGE_SELF)?;
    let events = load(server, Duration::from_secs(SECONDS))?;
    let cpu = cpu_us(UsageWho::RUSAGE_SELF)? - before;
    let answered = events.iter().filter(|event| is_answer(event)).count() as f64;
    Ok(Measured { per_second: answered / SECONDS as f64, cpu_us_each: cpu / answered })
}

/// The time that this process, or its children that have ended, had a processor.
fn cpu_us(who: UsageWho) -> Result<f64, Box<dyn Error>> {
    let usage = getrusage(who)?;
    let us = |time: TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

fn is_answer(event: &Event) -> bool {
    matches!(&event.kind, EventKind::Request(request) if request.end == RequestEnd::Complete)
}

/// What the clients of a trial record within this time.
pub(crate) fn load(server: &ReferenceServer, time: Duration) -> Result<Vec<Event>, Box<dyn Error>> {
    let shape = LoadShape {
        connections: CONNECTIONS,
        arrivals: Arrivals::Closed { pause: Duration::ZERO },
        keep_alive_percent: 100,
        pooled_clients: 0,
    };
    let request = PreparedRequest::new(0, &RequestTemplate::get("/"), &server.address.into());
    let recorder = Recorder::new();
    let clients = Clients::new(recorder.clone(), Some(server.address.into()), vec![request]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, follow(clients, &shape, time));
    Ok(recorder.into_events())
}

async fn follow(clients: Rc<Clients>, shape: &LoadShape, time: Duration) {
    let mut workers = JoinSet::new();
    // The starts of clients are spread over the time before the signal, and wrk's are not.
    clients.start(&mut workers, 1, shape, Duration::from_millis(1));
    tokio::time::sleep(time).await;
    clients.enter(Stage::Signalled);
    while workers.join_next().await.is_some() {}
}

/// What wrk says; nothing where it can't be run.
fn wrk(server: &ReferenceServer) -> Result<Option<Measured>, Box<dyn Error>> {
    let before = cpu_us(UsageWho::RUSAGE_CHILDREN)?;
    let ran = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s")])
        .arg(format!("http://{}/", server.address))
        .stdin(Stdio::null())
        .output();
    let Ok(output) = ran else { return Ok(None) };
    let cpu = cpu_us(UsageWho::RUSAGE_CHILDREN)? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let per_second = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .and_then(|rate| rate.trim().parse::<f64>().ok());
    Ok(per_second.map(|per_second| Measured {
        per_second,
        cpu_us_each: cpu / (per_second * SECONDS as f64),
    }))
}
