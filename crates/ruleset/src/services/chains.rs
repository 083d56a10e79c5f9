//! The chains: a fixed part, and those that pick, of which there are more as they are needed.
//!
//! One chain picks from up to 64 endpoints: how many there are is read from the
//! frontend's number, and `draws` leads from that and a random number to a
//! slot. Rejected: a chain for each count, since for each element that is
//! added the kernel goes through all lookups of its map (0.1 µs each), and for each
//! lookup that is added in another chain through all elements.
//!
//! Registers, with `w` words in an address. Each lookup writes its result to
//! where the next one reads, so nothing is copied:
//!
//! ```text
//!  0 ……… w-1   w     w+1 ……… 2w   2w+1      2w+2   2w+3      2w+4    15
//!         slot  id    address      protocol  port   how many  random  the mark, kept
//!  client       id    endpoint     port
//! ```

use sealane_net::{Family, IpNet, names};

use super::element::{Bytes, Data, Element, Map};
use super::number::{Gate, Number, Sizes, Step, Style, chain_name};
use crate::{
    Chain, ChainType, CmpOp, Expr, Hook, MetaKey, PayloadField, Register, Rule, SetRef, Source,
    Table, Verdict, priority, transport,
};

/// Draws at random from slots of which some are empty before it settles for the first one: with an eighth empty, one
/// connection in 16 million does.
const TRIES: usize = 8;
/// Connection tracking cannot say what the packet belongs to (`NF_CT_STATE_INVALID_BIT`).
const INVALID: u32 = 1;
/// The connection's destination was translated (`IPS_DST_NAT`).
const TRANSLATED: u32 = 1 << 5;
/// An address of this node (`RTN_LOCAL`).
const LOCAL: u32 = 2;
/// The chain of node ports that answer at all loopback addresses of the node.
const LOOPBACK_SERVICES: &str = "loopback-services";
/// Where the mark is kept while it carries a number.
const KEPT: Register = Register(15);

/// The table without elements, and without the chains that pick.
pub fn static_table(family: Family) -> Table {
    let build = Build::new(family);
    let mut table = Table::new(family, names::SERVICES_TABLE);
    table.maps = Map::ALL.to_vec();
    table.chains = vec![
        base(
            "prerouting",
            ChainType::Nat,
            Hook::Prerouting,
            priority::DSTNAT,
            [build.no_way_to_loopback(), vec![to_services()]].concat(),
        ),
        base(
            "output",
            ChainType::Nat,
            Hook::Output,
            priority::DSTNAT,
            [vec![to_services()], build.to_loopback_services()].concat(),
        ),
        base(
            "forward",
            ChainType::Filter,
            Hook::Forward,
            priority::FILTER,
            vec![build.invalid()],
        ),
        // Before the rule that lets pods out: what it asks for is asked for here already.
        base(
            "postrouting",
            ChainType::Nat,
            Hook::Postrouting,
            priority::SRCNAT - 5,
            vec![build.masquerade_marked(), build.masquerade_hairpin()],
        ),
        chain("services", build.services()),
    ];
    if build.loopback_net().is_some() {
        let dispatch = build.dispatch(Style::LOOPBACK).to_vec();
        table.chains.push(chain(LOOPBACK_SERVICES, dispatch));
    }
    let gates = Gate::ALL.into_iter();
    let gates = gates.map(|gate| chain(gate.chain(), build.gate(gate)));
    table.chains.extend(gates);
    table.chains.extend(build.loopback());
    table.chains.push(chain(
        "unserved",
        vec![build.drop("nobody serves it: dropped, so that it does not leave untranslated")],
    ));
    table
}

fn to_services() -> Rule {
    Rule::new().verdict(Verdict::Jump("services".into()))
}

/// The elements that do not change: one for each gate, and the picker for no endpoints.
pub(super) fn static_elements() -> Vec<Element> {
    let gate = |gate: Gate| {
        let to = gate.chain().to_owned();
        let verdict = match gate {
            Gate::Refuse | Gate::Drop => Verdict::Goto(to),
            _ => Verdict::Jump(to),
        };
        let number = Number {
            gate: Some(gate),
            style: Style::PLAIN,
            step: Step::NONE,
        };
        Element::verdict(Map::Gates, number.value(), verdict)
    };
    let unserved = Element::verdict(Map::Pickers, 0, Verdict::Goto("unserved".into()));
    Gate::ALL.into_iter().map(gate).chain([unserved]).collect()
}

/// What picks, beside the fixed part of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pickers {
    /// Chains that come to the table.
    pub chains: Vec<Chain>,
    /// What leads to them, and to slots.
    pub elements: Vec<Element>,
}

