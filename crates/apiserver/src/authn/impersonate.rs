//! Acting as somebody else (`kubectl --as`), for those who may.
//!
//! Each thing that is taken over, name, group, uid, each extra, is asked for by itself: the verb is
//! `impersonate`, the resource what is taken over.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::{AUTHENTICATED, User};
use crate::{
    authz::{Attributes, Object, Resource},
    status::ApiError,
};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA: &str = "impersonate-extra-";
/// The group of the kinds that exist only to be impersonated.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The user whom the headers ask to act as, if they do; `allowed` refuses what the asker may not.
///
/// # Errors
///
/// 403 of `allowed`; 500, as kube-apiserver has it, for groups without a user.
pub fn impersonated(
    headers: &HeaderMap,
    allowed: impl Fn(&Attributes<'_>) -> Result<(), ApiError>,
) -> Result<Option<User>, ApiError> {
    let Some(mut user) = wanted(headers)? else {
        return Ok(None);
    };
    let ask = |resource: Resource<'_>| {
        let object = Object::Resource(resource);
        allowed(&Attributes {
            verb: "impersonate",
            object,
        })
    };
    match user
        .name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((namespace, name)) => {
            ask(Resource {
                resource: "serviceaccounts",
                namespace,
                name,
                ..Resource::default()
            })?;
            if user.groups.is_empty() {
                let of = format!("system:serviceaccounts:{namespace}");
                user.groups = vec!["system:serviceaccounts".into(), of];
            }
        }
        None => {
            let name = &user.name;
            ask(Resource {
                resource: "users",
                name,
                ..Resource::default()
            })?;
            for name in &user.groups {
                ask(Resource {
                    resource: "groups",
                    name,
                    ..Resource::default()
                })?;
            }
        }
    }
    if !user.uid.is_empty() {
        let (group, name) = (AUTHENTICATION, user.uid.as_str());
        ask(Resource {
            group,
            resource: "uids",
            name,
            ..Resource::default()
        })?;
    }
    for (subresource, values) in &user.extra {
        for name in values {
            let (group, resource) = (AUTHENTICATION, "userextras");
            ask(Resource {
                group,
                resource,
                subresource,
                name,
                ..Resource::default()
            })?;
        }
    }
    let anonymous = User::anonymous();
    if user.name == anonymous.name && user.groups.is_empty() {
        user.groups = anonymous.groups;
    } else if !user.is_in(AUTHENTICATED) && !user.is_in(&anonymous.groups[0]) {
        user.groups.push(AUTHENTICATED.into());
    }
    Ok(Some(user))
}

/// The user that the headers describe.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let text = |name: &HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or("").to_owned()
    };
    let groups = headers
        .get_all(GROUP)
        .iter()
        .filter_map(|group| group.to_str().ok());
    let user = User {
        name: text(&USER),
        uid: text(&UID),
        groups: groups.map(str::to_owned).collect(),
        extra: extra(headers),
    };
    if user == User::default() {
        return Ok(None);
    }
    if user.name.is_empty() {
        return Err(ApiError::internal(format!(
            "requested {user:?} without impersonating a user"
        )));
    }
    Ok(Some(user))
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        let (Some(name), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) else {
            continue;
        };
        let name = percent_decode_str(name).decode_utf8_lossy().to_lowercase();
        extra.entry(name).or_default().push(value.to_owned());
    }
    extra
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Who results, and what was asked for on the way.
    fn acting(pairs: &[(&'static str, &'static str)]) -> (Option<User>, Vec<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let asked = RefCell::<Vec<String>>::default();
        let user = impersonated(&headers, |attributes| {
            if let Object::Resource(of) = &attributes.object {
                let part = if of.subresource.is_empty() { "" } else { "/" };
                let place = format!("{}{part}{}", of.resource, of.subresource);
                asked
                    .borrow_mut()
                    .push(format!("{place} {} {}", of.namespace, of.name));
            }
            Ok(())
        });
        (user.unwrap(), asked.into_inner())
    }

    #[test]
    fn each_thing_is_asked_for() {
        let (user, asked) = acting(&[
            ("impersonate-user", "bob"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2Fteam", "x"),
        ]);
        let user = user.unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups.join(" ")),
            ("bob", "dev ops system:authenticated".into())
        );
        assert_eq!(user.extra["acme.com/team"], ["x"]);
        assert_eq!(
            asked,
            [
                "users  bob",
                "groups  dev",
                "groups  ops",
                "uids  7",
                "userextras/acme.com/team  x"
            ]
        );
    }

    #[test]
    fn service_accounts_and_nobody_get_their_groups() {
        let (user, asked) = acting(&[("impersonate-user", "system:serviceaccount:shop:robot")]);
        assert_eq!(
            user.unwrap().groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:shop",
                "system:authenticated"
            ]
        );
        assert_eq!(asked, ["serviceaccounts shop robot"]);
        let (user, _) = acting(&[("impersonate-user", "system:anonymous")]);
        assert_eq!(user, Some(User::anonymous()));
        assert_eq!(acting(&[]), (None, vec![]));
    }
}
