//! `last-words-are-written`: what a target writes at its end, and of each request, is not lost.

use std::collections::BTreeMap;

use regex::Regex;

use crate::model::event::{Event, EventIndex, EventKind, LineSource, Readiness};
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::line::{Line, Origin};
use crate::model::verdict::{Severity, Verdict, Violation};

use super::wording::{count, ended, sorted, when};
use super::{ANY, Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "last-words-are-written",
    fails_when: "Fails when no whole line that was written since the signal matches a pattern of \
                 --last-words, or fewer lines that match --access-log name a page than requests \
                 for it were answered, though the target has exited by itself.",
    why: "The last lines are those that explain a shutdown: what was abandoned, whether it was in \
          time, who was served last. A log, an audit trail or telemetry that loses its tail on \
          each deployment is wrong just where somebody will look.",
    source: "Threads: fleetdm/fleet#38479, open-telemetry/opentelemetry-collector#13853 (100 of \
             7,604 spans arrived), Kludex/uvicorn#1160 (hooks at the end that never ran). setbuf(3): a pipe or a file is fully buffered; _exit(2): what stdio \
             holds is not flushed.",
    usual_cause: "The logger writes from a thread or a queue of its own, and the process exits \
                  before that is empty; the output is a pipe or a file, which is buffered, and \
                  the process ends without flushing it (os._exit, abort, a signal, \
                  process.exit in the middle of a write).",
    fix: "In general: flush and close the logger as the very last step, after the last request \
          and the last job. Go: defer logger.Sync(), and no os.Exit or log.Fatal that skips it. \
          Rust: keep the guard of tracing_appender::non_blocking until the end of main, and don't \
          call process::exit before it is dropped. Node: wait for the logger's finish event, and \
          set process.exitCode rather than calling process.exit. Python: logging.shutdown(), \
          sys.stdout.flush(), and no os._exit.",
    needs: "patterns for lines that the target writes after the signal (--last-words) or of each \
            request (--access-log)",
    counts: Counts { one: "line", many: "lines", failed: "lost", has_rate: false },
    occasions: ANY,
    severity: Severities::of(Severity::Warn, Severity::Warn, Severity::Warn),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    if history.contract().log.is_empty() {
        return Verdict::NotApplicable {
            reason: "it is not known which lines are written at the end: name them with \
                     --last-words or --access-log"
                .into(),
        };
    }
    let end = match end_of_target(history, signal) {
        Ok(end) => end,
        Err(why) => return Verdict::inconclusive(why),
    };
    let patterns = &history.told().log_lines.last_words;
    let missing = patterns.iter().filter_map(|it| missing(history, signal, it, &end));
    let pages = pages(history);
    let lost = pages.iter().filter(|(_, page)| page.lines < page.answers);
    let lost = lost.map(|(path, page)| lost_lines(history, signal, path, page, &end));
    let violations: Vec<_> = missing.chain(lost).collect();
    let answers: usize = pages.values().map(|page| page.answers).sum();
    let reason = match history.contract().log.access_log.is_empty() {
        true => INVARIANT.unexercised(),
        false => "no line of a page that was answered matched --access-log: the target writes \
                  none, or lost them all, or the pattern is not that of its lines"
            .into(),
    };
    Verdict::of(patterns.len() + answers, violations, &reason)
}

/// How the target ended, where it ended by itself and all that it wrote could be read.
fn end_of_target(history: &History, signal: &SignalSent) -> Result<(EventIndex, String), String> {
    let dropped =
        |kind: &EventKind| matches!(kind, EventKind::OutputDropped { job_lines: 1.., .. });
    if history.first(dropped).is_some() {
        return Err("the target wrote so many lines that not all of them were kept".into());
    }
    for event in history.events() {
        if let EventKind::SourceRead { source: LineSource::LogFile, failed: Some(why) } =
            &event.kind
        {
            return Err(format!("--log-file could not be read after the target's end ({why})"));
        }
    }
    if history.deadline_passed().is_some() {
        return Err("the target did not end by itself, so that its last words are unknown".into());
    }
    let Some(exit) = history.exit() else {
        return Err("the trial was broken off before the target's end".into());
    };
    let when = when(exit.at, signal);
    Ok((exit.event, format!("process {} {} {when}", exit.pid, ended(exit.status))))
}

/// The lines of the log, each with its event.
fn lines(history: &History) -> impl Iterator<Item = (EventIndex, &Event, Line<'_>)> {
    let in_file = history.contract().log.in_file;
    let is_log = move |line: &Line<'_>| match line.origin {
        Origin::Output(_) => !in_file,
        Origin::Source(source) => source == LineSource::LogFile,
    };
    let events = (0..).zip(history.events());
    let lines = events.filter_map(|(index, event)| Some((index, event, event.kind.line()?)));
    lines.filter(move |(_, _, line)| is_log(line))
}

