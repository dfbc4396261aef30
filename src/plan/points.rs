//! In which order the boundaries of system calls are tried.

use crate::model::plan::Moment;
use crate::model::syscall::{Call, PointManner, Side, SyscallPoint};

/// Every point in every manner, those first at which servers lose most: when a request was read or
/// its connection accepted, and the thread knows nothing of it yet, or nobody else does.
pub fn most_telling_first(points: &[SyscallPoint]) -> Vec<(SyscallPoint, PointManner)> {
    let in_every_manner = |point: &SyscallPoint| PointManner::ALL.map(|manner| (*point, manner));
    let mut all: Vec<_> = points.iter().flat_map(in_every_manner).collect();
    all.sort_by_key(|&(point, manner)| (point.nth, place(point, manner), point.reach));
    all
}

/// When the signal of a visit comes.
pub(super) fn moment(points: &[(SyscallPoint, PointManner)], visit: usize) -> Option<Moment> {
    let (point, manner) = *points.get(visit % points.len().max(1))?;
    Some(Moment::AtSyscall { point, manner })
}

/// A smaller number comes first. What a held thread loses, one that goes on at once may lose as
/// well, but less often; one more connection in the accept queue is lost wherever a server does
/// not empty it.
fn place(point: SyscallPoint, manner: PointManner) -> u8 {
    let of_call = match (point.call, point.side) {
        (Call::Recv, Side::After) => 0,
        (Call::Accept, Side::After) => 1,
        (Call::Recv, Side::Before) => 2,
        (Call::Accept, Side::Before) => 3,
        (Call::Wait, _) => 4,
        (Call::Send, Side::Before) => 5,
        (Call::Send, Side::After) => 6,
        (Call::Shutdown | Call::Close, Side::Before) => 7,
        (Call::Shutdown | Call::Close, Side::After) => 8,
    };
    let later = match manner {
        PointManner::Held => 0,
        PointManner::Extra => 2,
        PointManner::Plain => 4,
    };
    of_call + later
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn points() -> Vec<SyscallPoint> {
        let texts =
            ["before accept", "after accept", "before recv #1", "after recv #1", "before send #1"];
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn every_point_comes_once_in_every_manner_and_a_request_just_read_first() {
        let all = most_telling_first(&points());
        assert_eq!(all.len(), points().len() * PointManner::ALL.len());
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        let first = (all[0].0.to_string(), all[0].1);
        assert_eq!(first, ("after recv #1".to_owned(), PointManner::Held));
    }

    #[test]
    fn visits_go_round() {
        let all = most_telling_first(&points());
        assert_eq!(moment(&all, 0), moment(&all, all.len()));
        assert_eq!(moment(&[], 3), None);
    }
}
