//! The table of a report: one line an invariant.

use anstyle::{AnsiColor, Effects, Style as Ansi};

use crate::invariants::Counts;
use crate::model::run::InvariantReport;
use crate::model::verdict::{Severity, VerdictName};

use super::super::numbers::{grouped, percent_up, time};
use super::super::phrases::{self, counts_of, failed_word};
use super::super::text::{clean, columns, cut, hanging};
use super::{Detail, Page};

/// The column in which ids begin.
const ID_COLUMN: usize = 8;
/// Ids that are longer have a line of their own.
const ID_WIDTH_MAX: usize = 34;
/// A bound above this is worth little, and is said to be.
const BOUND_WEAK: f64 = 0.1;
/// A page that is answered sooner, in milliseconds, is seldom met in process.
const QUICK_MS: f64 = 100.0;

/// What stands after an id.
enum Cells {
    /// A count with its noun, then what it is worth.
    Counted { count: String, noun: String, note: String },
    /// Words, wrapped where they don't fit.
    Words(String),
}

struct Row<'a> {
    invariant: &'a InvariantReport,
    cells: Cells,
    /// Said below the line.
    remark: Option<String>,
}

/// The widths of the columns.
struct Widths {
    id: usize,
    count: usize,
    noun: usize,
}

impl Page<'_> {
    pub(super) fn rows(&self) -> String {
        let (shown, folded): (Vec<&InvariantReport>, Vec<_>) =
            self.report.invariants.iter().partition(|invariant| match self.view.detail {
                Detail::Quiet => has_failed(invariant),
                Detail::Normal => is_telling(invariant),
                Detail::Verbose => true,
            });
        let rows: Vec<Row<'_>> = shown.into_iter().map(|invariant| self.row(invariant)).collect();
        let widths = Widths::of(&rows);
        let mut text: String = rows.iter().map(|row| self.line(row, &widths)).collect();
        if self.view.detail == Detail::Normal && !folded.is_empty() {
            text.push_str(&hanging("  ", &more(&folded), self.width));
        }
        text
    }

    /// A pass that shows little says so, and what would show more.
    fn weakness(&self, invariant: &InvariantReport, counts: Counts) -> Option<String> {
        let bound = invariant.rate_upper_bound_95.filter(|bound| *bound > BOUND_WEAK)?;
        let weak = invariant.id == "in-flight-requests-complete";
        let (noun, are) = match invariant.exercised {
            1 => (counts.one, "is"),
            _ => (counts.many, "are"),
        };
        let all_quick = self.report.target.requests.iter().all(|it| it.usual_ms < QUICK_MS);
        let more = if all_quick { "name a slow page (--path)" } else { "try --budget 60s" };
        weak.then(|| {
            format!(
                "loss < {} %: {} {noun} {are} too few, {more}",
                percent_up(bound),
                grouped(invariant.exercised),
            )
        })
    }

    fn row<'i>(&self, invariant: &'i InvariantReport) -> Row<'i> {
        let counts = counts_of(&invariant.id);
        let mut remark = None;
        let reason = || clean(invariant.reason.as_deref().unwrap_or_default());
        let cells = match invariant.verdict {
            VerdictName::NotApplicable | VerdictName::Inconclusive => Cells::Words(reason()),
            VerdictName::Violated => {
                remark = phrases::worst(invariant);
                violated(invariant, counts)
            }
            VerdictName::Satisfied => match self.exits(invariant) {
                Some(exits) => Cells::Words(exits),
                None => {
                    remark = self.weakness(invariant, counts);
                    self.satisfied_cells(invariant, counts)
                }
            },
        };
        Row { invariant, cells, remark }
    }

    fn satisfied_cells(&self, invariant: &InvariantReport, counts: Counts) -> Cells {
        let bound = invariant.rate_upper_bound_95.filter(|_| counts.has_rate);
        let refused = self.report.timings.refused_after_ms.as_ref();
        let refused = refused.filter(|_| invariant.id == "new-connections-are-refused");
        let note = match (bound, refused) {
            (Some(bound), _) => format!("loss < {} %", percent_up(bound)),
            (None, Some(refused)) => format!("refused in ≤ {}", time(refused.max)),
            (None, None) => String::new(),
        };
        let noun = if invariant.exercised == 1 { counts.one } else { counts.many };
        Cells::Counted { count: grouped(invariant.exercised), noun: noun.into(), note }
    }

    /// For the invariant about the deadline, the times themselves say most.
    fn exits(&self, invariant: &InvariantReport) -> Option<String> {
        let exits = self.report.timings.exit_ms.as_ref()?;
        (invariant.id == "exits-before-deadline")
            .then(|| format!("p50 {} · max {}", time(exits.p50), time(exits.max)))
    }

    fn line(&self, row: &Row<'_>, widths: &Widths) -> String {
        let (mark, style) = mark(row.invariant);
        let mark = self.paint(style, &format!("{mark:<4}"));
        let id = cut(&clean(&row.invariant.id), self.width - ID_COLUMN);
        let mut text = format!("  {mark}  {id}");
        let mut used = ID_COLUMN + columns(&id);
        if columns(&id) > widths.id {
            text.push('\n');
            used = 0;
        }
        let after_id = ID_COLUMN + widths.id + 2;
        text.push_str(&" ".repeat(after_id - used));
        match &row.cells {
            Cells::Words(words) => {
                let wrapped = hanging(&" ".repeat(after_id), words, self.width);
                text.push_str(wrapped.trim_start());
            }
            Cells::Counted { count, noun, note } => {
                let (count_width, noun_width) = (widths.count, widths.noun);
                let table = format!("{count:>count_width$} {noun:<noun_width$}");
                if after_id + columns(&table) + 2 + columns(note) <= self.width {
                    text.push_str(&format!("{table}  {note}"));
                } else if after_id + columns(table.trim_end()) <= self.width {
                    text.push_str(&format!("{table}\n{:after_id$}{note}", ""));
                } else {
                    let words = format!("{count} {noun}, {note}");
                    let words = words.trim_end_matches([',', ' ']);
                    let below = hanging(&" ".repeat(ID_COLUMN), words, self.width);
                    text.push_str(&format!("\n{below}"));
                }
            }
        }
        let mut text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        if let Some(remark) = &row.remark {
            text.push_str(&hanging(&" ".repeat(ID_COLUMN), remark, self.width));
        }
        text
    }
}

