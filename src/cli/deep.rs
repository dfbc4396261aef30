//! `--deep`: which system calls the trials are to meet.

use crate::model::plan::{Moment, Situation};
use crate::model::run::{DeepReport, RunReport};
use crate::model::signal::Signal;
use crate::model::syscall::{PointManner, SyscallPoint};
use crate::plan::points::most_telling_first;
use crate::trial::deep::{Points, rehearse_points};
use crate::trial::interrupt::Interrupt;
use crate::trial::subject::Subject;

use super::failure::Failure;
use super::settings::Settings;

/// What is tried at system calls.
#[derive(Debug, Default)]
pub(super) struct Deep {
    /// The points, in their order.
    pub(super) points: Vec<(SyscallPoint, PointManner)>,
    /// What the report says of them; nothing where they were not asked for.
    pub(super) report: Option<DeepReport>,
}

/// Rehearses the target's system calls, where that was asked for.
///
/// # Errors
/// When the target can't be started, or when nothing else is to be tried and nothing can be.
pub(super) fn deep(
    settings: &Settings,
    subject: &Subject,
    interrupt: &Interrupt,
) -> Result<Deep, Failure> {
    if !settings.deep || !settings.situations.contains(&Situation::OneRequest) {
        return Ok(Deep::default());
    }
    let signal = settings.signals.first().copied().unwrap_or(Signal::TERM);
    let rehearsed = rehearse_points(subject, signal, interrupt)
        .map_err(|error| interrupt.asked().map_or(Failure::from(error), Failure::Interrupted))?;
    match rehearsed {
        Points::Seen(points) => {
            let points = most_telling_first(&points);
            let text = |&(point, manner): &_| Moment::AtSyscall { point, manner }.text();
            let texts = points.iter().map(text).collect();
            let report = DeepReport { points: texts, tried: 0, lacking: None };
            Ok(Deep { points, report: Some(report) })
        }
        Points::None(why) if settings.situations == [Situation::OneRequest] => {
            Err(Failure::NoPoint(why))
        }
        Points::None(why) => {
            let report = DeepReport { points: Vec::new(), tried: 0, lacking: Some(why) };
            Ok(Deep { points: Vec::new(), report: Some(report) })
        }
    }
}

/// The points of a run, from its report.
pub(super) fn points_of(report: &RunReport) -> Vec<(SyscallPoint, PointManner)> {
    let texts = report.deep.iter().flat_map(|deep| &deep.points);
    let moments = texts.filter_map(|text| text.parse().ok());
    moments
        .filter_map(|moment| match moment {
            Moment::AtSyscall { point, manner } => Some((point, manner)),
            _ => None,
        })
        .collect()
}
