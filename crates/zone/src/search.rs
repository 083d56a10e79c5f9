//! A search in one round trip: what a client would ask for next is answered at its first question.
//!
//! A pod that looks for `www.example.com` asks for `www.example.com.shop.svc.cluster.local` first,
//! then for two more such names, for one with each domain of its node, and at last for what was meant.
//! Since it is known which list the pod has, the server can walk it by itself ([`Client::rest`]) as
//! soon as the first name is not there.
//!
//! # What clients do
//!
//! | | name with fewer than `ndots` dots | an answer with nothing (NODATA) | SERVFAIL, no answer |
//! |---|---|---|---|
//! | glibc | list, then as it is | goes on | SERVFAIL: goes on; none: gives up |
//! | musl | list, then as it is | gives up | gives up |
//! | Go, c-ares | list, then as it is | goes on | gives up or goes on |
//!
//! All of them go on after NXDOMAIN, and all end with the first name that has an address; musl goes
//! on, too, if one of its two questions, for A and for AAAA, is answered with NXDOMAIN,
//! whatever the other one brings. glibc takes an answer with any record, even an alias that leads to nothing,
//! for an end. So the walk (which is the pipeline's, since some names are for others to resolve)
//!
//! - passes over names that are not there, which is the same for every kind;
//! - ends at the first one that is. If its answer holds anything, the client gets an alias from the name
//!   that it asked for to this one, and that. The alias is what tells the client under which name
//!   it found the address (`AI_CANONNAME`), as its own walk would have;
//! - if it is there and has none of that kind: an answer with nothing, not even the alias. musl ends
//!   there, as it would have; glibc goes on by itself, as it would have, unless it has
//!   asked for both kinds and got the other one;
//! - if it cannot be resolved now, or if none is there: the first name's own NXDOMAIN. The client goes on by
//!   itself and meets what there is to meet.
//!
//! # When it is not done
//!
//! The server cannot see whether a name came out of the list or was meant as it is (with a dot at its
//! end, with `ndots` dots or more, or as the last try of a walk). Whoever meant
//! `db-1.db.shop.svc.cluster.local` must get NXDOMAIN while that pod is not ready, not what some other
//! domain has for `db-1.db`. So only such names are walked on from that nobody means as they are:
//!
//! - below the first domain of the client's list, which is its own namespace's in the cluster's domain;
//! - what is before that has fewer dots than `ndots`, and two labels at least: one alone is the name of
//!   a Service of the client's own namespace, and for such a short name nothing is lost, since it
//!   can only be found there, or in the domains of the node;
//! - of two labels, the second is no Service of that namespace, and the first does not end in a hyphen
//!   and a number, as names of endpoints do (`web-0`, `10-244-1-2`);
//! - none begins with an underscore; the question is for A or AAAA;
//! - it is no later name of another search: who in namespace `dev` has looked for `example.com.dev` in vain asks
//!   for `example.com.dev.svc.cluster.local` next, which is the first name for `example.com`, too. So
//!   later names that look like first ones are remembered for each client, a few of them;
//! - the list is one that every resolver takes whole: six domains and 255 letters at most (glibc before
//!   2.26, musl).
//!
//! Whoever's address belongs to no pod of this node, or to two, gets plain answers.
//!
//! What is left: somebody who asks for `a.b.shop.svc.cluster.local` as it is, while there is no
//! Service `b` in `shop`, but a Service `a` in namespace `b` or somebody else who has `a.b`, gets that
//! address instead of NXDOMAIN. CoreDNS's autopath answers the same so, and much else.

use sealane_message::{Class, Kind, Name, Question};

use crate::clients::Client;
use crate::path::Path;
use crate::{Settings, Zone};

/// What glibc before 2.26 takes of a list.
const MAX_DOMAINS: usize = 6;
/// What musl takes of a line.
const MAX_LETTERS: usize = 255;

