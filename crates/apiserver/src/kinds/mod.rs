//! The table of kinds: everything that the generic machinery has to know of a resource.
//!
//! To serve another kind is to add a row. What a row can say in data (defaults, rules, immutable
//! fields, columns, selectable fields) it says in data; a function in a row is for what compares
//! fields with each other.

mod apps;
mod autoscaling;
mod batch;
mod column;
mod configuration;
mod custom_resource_definition;
mod defaults;
mod endpoint_slice;
mod endpoints;
mod event;
mod handle;
mod ip_pool;
mod judge;
pub mod label_selector;
mod lease;
mod limit_range;
mod metrics;
mod namespace;
mod networking;
mod node;
mod pod;
mod pod_disruption_budget;
mod priority_class;
pub mod rbac;
mod resource_quota;
mod review;
mod served;
mod service;
mod stored_as;
mod view;
mod warnings;
mod webhooks;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use column::{Column, since};
pub use defaults::fill;
pub use handle::KindRef;
use sealane_store::{Bucket, Key};
pub use served::{Kinds, Served};
pub use stored_as::StoredAs;
pub use warnings::Warnings;

use crate::{
    check::{Findings, NameRule, Rule},
    custom::Custom,
    object::{Decoded, TypeError, decode},
};

/// One row: a resource and what is particular about it.
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind, as `Pod`.
    pub kind: &'static str,
    /// Plural name, which paths have.
    pub plural: &'static str,
    /// Singular name.
    pub singular: &'static str,
    /// What kubectl users type.
    pub short_names: &'static [&'static str],
    /// Groups of kinds for kubectl (`all`).
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Which names are allowed.
    pub names: NameRule,
    /// Whether there is a `status` that only its own subresource changes.
    pub status: bool,
    /// Whether the status may be given when the object is made (a node reports itself so).
    pub status_on_create: bool,
    /// Further subresources.
    pub subresources: &'static [Subresource],
    /// Checks the types of all fields.
    pub decode: fn(&Value) -> Result<Decoded, TypeError>,
    /// Field paths and the JSON they have if nothing is said.
    pub defaults: &'static [(&'static str, &'static str)],
    /// Defaults that depend on other fields; runs before `defaults`.
    pub complete: fn(&mut Value),
    /// What must hold of fields.
    pub rules: &'static [Rule],
    /// What must hold between fields.
    pub validate: fn(&Value, &mut Findings),
    /// What must hold between the new state and the old.
    pub validate_update: fn(&Value, &Value, &mut Findings),
    /// What must hold of the new state, where that depends on the old one, if there is one.
    pub examine: fn(&Value, Option<&Value>, &mut Findings),
    /// Paths that may not change once they are set.
    pub immutable: &'static [&'static str],
    /// Field selectors, by name and path, besides name and namespace.
    pub fields: &'static [(&'static str, &'static str)],
    /// What kubectl prints.
    pub columns: &'static [Column],
    /// Which changes `metadata.generation` counts.
    pub generation: Generation,
    /// Whether an update has to name the version that it is based on.
    pub names_version: bool,
    /// Whether an update of an object that does not exist creates it.
    pub create_on_update: bool,
    /// Whether the answer to a deletion is the object.
    pub returns_deleted: bool,
    /// How long an object is kept after its last change.
    pub ttl_seconds: Option<i64>,
    /// What people are told of its objects.
    pub warnings: Warnings,
    /// What people are told whenever they use it: what to use instead.
    pub deprecated: Option<&'static str>,
    /// What a deletion waits for.
    pub deletion: Deletion,
    /// What becomes of its dependents if the deletion does not say.
    pub dependents: Dependents,
    /// What the server itself decides about a write.
    pub admission: Admission,
    /// Set if this is another view of a kind that is stored in its own way.
    pub stored_as: Option<StoredAs>,
    /// Set if what is created is a question: it is answered, and not kept.
    pub review: Option<Review>,
    /// Set if this is no row of the table but described by a CustomResourceDefinition.
    pub custom: Option<Custom>,
    /// Set if objects are measured when somebody asks, and not kept.
    pub measured: Option<Measured>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// What pods take of processor and memory.
    Pods,
    /// What the pods of each node take together.
    Nodes,
}

/// Questions about access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// Whose token is this?
    Token,
    /// Who am I?
    SelfSubject,
    /// May somebody do this?
    Access,
    /// May somebody do this in the namespace?
    LocalAccess,
    /// May I do this?
    SelfAccess,
    /// What may I do?
    SelfRules,
}

/// A subresource other than `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `POST pods/NAME/binding`: the scheduler's decision.
    Binding,
    /// `POST pods/NAME/eviction`: a deletion that its disruption budget allows.
    Eviction,
    /// `PUT namespaces/NAME/finalize`: the finalizers in its spec.
    Finalize,
    /// `POST serviceaccounts/NAME/token`: a token for it.
    Token,
    /// `deployments/NAME/scale`: how many pods there should be, in one form for all kinds.
    Scale,
    /// A stream to or from the node of a pod: its path there.
    Node(NodeStream),
    /// HTTP to a pod.
    Proxy(ProxyTo),
}

