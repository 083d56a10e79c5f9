//! An upstream that knows `www.outside.test`, and counts what it is asked.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use sealane_message::{Data, Kind, Rcode, Request, Section, Soa, Writer};
use tokio::{net::UdpSocket, task::JoinHandle};

use crate::serve::name;

pub struct Upstream {
    pub at: SocketAddr,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut query = [0; 1500];
            loop {
                let (length, client) = socket.recv_from(&mut query).await.unwrap();
                let Ok(request) = Request::read(&query[..length]) else {
                    continue;
                };
                // Anything else is the resolver's own look for loops.
                if matches!(request.question.kind, Kind::A | Kind::AAAA | Kind::PTR) {
                    count.fetch_add(1, Relaxed);
                }
                // A client that is gone is none of our affair.
                let _gone = socket.send_to(&reply(&request), client).await;
            }
        });
        Self { at, asked, task }
    }

    /// Queries so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::reply(&mut out, request, 1232);
    writer.set_recursion_available(true);
    let asked = &request.question.name;
    let web = name("web.outside.test");
    let address = |last| Data::A(Ipv4Addr::new(192, 0, 2, last));
    let soa = Data::Soa(Soa {
        primary: name("ns.outside.test"),
        mailbox: name("mail.outside.test"),
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum: 5,
    });
    let zone = name("outside.test");
    let written = match (asked.without_dot().as_str(), request.question.kind) {
        ("www.outside.test", Kind::A) => writer
            .push(Section::Answer, asked, 300, &Data::Cname(web))
            .and_then(|()| writer.push(Section::Answer, &web, 60, &address(1)))
            .and_then(|()| writer.push(Section::Answer, &web, 60, &address(2))),
        ("www.outside.test" | "web.outside.test", _) => {
            writer.push(Section::Authority, &zone, 60, &soa)
        }
        ("broken.outside.test", _) => {
            writer.set_rcode(Rcode::SERVFAIL);
            Ok(())
        }
        _ => {
            writer.set_rcode(Rcode::NXDOMAIN);
            writer.push(Section::Authority, &zone, 60, &soa)
        }
    };
    assert!(written.is_ok(), "short answers fit");
    writer.finish();
    out
}
