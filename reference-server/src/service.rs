//! The slides' service: `NewService` starts the jobs, `StartServer` serves until the signal comes.

use std::process::ExitCode;

use crate::{Config, Context, Jobs, Limits, TerminationSignals, bind, fatal, log, router, serve};

/// The demo service: a configuration, a group of background jobs and, once started, a server.
#[derive(Debug)]
pub struct Service {
    context: Context,
    config: Config,
    jobs: Jobs,
}

impl Service {
    /// Creates the service and starts its jobs; to be called within a tokio runtime.
    ///
    /// The jobs' first turns begin when the server listens.
    #[must_use]
    pub fn new(context: Context, config: Config) -> Self {
        let jobs = Jobs::new(context.clone());
        jobs.start_background_job(config.background_job);
        jobs.start_heavy_job(config.heavy_job);
        Self { context, config, jobs }
    }

    /// Serves until a signal comes, then shuts down; returns the exit status, see [`run`](crate::run).
    pub async fn start_server(self, mut signals: TerminationSignals) -> ExitCode {
        let listener = match bind(self.config.listen) {
            Ok(listener) => listener,
            Err(error) => {
                let address = self.config.listen;
                return fatal(&format!("an error occurred, cannot listen on {address}"), &error);
            }
        };
        if let Ok(address) = listener.local_addr() {
            log(format_args!("listening on {address}"));
        }
        self.jobs.release();

        let limits = Limits {
            lame_duck: self.config.lame_duck,
            shutdown_timeout: self.config.shutdown_timeout,
            stall_timeout: self.config.stall_timeout,
        };
        let router = router(self.context.clone(), self.jobs.clone());
        let serving = tokio::spawn(serve(listener, router, self.context.clone(), limits));

        signals.recv().await;
        self.context.cancel();
        let deadline = self.context.cancelled().await + limits.lame_duck + limits.shutdown_timeout;
        log("gracefully shutting down...");

        let mut status = ExitCode::SUCCESS;
        // A panic of the accept loop counts as well, but must not keep us from waiting for the jobs.
        let served = serving.await.map_err(|error| error.to_string());
        if let Err(error) = served.and_then(|served| served.map_err(|error| error.to_string())) {
            log(format_args!("error shutting down the server: {error}"));
            status = ExitCode::FAILURE;
        }
        if let Err(error) = self.jobs.wait(deadline, limits.shutdown_timeout).await {
            log(format_args!("error shutting down the server: {error}"));
            status = ExitCode::FAILURE;
        }
        if status == ExitCode::SUCCESS {
            log("server shut down gracefully");
        }
        status
    }
}
