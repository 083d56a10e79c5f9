//! Where the objects of a custom kind have what their scale shows.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The `scale` of a version's subresources: paths of names with dots between them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalePaths {
    /// Where it says how many there should be.
    pub spec_replicas_path: String,
    status_replicas_path: String,
    label_selector_path: Option<String>,
}

impl ScalePaths {
    /// How many there should be, if that is said.
    pub fn wanted(&self, object: &Value) -> Option<i64> {
        at(object, &self.spec_replicas_path)?.as_i64()
    }

    /// How many there are.
    pub fn present(&self, object: &Value) -> i64 {
        let found = at(object, &self.status_replicas_path);
        found.and_then(Value::as_i64).unwrap_or(0)
    }

    /// Which pods they are, as text.
    pub fn selector<'v>(&self, object: &'v Value) -> &'v str {
        let path = self.label_selector_path.as_deref();
        let found = path.and_then(|path| at(object, path));
        found.and_then(Value::as_str).unwrap_or("")
    }

    /// Says how many there should be.
    pub fn set(&self, object: &mut Value, replicas: Value) {
        let place = names(&self.spec_replicas_path).fold(object, |at, name| {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            &mut at[name]
        });
        *place = replicas;
    }
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.trim_start_matches('.').split('.')
}

fn at<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    names(path).try_fold(object, |at, name| at.get(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_found_and_set_where_the_paths_lead() {
        let paths = ScalePaths {
            spec_replicas_path: ".spec.size.wanted".into(),
            status_replicas_path: ".status.running".into(),
            label_selector_path: Some(".status.selector".into()),
        };
        let mut object = json!({"status": {"running": 2, "selector": "a=b"}});
        assert_eq!(paths.wanted(&object), None);
        paths.set(&mut object, 3.into());
        let found = (paths.wanted(&object), paths.present(&object));
        assert_eq!((found, paths.selector(&object)), ((Some(3), 2), "a=b"));
    }
}
