//! Writes the types: for each package its lines, deflated, `NAME TAB SCHEMA`; and an index. Versions that
//! are not final are left out: nobody serves them here.

use std::{collections::BTreeMap, error::Error, fmt::Write as _, fs, io::Write as _, path::Path};

use flate2::{Compression, write::ZlibEncoder};
use serde_json::{Value, json};

use crate::source::Type;

/// What such a name's description says.
const MAY_BE_EMPTY: &str = "due to backwards compatibility is allowed to be empty";

/// Writes `library.rs` and what it includes into `out`.
pub fn write(types: &[Type], out: &Path) -> Result<(), Box<dyn Error>> {
    let mut packages: BTreeMap<&str, String> = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for one in types
        .iter()
        .filter(|one| !one.name.contains("alpha") && !one.name.contains("beta"))
    {
        let (package, name) = one.name.rsplit_once('.').unwrap_or(("", &one.name));
        let lines = packages.entry(package).or_default();
        writeln!(lines, "{name}\t{}", complete(one))?;
        if let Some(kind) = &one.kind {
            kinds.insert(kind, &one.name);
        }
    }
    let mut index = String::from("pub static PACKAGES: &[Package] = &[\n");
    for (number, (package, lines)) in packages.iter().enumerate() {
        let file = out.join(format!("{number}.z"));
        fs::write(&file, deflate(lines)?)?;
        let bytes = lines.len();
        let line = format!(
            "Package {{ name: {package:?}, bytes: {bytes}, lines: include_bytes!({file:?}) }}"
        );
        writeln!(index, "    {line},")?;
    }
    index.push_str("];\npub static KINDS: &[([&str; 3], &str)] = &[\n");
    for (kind, name) in &kinds {
        writeln!(index, "    ({kind:?}, {name:?}),")?;
    }
    index.push_str("];\n");
    Ok(fs::write(out.join("library.rs"), index)?)
}

fn deflate(lines: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(lines.as_bytes())?;
    encoder.finish()
}

/// The schema with what kind it is. Some fields must be there only in Rust: the metadata of a kind, and
/// names of which Kubernetes says that it would require them if it had not always done without.
fn complete(one: &Type) -> Value {
    let mut schema = one.schema.clone();
    let is_kind = one.kind.is_some();
    let properties = schema["properties"].clone();
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|field| {
            let said = field
                .as_str()
                .and_then(|field| properties[field]["description"].as_str());
            let may_be_empty = said.is_some_and(|said| said.contains(MAY_BE_EMPTY));
            !(may_be_empty || is_kind && field == "metadata")
        });
        if required.is_empty() {
            schema
                .as_object_mut()
                .map(|schema| schema.remove("required"));
        }
    }
    if let Some([group, version, kind]) = &one.kind {
        schema["x-kubernetes-group-version-kind"] =
            json!([{ "group": group, "version": version, "kind": kind }]);
    }
    schema
}
