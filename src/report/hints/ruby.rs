//! Puma (docs/signals.md, docs/deployment.md and the DSL reference).

use super::Hints;

pub(super) const PUMA: Hints = Hints {
    handler: "Puma handles SIGTERM and SIGINT by itself: start it with exec (exec bundle exec \
              puma), and trap neither of them in the application.",
    in_flight: "TERM lets threads finish: keep force_shutdown_after (for ever by default) and, in \
                cluster mode, worker_shutdown_timeout (30 s by default) above the longest request.",
    unread: "drain_on_shutdown in config/puma.rb: Puma then takes and answers what waits in the \
             accept queue before it stops. What lies unread on kept connections is lost: let a \
             preStop hook pause for as long as the load balancer still sends.",
    refusal: "Puma closes its listeners when it stops; in cluster mode each worker has them: signal \
              the parent, and keep worker_shutdown_timeout short, or allow for it with \
              --refuse-within.",
    readiness: "The application learns of the shutdown too late for it: let the preStop hook make a \
                file for which the readiness route answers 503, pause, and send the signal then.",
    jobs: "before_worker_shutdown (on_worker_shutdown before Puma 7) in config/puma.rb: tell threads \
           to end, and join them. Better give jobs to a process of their own (Sidekiq: -t SECONDS).",
    exit: "force_shutdown_after SECONDS in config/puma.rb, and worker_shutdown_timeout SECONDS in \
           cluster mode, both below the deadline.",
    status: "Puma raises SignalException after SIGTERM, and so ends by the signal or with 143: \
             raise_exception_on_sigterm false makes that 0, or declare it (--expect-exit \
             0,143,signal:TERM).",
    close: "A Rack middleware that sets 'connection' => 'close' on each response while closing \
            (a flag that the handler of the shutdown sets).",
    children: "Signal the parent, which ends its workers. Process.kill('TERM', pid) and Process.wait \
               for children of the application; pidfile and bind 'unix://..' are removed by a \
               parent that ends by itself.",
};
