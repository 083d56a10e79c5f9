//! One `exec` or `attach`, whichever way the client speaks.
//!
//! ```text
//! WebSocket (KEP-4006)     session::web  ──┐
//!                                          ├──> Client: hear, say, end
//! SPDY, a stream for each  session::spdy ──┘
//! ```
//!
//! A WebSocket client is told what is wrong after the upgrade (as kube-apiserver does it): kubectl
//! takes a failed upgrade for a server that cannot speak WebSocket, and asks again. A SPDY client
//! is told before it, as by a kubelet.

pub mod carry;
pub mod outcome;
mod spdy;
mod web;

pub use web::farewell;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Body, Refusal};
use super::spdy::Gone;
use super::upgrade::{Offer, Spoken};

/// What is spoken.
const SPOKEN: Spoken = Spoken {
    web: &[web::CLOSES_CHANNELS, "v4.channel.k8s.io"],
    unnamed: None,
    spdy: "v4.channel.k8s.io",
    bytes: false,
};

/// Which streams a session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The client sends standard input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants error output.
    pub stderr: bool,
    /// On a terminal.
    pub tty: bool,
}

impl Wanted {
    /// Reads the query; the kubelet's names of the streams and the API's are both understood.
    ///
    /// # Errors
    /// When there is no stream at all.
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let set = matches!(&*value, "1" | "true" | "True");
            match &*name {
                "stdin" | "input" => wanted.stdin = set,
                "stdout" | "output" => wanted.stdout = set,
                "stderr" | "error" => wanted.stderr = set,
                "tty" => wanted.tty = set,
                _ => {}
            }
        }
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            let message = "you must specify at least 1 of stdin, stdout, stderr";
            return Err(Refusal::bad_request(message));
        }
        // A terminal has one output.
        wanted.stderr &= !wanted.tty;
        Ok(wanted)
    }
}

/// An output of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, or the terminal.
    Stdout,
    /// Error output.
    Stderr,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Standard input.
    Input(Bytes),
    /// The end of it.
    InputEnd,
    /// The size of its window.
    Resize(Size),
}

/// The size of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A client whose connection has been upgraded.
pub struct Client {
    /// Hears it.
    pub ear: Ear,
    /// Speaks to it.
    pub mouth: Mouth,
}

/// Hears a client.
pub enum Ear {
    /// Over WebSocket.
    Web(web::Ear),
    /// Over SPDY.
    Spdy(spdy::Ear),
}

/// Speaks to a client.
pub enum Mouth {
    /// Over WebSocket.
    Web(web::Mouth),
    /// Over SPDY.
    Spdy(spdy::Mouth),
}

impl Ear {
    /// The next that the client says; `None` when it has gone. May be cancelled.
    pub async fn hear(&mut self) -> Option<Heard> {
        match self {
            Self::Web(ear) => ear.hear().await,
            Self::Spdy(ear) => ear.hear().await,
        }
    }
}

impl Mouth {
    /// Sends output; waits for a slow client.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn say(&mut self, output: Output, bytes: Bytes) -> Result<(), Gone> {
        match self {
            Self::Web(mouth) => mouth.say(output, &bytes).await,
            Self::Spdy(mouth) => mouth.say(output, bytes).await,
        }
    }
}

impl Client {
    /// Waits until the client listens.
    pub async fn greet(&mut self) {
        if let (Ear::Web(ear), Mouth::Web(mouth)) = (&mut self.ear, &mut self.mouth) {
            web::greet(ear, mouth).await;
        }
    }

    /// The last words, and the end of the conversation.
    pub async fn end(self, status: &Value) {
        match (self.ear, self.mouth) {
            (Ear::Web(ear), Mouth::Web(mouth)) => web::end(ear, mouth, status).await,
            (_, Mouth::Spdy(mouth)) => mouth.end(status).await,
            (Ear::Spdy(_), Mouth::Web(_)) => {}
        }
    }
}

/// Upgrades the connection, then does the work or says why not.
///
/// # Errors
/// When client and server have no protocol in common; for SPDY, what is wrong with the request.
pub fn open<T, F, R>(
    mut request: Request<Incoming>,
    work: Result<(Wanted, T), Refusal>,
    run: F,
) -> Result<Response<Body>, Refusal>
where
    T: Send + 'static,
    F: FnOnce(Client, Wanted, T) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let offer = Offer::negotiate(request.headers(), &SPOKEN)?;
    let response = offer.response();
    let upgrade = hyper::upgrade::on(&mut request);
    let work = match offer {
        Offer::Spdy { .. } => Ok(work?),
        _ => work,
    };
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!("switch protocols: {error}"),
        };
        match work {
            Ok((wanted, work)) => match client(upgraded, &offer, wanted).await {
                Ok(client) => run(client, wanted, work).await,
                Err(error) => tracing::debug!("make the streams of a session: {error}"),
            },
            Err(refusal) => {
                let protocol = web::CLOSES_CHANNELS;
                let mut client = web::client(upgraded, protocol, Wanted::default()).await;
                client.greet().await;
                client.end(&refusal.status()).await;
            }
        }
    });
    Ok(response)
}

async fn client(
    io: TokioIo<Upgraded>,
    offer: &Offer,
    wanted: Wanted,
) -> Result<Client, spdy::Incomplete> {
    match offer {
        Offer::Web { protocol, .. } => Ok(web::client(io, protocol, wanted).await),
        Offer::Spdy { .. } | Offer::Bytes => spdy::client(io, wanted).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_name_the_streams_are_understood() {
        let wanted = Wanted {
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        for query in [
            "stdin=true&stdout=true&stderr=true",
            "input=1&output=1&error=1",
        ] {
            assert_eq!(Wanted::parse(query), Ok(wanted));
        }
        let tty = Wanted::parse("stdout=1&stderr=1&tty=1").unwrap();
        assert!(tty.tty && tty.stdout && !tty.stderr);
        assert_eq!(
            Wanted::parse("tty=1").unwrap_err().message,
            "you must specify at least 1 of stdin, stdout, stderr"
        );
    }
}
