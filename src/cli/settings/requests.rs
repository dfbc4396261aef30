//! Which requests the load is made of.

use std::fs;
use std::path::PathBuf;

use super::{Layers, address, first, listed};
use crate::cli::args::{LoadArgs, RunArgs};
use crate::cli::config::RequestEntry;
use crate::cli::error::UsageError;
use crate::cli::values::PathSpec;
use crate::model::target::RequestTemplate;

/// The requests of the strongest layer that names any; none where they are to be found out.
pub(super) fn resolve(layers: &Layers<'_>) -> Result<Vec<RequestTemplate>, UsageError> {
    for args in [layers.line, layers.env] {
        let asked = asked(args)?;
        if !asked.is_empty() {
            return described(layers, asked);
        }
    }
    let options = describing(&layers.line.load).into_iter().chain(describing(&layers.env.load));
    let options: Vec<_> = options.collect();
    if !options.is_empty() {
        return Err(UsageError::NoPath { options: options.join(", ") });
    }
    if !layers.file.request.is_empty() {
        return layers.file.request.iter().map(|entry| of_file(layers, entry)).collect();
    }
    let url = layers.file.url.as_deref().map(address::parse).transpose()?;
    Ok(url.and_then(|(_, path)| path).map(RequestTemplate::get).into_iter().collect())
}

/// The paths of `--url` and `--path`.
fn asked(args: &RunArgs) -> Result<Vec<PathSpec>, UsageError> {
    let url = args.start.url.as_deref().map(address::parse).transpose()?;
    let of_url = url.and_then(|(_, path)| path).map(|path| PathSpec { method: None, path });
    Ok(of_url.into_iter().chain(args.load.path.iter().cloned()).collect())
}

/// The options in use that say how the paths are asked for.
fn describing(load: &LoadArgs) -> Vec<&'static str> {
    let options = [
        ("--method", load.method.is_some()),
        ("--header", !load.header.is_empty()),
        ("--body", load.body.is_some()),
        ("--body-file", load.body_file.is_some()),
        ("--expect-status", load.expect_status.is_some()),
    ];
    options.into_iter().filter(|(_, used)| *used).map(|(option, _)| option).collect()
}

/// The paths, asked for as the options say.
fn described(
    layers: &Layers<'_>,
    asked: Vec<PathSpec>,
) -> Result<Vec<RequestTemplate>, UsageError> {
    let (line, env) = (&layers.line.load, &layers.env.load);
    let body = match [line, env].into_iter().find_map(|load| {
        let file = load.body_file.as_ref().map(|path| (None, Some(path)));
        load.body.as_ref().map(|text| (Some(text), None)).or(file)
    }) {
        Some((Some(text), _)) => Some(text.clone().into_bytes()),
        Some((_, Some(path))) => Some(read_body("the requests of --path", layers.dir.join(path))?),
        _ => None,
    };
    let method = first(line.method.clone(), env.method.clone(), None)
        .unwrap_or_else(|| usual_method(body.is_some()));
    let template = |spec: PathSpec| RequestTemplate {
        method: spec.method.unwrap_or_else(|| method.clone()),
        headers: listed(&line.header, &env.header, &[]).unwrap_or_default(),
        body: body.clone().unwrap_or_default(),
        expect: first(line.expect_status, env.expect_status, None),
        ..RequestTemplate::get(spec.path)
    };
    Ok(asked.into_iter().map(template).collect())
}

fn of_file(layers: &Layers<'_>, entry: &RequestEntry) -> Result<RequestTemplate, UsageError> {
    let has_body = entry.body.is_some() || entry.body_file.is_some();
    let method = entry.method.clone().unwrap_or_else(|| usual_method(has_body));
    let request = format!("{method} {}", entry.path);
    let body = match (&entry.body, &entry.body_file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(path)) => read_body(&request, layers.beside_file(path.get_ref()))?,
        (None, None) => Vec::new(),
    };
    Ok(RequestTemplate {
        method,
        path: entry.path.clone(),
        headers: entry.headers.clone().into_iter().collect(),
        body,
        weight: entry.weight.get(),
        expect: entry.expect,
        upload_over: None,
    })
}

/// As curl does: who sends a body and names no method means to post it.
pub(super) fn usual_method(has_body: bool) -> String {
    if has_body { "POST".into() } else { "GET".into() }
}

fn read_body(request: &str, path: PathBuf) -> Result<Vec<u8>, UsageError> {
    fs::read(&path).map_err(|reason| UsageError::UnreadableBody {
        request: request.to_owned(),
        path,
        reason,
    })
}
