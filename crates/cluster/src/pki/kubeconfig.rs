//! Kubeconfigs: everything that a client needs, in one file.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::{ADMIN, CONTROLLERS, Pair, PkiError, Request, Usage};
use crate::layout::Layout;
use crate::plan::Plan;

/// A kubeconfig to be written.
#[derive(Debug)]
pub struct Kubeconfig {
    /// Where.
    pub path: PathBuf,
    cluster: String,
    server: String,
    user: String,
    authority: String,
    pair: Pair,
}

/// The kubeconfig that goes with a client certificate, if any does.
pub(super) fn of(
    layout: &Layout,
    plan: &Plan,
    request: &Request,
    authority: &str,
    pair: &Pair,
) -> Option<Kubeconfig> {
    if request.usage != Usage::Client {
        return None;
    }
    let file = request.file.as_str();
    let (path, server, user) = match file {
        ADMIN => (
            layout.kubeconfig(),
            plan.local_api_url(),
            format!("{}-admin", layout.name),
        ),
        CONTROLLERS => (
            layout.role_kubeconfig(file),
            plan.local_api_url(),
            file.to_owned(),
        ),
        _ if file.starts_with("agent-") || file.starts_with("dns-") => (
            layout.role_kubeconfig(file),
            plan.api_url(),
            file.to_owned(),
        ),
        _ => {
            let node = file
                .strip_suffix("-client")
                .filter(|node| node.starts_with("node-"))?;
            (
                layout.role_kubeconfig(node),
                plan.api_url(),
                node.to_owned(),
            )
        }
    };
    Some(Kubeconfig {
        path,
        cluster: layout.name.to_string(),
        server,
        user,
        authority: authority.to_owned(),
        pair: pair.clone(),
    })
}

impl Kubeconfig {
    /// The file's text.
    ///
    /// # Errors
    /// When it cannot be written as YAML.
    pub fn render(&self) -> Result<String, PkiError> {
        let file = File {
            api_version: "v1",
            kind: "Config",
            clusters: [Named {
                name: &self.cluster,
                value: Value::Cluster {
                    server: &self.server,
                    certificate_authority_data: STANDARD.encode(&self.authority),
                },
            }],
            users: [Named {
                name: &self.user,
                value: Value::User {
                    client_certificate_data: STANDARD.encode(&self.pair.certificate),
                    client_key_data: STANDARD.encode(&self.pair.key),
                },
            }],
            contexts: [Named {
                name: &self.cluster,
                value: Value::Context {
                    cluster: &self.cluster,
                    user: &self.user,
                },
            }],
            current_context: &self.cluster,
        };
        serde_yaml_ng::to_string(&file).map_err(|source| PkiError::Render {
            user: self.user.clone(),
            source,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct File<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'a str,
    kind: &'a str,
    clusters: [Named<'a>; 1],
    users: [Named<'a>; 1],
    contexts: [Named<'a>; 1],
    current_context: &'a str,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase", rename_all_fields = "kebab-case")]
enum Value<'a> {
    Cluster {
        server: &'a str,
        certificate_authority_data: String,
    },
    User {
        client_certificate_data: String,
        client_key_data: String,
    },
    Context {
        cluster: &'a str,
        user: &'a str,
    },
}
