//! What can be seen of a resolver.

use serde_json::{Value, json};

use super::Resolver;
use crate::{response::Outcome, upstream::Group};

impl Resolver {
    /// Its upstreams and what is known of them, and how much is kept.
    #[must_use]
    pub fn state(&self) -> Value {
        let inner = &*self.inner;
        let cache = inner.cache.as_ref().map(|cache| {
            json!({
                "success": cache.len(Outcome::Success),
                "denial": cache.len(Outcome::Denial),
                "bytes": cache.weight(),
            })
        });
        json!({
            "forwards": inner.groups.iter().map(|group| shown(group)).collect::<Vec<_>>(),
            "underWay": inner.flights.len(),
            "cache": cache,
        })
    }
}

fn shown(group: &Group) -> Value {
    let upstreams = group.upstreams();
    let upstreams = upstreams.iter().map(|upstream| {
        let candidate = upstream.candidate();
        json!({
            "address": upstream.address(),
            "down": candidate.down,
            "loops": candidate.loops,
        })
    });
    json!({
        "from": group.settings().from.to_string(),
        "upstreams": upstreams.collect::<Vec<_>>(),
        "underWay": group.under_way(),
    })
}
