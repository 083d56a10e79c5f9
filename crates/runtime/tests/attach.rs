//! Following a running container: its output, its input, its terminal.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsRawFd;

use pod::{PATIENCE, Pod, shell};
use sealane_runtime::{Attach, AttachSpec, ContainerSpec, Error, adopt};

/// One who follows standard output, and writes if `stdin`.
async fn attach(pod: &Pod, stdin: bool) -> (Attach, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let spec = AttachSpec {
        container: "c".into(),
        stdin,
        stdout: true,
        stderr: false,
    };
    (
        pod.shim.attach(&spec, vec![writer.into()]).await.unwrap(),
        reader,
    )
}

fn read_until(reader: &mut impl Read, text: &str) -> String {
    let mut said = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains(text) {
        let count = reader.read(&mut byte).unwrap();
        assert_eq!(count, 1, "the end comes before {text:?}: {said:?}");
        said.push(byte[0]);
    }
    String::from_utf8(said).unwrap()
}

async fn until_over(attached: &mut Attach) {
    let over = tokio::time::timeout(PATIENCE, attached.wait()).await;
    over.expect("following ends with the container").unwrap();
}

fn open_input(script: &str, once: bool) -> ContainerSpec {
    ContainerSpec {
        stdin: true,
        stdin_once: once,
        ..shell("c", script)
    }
}

#[tokio::test]
async fn all_who_follow_hear_what_comes_and_the_end() {
    let mut pod = Pod::new().await;
    let script = "echo before; while read line; do echo got $line; done; echo the end";
    pod.start(&open_input(script, true)).await;
    pod.wait_for_log("c", "before").await;
    let (mut first, mut heard) = attach(&pod, true).await;
    let (mut second, mut heard_too) = attach(&pod, false).await;
    assert!(first.takes_input() && !second.takes_input());
    let mut input = File::from(first.descriptor().unwrap());
    assert!(second.descriptor().is_none());
    input.write_all(b"one\n").unwrap();
    assert_eq!(
        read_until(&mut heard, "\n"),
        "got one\n",
        "from now on, and no more"
    );
    assert_eq!(read_until(&mut heard_too, "\n"), "got one\n");
    drop(input);
    first.close_input().await.unwrap();
    let mut rest = String::new();
    heard.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "the end\n");
    until_over(&mut first).await;
    until_over(&mut second).await;
    assert_eq!(pod.exit("c", 0).await.code, 0);
    assert_eq!(pod.log("c", 0), "before\ngot one\nthe end\n");
}

