//! A pod's service-account tokens: asked for, kept fresh, never on disk but in the pod's files.
//!
//! A token is renewed when 80 % of its life are over, or after a day, as the kubelet does. While
//! the API does not answer, the old one serves as long as it is valid.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{PodSpec, ServiceAccount, ServiceAccountTokenProjection};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use sealane_kube::explain;

use crate::desired::Desired;

/// A token that lives longer is renewed after this time all the same.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long a token lives when nobody says.
const DEFAULT_SECONDS: i64 = 3600;
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Pause after a token could not be renewed.
const PAUSE: Duration = Duration::from_secs(10);

/// A token that a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Whom it is for; the API server, if `None`.
    pub audience: Option<String>,
    /// How long it shall live, in seconds.
    pub seconds: i64,
}

impl Wanted {
    /// The token of a projected volume.
    pub fn of(source: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: source
                .audience
                .clone()
                .filter(|audience| !audience.is_empty()),
            seconds: source.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        }
    }

    /// All tokens that a pod asks for.
    pub fn all(spec: &PodSpec) -> Vec<Self> {
        let volumes = spec.volumes.iter().flatten();
        let projected = volumes.filter_map(|volume| volume.projected.as_ref());
        let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
        let mut all: Vec<_> = sources
            .filter_map(|source| source.service_account_token.as_ref())
            .map(Self::of)
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

/// The tokens of one pod.
#[derive(Default)]
pub struct Tokens {
    held: BTreeMap<Wanted, Token>,
    failures: BTreeMap<Wanted, String>,
}

struct Token {
    text: String,
    refresh_at: Timestamp,
    expires: Timestamp,
}

impl Tokens {
    /// A token that is held.
    ///
    /// # Errors
    /// Why there is none.
    pub fn get(&self, wanted: &Wanted) -> Result<&str, &str> {
        if let Some(token) = self.held.get(wanted) {
            return Ok(&token.text);
        }
        let failure = self.failures.get(wanted).map(String::as_str);
        Err(failure.unwrap_or("it has not been asked for"))
    }

    /// Holds a token.
    pub fn hold(&mut self, wanted: Wanted, text: &str, issued: Timestamp, expires: Timestamp) {
        let token = Token {
            text: text.to_owned(),
            refresh_at: refresh_at(issued, expires),
            expires,
        };
        self.failures.remove(&wanted);
        self.held.insert(wanted, token);
    }

    /// When the next one has to be renewed.
    pub fn refresh_at(&self) -> Option<Timestamp> {
        self.held.values().map(|token| token.refresh_at).min()
    }

    /// Asks for what is not held or due. What fails is told by [`Self::get`], once the old one
    /// has expired.
    pub async fn renew(&mut self, client: &Client, pod: &Desired) {
        for wanted in Wanted::all(pod.spec()) {
            let now = Timestamp::now();
            let held = self.held.get(&wanted);
            if held.is_some_and(|token| token.refresh_at > now) {
                continue;
            }
            match tokio::time::timeout(ANSWER, ask(client, pod, &wanted)).await {
                Ok(Ok((text, expires))) => self.hold(wanted, &text, now, expires),
                Ok(Err(why)) => self.failed(wanted, why, now),
                Err(_) => self.failed(wanted, format!("no answer within {ANSWER:?}"), now),
            }
        }
    }

    fn failed(&mut self, wanted: Wanted, why: String, now: Timestamp) {
        tracing::warn!("ask for a service-account token: {why}");
        match self.held.get_mut(&wanted) {
            Some(token) if token.expires > now => token.refresh_at = now + PAUSE,
            _ => {
                self.held.remove(&wanted);
                self.failures.insert(wanted, why);
            }
        }
    }
}

fn refresh_at(issued: Timestamp, expires: Timestamp) -> Timestamp {
    let life = Duration::try_from(expires.duration_since(issued)).unwrap_or_default();
    issued + (life / 5 * 4).min(LONGEST)
}

async fn ask(
    client: &Client,
    pod: &Desired,
    wanted: &Wanted,
) -> Result<(String, Timestamp), String> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), pod.namespace());
    let account = pod.spec().service_account_name.as_deref();
    let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
    let request = TokenRequest {
        metadata: ObjectMeta::default(),
        spec: Some(TokenRequestSpec {
            audiences: wanted.audience.clone().map(|audience| vec![audience]),
            expiration_seconds: Some(wanted.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name().to_owned()),
                uid: Some(pod.uid().to_owned()),
            }),
        }),
        status: None,
    };
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .map_err(|error| explain(&error).to_string())?;
    let status = answer.status.unwrap_or_default();
    let (token, expires) = (status.token, status.expiration_timestamp);
    token
        .zip(expires)
        .map(|(token, expires)| (token, expires.0))
        .ok_or_else(|| "the answer holds no token".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn wanted() -> Wanted {
        Wanted {
            audience: None,
            seconds: 3607,
        }
    }

    #[test]
    fn tokens_are_renewed_before_they_end() {
        for (life, expected) in [(3600, 2880), (600, 480), (100 * 3600, 24 * 3600), (0, 0)] {
            assert_eq!(
                refresh_at(at(50), at(50 + life)),
                at(50 + expected),
                "{life}"
            );
        }
    }

    #[test]
    fn an_old_token_serves_until_it_ends() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.get(&wanted()), Err("it has not been asked for"));
        tokens.hold(wanted(), "t", at(0), at(100));
        assert_eq!(tokens.refresh_at(), Some(at(80)));
        tokens.failed(wanted(), "no answer".into(), at(90));
        assert_eq!(tokens.get(&wanted()), Ok("t"));
        assert_eq!(tokens.refresh_at(), Some(at(100)));
        tokens.failed(wanted(), "no answer".into(), at(100));
        assert_eq!(tokens.get(&wanted()), Err("no answer"));
    }

    #[test]
    fn tokens_of_one_kind_are_asked_for_once() {
        let source = |audience: &str| serde_json::json!({"serviceAccountToken": {"path": "t", "audience": audience}});
        let spec = serde_json::json!({"containers": [], "volumes": [
            {"name": "a", "projected": {"sources": [source(""), source("vault")]}},
            {"name": "b", "projected": {"sources": [source("vault")]}},
        ]});
        let all = Wanted::all(&serde_json::from_value(spec).unwrap());
        let audiences: Vec<_> = all.iter().map(|w| w.audience.as_deref()).collect();
        assert_eq!(audiences, [None, Some("vault")]);
        assert_eq!(all[0].seconds, 3600);
    }
}
