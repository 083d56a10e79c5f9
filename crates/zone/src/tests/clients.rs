//! Clients with and without the search that is walked for them: none may notice, but by the clock.
//!
//! The clients are models of what glibc and musl do (the table in `search`), the server of what the
//! pipeline does with [`Client::rest`]. The names are few and the worlds small, so that everything
//! that can go wrong comes up.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sealane_message::{Kind, Name, Question, Rcode};
use sealane_objects::PodDns;
use serde_json::json;

use super::{name, object, pod, service, settings};
use crate::{Client, Found, SearchSettings, Settings, Zone};

const LABELS: [&str; 5] = ["web", "shop", "db", "db-0", "svc"];

/// What there is of a name: its families.
type Has = (bool, bool);

struct World {
    zone: Zone,
    settings: Settings,
    /// Names of others, with what they have; none: they fail.
    outside: BTreeMap<String, Option<Has>>,
    client: Client,
    /// What the client is made of: each program that looks something up is another pod.
    made: (PodDns, SearchSettings),
}

/// An answer as a client sees it: the rcode, and the names under which there are addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reply {
    rcode: Rcode,
    /// The last name of the answer section, and whether addresses of it are there.
    answer: Option<(Name, bool)>,
}

impl Reply {
    fn without_records(rcode: Rcode) -> Self {
        Self {
            rcode,
            answer: None,
        }
    }
}

impl World {
    /// The answer to one question, without a search.
    fn plain(&self, question: &Question) -> Reply {
        let mut name = question.name;
        let mut is_alias = false;
        match self.zone.find(&self.settings, question) {
            Found::Inside(answer) => {
                if let Some(last) = answer.chain().last() {
                    (name, is_alias) = (*last, true);
                }
                if answer.go_on().is_none() {
                    let has = answer.has_records();
                    return Reply {
                        rcode: answer.rcode(),
                        answer: (has || is_alias).then_some((name, has)),
                    };
                }
            }
            Found::Outside => {}
        }
        let (rcode, has) = match self.outside.get(&name.without_dot()) {
            None => (Rcode::NXDOMAIN, false),
            Some(None) => (Rcode::SERVFAIL, false),
            Some(Some((v4, v6))) => {
                let has = if question.kind == Kind::A { *v4 } else { *v6 };
                (Rcode::NOERROR, has)
            }
        };
        Reply {
            rcode,
            answer: (has || is_alias).then_some((name, has)),
        }
    }

    /// The answer with the search walked.
    fn searched(&self, question: &Question) -> Reply {
        let own = self.plain(question);
        if own.rcode != Rcode::NXDOMAIN {
            return own;
        }
        let rest = self.client.rest(&self.zone, &self.settings, question);
        for name in rest.unwrap_or_default() {
            let reply = self.plain(&Question { name, ..*question });
            match reply.rcode {
                Rcode::NXDOMAIN => {}
                Rcode::NOERROR => return reply,
                _ => break,
            }
        }
        own
    }

    fn ask(&self, name: Name, kind: Kind, search: bool) -> Reply {
        let question = Question::new(name, kind);
        match search {
            true => self.searched(&question),
            false => self.plain(&question),
        }
    }

    /// The names that a client tries for what was typed.
    fn names(&self, typed: &str, libc: Libc) -> Vec<Name> {
        let tries = self.client.tries(typed).unwrap();
        let as_it_is = tries.first().is_some_and(|first| first.domain.is_none());
        let names = tries.into_iter().map(|each| each.name);
        match libc == Libc::Musl && as_it_is {
            true => names.take(1).collect(),
            false => names.collect(),
        }
    }

    /// What somebody gets who looks something up: under which name there are addresses, of which kinds, or
    /// why there are none.
    fn look_up(&mut self, typed: &str, kinds: &[Kind], libc: Libc, search: bool) -> String {
        self.client = Client::new(&object("shop/web-1"), &self.made.0, &self.made.1);
        let mut nothing = false;
        let mut failed = false;
        for name in self.names(typed, libc) {
            let replies: Vec<Reply> = kinds
                .iter()
                .map(|kind| self.ask(name, *kind, search))
                .collect();
            let failure = replies.iter().any(|reply| reply.rcode == Rcode::SERVFAIL);
            let missing = replies.iter().any(|reply| reply.rcode == Rcode::NXDOMAIN);
            let has_any = |reply: &Reply| reply.rcode == Rcode::NOERROR && reply.answer.is_some();
            match libc {
                Libc::Glibc if replies.iter().any(has_any) => return found(kinds, &replies),
                Libc::Glibc => {
                    failed |= failure;
                    nothing |= !failure && !missing;
                }
                Libc::Musl if failure => return "try again".to_owned(),
                Libc::Musl if missing => {}
                Libc::Musl => return found(kinds, &replies),
            }
        }
        match (nothing, failed) {
            (true, _) => "no address".to_owned(),
            (_, true) => "try again".to_owned(),
            _ => "no such name".to_owned(),
        }
    }
}

