//! A quiet start of the target, without judgement: where it listens, what it answers, how long
//! that takes, and how much it does at the same time.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use crate::load::clients::{Clients, Stage};
use crate::load::request::PreparedRequest;
use crate::model::address::ServerAddress;
use crate::model::contract::{ExpectedBody, ExpectedResponse};
use crate::model::event::{EventKind, Request, RequestEnd};
use crate::model::signal::Signal;
use crate::model::stack::Signs;
use crate::model::target::RequestTemplate;
use crate::model::time::Nanos;
use crate::observe::recorder::Recorder;

use super::crowd;
use super::error::{Early, TrialError};
use super::interrupt::Interrupt;
use super::isolation::runs_beside_itself;
use super::lives;
use super::outward::Outward;
use super::started::{Started, start};
use super::subject::Subject;
use super::writing::{UnusableWrites, try_to_write};

/// A request that takes this long outlasts the limit within which connections must be refused,
/// so that late connections meet a server that still drains.
const LONG_MS: u64 = 900;
/// A target that has not answered a request within this time does not answer it.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The same for pages whose existence is only guessed.
const GUESS_LIMIT: Duration = Duration::from_secs(3);

/// What the rehearsal found.
#[derive(Debug)]
pub struct Rehearsed {
    /// The target, ready to be tried.
    pub subject: Subject,
    /// Where it listened; absent where it has no listener.
    pub address: Option<ServerAddress>,
    /// What tells what it is built with.
    pub signs: Signs,
}

/// The target can't be rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// It can't be started, or is never ready.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// It gives another answer than the user expects, with nothing wrong yet.
    #[error("{name} was answered with status {status}, before any signal\n  {hint}")]
    WrongStatus {
        /// The request.
        name: String,
        /// The status.
        status: u16,
        /// What to do next.
        hint: String,
    },
    /// It gives another answer the second time.
    #[error(
        "{name} was answered with status {first}, and then with {status}, before any signal\n  \
         a load repeats its requests: put {{key}} where each must be another, or ask for something \
         else"
    )]
    Unrepeatable {
        /// The request.
        name: String,
        /// The first status.
        first: u16,
        /// The status when it was asked for again.
        status: u16,
    },
    /// What was written can't be read.
    #[error(transparent)]
    Write(#[from] UnusableWrites),
    /// It does not answer a request as HTTP has it.
    #[error(
        "{name} was not answered, before any signal: {what}\n  name a request that the target \
         answers (--path)"
    )]
    NoAnswer {
        /// The request.
        name: String,
        /// What came instead.
        what: &'static str,
    },
}

/// Starts the target once, asks for everything, and ends it again.
///
/// # Errors
/// When the target can't be tested: not started, never ready, or broken before any signal.
pub fn rehearse(
    subject: Subject,
    connections: u16,
    signal: Signal,
    interrupt: &Interrupt,
) -> Result<Rehearsed, RehearsalError> {
    let recorder = Recorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|reason| TrialError::Harness { what: "start a runtime", reason })?;
    LocalSet::new().block_on(&runtime, run(subject, (connections, signal), interrupt, &recorder))
}

async fn run(
    mut subject: Subject,
    (connections, signal): (u16, Signal),
    interrupt: &Interrupt,
    recorder: &Recorder,
) -> Result<Rehearsed, RehearsalError> {
    let mut started = start(&subject, (seed(), subject.as_pid_1), recorder)?;
    let landmarks = started.landmarks(signal, recorder);
    let found = started.ready(&subject, interrupt, recorder).await?;
    subject.start = landmarks.passed().unwrap_or_default();
    subject.takes_port = started.took_port(&found);
    subject.own_network &= !subject.takes_port && found.tcp().is_some();
    let outward = subject.own_network.then(|| Outward::watch(started.launched.family().clone()));
    started.learn_socket(&mut subject, &found);
    let address = found.address.clone();
    started.sources.ask_target(address.as_ref());
    let looked = tokio::select! {
        looked = look_and_write(&mut subject, connections, address.as_ref(), recorder) => looked,
        () = interrupt.wait() => return Err(TrialError::Interrupted.into()),
    };
    if let Err(error) = looked {
        return Err(started.why(error).await);
    }
    let signs = started.signs(&subject, &found).await;
    if subject.running.is_some() {
        return Ok(Rehearsed { subject, address: found.address, signs });
    }
    // Not at the same time: what a start costs would look like a lack of parallelism, and a date
    // in a body would be the same.
    let one = started.end(signal).await;
    subject.own_network &= !outward.is_some_and(Outward::was_seen);
    recorder.read(|events| subject.learn_jobs(events));
    let other = tokio::select! {
        looked = look_at_another_start(&mut subject, signal, interrupt) => looked?,
        () = interrupt.wait() => return Err(TrialError::Interrupted.into()),
    };
    subject.contract.usual_exit = one.zip(other).map(|(one, other)| one.max(other));
    Ok(Rehearsed { subject, address, signs })
}

