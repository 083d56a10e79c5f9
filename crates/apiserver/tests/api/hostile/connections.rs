//! What is wrong below requests: TLS, framing, headers, clients that stop half way.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::harness::{DEADLINE, Server, wait_for};

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection of the administrator, to say anything over.
pub fn connect(server: &Server, protocol: &str) -> Tls {
    let pem = |name: &str| server.path().join(name);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(pem("ca.crt")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let certificates = CertificateDer::pem_file_iter(pem("admin.crt")).unwrap();
    let certificates = certificates.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(pem("admin.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates, key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, plain(server))
}

fn plain(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// What the server says until it closes the connection.
fn answer(mut stream: impl Read) -> Vec<u8> {
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return said,
            Ok(count) => said.extend_from_slice(&piece[..count]),
            Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => {
                panic!(
                    "the server leaves a bad connection open: {}",
                    String::from_utf8_lossy(&said)
                )
            }
            // Closed without a farewell.
            Err(_) => return said,
        }
    }
}

#[track_caller]
fn lives(server: &Server) {
    assert_eq!(server.ok("get --raw /readyz"), "ok");
    assert_eq!(
        server.ok("get namespace default -o name"),
        "namespace/default\n"
    );
}

#[test]
fn requests_with_bad_framing_are_refused_and_the_connection_closed() {
    let server = Server::start();
    let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\n";
    let many = "x: y\r\n".repeat(5000);
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1 << 20));
    for (what, request) in [
        ("no HTTP", "nonsense\r\n\r\n".to_owned()),
        ("zeros", "\0\0\0\0\0\0\0\0\r\n\r\n".to_owned()),
        ("another version", "GET / HTTP/3.7\r\n\r\n".to_owned()),
        (
            "a space in the path",
            "GET /a b HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        ),
        ("a header without a name", format!("{head}: x\r\n\r\n")),
        ("a header with a zero", format!("{head}a: \0\r\n\r\n")),
        ("a flood of headers", format!("{head}{many}\r\n")),
        ("a long header", format!("{head}{long}\r\n")),
        ("a long path", path),
        (
            "two lengths",
            format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\n{{}}"),
        ),
        (
            "no length",
            format!("{head}content-length: many\r\n\r\n{{}}"),
        ),
        (
            "a negative length",
            format!("{head}content-length: -1\r\n\r\n{{}}"),
        ),
        (
            "a chunk without a size",
            format!("{head}transfer-encoding: chunked\r\n\r\nxyz\r\n{{}}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk without end",
            format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{{}}"),
        ),
        (
            "an unknown encoding",
            format!("{head}transfer-encoding: sideways\r\n\r\n{{}}"),
        ),
    ] {
        let mut stream = connect(&server, "http/1.1");
        // The server may have enough before we have said all.
        let _ = stream.write_all(request.as_bytes());
        let said = answer(stream);
        let said = String::from_utf8_lossy(&said);
        let refused = said.is_empty() || said.starts_with("HTTP/1.1 4");
        assert!(refused, "{what}: {said}");
    }
    lives(&server);
}

#[test]
fn clients_that_stop_half_way_hold_up_nobody() {
    let server = Server::start();
    let before = server.resident_mb();
    let stopped: Vec<(Tls, &str)> = (0..100)
        .map(|number| {
            let said = match number % 4 {
                0 => "GET /api",
                1 => "GET /api/v1/pods HTTP/1.1\r\nhost: x\r\nx-slow: ",
                2 => "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{",
                _ => "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
            };
            let mut stream = connect(&server, "http/1.1");
            stream.write_all(said.as_bytes()).unwrap();
            (stream, said)
        })
        .collect();
    let silent: Vec<TcpStream> = (0..100).map(|_| plain(&server)).collect();
    lives(&server);
    let grown = server.resident_mb() - before;
    assert!(
        grown < 64.0,
        "{grown} MB for {} connections",
        stopped.len() + silent.len()
    );
    drop((stopped, silent));
    lives(&server);
}

#[test]
fn what_is_no_tls_is_cut() {
    let server = Server::start();
    for said in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff\x01nonsense",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x03\x00\x02\x02\x28",
        &[0xff; 65_536],
    ] {
        let mut stream = plain(&server);
        let _ = stream.write_all(said);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        answer(stream);
    }
    lives(&server);
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

#[test]
fn odd_frames_of_http_2_end_the_connection_and_nothing_else() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let (data, headers, settings, window, continuation) = (0, 1, 4, 8, 9);
    let server = Server::start();
    let hello = frame(settings, 0, 0, &[]);
    for (what, frames) in [
        ("no settings", frame(data, 0, 1, b"x")),
        ("settings of half a size", frame(settings, 0, 0, &[0, 1, 2])),
        (
            "data of no request",
            [hello.clone(), frame(data, 1, 1, b"x")].concat(),
        ),
        (
            "headers that are none",
            [hello.clone(), frame(headers, 5, 1, &[0xff; 64])].concat(),
        ),
        (
            "an even stream",
            [hello.clone(), frame(headers, 5, 2, &[0x82])].concat(),
        ),
        (
            "a continuation of nothing",
            [hello.clone(), frame(continuation, 4, 1, &[0x82])].concat(),
        ),
        (
            "a window of zero",
            [hello.clone(), frame(window, 0, 0, &[0; 4])].concat(),
        ),
        (
            "a frame larger than agreed",
            [hello.clone(), frame(data, 0, 1, &[0; 20_000])].concat(),
        ),
    ] {
        let mut stream = connect(&server, "h2");
        let _ = stream.write_all(&[PREFACE, &frames].concat());
        let said = answer(stream);
        assert!(said.len() < 4096, "{what}: {} bytes", said.len());
    }
    // Headers without end, in continuations.
    let before = server.resident_mb();
    let mut stream = connect(&server, "h2");
    let begun = [PREFACE, &hello, &frame(headers, 0, 1, &[0x82])].concat();
    stream.write_all(&begun).unwrap();
    let piece = frame(continuation, 0, 1, &[0x00; 16_000]);
    wait_for("the server to have enough", || {
        stream.write_all(&piece).is_err().then_some(())
    });
    let grown = server.resident_mb() - before;
    assert!(grown < 64.0, "{grown} MB for headers without end");
    lives(&server);
}

#[test]
fn many_streams_that_are_reset_at_once_cost_little() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let server = Server::start();
    let before = server.resident_mb();
    let mut stream = connect(&server, "h2");
    stream
        .write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat())
        .unwrap();
    stream
        .sock
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    // GET https://x/api/v1/pods, then at once RST_STREAM (CVE-2023-44487).
    let path = b"\x82\x87\x44\x0c/api/v1/pods\x41\x01x";
    for number in 0..4_000u32 {
        let id = number * 2 + 1;
        let both = [frame(1, 5, id, path), frame(3, 0, id, &[0, 0, 0, 8])].concat();
        if stream.write_all(&both).is_err() {
            break;
        }
        if number % 100 == 0 {
            let _ = stream.read(&mut [0; 65_536]);
        }
    }
    let grown = server.resident_mb() - before;
    assert!(grown < 64.0, "{grown} MB for streams that were reset");
    lives(&server);
}
