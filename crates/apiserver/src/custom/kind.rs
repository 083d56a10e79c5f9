//! Custom kinds: what is asked of a kind and its objects, answered by a definition.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sealane_store::Entry;
use sealane_structural::Schema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Definition, ScalePaths, definition::Version, schema};
use crate::{
    check::Findings,
    kinds::{Generation, Kind, PLAIN, Subresource, Warnings},
    object::{self, Decoded, TypeError},
};

/// What a kind has that a definition describes: one version of it.
#[derive(Clone)]
pub struct Custom {
    definition: Arc<Definition>,
    version: usize,
}

/// The kinds of a definition, one for each version.
pub fn kinds_of(definition: &Arc<Definition>) -> Vec<Arc<Kind>> {
    let versions = definition.versions.iter().enumerate();
    let kinds = versions.map(|(version, of)| kind(definition, version, of));
    kinds.map(Arc::new).collect()
}

fn kind(definition: &Arc<Definition>, version: usize, of: &Version) -> Kind {
    Kind {
        group: definition.group,
        version: of.name,
        kind: definition.kind,
        plural: definition.plural,
        singular: definition.singular,
        short_names: definition.short_names,
        categories: definition.categories,
        namespaced: definition.namespaced,
        status: of.status,
        subresources: match of.scale {
            Some(_) => &[Subresource::Scale],
            None => &[],
        },
        fields: of.fields,
        generation: Generation::AllButMetadata,
        names_version: true,
        warnings: Warnings::OnCreate(warn_of_finalizers),
        custom: Some(Custom {
            definition: definition.clone(),
            version,
        }),
        ..PLAIN
    }
}

/// Names that others may come to use too.
fn warn_of_finalizers(object: &Value, said: &mut Vec<String>) {
    let all = object["metadata"]["finalizers"].as_array();
    let texts = all.into_iter().flatten().filter_map(Value::as_str);
    for text in texts.filter(|text| !text.contains('/')) {
        if !["orphan", "foregroundDeletion"].contains(&text) {
            said.push(format!(
                "metadata.finalizers: {text:?}: prefer a domain-qualified finalizer name including \
                 a path (/) to avoid accidental conflicts with other finalizer writers"
            ));
        }
    }
}

/// The part of an object that is the same for all kinds.
#[derive(Deserialize, Serialize)]
struct Head {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl Custom {
    /// The definition that it comes from.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    fn version(&self) -> &Version {
        &self.definition.versions[self.version]
    }

    /// What it says of objects.
    pub fn schema(&self) -> &Schema {
        self.definition.schema(self.version)
    }

    /// Its `openAPIV3Schema` as it is written, for those who publish it; null if there is none. It is
    /// read anew each time: it is large, and seldom asked for.
    pub fn written_schema(&self) -> Value {
        self.definition.written_schema(self.version().name)
    }

    /// Changes whenever the definition does: of a document that is made from it, a tag.
    pub fn tag(&self) -> String {
        self.definition.tag()
    }

    /// Whether clients may ask for this version.
    pub fn is_served(&self) -> bool {
        self.version().served
    }

    /// Whether objects are stored as this version.
    pub fn is_storage(&self) -> bool {
        self.version == self.definition.storage()
    }

    /// What is said whenever it is used.
    pub fn deprecation(&self) -> Option<&str> {
        self.version().deprecation.as_deref()
    }

    /// Checks the types of the metadata, and removes fields that the schema does not know.
    pub fn take(&self, value: &Value) -> Result<Decoded, TypeError> {
        let head = json!({ "metadata": value["metadata"] });
        let Decoded {
            value: mut head,
            mut unknown,
        } = object::decode::<Head>(&head)?;
        let mut value = value.clone();
        value["metadata"] = head["metadata"].take();
        unknown.extend(self.schema().prune(&mut value));
        Ok(Decoded { value, unknown })
    }

    /// Fills in defaults.
    pub fn complete(&self, object: &mut Value) {
        self.schema().default(object);
    }

    /// Finds what is wrong.
    pub fn validate(&self, new: &Value, old: Option<&Value>, findings: &mut Findings) {
        schema::add(findings, self.schema().validate(new, old));
    }

    /// The bytes of an object as they are stored, if clients of this version get just these: it
    /// was written as this version and by this schema.
    pub fn shared(&self, entry: &Entry) -> Option<Bytes> {
        let object = entry.object.unpack();
        self.is_shared(entry, &object).then_some(object)
    }

    fn is_shared(&self, entry: &Entry, object: &[u8]) -> bool {
        let begin = self.version().begin.as_bytes();
        entry.revision > self.definition.since && object.starts_with(begin)
    }

    /// Reads an object in this version. What the schema of the version that it was stored as no
    /// longer knows is dropped, what it newly has a default for is filled in.
    pub fn read(&self, entry: &Entry) -> serde_json::Result<Value> {
        let stored = entry.object.unpack();
        let mut object: Value = serde_json::from_slice(&stored)?;
        if self.is_shared(entry, &stored) {
            return Ok(object);
        }
        let stored = object["apiVersion"].as_str().unwrap_or("");
        let stored = stored.rsplit('/').next().unwrap_or("");
        if let Some(stored) = self.definition.version(stored) {
            let schema = self.definition.schema(stored);
            schema.prune(&mut object);
            schema.default(&mut object);
            if stored != self.version {
                self.schema().prune(&mut object);
            }
        }
        object["apiVersion"] = format!("{}/{}", self.definition.group, self.version().name).into();
        Ok(object)
    }

    /// An object of this version as the one that is stored, which may know less.
    pub fn as_stored(&self, mut object: Value) -> Value {
        let storage = self.definition.storage();
        self.definition.schema(storage).prune(&mut object);
        let name = self.definition.versions[storage].name;
        object["apiVersion"] = format!("{}/{name}", self.definition.group).into();
        object
    }

    /// How tables describe its columns.
    pub fn column_definitions(&self) -> impl Iterator<Item = Value> {
        let name = json!({
            "name": "Name", "type": "string", "format": "name",
            "description": "Name, unique within a namespace.", "priority": 0,
        });
        let columns = self.version().columns.iter();
        std::iter::once(name).chain(columns.map(|column| column.definition().clone()))
    }

    /// A row of such a table.
    pub fn cells(&self, object: &Value, now: Timestamp) -> impl Iterator<Item = Value> {
        let columns = self.version().columns.iter();
        std::iter::once(object::name(object).into())
            .chain(columns.map(move |column| column.show(object, now)))
    }

    /// Where its objects have what their scale shows.
    pub fn scale(&self) -> Option<&ScalePaths> {
        self.version().scale.as_ref()
    }
}
