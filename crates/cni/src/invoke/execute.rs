//! One run of one plugin.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process, time};

use super::{Attachment, NetworkConf};
use crate::{
    plugin::PARENT_VARIABLE,
    types::{CniError, Command},
};

/// Why a plugin did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// No folder has the executable.
    #[error("find plugin {plugin} in {dirs}: no such file", dirs = show(dirs))]
    Missing { plugin: String, dirs: Vec<PathBuf> },
    /// The executable cannot be run.
    #[error("run plugin {plugin}: {source}")]
    Start { plugin: String, source: io::Error },
    /// The plugin said no.
    #[error("plugin {plugin}: {error}")]
    Refused { plugin: String, error: CniError },
    /// The plugin did not speak CNI.
    #[error("plugin {plugin}: {why}: {output:?}")]
    Garbled {
        plugin: String,
        why: String,
        output: String,
    },
}

impl ExecuteError {
    /// The error object, where the plugin itself said no.
    pub fn refusal(&self) -> Option<&CniError> {
        match self {
            ExecuteError::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    pub(super) fn garbled(network: &NetworkConf, output: &str, why: &str) -> Self {
        ExecuteError::Garbled {
            plugin: network
                .plugins()
                .last()
                .map(|p| p.kind().to_owned())
                .unwrap_or_default(),
            why: format!("read result: {why}"),
            output: tail(output),
        }
    }
}

fn show(dirs: &[PathBuf]) -> String {
    let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    dirs.join(", ")
}

/// Runs a plugin and returns what it printed; null when it printed nothing.
pub(super) async fn run(
    bin_dirs: &[PathBuf],
    command: Command,
    attachment: Option<&Attachment>,
    plugin: &str,
    stdin: &Value,
) -> Result<Value, ExecuteError> {
    let executable = bin_dirs
        .iter()
        .map(|dir| dir.join(plugin))
        .find(|path| path.is_file())
        .ok_or_else(|| ExecuteError::Missing {
            plugin: plugin.to_owned(),
            dirs: bin_dirs.to_vec(),
        })?;
    let mut process = process(&executable, bin_dirs, command, attachment);
    let output = talk(&mut process, stdin.to_string().as_bytes())
        .await
        .map_err(|source| ExecuteError::Start {
            plugin: plugin.to_owned(),
            source,
        })?;
    read_output(plugin, command, &output)
}

fn process(
    executable: &Path,
    bin_dirs: &[PathBuf],
    command: Command,
    attachment: Option<&Attachment>,
) -> process::Command {
    let path: Vec<_> = bin_dirs
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    let mut process = process::Command::new(executable);
    process
        .env("CNI_COMMAND", command.as_str())
        .env("CNI_PATH", path.join(":"))
        // Our plugin then ends with this process.
        .env(PARENT_VARIABLE, std::process::id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(attachment) = attachment {
        let args: Vec<_> = attachment
            .args
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        process
            .env("CNI_CONTAINERID", &attachment.container_id)
            .env("CNI_IFNAME", &attachment.ifname)
            .env(
                "CNI_NETNS",
                attachment.netns.as_deref().unwrap_or(Path::new("")),
            )
            .env("CNI_ARGS", args.join(";"));
    }
    process
}

/// How often and how long to wait for an executable that is just being written.
const BUSY_RETRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

async fn talk(process: &mut process::Command, stdin: &[u8]) -> io::Result<Output> {
    let mut tried = 0;
    let mut child = loop {
        match process.spawn() {
            // A network agent that installs its plugin by writing in place, or a
            // process forked meanwhile, has the file open for writing.
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && tried < BUSY_RETRIES => {
                tried += 1;
                time::sleep(BUSY_PAUSE).await;
            }
            child => break child?,
        }
    };
    let mut pipe = child.stdin.take();
    let write = async move {
        if let Some(pipe) = &mut pipe {
            // A plugin may answer without reading: its answer tells more than EPIPE.
            let _ = pipe.write_all(stdin).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    output
}

fn read_output(plugin: &str, command: Command, output: &Output) -> Result<Value, ExecuteError> {
    let parsed = serde_json::from_slice::<Value>(&output.stdout).ok();
    let garbled = |why: String| ExecuteError::Garbled {
        plugin: plugin.to_owned(),
        why,
        output: said(output),
    };
    if !output.status.success() {
        let error = parsed.and_then(|value| serde_json::from_value(value).ok());
        return Err(match error {
            Some(error) => ExecuteError::Refused {
                plugin: plugin.to_owned(),
                error,
            },
            None => garbled(format!(
                "failed without an error object ({})",
                output.status
            )),
        });
    }
    match parsed {
        Some(value) => Ok(value),
        None if command == Command::Add => Err(garbled("succeeded without a result".into())),
        None => Ok(Value::Null),
    }
}

fn said(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    tail(text.concat().trim())
}

/// The end of a text, where the cause usually is.
fn tail(text: &str) -> String {
    const KEPT: usize = 500;
    let skipped = text.chars().count().saturating_sub(KEPT);
    text.chars().skip(skipped).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use serde_json::json;

    use super::*;
    use crate::types::code;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(script: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("fake");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Folder(dir)
        }

        async fn run(&self, command: Command) -> Result<Value, ExecuteError> {
            let attachment = Attachment {
                container_id: "abc".into(),
                ifname: "eth0".into(),
                args: vec![("A".into(), "1".into()), ("B".into(), "2".into())],
                ..Attachment::default()
            };
            let dirs = [self.0.path().to_owned()];
            run(&dirs, command, Some(&attachment), "fake", &json!({"a": 1})).await
        }
    }

    #[tokio::test]
    async fn gives_environment_and_stdin_and_reads_stdout() {
        let folder = Folder::with(
            r#"printf '{"id":"%s","args":"%s","command":"%s","stdin":%s}' "$CNI_CONTAINERID" "$CNI_ARGS" "$CNI_COMMAND" "$(cat)""#,
        );
        assert_eq!(
            folder.run(Command::Add).await.unwrap(),
            json!({"id": "abc", "args": "A=1;B=2", "command": "ADD", "stdin": {"a": 1}})
        );
    }

    #[tokio::test]
    async fn carries_the_plugins_own_message() {
        let folder = Folder::with(
            r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"later","details":"d"}'; exit 1"#,
        );
        let error = folder.run(Command::Add).await.unwrap_err();
        let ExecuteError::Refused { error, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(error.code, code::TRY_AGAIN_LATER);
        assert_eq!(error.to_string(), "later; d (CNI code 11)");
    }

    #[tokio::test]
    async fn tells_what_a_plugin_said_that_does_not_speak_cni() {
        for (script, why) in [
            ("echo segfault >&2; exit 3", "exit status: 3"),
            ("echo segfault", "without a result"),
            ("kill -9 $$", "signal: 9"),
        ] {
            let error = Folder::with(script)
                .run(Command::Add)
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains(why) && error.contains("fake"), "{error}");
        }
    }

    #[tokio::test]
    async fn needs_no_output_of_del_and_no_reader_of_stdin() {
        let folder = Folder::with("exec <&-; exit 0");
        assert_eq!(folder.run(Command::Del).await.unwrap(), Value::Null);
    }

    #[tokio::test]
    async fn names_the_folders_when_there_is_no_plugin() {
        let dirs = [PathBuf::from("/nowhere/a"), PathBuf::from("/nowhere/b")];
        let error = run(&dirs, Command::Add, None, "gone", &json!({}))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "find plugin gone in /nowhere/a, /nowhere/b: no such file"
        );
    }
}