#[tokio::test]
async fn input_that_is_not_for_one_session_stays_open() {
    let pod = Pod::new().await;
    pod.start(&open_input(
        "while read line; do echo got $line; done",
        false,
    ))
    .await;
    for line in ["one", "two"] {
        let (mut attached, mut heard) = attach(&pod, true).await;
        let mut input = File::from(attached.descriptor().unwrap());
        writeln!(input, "{line}").unwrap();
        assert_eq!(read_until(&mut heard, "\n"), format!("got {line}\n"));
        drop(input);
        attached.close_input().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_is_cut_ends_its_input_and_nothing_else() {
    let mut pod = Pod::new().await;
    pod.start(&open_input("cat; echo over; exec sleep 3", true))
        .await;
    let (attached, mut heard) = attach(&pod, true).await;
    drop(attached);
    assert_eq!(
        heard.read(&mut [0]).unwrap(),
        0,
        "nothing is copied any more"
    );
    pod.wait_for_log("c", "over").await;
    let again = adopt(&pod.spec.socket).await.unwrap();
    assert!(
        again
            .state()
            .await
            .unwrap()
            .latest("c")
            .unwrap()
            .exit
            .is_none(),
        "it lives"
    );
    let (attached, _heard) = attach(&pod, true).await;
    assert!(!attached.takes_input(), "it has ended");
    pod.shim.signal("c", 9).await.unwrap();
    pod.exit("c", 0).await;
}

#[tokio::test]
async fn without_input_there_is_an_end_at_once() {
    let mut pod = Pod::new().await;
    pod.start(&shell("c", "cat; echo empty; read x; exec sleep infinity"))
        .await;
    pod.wait_for_log("c", "empty").await;
    let (mut attached, _heard) = attach(&pod, true).await;
    assert!(!attached.takes_input() && attached.descriptor().is_none());
    pod.shim.signal("c", 9).await.unwrap();
    pod.exit("c", 0).await;
}

#[tokio::test]
async fn a_terminal_is_shared_and_has_a_size() {
    let mut pod = Pod::new().await;
    let script =
        "trap 'stty size' WINCH; tty; echo $TERM; read a; echo got $a; read a; stty size; exit 4";
    let spec = ContainerSpec {
        tty: true,
        user: Some(65534),
        ..open_input(script, false)
    };
    pod.start(&spec).await;
    pod.wait_for_log("c", "xterm").await;
    assert_eq!(pod.log("c", 0).replace('\r', ""), "/dev/pts/0\nxterm\n");
    let (mut attached, mut heard) = attach(&pod, true).await;
    assert!(attached.is_terminal() && attached.takes_input());
    let mut terminal = File::from(attached.descriptor().unwrap());
    terminal.write_all(b"typed\r").unwrap();
    assert_eq!(
        read_until(&mut heard, "got typed\r\n"),
        "typed\r\ngot typed\r\n"
    );
    resize(&terminal, 33, 101);
    terminal.write_all(b"\r").unwrap();
    assert!(read_until(&mut heard, "33 101").contains("33 101"));
    until_over(&mut attached).await;
    assert_eq!(pod.exit("c", 0).await.code, 4);
    assert!(pod.raw_log("c", 0).contains(" stdout F got typed\r\n"));
}

fn resize(terminal: &File, rows: u16, columns: u16) {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads a winsize, which lives through the call.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(result, 0);
}

#[tokio::test]
async fn one_who_does_not_read_holds_up_nobody() {
    let mut pod = Pod::new().await;
    let script = "read go; seq 100000 199999; echo done";
    pod.start(&open_input(script, true)).await;
    let (mut idle, mut unread) = attach(&pod, true).await;
    let mut input = File::from(idle.descriptor().unwrap());
    input.write_all(b"go\n").unwrap();
    assert_eq!(
        pod.exit("c", 0).await.code,
        0,
        "it ends though nobody reads"
    );
    assert!(
        pod.log("c", 0).ends_with("199999\ndone\n"),
        "the log has everything"
    );
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        unread.read_to_string(&mut text).unwrap();
        text
    });
    until_over(&mut idle).await;
    let text = reading.await.unwrap();
    assert!(text.starts_with("100000\n100001\n") && text.ends_with("199999\ndone\n"));
    assert!(text.contains("bytes of output were left out here"));
}

#[tokio::test]
async fn a_pod_that_ends_lets_its_followers_read() {
    let mut pod = Pod::new().await;
    pod.start(&open_input("read go; seq 100000 199999; echo done", true))
        .await;
    let (mut late, mut unread) = attach(&pod, true).await;
    let mut input = File::from(late.descriptor().unwrap());
    input.write_all(b"go\n").unwrap();
    pod.exit("c", 0).await;
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        unread.read_to_string(&mut text).unwrap();
        text
    });
    pod.shim.shutdown(PATIENCE).await.unwrap();
    let text = reading.await.unwrap();
    assert!(text.ends_with("199999\ndone\n"), "{} bytes", text.len());
}

#[tokio::test]
async fn only_what_runs_can_be_followed() {
    let mut pod = Pod::new().await;
    pod.run(&shell("c", "true")).await;
    let (_reader, writer) = std::io::pipe().unwrap();
    let spec = AttachSpec {
        container: "c".into(),
        stdout: true,
        ..AttachSpec::default()
    };
    let error = pod
        .shim
        .attach(&spec, vec![writer.into()])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused { .. }));
    assert_eq!(
        error.to_string(),
        "attach in pod default/pod-a: container c is not running"
    );
}
