//! Which definitions a document has: those of what is served, and whatever these refer to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{Carries, Facts, Resource, Schema, custom, library};

/// Definitions that operations refer to.
pub const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
/// Body of a deletion.
pub const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
/// Body of a patch.
pub const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
/// Metadata of an object.
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// Any value, a default say; the library takes it for an object.
const ANY_JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/// How a definition names another, before a document gives the name its own form.
pub const REFERENCE: &str = "#/definitions/";

/// Kubernetes' extension that tells the kind of a schema or an operation.
pub const KIND: &str = "x-kubernetes-group-version-kind";

/// Where a definition comes from, which decides how it has to be changed for a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The library.
    Library,
    /// A custom kind: the schema is in the words of OpenAPI v3.
    Custom,
}

impl Resource<'_> {
    /// The name of its definition.
    pub(crate) fn definition(&self) -> String {
        self.named(self.kind)
    }

    /// The name of the definition of its lists.
    pub(crate) fn list_definition(&self) -> String {
        self.named(&self.list_kind)
    }

    fn named(&self, kind: &str) -> String {
        let own = match self.schema {
            Schema::Library => library::definition_of(self.group, self.version, self.kind),
            Schema::Own => None,
        };
        match own.and_then(|own| own.rsplit_once('.')) {
            Some((package, _)) => format!("{package}.{kind}"),
            None => backwards(self.group, self.version, kind),
        }
    }

    pub(crate) fn may(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

/// `com.example.stable.v1.CronTab`.
fn backwards(group: &str, version: &str, kind: &str) -> String {
    let group: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", group.join("."))
}

/// Gives `each` every definition that these resources need: its name, its schema and its origin.
pub fn each(
    resources: &[Resource<'_>],
    facts: &dyn Facts,
    mut each: impl FnMut(&str, Value, Origin),
) {
    let own = own(resources);
    let mut library = library::Library::default();
    let mut open: Vec<String> = roots(resources);
    let mut seen: BTreeSet<String> = open.iter().cloned().collect();
    open.reverse();
    while let Some(name) = open.pop() {
        let (schema, origin) = match own.get(&name) {
            Some(Own::List(resource)) => (list(resource), Origin::Custom),
            Some(Own::Kind(resource)) => {
                let schema = facts.schema(resource);
                (custom::published(resource, schema), Origin::Custom)
            }
            None => match library.schema(&name) {
                Some(schema) => (extended(schema, &name, facts), Origin::Library),
                // Clients refuse a document that refers to what it does not have.
                None => (json!({ "type": "object" }), Origin::Custom),
            },
        };
        references(&schema, &mut |found| {
            if !seen.contains(found) {
                seen.insert(found.to_owned());
                open.push(found.to_owned());
            }
        });
        each(&name, schema, origin);
    }
}

/// What operations refer to.
fn roots(resources: &[Resource<'_>]) -> Vec<String> {
    let mut roots = BTreeSet::from([STATUS, DELETE_OPTIONS, PATCH].map(str::to_owned));
    for resource in resources {
        roots.insert(resource.definition());
        if resource.may("list") {
            roots.insert(resource.list_definition());
        }
        for part in &resource.parts {
            if matches!(part.carries, Carries::Objects) {
                roots.insert(part_definition(resource, part.kind));
            }
        }
    }
    roots.into_iter().collect()
}

/// The definition of a subresource's kind; `status` has the one of its resource.
pub fn part_definition(resource: &Resource<'_>, kind: [&str; 3]) -> String {
    if kind == [resource.group, resource.version, resource.kind] {
        return resource.definition();
    }
    let [group, version, kind] = kind;
    let own = library::definition_of(group, version, kind);
    own.map_or_else(|| backwards(group, version, kind), str::to_owned)
}

/// A definition that the library does not have.
enum Own<'a> {
    Kind(&'a Resource<'a>),
    List(&'a Resource<'a>),
}

/// Custom kinds, and all lists, by the names of their definitions.
fn own<'a>(resources: &'a [Resource<'a>]) -> BTreeMap<String, Own<'a>> {
    let mut own = BTreeMap::new();
    for resource in resources {
        if resource.schema == Schema::Own {
            own.insert(resource.definition(), Own::Kind(resource));
        }
        if resource.may("list") {
            own.insert(resource.list_definition(), Own::List(resource));
        }
    }
    own
}

fn list(resource: &Resource<'_>) -> Value {
    let mut properties = Map::new();
    for (name, said) in custom::TYPE_META {
        properties.insert(
            name.into(),
            json!({ "type": "string", "description": said }),
        );
    }
    properties.insert(
        "items".into(),
        json!({
            "type": "array",
            "description": format!("The objects of kind {}.", resource.kind),
            "items": { "$ref": format!("{REFERENCE}{}", resource.definition()) },
        }),
    );
    properties.insert(
        "metadata".into(),
        json!({
            "$ref": format!("{REFERENCE}{LIST_META}"),
            "description": "What is said of the list itself.",
        }),
    );
    json!({
        "type": "object",
        "description": format!("{} is a list of objects of kind {}.", resource.list_kind, resource.kind),
        "required": ["items"],
        "properties": properties,
        KIND: [{
            "group": resource.group, "version": resource.version,
            "kind": resource.list_kind,
        }],
    })
}

/// A schema of the library with what the caller knows of it. The few types that are one of several
/// have any type, as in Kubernetes: v2 has no word for that, and kubectl would not follow it.
fn extended(mut schema: Value, definition: &str, facts: &dyn Facts) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.remove("oneOf");
        if definition == ANY_JSON {
            members.remove("type");
        }
    }
    put(&mut schema, facts.extensions(definition, None));
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (field, property) in properties.into_iter().flatten() {
        put(property, facts.extensions(definition, Some(field)));
    }
    schema
}

fn put(schema: &mut Value, extensions: Vec<(&'static str, Value)>) {
    if let Some(schema) = schema.as_object_mut() {
        schema.extend(
            extensions
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
    }
}

/// Tells the definitions that a schema refers to.
fn references(schema: &Value, found: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str);
            if let Some(name) = name.and_then(|name| name.strip_prefix(REFERENCE)) {
                found(name);
            }
            members
                .values()
                .for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
