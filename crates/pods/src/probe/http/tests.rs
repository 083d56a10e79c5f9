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

/// What a server over TLS has heard: the name that was asked for, the protocols, the request.
struct Heard {
    name: Option<String>,
    protocols: Option<Vec<String>>,
    request: String,
}

/// A server with a certificate of its own making, for a name that nobody asks for.
fn tls_server(answers: &[&str]) -> (u16, std::thread::JoinHandle<Vec<Heard>>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let served = std::thread::spawn(move || {
        let serve = |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut acceptor = rustls::server::Acceptor::default();
            let accepted = loop {
                acceptor.read_tls(&mut stream).unwrap();
                if let Some(accepted) = acceptor.accept().unwrap_or_else(|_| panic!("no TLS")) {
                    break accepted;
                }
            };
            let hello = accepted.client_hello();
            let name = hello.server_name().map(str::to_owned);
            let protocols = hello.alpn().map(|protocols| {
                let words =
                    protocols.map(|protocol| String::from_utf8_lossy(protocol).into_owned());
                words.collect()
            });
            let Ok(mut connection) = accepted.into_connection(Arc::clone(&config)) else {
                panic!("the client and we have nothing in common");
            };
            let mut tls = rustls::Stream::new(&mut connection, &mut stream);
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && tls.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            tls.write_all(answer.as_bytes()).unwrap();
            Heard {
                name,
                protocols,
                request: String::from_utf8(request).unwrap(),
            }
        };
        answers.into_iter().map(serve).collect()
    });
    (port, served)
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn ask_tls(port: u16) -> Get {
    Get {
        tls: true,
        ..ask(port)
    }
}

#[tokio::test]
async fn certificates_are_not_verified_and_http_1_is_spoken() {
    let (port, served) = tls_server(&[GOOD]);
    assert!(get(&ask_tls(port), TIMEOUT).await.is_ok());
    let heard = served.join().unwrap().remove(0);
    assert_eq!(heard.name, None, "an address is no name (RFC 6066 §3)");
    assert_eq!(heard.protocols, None, "nothing but HTTP/1.1 is offered");
    assert!(heard.request.starts_with("GET /healthz?x=1 HTTP/1.1\r\n"));
    assert!(heard.request.to_lowercase().contains("host: web\r\n"));
}

#[tokio::test]
async fn a_host_that_is_a_name_is_asked_for_by_it() {
    let (port, served) = tls_server(&[GOOD]);
    let named = Get {
        host: "localhost".into(),
        ..ask_tls(port)
    };
    assert!(get(&named, TIMEOUT).await.is_ok());
    assert_eq!(served.join().unwrap()[0].name.as_deref(), Some("localhost"));
}

#[tokio::test]
async fn redirects_within_the_host_are_followed_over_tls_and_into_it() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: /ready\r\ncontent-length: 0\r\n\r\n";
    let (port, served) = tls_server(&[moved, GOOD]);
    assert!(get(&ask_tls(port), TIMEOUT).await.is_ok());
    let heard = served.join().unwrap();
    assert!(heard[1].request.starts_with("GET /ready HTTP/1.1\r\n"));

    let (port, served) = tls_server(&[GOOD]);
    let to_tls = format!(
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://127.0.0.1:{port}/safe\r\ncontent-length: 0\r\n\r\n"
    );
    let (plain, first) = server(&[&to_tls]);
    assert!(get(&ask(plain), TIMEOUT).await.is_ok());
    first.join().unwrap();
    assert!(
        served.join().unwrap()[0]
            .request
            .starts_with("GET /safe HTTP/1.1\r\n")
    );
}

#[tokio::test]
async fn a_server_without_tls_is_no_https_server() {
    let (port, served) = server(&["no such thing\r\n\r\n"]);
    let Bad(why) = get(&ask_tls(port), TIMEOUT).await.unwrap_err();
    assert!(
        why.starts_with(&format!("Get \"https://127.0.0.1:{port}/healthz?x=1\": ")),
        "{why}"
    );
    // It waits for the end of a request that never comes, and has been hung up on.
    let _ = served.join();
}
