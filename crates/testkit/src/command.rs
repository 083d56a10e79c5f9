//! A command with its whole output and a time limit.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::deadline::SOON;

/// How long any command of a test may take.
const LIMIT: Duration = Duration::from_secs(180);

/// A command that has ended, with what it wrote.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command as one would type it.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// Standard output of a command that must succeed.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert!(self.status.success(), "expected success of {self}");
        self.stdout
    }

    /// Standard output and error of a command that must fail.
    ///
    /// # Panics
    /// When it succeeded.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(!self.status.success(), "expected failure of {self}");
        self.stdout + &self.stderr
    }

    /// Standard output of a command that must succeed and print JSON.
    ///
    /// # Panics
    /// When it failed or printed something else.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let line = self.line.clone();
        let text = self.succeeds();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("read JSON of `{line}`: {error}\n{text}"))
    }

    /// The exit code, if it was not ended by a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            status,
            stdout,
            stderr,
            took,
        } = self;
        write!(
            to,
            "`{line}` ({status}, {took:.1?})\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

/// Runs a program with arguments.
///
/// # Panics
/// When it cannot be started, or does not end in time.
#[track_caller]
pub fn run<I, S>(program: &str, args: I) -> Finished
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut command = Command::new(program);
    command.args(args);
    finish(command)
}

/// Runs a prepared command to its end.
///
/// # Panics
/// When it cannot be started, or does not end in time, or leaves somebody behind who keeps its
/// output open: `$(…)` around such a command would never return.
#[track_caller]
pub fn finish(command: Command) -> Finished {
    finish_with_input(command, "")
}

/// As [`finish`], with text on standard input.
///
/// # Panics
/// As [`finish`].
#[track_caller]
pub fn finish_with_input(mut command: Command, input: &str) -> Finished {
    let line = typed(&command);
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start `{line}`: {error}"));
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    feed(&mut child, input);
    let status = wait(&mut child, &line, LIMIT);
    let took = begun.elapsed();
    let stdout = received(&stdout, &line);
    let stderr = received(&stderr, &line);
    Finished {
        line,
        status,
        stdout,
        stderr,
        took,
    }
}

/// The command as one would type it.
fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@,%+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Writes on a thread of its own: a command that does not read must not hang the test.
fn feed(child: &mut Child, input: &str) {
    let Some(mut pipe) = child.stdin.take() else {
        return;
    };
    let input = input.to_owned();
    std::thread::spawn(move || {
        use std::io::Write;
        // A command may end without having read its input; its exit status tells what went wrong.
        drop(pipe.write_all(input.as_bytes()));
    });
}

fn read_all(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What arrived before a read error is still worth printing.
            drop(pipe.read_to_end(&mut bytes));
        }
        // The receiver is gone only if the test has already failed.
        drop(sender.send(bytes));
    });
    receiver
}

#[track_caller]
fn received(output: &Receiver<Vec<u8>>, line: &str) -> String {
    let bytes = output.recv_timeout(SOON).unwrap_or_else(|_| {
        panic!("`{line}` has ended, but a process that it started keeps its output open")
    });
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn wait(child: &mut Child, line: &str, limit: Duration) -> ExitStatus {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status,
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                // It is our child and has not been waited for, so the kill cannot hit another.
                drop(child.kill());
                drop(child.wait());
                panic!("`{line}` did not end within {limit:?}");
            }
            Err(error) => panic!("wait for `{line}`: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_both_kinds_and_the_code_are_kept() {
        let done = run("sh", ["-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert_eq!(done.code(), Some(3));
        assert!(done.fails().contains("err"));
    }

    #[test]
    fn input_is_fed_and_the_line_can_be_pasted_into_a_shell() {
        let mut command = Command::new("sh");
        command.args(["-c", r#"cat; echo "it's""#]);
        let done = finish_with_input(command, "in ");
        assert_eq!(done.stdout, "in it's\n");
        assert_eq!(done.line, r#"sh -c 'cat; echo "it'\''s"'"#);
    }
}