fn found(kinds: &[Kind], replies: &[Reply]) -> String {
    let mut text = String::new();
    for (kind, reply) in kinds.iter().zip(replies) {
        if let Some((name, true)) = &reply.answer {
            text += &format!("{kind} of {name} ");
        }
    }
    match text.is_empty() {
        true => "no address".to_owned(),
        false => text,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Libc {
    Glibc,
    Musl,
}

fn label() -> impl Strategy<Value = &'static str> {
    (0..LABELS.len()).prop_map(|at| LABELS[at])
}

fn dotted(labels: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    prop::collection::vec(label(), labels).prop_map(|labels| labels.join("."))
}

/// A world in which somebody else may well have `base`, as it is or in the node's domain.
fn world(base: String) -> impl Strategy<Value = World> {
    let services = prop::collection::vec((label(), label(), 0..5_usize), 0..6);
    let has = || prop::option::weighted(0.8, (any::<bool>(), any::<bool>()));
    let others = [".corp.example", ""].map(|domain| base.clone() + domain);
    let outside = [prop::option::of(has()), prop::option::of(has())];
    let corp = prop::option::of(Just("corp.example"));
    let parts = (services, outside, corp, 0..7_u32);
    parts.prop_map(move |(services, outside, corp, ndots)| {
        let mut zone = Zone::new();
        zone.replace_namespaces(["shop", "db"]);
        for (name, namespace, what) in services {
            let target = [
                json!({"addresses": ["10.96.0.1"]}),
                json!({"addresses": ["fd00::1"]}),
                json!({"addresses": ["10.96.0.1", "fd00::1"]}),
                json!({"name": "web.example"}),
                json!("endpoints"),
            ];
            let target = &target[what];
            service(
                &mut zone,
                &format!("{namespace}/{name}"),
                json!({"target": target}),
            );
        }
        let search = SearchSettings {
            domain: "cluster.local".into(),
            node_searches: corp.into_iter().map(str::to_owned).collect(),
            node_ndots: None,
        };
        let pod = pod(json!({"addresses": ["10.244.1.2"], "config": {"ndots": ndots}}));
        let outside = others.iter().cloned().zip(outside);
        World {
            zone,
            settings: settings(),
            outside: outside
                .filter_map(|(name, has)| Some((name, has?)))
                .collect(),
            client: Client::new(&object("shop/web-1"), &pod, &search),
            made: (pod, search),
        }
    })
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.zone, self.outside, self.client)
    }
}

const KINDS: [&[Kind]; 3] = [&[Kind::A, Kind::AAAA], &[Kind::A], &[Kind::AAAA]];

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_typed_short_comes_to_the_same(
        (mut world, typed) in dotted(1..7).prop_flat_map(|typed| (world(typed.clone()), Just(typed))),
    ) {
        same(&mut world, &typed)?;
    }

    /// Whole names in the client's namespace: of Services and of their endpoints, there or not; and names
    /// with as many dots as make the client try them as they are first.
    #[test]
    fn what_is_meant_as_it_is_comes_to_the_same(
        (mut world, base) in meant().prop_flat_map(|base| (world(base.clone()), Just(base))),
    ) {
        let (host, service) = base.split_once('.').unwrap_or(("", &base));
        let numbered = host.ends_with(|letter: char| letter.is_ascii_digit());
        // A host without a number is an endpoint's only while its Service is there.
        if host.is_empty() || numbered || world.zone.has_service(service.as_bytes(), "shop") {
            same(&mut world, &format!("{base}.shop.svc.cluster.local."))?;
        }
    }

    #[test]
    fn a_name_of_many_dots_is_no_short_one(
        (mut world, base) in dotted(3..7).prop_flat_map(|base| (world(base.clone()), Just(base))),
    ) {
        let dots = base.matches('.').count();
        let typed = format!("{base}.shop.svc.cluster.local.");
        if dots >= world.client.ndots() as usize {
            same(&mut world, &typed)?;
        }
    }
}

/// As many as `SEALANE_LOOKUPS` says, for who has the time.
fn cases() -> u32 {
    let wanted = std::env::var("SEALANE_LOOKUPS");
    wanted
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(128)
}

fn meant() -> impl Strategy<Value = String> {
    let host = prop_oneof![Just(""), Just("db-0."), Just("10-244-1-2."), Just("web.")];
    (host, label()).prop_map(|(host, service)| format!("{host}{service}"))
}

/// With a search or without: the same.
fn same(world: &mut World, typed: &str) -> Result<(), TestCaseError> {
    for libc in [Libc::Glibc, Libc::Musl] {
        for kinds in KINDS {
            let plain = world.look_up(typed, kinds, libc, false);
            let searched = world.look_up(typed, kinds, libc, true);
            prop_assert_eq!(searched, plain, "{} {:?} {:?}", typed, kinds, libc);
        }
    }
    Ok(())
}

/// It is worth something: one question where there were four.
#[test]
fn a_search_ends_with_its_first_question() {
    let search = SearchSettings {
        domain: "cluster.local".into(),
        ..SearchSettings::default()
    };
    let world = World {
        zone: Zone::new(),
        settings: settings(),
        outside: [("www.web.example".to_owned(), Some((true, false)))].into(),
        client: Client::new(&object("shop/web-1"), &pod(json!({})), &search),
        made: (pod(json!({})), search),
    };
    let first = name("www.web.example.shop.svc.cluster.local");
    let reply = world.ask(first, Kind::A, true);
    assert_eq!(reply.answer, Some((name("www.web.example"), true)));
    assert_eq!(
        world.ask(first, Kind::AAAA, true),
        Reply::without_records(Rcode::NOERROR)
    );
}
