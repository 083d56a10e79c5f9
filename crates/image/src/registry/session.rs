//! Requests to one server about one repository.
//!
//! A request goes out as the last one that worked. A 401 leads to the next step of this ladder,
//! for each credential and at last for nobody: password, or token by password. So a loop of 401s
//! ends after as many steps as there are credentials, and a token that has run out is renewed.
//!
//! What may be a passing trouble (429, 5xx, a broken connection) is tried again after a pause that
//! doubles, or that the server names.

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::{HeaderMap, Response, header};
use ureq::{Agent, Body};

use super::certificates;
use super::challenge::Challenge;
use super::endpoint::{Endpoint, is_loopback};
use super::fault::Fault;
use super::keyring::Credential;
use crate::pull::Pull;

const CONNECT: Duration = Duration::from_secs(15);
/// How often a request is made, in all.
const ATTEMPTS: u32 = 5;
/// The longest that a server may have us wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of an answer that is no content.
const MAX_ANSWER: u64 = 1 << 20;

/// A server, and as whom it knows us.
pub(crate) struct Session {
    pub(crate) endpoint: Endpoint,
    agent: Agent,
    base: String,
    repository: String,
    /// The first pause.
    pause: Duration,
    ladder: Mutex<Ladder>,
}

/// As whom we come.
struct Ladder {
    /// Nobody comes last.
    credentials: Vec<Option<Credential>>,
    at: usize,
    challenge: Option<Challenge>,
    authorization: Option<String>,
    /// It has been accepted before, so a refusal means that it has run out.
    worked: bool,
}

/// What is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) path: &'a str,
    pub(crate) accept: &'a str,
    /// From this byte on.
    pub(crate) from: u64,
    pub(crate) head: bool,
}

impl Session {
    /// Gets ready to ask; a server that may speak plain HTTP is asked which it speaks.
    pub(crate) fn new(endpoint: Endpoint, repository: &str, how: &Pull) -> Result<Self, Fault> {
        let silence = Some(how.silence);
        let config = Agent::config_builder()
            .tls_config(certificates::tls(&endpoint, &how.registries)?)
            .user_agent(concat!("sealane/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .timeout_per_write(silence);
        // Proxies are for the world outside.
        let config = if is_loopback(&endpoint.host) {
            config.proxy(None)
        } else {
            config
        };
        let agent: Agent = config.build().into();
        let scheme = scheme(&endpoint, &agent)?;
        let credentials = how
            .keyring
            .lookup(&endpoint.identity)
            .into_iter()
            .map(Some)
            .chain([None]);
        Ok(Self {
            base: format!("{scheme}://{}/v2", endpoint.place),
            ladder: Mutex::new(Ladder {
                credentials: credentials.collect(),
                at: 0,
                challenge: None,
                authorization: None,
                worked: false,
            }),
            repository: repository.to_owned(),
            endpoint,
            agent,
            pause: how.pause,
        })
    }

    /// As whom the last request was made, for a message.
    pub(crate) fn who(&self) -> String {
        let count = self.ladder().credentials.len() - 1;
        match count {
            0 => "without credentials".to_owned(),
            1 => "with the given credentials and without".to_owned(),
            n => format!("with each of {n} credentials and without"),
        }
    }

    fn ladder(&self) -> std::sync::MutexGuard<'_, Ladder> {
        self.ladder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait before another attempt, of which there have been some.
    pub(crate) fn rest(&self, attempts: u32) {
        thread::sleep(self.pause * 2u32.pow(attempts.min(6)));
    }

    /// Asks until there is an answer that is of use, or a reason why there is none.
    pub(crate) fn get(&self, wanted: &Wanted<'_>) -> Result<Response<Body>, Fault> {
        let mut attempts = 0;
        loop {
            let authorization = self.ladder().authorization.clone();
            let fault = match self.send(wanted, authorization.as_deref()) {
                Ok(response) if response.status().is_success() => {
                    self.ladder().worked = true;
                    return Ok(response);
                }
                Ok(response) if matches!(response.status().as_u16(), 401 | 403) => {
                    self.climb(response, authorization.as_deref())?;
                    continue;
                }
                Ok(response) => {
                    let pause = asked_pause(response.headers());
                    let fault = refusal(response);
                    if is_passing(&fault) && attempts + 1 < ATTEMPTS {
                        match pause {
                            Some(pause) => thread::sleep(pause),
                            None => self.rest(attempts),
                        }
                        attempts += 1;
                        continue;
                    }
                    fault
                }
                Err(fault @ Fault::Transport(_)) if attempts < 1 => {
                    tracing::debug!(?fault, "asking again");
                    self.rest(attempts);
                    attempts += 1;
                    continue;
                }
                Err(fault) => fault,
            };
            return Err(fault);
        }
    }

    fn send(
        &self,
        wanted: &Wanted<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, Fault> {
        let namespace = match &self.endpoint.mirrored {
            Some(registry) => format!("?ns={registry}"),
            None => String::new(),
        };
        let url = format!(
            "{}/{}/{}{namespace}",
            self.base, self.repository, wanted.path
        );
        let mut request = if wanted.head {
            self.agent.head(&url)
        } else {
            self.agent.get(&url)
        };
        if !wanted.accept.is_empty() {
            request = request.header(header::ACCEPT, wanted.accept);
        }
        if wanted.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", wanted.from));
        }
        // Not sent on to where it is redirected.
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.call().map_err(fault)
    }

    /// Finds another way to be let in, after `refused` was not.
    fn climb(&self, response: Response<Body>, refused: Option<&str>) -> Result<(), Fault> {
        let mut ladder = self.ladder();
        if ladder.authorization.as_deref() != refused {
            // Another thread has found one meanwhile.
            return Ok(());
        }
        let offered = response.headers().get_all(header::WWW_AUTHENTICATE);
        if let Some(challenge) =
            Challenge::parse(offered.iter().filter_map(|value| value.to_str().ok()))
        {
            ladder.challenge = Some(challenge);
        }
        let status = refusal(response);
        let Some(challenge) = ladder.challenge.clone() else {
            return Err(status);
        };
        if refused.is_some() && !ladder.worked {
            ladder.at += 1;
        }
        ladder.worked = false;
        while let Some(credential) = ladder.credentials.get(ladder.at).cloned() {
            match self.authorization(&challenge, credential.as_ref()) {
                Ok(Some(authorization)) if Some(authorization.as_str()) != refused => {
                    ladder.authorization = Some(authorization);
                    return Ok(());
                }
                // The next may be let in, or reach the one who decides.
                Ok(_)
                | Err(Fault::Status {
                    code: 400..=403, ..
                }) => ladder.at += 1,
                Err(fault) => return Err(fault),
            }
        }
        Err(status)
    }

    /// The header that this credential gives; none when the registry wants one and there is none.
    fn authorization(
        &self,
        challenge: &Challenge,
        credential: Option<&Credential>,
    ) -> Result<Option<String>, Fault> {
        match (challenge, credential) {
            (_, Some(Credential::Token(token))) => Ok(Some(format!("Bearer {token}"))),
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                Ok(Some(basic(user, password)))
            }
            (Challenge::Basic, _) => Ok(None),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                credential,
            ) => {
                self.check_realm(realm)?;
                let own = format!("repository:{}:pull", self.repository);
                let scope = scope.as_deref().unwrap_or(&own);
                let token = self.token(realm, service.as_deref(), scope, credential)?;
                Ok(Some(format!("Bearer {token}")))
            }
        }
    }

