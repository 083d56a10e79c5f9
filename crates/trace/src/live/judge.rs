//! What is told beside what was shown. Pure, but for what [`Shown`] holds.

use std::time::Duration;

use sealane_netlink::{Flow, Sign};
use sealane_ruleset::Verdict as RuleVerdict;

use super::eyes::{Shown, ShownRule};
use super::probe::Told;
use super::sight::{Role, Sight};
use crate::packet::Packet;
use crate::trace::{Death, Live, Outcome, Place, Seen, Stage, Trace, Verdict};

pub(crate) fn judge(mut told: Trace, shown: &Shown, answer: &Told, took: Duration) -> Trace {
    let dies = matches!(told.outcome, Outcome::Dies(_));
    let last = told.there.len().saturating_sub(1);
    for (index, stage) in told.there.iter_mut().enumerate() {
        stage.seen = see(stage, shown, is_probe, dies && index == last);
    }
    for stage in &mut told.back {
        stage.seen = see(stage, shown, is_answer, false);
    }
    let outcome = outcome(&told, shown, answer);
    contradict(&mut told, &outcome, shown);
    let seen = told.there.iter().chain(&told.back);
    let seen: Vec<Verdict> = seen
        .filter_map(|s| Some(s.seen.as_ref()?.verdict))
        .collect();
    let count = |wanted| seen.iter().filter(|verdict| **verdict == wanted).count();
    told.live = Some(Live {
        sent: sent(&told, shown),
        answer: match answer {
            Told::Answered => "an answer".to_owned(),
            Told::Refused => "connection refused".to_owned(),
            Told::Silence => "no answer".to_owned(),
            Told::Failed(why) => why.clone(),
        },
        took_us: (*answer != Told::Silence).then_some(took.as_micros() as u64),
        outcome,
        confirmed: count(Verdict::Confirmed),
        differs: count(Verdict::Differs),
        not_seen: count(Verdict::NotSeen),
        blind: shown
            .blind
            .iter()
            .map(|(place, why)| format!("{place}: {why}"))
            .collect(),
    });
    told
}

fn sent(told: &Trace, shown: &Shown) -> String {
    let first = super::first_packet(told);
    let what = match shown.sign {
        Sign::SegmentSize(_) => "TCP SYN",
        Sign::Token(_) => "UDP datagram",
    };
    match (first, shown.sent) {
        (Some(packet), Some(source)) => format!("{what} {source} → {}", packet.target()),
        _ => what.to_owned(),
    }
}

fn is_probe(role: Role) -> bool {
    role == Role::Probe
}

fn is_answer(role: Role) -> bool {
    matches!(role, Role::Answer | Role::Reset)
}

/// A stage beside what was shown of it; none for what happens without a packet.
fn see(stage: &Stage, shown: &Shown, role: fn(Role) -> bool, ends: bool) -> Option<Seen> {
    if stage.title == "name" {
        return None;
    }
    if !shown.has_eye(&stage.place) {
        let why = shown.blind.get(&stage.place).cloned();
        return Some(Seen {
            verdict: Verdict::NotSeen,
            evidence: vec![why.unwrap_or_else(|| "nobody looked there".to_owned())],
        });
    }
    let mut evidence = Vec::new();
    let mut verdict = Verdict::NotSeen;
    if let (Some(before), Some(after)) = (&stage.before, &stage.packet)
        && let Some(flow) = flow(stage, shown, before, after)
    {
        let translated = is_translated(stage, &flow, after);
        verdict = if translated {
            Verdict::Confirmed
        } else {
            Verdict::Differs
        };
        evidence.push(format!(
            "conntrack: {} → {} is answered {} → {}",
            flow.client, flow.called, flow.answers, flow.answered
        ));
    }
    let links = links(stage, shown, role);
    if !links.is_empty() && verdict == Verdict::NotSeen {
        verdict = Verdict::Confirmed;
    }
    if !links.is_empty() {
        evidence.push(format!("seen {}", links.join(", ")));
    }
    evidence.extend(rules(stage, shown).map(rule_in_words));
    if ends && let Some(end) = end_at(&stage.place, shown) {
        verdict = Verdict::Confirmed;
        if !evidence.contains(&end) {
            evidence.push(end);
        }
    }
    if evidence.is_empty() {
        evidence.push("nothing of it was seen here".to_owned());
    }
    Some(Seen { verdict, evidence })
}

/// The entry that rewrote the packet on its way there.
fn flow(stage: &Stage, shown: &Shown, before: &Packet, after: &Packet) -> Option<Flow> {
    let mut flows = shown.flows_at(&stage.place);
    let called = |flow: &&Flow| match stage.title.as_str() {
        "masquerade" => flow.answers == after.target(),
        _ => flow.called == before.target(),
    };
    flows.find(called).cloned()
}

