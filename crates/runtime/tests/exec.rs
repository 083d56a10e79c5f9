//! Commands in running containers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use pod::{Pod, echo, exec_spec, is_alive, shell, streams, until, wait};
use sealane_runtime::{ContainerSpec, Error, ExecIo, ExecSpec};

const IDLE: &str = "echo up; exec sleep infinity";

async fn pod_with_idle_container() -> Pod {
    let pod = Pod::new().await;
    pod.start(&shell("c", IDLE)).await;
    pod.wait_for_log("c", "up").await;
    pod
}

#[tokio::test]
async fn a_command_is_in_the_container() {
    let pod = Pod::new().await;
    let spec = ContainerSpec {
        env: vec![("COLOUR".into(), "blue".into())],
        working_dir: Some("/srv/made".into()),
        ..shell("c", IDLE)
    };
    pod.start(&spec).await;
    pod.wait_for_log("c", "up").await;
    let script = "cat /proc/1/comm; pwd; echo $COLOUR $HOME $HOSTNAME; \
                  grep -E 'CapEff|NoNewPrivs' /proc/self/status; \
                  grep -vc ':/$' /proc/self/cgroup; ls /proc/self/fd | wc -l; exit 5";
    let (code, text) = pod.exec("c", &["sh", "-c", script]).await;
    assert_eq!(
        text,
        "sleep\n/srv/made\nblue /root pod-a\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t1\n0\n4\n"
    );
    assert_eq!(code, 5);
    // A real-time signal, which process libraries tend to forget, as well.
    for (signal, code) in [("9", 137), ("64", 192)] {
        let script = format!("kill -{signal} $$");
        assert_eq!(pod.exec("c", &["sh", "-c", &script]).await.0, code);
    }
}

#[tokio::test]
async fn input_and_both_outputs_are_the_callers() {
    let pod = pod_with_idle_container().await;
    let (stdin, mut input) = std::io::pipe().unwrap();
    let (mut output, stdout) = std::io::pipe().unwrap();
    let (mut errors, stderr) = std::io::pipe().unwrap();
    let fds: [OwnedFd; 3] = [stdin.into(), stdout.into(), stderr.into()];
    let spec = ExecSpec {
        env: vec![("EXTRA".into(), "more".into())],
        ..exec_spec("c", &["sh", "-c", "tr a-z A-Z; echo $EXTRA >&2"])
    };
    let mut exec = pod.shim.exec(&spec, ExecIo::Fds(fds)).await.unwrap();
    input.write_all(b"shout\n").unwrap();
    drop(input);
    assert_eq!(wait(&mut exec).await, 0);
    assert_eq!(wait(&mut exec).await, 0, "asked again");
    let (mut out, mut err) = (String::new(), String::new());
    output.read_to_string(&mut out).unwrap();
    errors.read_to_string(&mut err).unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("SHOUT\n", "more\n"));
}

#[tokio::test]
async fn commands_that_cannot_be_executed_fail_in_the_usual_words() {
    let pod = pod_with_idle_container().await;
    let cases = [
        (
            "no-such",
            127,
            "exec: \"no-such\": executable file not found in $PATH",
        ),
        (
            "/etc/passwd",
            126,
            "exec: \"/etc/passwd\": permission denied",
        ),
        ("/etc", 126, "exec: \"/etc\": is a directory"),
        (
            "./x",
            127,
            "exec: \"./x\": stat ./x: no such file or directory",
        ),
    ];
    for (command, expected, expected_reason) in cases {
        let (_output, fds) = streams();
        match pod
            .shim
            .exec(&exec_spec("c", &[command]), ExecIo::Fds(fds))
            .await
        {
            Err(Error::Exec { code, reason, .. }) => {
                assert_eq!((code, reason.as_str()), (expected, expected_reason));
            }
            other => panic!("{command}: {other:?}"),
        }
    }
    let (_output, fds) = streams();
    let command = exec_spec("nobody", &["true"]);
    let error = pod.shim.exec(&command, ExecIo::Fds(fds)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "exec in container nobody of pod default/pod-a: container nobody is not running"
    );
}

/// Reads a terminal until its far end is closed.
fn read_terminal(terminal: &mut File) -> String {
    let mut text = Vec::new();
    let mut chunk = [0; 256];
    while let Ok(length @ 1..) = terminal.read(&mut chunk) {
        text.extend_from_slice(&chunk[..length]);
    }
    String::from_utf8(text).unwrap()
}

