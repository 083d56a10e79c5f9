//! Which plugins a server block has.

use crate::config::Server;

impl Server {
    /// The plugins that are written in it and read, by their names, in the order of the alphabet.
    #[must_use]
    pub fn plugins(&self) -> Vec<&'static str> {
        let all = [
            ("acl", !self.acl.is_empty()),
            ("autopath", self.autopath),
            ("bind", !self.bind.is_empty()),
            ("cache", self.cache.is_some()),
            ("errors", self.errors),
            ("forward", !self.forwards.is_empty()),
            ("health", self.health.is_some()),
            ("hosts", self.hosts.is_some()),
            ("kubernetes", self.kubernetes.is_some()),
            ("loadbalance", self.shuffles),
            ("log", !self.log.is_empty()),
            ("loop", self.finds_loops),
            ("prometheus", self.prometheus.is_some()),
            ("ready", self.ready.is_some()),
            ("reload", self.reload.is_some()),
            ("rewrite", !self.rewrites.is_empty()),
            ("template", !self.templates.is_empty()),
            ("whoami", self.whoami),
        ];
        let there = all.into_iter().filter(|(_, is_there)| *is_there);
        there.map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{DEFAULT, Given, parse};

    #[test]
    fn the_usual_corefile_has_the_usual_plugins() {
        let config = parse(DEFAULT, &Given::default()).unwrap();
        assert_eq!(
            config.servers[0].plugins().join(" "),
            "cache errors forward health kubernetes loadbalance loop prometheus ready reload"
        );
    }
}
