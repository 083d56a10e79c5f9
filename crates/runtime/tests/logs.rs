//! Logs that become too long.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::fs;

use pod::{Pod, shell, text};
use sealane_runtime::{ContainerSpec, LogLimits, log_files, log_path};

fn limited(name: &str, attempt: u32, script: &str, max_files: u32) -> ContainerSpec {
    ContainerSpec {
        attempt,
        log: LogLimits {
            max_bytes: 64 << 10,
            max_files,
        },
        ..shell(name, script)
    }
}

/// Everything that is kept of an attempt's log.
fn kept(pod: &Pod, name: &str, attempt: u32) -> String {
    let mut files = log_files(&pod.spec.dir, name, attempt).unwrap();
    files.push(log_path(&pod.spec.dir, name, attempt));
    files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

#[tokio::test]
async fn no_line_is_lost_or_torn() {
    let mut pod = Pod::new().await;
    pod.run(&limited("c", 0, "seq 20000; seq 20001 30000 >&2", 1000))
        .await;
    let files = log_files(&pod.spec.dir, "c", 0).unwrap();
    assert!(files.len() > 5, "{files:?}");
    for file in &files {
        let log = fs::read_to_string(file).unwrap();
        assert!(log.ends_with('\n') && log.len() >= 64 << 10);
        assert!(log.starts_with("20"), "begins with a time: {log:.40}");
    }
    let log = kept(&pod, "c", 0);
    let mut numbers: Vec<u32> = text(&log)
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    // The order between two streams is nobody's promise.
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=30000));
}

#[tokio::test]
async fn a_container_that_never_stops_writing_fills_neither_disk_nor_memory() {
    let mut pod = Pod::new().await;
    pod.start(&limited(
        "loud",
        0,
        "exec yes 'no more than this is ever said'",
        3,
    ))
    .await;
    let shim = pod.shim.pid();
    let newest = || {
        let files = log_files(&pod.spec.dir, "loud", 0).unwrap();
        let number = files
            .last()
            .and_then(|file| file.extension()?.to_str()?.parse::<u32>().ok());
        number.unwrap_or(0)
    };
    pod::until("much has been written", || newest() > 40).await;
    let length: u64 = fs::read_dir(pod.spec.dir.join("logs/loud"))
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|file| file.len())
        .sum();
    assert!(length < 400 << 10, "{length} bytes are kept");
    let status = fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    let anonymous = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    let kib: u64 = anonymous
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(kib < 2048, "{anonymous}");
    // The others are served meanwhile.
    assert_eq!(pod.run(&shell("quiet", "echo here")).await.code, 0);
    assert_eq!(pod.log("quiet", 0), "here\n");
    assert_eq!(
        pod.exec("loud", &["echo", "there"]).await,
        (0, "there\n".to_owned())
    );
    pod.shim.signal("loud", libc::SIGKILL).await.unwrap();
    pod.exit("loud", 0).await;
    assert!(kept(&pod, "loud", 0).ends_with('\n'));
}

#[tokio::test]
async fn old_attempts_keep_the_end_of_their_logs() {
    let mut pod = Pod::new().await;
    for attempt in 0..4 {
        pod.run(&limited("c", attempt, "seq 30000", 3)).await;
    }
    let files = |attempt| log_files(&pod.spec.dir, "c", attempt).unwrap().len();
    assert_eq!([files(0), files(1), files(2), files(3)], [0, 0, 2, 2]);
    assert!(text(&kept(&pod, "c", 0)).ends_with("30000\n"));
}
