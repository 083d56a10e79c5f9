//! Lease.

use k8s_openapi::api::coordination::v1::Lease;

use super::{
    Kind, PLAIN,
    column::{AGE, Cell, NAME, column},
    typed,
};
use crate::check::{Check, Rule};

pub static LEASE: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    decode: typed::<Lease>,
    rules: &[
        Rule(
            "spec.leaseDurationSeconds",
            Check::Range(1, i32::MAX as i64),
        ),
        Rule("spec.leaseTransitions", Check::NonNegative),
    ],
    columns: &[
        NAME,
        column("Holder", Cell::Path("spec.holderIdentity"), "Who holds it."),
        AGE,
    ],
    create_on_update: true,
    ..PLAIN
};
