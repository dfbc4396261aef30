//! How something is written that must survive the shutdown, and how it is read back.

use super::requests::usual_method;
use super::{Layers, first};
use crate::cli::config::WriteEntry;
use crate::cli::error::UsageError;
use crate::cli::values::PathSpec;
use crate::model::plan::Situation;
use crate::model::target::{RequestTemplate, WriteTemplates};

/// What is written where nobody says otherwise.
const VALUE: &str = "{value}";

/// The options, else the file's table; none where no writes are declared.
pub(super) fn resolve(layers: &Layers<'_>) -> Result<Option<WriteTemplates>, UsageError> {
    let (line, env) = (&layers.line.load, &layers.env.load);
    let write = first(line.write.clone(), env.write.clone(), None);
    let read = first(line.read.clone(), env.read.clone(), None);
    let body = first(line.write_body.clone(), env.write_body.clone(), None);
    let half = |given, missing| Err(UsageError::HalfWrites { given, missing });
    let found = match (write, read, &layers.file.writes) {
        (Some(write), Some(read), _) => WriteTemplates {
            write: {
                let usual = (!write.path.contains(VALUE)).then(|| VALUE.to_owned());
                of_spec(write, body.or(usual))
            },
            read: of_spec(read, None),
            absent: None,
        },
        (Some(_), None, _) => return half("--write", "--read"),
        (None, Some(_), _) => return half("--read", "--write"),
        (None, None, _) if body.is_some() => return half("--write-body", "--write"),
        (None, None, Some(table)) => WriteTemplates {
            write: of_file(&table.write),
            read: of_file(&table.read),
            absent: None,
        },
        (None, None, None) => return Ok(None),
    };
    check(&found)?;
    Ok(Some(found))
}

/// The situations that are tried where the user names none.
pub(super) fn situations(usual: Vec<Situation>, has_writes: bool) -> Vec<Situation> {
    if has_writes { Situation::ALL.to_vec() } else { usual }
}

fn of_spec(PathSpec { method, path }: PathSpec, body: Option<String>) -> RequestTemplate {
    RequestTemplate {
        method: method.unwrap_or_else(|| usual_method(body.is_some())),
        body: body.unwrap_or_default().into_bytes(),
        ..RequestTemplate::get(path)
    }
}

fn of_file(entry: &WriteEntry) -> RequestTemplate {
    RequestTemplate {
        method: entry.method.clone().unwrap_or_else(|| usual_method(entry.body.is_some())),
        headers: entry.headers.clone().into_iter().collect(),
        body: entry.body.clone().unwrap_or_default().into_bytes(),
        expect: entry.expect,
        ..RequestTemplate::get(entry.path.clone())
    }
}

/// Both name the key, and the write has the value in it.
fn check(templates: &WriteTemplates) -> Result<(), UsageError> {
    let unmarked = |request: &RequestTemplate, missing, advice| {
        Err(UsageError::Unmarked { what: request.name(), missing, advice })
    };
    for request in [&templates.write, &templates.read] {
        if !is_in(request, "{key}") {
            let advice = "each write has a key of its own: put {key} where it belongs";
            return unmarked(request, "{key}", advice);
        }
    }
    if !is_in(&templates.write, VALUE) {
        let advice = "what is written is looked for later: put {value} into the body or the path";
        return unmarked(&templates.write, VALUE, advice);
    }
    Ok(())
}

fn is_in(request: &RequestTemplate, mark: &str) -> bool {
    let in_fields = request.headers.iter().any(|(_, value)| value.contains(mark));
    let in_body = String::from_utf8_lossy(&request.body).contains(mark);
    in_fields || in_body || request.path.contains(mark)
}
