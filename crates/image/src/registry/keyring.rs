//! Names and passwords for registries, as Docker writes them down and the kubelet looks them up.
//!
//! Two forms are read: `{"auths": {KEY: …}}` (Docker's `config.json`, Secrets of type
//! `kubernetes.io/dockerconfigjson`) and `{KEY: …}` (Secrets of type `kubernetes.io/dockercfg`).
//! A key is a host, perhaps with a port and the beginning of a path, and `*` stands for any part of
//! a label: `*.example.com/team`. Programs that keep passwords (`credHelpers`) are not run.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use thiserror::Error;

use crate::reference::DEFAULT_REGISTRY;

/// Credentials, those of the first document first.
#[derive(Clone, Default)]
pub struct Keyring {
    documents: Vec<Vec<(Key, Credential)>>,
}

/// Why a document holds no credentials.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// It is no JSON, or not of that form.
    #[error("credentials cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// `auth` is not the base64 of `USER:PASSWORD`.
    #[error("credentials of {0}: auth is not the base64 form of USER:PASSWORD")]
    Auth(String),
}

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A name and a password.
    Password { user: String, password: String },
    /// For the token server, in exchange for a token.
    Identity(String),
    /// For the registry itself.
    Token(String),
}

/// Nobody logs a password by mistake.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
            Self::Token(_) => "Token",
        })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.documents.iter().flatten().map(|(key, _)| key);
        f.debug_list().entries(keys).finish()
    }
}

/// Which images a credential is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    host: String,
    path: String,
}

#[derive(Deserialize, Default)]
struct Written {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl Keyring {
    /// Adds what a document says.
    ///
    /// # Errors
    /// When it is of neither form.
    pub fn add(&mut self, document: &[u8]) -> Result<(), KeyringError> {
        #[derive(Deserialize)]
        struct Config {
            auths: HashMap<String, Written>,
        }
        let value: serde_json::Value = serde_json::from_slice(document)?;
        let is_config = value.get("auths").is_some();
        let others = [
            "credsStore",
            "credHelpers",
            "HttpHeaders",
            "detachKeys",
            "currentContext",
            "plugins",
        ];
        let written = match (is_config, value.as_object()) {
            (true, _) => serde_json::from_value::<Config>(value)?.auths,
            // A configuration without credentials of its own.
            (false, Some(map)) if map.keys().any(|key| others.contains(&key.as_str())) => {
                HashMap::new()
            }
            (false, _) => serde_json::from_value(value)?,
        };
        let mut keys = Vec::new();
        for (key, written) in written {
            if let Some(credential) = credential(&key, written)? {
                keys.push((Key::parse(&key), credential));
            }
        }
        // The most particular first, as the kubelet sorts them.
        keys.sort_by(|(a, _), (b, _)| (&b.host, &b.path).cmp(&(&a.host, &a.path)));
        self.documents.push(keys);
        Ok(())
    }

    /// Adds a name and a password for one registry.
    pub fn add_password(&mut self, registry: &str, user: &str, password: &str) {
        let credential = Credential::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        self.documents
            .insert(0, vec![(Key::parse(registry), credential)]);
    }

