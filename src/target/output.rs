//! What the target writes, line by line, in bounded memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use regex::Regex;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::model::event::{EventKind, LineSource, SourceLine, Stream};
use crate::model::ledger::JobLines;
use crate::model::log::LogLines;
use crate::observe::recorder::Recorder;

/// A longer line is cut.
const LINE_BYTES_MAX: usize = 4096;
/// Lines that are kept of a trial, besides those of jobs.
const LINES_MAX: usize = 1000;
/// Lines of jobs, and others that the contract has a pattern for, that are kept of a trial.
const JOB_LINES_MAX: usize = 100_000;
/// Lines that are shown to the user when the target can't be tested.
const LAST_LINES: usize = 10;

/// Takes down the lines of one target.
#[derive(Clone, Debug)]
pub struct Output {
    recorder: Recorder,
    jobs: Arc<JobLines>,
    log: Arc<LogLines>,
    counts: Rc<RefCell<Counts>>,
    /// The line that says that the target is ready, and whether it was read.
    ready: Option<(Rc<Regex>, watch::Sender<bool>)>,
}

#[derive(Debug, Default)]
struct Counts {
    lines: usize,
    job_lines: usize,
    dropped: u64,
    jobs_dropped: u64,
    last: VecDeque<String>,
}

impl Output {
    /// Takes lines down in `recorder`; those that the contract has a pattern for are kept even when
    /// the target writes many.
    pub fn new(recorder: Recorder, jobs: Arc<JobLines>, log: Arc<LogLines>) -> Self {
        Self { recorder, jobs, log, counts: Rc::default(), ready: None }
    }

    /// The same, which tells whether a line was read that matches.
    pub fn telling(self, line: Regex) -> (Self, watch::Receiver<bool>) {
        let (tell, told) = watch::channel(false);
        (Self { ready: Some((Rc::new(line), tell)), ..self }, told)
    }

    /// Takes down a line that was found elsewhere, if the contract has a pattern for it.
    pub fn line_of_source(&self, line: SourceLine) {
        let is_wanted = match line.source {
            LineSource::JobFile | LineSource::JobUrl => self.jobs.matches(&line.line),
            LineSource::LogFile => self.log.matches(&line.line),
        };
        if is_wanted {
            self.keep(true, EventKind::SourceLine(line));
        }
    }

    /// Reads a pipe of the target's to its end.
    pub async fn read(self, pipe: OwnedFd, stream: Stream) {
        let Ok(mut receiver) = pipe::Receiver::from_owned_fd(pipe) else { return };
        let mut buffer = vec![0; 64 * 1024];
        let mut partial = Vec::new();
        let mut cut = false;
        while let Ok(length @ 1..) = receiver.read(&mut buffer).await {
            for piece in buffer[..length].split_inclusive(|byte| *byte == b'\n') {
                let ends = piece.ends_with(b"\n");
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                let room = LINE_BYTES_MAX - partial.len();
                partial.extend_from_slice(&text[..text.len().min(room)]);
                cut |= text.len() > room;
                if ends {
                    self.line(stream, &mut partial, &mut cut, false);
                }
            }
            // A target that floods must not starve the clients, which share this thread.
            tokio::task::yield_now().await;
        }
        if !partial.is_empty() {
            self.line(stream, &mut partial, &mut cut, true);
        }
    }

    /// The last lines that the target wrote.
    pub fn last_lines(&self) -> Vec<String> {
        self.counts.borrow().last.iter().cloned().collect()
    }

    /// Writes down how many lines were not kept.
    pub fn finish(&self) {
        let mut counts = self.counts.borrow_mut();
        let lines = std::mem::take(&mut counts.dropped);
        let job_lines = std::mem::take(&mut counts.jobs_dropped);
        if lines > 0 {
            self.recorder.record(EventKind::OutputDropped { lines, job_lines });
        }
    }