impl Pickers {
    /// As far as `sizes` has it and `known` has not.
    pub fn between(family: Family, sizes: &Sizes, known: &Sizes) -> Self {
        let build = Build::new(family);
        let mut new = Self::default();
        for style in sizes.styles_beyond(known) {
            let rules = build.exact_picker(style);
            new.chains
                .push(chain(&chain_name(style, Step::NONE), rules));
        }
        for (style, step) in sizes.beyond(known) {
            let name = chain_name(style, step);
            if !step.is_exact() {
                new.chains.extend(build.picker(style, step));
            }
            let number = Number {
                gate: None,
                style,
                step,
            };
            let verdict = Verdict::Goto(name);
            let element = Element::verdict(Map::Pickers, number.picker(), verdict);
            new.elements.push(element);
        }
        let steps = sizes.exact().above(known.exact());
        new.elements.extend(steps.flat_map(draws));
        new
    }
}

/// The random numbers, as ranges of one width, that lead to each slot.
fn draws(step: Step) -> impl Iterator<Item = Element> {
    let slots = u64::from(step.slots());
    let key = move |number: u64| {
        let step = Bytes::default().mark(step.number());
        step.random(number as u32)
    };
    let start = move |slot: u64| (slot << 32).div_ceil(slots);
    (0..slots).map(move |slot| Element {
        map: Map::Draws,
        key: key(start(slot)),
        last: Some(key(start(slot + 1) - 1)),
        data: Data::Value(Bytes::default().mark(slot as u32)),
    })
}

fn base(name: &str, kind: ChainType, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain::base(name, kind, hook, priority, rules)
}

fn chain(name: &str, rules: Vec<Rule>) -> Chain {
    Chain {
        name: name.into(),
        base: None,
        rules,
    }
}

/// Tells the sender at once that nobody is there: TCP by a reset, since the kernel sends a client that calls often one
/// ICMP message a second (`net.ipv4.icmp_ratelimit`), and its other connections would hang; the others by ICMP.
fn refuse(which: impl Fn(Rule) -> Rule, why: &str) -> [Rule; 2] {
    let tcp = which(Rule::new().transport(transport::TCP));
    let end = |rule: Rule, how: Expr| rule.counter().with(how).comment(why);
    [end(tcp, Expr::Reset), end(which(Rule::new()), Expr::Reject)]
}

/// Rules of one family.
struct Build {
    family: Family,
    /// Words in an address.
    words: u8,
}

impl Build {
    fn new(family: Family) -> Self {
        Self {
            family,
            words: family.address_bits() / 32,
        }
    }

    fn client(&self) -> Register {
        Register(0)
    }

    fn slot(&self) -> Register {
        Register(self.words - 1)
    }

    fn id(&self) -> Register {
        Register(self.words)
    }

    /// Behind the id: the frontend's address, or what the id leads to.
    fn next(&self) -> Register {
        Register(self.words + 1)
    }

    fn services(&self) -> Vec<Rule> {
        let unserved = |rule: Rule| {
            let set = Map::ClusterIps.spec().name;
            rule.address_in(PayloadField::DestinationAddress, set)
        };
        let refuse = refuse(unserved, "no Service has this port");
        let dispatch = self.dispatch(Style::PLAIN).into_iter();
        dispatch.chain(refuse).collect()
    }

    /// By the number of the packet's frontend: past its gate, then to a chain that picks.
    fn dispatch(&self, style: Style) -> [Rule; 2] {
        let number = |mask: u32, map: Map| {
            let found = self.found(Rule::new(), style, Map::PickerOf);
            found.bits(self.id(), mask).branch(self.id(), map)
        };
        [
            number(Number::GATE_MASK, Map::Gates).comment("who may, and who is masqueraded"),
            number(Number::PICKER_MASK, Map::Pickers).comment("which chain picks an endpoint"),
        ]
    }

    /// What the node sends to any of its loopback addresses. A host port at one of them has been found before.
    fn to_loopback_services(&self) -> Vec<Rule> {
        let rule = |net: IpNet| {
            Rule::new()
                .address(PayloadField::DestinationAddress, CmpOp::Eq, net)
                .verdict(Verdict::Jump(LOOPBACK_SERVICES.into()))
                .comment("node ports answer at all loopback addresses")
        };
        self.loopback_net().map(rule).into_iter().collect()
    }

