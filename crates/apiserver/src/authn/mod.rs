//! Who a client is.
//!
//! ```text
//!   client certificate ─────────────► common name, organizations ─┐
//!   Authorization: Bearer TOKEN ────► signature, times, audience, ├─► User ─► Impersonate-* ─► User
//!                                     and the objects it is bound to
//!   neither ────────────────────────► system:anonymous ───────────┘
//! ```
//!
//! As in kube-apiserver, a certificate counts before a token, a token that is not good is refused
//! with 401 even where anybody might ask, and who shows nothing is `system:anonymous`, whom
//! authorization lets see health, version and nothing else.

mod bound;
mod impersonate;
mod jwt;
mod openid;
mod token;
mod user;

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;

pub use bound::check;
pub use impersonate::impersonated;
pub use jwt::SigningKey;
pub use openid::answer;
pub use token::{Bound, Claims, Issuer, Reference};
pub use user::{AUTHENTICATED, User, service_account};

use crate::{server::Server, status::ApiError};

/// Who sends a request: `certificate` is who the connection's certificate says.
///
/// # Errors
///
/// 401 for a token that is not good.
pub fn who(
    server: &Server,
    certificate: Option<&Arc<User>>,
    headers: &HeaderMap,
) -> Result<Arc<User>, ApiError> {
    if let Some(user) = certificate {
        return Ok(user.clone());
    }
    let Some(token) = bearer(headers) else {
        return Ok(Arc::new(User::anonymous()));
    };
    let now = Timestamp::now();
    let user = server
        .issuer
        .as_ref()
        .ok_or("no tokens are issued here".to_owned());
    let user = user.and_then(|issuer| {
        let claims = issuer.verify(token, &[issuer.audience()], now)?;
        check(&server.store, &claims, now)
    });
    user.map(Arc::new).map_err(|why| {
        tracing::debug!(why, "a token is refused");
        ApiError::unauthorized()
    })
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .trim()
        .split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
