//! Tokens of service accounts: what they claim, and whether the claims hold at a time.
//!
//! The claims are those of Kubernetes' bound tokens. What they are bound to is looked up
//! elsewhere ([`super::check`]); here is no store and no clock.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{jwt::SigningKey, service_account};

/// Makes tokens and reads them.
pub struct Issuer {
    key: SigningKey,
    name: String,
}

/// What a token claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom it is meant.
    pub aud: Vec<String>,
    /// When it ends, in seconds of Unix time.
    pub exp: i64,
    /// When it was made.
    pub iat: i64,
    /// Who made it.
    pub iss: String,
    /// Its own identity.
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
    /// When it begins.
    pub nbf: i64,
    /// The user that it makes its holder.
    pub sub: String,
}

/// The objects that a token lives and dies with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The namespace of the account and the pod.
    pub namespace: String,
    /// The node: that of the pod, or one by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<Reference>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<Reference>,
    /// The secret.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secret: Option<Reference>,
    /// The service account.
    pub serviceaccount: Reference,
    /// When its holder should have fetched another.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub warnafter: Option<i64>,
}

/// An object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Name.
    pub name: String,
    /// Identity over time.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub uid: String,
}

impl Issuer {
    /// Tokens of `name` are signed with `key`.
    pub fn new(key: SigningKey, name: String) -> Self {
        Self { key, name }
    }

    /// Who this server is in tokens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The audience of tokens that are meant for this server.
    pub fn audience(&self) -> &str {
        &self.name
    }

    /// The key that others verify tokens with.
    pub fn jwk(&self) -> serde_json::Value {
        self.key.jwk()
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// When it cannot be signed.
    pub fn issue(&self, claims: &Claims) -> Result<String, String> {
        self.key.sign(&serde_json::json!(claims))
    }

    /// What a token claims that may be used for one of `audiences` at the time `now`.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub fn verify(
        &self,
        token: &str,
        audiences: &[&str],
        now: Timestamp,
    ) -> Result<Claims, String> {
        let claims: Claims = serde_json::from_value(self.key.verify(token)?)
            .map_err(|cause| format!("it lacks claims: {cause}"))?;
        let now = now.as_second();
        if claims.iss != self.name {
            return Err(format!("{} has issued it", claims.iss));
        }
        if now >= claims.exp {
            return Err("service account token has expired".into());
        }
        if now < claims.nbf {
            return Err("service account token is not valid yet".into());
        }
        if !claims
            .aud
            .iter()
            .any(|one| audiences.contains(&one.as_str()))
        {
            return Err(format!(
                "token audiences {:?} is invalid for the target audiences {audiences:?}",
                claims.aud
            ));
        }
        let Bound {
            namespace,
            serviceaccount,
            ..
        } = &claims.bound;
        if claims.sub != service_account(namespace, &serviceaccount.name) {
            return Err("its subject is not the account that it is bound to".into());
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::jwt::new_key;

    const API: &str = "https://kubernetes.default.svc.cluster.local";

    fn claims() -> Claims {
        Claims {
            aud: vec![API.into()],
            exp: 2000,
            iat: 1000,
            iss: API.into(),
            jti: "1".into(),
            bound: Bound {
                namespace: "shop".into(),
                serviceaccount: Reference {
                    name: "robot".into(),
                    uid: "u".into(),
                },
                ..Bound::default()
            },
            nbf: 1000,
            sub: "system:serviceaccount:shop:robot".into(),
        }
    }

    fn verified(claims: &Claims, audience: &str, now: i64) -> Result<Claims, String> {
        let issuer = Issuer::new(new_key(), API.into());
        let token = issuer.issue(claims).unwrap();
        issuer.verify(&token, &[audience], Timestamp::from_second(now).unwrap())
    }

    #[test]
    fn a_token_holds_for_its_time_and_its_audience() {
        let good = claims();
        assert_eq!(verified(&good, API, 1000), Ok(good.clone()));
        assert_eq!(verified(&good, API, 1999), Ok(good.clone()));
        for (claims, audience, now, why) in [
            (good.clone(), API, 2000, "has expired"),
            (good.clone(), API, 999, "not valid yet"),
            (
                good.clone(),
                "vault",
                1000,
                "is invalid for the target audiences",
            ),
            (
                Claims {
                    iss: "x".into(),
                    ..good.clone()
                },
                API,
                1000,
                "x has issued it",
            ),
            (
                Claims {
                    sub: "system:admin".into(),
                    ..good.clone()
                },
                API,
                1000,
                "its subject",
            ),
        ] {
            let error = verified(&claims, audience, now).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn claims_are_named_as_in_kubernetes() {
        let mut claims = claims();
        claims.bound.pod = Some(Reference {
            name: "p".into(),
            uid: "v".into(),
        });
        let expected = serde_json::json!({
            "aud": [API], "exp": 2000, "iat": 1000, "iss": API, "jti": "1",
            "kubernetes.io": {
                "namespace": "shop", "pod": {"name": "p", "uid": "v"},
                "serviceaccount": {"name": "robot", "uid": "u"},
            },
            "nbf": 1000, "sub": "system:serviceaccount:shop:robot",
        });
        assert_eq!(serde_json::json!(claims), expected);
    }
}