    /// New connections to loopback addresses that come by another link than lo. The kernel drops them by itself until
    /// `route_localnet` lets node ports be used there (and always for IPv6).
    fn no_way_to_loopback(&self) -> Vec<Rule> {
        let rule = |net: IpNet| {
            let to = PayloadField::DestinationAddress;
            self.not_from_here(to, net)
                .counter()
                .verdict(Verdict::Drop)
                .comment("only this node itself may call its loopback addresses")
        };
        self.loopback_net().map(rule).into_iter().collect()
    }

    /// The same for what is no new connection, and for senders who claim to be this node. Whose connection was
    /// translated is answered, or was sent here by somebody else's rules.
    fn loopback(&self) -> Vec<Chain> {
        let Some(net) = self.loopback_net() else {
            return Vec::new();
        };
        let drop = |rule: Rule, why: &str| rule.counter().verdict(Verdict::Drop).comment(why);
        let from = self.not_from_here(PayloadField::SourceAddress, net);
        let to = self.not_from_here(PayloadField::DestinationAddress, net);
        let translated = Rule::new()
            .put(Source::ConnectionStatus, Register::FIRST)
            .has_bits(TRANSLATED)
            .verdict(Verdict::Return);
        vec![
            base(
                "input",
                ChainType::Filter,
                Hook::Input,
                priority::FILTER,
                vec![
                    drop(from, "nobody else has a loopback address"),
                    to.verdict(Verdict::Jump("to-loopback".into())),
                ],
            ),
            chain(
                "to-loopback",
                vec![
                    translated,
                    drop(
                        Rule::new(),
                        "only this node itself may call its loopback addresses",
                    ),
                ],
            ),
        ]
    }

    fn not_from_here(&self, field: PayloadField, net: IpNet) -> Rule {
        Rule::new()
            .input_link(CmpOp::Ne, "lo")
            .address(field, CmpOp::Eq, net)
    }

    /// Where `route_localnet` makes a difference.
    fn loopback_net(&self) -> Option<IpNet> {
        (self.family == Family::V4).then(|| IpNet::new_assert([127, 0, 0, 0].into(), 8))
    }

    /// `rule`, and the packet's frontend behind the register for ids. All loopback addresses are one there, the first.
    fn frontend(&self, rule: Rule, style: Style) -> Rule {
        let port = Register(2 * self.words + 2);
        let protocol = Register(2 * self.words + 1);
        let rule = rule.put(
            Source::Payload(PayloadField::DestinationAddress),
            self.next(),
        );
        let rule = match (style.loopback, self.loopback_net()) {
            (true, Some(IpNet::V4(net))) => {
                let mask = u32::from_ne_bytes(net.netmask().octets());
                rule.bits(self.next(), mask)
            }
            _ => rule,
        };
        rule.put(Source::Meta(MetaKey::Transport), protocol)
            .put(Source::Payload(PayloadField::DestinationPort), port)
    }

    /// `rule`, and the number or id of the packet's frontend in the register for ids.
    fn found(&self, rule: Rule, style: Style, map: Map) -> Rule {
        self.frontend(rule, style)
            .find(self.next(), map, self.id())
            .wash(self.id())
    }

    fn gate(&self, gate: Gate) -> Vec<Rule> {
        match gate {
            Gate::ClusterIp => vec![
                Rule::new()
                    .address_not_in(PayloadField::SourceAddress, Map::Pods.spec().name)
                    .mark_for_masquerade()
                    .comment("only pods of this node are answered at their own address"),
            ],
            Gate::External => vec![self.mark_all()],
            Gate::Local => self.local(),
            Gate::GuardedExternal => vec![self.guard(), self.mark_all()],
            Gate::GuardedLocal => [vec![self.guard()], self.local()].concat(),
            Gate::Refuse => refuse(|rule| rule, "no endpoints").to_vec(),
            Gate::Drop => vec![self.drop("no endpoints on this node")],
        }
    }

    fn mark_all(&self) -> Rule {
        let why = "the answer must come back this way";
        Rule::new().mark_for_masquerade().comment(why)
    }

    fn local(&self) -> Vec<Rule> {
        let dispatch = |rule: Rule| {
            self.found(rule, Style::PLAIN, Map::Inside)
                .branch(self.id(), Map::Pickers)
        };
        let pods = Map::Pods.spec().name;
        let pod = Rule::new().address_in(PayloadField::SourceAddress, pods);
        let own = Rule::new()
            .put(Source::SourceType, Register::FIRST)
            .with(Expr::Cmp {
                register: Register::FIRST,
                op: CmpOp::Eq,
                value: LOCAL.to_ne_bytes().to_vec(),
            })
            .mark_for_masquerade();
        vec![
            dispatch(pod).comment("pods of this node may use all endpoints"),
            dispatch(own).comment("and so may the node"),
        ]
    }

