//! A pooled client, `reqwest`: what the target's users see, who have no single steps to look at.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::model::address::{ServerAddress, kernel_name};
use crate::model::event::{EventKind, PooledRequest};
use crate::model::target::RequestTemplate;

use super::clients::{Clients, Stage};

/// Asks again and again until the signal, and once more after it.
pub async fn pooled_client(clients: Rc<Clients>, templates: Rc<[RequestTemplate]>, first: usize) {
    // Without the machine's proxy settings, as the target is on this machine; and without
    // following redirects, which may lead to another one.
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let builder = match &clients.address {
        Some(ServerAddress::Unix(path)) => builder.unix_socket(kernel_name(path)),
        _ => builder,
    };
    let Ok(client) = builder.build() else { return };
    let Some(host) = clients.address.as_ref().map(ServerAddress::host) else { return };
    for number in first.. {
        let template = number % templates.len();
        let is_last = clients.stage() != Stage::Load;
        let started = clients.recorder.now();
        let answer = tokio::select! {
            answer = ask(&client, &host, &templates[template], number) => answer,
            () = clients.until(Stage::Over) => return,
        };
        let (status, error) = match answer {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(wording(&error))),
        };
        let ended = clients.recorder.now();
        let template = template as u16;
        let request = PooledRequest { template, started, ended, status, error };
        clients.recorder.record(EventKind::PooledRequest(request));
        if is_last {
            return;
        }
        tokio::select! {
            () = sleep(Duration::from_millis(20)) => {}
            () = clients.until(Stage::Signalled) => {}
        }
    }
}

async fn ask(
    client: &reqwest::Client,
    host: &str,
    template: &RequestTemplate,
    number: usize,
) -> Result<u16, reqwest::Error> {
    let path = template.path.replace("{key}", &format!("pooled-{number}"));
    let method = template.method.parse().unwrap_or(reqwest::Method::GET);
    let url = format!("http://{host}{path}");
    let mut request = client.request(method, url).body(template.body.clone());
    for (name, value) in &template.headers {
        request = request.header(name, value);
    }
    let response = request.send().await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}

/// The innermost cause: the outer ones only say that a request failed.
fn wording(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
