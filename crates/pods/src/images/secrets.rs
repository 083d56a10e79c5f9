//! What a pod may show to registries: `imagePullSecrets`, its own and, put there by the API
//! server, its service account's.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use crate::sources::{Kind, Snapshot};

/// Credentials, and the Secrets that should have held some and do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Docker configurations, each in one line, in the order of the pod.
    pub configs: Vec<String>,
    /// Names of Secrets that are absent or hold none.
    pub missing: Vec<String>,
}

/// The credentials of a pod.
pub fn credentials(spec: &PodSpec, sources: &Snapshot) -> Credentials {
    let mut found = Credentials::default();
    for secret in spec.image_pull_secrets.iter().flatten() {
        let data = sources.data(Kind::Secret, &secret.name, true);
        let data = data.ok().flatten();
        let config = [".dockerconfigjson", ".dockercfg"]
            .iter()
            .find_map(|key| data?.file(key));
        // Read and written again, so that it is one line.
        let config = config.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        match config {
            Some(config) => found.configs.push(config.to_string()),
            None => found.missing.push(secret.name.clone()),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::sources::{Data, Known, Reference};

    #[test]
    fn each_secret_is_a_line_and_a_bad_one_is_named() {
        let secret = |name: &str, key: &str, text: &str| {
            let mut data = Data::default();
            data.plain.insert(key.into(), text.into());
            let reference = Reference {
                kind: Kind::Secret,
                name: name.into(),
            };
            (reference, Known::Present(Arc::new(data)))
        };
        let sources = Snapshot::new([
            secret("a", ".dockerconfigjson", "{\"auths\":\n {}}"),
            secret("b", ".dockercfg", "{}"),
            secret("bad", ".dockerconfigjson", "{"),
        ]);
        let spec = serde_json::from_value(json!({
            "containers": [],
            "imagePullSecrets": [{"name": "b"}, {"name": "none"}, {"name": "a"}, {"name": "bad"}],
        }));
        let found = credentials(&spec.unwrap(), &sources);
        assert_eq!(found.configs, ["{}", "{\"auths\":{}}"]);
        assert_eq!(found.missing, ["none", "bad"]);
    }
}
