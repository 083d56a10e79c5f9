//! Whether what a token is bound to is still there, and who its holder is then.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use sealane_store::Store;
use serde_json::Value;

use super::{AUTHENTICATED, Claims, Reference, User, service_account};
use crate::{
    kinds::{Kind, NODE, POD, SECRET, SERVICE_ACCOUNT},
    object,
};

/// How long after its end an object's tokens still count: as kube-apiserver, for clocks that
/// differ and for what a pod does last.
const LINGER_SECONDS: i64 = 60;

/// The user of a token whose claims hold.
///
/// # Errors
///
/// Which object is gone.
pub fn check(store: &Store, claims: &Claims, now: Timestamp) -> Result<User, String> {
    let bound = &claims.bound;
    let (namespace, account) = (&bound.namespace, &bound.serviceaccount);
    lives(store, &SERVICE_ACCOUNT, namespace, account, now)?;
    for (kind, of) in [(&POD, &bound.pod), (&SECRET, &bound.secret)] {
        if let Some(of) = of {
            lives(store, kind, namespace, of, now)?;
        }
    }
    // A pod's token names its node for information; it ends with the pod.
    if let (Some(node), None) = (&bound.node, &bound.pod) {
        lives(store, &NODE, "", node, now)?;
    }
    let user = User {
        name: service_account(namespace, &account.name),
        uid: account.uid.clone(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            AUTHENTICATED.into(),
        ],
        extra: extra(claims),
    };
    Ok(user.with_token(&claims.jti))
}

fn extra(claims: &Claims) -> BTreeMap<String, Vec<String>> {
    let mut extra = BTreeMap::new();
    for (what, of) in [("node", &claims.bound.node), ("pod", &claims.bound.pod)] {
        for (part, value) in of
            .iter()
            .flat_map(|of| [("name", &of.name), ("uid", &of.uid)])
        {
            if !value.is_empty() {
                let name = format!("authentication.kubernetes.io/{what}-{part}");
                extra.insert(name, vec![value.clone()]);
            }
        }
    }
    extra
}

fn lives(
    store: &Store,
    kind: &Kind,
    namespace: &str,
    of: &Reference,
    now: Timestamp,
) -> Result<(), String> {
    let Reference { name, uid } = of;
    let found = store.get(&kind.key(namespace, name));
    let entry =
        found.ok_or_else(|| format!("{} {namespace}/{name} has been deleted", kind.singular))?;
    let current: Value =
        serde_json::from_slice(&entry.object.unpack()).map_err(|cause| cause.to_string())?;
    let is = object::meta(&current, "uid");
    if is != uid {
        return Err(format!(
            "{} {namespace}/{name} UID ({is}) does not match claim ({uid})",
            kind.singular
        ));
    }
    let end: Option<Timestamp> = object::meta(&current, "deletionTimestamp").parse().ok();
    let limit = now.checked_sub(LINGER_SECONDS.seconds()).unwrap_or(now);
    if end.is_some_and(|end| end < limit) {
        return Err(format!(
            "{} {namespace}/{name} has been deleted",
            kind.singular
        ));
    }
    Ok(())
}
