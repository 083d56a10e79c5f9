//! LimitRanges and ResourceQuotas of namespaces, held against what is written.
//!
//! ```text
//!  new pod ──> fill (defaults of LimitRanges) ──> … ──> check (their bounds)
//!  any write ──> charge ──> store: the object and status.used of the quotas, together or not at all
//!  deletions, pods that end ──> keeper ──> status.used
//! ```
//!
//! Who charges the quotas of a namespace holds its lock until the write is done, and so does the
//! keeper while it counts: of twenty requests that come at once for the last two places, two
//! succeed. Namespaces without quotas know no lock. What is allowed is decided in `sealane-quota`.

mod keeper;
mod limits;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use jiff::Timestamp;
use sealane_quota::{
    Amounts,
    ledger::{self, Change, Charge, Count},
    usage::Resource,
};
use sealane_store::{Entry, Expect, Write};
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use crate::{
    kinds::{Kind, RESOURCE_QUOTA},
    object,
    server::Server,
    status::ApiError,
};

pub use keeper::run;
pub use limits::{check, fill};

/// One lock for each namespace whose quotas are being charged.
#[derive(Default)]
pub struct Locks {
    namespaces: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Locks {
    async fn lock(&self, namespace: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut all = self
                .namespaces
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, lock| lock.strong_count() > 0);
            let known = all.get(namespace).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                all.insert(namespace.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

/// The quotas that a write charges; others wait until it is dropped.
#[derive(Default)]
pub struct Charged {
    writes: Vec<Write>,
    _lock: Option<OwnedMutexGuard<()>>,
}

impl Charged {
    /// What is written with the object: what is used then.
    pub fn writes(&self) -> impl Iterator<Item = Write> {
        self.writes.iter().cloned()
    }

    /// Whether somebody else has changed one of these quotas meanwhile.
    pub fn is_concerned(&self, key: &sealane_store::Key) -> bool {
        *key.bucket() == RESOURCE_QUOTA.bucket() && !self.writes.is_empty()
    }
}

/// Charges the quotas of the namespace with a write of `new` over `current`.
///
/// # Errors
///
/// 403 in kube-apiserver's words if that is more than one of them allows.
pub async fn charge(
    server: &Server,
    kind: &Kind,
    new: &Value,
    current: Option<&Entry>,
) -> Result<Charged, ApiError> {
    let resource = Resource {
        group: kind.group,
        plural: kind.plural,
    };
    // Of what is there already only Services can come to take more.
    let counts = kind.namespaced && (current.is_none() || resource.is_services());
    let namespace = object::namespace(new);
    if !counts || quotas(server, namespace).is_empty() {
        return Ok(Charged::default());
    }
    let lock = server.quotas.lock(namespace).await;
    let old = current.map(|entry| kind.read(entry)).transpose();
    let old = old.map_err(ApiError::internal)?;
    let change = Change {
        resource,
        new,
        old: old.as_ref(),
    };
    let mut writes = Vec::new();
    for entry in quotas(server, namespace) {
        let quota: Value =
            serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)?;
        if !ledger::concerns(&quota, resource) {
            continue;
        }
        let used = used(server, &quota);
        let charged = ledger::charge(&quota, &used, &change);
        match charged.map_err(|why| ApiError::forbidden(kind, called(new), why))? {
            Charge::None => {}
            Charge::Used(used) => writes.push(with_status(&entry, quota, &used)),
        }
    }
    Ok(Charged {
        writes,
        _lock: Some(lock),
    })
}

/// The name for a message; one that will be generated is known by its beginning.
fn called(object: &Value) -> &str {
    match object::name(object) {
        "" => object::meta(object, "generateName"),
        name => name,
    }
}

fn quotas(server: &Server, namespace: &str) -> Vec<Arc<Entry>> {
    let bucket = RESOURCE_QUOTA.bucket();
    server
        .store
        .list(&bucket, Some(namespace), |_| true)
        .entries
}

/// What the quota says is used; it is counted if it does not say so of all that it limits.
fn used(server: &Server, quota: &Value) -> Amounts {
    let used = Amounts::of(&quota["status"]["used"]);
    let hard = ledger::hard(quota);
    if hard.0.keys().all(|name| used.get(name).is_some()) {
        return used;
    }
    count(server, quota)
}

/// Counts what is used of a quota: all objects of its namespace of the kinds that it limits.
fn count(server: &Server, quota: &Value) -> Amounts {
    let now = Timestamp::now().as_second();
    let deadline = |text: &str| Some(text.parse::<Timestamp>().ok()?.as_second());
    let mut count = Count::new(quota);
    for (kind, resource) in concerned(server, quota) {
        let objects = server
            .store
            .list(&kind.bucket(), Some(object::namespace(quota)), |_| true);
        for entry in objects.entries {
            // Of most kinds it is enough to know that there is one.
            let is_read = resource.is_pods() || resource.is_services();
            let object = match is_read {
                true => kind.read(&entry).unwrap_or(Value::Null),
                false => Value::Null,
            };
            let over = resource.is_pods() && sealane_quota::is_over(&object, deadline, now);
            count.add(resource, &object, over);
        }
    }
    count.used()
}

/// The kinds that a quota is about.
fn concerned(server: &Server, quota: &Value) -> Vec<(crate::kinds::KindRef, Resource<'static>)> {
    let served = server.kinds.now();
    let namespaced = served.stored().filter(|kind| kind.namespaced);
    let resources = namespaced.map(|kind| {
        let resource = Resource {
            group: kind.group,
            plural: kind.plural,
        };
        (kind, resource)
    });
    resources
        .filter(|(_, resource)| ledger::concerns(quota, *resource))
        .collect()
}

fn with_status(entry: &Entry, mut quota: Value, used: &Amounts) -> Write {
    let hard = ledger::hard(&quota);
    quota["status"] = json!({ "hard": hard.value(), "used": used.within(&hard).value() });
    let kind = &RESOURCE_QUOTA;
    Write::put(
        entry.key.clone(),
        Expect::Revision(entry.revision),
        kind.template(&quota),
        object::describe(kind.fields, &quota),
    )
}