/// The violation, where no whole line since the signal matches.
fn missing(
    history: &History,
    signal: &SignalSent,
    pattern: &Regex,
    (end_event, end): &(EventIndex, String),
) -> Option<Violation> {
    let mut cut = None;
    for (index, event, line) in lines(history) {
        if event.at < signal.bracket.before || !pattern.is_match(line.text) {
            continue;
        }
        if !line.cut {
            return None;
        }
        cut = Some((index, line.text));
    }
    let what = match cut {
        Some((_, text)) => format!("the line {text:?} has no end"),
        None => match lines(history).find(|(_, _, line)| line.cut) {
            Some((_, _, line)) => format!("the last line is cut: {:?}", line.text),
            None => "no line came that does".into(),
        },
    };
    let message =
        format!("a line was to match {:?} at the end, and {what}; {end}", pattern.as_str());
    let evidence = [signal.event, *end_event].into_iter().chain(cut.map(|(index, _)| index));
    Some(Violation { message, evidence: sorted(evidence) })
}

/// What is known of one page.
#[derive(Debug, Default)]
struct Page {
    /// Requests for it that were answered as they should be.
    answers: usize,
    /// The last of them.
    last: Option<EventIndex>,
    /// Lines of the log that name it.
    lines: usize,
}

/// The pages that lines of the log name, by their path. A page that no line names may be one that
/// is never logged, so that its answers say nothing.
fn pages(history: &History) -> BTreeMap<String, Page> {
    let mut pages: BTreeMap<String, Page> = BTreeMap::new();
    if history.told().log_lines.access_log.is_empty() {
        return pages;
    }
    for (index, event) in (0..).zip(history.events()) {
        if let Some(path) = answered(history, &event.kind) {
            let page = pages.entry(path).or_default();
            page.answers += 1;
            page.last = Some(index);
        }
    }
    for (_, _, line) in lines(history) {
        if !line.cut && history.told().log_lines.is_of_request(line.text) {
            let named = pages.iter_mut().filter(|(path, _)| names(line.text, path));
            named.for_each(|(_, page)| page.lines += 1);
        }
    }
    pages.retain(|_, page| page.lines > 0);
    pages
}

/// The page that the event says was answered as it should be, by whichever client.
fn answered(history: &History, kind: &EventKind) -> Option<String> {
    let contract = history.contract();
    let of = |template: u16| &contract.requests[usize::from(template)];
    let named = |name: &str| path_of(name.split_once(' ').map_or(name, |(_, path)| path));
    match kind {
        EventKind::Request(request) => {
            let is_whole = history.outcome(request) == Outcome::Completed && !request.stalled;
            is_whole.then(|| named(&of(request.template).name))
        }
        EventKind::PooledRequest(pooled) => {
            let expected = of(pooled.template);
            (pooled.status == Some(expected.status)).then(|| named(&expected.name))
        }
        // The one that showed that the target was ready.
        EventKind::Ready { .. } => Some(path_of(contract.log.ready_path.as_deref().unwrap_or("/"))),
        EventKind::ReadinessProbe(probe) => match (probe.outcome, &contract.log.ready_path) {
            (Readiness::Ready(_), Some(path)) => Some(path_of(path)),
            _ => None,
        },
        EventKind::JobSubmit(submit) if submit.is_acknowledged() => {
            contract.jobs.submit.as_deref().map(named)
        }
        _ => None,
    }
}

/// The path of a page without its query, up to the first part that each request has its own of.
fn path_of(page: &str) -> String {
    let page = page.split_once(" (").map_or(page, |(page, _)| page);
    let path = page.split(['?', ' ']).next().unwrap_or_default();
    path.split_once("{key}").map_or(path, |(before, _)| before).to_owned()
}

/// Whether the path stands in the line as a whole, or as the beginning of one where it ends with a
/// slash and is more than that.
fn names(line: &str, path: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "-_.~/%:".contains(c);
    let is_open = path.len() > 1 && path.ends_with('/');
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        !before.is_some_and(is_part) && (is_open || !after.is_some_and(is_part))
    })
}