    fn guard(&self) -> Rule {
        self.found(Rule::new(), Style::PLAIN, Map::Frontends)
            .put(Source::Payload(PayloadField::SourceAddress), self.next())
            .with(Expr::Lookup {
                register: self.id(),
                set: SetRef::Named(Map::SourceRanges.spec().name.into()),
                invert: true,
            })
            .counter()
            .verdict(Verdict::Drop)
            .comment("outside loadBalancerSourceRanges")
    }

    fn drop(&self, why: &str) -> Rule {
        Rule::new().counter().verdict(Verdict::Drop).comment(why)
    }

    /// Picks where all slots are taken, and where others have found none.
    fn exact_picker(&self, style: Style) -> Vec<Rule> {
        let mut rules = self.pinned(style).into_iter().collect::<Vec<_>>();
        rules.extend(self.draw(style, Among::AllThereAre));
        let last = match style.affinity_seconds {
            0 => self.pick(style, Among::Slots(1)),
            _ => self.sticky_pick(style, Among::Slots(1)),
        };
        rules.push(last.comment("while the number of endpoints changes"));
        rules.push(self.drop("endpoints have just gone"));
        rules
    }

    /// Picks where some slots are empty: a chain that draws once, and one that does so several times.
    fn picker(&self, style: Style, step: Step) -> [Chain; 2] {
        let name = chain_name(style, step);
        let once = format!("try-{name}");
        let mut rules = self.pinned(style).into_iter().collect::<Vec<_>>();
        let again = Rule::new().verdict(Verdict::Jump(once.clone()));
        rules.extend(std::iter::repeat_n(again, TRIES));
        let last = Verdict::Goto(chain_name(style, Step::NONE));
        rules.push(Rule::new().verdict(last));
        let draw = self.draw(style, Among::Slots(step.slots()));
        [chain(&once, draw), chain(&name, rules)]
    }

    fn draw(&self, style: Style, among: Among) -> Vec<Rule> {
        match style.affinity_seconds {
            0 => vec![self.pick(style, among)],
            seconds => vec![
                self.pin(style, among, seconds),
                self.sticky_pick(style, among)
                    .comment("the table of clients is full"),
            ],
        }
    }

    /// `rule`, and the frontend's id and what its slot leads to.
    fn endpoint_of(&self, style: Style, rule: Rule, among: Among, map: Map) -> Rule {
        let rule = match among {
            Among::Slots(modulus) => {
                let to = self.slot();
                self.found(rule, style, ids(style))
                    .with(Expr::Random { to, modulus })
            }
            Among::AllThereAre => self
                .drawn(rule, style)
                .find(self.next(), ids(style), self.id())
                .wash(self.id()),
        };
        rule.find(self.slot(), map, self.next())
    }

    /// A slot, by the frontend's number. The frontend stays where it is.
    fn drawn(&self, rule: Rule, style: Style) -> Rule {
        let step = Register(2 * self.words + 3);
        let random = step.behind(4);
        self.frontend(rule, style)
            .find(self.next(), numbers(style), step)
            .wash(step)
            .bits(step, Number::STEP_MASK)
            .put(Source::Meta(MetaKey::Random), random)
            .find(step, Map::Draws, self.slot())
            .wash(self.slot())
    }

    fn pick(&self, style: Style, among: Among) -> Rule {
        self.endpoint_of(style, Rule::new(), among, Map::Eps)
            .translate(self.next(), self.words)
    }

    /// The endpoint's number is behind the id, its address and port one further.
    fn resolved(&self, rule: Rule) -> Rule {
        rule.wash(self.next())
            .find(self.next(), Map::Endpoints, Register(self.words + 2))
    }

    fn translated(&self, rule: Rule) -> Rule {
        rule.translate(Register(self.words + 2), self.words)
    }

    fn with_client(&self, rule: Rule) -> Rule {
        rule.put(Source::Payload(PayloadField::SourceAddress), self.client())
    }

    fn pinned(&self, style: Style) -> Option<Rule> {
        let seconds = Some(style.affinity_seconds).filter(|seconds| *seconds > 0)?;
        let rule = self.with_client(self.found(Rule::new(), style, ids(style)));
        let rule = rule.find(self.client(), Map::Affinity, self.next());
        let rule = self.resolved(rule).with(self.remember(seconds));
        let why = "a client that is known stays with its endpoint";
        Some(self.translated(rule).comment(why))
    }

