//! The situation of a job whose start, finish or submission the signal is aimed at.

use std::time::Duration;

use tokio::time::sleep;

use crate::model::ledger::Job;
use crate::model::near::{NearLandmark, NearMoment, folded};
use crate::model::time::Nanos;

use super::carry_out::Course;
use super::job_scene::{SOME_TIME, is_new, running};
use super::near_scene::Near;
use super::situation::Scene;

/// A moment that is nearer than this can't be met any more.
const SOON: Duration = Duration::from_millis(2);
/// From the order of the signal to the end of the request that submits a job.
const LEAD: Duration = Duration::from_millis(12);
/// The answer to such a request is no longer than this in coming, or its signal is not aimed at it.
const SIDE_MAX: Duration = Duration::from_secs(1);

impl Course<'_> {
    /// Waits for a job whose landmark is to come, or lets one be submitted at a known instant.
    pub(super) async fn set_up_near_job(&mut self, near: NearMoment) -> (Option<Nanos>, Scene) {
        let found = match near.landmark {
            NearLandmark::JobAcknowledged => self.submit_one_job(near).await,
            _ => {
                self.look_for_job(|jobs, when| self.near(near, jobs, when)).await.map_err(|limit| {
                    let landmark = near.landmark.name();
                    format!("no {landmark} was near within {} s", limit.as_secs())
                })
            }
        };
        match found {
            Ok((aim, at)) => {
                self.near = Some(aim);
                (Some(at), Scene::There(None))
            }
            Err(what) => (None, Scene::Missed(what)),
        }
    }

    /// The job that a moment is near to, and when the signal goes out: not before it has begun, nor
    /// when the next of its kind may be under way.
    fn near(
        &self,
        near: NearMoment,
        jobs: &[Job],
        (begun, now): (Nanos, Nanos),
    ) -> Option<(Near, Nanos)> {
        let usual = self.usual(jobs);
        let aimed = |job: &Job, landmark: Nanos, usual: Duration| {
            let at = beside(landmark, near, usual / 2);
            (Near::of_job(near, landmark, job.id.clone()), at)
        };
        if near.landmark == NearLandmark::JobStart {
            let job = running(jobs).find(|job| is_new(job, begun))?;
            return Some(aimed(job, job.started, usual(job).unwrap_or(SOME_TIME)));
        }
        let due = |job: &Job| {
            let usual = usual(job)?;
            Some(aimed(job, job.started + usual, usual))
        };
        running(jobs).filter_map(due).find(|(_, at)| *at > now + SOON)
    }

    /// Has a job submitted, to see how long the answer takes, and then another at a known instant.
    async fn submit_one_job(&mut self, near: NearMoment) -> Result<(Near, Nanos), String> {
        let submitter = self.submitter()?;
        let kept = submitter.first().await?;
        let one = submitter.first_took();
        let connection = submitter.connect_one().await?;
        sleep(LEAD).await;
        let due = self.recorder.now() + LEAD;
        let answered = due + one;
        let room = if near.offset_us < 0 { one + LEAD / 4 } else { SIDE_MAX };
        let at = beside(answered, near, room);
        self.workers.spawn_local(submitter.clone().complete_at(connection, due));
        self.workers.spawn_local(submitter.clone().late(kept));
        Ok((Near::of_job(near, answered, submitter.key_of_one()), at))
    }
}

/// The instant at a moment's distance from its landmark, within the room for it.
fn beside(landmark: Nanos, near: NearMoment, room: Duration) -> Nanos {
    let distance = folded(near.distance(), room);
    if near.offset_us < 0 { landmark - distance } else { landmark + distance }
}
