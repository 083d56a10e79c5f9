//! Edge: what a container has to say about its end.
//!
//! A container writes to the file at its `terminationMessagePath`, or, if it prefers and fails
//! without having written, the end of its log is taken. Source: Kubernetes docs, "Determine the
//! Reason for Pod Failure"; the limits are the kubelet's.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as Spec;

use crate::desired::Desired;
use crate::logs::files::{LogFiles, tail_of_all};
use crate::logs::{Filter, LogOptions};
use crate::record::{Record, State};

/// More of a message is not told.
const LONGEST: u64 = 4096;
/// More of a log is not taken.
const LONGEST_LOG: usize = 2048;
const LOG_LINES: u64 = 80;
/// So many bytes of a file are looked at for them.
const MOST_READ: u64 = 1 << 20;

/// Where an attempt's message is, in the pod's folder.
pub fn path(dir: &Path, container: &str, attempt: u32) -> PathBuf {
    dir.join("messages").join(format!("{container}.{attempt}"))
}

/// Makes the file that an attempt may write its message to, whoever it runs as.
///
/// # Errors
/// When the disk refuses.
pub fn prepare(dir: &Path, container: &str, attempt: u32) -> io::Result<()> {
    let path = path(dir, container, attempt);
    fs::create_dir_all(dir.join("messages"))?;
    File::create(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))
}

/// Enters the messages of containers that have ended; each is read once.
pub fn collect(record: &mut Record, pod: &Desired, dir: &Path) {
    for (name, container) in &mut record.containers {
        let State::Exited(exit) = &mut container.state else {
            continue;
        };
        let path = path(dir, name, container.attempt);
        let Ok(message) = read(&path) else {
            continue;
        };
        // Nothing can be done about it, and it goes with the pod.
        let _ = fs::remove_file(&path);
        let falls_back = pod.container(name).is_some_and(falls_back);
        let message = match message.is_empty() && exit.code != 0 && falls_back {
            true => end_of_log(&LogFiles::new(dir, name, container.attempt)).unwrap_or_default(),
            false => message,
        };
        if !message.is_empty() {
            exit.message = Some(message);
        }
    }
}

fn falls_back(spec: &Spec) -> bool {
    spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn end_of_log(log: &LogFiles) -> io::Result<String> {
    let files = log.open()?;
    let (first, mut begin) = tail_of_all(&files, LOG_LINES)?;
    let mut filter = Filter::new(&LogOptions::default(), Timestamp::now());
    let mut text = Vec::new();
    for file in files.iter().skip(first) {
        let size = file.metadata()?.len();
        let length = (size - begin).min(MOST_READ);
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, size - length)?;
        filter.feed(&bytes, &mut text);
        begin = 0;
    }
    let kept = text.len().saturating_sub(LONGEST_LOG);
    Ok(String::from_utf8_lossy(&text[kept..]).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sealane_runtime::log_path;
    use serde_json::json;

    use super::*;
    use crate::record::Exit;

    fn ended(code: i32) -> State {
        State::Exited(Exit {
            code,
            reason: "Error".into(),
            message: None,
            started_at: None,
            finished_at: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn messages_come_from_the_file_or_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let pod = json!({"spec": {"containers": [
            {"name": "says"}, {"name": "silent"},
            {"name": "logs", "terminationMessagePolicy": "FallbackToLogsOnError"},
        ]}});
        let pod = Desired::new(Arc::new(serde_json::from_value(pod).unwrap()));
        let mut record = Record::new(Timestamp::UNIX_EPOCH);
        for name in ["says", "silent", "logs"] {
            record.container_mut(name).state = ended(3);
            prepare(dir.path(), name, 0).unwrap();
        }
        fs::write(path(dir.path(), "says", 0), "disk full").unwrap();
        let log = log_path(dir.path(), "logs", 0);
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(&log, "2026-11-21T00:00:00Z stdout F boom\n").unwrap();
        collect(&mut record, &pod, dir.path());
        let message = |name: &str| record.container(name).exit().unwrap().message.clone();
        assert_eq!(message("says").as_deref(), Some("disk full"));
        assert_eq!(message("silent"), None);
        assert_eq!(message("logs").as_deref(), Some("boom\n"));
        assert!(!path(dir.path(), "says", 0).exists());
    }
}
