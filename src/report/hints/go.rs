//! Go's net/http (package documentation of net/http, os/signal and os/exec).

use super::Hints;

pub(super) const HINTS: Hints = Hints {
    handler: "ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, \
              syscall.SIGTERM) at the top of main; when ctx.Done() is closed, call srv.Shutdown. \
              Start the built program: go run does not pass SIGTERM on.",
    in_flight: "ListenAndServe returns http.ErrServerClosed as soon as Shutdown is called: run it \
                in a goroutine, and let main return only when srv.Shutdown(..) has. Don't make the \
                signal's context the server's BaseContext, which would cancel requests in \
                process; Shutdown does not wait for hijacked connections (RegisterOnShutdown).",
    unread: "Shutdown closes the listener with what waits in its queue, and idle connections with \
             what lies unread on them. Let readiness fail, go on serving for as long as the load \
             balancer still sends (time.Sleep), and call Shutdown only then.",
    refusal: "Call srv.Shutdown as the first thing after the signal: it closes the listeners that \
              Serve was given before it waits. A listener that other code has is yours to close. \
              Where a pause before it is meant, declare it: --lame-duck.",
    readiness: "An atomic.Bool, set when ctx.Done() is closed; the readiness handler then answers \
                http.StatusServiceUnavailable. Sleep for as long as the load balancer needs, and \
                call srv.Shutdown after that.",
    jobs: "A sync.WaitGroup: wg.Add(1) before each go, defer wg.Done() in it (or wg.Go from Go \
           1.25 on); select on ctx.Done() before each turn; wg.Wait() after Shutdown has returned \
           and before main does.",
    exit: "Shutdown waits indefinitely: give it a context.WithTimeout below the deadline, and call \
           srv.Close() when it returns context.DeadlineExceeded. A connection without a request is \
           closed only when it is 5 s old. Loops and timers: select on ctx.Done().",
    status: "http.ErrServerClosed is no failure: no log.Fatal on it (errors.Is), and let main \
             return when Shutdown has.",
    close: "net/http announces it by itself once Shutdown was called; srv.SetKeepAlivesEnabled(false) \
            does so earlier, without closing the listener. See that no middleware removes the \
            header.",
    children: "exec.CommandContext with cmd.Cancel = func() error { return \
               cmd.Process.Signal(syscall.SIGTERM) } and cmd.WaitDelay, and cmd.Wait for each. In a \
               container the exec form: ENTRYPOINT [\"/app\"].",
};