fn is_translated(stage: &Stage, flow: &Flow, after: &Packet) -> bool {
    match stage.title.as_str() {
        "masquerade" => flow.answered.ip() == after.source,
        "conntrack" => flow.client.ip() == after.destination,
        _ => flow.answers == after.target(),
    }
}

/// On which links a packet like the stage's passed: `on eth0 (out)`.
fn links(stage: &Stage, shown: &Shown, role: fn(Role) -> bool) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    for sight in &shown.sights {
        let is_it = |packet: &Packet| is_packet(sight, packet);
        if sight.place == stage.place
            && role(sight.role)
            && stage.packet.as_ref().is_some_and(is_it)
        {
            let way = if sight.outgoing { "out" } else { "in" };
            let text = format!("on {} ({way})", sight.link);
            if !links.contains(&text) {
                links.push(text);
            }
        }
    }
    links
}

/// Ports that the kernel draws are not compared.
fn is_packet(sight: &Sight, packet: &Packet) -> bool {
    let port = |told: u16, seen: u16| told == 0 || told == seen;
    sight.source.ip() == packet.source
        && sight.destination.ip() == packet.destination
        && port(packet.destination_port, sight.destination.port())
        && port(packet.source_port.unwrap_or_default(), sight.source.port())
        && packet
            .datagram
            .is_none_or(|outer| sight.outer == Some(outer))
}

/// Rules of Services that the packet met there: those behind routing belong to the masquerade.
fn rules<'a>(stage: &'a Stage, shown: &'a Shown) -> impl Iterator<Item = &'a ShownRule> {
    let here = move |rule: &&ShownRule| {
        let is_services = rule.met.table.ends_with("-services") || rule.met.chain.contains("KUBE-");
        let is_behind =
            rule.met.chain.to_lowercase().contains("postrouting") || rule.met.chain == "forward";
        rule.place == stage.place
            && is_services
            && match stage.title.as_str() {
                "Service" => !is_behind,
                "masquerade" => is_behind,
                _ => false,
            }
    };
    shown.rules.iter().filter(here)
}

fn rule_in_words(rule: &ShownRule) -> String {
    let met = &rule.met;
    let what = match (&rule.text, met.rule) {
        (Some(text), _) => text.clone(),
        (None, Some(handle)) => format!("rule handle {handle}"),
        (None, None) => "its policy".to_owned(),
    };
    let verdict = match &met.verdict {
        Some(RuleVerdict::Jump(to)) => format!(" ⇒ jump {to}"),
        Some(RuleVerdict::Goto(to)) => format!(" ⇒ goto {to}"),
        Some(RuleVerdict::Drop) => " ⇒ drop".to_owned(),
        _ => String::new(),
    };
    format!(
        "met {} {} {}: {what}{verdict}",
        met.family, met.table, met.chain
    )
}

/// What ended the packet at a place: a rule, or an error that was sent about it.
fn end_at(place: &Place, shown: &Shown) -> Option<String> {
    let mut drops = shown.rules.iter().filter(|rule| is_drop(rule));
    if let Some(rule) = drops.find(|rule| rule.place == *place) {
        return Some(rule_in_words(rule));
    }
    let mut sights = shown.sights.iter().filter(|sight| sight.place == *place);
    sights.find_map(|sight| match sight.role {
        Role::Error(why) => Some(format!("seen on {}: {why}", sight.link)),
        _ => None,
    })
}

fn is_drop(rule: &ShownRule) -> bool {
    rule.met.verdict == Some(RuleVerdict::Drop)
}

fn outcome(told: &Trace, shown: &Shown, answer: &Told) -> Outcome {
    let arrives = || {
        let at = match &told.outcome {
            Outcome::Arrives { at } => at.clone(),
            Outcome::Dies(_) => "somebody, who answered".to_owned(),
        };
        Outcome::Arrives { at }
    };
    match answer {
        Told::Answered => arrives(),
        Told::Silence if is_datagram_there(told, shown) => arrives(),
        Told::Refused | Told::Silence | Told::Failed(_) => {
            Outcome::Dies(death(told, shown, answer))
        }
    }
}

/// A datagram that has come to its end needs no answer.
fn is_datagram_there(told: &Trace, shown: &Shown) -> bool {
    let last = told.there.last().and_then(|stage| stage.seen.as_ref());
    let seen = last.is_some_and(|seen| seen.verdict == Verdict::Confirmed);
    matches!(shown.sign, Sign::Token(_)) && seen && matches!(told.outcome, Outcome::Arrives { .. })
}