    fn pin(&self, style: Style, among: Among, seconds: u32) -> Rule {
        let rule = self.endpoint_of(style, Rule::new(), among, Map::StickyEps);
        let rule = self.with_client(self.resolved(rule));
        // An update would renew the old entry's time and keep its endpoint.
        let rule = rule
            .with(Expr::Forget {
                map: Map::Affinity.spec().name,
                key: self.client(),
                data: self.next(),
            })
            .with(self.remember(seconds));
        self.translated(rule)
    }

    fn sticky_pick(&self, style: Style, among: Among) -> Rule {
        let rule = self.endpoint_of(style, Rule::new(), among, Map::StickyEps);
        self.translated(self.resolved(rule))
    }

    fn remember(&self, seconds: u32) -> Expr {
        Expr::Remember {
            map: Map::Affinity.spec().name,
            key: self.client(),
            data: self.next(),
            seconds,
        }
    }

    fn invalid(&self) -> Rule {
        Rule::new()
            .put(Source::ConnectionState, Register::FIRST)
            .has_bits(INVALID)
            .counter()
            .verdict(Verdict::Drop)
            .comment("it would reset a connection that is translated")
    }

    fn masquerade_marked(&self) -> Rule {
        let bit = names::MASQUERADE_MARK;
        Rule::new()
            .mark_has(bit)
            .put(Source::Meta(MetaKey::Mark), Register::FIRST)
            .with(Expr::Bitwise {
                register: Register::FIRST,
                mask: (!bit).to_ne_bytes().to_vec(),
                xor: vec![0; 4],
            })
            .with(Expr::SetMark(Register::FIRST))
            .counter()
            .masquerade()
            .comment("marked by a Service")
    }

    fn masquerade_hairpin(&self) -> Rule {
        let behind = Register(self.words);
        Rule::new()
            .put(Source::ConnectionStatus, Register::FIRST)
            .has_bits(TRANSLATED)
            .put(
                Source::Payload(PayloadField::SourceAddress),
                Register::FIRST,
            )
            .put(Source::Payload(PayloadField::DestinationAddress), behind)
            .with(Expr::Lookup {
                register: Register::FIRST,
                set: SetRef::Named(Map::Hairpin.spec().name.into()),
                invert: false,
            })
            .counter()
            .masquerade()
            .comment("a pod that reaches itself through a Service")
    }
}

/// Which slots are drawn from.
#[derive(Clone, Copy)]
enum Among {
    /// The first ones, so many.
    Slots(u32),
    /// As many as the frontend's number says.
    AllThereAre,
}

fn numbers(style: Style) -> Map {
    if style.inside {
        Map::Inside
    } else {
        Map::PickerOf
    }
}

fn ids(style: Style) -> Map {
    if style.inside {
        Map::InsideIds
    } else {
        Map::Frontends
    }
}

impl Rule {
    fn put(self, source: Source, to: Register) -> Self {
        self.with(Expr::Load { source, to })
    }

    fn find(self, key: Register, map: Map, to: Register) -> Self {
        self.with(Expr::Find {
            register: key,
            map: map.spec().name,
            to,
        })
    }

    fn branch(self, key: Register, map: Map) -> Self {
        self.with(Expr::Branch {
            register: key,
            map: map.spec().name,
        })
    }

    fn bits(self, register: Register, mask: u32) -> Self {
        self.with(Expr::Bitwise {
            register,
            mask: mask.to_ne_bytes().to_vec(),
            xor: vec![0; 4],
        })
    }

    fn has_bits(self, bits: u32) -> Self {
        self.bits(Register::FIRST, bits).with(Expr::Cmp {
            register: Register::FIRST,
            op: CmpOp::Ne,
            value: vec![0; 4],
        })
    }

    /// Sends a value through the mark and puts the mark back. None of these can end the rule.
    fn wash(self, register: Register) -> Self {
        self.put(Source::Meta(MetaKey::Mark), KEPT)
            .with(Expr::SetMark(register))
            .put(Source::Meta(MetaKey::Mark), register)
            .with(Expr::SetMark(KEPT))
    }

    fn mark_for_masquerade(self) -> Self {
        let bit = names::MASQUERADE_MARK;
        self.put(Source::Meta(MetaKey::Mark), Register::FIRST)
            .with(Expr::Bitwise {
                register: Register::FIRST,
                mask: (!bit).to_ne_bytes().to_vec(),
                xor: bit.to_ne_bytes().to_vec(),
            })
            .with(Expr::SetMark(Register::FIRST))
    }

    fn translate(self, address: Register, words: u8) -> Self {
        self.with(Expr::Translate {
            address,
            port: Register(address.0 + words),
        })
    }
}
