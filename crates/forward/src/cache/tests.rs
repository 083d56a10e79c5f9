use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use sealane_introspect::Introspect;
use sealane_message::{Age, Answer, Data, Kind, Name, Question, Rcode, Section};

use super::*;
use crate::settings::{Prefetch, ServeStale, StaleMode};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: u32 = 3600;

fn cache(settings: CacheSettings) -> Cache {
    let meters = CacheMeters::new(&Introspect::new("test"), "dns://:53", ".");
    Cache::new(settings, meters)
}

/// As a Corefile's `cache` alone would have it, without what is ours.
fn plain() -> CacheSettings {
    CacheSettings {
        prefetch: None,
        serve_stale: None,
        ..CacheSettings::default()
    }
}

fn query(text: &str) -> Query {
    let name: Name = text.parse().unwrap();
    Query::from(Question::new(name, Kind::A))
}

fn success(query: &Query, ttl: u32) -> Kept {
    let question = &query.question;
    let address = Data::A(Ipv4Addr::LOCALHOST);
    let answer = Answer::make(question, |writer| {
        writer.push(Section::Answer, &question.name, ttl, &address)
    });
    Kept {
        answer: Arc::new(answer.unwrap()),
        outcome: Outcome::Success,
        ttl: Some(ttl),
        dropped: 0,
    }
}

fn denial(query: &Query, ttl: u32) -> Kept {
    Kept {
        answer: Reply::failure(&query.question, Rcode::NXDOMAIN).answer,
        outcome: Outcome::Denial,
        ttl: Some(ttl),
        dropped: 0,
    }
}

/// A day of a name with a TTL of an hour: it is given with what is left of its TTL, and not a second longer.
#[test]
fn a_day_of_ttls() {
    let cache = cache(plain());
    let query = query("www.example.org");
    let midnight = Instant::now();
    let mut fetched = Vec::new();
    for second in 0..24 * HOUR {
        let now = midnight + second * SECOND;
        let Some(hit) = cache.get(&query, now) else {
            fetched.push(second);
            cache.put(&query, &success(&query, HOUR), now);
            continue;
        };
        assert_eq!(hit.reply.age, Age::Seconds(second % HOUR));
        assert!(!hit.stale && !hit.refresh);
    }
    assert_eq!(fetched, (0..24).map(|hour| hour * HOUR).collect::<Vec<_>>());
}

#[test]
fn a_popular_name_never_expires_in_a_day_and_another_does() {
    let prefetch = Prefetch {
        amount: 3,
        gap: 60 * SECOND,
        percentage: 10,
    };
    let cache = cache(CacheSettings {
        prefetch: Some(prefetch),
        ..plain()
    });
    let (popular, other) = (query("popular.example.org"), query("other.example.org"));
    let midnight = Instant::now();
    for query in [&popular, &other] {
        cache.put(query, &success(query, 300), midnight);
    }
    let (mut fetched, mut missed) = (0, 0);
    for second in (0..24 * HOUR).step_by(20) {
        let now = midnight + second * SECOND;
        let hit = cache.get(&popular, now).expect("it is always there");
        if hit.refresh {
            fetched += 1;
            cache.put(&popular, &success(&popular, 300), now);
        }
        // Asked for every 100 seconds: too seldom.
        if second % 100 == 0 {
            match cache.get(&other, now) {
                Some(hit) => assert!(!hit.refresh),
                None => {
                    missed += 1;
                    cache.put(&other, &success(&other, 300), now);
                }
            }
        }
    }
    assert_eq!(
        fetched,
        (24 * HOUR - 20) / 280,
        "each time 280 seconds after the last"
    );
    assert_eq!(missed, 24 * HOUR / 300 - 1);
}

