use crate::Rule;

/// A list of rules; with a [`Base`] the kernel enters it by itself, without one only a jump does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The name, unique in its table.
    pub name: String,
    /// Where the kernel enters it.
    pub base: Option<Base>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// Where and when the kernel enters a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// What the chain may do.
    pub kind: ChainType,
    /// Where on a packet's path.
    pub hook: Hook,
    /// When among the chains of that hook: lower is earlier. See [`priority`].
    pub priority: i32,
    /// What happens to a packet that reaches the end.
    pub policy: Policy,
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainType {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees the first packet of each connection only.
    Nat,
}

/// A point on a packet's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Arrived, not routed yet.
    Prerouting,
    /// For this namespace itself.
    Input,
    /// Through this namespace.
    Forward,
    /// Made by this namespace.
    Output,
    /// Routed, about to leave.
    Postrouting,
}

/// What happens to a packet at the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is gone.
    Drop,
}

/// The priorities that nft knows by name.
pub mod priority {
    /// Before connection tracking.
    pub const RAW: i32 = -300;
    /// Changing packets.
    pub const MANGLE: i32 = -150;
    /// Translating destinations; in prerouting only.
    pub const DSTNAT: i32 = -100;
    /// Accepting and dropping.
    pub const FILTER: i32 = 0;
    /// Labelling for security modules.
    pub const SECURITY: i32 = 50;
    /// Translating sources; in postrouting only.
    pub const SRCNAT: i32 = 100;
}

impl Chain {
    /// Whether a packet meets it before it is known where it goes.
    pub fn is_entrance(&self) -> bool {
        let hook = self.base.map(|base| base.hook);
        matches!(hook, Some(Hook::Prerouting | Hook::Output))
    }

    /// A base chain that accepts at its end.
    pub fn base(
        name: impl Into<String>,
        kind: ChainType,
        hook: Hook,
        priority: i32,
        rules: Vec<Rule>,
    ) -> Self {
        Self {
            name: name.into(),
            base: Some(Base {
                kind,
                hook,
                priority,
                policy: Policy::Accept,
            }),
            rules,
        }
    }
}
