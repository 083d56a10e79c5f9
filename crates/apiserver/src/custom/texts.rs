//! Names of kinds that are made at run time, kept for as long as the program runs.
//!
//! A row of the table of kinds is made of texts that live for ever, and so are kinds that are made. Each
//! distinct text is kept once, so that a definition that is changed or made again costs nothing,
//! and there is a limit to all of them.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{LazyLock, Mutex, PoisonError},
};

/// Bytes of names at most: those of ten thousands of definitions.
const LIMIT_BYTES: usize = 8 << 20;

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(|| Mutex::new(Pool::new(LIMIT_BYTES)));

/// There are too many names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this server has been told of more than {} MiB of names of custom resources since it was started; restart it",
    LIMIT_BYTES >> 20
)]
pub struct Full;

/// A field selector: its name and its path.
type Field = (&'static str, &'static str);

/// Keeps a text.
pub fn text(text: &str) -> Result<&'static str, Full> {
    pool(|pool| pool.text(text))
}

/// Keeps a list of texts.
pub fn list(texts: &[String]) -> Result<&'static [&'static str], Full> {
    pool(|pool| {
        let texts = texts.iter().map(|text| pool.text(text));
        let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
        keep(&mut pool.lists, &mut pool.left_bytes, texts.into())
    })
}

/// Keeps fields that can be selected by.
pub fn fields(paths: &[String]) -> Result<&'static [Field], Full> {
    pool(|pool| {
        let fields = paths.iter().map(|path| {
            let path = pool.text(path)?;
            Ok((path, path))
        });
        let fields: Vec<Field> = fields.collect::<Result<_, _>>()?;
        keep(&mut pool.fields, &mut pool.left_bytes, fields.into())
    })
}

fn pool<T>(work: impl FnOnce(&mut Pool) -> T) -> T {
    work(&mut POOL.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Pool {
    texts: HashSet<&'static str>,
    lists: HashSet<&'static [&'static str]>,
    fields: HashSet<&'static [Field]>,
    left_bytes: usize,
}

impl Pool {
    fn new(limit_bytes: usize) -> Self {
        Self {
            texts: HashSet::new(),
            lists: HashSet::new(),
            fields: HashSet::new(),
            left_bytes: limit_bytes,
        }
    }

    fn text(&mut self, text: &str) -> Result<&'static str, Full> {
        keep(&mut self.texts, &mut self.left_bytes, text.into())
    }
}

/// The one that is kept already, or this one from now on.
fn keep<T: ?Sized + Eq + Hash>(
    kept: &mut HashSet<&'static T>,
    left_bytes: &mut usize,
    new: Box<T>,
) -> Result<&'static T, Full> {
    if let Some(same) = kept.get(&*new) {
        return Ok(same);
    }
    let size = size_of_val(&*new) + size_of::<&T>();
    *left_bytes = left_bytes.checked_sub(size).ok_or(Full)?;
    let new = Box::leak(new);
    kept.insert(new);
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once() {
        let (one, same) = (text("mills").unwrap(), text("mills").unwrap());
        assert_eq!(one.as_ptr(), same.as_ptr());
        let names = ["ml".to_owned(), "mll".to_owned()];
        let (one, same) = (list(&names).unwrap(), list(&names).unwrap());
        assert_eq!(one, ["ml", "mll"]);
        assert_eq!(one.as_ptr(), same.as_ptr());
        assert_eq!(
            fields(&["spec.a".to_owned()]),
            Ok(&[("spec.a", "spec.a")][..])
        );
    }

    #[test]
    fn there_is_a_limit() {
        let mut pool = Pool::new(100);
        pool.text("abc").unwrap();
        assert_eq!(pool.text(&"x".repeat(100)), Err(Full));
        assert_eq!(pool.text("abc"), Ok("abc"), "what is kept costs nothing");
    }
}
