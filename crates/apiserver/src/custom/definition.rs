//! A CustomResourceDefinition as the server uses it.
//!
//! Of the definition itself only the small part is read: its names and what its versions are served
//! with. The schemas, which are nearly all of it, stay as they are stored until somebody writes or
//! reads an object of theirs; a definition whose objects nobody touches costs next to nothing.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use sealane_store::Entry;
use sealane_structural::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    CLEANUP,
    columns::{self, Column},
    scale::ScalePaths,
    schema,
    texts::{self, Full},
};

/// The names of a kind, as a definition asks for them or as they were accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Names {
    pub plural: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub singular: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub list_kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

/// A definition as it is written, without its schemas.
#[derive(Clone, Debug, Deserialize)]
pub struct Written {
    pub metadata: Metadata,
    pub spec: Spec,
    #[serde(default)]
    pub status: Status,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    #[serde(default)]
    pub uid: String,
    #[serde(default)]
    pub generation: i64,
    pub deletion_timestamp: Option<String>,
    #[serde(default)]
    pub finalizers: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Spec {
    pub group: String,
    pub names: Names,
    pub scope: String,
    pub versions: Vec<WrittenVersion>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenVersion {
    name: String,
    served: bool,
    storage: bool,
    #[serde(default)]
    deprecated: bool,
    deprecation_warning: Option<String>,
    additional_printer_columns: Option<Vec<columns::Written>>,
    #[serde(default)]
    subresources: Subresources,
    #[serde(default)]
    selectable_fields: Vec<SelectableField>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Subresources {
    status: Option<Value>,
    scale: Option<ScalePaths>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SelectableField {
    json_path: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub accepted_names: Names,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

impl Written {
    /// Reads what is stored.
    pub fn read(entry: &Entry) -> serde_json::Result<Self> {
        serde_json::from_slice(&entry.object.unpack())
    }

    /// Whether this condition is true.
    pub fn is(&self, condition: &str) -> bool {
        let mut conditions = self.status.conditions.iter();
        conditions.any(|one| one.r#type == condition && one.status == "True")
    }

    /// Whether it has this condition, with this reason and, if one is given, message.
    pub fn says(&self, condition: &str, is: bool, reason: &str, message: Option<&str>) -> bool {
        let is = if is { "True" } else { "False" };
        let mut conditions = self.status.conditions.iter();
        conditions.any(|one| {
            (
                one.r#type.as_str(),
                one.status.as_str(),
                one.reason.as_str(),
            ) == (condition, is, reason)
                && message.is_none_or(|message| one.message == message)
        })
    }

    /// Whether it is going, and waits until its objects are gone.
    pub fn waits_for_objects(&self) -> bool {
        let metadata = &self.metadata;
        metadata.deletion_timestamp.is_some()
            && metadata.finalizers.iter().any(|one| one == CLEANUP)
    }
}

/// A definition that is established.
pub struct Definition {
    uid: String,
    generation: i64,
    names: Names,
    /// As it is stored, with the schemas.
    entry: Mutex<Arc<Entry>>,
    /// Objects that are newer were written by the schemas of now.
    pub since: u64,
    pub group: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub kind: &'static str,
    pub list_kind: &'static str,
    pub namespaced: bool,
    pub versions: Box<[Version]>,
    storage: usize,
    is_terminating: AtomicBool,
    ended: CancellationToken,
}

/// One version of a definition.
pub struct Version {
    pub name: &'static str,
    /// How objects begin that are stored as this version.
    pub begin: Box<str>,
    pub served: bool,
    pub deprecation: Option<String>,
    pub columns: Box<[Column]>,
    pub status: bool,
    pub scale: Option<ScalePaths>,
    pub fields: &'static [(&'static str, &'static str)],
    schema: OnceLock<Schema>,
}

impl Definition {
    /// The definition in `entry` with the names that were accepted.
    ///
    /// # Errors
    ///
    /// [`Full`].
    pub fn new(
        written: &Written,
        names: &Names,
        entry: Arc<Entry>,
        since: u64,
    ) -> Result<Self, Full> {
        let spec = &written.spec;
        let versions = spec
            .versions
            .iter()
            .map(|version| version.made(spec, names));
        Ok(Self {
            uid: written.metadata.uid.clone(),
            generation: written.metadata.generation,
            names: names.clone(),
            entry: Mutex::new(entry),
            since,
            group: texts::text(&spec.group)?,
            plural: texts::text(&names.plural)?,
            singular: texts::text(&names.singular)?,
            short_names: texts::list(&names.short_names)?,
            categories: texts::list(&names.categories)?,
            kind: texts::text(&names.kind)?,
            list_kind: texts::text(&names.list_kind)?,
            namespaced: spec.scope == "Namespaced",
            storage: spec
                .versions
                .iter()
                .position(|one| one.storage)
                .unwrap_or(0),
            versions: versions.collect::<Result<_, _>>()?,
            is_terminating: AtomicBool::new(false),
            ended: CancellationToken::new(),
        })
    }

    /// Whether this is what `written` says, with these names. That it is to go counts as a
    /// generation, too, and changes nothing for those who watch its objects go.
    pub fn is_of(&self, written: &Written, names: &Names) -> bool {
        let metadata = &written.metadata;
        let goes = metadata.deletion_timestamp.is_some();
        self.uid == metadata.uid
            && self.names == *names
            && (goes || self.generation == metadata.generation)
    }

    /// Lets go of the text that it was made from: this one says the same, and is kept anyhow.
    pub fn renew(&self, entry: &Arc<Entry>) {
        self.entry().clone_from(entry);
    }

    fn entry(&self) -> MutexGuard<'_, Arc<Entry>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Differs from that of any other definition, and of this one before it was changed.
    pub fn tag(&self) -> String {
        format!("{}-{}", self.uid, self.generation)
    }

    /// The version that objects are stored as.
    pub fn storage(&self) -> usize {
        self.storage
    }

    /// From now on no object is made.
    pub fn terminate(&self) {
        self.is_terminating.store(true, Ordering::Relaxed);
    }

    /// Whether it is going, and no object is made any more.
    pub fn is_terminating(&self) -> bool {
        self.is_terminating.load(Ordering::Relaxed)
    }

    /// Ends what is served by it: another has taken its place, or it is gone.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// When it is no longer served.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// The version with this name.
    pub fn version(&self, name: &str) -> Option<usize> {
        self.versions
            .iter()
            .position(|version| version.name == name)
    }

    /// The schema of a version, read when it is first asked for.
    pub fn schema(&self, version: usize) -> &Schema {
        let of = &self.versions[version];
        of.schema
            .get_or_init(|| schema::load(&self.written_schema(of.name)))
    }

    /// The schema of a version as it is written, `null` if there is none.
    pub fn written_schema(&self, version: &str) -> Value {
        let entry = self.entry().clone();
        let read = serde_json::from_slice::<WithSchemas>(&entry.object.unpack());
        let versions = read.map(|read| read.spec.versions).unwrap_or_default();
        let found = versions.into_iter().find(|one| one.name == version);
        found.map_or(Value::Null, |mut found| {
            found.schema["openAPIV3Schema"].take()
        })
    }
}

impl WrittenVersion {
    fn made(&self, spec: &Spec, names: &Names) -> Result<Version, Full> {
        let columns = self.additional_printer_columns.clone();
        let columns = columns.filter(|columns| !columns.is_empty());
        let columns = columns.unwrap_or_else(columns::usual);
        let paths = self.selectable_fields.iter();
        let paths: Vec<String> = paths
            .map(|field| field.json_path.trim_start_matches('.').to_owned())
            .collect();
        let usual = || format!("{}/{} {} is deprecated", spec.group, self.name, names.kind);
        let said = self.deprecation_warning.clone();
        Ok(Version {
            name: texts::text(&self.name)?,
            begin: format!("{{\"apiVersion\":\"{}/{}\",", spec.group, self.name).into(),
            served: self.served,
            deprecation: self.deprecated.then(|| said.unwrap_or_else(usual)),
            columns: columns.into_iter().map(Column::from).collect(),
            status: self.subresources.status.is_some(),
            scale: self.subresources.scale.clone(),
            fields: texts::fields(&paths)?,
            schema: OnceLock::new(),
        })
    }
}

#[derive(Deserialize)]
struct WithSchemas {
    spec: WithSchemasSpec,
}

#[derive(Deserialize)]
struct WithSchemasSpec {
    versions: Vec<VersionWithSchema>,
}

#[derive(Deserialize)]
struct VersionWithSchema {
    name: String,
    #[serde(default)]
    schema: Value,
}