/// What a proxied request is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyTo {
    /// A pod.
    Pod,
    /// Any ready pod of a Service.
    Service,
}

/// Streams that the node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStream {
    /// What a container has written.
    Log,
    /// A command in a container.
    Exec,
    /// The main process of a container.
    Attach,
    /// A port of the pod.
    PortForward,
}

impl Subresource {
    /// The name in the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Finalize => "finalize",
            Self::Token => "token",
            Self::Scale => "scale",
            Self::Node(NodeStream::Log) => "log",
            Self::Node(NodeStream::Exec) => "exec",
            Self::Node(NodeStream::Attach) => "attach",
            Self::Node(NodeStream::PortForward) => "portforward",
            Self::Proxy(_) => "proxy",
        }
    }

    /// The kind of what is sent to it, for discovery.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Binding => "Binding",
            Self::Eviction => "Eviction",
            Self::Finalize => "Namespace",
            Self::Token => "TokenRequest",
            Self::Scale => "Scale",
            Self::Node(NodeStream::Log) => "Pod",
            Self::Node(NodeStream::Exec) => "PodExecOptions",
            Self::Node(NodeStream::Attach) => "PodAttachOptions",
            Self::Node(NodeStream::PortForward) => "PodPortForwardOptions",
            Self::Proxy(ProxyTo::Pod) => "PodProxyOptions",
            Self::Proxy(ProxyTo::Service) => "ServiceProxyOptions",
        }
    }

    /// Group and version of that kind, where they are not those of the resource.
    pub fn group_version(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Eviction => Some(("policy", "v1")),
            Self::Scale => Some(("autoscaling", "v1")),
            Self::Token => Some(("authentication.k8s.io", "v1")),
            _ => None,
        }
    }

    /// What may be done with it.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Binding | Self::Eviction | Self::Token => &["create"],
            Self::Finalize => &["update"],
            Self::Scale => &["get", "patch", "update"],
            Self::Node(NodeStream::Log) => &["get"],
            Self::Node(_) => &["create", "get"],
            Self::Proxy(_) => &["create", "delete", "get", "patch", "update"],
        }
    }
}

/// What a deletion waits for, besides finalizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Nothing.
    AtOnce,
    /// The node has ended it, or the time that its spec gives is over.
    Graceful,
    /// All that is in the namespace is gone.
    Contents,
    /// All objects of the kind that it describes are gone, which a finalizer stands for.
    Instances,
}

/// What becomes of an object's dependents if its deletion does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// It has none, whatever the deletion says.
    None,
    /// They are collected when it is gone.
    Collected,
    /// They are kept.
    Orphaned,
}

/// Which changes `metadata.generation` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// None: there is no such field.
    None,
    /// Those of the spec.
    Spec,
    /// Those of the spec and of annotations.
    SpecAndAnnotations,
    /// All but those of metadata and of a status that has its own subresource.
    AllButMetadata,
}

/// What the server itself decides about a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing.
    None,
    /// The addresses of a Service.
    ServiceAddresses,
    /// What a new pod gets from its service account and its priority class, and how long any pod
    /// bears a lost node.
    Pod,
    /// That there is one default class at most.
    PriorityClass,
}

/// A row of which nothing is particular; each row begins with it.
pub const PLAIN: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    names: NameRule::Subdomain,
    status: false,
    status_on_create: false,
    subresources: &[],
    decode: decode::<Value>,
    defaults: &[],
    complete: |_| {},
    rules: &[],
    validate: |_, _| {},
    validate_update: |_, _, _| {},
    examine: |_, _, _| {},
    immutable: &[],
    fields: &[],
    columns: column::NAME_AND_AGE,
    generation: Generation::None,
    names_version: false,
    create_on_update: false,
    returns_deleted: false,
    ttl_seconds: None,
    warnings: Warnings::None,
    deprecated: None,
    deletion: Deletion::AtOnce,
    dependents: Dependents::Collected,
    admission: Admission::None,
    stored_as: None,
    review: None,
    custom: None,
    measured: None,
};

