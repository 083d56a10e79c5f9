//! Numbers: what `picker-of` says of a frontend, in 32 bits that mean the same after every restart.
//!
//! ```text
//!  31..28   27       26         25..8               7..0
//!  gate     inside   loopback   affinity's seconds  how many endpoints, as a step
//! ```

use std::collections::BTreeMap;

/// What is asked of a client before an endpoint is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// Cluster IPs: who is no pod of this node is masqueraded.
    ClusterIp = 1,
    /// External addresses and node ports, endpoints anywhere: everybody is masqueraded.
    External = 2,
    /// External addresses and node ports, endpoints on this node: nobody is masqueraded, and who is on this node itself may use all endpoints.
    Local = 3,
    /// As `External`, with source ranges.
    GuardedExternal = 4,
    /// As `Local`, with source ranges.
    GuardedLocal = 5,
    /// Refused.
    Refuse = 6,
    /// Dropped.
    Drop = 7,
}

impl Gate {
    /// All of them.
    pub const ALL: [Gate; 7] = [
        Gate::ClusterIp,
        Gate::External,
        Gate::Local,
        Gate::GuardedExternal,
        Gate::GuardedLocal,
        Gate::Refuse,
        Gate::Drop,
    ];

    /// Whether it lets anybody through: `number` is what `picker-of` says.
    pub(super) fn is_served(number: u32) -> bool {
        let gate = number >> Number::GATE_SHIFT;
        ![Gate::Refuse as u32, Gate::Drop as u32].contains(&gate)
    }

    /// The chain behind it.
    pub fn chain(self) -> &'static str {
        match self {
            Gate::ClusterIp => "cluster-ip",
            Gate::External => "external",
            Gate::Local => "external-local",
            Gate::GuardedExternal => "guarded-external",
            Gate::GuardedLocal => "guarded-local",
            Gate::Refuse => "refused",
            Gate::Drop => "dropped",
        }
    }
}

/// How many slots are drawn from, as a position in a ladder of counts: 1 to 64, then each an eighth more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(u8);

const EXACT: u8 = 64;

impl Step {
    /// No endpoints.
    pub const NONE: Step = Step(0);
    /// The highest: 17,590 slots. More endpoints of one port are not used.
    pub const MAX: Step = Step(112);

    /// The lowest with room for so many endpoints.
    pub fn for_count(count: usize) -> Step {
        let fits = |step: &Step| step.slots() as usize >= count;
        (0..=Self::MAX.0).map(Step).find(fits).unwrap_or(Self::MAX)
    }

    /// Its position.
    pub fn number(self) -> u32 {
        u32::from(self.0)
    }

    /// How many slots it draws from.
    pub fn slots(self) -> u32 {
        let mut slots = u32::from(self.0.min(EXACT));
        for _ in EXACT..self.0 {
            slots += slots / 8;
        }
        slots
    }

    /// Whether all of its slots are always taken.
    pub fn is_exact(self) -> bool {
        self.0 <= EXACT
    }

    /// It, or the highest that is exact.
    pub fn at_most_exact(self) -> Step {
        self.min(Step(EXACT))
    }

    /// The steps up to this one, without [`Step::NONE`].
    pub fn up_to(self) -> impl Iterator<Item = Step> {
        (1..=self.0).map(Step)
    }

    /// The steps above another, up to this one.
    pub fn above(self, other: Step) -> impl Iterator<Item = Step> {
        (other.0 + 1..=self.0).map(Step)
    }

    /// What picks is made up to one of these, so that few transactions add any.
    fn rounded(self) -> Step {
        let stop = match self.0 {
            0..=4 => 4,
            5..=16 => 16,
            17..=EXACT => EXACT,
            // Each has a chain of its own, and the kernel walks all endpoints when one is added.
            many => many.next_multiple_of(8),
        };
        Step(stop)
    }
}

/// What sort of chain picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Style {
    /// For clients on this node, where they have other endpoints than those outside.
    pub inside: bool,
    /// For frontends that are all of the node's loopback addresses.
    pub loopback: bool,
    /// Clients stay with their endpoint for so many seconds; 0: they do not.
    pub affinity_seconds: u32,
}

impl Style {
    /// For everybody, and clients do not stay.
    pub const PLAIN: Style = Style {
        inside: false,
        loopback: false,
        affinity_seconds: 0,
    };
    /// For all of the node's loopback addresses, and clients do not stay.
    pub const LOOPBACK: Style = Style {
        loopback: true,
        ..Self::PLAIN
    };
}

/// Gate, style and step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    /// What is asked of a client; none for clients that have passed one.
    pub gate: Option<Gate>,
    /// What sort of chain picks.
    pub style: Style,
    /// From how many.
    pub step: Step,
}

impl Number {
    /// The bits of the gate.
    pub const GATE_MASK: u32 = 0xf000_0000;
    /// The bits of style and step.
    pub const PICKER_MASK: u32 = !Self::GATE_MASK;
    /// The bits of the step.
    pub const STEP_MASK: u32 = 0xff;
    const GATE_SHIFT: u32 = 28;
    const INSIDE: u32 = 1 << 27;
    const LOOPBACK: u32 = 1 << 26;
    const SECONDS_SHIFT: u32 = 8;
    /// A day and more, which is what the API allows.
    const SECONDS_MAX: u32 = (1 << 18) - 1;

