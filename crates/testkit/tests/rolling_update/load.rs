//! Clients that follow the slices as a proxy does, and send requests to whoever is listed as ready.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sealane_testkit::{Cluster, History, Namespace, SOON};

use crate::SLICES;
use crate::slices::{Endpoint, Listing};

/// Clients in each place.
const CLIENTS: usize = 2;
/// Time between the requests of a client.
const PACE: Duration = Duration::from_millis(2);

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Served>>,
}

/// What clients got.
#[derive(Debug, Default)]
pub struct Served {
    /// Requests that were answered by the pod that was meant.
    pub requests: u64,
    /// The pods that answered.
    pub pods: BTreeSet<String>,
    /// The others, in words.
    pub failures: Vec<String>,
}

impl std::fmt::Display for Served {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (pods, failures) = (self.pods.len(), self.failures.len());
        write!(
            to,
            "{} requests were served by {pods} pods, {failures} were not",
            self.requests
        )
    }
}

impl Load {
    /// Sends clients to these places.
    pub fn start(cluster: &Cluster, places: &[Namespace]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let slices = Arc::new(cluster.api().history(SLICES));
        let places = places.iter().flat_map(|place| [place; CLIENTS]);
        let clients = places.enumerate().map(|(number, place)| {
            let (place, slices, stop) = (place.clone(), Arc::clone(&slices), Arc::clone(&stop));
            std::thread::spawn(move || place.enter(|| ask_on(&slices, &stop, number)))
        });
        let clients = clients.collect();
        Self { stop, clients }
    }

    /// Ends them, and sums up.
    pub fn stop(self) -> Served {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Served::default();
        for client in self.clients {
            let served = client.join().unwrap();
            sum.requests += served.requests;
            sum.pods.extend(served.pods);
            sum.failures.extend(served.failures);
        }
        sum
    }
}

fn ask_on(slices: &History, stop: &AtomicBool, mut turn: usize) -> Served {
    let (mut listing, mut seen, mut version) = (Listing::default(), 0, 0);
    let mut served = Served::default();
    while !stop.load(Ordering::Relaxed) {
        slices.read(seen, |changes| {
            seen += changes.len();
            for change in changes {
                listing.take(change, "web");
                version = change.version;
            }
        });
        let ready: Vec<&Endpoint> = listing.all().filter(|endpoint| endpoint.ready).collect();
        turn += 1;
        match ready.get(turn % ready.len().max(1)) {
            None => served
                .failures
                .push(format!("nobody was ready at version {version}")),
            Some(endpoint) => match ask(endpoint.ip) {
                Ok(name) if name == endpoint.pod => {
                    served.requests += 1;
                    served.pods.insert(name);
                }
                Ok(name) => served.failures.push(format!(
                    "{endpoint:?}, listed at version {version}: {name} answered"
                )),
                Err(error) => served.failures.push(format!(
                    "{endpoint:?}, listed at version {version}: {error}"
                )),
            },
        }
        std::thread::sleep(PACE);
    }
    served
}

fn ask(ip: IpAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, 8080), SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let name = answer.lines().last().unwrap_or_default();
    Ok(name.trim().to_owned())
}
