//! Records without secrets: a history's header and events, and a report. Only texts that people
//! wrote or read are changed, so that what is saved can be read back whatever a secret is.

use std::borrow::Cow;

use super::event::{Event, EventKind, SourceLine};
use super::header::Header;
use super::plan::Trial;
use super::reproduction::Replayed;
use super::run::{Evidence, RunReport};
use super::secrets::{Secrets, hidden_text, hidden_words};

impl Secrets {
    /// The header without them.
    pub fn hide_in_header(&self, header: &Header) -> Header {
        let mut header = header.clone();
        header.command = self.hidden_command(&header.command);
        for request in &mut header.contract.requests {
            self.replace(&mut request.name);
        }
        let jobs = &mut header.contract.jobs;
        for text in jobs.url.iter_mut().chain(&mut jobs.submit) {
            *text = hidden_text(&self.hide(text));
        }
        self.hide_in_trial(&mut header.trial);
        header
    }

    /// Takes them out of the name of the request that a trial asks for.
    pub fn hide_in_trial(&self, trial: &mut Trial) {
        trial.asks.iter_mut().for_each(|name| *name = self.hidden_name(name));
    }

    /// The name of a request, as it is written down.
    pub fn hidden_name(&self, name: &str) -> String {
        hidden_text(&self.hide(name))
    }

    /// The event without them.
    pub fn hide_in_event<'e>(&self, event: &'e Event) -> Cow<'e, Event> {
        let hidden = |text: &String| self.hide(text).into_owned();
        let kind = match &event.kind {
            EventKind::OutputLine { stream, line, cut } => {
                EventKind::OutputLine { stream: *stream, line: hidden(line), cut: *cut }
            }
            EventKind::SourceLine(found) => {
                EventKind::SourceLine(SourceLine { line: hidden(&found.line), ..found.clone() })
            }
            EventKind::SourceRead { source, failed: Some(failed) } => {
                EventKind::SourceRead { source: *source, failed: Some(hidden(failed)) }
            }
            EventKind::ProcessLeft { pid, command } => {
                EventKind::ProcessLeft { pid: *pid, command: hidden_text(&hidden(command)) }
            }
            EventKind::NotRestarted { reason, lines } => EventKind::NotRestarted {
                reason: hidden(reason),
                lines: lines.iter().map(hidden).collect(),
            },
            EventKind::SituationMissed { what } => {
                EventKind::SituationMissed { what: hidden(what) }
            }
            EventKind::RestartMissed { what } => EventKind::RestartMissed { what: hidden(what) },
            EventKind::PooledRequest(request) if request.error.is_some() => {
                let mut request = request.clone();
                request.error.iter_mut().for_each(|error| self.replace(error));
                EventKind::PooledRequest(request)
            }
            _ => return Cow::Borrowed(event),
        };
        Cow::Owned(Event { at: event.at, kind })
    }

    /// Takes them out of a report.
    pub fn hide_in_report(&self, report: &mut RunReport) {
        report.target.command = self.hidden_command(&report.target.command);
        for request in &mut report.target.requests {
            request.name = self.hidden_name(&request.name);
        }
        report.notes.iter_mut().for_each(|note| self.replace(note));
        for invariant in &mut report.invariants {
            let texts = invariant.reason.iter_mut().chain(&mut invariant.again);
            texts.for_each(|text| self.replace(text));
            for evidence in &mut invariant.evidence {
                self.hide_in_evidence(evidence);
            }
        }
        for found in &mut report.reproductions {
            found.evidence.iter_mut().for_each(|evidence| self.hide_in_evidence(evidence));
            let reasons = found.shown.iter_mut().flat_map(|shown| &mut shown.missed);
            let texts = reasons.chain(&mut found.stopped).chain(&mut found.again);
            texts.for_each(|text| self.replace(text));
            for text in found.steps.iter_mut().chain([&mut found.entry]) {
                *text = self.hidden_name(text);
            }
            self.hide_in_trial(&mut found.trial);
        }
        report.replayed.iter_mut().for_each(|replayed| self.hide_in_replayed(replayed));
        report.plan.trials.iter_mut().for_each(|trial| self.hide_in_trial(trial));
        let pid_1 = report.pid_1.iter_mut().flat_map(|pid_1| &mut pid_1.changes);
        pid_1.for_each(|change| self.replace(&mut change.message));
        let cells = report.coverage.iter_mut().flat_map(|cell| &mut cell.reason);
        cells.for_each(|reason| self.replace(reason));
        let missed = report.trials.iter_mut().flat_map(|trial| &mut trial.missed);
        missed.for_each(|missed| self.replace(missed));
        let errors = std::mem::take(&mut report.pooled_clients.errors);
        for (error, times) in errors {
            *report.pooled_clients.errors.entry(self.hide(&error).into()).or_default() += times;
        }
        self.hide_in_value(&mut report.configuration);
    }

    /// Takes them out of what became of a known failure.
    pub fn hide_in_replayed(&self, replayed: &mut Replayed) {
        replayed.reason.iter_mut().for_each(|reason| self.replace(reason));
        self.hide_in_trial(&mut replayed.trial);
    }

    fn hide_in_evidence(&self, evidence: &mut Evidence) {
        self.replace(&mut evidence.message);
        for event in &mut evidence.events {
            *event = self.hide_in_event(event).into_owned();
        }
    }

    fn hidden_command(&self, words: &[String]) -> Vec<String> {
        let mut words = hidden_words(words);
        words.iter_mut().for_each(|word| self.replace(word));
        words
    }

    fn hide_in_value(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => self.replace(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.hide_in_value(value)),
            Value::Object(entries) => {
                entries.values_mut().for_each(|value| self.hide_in_value(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn replace(&self, text: &mut String) {
        if let Cow::Owned(hidden) = self.hide(text) {
            *text = hidden;
        }
    }
}