#[test]
fn it_is_fetched_once_however_many_ask() {
    let cache = cache(CacheSettings {
        prefetch: Some(Prefetch::default()),
        ..plain()
    });
    let query = query("www.example.org");
    let start = Instant::now();
    cache.put(&query, &success(&query, 100), start);
    let refreshed = |second: u32| {
        let now = start + second * SECOND;
        let hits = (0..50).filter_map(|_| cache.get(&query, now));
        hits.filter(|hit| hit.refresh).count()
    };
    assert_eq!(refreshed(85), 0, "too early");
    assert_eq!(refreshed(91), 1);
    assert_eq!(refreshed(95), 0, "somebody is fetching it");
}

#[test]
fn bits_and_types_have_answers_of_their_own() {
    let cache = cache(plain());
    let now = Instant::now();
    let asked = query("www.example.org");
    cache.put(&asked, &success(&asked, 60), now);
    assert!(cache.get(&asked, now).is_some());
    let mut other = [asked; 4];
    other[0].dnssec_ok = true;
    other[1].checking_disabled = true;
    other[2].question.kind = Kind::AAAA;
    other[3].question.class = sealane_message::Class::CHAOS;
    for other in other {
        assert!(cache.get(&other, now).is_none(), "{other:?}");
    }
}

#[test]
fn what_may_not_be_kept_is_not() {
    let cache = cache(plain());
    let now = Instant::now();
    let query = query("www.example.org");
    for ttl in [None, Some(0)] {
        let kept = Kept {
            ttl,
            ..denial(&query, 1)
        };
        cache.put(&query, &kept, now);
        assert!(cache.get(&query, now).is_none());
    }
}

#[test]
fn the_latest_word_counts() {
    let cache = cache(plain());
    let now = Instant::now();
    let query = query("www.example.org");
    let outcome = |now| cache.get(&query, now).map(|hit| hit.outcome);
    cache.put(&query, &success(&query, 60), now);
    cache.put(&query, &denial(&query, 60), now);
    assert_eq!(outcome(now), Some(Outcome::Denial));
    cache.put(&query, &success(&query, 60), now);
    assert_eq!(outcome(now), Some(Outcome::Success));
    assert_eq!(cache.len(Outcome::Denial), 0);
}

#[test]
fn failures_are_remembered_for_a_moment() {
    let cache = cache(plain());
    let query = query("www.example.org");
    let start = Instant::now();
    let servfail = Reply::failure(&query.question, Rcode::SERVFAIL);
    for (answered, kept_ms) in [(true, 5000), (false, 1000)] {
        cache.put_failure(&query, &servfail, answered, start);
        let kept = Duration::from_millis(kept_ms);
        let hit = cache.get(&query, start + kept - SECOND / 10).unwrap();
        assert_eq!(hit.reply.rcode(), Rcode::SERVFAIL);
        assert!(cache.get(&query, start + kept).is_none());
    }
}

#[test]
fn an_expired_answer_stands_in_for_a_failure() {
    let cache = cache(CacheSettings {
        serve_stale: Some(ServeStale::default()),
        ..plain()
    });
    let query = query("www.example.org");
    let start = Instant::now();
    cache.put(&query, &success(&query, 60), start);
    let now = start + 61 * SECOND;
    assert!(
        cache.get(&query, now).is_none(),
        "upstreams are asked first"
    );
    let stale = cache.stale(&query, now).unwrap();
    assert_eq!(stale.age, Age::Stale(30));
    // Once they have failed, nobody has to wait for that again.
    let servfail = Reply::failure(&query.question, Rcode::SERVFAIL);
    cache.put_failure(&query, &servfail, true, now);
    let hit = cache.get(&query, now).unwrap();
    assert_eq!((hit.reply, hit.stale, hit.refresh), (stale, true, false));
    assert!(cache.get(&query, now + 6 * SECOND).is_none(), "tried again");
    let gone = start + Duration::from_secs(60 + 3600);
    assert_eq!(cache.stale(&query, gone), None);
}

