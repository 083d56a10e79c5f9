//! Names of objects: `/GROUP/RESOURCE/NAMESPACE/NAME`.

use std::{fmt, sync::Arc};

/// All objects of one resource: a group (empty for the core group) and a plural name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(Arc<str>);

impl Bucket {
    /// The bucket of `resource` (plural, lower case) in `group`.
    pub fn new(group: &str, resource: &str) -> Self {
        Self(format!("{group}/{resource}").into())
    }

    /// Group and resource.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }

    /// Reads what [`fmt::Display`] wrote; `None` if it is no such thing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (group, resource) = text.strip_prefix('/')?.split_once('/')?;
        (!resource.contains('/')).then(|| Self::new(group, resource))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// One object's name. Within a bucket, keys order by namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    bucket: Bucket,
    /// `NAMESPACE/NAME`; the namespace is empty for cluster-scoped objects.
    path: Arc<str>,
}

impl Key {
    /// The key of an object; `namespace` is empty for a cluster-scoped one.
    ///
    /// Neither part may contain a slash, which no Kubernetes name does.
    pub fn new(bucket: &Bucket, namespace: &str, name: &str) -> Self {
        debug_assert!(!namespace.contains('/') && !name.contains('/'));
        Self {
            bucket: bucket.clone(),
            path: format!("{namespace}/{name}").into(),
        }
    }

    /// The resource this object belongs to.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Namespace; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.path
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    /// Name.
    pub fn name(&self) -> &str {
        self.path
            .split_once('/')
            .map_or(&self.path, |(_, name)| name)
    }

    /// `NAMESPACE/NAME`, the position of this object in its bucket.
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// Reads what [`fmt::Display`] wrote; `None` if it is no such thing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::parse_after(text, None)
    }

    /// The same, where many come in their order: whoever is in the bucket of the one before shares its name.
    pub(crate) fn parse_after(text: &str, before: Option<&Bucket>) -> Option<Self> {
        let mut parts = text.strip_prefix('/')?.split('/');
        let of = (parts.next()?, parts.next()?);
        let (namespace, name) = (parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let known = before.filter(|bucket| bucket.parts() == of);
        let bucket = known.map_or_else(|| Bucket::new(of.0, of.1), Bucket::clone);
        Some(Self::new(&bucket, namespace, name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_what_it_prints() {
        for (group, resource, namespace, name, text) in [
            ("", "pods", "default", "a", "//pods/default/a"),
            ("", "nodes", "", "node-1", "//nodes//node-1"),
            ("apps", "deployments", "x", "y.z", "/apps/deployments/x/y.z"),
        ] {
            let key = Key::new(&Bucket::new(group, resource), namespace, name);
            assert_eq!(key.to_string(), text);
            assert_eq!(Key::parse(text), Some(key.clone()));
            assert_eq!((key.namespace(), key.name()), (namespace, name));
            assert_eq!(key.bucket().parts(), (group, resource));
        }
    }

    #[test]
    fn a_bucket_is_shared_by_those_in_it() {
        let first = Key::parse("//pods/a/1").unwrap();
        for (text, shared) in [("//pods/b/1", true), ("/apps/pods/b/1", false)] {
            let next = Key::parse_after(text, Some(first.bucket())).unwrap();
            assert_eq!(next.to_string(), text);
            assert_eq!(Arc::ptr_eq(&first.bucket.0, &next.bucket.0), shared);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "/", "/a/b/c", "a/b/c/d", "/a/b/c/d/e"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
