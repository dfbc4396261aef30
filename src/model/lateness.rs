//! How far the harness itself can be trusted in a trial: how late it was, and against what.

use std::time::Duration;

use super::event::EventKind;
use super::history::History;
use super::moment::Moment;
use super::near::NearMoment;
use super::time::{Nanos, human};

/// A clock that counts in longer steps orders nothing that a signal meets.
const CLOCK_STEP_MAX: Duration = Duration::from_millis(1);
/// An error below that is usual on an ordinary machine. What was sent is judged by when it was really
/// sent, and is still a second signal that came at once.
const USUAL_ERROR: Duration = Duration::from_millis(1);

impl History {
    /// Why nothing can be told from the instants, where the harness itself was too late.
    pub fn too_late(&self) -> Option<String> {
        let late = self.late().or_else(|| self.past_its_window());
        late.or_else(|| self.past_its_landmark()).or_else(|| self.coarse_clock())
    }

    /// How late the harness itself was at its worst.
    pub fn lag(&self) -> Duration {
        let lags = self.events().iter().filter_map(|event| match event.kind {
            EventKind::HarnessLag { worst } => Some(worst),
            _ => None,
        });
        lags.max().unwrap_or_default()
    }

    fn late(&self) -> Option<String> {
        let (lag, limit) = (self.lag(), self.contract().lag_limit);
        (lag > limit).then(|| {
            let waited = self.waited().filter(|waited| *waited > limit);
            let waited = waited.map_or_else(String::new, |waited| {
                format!(" (its thread waited {} for a processor)", human(waited))
            });
            format!(
                "the harness itself was {} late{waited}, more than {}: the machine is too busy to \
                 tell",
                human(lag),
                human(limit)
            )
        })
    }

    /// A second signal that came later than planned by more than the time it was to come after, and
    /// by more than is usual, shows something else than the trial is for.
    fn past_its_window(&self) -> Option<String> {
        let planned = self.header().trial.signals.iter().skip(1);
        let window: Duration = planned.filter_map(|planned| planned.moment.gap()).sum();
        let later = self.signals().iter().skip(1);
        let error: Duration = later.map(|sent| sent.bracket.before.since(sent.planned)).sum();
        (window > Duration::ZERO && error > window.max(USUAL_ERROR)).then(|| {
            format!(
                "the harness sent a later signal {} after its plan, more than the {} that it was to \
                 come after: the machine is too busy to tell",
                fine(error),
                fine(window)
            )
        })
    }

    /// A signal that was aimed at a landmark and came later than planned by more than its distance
    /// from there, and by more than is usual, met something else.
    fn past_its_landmark(&self) -> Option<String> {
        let aim = self.aim()?;
        let distance = aim.planned.since(aim.expected).max(aim.expected.since(aim.planned));
        let error = aim.sent.since(aim.planned);
        (error > distance.max(USUAL_ERROR)).then(|| {
            format!(
                "the harness sent the signal {} after its plan, more than the {} between it and {}: \
                 the machine is too busy to tell",
                fine(error),
                fine(distance),
                aim.moment.landmark.name()
            )
        })
    }

    /// When the first signal came, in words for reports: on the side of its landmark on which it was
    /// really sent, where the harness was too late for the other.
    pub fn moment(&self) -> String {
        let has_crossed = |aim: &Aim| aim.planned < aim.expected && aim.sent >= aim.expected;
        match self.aim().filter(has_crossed) {
            Some(aim) => NearMoment { offset_us: 0, ..aim.moment }.name().to_owned(),
            None => self.header().trial.moment(),
        }
    }

    /// What a signal near a landmark was aimed at.
    fn aim(&self) -> Option<Aim> {
        let Moment::Near(moment) = self.header().trial.signals.first()?.moment else { return None };
        let sent = self.signal()?;
        let expected = self.events().iter().find_map(|event| match event.kind {
            EventKind::LandmarkPassed { predicted, .. } => Some(predicted),
            _ => None,
        })?;
        Some(Aim { moment, expected, planned: sent.planned, sent: sent.bracket.before })
    }

    fn coarse_clock(&self) -> Option<String> {
        let steps = self.events().iter().filter_map(|event| match event.kind {
            EventKind::HarnessShare { clock_step, .. } => Some(clock_step),
            _ => None,
        });
        let step = steps.max().filter(|step| *step > CLOCK_STEP_MAX)?;
        Some(format!("the clock of this machine counts in steps of {}", human(step)))
    }

    /// How long the harness's thread waited for a processor, where the kernel tells.
    fn waited(&self) -> Option<Duration> {
        self.events().iter().find_map(|event| match event.kind {
            EventKind::HarnessShare { waited, .. } => waited,
            _ => None,
        })
    }
}

/// A signal near a landmark: where that was expected, and when the signal was to come and came.
struct Aim {
    moment: NearMoment,
    expected: Nanos,
    planned: Nanos,
    sent: Nanos,
}

