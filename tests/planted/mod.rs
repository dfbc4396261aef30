//! The reference server with one regression planted into it, put together from its own parts, so that
//! nothing in it needs to know. The tests' own program plays it.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use reference_server::{Context, Jobs, Limits, TerminationSignals, bind, router, serve};

/// Says what is planted.
const PLANTED: &str = "PLANTED";
/// What `LATE` adds to the drain.
const LATE_BY: Duration = Duration::from_secs(3);
/// As the bundled server is started in these tests.
pub(crate) const BACKGROUND_JOB: Duration = Duration::from_millis(100);
/// Longer than readiness may take to fail.
pub(crate) const LAME_DUCK: Duration = Duration::from_millis(1500);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// A request in process gets no answer: one in each shutdown.
pub(crate) const DROPS_ONE: &str = "drops-one";
/// The exit comes three seconds later.
pub(crate) const LATE: &str = "late";
/// The readiness endpoint does not know of the shutdown.
pub(crate) const READY_FOR_EVER: &str = "ready-for-ever";

/// The words that start it, and the option that names what is planted.
pub(crate) fn words(planted: &str) -> (Vec<String>, String) {
    let own = std::env::current_exe().unwrap().display().to_string();
    let test = "a_target_for_the_other_tests";
    let words = [&*own, "--exact", test, "--nocapture", "--test-threads=1"];
    (words.map(String::from).to_vec(), format!("--env={PLANTED}={planted}"))
}

/// Plays the server where the environment says so, and ends the process with it.
pub(crate) fn play() {
    let Ok(planted) = std::env::var(PLANTED) else { return };
    let context = Context::new();
    context.note_signals().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let is_done = runtime.block_on(run(context, &planted));
    runtime.shutdown_background();
    std::process::exit(i32::from(is_done != ExitCode::SUCCESS));
}

/// What `Service` of the reference server does, around another router.
async fn run(context: Context, planted: &str) -> ExitCode {
    let mut signals = TerminationSignals::listen(&context).unwrap();
    let jobs = Jobs::new(context.clone());
    jobs.start_background_job(BACKGROUND_JOB);
    let port = std::env::var("PORT").unwrap();
    let listener = bind(format!("127.0.0.1:{port}").parse().unwrap()).unwrap();
    jobs.release();
    let (lame_duck, shutdown_timeout) = (LAME_DUCK, SHUTDOWN_TIMEOUT);
    let limits = Limits { lame_duck, shutdown_timeout, stall_timeout: STALL_TIMEOUT };
    let router = router(context.clone(), jobs.clone());
    let router = match planted {
        DROPS_ONE => router.layer(from_fn_with_state(context.clone(), drops_one)),
        READY_FOR_EVER => router.layer(from_fn_with_state((), ready_for_ever)),
        _ => router,
    };
    let serving = tokio::spawn(serve(listener, router, context.clone(), limits));
    signals.recv().await;
    context.cancel();
    let deadline = context.cancelled().await + lame_duck + shutdown_timeout;
    let served = serving.await.is_ok_and(|served| served.is_ok());
    let are_done = jobs.wait(deadline, shutdown_timeout).await.is_ok();
    if planted == LATE {
        tokio::time::sleep(LATE_BY).await;
    }
    if served && are_done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic is caught with the task of its connection, which then has no answer.
async fn drops_one(
    axum::extract::State(context): axum::extract::State<Context>,
    request: Request,
    next: Next,
) -> Response {
    static DROPPED: AtomicBool = AtomicBool::new(false);
    let was_before = !context.is_cancelled();
    let response = next.run(request).await;
    if was_before && context.is_cancelled() && !DROPPED.swap(true, Ordering::SeqCst) {
        panic!("this one is dropped");
    }
    response
}

async fn ready_for_ever(request: Request, next: Next) -> Response {
    match request.uri().path() {
        "/readyz" => "ready\n".into_response(),
        _ => next.run(request).await,
    }
}