fn lost_lines(
    history: &History,
    signal: &SignalSent,
    path: &str,
    page: &Page,
    (end_event, end): &(EventIndex, String),
) -> Violation {
    let cut = lines(history).find(|(_, _, line)| line.cut);
    let cut_text = cut
        .map_or(String::new(), |(_, _, line)| format!("; the last line is cut: {:?}", line.text));
    let message = format!(
        "{} for {path} answered and {} in the log that name it{cut_text}; {end}",
        count(page.answers, "request"),
        count(page.lines, "line"),
    );
    let evidence = [signal.event, *end_event].into_iter().chain(page.last);
    Violation { message, evidence: sorted(evidence.chain(cut.map(|(index, _, _)| index))) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{SourceLine, Stream};
    use crate::model::time::Nanos;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn promising_bye() -> Story {
        Story::new().promising(|contract| contract.log.last_words = vec!["^bye".into()]).signal()
    }

    fn cut(text: &str) -> EventKind {
        EventKind::OutputLine { stream: Stream::Stdout, line: text.into(), cut: true }
    }

    fn log_line(text: &str) -> EventKind {
        let (source, since) = (LineSource::LogFile, Nanos::from_ms(0));
        EventKind::SourceLine(SourceLine { source, line: text.into(), since, cut: false })
    }

    #[test]
    fn a_whole_line_after_the_signal_satisfies_it() {
        assert_eq!(satisfied(verdict(promising_bye().line(8, "bye, bye").exit_code(9, 0))), 1);
    }

    #[test]
    fn a_line_that_is_missing_or_was_written_before_the_signal_violates_it() {
        let violations = violated(verdict(promising_bye().line(-5, "bye").exit_code(9, 0)));
        assert_eq!(
            violations[0].message,
            "a line was to match \"^bye\" at the end, and no line came that does; process 123 \
             exited with status 0 9.0 ms after SIGTERM"
        );
    }

    #[test]
    fn a_line_without_its_end_violates_it() {
        let message = |text| {
            violated(verdict(promising_bye().event(8, cut(text)).exit_code(9, 0)))[0]
                .message
                .clone()
        };
        assert!(message("bye").contains("the line \"bye\" has no end"));
        assert!(message("by").contains("the last line is cut: \"by\""));
    }

    #[test]
    fn the_lines_may_be_in_a_file() {
        let in_file = || promising_bye().promising(|contract| contract.log.in_file = true);
        satisfied(verdict(in_file().event(8, log_line("bye")).exit_code(9, 0)));
        violated(verdict(in_file().line(8, "bye").exit_code(9, 0)));
        let unread = in_file().exit_code(9, 0);
        let unread = unread.read_again(20, LineSource::LogFile, Some("no such file"));
        assert!(inconclusive(verdict(unread)).contains("--log-file could not be read"));
    }

    #[test]
    fn without_patterns_it_does_not_apply_and_says_what_is_missing() {
        match verdict(Story::new().signal().exit_code(9, 0)) {
            Verdict::NotApplicable { reason } => assert!(reason.contains("--last-words")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_harness_dropped_or_killed_accuses_nobody() {
        let dropped = EventKind::OutputDropped { lines: 9, job_lines: 9 };
        let dropped = promising_bye().event(3, dropped).exit_code(9, 0);
        assert!(inconclusive(verdict(dropped)).contains("not all of them were kept"));
        let killed = promising_bye().killed_at_deadline();
        assert!(inconclusive(verdict(killed)).contains("did not end by itself"));
    }

    fn logged(lines: usize) -> Story {
        let story = Story::new().promising(|it| it.log.access_log = vec!["^GET ".into()]).signal();
        let story = story.completed_request(-400, -300).completed_request(-200, 30);
        let story = story.reset_request(-200, 30);
        (0..lines).fold(story, |story, _| story.line(35, "GET /sleep?ms=900 200")).exit_code(40, 0)
    }

    #[test]
    fn each_answered_request_has_its_line() {
        assert_eq!(satisfied(verdict(logged(2))), 2);
        assert_eq!(satisfied(verdict(logged(3))), 2, "one that was reset may have one");
        let violations = violated(verdict(logged(1)));
        assert_eq!(
            violations[0].message,
            "2 requests for /sleep answered and 1 line in the log that name it; process 123 \
             exited with status 0 40 ms after SIGTERM"
        );
        assert!(inconclusive(verdict(logged(0))).contains("--access-log"));
    }

    #[test]
    fn a_path_stands_in_a_line_as_a_whole() {
        assert!(names("GET /sleep?ms=9 HTTP/1.1", "/sleep"));
        assert!(names("\"GET / HTTP/1.1\" 200", "/"));
        assert!(names("GET /orders/17 200", &path_of("/orders/{key}")));
        for (line, path) in [("GET /sleep/x 200", "/sleep"), ("GET /a 200", "/"), ("/x/a", "/a")] {
            assert!(!names(line, path), "{line} {path}");
        }
        assert_eq!(path_of("/echo (slow upload)"), "/echo");
    }
}
