//! Which lists a strategic merge patch merges, and by what.
//!
//! In Kubernetes these are tags on the fields of its Go types (`patchStrategy`, `patchMergeKey`).
//! Field names mean the same nearly everywhere, so a table by name suffices; where they do not,
//! the longer path comes first. A list that is not here is replaced as a whole.

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMerge {
    /// Elements are objects, told apart by this field.
    By(&'static str),
    /// Elements are texts or numbers, each there once.
    Set,
    /// The list is one value.
    Replaced,
}

use ListMerge::{By, Replaced, Set};

const RULES: &[(&[&str], ListMerge)] = &[
    // Lists that share a name with one that is merged.
    (&["dnsConfig", "options"], Replaced),
    (&["loadBalancer", "ingress", "ports"], Replaced),
    (&["subsets", "ports"], Replaced),
    (&["subsets", "addresses"], Replaced),
    (&["endpoints", "addresses"], Replaced),
    (&["endpoints", "conditions"], Replaced),
    (&["status", "addresses"], By("type")),
    (&["containers", "ports"], By("containerPort")),
    (&["initContainers", "ports"], By("containerPort")),
    (&["ephemeralContainers", "ports"], By("containerPort")),
    (&["spec", "ports"], By("port")),
    (&["conditions"], By("type")),
    (&["containers"], By("name")),
    (&["initContainers"], By("name")),
    (&["ephemeralContainers"], By("name")),
    (&["env"], By("name")),
    (&["volumeMounts"], By("mountPath")),
    (&["volumeDevices"], By("devicePath")),
    (&["resizePolicy"], Replaced),
    (&["volumes"], By("name")),
    (&["imagePullSecrets"], By("name")),
    (&["secrets"], By("name")),
    (&["hostAliases"], By("ip")),
    (&["topologySpreadConstraints"], By("topologyKey")),
    (&["schedulingGates"], By("name")),
    (&["resourceClaims"], By("name")),
    (&["podIPs"], By("ip")),
    (&["ownerReferences"], By("uid")),
    (&["finalizers"], Set),
    (&["podCIDRs"], Set),
];

/// How the list at a path is merged; `path` has the names of fields, without indices.
pub fn of(path: &[&str]) -> ListMerge {
    let rule = RULES.iter().find(|(names, _)| path.ends_with(names));
    rule.map_or(Replaced, |(_, merge)| *merge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_found_by_their_path() {
        for (path, expected) in [
            (&["spec", "containers"][..], By("name")),
            (&["spec", "template", "spec", "containers"], By("name")),
            (&["spec", "containers", "ports"], By("containerPort")),
            (&["spec", "ports"], By("port")),
            (&["status", "conditions"], By("type")),
            (&["spec", "tolerations"], Replaced),
            (&["metadata", "finalizers"], Set),
            (&["endpoints"], Replaced),
            (&["ports"], Replaced),
            (&["status", "addresses"], By("type")),
        ] {
            assert_eq!(of(path), expected, "{path:?}");
        }
    }
}
