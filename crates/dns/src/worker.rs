//! The worker: answers, and may do nothing else.
//!
//! ```text
//! start ─► never more rights ─► reads kubeconfig, keys ─► an ordinary user ─► watches, Corefile
//!                                                                                 │ both known
//!       SIGTERM: reads no more, finishes, ends ◄── answers ◄── tells the keeper ◄─┘
//! ```
//!
//! It reads its first packet as an ordinary user without rights. Only once it
//! knows what there is does it read at all: until then questions wait in the
//! sockets, or are answered by the worker before it.
//!
//! When the keeper is killed, the worker answers on, and a thread takes the
//! keeper's part at `dns.sock`: it hands the sockets to the next keeper.

mod handed;
mod stand_in;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use nix::sys::signal::{SigHandler, Signal};
use sealane_introspect::{Introspect, Served, keep_small};
use sealane_kube::Client;
use sealane_net::names;
use sealane_zone::PodRecords;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::configure::{self, Configuration, Live, Source, Surroundings};
use crate::keeper::{self, Inherited};
use crate::options::Settings;
use crate::pipeline::Pipeline;
use crate::watch::{Asked, World};
use crate::{probes, serve};
use handed::Handed;

/// How often files of the configuration are looked at, and what follows from it.
const LOOK: Duration = Duration::from_secs(1);

/// Answers until SIGTERM, or until another process has taken over.
///
/// # Errors
/// Sockets that were not handed over, access that cannot be used.
pub fn run(settings: Settings, inherited: Vec<Inherited>) -> anyhow::Result<()> {
    keeper::never_more()?;
    let handed = Handed::take(inherited)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(answer(settings, handed))
}

async fn answer(settings: Settings, handed: Handed) -> anyhow::Result<()> {
    let drain = asked_to_end()?;
    let answers = Arc::new(AtomicBool::new(false));
    stand_in::start(handed.life, handed.all, Arc::clone(&answers), drain.clone())?;
    tokio::spawn(keep_small());
    let introspect = Introspect::new("dns");
    introspect.config(&settings);
    let client = sealane_kube::client(&settings.access, "dns").await?;
    keeper::drop_all()?;
    let served: Result<Vec<Served>, _> = (handed.health.into_iter())
        .map(|listener| introspect.serve_tcp_on(listener))
        .chain(
            handed
                .debug
                .map(|listener| introspect.serve_unix_on(listener)),
        )
        .collect();
    let _served = served?;

    let configuration = configure::start(
        source(&settings, &client),
        surroundings(&settings, &introspect),
    );
    let _probes = probes::start(
        configuration.live(),
        settings.addresses.clone(),
        &introspect,
    );
    let asked = asked(&configuration);
    let mut world = World::follow(&client, &settings, asked, &introspect);
    let known = async {
        configuration.read().await;
        world.synced().await;
    };
    tokio::select! {
        () = known => {}
        () = drain.cancelled() => return Ok(()),
    }
    let (zone, clients) = (Arc::clone(&world.zone), Arc::clone(&world.clients));
    let pipeline = Pipeline::new(configuration.live(), zone, clients, &introspect);
    let serving = serve::start(handed.sockets, &serve_settings(&settings), pipeline)?;
    answers.store(true, Ordering::Release);
    tell(handed.ready)?;
    drain.cancelled().await;
    serving.drain().await;
    Ok(())
}

fn source(settings: &Settings, client: &Client) -> Source {
    match &settings.corefile {
        Some(path) => Source::File(path.clone()),
        None => Source::ConfigMap(client.clone()),
    }
}

fn surroundings(settings: &Settings, introspect: &Introspect) -> Surroundings {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.unwrap_or_default().as_secs();
    Surroundings {
        introspect: introspect.clone(),
        addresses: settings.addresses.clone(),
        port: names::DNS_PORT,
        cluster_domain: settings.cluster_domain.clone(),
        resolv_conf: settings.resolv_conf.clone(),
        // Serial numbers wrap around (RFC 1982).
        first_serial: seconds as u32,
        node_name: settings.node_name.clone(),
        interval: LOOK,
    }
}

/// What the configuration wants to be watched, now and later.
fn asked(configuration: &Configuration) -> watch::Receiver<Asked> {
    let live = configuration.live();
    let (sender, asked) = watch::channel(of(&live.load()));
    tokio::spawn(async move {
        let mut look = tokio::time::interval(LOOK);
        while !sender.is_closed() {
            look.tick().await;
            let now = of(&live.load());
            sender.send_if_modified(|asked| std::mem::replace(asked, now) != now);
        }
    });
    asked
}

fn of(live: &Live) -> Asked {
    let zones = live.blocks.iter().filter_map(|block| block.zone.as_ref());
    Asked {
        pods: zones
            .into_iter()
            .any(|zone| zone.pods == PodRecords::Verified),
        pod_names: live.endpoint_pod_names(),
    }
}

fn serve_settings(settings: &Settings) -> serve::Settings {
    serve::Settings {
        identity: settings.node_name.clone(),
        ..serve::Settings::default()
    }
}

/// The keeper alone heeds what a terminal sends to all.
fn asked_to_end() -> anyhow::Result<CancellationToken> {
    for of_terminals in [Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { nix::sys::signal::signal(of_terminals, SigHandler::SigIgn) }
            .with_context(|| format!("ignore {of_terminals}"))?;
    }
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let token = CancellationToken::new();
    let end = token.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        end.cancel();
    });
    Ok(token)
}

/// Tells the keeper that questions are answered. One that is gone needs no word.
fn tell(ready: OwnedFd) -> anyhow::Result<()> {
    match nix::unistd::write(&ready, b"1") {
        Ok(_) | Err(nix::errno::Errno::EPIPE) => Ok(()),
        Err(errno) => Err(errno).context("tell the keeper"),
    }
}