fn terminal_spec(command: &[&str]) -> ExecSpec {
    ExecSpec {
        tty: true,
        ..exec_spec("c", command)
    }
}

const WINDOW: ExecIo = ExecIo::Terminal {
    rows: 30,
    columns: 100,
};

#[tokio::test]
async fn a_terminal_is_the_containers_own() {
    let pod = pod_with_idle_container().await;
    let script = "tty; stty size; echo $TERM; ps -o tty= -p $$; read line; echo got $line; exit 4";
    let spec = terminal_spec(&["sh", "-c", script]);
    let mut exec = pod.shim.exec(&spec, WINDOW).await.unwrap();
    let mut terminal = File::from(exec.terminal().unwrap());
    terminal.write_all(b"typed\n").unwrap();
    let reading = tokio::task::spawn_blocking(move || read_terminal(&mut terminal));
    assert_eq!(wait(&mut exec).await, 4);
    let text = reading.await.unwrap().replace('\r', "");
    // What is typed is echoed whenever it arrives.
    let text = text.replacen("typed\n", "", 1);
    assert_eq!(text, "/dev/pts/0\n30 100\nxterm\npts/0\ngot typed\n");
}

#[tokio::test]
async fn control_c_interrupts() {
    let pod = pod_with_idle_container().await;
    let spec = terminal_spec(&["sh", "-c", "echo up; exec sleep infinity"]);
    let mut exec = pod.shim.exec(&spec, WINDOW).await.unwrap();
    let mut terminal = File::from(exec.terminal().unwrap());
    let mut start = [0; 2];
    terminal.read_exact(&mut start).unwrap();
    terminal.write_all(&[3]).unwrap();
    assert_eq!(wait(&mut exec).await, 130);
}

#[tokio::test]
async fn many_commands_run_side_by_side() {
    let pod = pod_with_idle_container().await;
    let commands = (0..20).map(|number| {
        let pod = &pod;
        async move {
            let script = format!("sleep 0.1; echo {number}; exit {number}");
            pod.exec("c", &["sh", "-c", &script]).await
        }
    });
    let mut results = Vec::new();
    for command in commands.map(Box::pin) {
        results.push(command);
    }
    let results = join_all(results).await;
    for (number, (code, text)) in results.into_iter().enumerate() {
        assert_eq!(
            (code, text),
            (i32::try_from(number).unwrap(), format!("{number}\n"))
        );
    }
}

/// Polls all of them side by side, without another crate.
async fn join_all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut results: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(context)
            {
                *result = Some(output);
            }
        }
        match results.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_dropped_command_is_killed() {
    let pod = pod_with_idle_container().await;
    let (_output, fds) = streams();
    let spec = exec_spec("c", &["sleep", "infinity"]);
    let exec = pod.shim.exec(&spec, ExecIo::Fds(fds)).await.unwrap();
    let pid = exec.pid();
    assert!(is_alive(pid));
    drop(exec);
    until("the command has ended", || !is_alive(pid)).await;
}

#[tokio::test]
async fn a_command_ends_with_its_container() {
    let mut pod = pod_with_idle_container().await;
    let (_output, fds) = streams();
    let spec = exec_spec("c", &["sleep", "infinity"]);
    let mut exec = pod.shim.exec(&spec, ExecIo::Fds(fds)).await.unwrap();
    pod.shim.signal("c", 9).await.unwrap();
    assert_eq!(wait(&mut exec).await, 137);
    assert_eq!(pod.exit("c", 0).await.code, 137);
    let (_output, fds) = streams();
    let error = pod.shim.exec(&spec, ExecIo::Fds(fds)).await.unwrap_err();
    assert!(
        error.to_string().ends_with("container c is not running"),
        "{error}"
    );
}

#[tokio::test]
async fn commands_find_the_programs_of_the_echo_image() {
    let pod = Pod::new().await;
    pod.start(&echo("c", &[])).await;
    pod.wait_for_log("c", "on port 8080").await;
    let (code, text) = pod
        .exec("c", &["echo-client", "udp", "127.0.0.1:8080", "hi"])
        .await;
    assert_eq!(code, 0);
    assert!(
        text.starts_with("name=pod-a ") && text.ends_with("\nhi\n"),
        "{text}"
    );
}
