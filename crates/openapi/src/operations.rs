//! What can be done with a resource, by path and method, before it takes the form of a version of
//! OpenAPI.

use crate::{
    Carries, Part, Resource,
    definitions::{DELETE_OPTIONS, PATCH, STATUS, part_definition},
};

/// A path and what can be done there.
pub struct Path {
    /// `/api/v1/namespaces/{namespace}/pods/{name}`.
    pub path: String,
    /// Parameters in the path: `namespace`, `name`, `path`.
    pub parameters: Vec<&'static str>,
    /// By method.
    pub operations: Vec<Operation>,
}

/// One method of a path.
pub struct Operation {
    /// `get`, `post`, …
    pub method: &'static str,
    /// Its name in generated clients: `readCoreV1NamespacedPod`.
    pub id: String,
    /// The group of operations that it is in: `core_v1`.
    pub tag: String,
    /// What it does, in one sentence.
    pub description: String,
    /// Kubernetes' word for it: `get`, `list`, `post`, `put`, `patch`, …
    pub action: &'static str,
    /// Group, version and kind that it concerns.
    pub kind: [String; 3],
    /// Parameters of the query and their types.
    pub query: Vec<(String, String)>,
    /// The definition of the body, and its content types.
    pub body: Option<(String, Vec<String>)>,
    /// The definition of the answer; a text without one.
    pub answer: Option<String>,
    /// Status codes of success.
    pub codes: &'static [u16],
}

const WRITE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];
const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

/// All paths of a resource.
pub fn of(resource: &Resource<'_>) -> Vec<Path> {
    let place = Place::of(resource);
    let mut paths = vec![place.collection(), place.item()];
    if resource.namespaced && resource.may("list") {
        paths.insert(0, place.everywhere());
    }
    paths.extend(resource.parts.iter().map(|part| place.part(part)));
    paths.retain(|path| !path.operations.is_empty());
    paths
}

/// The root of a group version's paths.
pub fn root(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

/// What the operations of a resource have in common.
struct Place<'a> {
    resource: &'a Resource<'a>,
    /// `CoreV1`.
    title: String,
    /// `core_v1`.
    tag: String,
}

impl<'a> Place<'a> {
    fn of(resource: &'a Resource<'a>) -> Self {
        let (title, tag) = titles(resource.group, resource.version);
        Self {
            resource,
            title,
            tag,
        }
    }

    fn base(&self) -> String {
        let Resource {
            group,
            version,
            plural,
            ..
        } = self.resource;
        let within = if self.resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        format!("/{}{within}/{plural}", root(group, version))
    }