fn death(told: &Trace, shown: &Shown, answer: &Told) -> Death {
    if let Some(rule) = shown.rules.iter().find(|rule| is_drop(rule)) {
        return dropped(told, shown, rule);
    }
    let reset = shown.sights.iter().find(|sight| sight.role == Role::Reset);
    if let Some(reset) = reset {
        return refused(told, reset);
    }
    let error = shown.sights.iter().find_map(|sight| match sight.role {
        Role::Error(why) => Some((sight, why)),
        _ => None,
    });
    if let Some((sight, why)) = error {
        return keep(told, format!("{} answers: {why}", sight.source.ip()));
    }
    if let Told::Failed(why) = answer {
        return keep(told, format!("the sender's own kernel says: {why}"));
    }
    lost(told, shown)
}

/// The object at fault is known where the told walk dies, too.
fn keep(told: &Trace, why: String) -> Death {
    match &told.outcome {
        Outcome::Dies(death) => Death {
            why,
            ..death.clone()
        },
        Outcome::Arrives { .. } => Death::new(why),
    }
}

fn dropped(told: &Trace, shown: &Shown, rule: &ShownRule) -> Death {
    let met = &rule.met;
    let (family, table, chain) = (met.family, &met.table, &met.chain);
    let verb = match &rule.text {
        Some(text) if text.contains("reject") || text.contains("REJECT") => "refused",
        _ => "dropped",
    };
    let why = format!(
        "{} on {} by table {family} {table}, chain {chain}",
        verb, rule.place
    );
    if let Outcome::Dies(_) = told.outcome {
        return keep(told, why).because([rule_in_words(rule)]);
    }
    let enter = shown.enter(&rule.place);
    Death::new(why)
        .of(format!("table {family} {table} on {}", rule.place))
        .because([rule_in_words(rule)])
        .next(format!("{enter}nft -a list chain {family} {table} {chain}"))
}

fn refused(told: &Trace, reset: &Sight) -> Death {
    let last = told.there.last().map(|stage| stage.place.to_string());
    let place = last.unwrap_or_else(|| "its end".to_owned());
    Death::new(format!(
        "{place} refuses it: nobody listens at {}",
        reset.source
    ))
    .of(place)
    .next("let a process listen there, on all addresses, or correct the targetPort")
}

/// Neither an answer nor a rule: where was it last?
fn lost(told: &Trace, shown: &Shown) -> Death {
    let answered = shown.sights.iter().rfind(|sight| is_answer(sight.role));
    let last = answered.or_else(|| shown.sights.iter().rfind(|sight| is_probe(sight.role)));
    let Some(last) = last else {
        return Death::new("it was never seen on a link: the sender's own kernel kept it")
            .next("look at the routes and the rules in the sender's network namespace");
    };
    let last = match answered {
        Some(answer) => answer,
        None => last_probe(told, shown).unwrap_or(last),
    };
    let (what, way) = match (answered, last.outgoing) {
        (Some(_), true) => ("the answer", "leaving"),
        (Some(_), false) => ("the answer", "coming to"),
        (None, true) => ("it", "leaving"),
        (None, false) => ("it", "coming to"),
    };
    let enter = shown.enter(&last.place);
    Death::new(format!(
        "{what} was last seen {way} {} by {}, and no rule of nftables dropped it there",
        last.place, last.link
    ))
    .of(last.place.to_string())
    .because([format!("as {} → {}", last.source, last.destination)])
    .next(format!(
        "{enter}ip route get {} and {enter}ip neighbour show dev {}",
        last.destination.ip(),
        last.link
    ))
}

/// In the furthest place of those that were told.
fn last_probe<'a>(told: &Trace, shown: &'a Shown) -> Option<&'a Sight> {
    let places = told.there.iter().rev().map(|stage| &stage.place);
    let of = |place: &Place| {
        let here = |sight: &&Sight| is_probe(sight.role) && sight.place == *place;
        shown.sights.iter().rfind(here)
    };
    places.into_iter().find_map(of)
}

/// Where the packet went another way than told: behind the last stage that was confirmed.
fn contradict(told: &mut Trace, outcome: &Outcome, shown: &Shown) {
    let live_dies = matches!(outcome, Outcome::Dies(_));
    let told_dies = matches!(told.outcome, Outcome::Dies(_));
    if live_dies == told_dies {
        return;
    }
    let is_confirmed = |stage: &Stage| {
        let seen = stage.seen.as_ref();
        seen.is_some_and(|seen| seen.verdict == Verdict::Confirmed)
    };
    let behind = told
        .there
        .iter()
        .rposition(is_confirmed)
        .map_or(0, |at| at + 1);
    let last = told.there.len().saturating_sub(1);
    let wrong = told.there.get_mut(behind.min(last));
    let Some(stage) = wrong.filter(|stage| shown.has_eye(&stage.place)) else {
        return;
    };
    if let Some(seen) = &mut stage.seen {
        seen.verdict = Verdict::Differs;
        if let Outcome::Dies(death) = outcome {
            seen.evidence.push(death.why.clone());
        }
    }
}
