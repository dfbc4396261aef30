//! uvicorn and gunicorn (uvicorn's settings and server behaviour; gunicorn's settings and signal
//! handling).

use super::Hints;

pub(super) const UVICORN: Hints = Hints {
    handler: "uvicorn handles SIGTERM and SIGINT by itself: start it with exec, and replace its \
              handlers (signal.signal) in no module of the application.",
    in_flight: "--timeout-graceful-shutdown SECONDS above the longest request: after it the tasks \
                of what is left are cancelled. No os._exit and no sys.exit in a handler.",
    unread: "What is unread when it stops is lost, and uvicorn can't be told otherwise: end the \
             traffic before the signal, by a preStop pause or by leaving the load balancer, and \
             keep --timeout-keep-alive above the proxy's own.",
    refusal: "uvicorn closes its listener at its next tick, 100 ms later at most. With --workers \
              signal the parent; blocking code in the event loop delays it (run_in_threadpool).",
    readiness: "The lifespan's shutdown runs after the drain, too late for it: at startup put a \
                handler before uvicorn's (signal.getsignal, signal.signal) that sets a flag and \
                calls the other, or let the preStop hook set it.",
    jobs: "Keep the tasks, and after the lifespan's yield await asyncio.gather(*tasks, \
           return_exceptions=True); stop the scheduler first. Threads must not be daemons, and are \
           joined there.",
    exit: "--timeout-graceful-shutdown SECONDS below the deadline: without it uvicorn waits for the \
           last connection for ever. Threads that are not daemons are joined before Python exits.",
    status: "From 0.29 on uvicorn raises the signal again after the drain, so that it ends by \
             SIGTERM, which is clean here; another status comes from an exception in the lifespan's \
             shutdown.",
    close: "With httptools uvicorn announces it and with h11 it does not: pip install \
            'uvicorn[standard]', or --http httptools.",
    children: "Signal the parent, which ends its --workers; no --reload. Subprocesses of the \
               application: terminate() and wait() in the lifespan's shutdown. --uds leaves nothing \
               if it ends by itself.",
};

pub(super) const GUNICORN: Hints = Hints {
    handler: "TERM is gunicorn's graceful signal, INT and QUIT its quick ones: start it with exec \
              (CMD [\"gunicorn\", ..]), and send TERM to the master.",
    in_flight: "--graceful-timeout SECONDS (30 by default) above the longest request, and TERM \
                rather than QUIT or INT; a worker that is busy longer than --timeout is killed.",
    unread: "What is unread when it stops is lost, and gunicorn can't be told otherwise: end the \
             traffic before the signal, by a preStop pause or by leaving the load balancer, and \
             keep --keep-alive above the proxy's own.",
    refusal: "The listener is open until the last worker has closed it: keep --graceful-timeout \
              short, or allow for it with --refuse-within.",
    readiness: "Workers learn of the shutdown too late for it: let the preStop hook make a file for \
                which the readiness view answers 503, pause, and send the signal then.",
    jobs: "Join threads in the hook worker_exit(server, worker) of gunicorn.conf.py, and keep them \
           no daemons; better give jobs to a worker of their own (Celery stops at TERM after the \
           task in process).",
    exit: "--graceful-timeout SECONDS below the deadline: the master then kills what is left. \
           Threads that are not daemons are joined before a worker exits.",
    status: "gunicorn ends with 0 after TERM; another status comes from a hook that raises, or from \
             a script that starts it without exec.",
    close: "gunicorn announces it with gthread and async workers when they stop; sync workers close \
            after each response. See that the framework sets no Connection of its own.",
    children: "Signal the master, which ends its workers. Subprocesses of the application: \
               terminate() and wait() in worker_exit. --pid FILE is removed by a master that ends \
               by itself.",
};
