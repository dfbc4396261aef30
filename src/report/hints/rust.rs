//! axum, hyper and actix-web (documentation of axum::serve, hyper_util::server::graceful,
//! actix_web::HttpServer and tokio_util::task).

use super::Hints;

/// tokio's signals are the same for both.
const HANDLER: &str = "tokio::signal::ctrl_c() is SIGINT alone: create \
     tokio::signal::unix::signal(SignalKind::terminate()) before the listener, and tokio::select! \
     over both.";
const JOBS: &str = "TaskTracker and CancellationToken of tokio_util: tracker.spawn(..) for each \
     job, token.cancelled() in a biased select! before each turn, and after the last request \
     tracker.close() and tracker.wait().await. A task that is only spawned ends with the runtime.";
const CHILDREN: &str = "Keep each tokio::process::Child, send it SIGTERM (nix::sys::signal::kill) \
     and await child.wait(); kill_on_drop(true) as the last resort. UnixListener leaves its \
     socket: remove it last. In a container the exec form: ENTRYPOINT [\"/app\"].";
const CLOSE: &str = "hyper puts Connection: close on responses once the graceful shutdown of their \
     connection has begun: begin it for all connections at the signal, and see that no middleware \
     sets another Connection.";

pub(super) const AXUM: Hints = Hints {
    handler: HANDLER,
    in_flight: "axum::serve(listener, app).with_graceful_shutdown(signal).await, to its end: no \
                select! that drops it, and no process::exit before it has returned. It does not \
                wait for tasks that handlers have spawned (tokio_util's TaskTracker does).",
    unread: "axum drops the listener with what waits in its queue, and closes connections with \
             what lies unread on them. In the future that with_graceful_shutdown is given, let \
             readiness fail and sleep for as long as the load balancer still sends; or write the \
             accept loop over hyper, biased towards accept once the signal is there.",
    refusal: "with_graceful_shutdown drops the listener when its future resolves: let that be \
              right after the signal, and clone the listener nowhere. Where a pause before it is \
              meant, declare it: --lame-duck.",
    readiness: "An Arc<AtomicBool> in the State: the future that with_graceful_shutdown is given \
                sets it at the signal and then sleeps for as long as the load balancer needs; the \
                readiness handler answers StatusCode::SERVICE_UNAVAILABLE from then on.",
    jobs: JOBS,
    exit: "axum::serve waits for the last connection, however long: select! between it and a sleep \
           that begins with the signal and ends below the deadline. Streams and WebSockets: end \
           them by a CancellationToken.",
    status: "Return Ok(()) from main when axum::serve has returned; a task that was cancelled is no \
             failure (JoinError::is_cancelled).",
    close: CLOSE,
    children: CHILDREN,
};

pub(super) const HYPER: Hints = Hints {
    handler: HANDLER,
    in_flight: "hyper_util::server::graceful::GracefulShutdown: spawn graceful.watch(connection) \
                for each, and after the accept loop graceful.shutdown().await before main returns.",
    unread: "graceful_shutdown closes a connection of which no byte was read: where peek (or \
             FIONREAD) shows that something lies there, let it be read first. Accept until nothing \
             waits any more before the TcpListener is dropped.",
    refusal: "Leave the accept loop at the signal and drop the TcpListener before \
              graceful.shutdown() is awaited. Where a pause before it is meant, declare it: \
              --lame-duck.",
    readiness: "An Arc<AtomicBool> that the service reads: set it in the arm of the signal, go on \
                accepting for as long as the load balancer needs, and leave the loop then.",
    jobs: JOBS,
    exit: "select! between graceful.shutdown() and a sleep below the deadline, and drop the \
           connections then; header_read_timeout on http1::Builder (with a timer) ends clients \
           that never send a whole head.",
    status: "Return Ok(()) from main when graceful.shutdown() has returned; the error of a single \
             connection is logged and goes no further.",
    close: CLOSE,
    children: CHILDREN,
};

pub(super) const ACTIX: Hints = Hints {
    handler: "HttpServer handles SIGTERM gracefully, and SIGINT and SIGQUIT by force, unless \
              disable_signals() was called: then await them yourself and call \
              server.handle().stop(true).await.",
    in_flight: "HttpServer::shutdown_timeout(seconds) (30 by default) above the longest request: \
                after it workers drop what they have. Await the Server that run() gives to its end, \
                and use stop(true) rather than stop(false).",
    unread: "What waits unread when the workers stop is lost. With disable_signals() let readiness \
             fail at the signal, go on serving for as long as the load balancer still sends, and \
             call server.handle().stop(true) only then.",
    refusal: "With disable_signals(), call server.handle().stop(true) as the first thing after the \
              signal; otherwise HttpServer closes its listeners by itself. Where a pause before it \
              is meant, declare it: --lame-duck.",
    readiness: "A web::Data<AtomicBool>: with disable_signals() your own handler sets it, sleeps for \
                as long as the load balancer needs, and calls server.handle().stop(true).await; the \
                readiness route answers ServiceUnavailable from then on.",
    jobs: JOBS,
    exit: "HttpServer::shutdown_timeout(seconds) below the deadline; client_request_timeout and \
           client_disconnect_timeout end clients that have stopped.",
    status: "Return what run().await gives from main: it is Ok after a graceful stop.",
    close: "While the server stops, force_close() on the response builder (in a middleware: \
            ConnectionType::Close on the response's head).",
    children: CHILDREN,
};