#[test]
fn an_expired_answer_is_given_at_once_where_that_is_wanted() {
    let cache = cache(CacheSettings {
        serve_stale: Some(ServeStale {
            within: 100 * SECOND,
            mode: StaleMode::Immediate,
        }),
        ..plain()
    });
    let query = query("www.example.org");
    let start = Instant::now();
    cache.put(&query, &success(&query, 60), start);
    let now = start + 60 * SECOND;
    let first = cache.get(&query, now).unwrap();
    assert!(first.stale && first.refresh);
    let second = cache.get(&query, now).unwrap();
    assert!(second.stale && !second.refresh, "it is fetched once");
    assert!(cache.get(&query, now + 100 * SECOND).is_none());
}

#[test]
fn a_flood_of_names_that_do_not_exist_drives_no_answer_out() {
    let cache = cache(plain());
    let now = Instant::now();
    let kept: Vec<_> = (0..100)
        .map(|n| query(&format!("{n}.example.org")))
        .collect();
    kept.iter()
        .for_each(|query| cache.put(query, &success(query, 60), now));
    for n in 0..20_000 {
        let query = query(&format!("flood-{n}.example.org"));
        cache.put(&query, &denial(&query, 60), now);
    }
    assert!(kept.iter().all(|query| cache.get(query, now).is_some()));
    let limit = cache.settings.denial.bytes + cache.settings.success.bytes;
    assert!(cache.weight() <= limit, "{} of {limit}", cache.weight());
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u32),
    Put(u8, bool, u32),
    Fail(u8),
    Get(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..6u8;
    prop_oneof![
        (1..40u32).prop_map(Step::Wait),
        (name.clone(), any::<bool>(), 1..60u32).prop_map(|(n, s, t)| Step::Put(n, s, t)),
        name.clone().prop_map(Step::Fail),
        name.prop_map(Step::Get),
    ]
}

/// What is known of a name: when it was kept, for how long, and whether it exists.
#[derive(Default)]
struct Known {
    answer: Option<(u32, u32, bool)>,
    failed: Option<u32>,
}

const STALE: u32 = 20;

/// What a cache has to say at a time.
fn expected(known: &Known, now: u32) -> Option<(Age, Option<bool>)> {
    let failed = known.failed.is_some_and(|at| now < at + 5);
    if let Some((at, ttl, exists)) = known.answer {
        if now < at + ttl {
            return Some((Age::Seconds(now - at), Some(exists)));
        }
        if now < at + ttl + STALE {
            return failed.then_some((Age::Stale(30), Some(exists)));
        }
    }
    failed.then(|| (Age::Seconds(now - known.failed.unwrap_or(0)), None))
}

proptest! {
    /// With room for everything, the cache says what the rules say.
    #[test]
    fn agrees_with_a_naive_model(steps in prop::collection::vec(step(), 1..120)) {
        let cache = cache(CacheSettings {
            serve_stale: Some(ServeStale { within: STALE * SECOND, mode: StaleMode::Verified }),
            ..plain()
        });
        let start = Instant::now();
        let mut now = 0;
        let mut model: BTreeMap<u8, Known> = BTreeMap::new();
        for step in steps {
            let clock = start + now * SECOND;
            let asked = |name: u8| query(&format!("{name}.example.org"));
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Put(name, exists, ttl) => {
                    let query = asked(name);
                    let kept = if exists { success(&query, ttl) } else { denial(&query, ttl) };
                    cache.put(&query, &kept, clock);
                    let known = Known { answer: Some((now, ttl, exists)), failed: None };
                    model.insert(name, known);
                }
                Step::Fail(name) => {
                    let query = asked(name);
                    let servfail = Reply::failure(&query.question, Rcode::SERVFAIL);
                    cache.put_failure(&query, &servfail, true, clock);
                    model.entry(name).or_default().failed = Some(now);
                }
                Step::Get(name) => {
                    let known = model.entry(name).or_default();
                    let hit = cache.get(&asked(name), clock);
                    let seen = hit.map(|hit| {
                        let exists = match hit.reply.rcode() {
                            Rcode::SERVFAIL => None,
                            rcode => Some(rcode == Rcode::NOERROR),
                        };
                        (hit.reply.age, exists)
                    });
                    prop_assert_eq!(seen, expected(known, now));
                }
            }
        }
    }
}
