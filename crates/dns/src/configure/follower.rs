//! The task that reads the Corefile again and again.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sealane_corefile::{Config, Given, parse, usual};
use sealane_kube::events::{Recorder, Severity};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::config_map::{self, Maps};
use super::files::{Files, Stamps};
use super::live::Live;
use super::meters::{Meters, hash};
use super::{Source, Surroundings};
use crate::query_log::Limit;

/// What an Event may hold.
const LONGEST_EVENT: usize = 1000;

pub struct Follower {
    source: Source,
    surroundings: Surroundings,
    live: Arc<ArcSwap<Live>>,
    limit: Arc<Limit>,
    meters: Meters,
    /// Of all texts that were read last.
    last: String,
    stamps: Stamps,
    done: watch::Sender<bool>,
}

impl Follower {
    /// The built-in Corefile is in force, or the file's.
    pub fn new(source: Source, surroundings: Surroundings, done: watch::Sender<bool>) -> Self {
        let limit = Arc::new(Limit::new(&surroundings.introspect));
        let mut meters = Meters::new(&surroundings.introspect);
        let text = usual(&surroundings.cluster_domain);
        let text = text.replace(":53", &format!(":{}", surroundings.port));
        let config = parse(&text, &Given::default());
        // A domain that is no name leaves nothing to serve, and says so in the log.
        let config = config.unwrap_or_else(|faults| {
            tracing::error!("read the built-in Corefile: {faults}");
            Config::default()
        });
        let live = Live::new(config, "built-in", &surroundings, &limit, None);
        meters.in_force(&text, &live.blocks, 0);
        let live = Arc::new(ArcSwap::from_pointee(live));
        let shown = Arc::clone(&live);
        let state = move || shown.load().shown();
        surroundings.introspect.state("corefile", state);
        let mut follower = Self {
            source,
            surroundings,
            live,
            limit,
            meters,
            last: String::new(),
            stamps: Stamps::default(),
            done,
        };
        follower.read_file();
        follower.read_before();
        follower
    }

    pub fn live(&self) -> Arc<ArcSwap<Live>> {
        Arc::clone(&self.live)
    }

    /// Follows what there is to follow, and passes on what it knows of ConfigMaps.
    pub async fn run(mut self, known: watch::Sender<Maps>) {
        let mut maps = known.subscribe();
        let mut recorder = None;
        let mut _feed = None;
        match self.source.clone() {
            Source::ConfigMap(client, _) => {
                let host = &self.surroundings.node_name;
                recorder = Some(Recorder::new(client.clone(), "sealane-dns", host));
                _feed = Some(Feed(tokio::spawn(config_map::follow(client, known))));
            }
            Source::File(_) | Source::BuiltIn => {
                self.done.send_replace(true);
            }
        }
        let mut looks = interval(self.surroundings.interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Ok(()) = maps.changed(), if _feed.is_some() => {}
                _ = looks.tick(), if !self.stamps.is_empty() => {
                    if !self.stamps.have_changed() {
                        continue;
                    }
                }
                // Nothing to follow, or nobody who tells.
                else => std::future::pending().await,
            }
            self.read_file();
            let now = maps.borrow().clone();
            self.read_maps(&now, recorder.as_ref());
        }
    }

    fn read_file(&mut self) {
        let Source::File(path) = self.source.clone() else {
            return;
        };
        let files = Files::beside_file(&path);
        let from = path.display().to_string();
        match files.read(&path) {
            Some(text) => {
                // What is wrong is told in the log.
                let _told = self.take(&text, &from, files);
            }
            None => {
                self.stamps = files.asked().stamps;
                self.meters.failed();
                tracing::error!(
                    "read Corefile {from}: it is not there, or cannot be read by this process; what was in force stays in force"
                );
            }
        }
    }

    /// What ConfigMaps said when somebody last knew them.
    fn read_before(&mut self) {
        let Source::ConfigMap(_, Some(texts)) = self.source.clone() else {
            return;
        };
        if let Some(text) = texts.coredns.get(config_map::KEY) {
            let files = Files::of_config_maps(&texts.coredns, &texts.custom);
            // What is wrong is told in the log, and again by an Event once the ConfigMap is read.
            let _told = self.take(text, "what ConfigMap kube-system/coredns last said", files);
            self.last.clear();
        }
    }

    fn read_maps(&mut self, maps: &Maps, recorder: Option<&Recorder>) {
        let Some((coredns, custom)) = maps.known() else {
            return;
        };
        if let Some(text) = coredns.data.get(config_map::KEY) {
            let files = Files::of_config_maps(&coredns.data, &custom.data);
            let from = format!("ConfigMap {}/{}", config_map::NAMESPACE, config_map::NAME);
            if let (Err(problem), Some(recorder)) = (self.take(text, &from, files), recorder) {
                let problem: String = problem.chars().take(LONGEST_EVENT).collect();
                let about = maps.reference();
                recorder.record(&about, Severity::Warning, "CorefileRefused", problem);
            }
        }
        self.done.send_replace(true);
    }

    /// Puts a text in force, or says why not.
    fn take(&mut self, text: &str, from: &str, files: Files<'_>) -> Result<(), String> {
        let outcome = parse(text, &files);
        let asked = files.asked();
        self.stamps = asked.stamps;
        let texts = asked.texts.iter().map(String::as_str);
        let now = hash(std::iter::once(text).chain(texts));
        if std::mem::replace(&mut self.last, now.clone()) == now {
            return Ok(());
        }
        match outcome {
            Ok(config) => {
                self.put_in_force(text, from, config);
                Ok(())
            }
            Err(faults) => {
                self.meters.failed();
                tracing::error!("read {from}: {faults}; what was in force stays in force");
                Err(faults.to_string())
            }
        }
    }

    fn put_in_force(&mut self, text: &str, from: &str, config: Config) {
        for notice in &config.notices {
            tracing::warn!("{from}: {notice}");
        }
        for key in config.servers.iter().flat_map(|server| &server.keys) {
            if key.port != self.surroundings.port {
                let (zone, port) = (key.zone, key.port);
                tracing::warn!(
                    "{from}: {zone}:{port} is not served: this server has port 53 alone"
                );
            }
        }
        let before = self.live.load_full();
        let (limit, notices) = (&self.limit, config.notices.len());
        let live = Live::new(config, from, &self.surroundings, limit, Some(&before));
        self.meters.in_force(text, &live.blocks, notices);
        let blocks = live.blocks.len();
        self.live.store(Arc::new(live));
        tracing::info!("{from} is in force: {blocks} server blocks");
    }
}

/// Ends with the follower.
struct Feed(JoinHandle<()>);

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.abort();
    }
}