/// All kinds, in the order of discovery.
pub static KINDS: &[&Kind] = &[
    &configuration::CONFIG_MAP,
    &endpoints::ENDPOINTS,
    &event::EVENT,
    &limit_range::LIMIT_RANGE,
    &namespace::NAMESPACE,
    &node::NODE,
    &pod::POD,
    &apps::REPLICATION_CONTROLLER,
    &resource_quota::RESOURCE_QUOTA,
    &configuration::SECRET,
    &configuration::SERVICE_ACCOUNT,
    &service::SERVICE,
    &apps::CONTROLLER_REVISION,
    &apps::DAEMON_SET,
    &apps::DEPLOYMENT,
    &apps::REPLICA_SET,
    &apps::STATEFUL_SET,
    &custom_resource_definition::CUSTOM_RESOURCE_DEFINITION,
    &webhooks::MUTATING_WEBHOOK_CONFIGURATION,
    &webhooks::VALIDATING_WEBHOOK_CONFIGURATION,
    &autoscaling::HORIZONTAL_POD_AUTOSCALER,
    &autoscaling::HORIZONTAL_POD_AUTOSCALER_V1,
    &batch::CRON_JOB,
    &batch::JOB,
    &lease::LEASE,
    &endpoint_slice::ENDPOINT_SLICE,
    &event::EVENTS_EVENT,
    &networking::INGRESS,
    &networking::INGRESS_CLASS,
    &networking::IP_ADDRESS,
    &networking::NETWORK_POLICY,
    &networking::SERVICE_CIDR,
    &pod_disruption_budget::POD_DISRUPTION_BUDGET,
    &rbac::CLUSTER_ROLE,
    &rbac::CLUSTER_ROLE_BINDING,
    &rbac::ROLE,
    &rbac::ROLE_BINDING,
    &priority_class::PRIORITY_CLASS,
    &ip_pool::IP_POOL,
    &metrics::NODE_METRICS,
    &metrics::POD_METRICS,
    &review::SELF_SUBJECT_REVIEW,
    &review::TOKEN_REVIEW,
    &review::LOCAL_SUBJECT_ACCESS_REVIEW,
    &review::SELF_SUBJECT_ACCESS_REVIEW,
    &review::SELF_SUBJECT_RULES_REVIEW,
    &review::SUBJECT_ACCESS_REVIEW,
];

#[cfg(test)]
pub use apps::{DEPLOYMENT, REPLICATION_CONTROLLER};
pub use apps::{SCALE, scale_of, set_replicas};
pub use configuration::{CONFIG_MAP, SECRET, SERVICE_ACCOUNT};
pub use custom_resource_definition::CUSTOM_RESOURCE_DEFINITION;
pub use endpoint_slice::ENDPOINT_SLICE;
pub use endpoints::{ENDPOINTS, reachable as endpoints_reachable};
pub use event::EVENT;
pub use limit_range::LIMIT_RANGE;
pub use namespace::NAMESPACE;
pub use networking::{IP_ADDRESS, SERVICE_CIDR};
pub use node::NODE;
pub use pod::POD;
pub use pod_disruption_budget::POD_DISRUPTION_BUDGET;
pub use priority_class::{PRIORITY_CLASS, SYSTEM as SYSTEM_PRIORITIES};
pub use rbac::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING};
pub use resource_quota::RESOURCE_QUOTA;
pub use service::{SERVICE, addresses_agree as service_addresses_agree};
pub use webhooks::{MUTATING_WEBHOOK_CONFIGURATION, VALIDATING_WEBHOOK_CONFIGURATION};

impl Kind {
    /// `GROUP/VERSION`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.into(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The kind of its lists.
    pub fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.definition().list_kind.into(),
            None => format!("{}List", self.kind),
        }
    }

    /// `pods`, `leases.coordination.k8s.io`.
    pub fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.into(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Whether there are objects of this kind in the store, under its own name.
    pub fn is_stored(&self) -> bool {
        let custom = self.custom.as_ref();
        self.stored_as.is_none()
            && self.review.is_none()
            && self.measured.is_none()
            && custom.is_none_or(Custom::is_storage)
    }

    /// Whether clients may ask for it.
    pub fn is_served(&self) -> bool {
        self.custom.as_ref().is_none_or(Custom::is_served)
    }

    /// What people are told whenever they use it, if anything.
    pub fn deprecation(&self) -> Option<&str> {
        match &self.custom {
            Some(custom) => custom.deprecation(),
            None => self.deprecated,
        }
    }

    /// The kind that objects of this one are stored as: itself, mostly.
    pub fn storage(&self) -> &Kind {
        self.stored_as.as_ref().map_or(self, |stored| stored.kind)
    }

    /// Where its objects are stored.
    pub fn bucket(&self) -> Bucket {
        match &self.stored_as {
            Some(stored) => stored.kind.bucket(),
            None => Bucket::new(self.group, self.plural),
        }
    }

    /// Where one object is stored.
    pub fn key(&self, namespace: &str, name: &str) -> Key {
        Key::new(&self.bucket(), namespace, name)
    }

    /// Whether a field selector may name this field.
    pub fn selects(&self, field: &str) -> bool {
        field == "metadata.name"
            || (self.namespaced && field == "metadata.namespace")
            || self.fields.iter().any(|(name, _)| *name == field)
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.qualified())
    }
}

/// The decoder of a row: the kind's type in `k8s-openapi`.
fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Decoded, TypeError> {
    decode::<T>(value)
}
