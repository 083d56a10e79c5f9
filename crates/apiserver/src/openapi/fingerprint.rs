//! What a document is made of, in a few letters: the program that writes it, and the kinds in it.

use std::{os::unix::fs::MetadataExt as _, sync::LazyLock};

use ring::digest::{Context, SHA256};

use crate::kinds::KindRef;

/// The program, by its file: another build writes other documents, be its version the same.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match std::fs::metadata("/proc/self/exe") {
        Ok(file) => format!(
            "{version} {} {}.{}",
            file.size(),
            file.mtime(),
            file.mtime_nsec()
        ),
        // Then what was read is good for as long as this process runs.
        Err(_) => format!("{version} {}", uuid::Uuid::new_v4()),
    }
});

/// The fingerprint of a document of these kinds.
pub fn of(kinds: &[KindRef]) -> String {
    let mut context = Context::new(&SHA256);
    let mut add = |text: &str| {
        context.update(text.as_bytes());
        context.update(b"\n");
    };
    add(&PROGRAM);
    for kind in kinds {
        add(&kind.qualified());
        add(kind.version);
        if let Some(custom) = &kind.custom {
            add(&custom.tag());
        }
    }
    let digest = context.finish();
    let half = &digest.as_ref()[..16];
    half.iter().map(|byte| format!("{byte:02X}")).collect()
}
