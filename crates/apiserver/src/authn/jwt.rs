//! JSON Web Tokens (RFC 7519) signed with ES256 (RFC 7518 §3.4), and nothing else of JOSE: one
//! algorithm and one key, so there is nothing that a token could choose.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::{
    digest,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};

/// What stands before the point in the encoding of a P-256 public key (RFC 5480 §2).
const PUBLIC_KEY_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// A point: a byte that says "not compressed", then two coordinates.
const COORDINATE_BYTES: usize = 32;

/// Why a key cannot sign tokens.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no key in the file.
    #[error("read a private key from {path}: {cause}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        cause: rustls_pki_types::pem::Error,
    },
    /// It is of another kind.
    #[error(
        "use the key in {path} to sign tokens: {why}; expected an ECDSA key on the curve P-256 in \
         PKCS#8, as `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes it"
    )]
    Kind {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The key that signs tokens and verifies them.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl SigningKey {
    /// The key in a PEM file.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let shown = || path.display().to_string();
        let key = PrivateKeyDer::from_pem_file(path).map_err(|cause| KeyError::Read {
            path: shown(),
            cause,
        })?;
        Self::of(&key).map_err(|why| KeyError::Kind { path: shown(), why })
    }

    fn of(key: &PrivateKeyDer<'_>) -> Result<Self, String> {
        let PrivateKeyDer::Pkcs8(key) = key else {
            return Err("it is not in PKCS#8".into());
        };
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.secret_pkcs8_der(), &random)
            .map_err(|cause| cause.to_string())?;
        let info = [&PUBLIC_KEY_INFO, pair.public_key().as_ref()].concat();
        let id = BASE64.encode(digest::digest(&digest::SHA256, &info));
        Ok(Self { pair, random, id })
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn sign(&self, claims: &Value) -> Result<String, String> {
        let header = json!({ "alg": "ES256", "kid": self.id });
        let text = format!("{}.{}", encode(&header), encode(claims));
        let signature = self
            .pair
            .sign(&self.random, text.as_bytes())
            .map_err(|_| "sign a token: no randomness to be had".to_owned())?;
        Ok(format!("{text}.{}", BASE64.encode(signature)))
    }

    /// What a token claims, if its signature is ours.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Value, String> {
        let (text, signature) = token.rsplit_once('.').ok_or("it has no signature")?;
        let (header, claims) = text.split_once('.').ok_or("it has no claims")?;
        let header = decode(header)?;
        if header["alg"] != "ES256" || header["kid"] != self.id.as_str() {
            return Err("another key has signed it".into());
        }
        let signature = BASE64
            .decode(signature)
            .map_err(|cause| cause.to_string())?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(text.as_bytes(), &signature)
            .map_err(|_| "its signature is wrong".to_owned())?;
        decode(claims)
    }

    /// The public key as a JSON Web Key (RFC 7517).
    pub fn jwk(&self) -> Value {
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(COORDINATE_BYTES);
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        })
    }
}

fn encode(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

fn decode(part: &str) -> Result<Value, String> {
    let bytes = BASE64.decode(part).map_err(|cause| cause.to_string())?;
    serde_json::from_slice(&bytes).map_err(|cause| cause.to_string())
}

/// A key for one test.
#[cfg(test)]
pub fn new_key() -> SigningKey {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    SigningKey::of(&PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_verified_and_nothing_else() {
        let (key, other) = (new_key(), new_key());
        let claims = json!({"sub": "a"});
        let token = key.sign(&claims).unwrap();
        assert_eq!(key.verify(&token).unwrap(), claims);
        assert_eq!(
            other.verify(&token).unwrap_err(),
            "another key has signed it"
        );
        let parts: Vec<&str> = token.split('.').collect();
        let forged = format!("{}.{}.{}", parts[0], encode(&json!({"sub": "b"})), parts[2]);
        assert_eq!(key.verify(&forged).unwrap_err(), "its signature is wrong");
        let none = json!({"alg": "none", "kid": key.id});
        let unsigned = format!("{}.{}.", encode(&none), parts[1]);
        assert_eq!(
            key.verify(&unsigned).unwrap_err(),
            "another key has signed it"
        );
        for damaged in ["", "x", "a.b", "a.b.c", "..", &token[..token.len() - 5]] {
            assert!(key.verify(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn keys_of_other_kinds_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sa.key");
        let rsa_or_ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        std::fs::write(&path, rsa_or_ed.serialize_pem()).unwrap();
        let error = SigningKey::read(&path).err().unwrap().to_string();
        assert!(
            error.contains("sa.key") && error.contains("P-256"),
            "{error}"
        );
        std::fs::write(&path, "nothing").unwrap();
        let error = SigningKey::read(&path).err().unwrap().to_string();
        assert!(error.starts_with("read a private key from "), "{error}");
    }

    #[test]
    fn the_public_key_is_published_whole() {
        let jwk = new_key().jwk();
        for coordinate in ["x", "y"] {
            let bytes = BASE64.decode(jwk[coordinate].as_str().unwrap()).unwrap();
            assert_eq!(bytes.len(), COORDINATE_BYTES);
        }
    }
}