pub(super) fn seed() -> u64 {
    u64::from(std::process::id())
}

/// What the target answers, and whether what is written can be read back.
async fn look_and_write(
    subject: &mut Subject,
    connections: u16,
    address: Option<&ServerAddress>,
    recorder: &Recorder,
) -> Result<(), RehearsalError> {
    look(subject, connections, address, recorder).await?;
    match (&mut subject.target.writes, address) {
        (Some(templates), Some(address)) => Ok(try_to_write(templates, address).await?),
        _ => Ok(()),
    }
}

/// What the target answers: one request at a time, then many together.
async fn look(
    subject: &mut Subject,
    connections: u16,
    address: Option<&ServerAddress>,
    recorder: &Recorder,
) -> Result<(), RehearsalError> {
    // Where nobody listens there is nobody to ask.
    let Some(address) = address else { return Ok(()) };
    if subject.templates.is_empty() {
        subject.templates = find_out(subject, address, recorder).await;
    }
    if subject.contract.requests.is_empty() {
        subject.contract.requests = ask_all(subject, address, recorder).await?;
    }
    let together = ask_together(subject, connections, address, recorder).await;
    check_statuses(&subject.contract.requests, &together)?;
    keep_stable_bodies(&mut subject.contract.requests, &together);
    subject.parallelism = parallelism(&subject.contract.requests, &together, connections);
    subject.lives = lives::rehearse(subject, address).await;
    subject.crowd = crowd::rehearse(subject, address).await;
    Ok(())
}

/// What a second start of the target answers: its bodies may have a process id or a port in them.
/// Gives how long its exit took.
async fn look_at_another_start(
    subject: &mut Subject,
    signal: Signal,
    interrupt: &Interrupt,
) -> Result<Option<Duration>, RehearsalError> {
    let recorder = Recorder::new();
    let mut started = start(subject, (seed().wrapping_add(1), subject.as_pid_1), &recorder)?;
    let landmarks = started.landmarks(signal, &recorder);
    let found = started.ready(subject, interrupt, &recorder).await?;
    if let Some(start) = landmarks.passed() {
        subject.start = subject.start.earlier(start);
    }
    if let Some(address) = &found.address {
        let each = subject.templates.len() as u16;
        let answers = ask_together(subject, each, address, &recorder).await;
        keep_stable_bodies(&mut subject.contract.requests, &answers);
    }
    if subject.own_network {
        subject.own_network = runs_beside_itself(subject, signal, interrupt).await;
    }
    let exit = started.end(signal).await;
    recorder.read(|events| subject.learn_jobs(events));
    Ok(exit)
}

/// A request that is answered otherwise the second time can't be told from one that fails.
fn check_statuses(expected: &[ExpectedResponse], again: &[Request]) -> Result<(), RehearsalError> {
    for (template, expected) in (0u16..).zip(expected) {
        let mut answers = again
            .iter()
            .filter(|request| request.template == template && request.end == RequestEnd::Complete)
            .filter_map(|request| request.status)
            .peekable();
        let Some(status) = answers.peek().copied() else { continue };
        if answers.all(|status| status != expected.status) {
            let name = expected.name.clone();
            return Err(RehearsalError::Unrepeatable { name, first: expected.status, status });
        }
    }
    Ok(())
}

/// Asks for each request once, one after the other: the expected answers.
async fn ask_all(
    subject: &Subject,
    address: &ServerAddress,
    recorder: &Recorder,
) -> Result<Vec<ExpectedResponse>, RehearsalError> {
    let mut answers = Vec::new();
    for (number, template) in (0..).zip(&subject.templates) {
        let prepared = PreparedRequest::new(number, template, address);
        let answer = ask(vec![prepared], &[0], address, recorder, ANSWER_LIMIT).await.pop();
        answers.push(expected(template, answer)?);
    }
    Ok(answers)
}