    fn within(&self) -> Vec<&'static str> {
        if self.resource.namespaced {
            vec!["namespace"]
        } else {
            Vec::new()
        }
    }

    /// `NamespacedPod`.
    fn noun(&self) -> String {
        let namespaced = if self.resource.namespaced {
            "Namespaced"
        } else {
            ""
        };
        format!("{namespaced}{}", self.resource.kind)
    }

    fn everywhere(&self) -> Path {
        let Resource {
            group,
            version,
            plural,
            kind,
            ..
        } = self.resource;
        let mut list = self.list();
        list.id = format!("list{}{kind}ForAllNamespaces", self.title);
        list.description = format!("List or watch objects of kind {kind} in all namespaces.");
        Path {
            path: format!("/{}/{plural}", root(group, version)),
            parameters: Vec::new(),
            operations: vec![list],
        }
    }

    fn collection(&self) -> Path {
        let kind = self.resource.kind;
        let mut operations = Vec::new();
        if self.resource.may("list") {
            operations.push(self.list());
        }
        if self.resource.may("create") {
            operations.push(Operation {
                body: Some((self.resource.definition(), any())),
                query: owned(WRITE),
                codes: &[200, 201, 202],
                ..self.operation(
                    "post",
                    "post",
                    "create",
                    format!("Create an object of kind {kind}."),
                )
            });
        }
        if self.resource.may("deletecollection") {
            let id = format!("delete{}Collection{}", self.title, self.noun());
            let said = format!("Delete all chosen objects of kind {kind}.");
            operations.push(Operation {
                id,
                body: Some((DELETE_OPTIONS.into(), any())),
                query: owned(&[&LIST[1..8], DELETE].concat()),
                answer: Some(STATUS.into()),
                ..self.operation("delete", "deletecollection", "delete", said)
            });
        }
        Path {
            path: self.base(),
            parameters: self.within(),
            operations,
        }
    }

    fn list(&self) -> Operation {
        let said = format!("List or watch objects of kind {}.", self.resource.kind);
        Operation {
            query: owned(LIST),
            answer: Some(self.resource.list_definition()),
            ..self.operation("get", "list", "list", said)
        }
    }

    fn item(&self) -> Path {
        let kind = self.resource.kind;
        let named = |method: &'static str, action, verb, what: &str| {
            let said = format!("{what} the object of kind {kind} with this name.");
            self.operation(method, action, verb, said)
        };
        let mut operations = Vec::new();
        if self.resource.may("get") {
            operations.push(named("get", "get", "read", "Read"));
        }
        if self.resource.may("update") {
            operations.push(Operation {
                body: Some((self.resource.definition(), any())),
                query: owned(WRITE),
                codes: &[200, 201],
                ..named("put", "put", "replace", "Replace")
            });
        }
        if self.resource.may("patch") {
            operations.push(self.patch(named("patch", "patch", "patch", "Change")));
        }
        if self.resource.may("delete") {
            operations.push(Operation {
                body: Some((DELETE_OPTIONS.into(), any())),
                query: owned(DELETE),
                answer: Some(STATUS.into()),
                codes: &[200, 202],
                ..named("delete", "delete", "delete", "Delete")
            });
        }
        Path {
            path: format!("{}/{{name}}", self.base()),
            parameters: [self.within(), vec!["name"]].concat(),
            operations,
        }
    }

    fn patch(&self, operation: Operation) -> Operation {
        let content = self.resource.patches.iter().map(|&one| one.to_owned());
        let mut query = owned(WRITE);
        query.push(("force".into(), "boolean".into()));
        Operation {
            body: Some((PATCH.into(), content.collect())),
            query,
            codes: &[200, 201],
            ..operation
        }
    }

    fn part(&self, part: &Part<'_>) -> Path {
        let mut parameters = [self.within(), vec!["name"]].concat();
        let mut path = format!("{}/{{name}}/{}", self.base(), part.name);
        if part.name == "proxy" {
            path.push_str("/{path}");
            parameters.push("path");
        }
        let operations = part.verbs.iter().filter_map(|verb| match part.carries {
            Carries::Objects => self.part_operation(part, verb),
            Carries::Stream(query) => self.connect(part, query, verb),
        });
        let operations = operations.collect();
        Path {
            path,
            parameters,
            operations,
        }
    }

    fn part_operation(&self, part: &Part<'_>, verb: &str) -> Option<Operation> {
        let (method, word, what) = match verb {
            "get" => ("get", "read", "Read"),
            "create" => ("post", "create", "Create"),
            "update" => ("put", "replace", "Replace"),
            "patch" => ("patch", "patch", "Change"),
            _ => return None,
        };
        let action = if verb == "get" { "get" } else { method };
        let said = format!(
            "{what} {} of an object of kind {}.",
            part.name, self.resource.kind
        );
        let definition = part_definition(self.resource, part.kind);
        let operation = Operation {
            id: format!("{word}{}{}{}", self.title, self.noun(), capital(part.name)),
            kind: part.kind.map(str::to_owned),
            answer: Some(definition.clone()),
            ..self.operation(method, action, word, said)
        };
        Some(match verb {
            "get" => operation,
            "patch" => self.patch(operation),
            _ => Operation {
                body: Some((definition, any())),
                query: owned(WRITE),
                codes: &[200, 201],
                ..operation
            },
        })
    }

    fn connect(&self, part: &Part<'_>, query: &[(&str, &str)], verb: &str) -> Option<Operation> {
        let (method, word) = match verb {
            "get" => ("get", "Get"),
            "create" => ("post", "Post"),
            "update" => ("put", "Put"),
            "patch" => ("patch", "Patch"),
            "delete" => ("delete", "Delete"),
            _ => return None,
        };
        let id = format!(
            "connect{}{word}{}{}",
            self.title,
            self.noun(),
            capital(part.name)
        );
        let said = format!(
            "Connect to {} of an object of kind {}.",
            part.name, self.resource.kind
        );
        Some(Operation {
            id,
            kind: part.kind.map(str::to_owned),
            query: owned(query),
            answer: None,
            ..self.operation(method, "connect", "connect", said)
        })
    }

    /// An operation whose answer is an object of this kind.
    fn operation(
        &self,
        method: &'static str,
        action: &'static str,
        word: &str,
        description: String,
    ) -> Operation {
        let Resource {
            group,
            version,
            kind,
            ..
        } = self.resource;
        Operation {
            method,
            id: format!("{word}{}{}", self.title, self.noun()),
            tag: self.tag.clone(),
            description,
            action,
            kind: [group, version, kind].map(|part| (*part).to_owned()),
            query: Vec::new(),
            body: None,
            answer: Some(self.resource.definition()),
            codes: &[200],
        }
    }
}

fn owned(query: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, of): &(&str, &str)| ((*name).to_owned(), (*of).to_owned());
    query.iter().map(owned).collect()
}

fn any() -> Vec<String> {
    vec!["*/*".into()]
}

/// `RbacAuthorizationV1` and `rbacAuthorization_v1`, as Kubernetes' own clients name their parts.
fn titles(group: &str, version: &str) -> (String, String) {
    let group = match group {
        "" => "core",
        group => group.strip_suffix(".k8s.io").unwrap_or(group),
    };
    let words: String = group.split(['.', '-']).map(capital).collect();
    let mut tag = words.clone();
    if let Some(first) = tag.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    (
        format!("{words}{}", capital(version)),
        format!("{tag}_{version}"),
    )
}

fn capital(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}
