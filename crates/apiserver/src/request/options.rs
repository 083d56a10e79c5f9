//! The options of verbs, from the query and, for deletions, from the body.

use serde_json::json;

use crate::{
    check::Findings,
    request::Query,
    select::{FieldSelector, LabelSelector},
    status::ApiError,
};

/// How a body with unknown or doubled fields is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and named in warnings.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Do everything but write.
    pub dry_run: bool,
    /// What to do about unknown fields.
    pub field_validation: FieldValidation,
    /// Under which name the writer owns what it writes; empty for that of its program.
    pub field_manager: String,
    /// Whether an apply takes what others own.
    pub force: Option<bool>,
}

/// The longest name of a manager.
const MANAGER_MAX: usize = 128;

impl WriteOptions {
    /// Reads them from the query.
    ///
    /// # Errors
    ///
    /// 422 for values that are none.
    pub fn parse(query: &Query, of: &str) -> Result<Self, ApiError> {
        let mut findings = Findings::default();
        let dry_run = dry_run(query.all("dryRun"), &mut findings);
        let field_validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let known = &["", "Ignore", "Strict", "Warn"];
                findings.unsupported("fieldValidation", &json!(other), known);
                FieldValidation::Strict
            }
        };
        let field_manager = query.get("fieldManager").unwrap_or("").to_owned();
        if field_manager.len() > MANAGER_MAX {
            findings.too_long("fieldManager", MANAGER_MAX);
        }
        if field_manager.chars().any(char::is_control) {
            let why = "should only contain printable characters";
            findings.invalid("fieldManager", &json!(field_manager), why);
        }
        let force = query.flag("force")?;
        if findings.is_empty() {
            Ok(Self {
                dry_run,
                field_validation,
                field_manager,
                force,
            })
        } else {
            Err(ApiError::invalid(of, "meta.k8s.io", "", &findings))
        }
    }

    /// Under which name the writer owns what it writes: the program's, up to its version, unless
    /// the request gives one.
    pub fn manager(&self, agent: &str) -> String {
        if !self.field_manager.is_empty() {
            return self.field_manager.clone();
        }
        let program = agent.split('/').next().unwrap_or("");
        let mut name = String::new();
        for letter in program.chars().filter(|letter| !letter.is_control()) {
            if name.len() + letter.len_utf8() > MANAGER_MAX {
                break;
            }
            name.push(letter);
        }
        name
    }
}

pub fn dry_run<'a>(values: impl Iterator<Item = &'a str>, findings: &mut Findings) -> bool {
    let mut dry_run = false;
    for value in values.filter(|value| !value.is_empty()) {
        dry_run = true;
        if value != "All" {
            findings.unsupported("dryRun", &json!(value), &["All"]);
        }
    }
    dry_run
}

/// How a resource version given to a list is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    /// The state at that version.
    Exact,
    /// The state at that version or a later one.
    NotOlderThan,
}

/// Options of list and watch.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Whether to watch.
    pub watch: bool,
    /// Label selector.
    pub labels: LabelSelector,
    /// Field selector.
    pub fields: FieldSelector,
    /// Where to begin; `None` means the present.
    pub resource_version: Option<u64>,
    /// How the version is meant.
    pub version_match: Option<VersionMatch>,
    /// Whether to tell how far a quiet watch has come.
    pub bookmarks: bool,
    /// Whether a watch begins with the present objects.
    pub send_initial_events: Option<bool>,
    /// How long a watch may last, in seconds.
    pub timeout_seconds: Option<u64>,
    /// The most objects in one answer.
    pub limit: Option<usize>,
    /// Where the answer before this one ended.
    pub continue_from: Option<String>,
}

impl ListOptions {
    /// Reads them from the query.
    ///
    /// # Errors
    ///
    /// 400 for selectors and numbers that are none, 422 for options that do not go together.
    pub fn parse(query: &Query) -> Result<Self, ApiError> {
        let selector = |name: &str| query.get(name).unwrap_or("").to_owned();
        let labels = LabelSelector::parse(&selector("labelSelector")).map_err(|cause| {
            ApiError::bad_request(format!("unable to parse requirement: {cause}"))
        })?;
        let fields = FieldSelector::parse(&selector("fieldSelector"))
            .map_err(|cause| ApiError::bad_request(cause.to_string()))?;
        let version_match = match query.get("resourceVersionMatch") {
            None => None,
            Some("Exact") => Some(VersionMatch::Exact),
            Some("NotOlderThan") => Some(VersionMatch::NotOlderThan),
            Some(other) => {
                let known = &["Exact", "NotOlderThan"];
                return Err(refuse(|findings| {
                    findings.unsupported("resourceVersionMatch", &json!(other), known);
                }));
            }
        };
        let options = Self {
            watch: query.flag("watch")?.unwrap_or(false),
            labels,
            fields,
            resource_version: resource_version(query.get("resourceVersion").unwrap_or(""))?,
            version_match,
            bookmarks: query.flag("allowWatchBookmarks")?.unwrap_or(false),
            send_initial_events: query.flag("sendInitialEvents")?,
            timeout_seconds: query.number("timeoutSeconds")?,
            limit: query
                .number::<i64>("limit")?
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| *limit > 0),
            continue_from: query.get("continue").map(str::to_owned),
        };
        options.check(query.get("resourceVersion"))
    }

    fn check(self, version: Option<&str>) -> Result<Self, ApiError> {
        let mut findings = Findings::default();
        let field = "resourceVersionMatch";
        if self.watch {
            let not_older = self.version_match == Some(VersionMatch::NotOlderThan);
            if self.send_initial_events.is_some() && !not_older {
                let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                findings.forbidden(field, why);
            }
            if self.send_initial_events.is_none() && self.version_match.is_some() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents \
                           is provided";
                findings.forbidden(field, why);
            }
            if self.version_match == Some(VersionMatch::Exact) {
                findings.unsupported(field, &json!("Exact"), &["NotOlderThan"]);
            }
        } else {
            if self.send_initial_events.is_some() {
                let why = "sendInitialEvents is forbidden for list";
                findings.forbidden("sendInitialEvents", why);
            }
            if self.version_match.is_some() && version.is_none() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                findings.forbidden(field, why);
            }
            if self.version_match.is_some() && self.continue_from.is_some() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                findings.forbidden(field, why);
            }
            if self.version_match == Some(VersionMatch::Exact) && version == Some("0") {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                findings.forbidden(field, why);
            }
        }
        if !findings.is_empty() {
            return Err(list_error(&findings));
        }
        if !self.watch && self.continue_from.is_some() && self.resource_version.is_some() {
            let why = "specifying resource version is not allowed when using continue";
            return Err(ApiError::bad_request(why));
        }
        Ok(self)
    }
}

fn refuse(find: impl FnOnce(&mut Findings)) -> ApiError {
    let mut findings = Findings::default();
    find(&mut findings);
    list_error(&findings)
}

fn list_error(findings: &Findings) -> ApiError {
    ApiError::invalid("ListOptions", "meta.k8s.io", "", findings)
}

/// Reads a resource version; empty and `0` mean the present.
///
/// # Errors
///
/// 400 if it is none of ours.
pub fn resource_version(text: &str) -> Result<Option<u64>, ApiError> {
    match text {
        "" | "0" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!(
                "Invalid value: {text:?}: resourceVersion must be a number"
            ))
        }),
    }
}