    /// What fits `HOST/REPOSITORY`, in the order in which it should be tried.
    pub(crate) fn lookup(&self, identity: &str) -> Vec<Credential> {
        let mut found: Vec<Credential> = Vec::new();
        for document in &self.documents {
            let fits = document.iter().filter(|(key, _)| key.fits(identity));
            for (_, credential) in fits {
                if !found.contains(credential) {
                    found.push(credential.clone());
                }
            }
        }
        found
    }
}

fn credential(key: &str, written: Written) -> Result<Option<Credential>, KeyringError> {
    if !written.registrytoken.is_empty() {
        return Ok(Some(Credential::Token(written.registrytoken)));
    }
    if !written.identitytoken.is_empty() {
        return Ok(Some(Credential::Identity(written.identitytoken)));
    }
    let (user, password) = match written.auth.as_str() {
        "" => (written.username, written.password),
        auth => decode(auth).ok_or_else(|| KeyringError::Auth(key.to_owned()))?,
    };
    Ok((!user.is_empty()).then_some(Credential::Password { user, password }))
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker pads it on some systems.
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

impl Key {
    /// `https://index.docker.io/v1/` is how Docker writes its own registry.
    fn parse(text: &str) -> Self {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let path = match path {
            "v1" | "v2" => "",
            _ => path
                .strip_prefix("v1/")
                .or_else(|| path.strip_prefix("v2/"))
                .unwrap_or(path),
        };
        let host = match host {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
            host => host,
        };
        Self {
            host: host.to_owned(),
            path: path.to_owned(),
        }
    }

    fn fits(&self, identity: &str) -> bool {
        let (host, path) = identity.split_once('/').unwrap_or((identity, ""));
        host_fits(&self.host, host) && path.starts_with(&self.path)
    }
}

/// Label by label, so that `*` does not reach into another domain; ports must be alike.
fn host_fits(pattern: &str, host: &str) -> bool {
    let split = |text: &str| match text.rsplit_once(':') {
        Some((name, port)) => (name.to_owned(), Some(port.to_owned())),
        None => (text.to_owned(), None),
    };
    let ((pattern, pattern_port), (name, port)) = (split(pattern), split(host));
    let (patterns, labels): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), name.split('.').collect());
    pattern_port == port
        && patterns.len() == labels.len()
        && patterns
            .iter()
            .zip(&labels)
            .all(|(pattern, label)| glob(pattern, label))
}

/// `*` is any text, `?` any letter.
fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            let ends = text.char_indices().map(|(i, _)| i).chain([text.len()]);
            ends.into_iter().any(|i| glob(rest, &text[i..]))
        }
        (Some(p), Some(t)) if p == '?' || p == t => {
            glob(&pattern[p.len_utf8()..], &text[t.len_utf8()..])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(keyring: &Keyring, identity: &str) -> Vec<String> {
        let name = |credential: Credential| match credential {
            Credential::Password { user, password } => format!("{user}:{password}"),
            other => format!("{other:?}"),
        };
        keyring.lookup(identity).into_iter().map(name).collect()
    }

    #[test]
    fn keys_fit_as_the_kubelet_lets_them() {
        let mut keyring = Keyring::default();
        let auth = |text: &str| format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(text));
        let document = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{},"r.io":{},"r.io/team":{},"*.corp.example:5000":{},
                "t.io":{{"identitytoken":"x"}},"empty.io":{{}}}}}}"#,
            auth("hub:1"),
            auth("r:with:colon"),
            auth("team:2"),
            auth("corp:3"),
        );
        keyring.add(document.as_bytes()).unwrap();
        keyring
            .add(br#"{"r.io":{"username":"old","password":"4"}}"#)
            .unwrap();
        keyring.add(br#"{"credsStore":"desktop"}"#).unwrap();
        let cases: &[(&str, &[&str])] = &[
            ("docker.io/library/nginx", &["hub:1"]),
            ("r.io/a", &["r:with:colon", "old:4"]),
            ("r.io/team/a", &["team:2", "r:with:colon", "old:4"]),
            ("a.corp.example:5000/x", &["corp:3"]),
            ("a.b.corp.example:5000/x", &[]),
            ("a.corp.example/x", &[]),
            ("corp.example:5000/x", &[]),
            ("t.io/x", &["Identity"]),
            ("empty.io/x", &[]),
        ];
        for (identity, found) in cases {
            assert_eq!(users(&keyring, identity), *found, "{identity}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let mut keyring = Keyring::default();
        keyring.add_password("r.io", "me", "secret");
        assert!(!format!("{keyring:?} {:?}", keyring.lookup("r.io/a")).contains("secret"));
    }

    #[test]
    fn what_holds_no_credentials_is_an_error() {
        let mut keyring = Keyring::default();
        for bad in [
            &b""[..],
            b"[]",
            b"{\"a\":1}",
            b"{\"auths\":{\"r.io\":{\"auth\":\"?\"}}}",
        ] {
            assert!(keyring.add(bad).is_err(), "{bad:?}");
        }
    }
}
