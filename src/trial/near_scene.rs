//! The situation of one request or one job whose life the signal is aimed at: where the landmark is
//! expected, and, afterwards, where it was.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::timed::Timed;
use crate::model::event::{Event, EventKind};
use crate::model::moment::Moment;
use crate::model::near::{NearLandmark, NearMoment, RequestLife};
use crate::model::time::Nanos;

use super::carry_out::Course;
use super::life::Life;
use super::lives::passed;
use super::situation::Scene;

/// From the order of the signal to the beginning of its request: for the threads to begin, and for
/// the readiness search's connections to end.
const LEAD: Duration = Duration::from_millis(12);
/// A kept connection rests so long before its next request.
const REST: Duration = Duration::from_millis(3);

/// What the signal is aimed at.
pub(super) struct Near {
    moment: NearMoment,
    /// When the landmark is expected.
    predicted: Nanos,
    /// How far apart it was when it was measured.
    spread: Duration,
    /// The request, where it is one.
    pub(super) life: Option<Life>,
    /// What the id of the job, or the key that submits it, is.
    job: Option<String>,
}

impl Near {
    /// A job's landmark.
    pub(super) fn of_job(moment: NearMoment, predicted: Nanos, job: String) -> Self {
        Self { moment, predicted, spread: Duration::ZERO, life: None, job: Some(job) }
    }
}

impl Course<'_> {
    /// Sets up what the signal meets at or near a landmark of one life; nothing where it meets
    /// something else.
    pub(super) async fn set_up_life(&mut self) -> Option<(Option<Nanos>, Scene)> {
        let (at, scene) = match self.moment()? {
            Moment::Job { landmark } => self.set_up_job(landmark).await,
            Moment::Near(near) if near.landmark.is_of_job() => self.set_up_near_job(near).await,
            Moment::Near(near) => self.set_up_near(near).await,
            _ => return None,
        };
        if let Scene::There(_) = scene {
            self.recorder.record(EventKind::SituationReached);
        }
        Some((at, scene))
    }

    /// Lets a request begin at a known instant, with the signal at its distance from where the
    /// landmark is expected.
    async fn set_up_near(&mut self, moment: NearMoment) -> (Option<Nanos>, Scene) {
        match self.aim(moment).await {
            Ok(at) => (Some(at), Scene::There(None)),
            Err(what) => (None, Scene::Missed(what.into())),
        }
    }

    async fn aim(&mut self, moment: NearMoment) -> Result<Nanos, &'static str> {
        let address = self.clients.address.as_ref().ok_or("the target has no listener")?;
        let quiet = (&self.clients.requests[..], address);
        let named = self.trial.asks.as_ref().and(self.parts.first());
        let asked = named.map(|part| part.template);
        let (template, life) = self.subject.lives.measured((moment, asked), quiet).await?;
        let timed = Timed::prepare(self.clients.clone(), template, moment.kept).await;
        let timed = timed.ok_or("no connection was kept after its response")?;
        sleep(REST).await;
        let begin = self.recorder.now() + LEAD;
        let (predicted, at) = aimed(&life, moment, begin).ok_or("no landmark was rehearsed")?;
        let spread = life.spread_of(moment.landmark);
        let life = Some(Life::new(begin));
        self.near = Some(Near { moment, predicted, spread, life, job: None });
        self.workers.spawn_local(timed.ask_at(begin));
        Ok(at)
    }

    /// Writes down when the landmark really was, as far as it was seen.
    pub(super) fn note_landmark(&self) {
        let Some(Near { moment, predicted, spread, life, job }) = &self.near else { return };
        let passed = self.recorder.read(|events| match (life, job) {
            (Some(life), _) => landmark_of_request(events, life, moment.landmark),
            (None, Some(job)) => self.landmark_of_job(events, job, moment.landmark),
            (None, None) => None,
        });
        let (landmark, predicted, spread) = (moment.landmark, *predicted, *spread);
        self.recorder.record(EventKind::LandmarkPassed { landmark, predicted, spread, passed });
    }

    fn landmark_of_job(&self, events: &[Event], id: &str, landmark: NearLandmark) -> Option<Nanos> {
        if landmark == NearLandmark::JobAcknowledged {
            return events.iter().find_map(|event| match &event.kind {
                EventKind::JobSubmit(submit) if submit.key == id => {
                    submit.status.map(|_| submit.ended)
                }
                _ => None,
            });
        }
        let jobs = self.subject.job_lines.books(events).jobs;
        let job = jobs.into_iter().rfind(|job| job.id == id)?;
        if landmark == NearLandmark::JobFinish { job.finished } else { Some(job.started) }
    }
}

/// When a landmark is expected, and when a signal at its distance goes out.
fn aimed(life: &RequestLife, moment: NearMoment, begin: Nanos) -> Option<(Nanos, Nanos)> {
    let predicted = begin + life.time_of(moment.landmark)?;
    let ns = life.instant_ns(moment)?;
    let distance = Duration::from_nanos(ns.unsigned_abs());
    Some((predicted, if ns < 0 { begin - distance } else { begin + distance }))
}

fn landmark_of_request(events: &[Event], life: &Life, landmark: NearLandmark) -> Option<Nanos> {
    let place = NearLandmark::OF_REQUEST.iter().position(|it| *it == landmark)?;
    let passed = passed(events, life.begin, life.sights())?[place]?;
    Some(life.begin + passed)
}