fn expected(
    template: &RequestTemplate,
    answer: Option<Request>,
) -> Result<ExpectedResponse, RehearsalError> {
    let name = template.name();
    let no_answer = |what| RehearsalError::NoAnswer { name: name.clone(), what };
    let answer = answer.ok_or_else(|| no_answer("no connection"))?;
    let status = match answer.end {
        RequestEnd::Complete => answer.status.unwrap_or_default(),
        RequestEnd::Closed => return Err(no_answer("the connection was closed")),
        RequestEnd::Reset => return Err(no_answer("the connection was reset")),
        RequestEnd::NotHttp => return Err(no_answer("the answer is not HTTP/1.1")),
        RequestEnd::TimedOut | RequestEnd::Abandoned => return Err(no_answer("it takes too long")),
    };
    let hint = match template.expect {
        Some(wanted) if wanted != status => {
            format!("{wanted} was expected (--expect-status, or expect in [[request]])")
        }
        None if (400..500).contains(&status) => "check the path and what it needs (--header), or \
             say that this\n  is expected (--expect-status)"
            .into(),
        None if status >= 500 => {
            "the target is broken before it is told to shut down: mend that first,\n  \
             or say that this is expected (--expect-status)"
                .into()
        }
        _ => {
            let body = ExpectedBody {
                length: answer.body.length,
                sha256_prefix: answer.body.sha256_prefix,
            };
            let since_start = |at: Nanos| at.since(answer.started);
            return Ok(ExpectedResponse {
                name,
                status,
                body: Some(body),
                usual: since_start(answer.ended),
                first_byte: answer.first_byte.map_or(Duration::ZERO, since_start),
            });
        }
    };
    Err(RehearsalError::WrongStatus { name, status, hint })
}

/// Asks with as many connections as the load will have, all at the same time.
pub(super) async fn ask_together(
    subject: &Subject,
    connections: u16,
    address: &ServerAddress,
    recorder: &Recorder,
) -> Vec<Request> {
    let prepared = subject.prepared(address);
    let kinds = prepared.len();
    let which: Vec<usize> = (0..usize::from(connections)).map(|n| n % kinds.max(1)).collect();
    ask(prepared, &which, address, recorder, ANSWER_LIMIT).await
}

/// A body that differs from one time to the next can't be compared.
fn keep_stable_bodies(expected: &mut [ExpectedResponse], again: &[Request]) {
    for request in again.iter().filter(|request| request.end == RequestEnd::Complete) {
        let expected = &mut expected[usize::from(request.template)];
        expected.usual = expected.usual.min(request.ended.since(request.started));
        let seen = (request.body.length, request.body.sha256_prefix);
        let is_same = |body: &ExpectedBody| (body.length, body.sha256_prefix) == seen;
        expected.body = expected.body.filter(is_same);
    }
}

/// How many requests the target works on at the same time, from how long they took together.
///
/// More of them than that would wait in queues: the target's, where a long request on a short
/// deadline would accuse it of being slow.
fn parallelism(
    expected: &[ExpectedResponse],
    together: &[Request],
    connections: u16,
) -> Option<u16> {
    let slow = Duration::from_millis(100);
    let is_slow = |r: &&Request| expected[usize::from(r.template)].usual >= slow;
    let in_time = |r: &&Request| {
        r.status == Some(expected[usize::from(r.template)].status)
            && r.ended.since(r.started) < expected[usize::from(r.template)].usual.mul_f64(1.5)
    };
    let asked: Vec<&Request> = together.iter().filter(is_slow).collect();
    let served = asked.iter().copied().filter(in_time).count();
    if served == asked.len() {
        return None;
    }
    let share = served as f64 / asked.len() as f64 * f64::from(connections);
    Some((share as u16).clamp(1, connections))
}