    /// The number as it is in the maps.
    pub fn value(self) -> u32 {
        let gate = self.gate.map_or(0, |gate| gate as u32);
        gate << Self::GATE_SHIFT | self.picker()
    }

    /// Its lower part: the key of `pickers`.
    pub fn picker(self) -> u32 {
        if self.step == Step::NONE {
            return 0;
        }
        let bit = |is: bool, bit: u32| if is { bit } else { 0 };
        let inside = bit(self.style.inside, Self::INSIDE);
        let loopback = bit(self.style.loopback, Self::LOOPBACK);
        let seconds = self.style.affinity_seconds.min(Self::SECONDS_MAX);
        inside | loopback | seconds << Self::SECONDS_SHIFT | u32::from(self.step.0)
    }

    /// What a key of `pickers` means.
    pub fn of_picker(value: u32) -> (Style, Step) {
        let style = Style {
            inside: value & Self::INSIDE != 0,
            loopback: value & Self::LOOPBACK != 0,
            affinity_seconds: value >> Self::SECONDS_SHIFT & Self::SECONDS_MAX,
        };
        (style, Step((value & Self::STEP_MASK) as u8))
    }
}

/// The chain that picks: `pick`, `inside-pick`, `loopback-pick`, `sticky-10800s`, `inside-sticky-10800s` and so on,
/// which know all exact steps, or `pick-81` and so on.
pub(super) fn chain_name(style: Style, step: Step) -> String {
    let whom = match (style.inside, style.loopback) {
        (true, _) => "inside-",
        (false, true) => "loopback-",
        (false, false) => "",
    };
    let name = match style.affinity_seconds {
        0 => format!("{whom}pick"),
        seconds => format!("{whom}sticky-{seconds}s"),
    };
    if step.is_exact() {
        name
    } else {
        format!("{name}-{}", step.slots())
    }
}

/// Up to which step each style can pick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    steps: BTreeMap<Style, Step>,
}

impl Default for Step {
    fn default() -> Self {
        Step::NONE
    }
}

impl Sizes {
    /// What is there at the least.
    pub fn first() -> Self {
        Self {
            steps: BTreeMap::from([(Style::PLAIN, Step(1).rounded())]),
        }
    }

    /// Those that the keys of `pickers` tell of.
    pub fn of_pickers(keys: impl Iterator<Item = u32>) -> Self {
        let mut sizes = Self::default();
        for key in keys.filter(|key| *key != 0) {
            let (style, step) = Number::of_picker(key);
            let known = sizes.steps.entry(style).or_default();
            *known = step.max(*known);
        }
        sizes
    }

    /// Grows until the style can pick from so many.
    pub fn grow(&mut self, style: Style, step: Step) {
        let known = self.steps.entry(style).or_default();
        if *known < step {
            *known = step.rounded();
        }
    }

    /// Up to which exact step anybody can pick.
    pub fn exact(&self) -> Step {
        let each = self.steps.values().map(|step| step.at_most_exact());
        each.max().unwrap_or_default()
    }

    /// Which styles are here and not in `other`.
    pub fn styles_beyond<'a>(&'a self, other: &'a Sizes) -> impl Iterator<Item = Style> + 'a {
        let styles = self.steps.keys().copied();
        styles.filter(|style| !other.steps.contains_key(style))
    }

    /// All styles and steps that can be picked from here and not in `other`.
    pub fn beyond<'a>(&'a self, other: &'a Sizes) -> impl Iterator<Item = (Style, Step)> + 'a {
        self.steps.iter().flat_map(move |(style, top)| {
            let known = other.steps.get(style).copied().unwrap_or_default();
            top.above(known).map(|step| (*style, step))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_room_and_the_one_below_has_not() {
        assert_eq!(Step::MAX.slots(), 17_590);
        for count in (1..200).chain([1_000, 5_000, 17_590]) {
            let step = Step::for_count(count);
            let below = Step(step.0 - 1);
            assert!(step.slots() as usize >= count && (below.slots() as usize) < count);
            assert!(step.slots() as usize <= count + count / 8 + 1, "{count}");
        }
        assert_eq!(Step::for_count(1 << 20), Step::MAX);
    }

    #[test]
    fn numbers_lead_back() {
        for seconds in [0, 1, 10_800, 86_400] {
            for (inside, loopback) in [(false, false), (true, false), (false, true)] {
                for step in Step::MAX.up_to() {
                    let style = Style {
                        inside,
                        loopback,
                        affinity_seconds: seconds,
                    };
                    for gate in Gate::ALL {
                        let number = Number {
                            gate: Some(gate),
                            style,
                            step,
                        };
                        let value = number.value();
                        assert_eq!(value & Number::PICKER_MASK, number.picker());
                        assert_eq!(value >> 28, gate as u32);
                        assert_eq!(Number::of_picker(number.picker()), (style, step));
                    }
                }
            }
        }
    }
}
