//! Node's http, Express and Fastify (documentation of http.Server and process; Fastify's server and
//! hooks reference).

use super::Hints;

const JOBS: &str = "Keep the promises of the jobs; at SIGTERM stop what starts them (clearInterval, \
     pause the consumer), and await Promise.allSettled(jobs) before the process exits.";
const STATUS: &str = "Set process.exitCode = 0 and let the event loop run empty, or process.exit(0) \
     after the close; an unhandled rejection while closing makes it 1.";
const CHILDREN: &str = "child.kill('SIGTERM') and wait for its exit event, for each worker of a \
     cluster too. Start node itself (CMD [\"node\", \"server.js\"]), not npm or yarn; as PID 1 \
     node ends at SIGTERM only if it handles it (docker run --init).";

pub(super) const HTTP: Hints = Hints {
    handler: "process.on('SIGTERM', shutdown) and process.on('SIGINT', shutdown) on the first lines \
              (on, not once). Start node itself: npm and yarn may not pass the signal on.",
    in_flight: "server.close(callback), and process.exit only in the callback: it comes when the \
                last request is answered.",
    unread: "server.close() (from Node 19 on) and closeIdleConnections() drop kept connections on \
             which a request may be on its way: put Connection: close on every response for as \
             long as the load balancer still sends, and call server.close() then.",
    refusal: "server.close() as the first thing in the handler of SIGTERM, in each worker of a \
              cluster. Where a pause before it is meant, declare it: --lame-duck.",
    readiness: "let closing = false; set it in the handler of SIGTERM, and answer 503 on the \
                readiness path from then on; setTimeout(() => server.close(), delay) for as long as \
                the load balancer needs.",
    jobs: JOBS,
    exit: "server.close() waits for every connection: call server.closeIdleConnections() at once \
           (before Node 19 close does not), and setTimeout(() => server.closeAllConnections(), \
           limit).unref() below the deadline. Timers and pools keep the event loop alive: \
           clearInterval, pool.end().",
    status: STATUS,
    close: "server.close() leaves Connection: keep-alive on the responses of requests in process: \
            res.setHeader('Connection', 'close') in every handler while closing.",
    children: CHILDREN,
};

pub(super) const EXPRESS: Hints = Hints {
    in_flight: "const server = app.listen(port); at SIGTERM server.close(callback), and \
                process.exit only in the callback: it comes when the last request is answered. \
                Express itself has no close.",
    readiness: "let closing = false; set it in the handler of SIGTERM, and res.status(503).end() in \
                the readiness route from then on; setTimeout(() => server.close(), delay) for as \
                long as the load balancer needs.",
    close: "A first middleware: app.use((req, res, next) => { if (closing) res.set('Connection', \
            'close'); next(); }). For requests in process set it before their headers are sent.",
    ..HTTP
};

pub(super) const FASTIFY: Hints = Hints {
    handler: "process.on('SIGTERM', () => fastify.close()), and the same for SIGINT, before listen \
              (or the package close-with-grace). Fastify handles no signal by itself.",
    in_flight: "await fastify.close(), and process.exit only after it: it runs the preClose hooks, \
                closes the server, and waits for requests in process. What handlers use is closed \
                in onClose hooks, not before.",
    unread: "fastify.close() closes idle kept connections on which a request may be on its way, and \
             answers later ones with 503 (return503OnClosing). Let readiness fail, go on serving \
             for as long as the load balancer still sends, and call close() then.",
    refusal: "fastify.close() as the first thing in the handler of SIGTERM; preClose hooks run \
              before the listener closes, so keep them short.",
    readiness: "A variable that is set in the handler of SIGTERM, and reply.code(503) in the \
                readiness route from then on; call fastify.close() after as long as the load \
                balancer needs.",
    exit: "fastify.close() waits for the last request: forceCloseConnections: true closes all kept \
           connections ('idle' is the default), and a timer below the deadline ends the process \
           (close-with-grace: delay).",
    close: "Fastify announces it on responses to requests that come after close(); for those in \
            process, reply.header('connection', 'close') in an onSend hook while closing.",
    ..HTTP
};
