//! What the number of a trial says of it: which of the plan it is, or what it was made for beside that.

/// Trials that are run again after a run, to see how often they fail, are counted from here on.
pub const FIRST_AGAIN: u32 = 80_001;
/// Trials of known failures have numbers from here on, so that those of the plan have theirs.
pub const FIRST_KNOWN: u32 = 90_001;
/// A known failure is run at most so often in a run,
pub const KNOWN_ROUNDS: u32 = 5;
/// and has so many numbers: for its rounds, and then for its controls.
pub const KNOWN_NUMBERS: u32 = 20;

/// The trial in words: `trial 13`, `known failure 1, run 3`.
pub fn trial_name(number: u32) -> String {
    match number {
        FIRST_KNOWN.. => {
            let (place, nth) = known_place(number);
            match nth.checked_sub(KNOWN_ROUNDS) {
                None => format!("known failure {}, run {}", place + 1, nth + 1),
                Some(control) => format!("known failure {}, control {}", place + 1, control + 1),
            }
        }
        FIRST_AGAIN.. => format!("run {} to reproduce it", number - FIRST_AGAIN + 1),
        _ => format!("trial {number}"),
    }
}

/// The place of a known failure in its file, from zero, and which of its trials this is.
pub fn known_place(number: u32) -> (u32, u32) {
    let beyond = number.saturating_sub(FIRST_KNOWN);
    (beyond / KNOWN_NUMBERS, beyond % KNOWN_NUMBERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_what_its_trial_is_for() {
        for (number, name) in [
            (13, "trial 13"),
            (80_009, "run 9 to reproduce it"),
            (90_001, "known failure 1, run 1"),
            (90_023, "known failure 2, run 3"),
            (90_006, "known failure 1, control 1"),
        ] {
            assert_eq!(trial_name(number), name);
        }
    }
}