/// Why a name is not walked on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSearch {
    /// Only addresses are looked for with a list.
    #[error("only questions for A and AAAA come out of a search list")]
    Kind,
    /// The list's first domain is not the pod's namespace's, or the list is longer than some resolvers take.
    #[error("the pod's search list is not one that every resolver walks alike")]
    List,
    /// Another domain, or nothing before it.
    #[error("the name is not below the first domain of the pod's search list")]
    NotFirst,
    /// The pod has looked for something longer, and this is what it asks for next.
    #[error("the name is a later one of another search of the pod")]
    Later,
    /// One label: a Service of the namespace is meant.
    #[error("the name is that of a Service of the pod's namespace")]
    Service,
    /// An endpoint, or a port, of a Service of the namespace is meant.
    #[error("the name is that of an endpoint or port of a Service of the pod's namespace")]
    Endpoint,
    /// The client would have tried the name as it is first.
    #[error("the name has as many dots as the pod's ndots: the pod tries it as it is first")]
    Dots,
    /// A resolver would stop at a name that cannot be.
    #[error("a name of the search would be too long")]
    TooLong,
}

impl Client {
    /// After NXDOMAIN for `question`: the names that this client would ask for next, in their order,
    /// if that is what it is going to do.
    ///
    /// # Errors
    ///
    /// The name may have been meant as it is.
    pub fn rest(
        &self,
        zone: &Zone,
        settings: &Settings,
        question: &Question,
    ) -> Result<Vec<Name>, NoSearch> {
        if !matches!(question.kind, Kind::A | Kind::AAAA) || question.class != Class::IN {
            return Err(NoSearch::Kind);
        }
        let list = self.searches();
        let [first, others @ ..] = list else {
            return Err(NoSearch::List);
        };
        if !self.is_usual(settings) {
            return Err(NoSearch::List);
        }
        let labels = question.name.labels_before(first);
        let labels = labels.ok_or(NoSearch::NotFirst)?;
        let domains = others.iter().chain([&Name::ROOT]);
        let rest: Result<Vec<Name>, _> = domains.map(|domain| Name::join(labels, domain)).collect();
        let rest = rest.map_err(|_| NoSearch::TooLong)?;
        let goes_on = self.passed().has(&question.name);
        for name in rest.iter().filter(|name| name.is_within(first)) {
            self.passed().note(name);
        }
        match goes_on {
            true => Err(NoSearch::Later),
            false => self
                .may_be_searched(zone, &question.name, first)
                .map(|()| rest),
        }
    }

    /// Whether the list begins as the cluster's does and is one that all resolvers take.
    fn is_usual(&self, settings: &Settings) -> bool {
        let list = self.searches();
        let letters: usize = list.iter().map(Name::len).sum();
        let own = list.first().filter(|first| {
            let domains = settings.zones.iter();
            let mut paths = domains.filter_map(|domain| Path::new(first, domain));
            paths.any(|path| path.is_namespace(self.namespace()))
        });
        own.is_some() && list.len() <= MAX_DOMAINS && letters <= MAX_LETTERS
    }

    fn may_be_searched(&self, zone: &Zone, name: &Name, first: &Name) -> Result<(), NoSearch> {
        let Some(path) = name.labels_before(first) else {
            return Err(NoSearch::NotFirst);
        };
        let labels: Vec<&[u8]> = path.collect();
        if labels.len() > self.ndots() as usize {
            return Err(NoSearch::Dots);
        }
        // A dot inside of a label is none that the client has counted.
        if labels
            .iter()
            .any(|label| label[0] == b'_' || label.contains(&b'.'))
        {
            return Err(NoSearch::Endpoint);
        }
        match labels[..] {
            [] => Err(NoSearch::NotFirst),
            [_] => Err(NoSearch::Service),
            [host, service] if is_numbered(host) || zone.has_service(service, self.namespace()) => {
                Err(NoSearch::Endpoint)
            }
            _ => Ok(()),
        }
    }
}

/// `web-0`, `10-244-1-2`, `fd00--5`.
fn is_numbered(label: &[u8]) -> bool {
    let hyphen = label.iter().rposition(|byte| *byte == b'-');
    let end = hyphen.map_or(&[][..], |at| &label[at + 1..]);
    !end.is_empty() && end.iter().all(u8::is_ascii_hexdigit)
}