    /// A password is shown in plain only to this machine, or where that was allowed.
    fn check_realm(&self, realm: &str) -> Result<(), Fault> {
        let host = realm
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next());
        match host {
            Some(host) if !is_loopback(host) && !self.endpoint.unverified => Err(Fault::Answer(
                format!("it wants credentials to be sent to {realm} in plain"),
            )),
            _ => Ok(()),
        }
    }

    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credential: Option<&Credential>,
    ) -> Result<String, Fault> {
        #[derive(Deserialize)]
        struct Token {
            #[serde(default)]
            token: String,
            #[serde(default)]
            access_token: String,
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("scope", scope);
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        let response = match credential {
            Some(Credential::Identity(token)) => {
                query.append_pair("grant_type", "refresh_token");
                query.append_pair("refresh_token", token);
                query.append_pair("client_id", "sealane");
                let request = self.agent.post(realm);
                request
                    .content_type("application/x-www-form-urlencoded")
                    .send(query.finish())
            }
            other => {
                let separator = if realm.contains('?') { '&' } else { '?' };
                let mut request = self
                    .agent
                    .get(format!("{realm}{separator}{}", query.finish()));
                if let Some(Credential::Password { user, password }) = other {
                    request = request.header(header::AUTHORIZATION, basic(user, password));
                }
                request.call()
            }
        };
        let response = response.map_err(fault)?;
        if !response.status().is_success() {
            return Err(refusal(response));
        }
        let bytes = answer(response);
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|error| Fault::Answer(format!("{realm} gives no token: {error}")))?;
        match [token.token, token.access_token]
            .into_iter()
            .find(|token| !token.is_empty())
        {
            Some(token) => Ok(token),
            None => Err(Fault::Answer(format!("{realm} gives no token"))),
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Which language a server speaks, where it may be either.
fn scheme(endpoint: &Endpoint, agent: &Agent) -> Result<&'static str, Fault> {
    if let Some(scheme) = endpoint.scheme {
        return Ok(scheme);
    }
    if !endpoint.plain {
        return Ok("https");
    }
    match agent
        .get(format!("https://{}/v2/", endpoint.place))
        .call()
        .map_err(fault)
    {
        Ok(_) => Ok("https"),
        Err(error @ Fault::Certificate(_)) => Err(error),
        Err(_) => Ok("http"),
    }
}

/// What a server asks us to wait, within reason.
fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

fn is_passing(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Status {
            code: 408 | 429 | 500 | 502 | 503 | 504,
            ..
        }
    )
}

/// The body of an answer that is no content.
pub(crate) fn answer(response: Response<Body>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be read is not shown.
    let _ = response
        .into_body()
        .into_reader()
        .take(MAX_ANSWER)
        .read_to_end(&mut bytes);
    bytes
}

/// A status in words: `404 Not Found, manifest unknown`.
fn refusal(response: Response<Body>) -> Fault {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        errors: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let mut text = status.to_string();
    if let Ok(answer) = serde_json::from_slice::<Answer>(&answer(response)) {
        for Reason { code, message } in answer.errors.into_iter().take(2) {
            let said = if message.is_empty() { code } else { message };
            // A stranger's words in our log and on a terminal.
            let clean = said.chars().filter(|c| !c.is_control()).take(200);
            text = format!("{text}, {}", clean.collect::<String>());
        }
    }
    Fault::Status {
        code: status.as_u16(),
        answer: text,
    }
}

/// Why there is no answer.
fn fault(error: ureq::Error) -> Fault {
    let trust = match &error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        _ => None,
    };
    if let Some(rustls::Error::InvalidCertificate(reason)) = trust {
        return Fault::Certificate(format!("its certificate is invalid: {reason}"));
    }
    Fault::Transport(match error {
        ureq::Error::HostNotFound => "its name is not known to DNS".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(what) => format!("it did not answer in time ({what})"),
        other => other.to_string(),
    })
}
