//! Spring Boot (reference documentation: graceful shutdown, application availability, task execution).

use super::Hints;

pub(super) const SPRING_BOOT: Hints = Hints {
    handler: "The JVM handles SIGTERM by its shutdown hooks: start java with exec (ENTRYPOINT \
              [\"java\", \"-jar\", ..]), without -Xrs, and leave \
              spring.main.register-shutdown-hook at true.",
    in_flight: "server.shutdown=graceful (the default from Spring Boot 3.4 on), and \
                spring.lifecycle.timeout-per-shutdown-phase (30s by default) above the longest \
                request.",
    unread: "The web server stops reading as soon as the shutdown begins: let the preStop hook \
             pause for as long as the load balancer still sends (preStop: sleep), so that SIGTERM \
             comes when nothing is on its way.",
    refusal: "With server.shutdown=graceful Tomcat, Jetty and Reactor Netty stop taking connections \
              at once; Undertow takes them and answers 503, which is no refusal.",
    readiness: "management.endpoint.health.probes.enabled=true: /actuator/health/readiness fails \
                when the context closes, but so does the listener. Let the preStop hook pause, and \
                publish ReadinessState.REFUSING_TRAFFIC (AvailabilityChangeEvent) before it.",
    jobs: "spring.task.execution.shutdown.await-termination=true with await-termination-period, \
           and the same under spring.task.scheduling.shutdown; executors of your own: \
           setWaitForTasksToCompleteOnShutdown and setAwaitTerminationSeconds.",
    exit: "spring.lifecycle.timeout-per-shutdown-phase below the deadline: it holds for each phase \
           of SmartLifecycle. @PreDestroy methods and shutdown hooks that block hold the JVM.",
    status: "After SIGTERM the JVM ends with 143 once its hooks are done: where that is right, \
             declare it (--expect-exit 0,143).",
    close: "A filter that sets Connection: close on each response while the context closes \
            (ContextClosedEvent).",
    children: "Process.destroy() (SIGTERM) and waitFor with a time-out in @PreDestroy, for each \
               child; a script that starts java uses exec. spring.pid.file is removed at an orderly \
               exit.",
};
