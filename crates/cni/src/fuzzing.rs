//! Doors for fuzz targets: what reads outside bytes, and what must hold whatever they are.
//!
//! Not part of the interface. The targets are in `fuzz/`; what they began with and what they once
//! broke runs again in `tests/corpus.rs`. Each door takes any bytes and panics when something does
//! not hold. Nothing is opened, made or sent.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::Path};

use sealane_net::names;
use serde_json::Value;

use crate::{
    asked::Asked,
    plugin::{self, Asks, BridgeConf, Call},
    protocol::{self, Request, Response},
    types::{AddResult, CniError, Mode, Refused, Version, code, is_valid_identifier},
};

/// What takes any bytes.
pub type Door = fn(&[u8]);

/// All doors, by name.
pub const DOORS: &[(&str, Door)] = &[("call", call), ("message", message)];

/// A call of the plugin: lines `NAME=value` of its environment, an empty line, its standard input.
///
/// # Panics
/// When a refusal is not an error of the specification with cause and next step, or what was
/// accepted could leave its folder, be no link's name, or mean something else to the agent.
pub fn call(bytes: &[u8]) {
    let (environment, mut input) = cut(bytes);
    let get = |name: &str| -> Option<OsString> {
        let lines = environment.split(|byte| *byte == b'\n');
        let mut values =
            lines.filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        values
            .next()
            .map(|value| OsString::from_vec(value.to_vec()))
    };
    match plugin::read(get, &mut input) {
        Err(Refused { version, error }) => tells(&error, version),
        Ok(Asks::Answered(value)) => assert!(value["supportedVersions"].is_array(), "{value}"),
        Ok(Asks::For(call)) => accepted(&call),
    }
}

/// What plugin and agent read of each other.
///
/// # Panics
/// When a message changes by being written and read again, or needs more than its line.
pub fn message(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        assert_eq!(reread(&request).as_ref(), Some(&request));
        if let Err(error) = Asked::of(&request, None) {
            tells(&error, Version::LATEST);
        }
    }
    if let Ok(response) = serde_json::from_slice::<Response>(bytes) {
        assert_eq!(reread(&response).as_ref(), Some(&response));
        if let Response::Added(result) = response {
            printed(&result);
        }
    }
}

/// At the first empty line.
fn cut(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[]),
    }
}

/// Code, cause and next step, in the form of the specification.
fn tells(error: &CniError, version: Version) {
    let known = [
        code::INCOMPATIBLE_VERSION,
        code::UNSUPPORTED_FIELD,
        code::INVALID_ENVIRONMENT,
        code::IO_FAILURE,
        code::DECODE_FAILURE,
        code::INVALID_CONFIG,
    ];
    assert!(known.contains(&error.code), "{error:?}");
    assert!(
        !error.msg.is_empty() && !error.details.is_empty(),
        "{error:?}"
    );
    let printed = error.to_value(version);
    assert_eq!(printed["cniVersion"], version.as_str());
    assert_eq!(
        serde_json::from_value::<CniError>(printed).ok().as_ref(),
        Some(error)
    );
}

fn accepted(call: &Call) {
    let request = call.request();
    if request.command.has_attachment() {
        stays_where_it_is_put(&request.container_id);
        stays_where_it_is_put(&request.ifname);
        assert!(request.ifname.len() < 16, "{:?}", request.ifname);
        assert!(names::is_pod_link(&names::pod_link(
            &request.container_id,
            &request.ifname
        )));
    }
    assert!(
        is_valid_identifier(&request.network),
        "{:?}",
        request.network
    );
    stays_where_it_is_put(&request.network);
    assert_eq!(reread(&request).as_ref(), Some(&request));
    if let Err(error) = Asked::of(&request, None) {
        tells(&error, call.conf.cni_version);
    }
    if let Some(result) = &call.conf.prev_result {
        printed(result);
    }
    if call.conf.mode == Mode::Bridge {
        match BridgeConf::parse(&call.keys) {
            Ok(conf) => assert!(
                conf.data_dir.is_absolute() && conf.subnets.len() < 3,
                "{conf:?}"
            ),
            Err(error) => tells(&error, call.conf.cni_version),
        }
    }
}

fn stays_where_it_is_put(name: &str) {
    let folder = Path::new("/folder");
    assert_eq!(folder.join(name).parent(), Some(folder), "{name:?}");
    assert!(name != ".." && !name.contains('\0'), "{name:?}");
}

/// Written and read as one line.
fn reread<T: serde::Serialize + serde::de::DeserializeOwned>(message: &T) -> Option<T> {
    let line = protocol::line(message);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    serde_json::from_slice(&line).ok()
}

/// In the newest form, nothing of a result is lost; in every form, it can be read.
fn printed(result: &AddResult) {
    for version in Version::ALL {
        let value: Value = result.to_value(version);
        let read: AddResult = serde_json::from_value(value).expect("our own result is readable");
        assert_eq!(read.ips, result.ips);
        if version == Version::LATEST {
            assert_eq!(&read, result);
        }
    }
}