/// A length of time that may well be below a millisecond.
fn fine(duration: Duration) -> String {
    match duration < Duration::from_millis(1) {
        true => format!("{} µs", duration.as_micros()),
        false => human(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::Story;
    use crate::model::event::Event;
    use crate::model::near::NearLandmark;
    use crate::model::plan::{Moment, PlannedSignal, SignalTo, Situation};
    use crate::model::signal::Signal;

    /// A history whose second signal was to come this long after the first, and came so much later.
    fn second_after(gap: Duration, error: Duration) -> History {
        let story = Story::new().in_situation(Situation::SecondSignal).signal();
        let history = story.later(10, Signal::TERM).exit_code(12, 0).history();
        let (mut header, mut events) = history.into_parts();
        let first =
            PlannedSignal { signal: Signal::TERM, to: SignalTo::Leader, moment: Moment::Reached };
        let later = PlannedSignal { moment: Moment::AfterPrevious { gap }, ..first.clone() };
        header.trial.signals = vec![first, later];
        let sendings = events.iter_mut().filter_map(|event| match &mut event.kind {
            EventKind::SignalSending { planned, .. } => Some((event.at, planned)),
            _ => None,
        });
        let (at, planned) = sendings.last().unwrap();
        *planned = at - error;
        History::new(header, events).unwrap()
    }

    #[test]
    fn a_second_signal_that_came_past_its_window_shows_nothing() {
        const US: fn(u64) -> Duration = Duration::from_micros;
        let late = second_after(US(1_000), US(9_000)).too_late().unwrap();
        assert!(late.contains("9.0 ms after its plan, more than the 1.0 ms"), "{late}");
        let late = second_after(US(20), US(1_100)).too_late().unwrap();
        assert!(late.contains("1.1 ms after its plan, more than the 20 µs"), "{late}");
        assert_eq!(second_after(US(6_000), US(4_000)).too_late(), None);
        assert_eq!(second_after(US(20), US(900)).too_late(), None, "that is usual");
    }

    /// A history whose signal was to come so many microseconds from where the accept was expected
    /// and came so much later.
    fn near_accept(offset_us: i64, error: Duration) -> History {
        let story = Story::new().in_situation(Situation::OneRequest).signal();
        let (mut header, mut events) = story.exit_code(12, 0).history().into_parts();
        let moment =
            NearMoment { landmark: NearLandmark::Accept, offset_us, kept: false, slow: false };
        header.trial.signals = vec![PlannedSignal {
            signal: Signal::TERM,
            to: SignalTo::Leader,
            moment: Moment::Near(moment),
        }];
        let mut sendings = events.iter_mut().filter_map(|event| match &mut event.kind {
            EventKind::SignalSending { planned, .. } => Some((event.at, planned)),
            _ => None,
        });
        let (at, planned) = sendings.next().unwrap();
        *planned = at - error;
        let distance = Duration::from_micros(offset_us.unsigned_abs());
        let predicted = if offset_us < 0 { *planned + distance } else { *planned - distance };
        let (landmark, spread) = (NearLandmark::Accept, Duration::ZERO);
        let at = events.last().unwrap().at;
        let passed = EventKind::LandmarkPassed { landmark, predicted, spread, passed: None };
        events.push(Event { at, kind: passed });
        History::new(header, events).unwrap()
    }

    #[test]
    fn a_signal_past_its_landmark_is_called_so_or_shows_nothing() {
        const US: fn(u64) -> Duration = Duration::from_micros;
        let moment = |offset, error| near_accept(offset, US(error)).moment();
        assert_eq!(moment(-50, 20), "< accept");
        assert_eq!(moment(-50, 60), "> accept", "it came after the accept was expected");
        assert_eq!(moment(50, 60), "> accept");
        assert_eq!(near_accept(-50, US(900)).too_late(), None, "that is usual");
        assert_eq!(near_accept(-5_000, US(4_000)).too_late(), None);
        let late = near_accept(-50, US(3_000)).too_late().unwrap();
        assert!(late.contains("3.0 ms after its plan, more than the 50 µs"), "{late}");
        assert!(near_accept(200, US(3_000)).too_late().is_some(), "10 µs are not 3 ms");
    }

    fn with(share: EventKind, lag_ms: u64) -> History {
        let lag = EventKind::HarnessLag { worst: Duration::from_millis(lag_ms) };
        let story = Story::new().signal().exit_code(5, 0);
        story.event(9, share).event(9, lag).history()
    }

    #[test]
    fn a_thread_that_waited_for_a_processor_says_so() {
        let share = |waited_ms, step_us| EventKind::HarnessShare {
            waited: Some(Duration::from_millis(waited_ms)),
            clock_step: Duration::from_micros(step_us),
        };
        let late = with(share(80, 0), 60).too_late().unwrap();
        assert!(late.contains("60 ms late (its thread waited 80 ms for a processor)"), "{late}");
        assert_eq!(with(share(80, 0), 10).too_late(), None, "it was in time all the same");
        let coarse = with(share(0, 4000), 0).too_late().unwrap();
        assert!(coarse.contains("steps of 4.0 ms"), "{coarse}");
    }
}
