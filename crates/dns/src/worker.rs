//! The worker: answers, and may do nothing else.
//!
//! ```text
//! start ─► never more rights ─► reads kubeconfig, keys ─► an ordinary user ─► watches, Corefile
//!                                                                                 │ both known, or no word of
//!                                                                                 │ them but what was known before
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
use std::pin::pin;
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

use crate::configure::{self, Configuration, Live, Source, Surroundings, Texts};
use crate::keeper::{self, Inherited};
use crate::options::Settings;
use crate::pipeline::Pipeline;
use crate::state::{self, Folder, Knowledge, Known};
use crate::watch::{Asked, World};
use crate::{probes, serve};
use handed::Handed;

/// How often files of the configuration are looked at, and what follows from it.
const LOOK: Duration = Duration::from_secs(1);
/// How long the API server is waited for by one who knows something. Resolvers wait five seconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers until SIGTERM, or until another process has taken over.
///
/// # Errors
/// Sockets that were not handed over, access that cannot be used.
pub fn run(settings: Settings, inherited: Vec<Inherited>) -> anyhow::Result<()> {
    sealane_role::never_more()?;
    end_by_panics();
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
    let panics = introspect.counter(
        "coredns_panics_total",
        "Workers of this node's DNS server that have panicked; the next one answered at once.",
        &[],
    );
    panics.add(settings.panics);
    let client = sealane_kube::client(&settings.access, "dns").await?;
    sealane_role::become_user(keeper::WORKER)?;
    let served: Result<Vec<Served>, _> = (handed.health.into_iter())
        .map(|listener| introspect.serve_tcp_on(listener))
        .chain(
            handed
                .debug
                .map(|listener| introspect.serve_unix_on(listener)),
        )
        .collect();
    let _served = served?;

    let mut before = handed.state.as_ref().and_then(last_known);
    let texts = before.as_mut().and_then(|known| known.texts.take());
    let written = before.as_ref().map(|known| known.written);
    let configuration = configure::start(
        source(&settings, &client, texts),
        surroundings(&settings, &introspect),
    );
    let _probes = probes::start(
        configuration.live(),
        settings.addresses.clone(),
        &introspect,
    );
    let asked = asked(&configuration);
    let mut world = World::follow(&client, &settings, asked, before, &introspect);
    let (zone, clients) = (Arc::clone(&world.zone), Arc::clone(&world.clients));
    let pipeline = Pipeline::new(
        configuration.live(),
        Arc::clone(&zone),
        Arc::clone(&clients),
        &introspect,
    );
    let knowledge = Knowledge {
        zone,
        clients,
        configuration,
    };
    let mut told = pin!(async {
        knowledge.configuration.read().await;
        world.synced().await;
    });
    let is_told = tokio::select! {
        () = &mut told => true,
        () = without_word(written) => false,
        () = drain.cancelled() => return Ok(()),
    };
    let serving = serve::start(handed.sockets, &serve_settings(&settings), pipeline)?;
    answers.store(true, Ordering::Release);
    tell(handed.ready)?;
    let keep = async {
        if !is_told {
            told.await;
            tracing::info!("the API server has told what there is");
        }
        if let Some(folder) = handed.state {
            state::keep(folder, &knowledge).await;
        }
    };
    drain.run_until_cancelled(keep).await;
    drain.cancelled().await;
    serving.drain().await;
    Ok(())
}

/// What was known when somebody last wrote it down; what cannot be read is told, and is as if it were not there.
fn last_known(folder: &Folder) -> Option<Known> {
    let bytes = folder.read().map_err(anyhow::Error::from);
    let known = bytes.and_then(|bytes| Ok(bytes.map(|bytes| state::read(&bytes)).transpose()?));
    known.unwrap_or_else(|error| {
        tracing::warn!(
            "read the names of before: {error:#}; without the API server none are known"
        );
        None
    })
}

/// Waits until it is time to answer what was known before; for ever, if nothing was.
async fn without_word(written: Option<SystemTime>) {
    let Some(written) = written else {
        return std::future::pending().await;
    };
    tokio::time::sleep(PATIENCE).await;
    let age = SystemTime::now()
        .duration_since(written)
        .unwrap_or_default();
    tracing::warn!(
        "no word from the API server within {} s: answering what was known {} s ago",
        PATIENCE.as_secs(),
        age.as_secs()
    );
}

/// A thread that is gone would be missed by nobody but those who ask; the keeper replaces a process at once.
fn end_by_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        std::process::abort();
    }));
}

fn source(settings: &Settings, client: &Client, before: Option<Texts>) -> Source {
    match &settings.corefile {
        Some(path) => Source::File(path.clone()),
        None => Source::ConfigMap(client.clone(), before),
    }
}

fn surroundings(settings: &Settings, introspect: &Introspect) -> Surroundings {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.unwrap_or_default().as_secs();
    Surroundings {
        introspect: introspect.clone(),
        addresses: settings.addresses.clone(),
        port: names::DNS_PORT,
        cluster_domain: settings.cluster_domain.to_string(),
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
