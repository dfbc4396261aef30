//! What is to be seen of a started target that tells what it is built with.

use std::time::Duration;

use crate::model::stack::Signs;
use crate::target::marks::signs;
use crate::target::page::page;
use crate::target::ready::Found;

use super::started::Started;
use super::subject::Subject;

/// So long a page is waited for whose header fields tell what the target is built with.
const SIGNS_LIMIT: Duration = Duration::from_secs(2);

impl Started {
    /// What tells what it is built with: its names, one of its answers, its files.
    pub(super) async fn signs(&self, subject: &Subject, found: &Found) -> Signs {
        let path = subject.target.ready_path.as_deref().unwrap_or("/");
        let answer = match &found.address {
            Some(address) => page(address, path, SIGNS_LIMIT).await,
            None => None,
        };
        let headers = answer.map(|answer| answer.headers).unwrap_or_default();
        let pid = found.owner.unwrap_or(self.launched.leader().pid);
        signs(pid, &subject.target.command, headers)
    }
}
