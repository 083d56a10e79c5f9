use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A server that gives these answers, one for each connection; its port, and what it was asked.
fn server(answers: &[&str]) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let served = std::thread::spawn(move || {
        let serve = |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        };
        answers.into_iter().map(serve).collect()
    });
    (port, served)
}

fn ask(port: u16) -> Get {
    Get {
        tls: false,
        host: "127.0.0.1".into(),
        port,
        path: "/healthz?x=1".into(),
        headers: vec![
            ("X-Probe".into(), "yes".into()),
            ("Host".into(), "web".into()),
        ],
        agent: "kube-probe/1.36".into(),
    }
}

#[tokio::test]
async fn codes_up_to_399_are_good() {
    for (line, good) in [
        ("200 OK", true),
        ("399 X", true),
        ("400 Bad", false),
        ("503 No", false),
        ("199 X", false),
    ] {
        let answer = format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n");
        let (port, served) = server(&[&answer]);
        let seen = get(&ask(port), TIMEOUT).await;
        assert_eq!(seen.is_ok(), good, "{line}: {seen:?}");
        let request = served.join().unwrap().remove(0).to_lowercase();
        for expected in [
            "get /healthz?x=1 http/1.1\r\n",
            "x-probe: yes\r\n",
            "host: web\r\n",
            "user-agent: kube-probe/1.36\r\n",
            "connection: close\r\n",
        ] {
            assert!(request.contains(expected), "{expected} in {request}");
        }
    }
}

#[tokio::test]
async fn redirects_are_followed_within_the_host() {
    let moved =
        |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    let bad = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
    let (port, served) = server(&[&moved("/other"), bad]);
    let Bad(why) = get(&ask(port), TIMEOUT).await.unwrap_err();
    assert_eq!(why, "HTTP probe failed with statuscode: 500");
    assert!(served.join().unwrap()[1].starts_with("GET /other "));
    let (port, served) = server(&[&moved("http://elsewhere.example/")]);
    let odd = Answer::Odd("Probe terminated redirects".to_owned());
    assert_eq!(get(&ask(port), TIMEOUT).await, Ok(odd));
    served.join().unwrap();
    let circle: Vec<String> = (0..=REDIRECTS).map(|_| moved("/again")).collect();
    let circle: Vec<&str> = circle.iter().map(String::as_str).collect();
    let (port, served) = server(&circle);
    let Bad(why) = get(&ask(port), TIMEOUT).await.unwrap_err();
    assert!(why.ends_with("stopped after 10 redirects"), "{why}");
    served.join().unwrap();
}

#[tokio::test]
async fn no_answer_is_told_as_go_tells_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("\"http://127.0.0.1:{port}/healthz?x=1\"");
    let Bad(why) = get(&ask(port), Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(
        why.starts_with(&format!("Get {url}: context deadline exceeded")),
        "{why}"
    );
    drop(listener);
    let Bad(why) = get(&ask(port), TIMEOUT).await.unwrap_err();
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(why, format!("Get {url}: {refused}"));
}