    fn line(&self, stream: Stream, partial: &mut Vec<u8>, is_long: &mut bool, cut: bool) {
        let line = text_of(partial, std::mem::take(is_long));
        partial.clear();
        let mut counts = self.counts.borrow_mut();
        if counts.last.len() == LAST_LINES {
            counts.last.pop_front();
        }
        counts.last.push_back(line.clone());
        drop(counts);
        if let Some((_, tell)) = self.ready.as_ref().filter(|(ready, _)| ready.is_match(&line)) {
            tell.send_replace(true);
        }
        let is_wanted = self.jobs.matches(&line) || self.log.matches(&line);
        self.keep(is_wanted, EventKind::OutputLine { stream, line, cut });
    }

    /// Writes a line down, unless there were too many of its kind.
    fn keep(&self, is_wanted: bool, line: EventKind) {
        let mut counts = self.counts.borrow_mut();
        let (count, max) = match is_wanted {
            true => (&mut counts.job_lines, JOB_LINES_MAX),
            false => (&mut counts.lines, LINES_MAX),
        };
        if *count < max {
            *count += 1;
            self.recorder.record(line);
        } else {
            counts.dropped += 1;
            counts.jobs_dropped += u64::from(is_wanted);
        }
    }
}

/// The text of a line, marked where it was too long to be kept whole.
fn text_of(line: &[u8], is_long: bool) -> String {
    let mut text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
    if is_long {
        text.push('…');
    }
    text
}

/// The same of a line that was read as a whole.
pub fn line_text(line: &[u8]) -> String {
    text_of(&line[..line.len().min(LINE_BYTES_MAX)], line.len() > LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::model::contract::JobPatterns;

    fn lines_of(written: &[u8]) -> (Vec<EventKind>, Vec<String>) {
        let recorder = Recorder::new();
        let jobs = Arc::new(JobLines::new(&JobPatterns::usual()).unwrap());
        let output = Output::new(recorder.clone(), jobs, Arc::default());
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let written = written.to_owned();
        let writing = std::thread::spawn(move || {
            std::fs::File::from(writer).write_all(&written).unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(output.clone().read(reader, Stream::Stdout));
        writing.join().unwrap();
        output.finish();
        let last = output.last_lines();
        (recorder.into_events().into_iter().map(|event| event.kind).collect(), last)
    }

    fn line(text: &str) -> EventKind {
        EventKind::OutputLine { stream: Stream::Stdout, line: text.into(), cut: false }
    }

    #[test]
    fn lines_come_one_by_one_and_a_last_one_without_an_end_is_cut() {
        let (events, last) = lines_of(b"one\r\ntwo\n\nthree");
        assert_eq!(events[..3], ["one", "two", ""].map(line));
        let (stream, line) = (Stream::Stdout, "three".into());
        assert_eq!(events[3..], [EventKind::OutputLine { stream, line, cut: true }]);
        assert_eq!(last, ["one", "two", "", "three"]);
    }

    #[test]
    fn a_flood_is_counted_but_jobs_are_kept() {
        let mut written = b"noise\n".repeat(LINES_MAX + 5);
        written.extend_from_slice(b"job id=7 started\n");
        let (events, last) = lines_of(&written);
        assert_eq!(events.len(), LINES_MAX + 2);
        assert_eq!(events[LINES_MAX], line("job id=7 started"));
        assert_eq!(events[LINES_MAX + 1], EventKind::OutputDropped { lines: 5, job_lines: 0 });
        assert_eq!(last.len(), LAST_LINES);
    }

    #[test]
    fn a_line_that_is_too_long_is_shortened() {
        let (events, _) = lines_of(&[b'x'; 100_000]);
        let EventKind::OutputLine { line, .. } = &events[0] else { panic!("{events:?}") };
        assert_eq!(line.chars().count(), LINE_BYTES_MAX + 1);
        assert_eq!(events.len(), 1);
    }
}
