//! A Corefile in force.

use std::collections::HashMap;
use std::sync::Arc;

use sealane_corefile::{Config, Server};
use sealane_forward::Resolver;
use sealane_message::Name;
use sealane_zone as zone;
use serde_json::{Value, json};

use super::{Labels, Surroundings, translate};
use crate::query_log::{Limit, QueryLog};

/// What is done with questions, by their names.
pub struct Live {
    /// In the order of the Corefile.
    pub blocks: Vec<Arc<Block>>,
    /// By zone in wire form, the position of its block.
    zones: HashMap<Box<[u8]>, usize>,
    /// What of the Corefile has no effect, and where it is from.
    shown: Value,
}

/// A server block in force.
pub struct Block {
    /// What it says.
    pub server: Server,
    /// What its metrics call it.
    pub labels: Labels,
    /// How names of the cluster are answered, with `kubernetes`.
    pub zone: Option<zone::Settings>,
    /// Who answers for others, with `forward`.
    pub resolver: Option<Resolver>,
    /// Which queries are written down, with `log`.
    pub log: QueryLog,
}

impl Live {
    /// Sets up what a Corefile says; what of `previous` is set up alike goes on.
    pub(super) fn new(
        config: Config,
        from: &str,
        surroundings: &Surroundings,
        limit: &Arc<Limit>,
        previous: Option<&Live>,
    ) -> Self {
        let notices: Vec<String> = config.notices.iter().map(ToString::to_string).collect();
        let mut zones = HashMap::new();
        let mut blocks: Vec<Arc<Block>> = Vec::new();
        for server in config.servers {
            let served = server
                .keys
                .iter()
                .filter(|key| key.port == surroundings.port);
            let before = zones.len();
            zones.extend(served.map(|key| (key.zone.as_wire().into(), blocks.len())));
            if zones.len() > before {
                let block = Block::new(server, surroundings, limit, previous);
                blocks.push(Arc::new(block));
            }
        }
        let shown_blocks: Vec<Value> = blocks.iter().map(|block| block.shown()).collect();
        let shown = json!({"from": from, "blocks": shown_blocks, "withoutEffect": notices});
        Self {
            blocks,
            zones,
            shown,
        }
    }

    /// The block that answers for a name: that of the longest zone which it is within.
    #[must_use]
    pub fn block(&self, name: &Name) -> Option<&Arc<Block>> {
        // Most have one block, for the root: nothing is to be looked for.
        if let [block] = &self.blocks[..]
            && self.zones.len() == 1
            && self.zones.contains_key(Name::ROOT.as_wire())
        {
            return Some(block);
        }
        let mut found = name.suffixes().filter_map(|zone| self.zones.get(zone));
        found.next().map(|index| &self.blocks[*index])
    }

    /// Whether endpoints are called as their pods, by any block: what the zone takes endpoints in by.
    #[must_use]
    pub fn endpoint_pod_names(&self) -> bool {
        let mut said = self
            .blocks
            .iter()
            .filter_map(|block| block.server.kubernetes.as_ref());
        said.any(|kubernetes| kubernetes.endpoint_pod_names)
    }

    /// For `/debug/state`.
    pub(super) fn shown(&self) -> Value {
        self.shown.clone()
    }
}

impl Block {
    fn new(
        server: Server,
        surroundings: &Surroundings,
        limit: &Arc<Limit>,
        previous: Option<&Live>,
    ) -> Self {
        let labels = Labels::of(&server, surroundings.port);
        let zone = server.kubernetes.as_ref();
        let Surroundings {
            addresses,
            first_serial,
            ..
        } = surroundings;
        let zone = zone.map(|said| translate::zone(said, addresses, *first_serial));
        let resolver = (!server.forwards.is_empty()).then(|| {
            let settings = translate::forward(&server, surroundings);
            let of_same = previous.and_then(|live| live.resolver_of(&server));
            let around = sealane_forward::Surroundings {
                introspect: surroundings.introspect.clone(),
                own: surroundings.sockets(),
                server: labels.server.clone(),
            };
            Resolver::start(settings, &around, of_same)
        });
        Self {
            labels,
            zone,
            resolver,
            log: QueryLog::new(server.log.clone(), Arc::clone(limit)),
            server,
        }
    }

    fn shown(&self) -> Value {
        let server = &self.server;
        let zones: Vec<String> = server.zones().iter().map(ToString::to_string).collect();
        let forwards = server.forwards.iter();
        let forwards: Vec<String> = forwards
            .map(|forward| format!("{} to {:?}", forward.from, forward.to))
            .collect();
        json!({
            "line": server.at.to_string(),
            "zones": zones,
            "kubernetes": server.kubernetes.as_ref().map(|kubernetes| format!("{kubernetes:?}")),
            "forward": forwards,
            "cache": server.cache.is_some(),
            "hosts": server.hosts.as_ref().map(sealane_corefile::Hosts::len),
            "log": !server.log.is_empty(),
        })
    }
}

impl Live {
    /// The resolver of the block with the same zones.
    fn resolver_of(&self, server: &Server) -> Option<&Resolver> {
        let same = self
            .blocks
            .iter()
            .find(|block| block.server.keys == server.keys);
        same.and_then(|block| block.resolver.as_ref())
    }
}
