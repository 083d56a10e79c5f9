use std::fmt;

use sealane_net::Ipv4Net;
use sealane_net::ec2::Unit;
use serde::Serialize;

/// One request to EC2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// AssignPrivateIpAddresses.
    Assign {
        /// The interface.
        interface: String,
        /// Addresses or prefixes.
        unit: Unit,
        /// How many.
        count: usize,
    },
    /// UnassignPrivateIpAddresses.
    Release {
        /// The interface.
        interface: String,
        /// What to give back.
        ranges: Vec<Ipv4Net>,
    },
    /// CreateNetworkInterface, with addresses at once.
    Create {
        /// Where.
        subnet: String,
        /// Security groups, as the machine's first interface has.
        groups: Vec<String>,
        /// Addresses or prefixes.
        unit: Unit,
        /// How many.
        count: usize,
    },
    /// AttachNetworkInterface.
    Attach {
        /// The interface.
        interface: String,
        /// Its place at the machine.
        device: u8,
    },
    /// ModifyNetworkInterfaceAttribute: it is deleted with the machine.
    EndWithInstance {
        /// The interface.
        interface: String,
        /// How it is with the machine.
        attachment: String,
    },
    /// DetachNetworkInterface.
    Detach {
        /// The interface.
        interface: String,
        /// How it is with the machine.
        attachment: String,
        /// What goes with it.
        ranges: Vec<Ipv4Net>,
    },
    /// DeleteNetworkInterface.
    Delete {
        /// The interface.
        interface: String,
    },
}

impl Action {
    /// Ranges that no pod may have when this is done.
    pub fn withdraws(&self) -> &[Ipv4Net] {
        match self {
            Action::Release { ranges, .. } | Action::Detach { ranges, .. } => ranges,
            _ => &[],
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Assign {
                interface,
                unit,
                count,
            } => write!(f, "assign {} to {interface}", Counted(*count, *unit)),
            Action::Release { interface, ranges } => {
                write!(f, "release {} of {interface}", listed(ranges))
            }
            Action::Create {
                subnet,
                unit,
                count,
                ..
            } => write!(
                f,
                "create an interface in {subnet} with {}",
                Counted(*count, *unit)
            ),
            Action::Attach { interface, device } => {
                write!(f, "attach {interface} as device {device}")
            }
            Action::EndWithInstance { interface, .. } => {
                write!(f, "let {interface} end with the instance")
            }
            Action::Detach { interface, .. } => write!(f, "detach {interface}"),
            Action::Delete { interface } => write!(f, "delete {interface}"),
        }
    }
}

struct Counted(usize, Unit);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counted(count, unit) = self;
        let plural = match (*count, unit) {
            (1, _) => "",
            (_, Unit::Address | Unit::Prefix) => "es",
        };
        write!(f, "{count} {unit}{plural}")
    }
}

fn listed(ranges: &[Ipv4Net]) -> String {
    let shown = ranges.iter().map(|range| match range.prefix_len() {
        32 => range.addr().to_string(),
        _ => range.to_string(),
    });
    shown.collect::<Vec<_>>().join(", ")
}