impl Widths {
    fn of(rows: &[Row<'_>]) -> Self {
        let ids = rows.iter().map(|row| columns(&row.invariant.id));
        let id = ids.filter(|&width| width <= ID_WIDTH_MAX).max().unwrap_or(0);
        let (mut count, mut noun) = (0, 0);
        for row in rows {
            if let Cells::Counted { count: number, noun: word, .. } = &row.cells {
                count = count.max(columns(number));
                noun = noun.max(columns(word));
            }
        }
        Self { id, count, noun }
    }
}

/// Whether a report of normal length has a line for it: it may fail the run, or it warns.
fn is_telling(invariant: &InvariantReport) -> bool {
    let is_shown = match invariant.verdict {
        VerdictName::Violated => Severity::Warn,
        _ => Severity::Deny,
    };
    invariant.level >= is_shown
}

/// The others, in numbers.
fn more(folded: &[&InvariantReport]) -> String {
    let kinds = [
        (VerdictName::Satisfied, "more ok"),
        (VerdictName::Violated, "seen and allowed"),
        (VerdictName::Inconclusive, "not shown either way"),
        (VerdictName::NotApplicable, "not applicable"),
    ];
    let parts = kinds.into_iter().filter_map(|(verdict, words)| {
        let number = folded.iter().filter(|invariant| invariant.verdict == verdict).count();
        (number > 0).then(|| format!("{number} {words}"))
    });
    format!("{} (--verbose)", parts.collect::<Vec<_>>().join(" · "))
}

/// Whether a quiet report shows it too.
fn has_failed(invariant: &InvariantReport) -> bool {
    invariant.verdict == VerdictName::Violated && invariant.level == Severity::Deny
}

fn mark(invariant: &InvariantReport) -> (&'static str, Ansi) {
    let style = match (invariant.verdict, invariant.level) {
        (VerdictName::Satisfied, _) => AnsiColor::Green.on_default(),
        (VerdictName::Violated, Severity::Deny) => AnsiColor::Red.on_default().bold(),
        (VerdictName::Violated, Severity::Warn) => AnsiColor::Yellow.on_default(),
        (VerdictName::Violated, Severity::Allow) => Ansi::new(),
        (VerdictName::Inconclusive, _) => AnsiColor::Yellow.on_default(),
        (VerdictName::NotApplicable, _) => Ansi::new().effects(Effects::DIMMED),
    };
    (phrases::mark(invariant), style)
}

fn violated(invariant: &InvariantReport, counts: Counts) -> Cells {
    let failed = failed_word(counts, invariant.exercised);
    // Of which trials it is stands below.
    let is_of_all = phrases::worst(invariant).is_none();
    let note = phrases::interval(invariant).filter(|_| is_of_all).unwrap_or_default();
    Cells::Counted {
        count: grouped(invariant.violations),
        noun: format!("of {} {failed}", grouped(invariant.exercised)),
        note,
    }
}
