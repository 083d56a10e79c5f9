//! `exec`: a command in a container.
//!
//! A command that cannot be executed gives its exit code (127, 126), as from a shell. A client
//! that goes away ends the command, since dropping its handle kills it.

use hyper::body::Incoming;
use hyper::{Request, Response};
use sealane_runtime::{Error, ExecSpec, Shim};
use serde_json::Value;

use super::answer::{Body, Refusal};
use super::exec_start::{StartError, start};
use super::session::carry::carry;
use super::session::{self, Client, Output, Wanted, outcome};
use super::target::Target;

/// Upgrades the connection, then runs the command or says why not.
///
/// # Errors
/// When the client speaks neither WebSocket nor SPDY.
pub fn answer(
    target: Result<Target, Refusal>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let work = prepare(target, request.uri().query().unwrap_or_default());
    session::open(request, work, |client, wanted, (shim, spec)| async move {
        run(client, wanted, &shim, &spec).await;
    })
}

/// The command, and the shim that can run it.
fn prepare(
    target: Result<Target, Refusal>,
    query: &str,
) -> Result<(Wanted, (Shim, ExecSpec)), Refusal> {
    let target = target?;
    let command = command(query)?;
    let wanted = Wanted::parse(query)?;
    let shim = target.running()?;
    let spec = ExecSpec {
        container: target.container,
        command,
        tty: wanted.tty,
        ..ExecSpec::default()
    };
    Ok((wanted, (shim, spec)))
}

fn command(query: &str) -> Result<Vec<String>, Refusal> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let words = pairs.filter(|(name, _)| name == "command");
    let command: Vec<String> = words.map(|(_, word)| word.into_owned()).collect();
    match command.is_empty() {
        true => Err(Refusal::bad_request(
            "you must specify at least 1 command to run",
        )),
        false => Ok(command),
    }
}

async fn run(mut client: Client, wanted: Wanted, shim: &Shim, spec: &ExecSpec) {
    let (_, started) = tokio::join!(client.greet(), start(wanted, shim, spec));
    let status = match started {
        Ok((mut exec, ends)) => {
            let ended = async { exec.wait().await };
            match carry(ends, &mut client, ended).await {
                Some(Ok(code)) => outcome::exited(code),
                Some(Err(error)) => outcome::internal(&error.to_string()),
                None => return,
            }
        }
        Err(error) => {
            let text = format!("{error}\n");
            if wanted.stderr && client.mouth.say(Output::Stderr, text.into()).await.is_err() {
                return;
            }
            status_of_error(&error)
        }
    };
    client.end(&status).await;
}

fn status_of_error(error: &StartError) -> Value {
    match error {
        StartError::Shim(Error::Exec { code, .. }) => outcome::failed(*code, &error.to_string()),
        _ => outcome::internal(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_word_by_word() {
        let words = command("command=sh&command=-c&stdout=1&command=echo+a%20b").unwrap();
        assert_eq!(words, ["sh", "-c", "echo a b"]);
        assert_eq!(
            command("stdout=1").unwrap_err().message,
            "you must specify at least 1 command to run"
        );
    }
}
