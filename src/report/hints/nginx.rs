//! nginx (Controlling nginx; core and http core modules).

use super::Hints;

pub(super) const HINTS: Hints = Hints {
    handler: "TERM and INT are the fast shutdown of nginx, QUIT the graceful one: STOPSIGNAL SIGQUIT \
              in the Dockerfile, KillSignal=SIGQUIT in the unit; here --signal QUIT.",
    in_flight: "Send QUIT (nginx -s quit) rather than TERM, and keep worker_shutdown_timeout above \
                the longest request and download.",
    unread: "QUIT rather than TERM. Without reuseport on listen the workers share one queue; with \
             it, what waits for a worker that goes is lost unless net.ipv4.tcp_migrate_req is 1. A \
             proxy before it repeats what is safe (proxy_next_upstream).",
    refusal: "QUIT closes the listeners at once. A process that is still there keeps them: one \
              master, and no old binary from an upgrade (USR2).",
    readiness: "location = /ready { if (-f /run/draining) { return 503; } return 200; }, a preStop \
                hook that makes the file and pauses, and nginx -s quit after that.",
    jobs: "nginx has none of its own: what its upstreams do at their shutdown is checked there.",
    exit: "worker_shutdown_timeout 20s; at the top of nginx.conf, below the deadline: without it \
           workers wait for the last connection (WebSockets, long downloads) however long.",
    status: "nginx ends with 0; another status comes from what starts it: exec nginx -g 'daemon \
             off;'.",
    close: "From 1.21.6 on workers that quit announce it; before that, only a short \
            keepalive_timeout bounds the wait.",
    children: "Signal the master alone, which ends its workers; daemon off; below an init. The file \
               of the pid directive is removed by a master that ends by itself, not after -9.",
};
