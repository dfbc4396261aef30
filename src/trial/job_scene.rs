//! The situation of a background job: waits until one is at a landmark of its life.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::load::submit::Submitter;
use crate::model::event::Event;
use crate::model::ledger::{Job, kind, usual_durations};
use crate::model::plan::JobLandmark;
use crate::model::time::Nanos;

use super::carry_out::Course;
use super::situation::Scene;

/// Where no job starts within this time, the next trial may have more luck.
const LIMIT: Duration = Duration::from_secs(5);
/// A job of which it is not known how long it takes is met so long after its start.
pub(super) const SOME_TIME: Duration = Duration::from_millis(50);
/// A job's end is met so long before it is expected, as a part of what it usually takes.
const LEAD_PART: u32 = 50;
const LEAD: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// How often the books are looked at.
const TICK: Duration = Duration::from_millis(1);
/// Jobs are being submitted so long before the signal.
const NOTICE: Duration = Duration::from_millis(30);

/// A job is there, and the signal goes out at this instant; where there is none, as soon as it can.
type Found = Option<Nanos>;

impl Course<'_> {
    /// Waits for a job at its landmark.
    pub(super) async fn set_up_job(&mut self, landmark: JobLandmark) -> (Found, Scene) {
        let found = match landmark {
            JobLandmark::Submitted => self.submit_jobs().await,
            _ => self.wait_for_job(landmark).await,
        };
        match found {
            Ok(at) => (at, Scene::There(None)),
            Err(what) => (None, Scene::Missed(what)),
        }
    }

    async fn wait_for_job(&mut self, landmark: JobLandmark) -> Result<Found, String> {
        let found = self.look_for_job(|jobs, (begun, now)| match landmark {
            JobLandmark::Started => just_started(jobs, begun),
            JobLandmark::Ending => self.about_to_end(jobs, now),
            _ => self.half_way(jobs, now),
        });
        found.await.map_err(|limit| {
            let seconds = limit.as_secs();
            match landmark {
                JobLandmark::Started => format!("no job started within {seconds} s"),
                JobLandmark::Ending => format!("no job was about to end within {seconds} s"),
                _ => format!("no job was running within {seconds} s"),
            }
        })
    }

    /// Looks at the books again and again, for what is found in them; they come with when it was
    /// begun and with now.
    ///
    /// # Errors
    /// For how long it was looked for in vain.
    pub(super) async fn look_for_job<T>(
        &self,
        find: impl Fn(&[Job], (Nanos, Nanos)) -> Option<T>,
    ) -> Result<T, Duration> {
        let begun = self.recorder.now();
        let usual = self.subject.usual_jobs.values().max().copied().unwrap_or_default();
        // The end of a job that has just begun is as far off as it is long.
        let limit = LIMIT + usual.min(LIMIT * 12);
        let wait = async {
            let (mut seen, mut jobs) = (0, Vec::new());
            loop {
                self.recorder.read(|events| {
                    let is_of_job = |event: &Event| {
                        let line = event.kind.job_line();
                        line.is_some_and(|line| self.subject.job_lines.matches(line.text))
                    };
                    if events[seen..].iter().any(is_of_job) {
                        jobs = self.subject.job_lines.books(events).jobs;
                    }
                    seen = events.len();
                });
                if let Some(found) = find(&jobs, (begun, self.recorder.now())) {
                    return found;
                }
                sleep(TICK).await;
            }
        };
        timeout(limit, wait).await.map_err(|_| limit)
    }

    /// A job that has run for half of its time.
    fn half_way(&self, jobs: &[Job], now: Nanos) -> Option<Found> {
        let usual = self.usual(jobs);
        let is_there = |job: &&Job| {
            let age = now.since(job.started);
            match usual(job) {
                Some(usual) => age >= usual / 2 && age < usual - usual / 10,
                None => age >= SOME_TIME,
            }
        };
        running(jobs).find(is_there).map(|_| None)
    }

    /// A job that will end soon, and when.
    fn about_to_end(&self, jobs: &[Job], now: Nanos) -> Option<Found> {
        let usual = self.usual(jobs);
        let due = |job: &Job| {
            let usual = usual(job)?;
            let lead = (usual / LEAD_PART).clamp(LEAD.0, LEAD.1);
            Some(job.started + usual.saturating_sub(lead))
        };
        let soon = now + TICK..now + TICK * 50;
        let mut dues = running(jobs).filter_map(due);
        dues.find(|due| soon.contains(due)).map(Some)
    }

    /// How long a job usually takes, from others of its kind.
    pub(super) fn usual<'j>(&'j self, jobs: &'j [Job]) -> impl Fn(&Job) -> Option<Duration> {
        let of_trial = usual_durations(jobs);
        move |job| {
            let kind = kind(&job.id);
            of_trial.get(kind).or_else(|| self.subject.usual_jobs.get(kind)).copied()
        }
    }

    /// Has jobs submitted: one to see that they are taken, some around the signal, one after it.
    async fn submit_jobs(&mut self) -> Result<Found, String> {
        let submitter = self.submitter()?;
        let kept = submitter.first().await?;
        let connections = submitter.connect_around().await;
        let (at, instant) = (self.recorder.now() + NOTICE, Instant::now() + NOTICE);
        for (nth, connection) in connections.into_iter().enumerate() {
            self.workers.spawn_local(submitter.clone().around(connection, nth, instant));
        }
        self.workers.spawn_local(submitter.late(kept));
        Ok(Some(at))
    }

    /// Who submits jobs.
    pub(super) fn submitter(&self) -> Result<Rc<Submitter>, String> {
        let template = self.subject.target.elsewhere.job_submit.as_ref();
        let template = template.ok_or("nobody said how a job is submitted (--job-submit)")?;
        let submitter = Submitter::new(self.clients.clone(), template, self.trial.seed);
        Ok(submitter.ok_or("the target has no listener that takes jobs")?)
    }
}

pub(super) fn running(jobs: &[Job]) -> impl Iterator<Item = &Job> {
    jobs.iter().filter(|job| job.finished.is_none())
}

/// A job that has started since it was looked for.
fn just_started(jobs: &[Job], begun: Nanos) -> Option<Found> {
    running(jobs).find(|job| is_new(job, begun)).map(|_| None)
}

pub(super) fn is_new(job: &Job, begun: Nanos) -> bool {
    job.start_known && job.started >= begun
}