/// Without a word from the user: what does the target answer to? Its answers become the expected
/// ones.
async fn find_out(
    subject: &mut Subject,
    address: &ServerAddress,
    recorder: &Recorder,
) -> Vec<RequestTemplate> {
    // Nothing is written to a server that others use.
    let is_own = subject.running.is_none();
    let guesses: Vec<_> =
        guesses().into_iter().filter(|guess| is_own || guess.method == "GET").collect();
    let prepared: Vec<_> =
        (0..).zip(&guesses).map(|(n, guess)| PreparedRequest::new(n, guess, address)).collect();
    let all: Vec<usize> = (0..guesses.len()).collect();
    let answers = ask(prepared, &all, address, recorder, GUESS_LIMIT).await;
    let good = |answer: &&Request| {
        answer.end == RequestEnd::Complete
            && answer.status.is_some_and(|status| (200..300).contains(&status))
    };
    let guess = |answer: &Request| &guesses[usize::from(answer.template)];
    let is_long =
        |answer: &Request| answer.ended.since(answer.started) >= Duration::from_millis(LONG_MS / 2);
    let is_plain =
        |answer: &Request| !guess(answer).path.contains('?') && guess(answer).method == "GET";
    let answers_of_root = answers.iter().find(|answer| guess(answer).path == "/").cloned();
    let good: Vec<Request> = answers.into_iter().filter(|answer| good(&answer)).collect();
    let long = good.iter().filter(|answer| is_long(answer));
    let fast = good.iter().filter(|answer| !is_long(answer) && is_plain(answer)).take(1);
    let mut templates = Vec::new();
    for answer in long.chain(fast) {
        let template = guess(answer).clone();
        subject.contract.requests.extend(expected(&template, Some(answer.clone())));
        templates.push(template);
    }
    if templates.is_empty() {
        // Whatever it answers there, it does answer.
        let status = answers_of_root.and_then(|answer| answer.status);
        templates.push(RequestTemplate { expect: status, ..RequestTemplate::get("/") });
    }
    templates
}

/// Pages that servers for demonstration and test usually have, and a slow upload, which is long
/// whatever the target does with it, so long as it waits for its end.
fn guesses() -> Vec<RequestTemplate> {
    let paths = [
        format!("/sleep?ms={LONG_MS}"),
        format!("/stream?chunks=9&ms={LONG_MS}"),
        format!("/file?bytes=20000&ms={LONG_MS}"),
        "/".into(),
        "/health".into(),
        "/healthz".into(),
        "/delay/1".into(),
    ];
    let mut guesses: Vec<_> = paths.into_iter().map(RequestTemplate::get).collect();
    for path in ["/echo", "/"] {
        let mut upload = RequestTemplate::get(path);
        upload.method = "POST".into();
        upload.body = vec![b'x'; 2000];
        upload.upload_over = Some(Duration::from_millis(LONG_MS));
        guesses.push(upload);
    }
    guesses
}

/// Asks for all of `which` at the same time, each on a connection of its own.
async fn ask(
    prepared: Vec<PreparedRequest>,
    which: &[usize],
    address: &ServerAddress,
    recorder: &Recorder,
    limit: Duration,
) -> Vec<Request> {
    let before = recorder.read(<[_]>::len);
    let clients = Clients::new(recorder.clone(), Some(address.clone()), prepared);
    let mut asked = JoinSet::new();
    for template in which.iter().copied() {
        let clients: Rc<Clients> = clients.clone();
        asked.spawn_local(async move { clients.once(template).await });
    }
    let all = async { while asked.join_next().await.is_some() {} };
    let _ = timeout(limit, all).await;
    clients.enter(Stage::Over);
    while asked.join_next().await.is_some() {}
    recorder.read(|events| {
        let requests = events[before..].iter().filter_map(|event| match &event.kind {
            EventKind::Request(request) => Some(request.clone()),
            _ => None,
        });
        let mut requests: Vec<Request> = requests.collect();
        requests.sort_by_key(|request| request.template);
        requests
    })
}

impl Started {
    /// The better reason for a failed request, where the target has ended meanwhile.
    async fn why(&mut self, error: RehearsalError) -> RehearsalError {
        let leader = self.launched.leader().clone();
        // Connections are closed a moment before the process is gone.
        let _ = timeout(Duration::from_millis(200), leader.ended()).await;
        match self.launched.family().alive().is_empty() {
            true => self.ended(Early::BeforeSignal).await.into(),
            false => error,
        }
    }
}
