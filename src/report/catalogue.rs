//! The catalogue for people: what an invariant means, and the list of what there is.

use crate::invariants::Invariant;
use crate::model::plan::Situation;
use crate::model::stack::Stack;
use crate::model::verdict::Profile;

use super::hints::hint;
use super::moments::TOPICS;
use super::text::hanging;

const WIDTH: usize = 80;

/// What an invariant means, why it matters, and how servers get it wrong and right, in this stack
/// where one is named.
pub fn explain(invariant: &Invariant, stack: Option<Stack>) -> String {
    let mut text = format!("{}\n", invariant.id);
    for (title, mut body) in parts(invariant) {
        if title == "Fix" && stack.is_some() {
            body = hint(invariant, stack);
        }
        text.push_str(&format!("\n{title}\n"));
        for paragraph in body.lines() {
            text.push_str(&hanging("  ", paragraph, WIDTH));
        }
    }
    text
}

/// All of it as a page in Markdown: `docs/INVARIANTS.md`.
pub fn page(invariants: &[&Invariant]) -> String {
    let mut text = String::from(
        "# Invariants\n\nWhat should be true of every shutdown: what `shutdown-check explain NAME` says of \
         each.\n\n",
    );
    for invariant in invariants {
        text.push_str(&format!("- [{0}](#{0})\n", invariant.id));
    }
    for invariant in invariants {
        text.push_str(&format!("\n## {}\n", invariant.id));
        for (title, body) in parts(invariant) {
            text.push_str(&format!("\n**{title}.** {}\n", body.replace('\n', "\\\n")));
        }
    }
    text
}

/// The parts of an explanation, each with its title.
fn parts(invariant: &Invariant) -> [(&'static str, String); 7] {
    let severities = Profile::ALL
        .map(|profile| format!("{} in {profile}", level(invariant, profile)))
        .join(", ");
    [
        ("Definition", invariant.fails_when.into()),
        ("Why it matters", invariant.why.into()),
        ("Usual cause", invariant.usual_cause.into()),
        ("Fix", invariant.fix.into()),
        ("Exercised by", invariant.needs.into()),
        ("Severity", severities),
        ("Source", invariant.source.into()),
    ]
}

/// What a violation does under a profile, where there can be one.
fn level(invariant: &Invariant, profile: Profile) -> String {
    match profile {
        Profile::Worker if invariant.needs_listener() => "–".into(),
        _ => invariant.severity.under(profile).to_string(),
    }
}

/// What there is: invariants with their severity by profile, situations, moments, profiles.
pub fn list(invariants: &[&Invariant]) -> String {
    let parts = [list_invariants(invariants), list_situations(), list_moments(), list_profiles()];
    let parts = parts.join("\n");
    format!("{parts}\nshutdown-check explain NAME tells what one of these means.\n")
}

/// The invariants, with their severity by profile.
pub fn list_invariants(invariants: &[&Invariant]) -> String {
    let id_width = invariants.iter().map(|invariant| invariant.id.len()).max().unwrap_or(0).max(10);
    let line = |id: &str, cells: String| format!("{id:<id_width$}  {}\n", cells.trim_end());
    let cells = |cell: &dyn Fn(Profile) -> String| {
        Profile::ALL.map(|profile| format!("{:<11}", cell(profile))).concat()
    };
    let mut text = line("invariants", cells(&|profile| profile.to_string()));
    for invariant in invariants {
        let severities = cells(&|profile| level(invariant, profile));
        text.push_str(&line(invariant.id, severities));
    }
    text
}

/// The situations, each in a sentence.
pub fn list_situations() -> String {
    let entries = Situation::ALL.map(|situation| entry(situation.name(), situation.about()));
    format!("situations\n{}", entries.concat())
}

/// The kinds of moment, each in a few words.
pub fn list_moments() -> String {
    let entries: String = TOPICS.iter().map(|topic| entry(topic.name, topic.about)).collect();
    format!("moments of the signal\n{entries}")
}

/// The profiles, each in a sentence.
pub fn list_profiles() -> String {
    let entries = Profile::ALL.map(|profile| entry(profile.name(), profile.about()));
    format!("profiles\n{}", entries.concat())
}

/// The same for programs.
pub fn list_json(invariants: &[&Invariant]) -> serde_json::Value {
    let severities = |invariant: &Invariant| -> serde_json::Map<String, serde_json::Value> {
        let levels = Profile::ALL.map(|profile| {
            (profile.name().to_owned(), invariant.severity.under(profile).to_string().into())
        });
        levels.into_iter().collect()
    };
    serde_json::json!({
        "invariants": invariants.iter().map(|invariant| serde_json::json!({
            "id": invariant.id,
            "fails_when": invariant.fails_when,
            "levels": severities(invariant),
        })).collect::<Vec<_>>(),
        "situations": Situation::ALL
            .map(|it| serde_json::json!({ "id": it.name(), "about": it.about() })),
        "moments": TOPICS
            .iter()
            .map(|it| serde_json::json!({ "id": it.name, "about": it.about }))
            .collect::<Vec<_>>(),
        "profiles": Profile::ALL
            .map(|it| serde_json::json!({ "id": it.name(), "about": it.about() })),
    })
}

fn entry(name: &str, about: &str) -> String {
    hanging(&format!("{name:<19}  "), about, WIDTH)
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
        occasions: &[],
        severity: Severities {
            graceful: Severity::Deny,
            strict: Severity::Deny,
            kubernetes: Severity::Deny,
            worker: None,
        },
        check: |_| Verdict::inconclusive("not used here"),
    };
    const OTHER: Invariant = Invariant {
        id: "exit-status-is-clean",
        severity: Severities {
            graceful: Severity::Warn,
            strict: Severity::Deny,
            kubernetes: Severity::Warn,
            worker: Some(Severity::Warn),
        },
        ..SAMPLE
    };

    #[test]
    fn an_explanation_has_every_part() {
        insta::assert_snapshot!(explain(&SAMPLE, None));
    }

    #[test]
    fn the_list_shows_severities_by_profile() {
        insta::assert_snapshot!(list(&[&SAMPLE, &OTHER]));
    }

    #[test]
    fn everything_in_the_catalogue_fits() {
        let texts = CATALOGUE.iter().map(|invariant| explain(invariant, None));
        for text in texts.chain([list(CATALOGUE)]) {
            assert!(text.lines().all(|line| columns(line) <= WIDTH), "{text}");
        }
    }
}
