//! The verdict as a badge (SVG), for a README.

use crate::model::run::RunReport;
use crate::model::verdict::VerdictName;

/// The width of a character at 11 px, about, and the space around a text, in pixels.
const CHARACTER: usize = 7;
const SPACE: usize = 12;

/// `graceful shutdown | satisfied` with the profile's name, in the verdict's colour, which says
/// nothing that the words don't.
pub fn render(report: &RunReport) -> String {
    let label = format!("{} shutdown", report.profile);
    let (verdict, colour) = match report.verdict {
        VerdictName::Satisfied => ("satisfied", "#2c7a39"),
        VerdictName::Violated => ("violated", "#b3261e"),
        VerdictName::Inconclusive | VerdictName::NotApplicable => ("inconclusive", "#7a5c00"),
    };
    let width = |text: &str| text.chars().count() * CHARACTER + SPACE;
    let (left, right) = (width(&label), width(verdict));
    let whole = left + right;
    let middle_of_right = left + right / 2;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{label}: {verdict}">
  <title>{label}: {verdict}</title>
  <clipPath id="r"><rect width="{whole}" height="20" rx="3"/></clipPath>
  <g clip-path="url(#r)">
    <rect width="{left}" height="20" fill="#444"/>
    <rect x="{left}" width="{right}" height="20" fill="{colour}"/>
  </g>
  <g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
    <text x="{middle_of_left}" y="14">{label}</text>
    <text x="{middle_of_right}" y="14">{verdict}</text>
  </g>
</svg>
"##,
        middle_of_left = left / 2,
    )
}
