//! The catalogue for people: what an invariant means, and the list of what there is.

use crate::invariants::Invariant;
use crate::model::plan::Situation;
use crate::model::verdict::Profile;

use super::text::hanging;

const WIDTH: usize = 80;

/// What an invariant means, why it matters, and how servers get it wrong and right.
pub fn explain(invariant: &Invariant) -> String {
    let severities = Profile::ALL
        .map(|profile| format!("{} in {profile}", invariant.severity.under(profile)))
        .join(", ");
    let parts = [
        ("Fails when", invariant.fails_when),
        ("Why it matters", invariant.why),
        ("Usual cause", invariant.usual_cause),
        ("Fix", invariant.fix),
        ("Exercised by", invariant.needs),
        ("Severity", severities.as_str()),
        ("Source", invariant.source),
    ];
    let mut text = format!("{}\n", invariant.id);
    for (title, body) in parts {
        text.push_str(&format!("\n{title}\n"));
        for paragraph in body.lines() {
            text.push_str(&hanging("  ", paragraph, WIDTH));
        }
    }
    text
}

/// What there is: invariants with their severity by profile, situations, profiles.
pub fn list(invariants: &[&Invariant]) -> String {
    let id_width = invariants.iter().map(|invariant| invariant.id.len()).max().unwrap_or(0).max(10);
    let profiles = Profile::ALL.map(|profile| format!("{:<9}", profile.name())).concat();
    let mut text = format!("{:<id_width$}  {}\n", "invariants", profiles.trim_end());
    for invariant in invariants {
        let severities = Profile::ALL
            .map(|profile| format!("{:<9}", invariant.severity.under(profile)))
            .concat();
        text.push_str(&format!("{:<id_width$}  {}\n", invariant.id, severities.trim_end()));
    }
    text.push_str("\nsituations\n");
    for situation in Situation::ALL {
        text.push_str(&entry(situation.name(), situation.about()));
    }
    text.push_str("\nprofiles\n");
    for profile in Profile::ALL {
        text.push_str(&entry(profile.name(), profile.about()));
    }
    text.push_str("\nshutdown-check explain ID tells what an invariant means.\n");
    text
}

fn entry(name: &str, about: &str) -> String {
    hanging(&format!("{name:<16}  "), about, WIDTH)
}

#[cfg(test)]
mod tests {
    use super::super::text::columns;
    use super::*;
    use crate::invariants::{CATALOGUE, Severities};
    use crate::model::verdict::{Severity, Verdict};

    const SAMPLE: Invariant = Invariant {
        id: "responses-are-whole",
        fails_when: "a response that began is cut: fewer bytes than Content-Length says, or no \
                     last chunk",
        why: "A client may take half an answer for a whole one.",
        source: "RFC 9112, section 8",
        usual_cause: "The process exits while a handler still writes.",
        fix: "Go: wait for Shutdown to return before main does.\nRust: await the server's future.",
        counts: crate::invariants::Counts::TRIALS,
        needs: "a response that began before the signal and was not over",
        severity: Severities { graceful: Severity::Deny, strict: Severity::Deny },
        check: |_| Verdict::inconclusive("not used here"),
    };
    const OTHER: Invariant = Invariant {
        id: "exit-status-is-clean",
        severity: Severities { graceful: Severity::Warn, strict: Severity::Deny },
        ..SAMPLE
    };

    #[test]
    fn an_explanation_has_every_part() {
        insta::assert_snapshot!(explain(&SAMPLE));
    }

    #[test]
    fn the_list_shows_severities_by_profile() {
        insta::assert_snapshot!(list(&[&SAMPLE, &OTHER]));
    }

    #[test]
    fn everything_in_the_catalogue_fits() {
        let texts = CATALOGUE.iter().map(|invariant| explain(invariant));
        for text in texts.chain([list(CATALOGUE)]) {
            assert!(text.lines().all(|line| columns(line) <= WIDTH), "{text}");
        }
    }
}
