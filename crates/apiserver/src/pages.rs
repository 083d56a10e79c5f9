//! Lists that are read page by page, all pages showing the same moment.
//!
//! A page beyond the first needs the objects as they were at the first. The list is kept for it:
//! references to encoded objects, which cost little while the objects do not change. All pages share
//! it, and a token says where the next one begins, so a list of 100,000 costs each of its pages no more
//! than a short one does. Few lists are kept, for a short time; whoever comes too late is told to list
//! again, as Kubernetes does after compaction.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sealane_store::Entry;
use serde_json::{Value, json};

use crate::status::ApiError;

/// Lists that are kept at most.
const KEPT: usize = 64;
/// How long one is kept after a page of it was read.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// Lists that are being read.
#[derive(Debug, Default)]
pub struct Pages(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    lists: VecDeque<List>,
}

#[derive(Debug)]
struct List {
    id: u64,
    /// When a page of it was read.
    since: Instant,
    revision: u64,
    /// What was asked: a token serves only the same question again.
    of: String,
    entries: Arc<[Arc<Entry>]>,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The revision that all pages show.
    pub revision: u64,
    /// The objects on it.
    pub entries: Vec<Arc<Entry>>,
    /// The token of the next page and how many objects it and those after it have.
    pub next: Option<(String, usize)>,
}

impl Pages {
    /// Cuts the first page off a list, and keeps the list if that is not all.
    pub fn first(&self, of: &str, revision: u64, entries: Vec<Arc<Entry>>, limit: usize) -> Page {
        if entries.len() <= limit {
            return Page {
                revision,
                entries,
                next: None,
            };
        }
        let mut kept = self.kept();
        kept.next += 1;
        let list = List {
            id: kept.next,
            since: Instant::now(),
            revision,
            of: of.into(),
            entries: entries.into(),
        };
        let page = list.page(0, limit);
        kept.keep(list);
        page
    }

    /// The page that `token` stands for.
    ///
    /// # Errors
    ///
    /// 400 if it is no token of ours, 410 if the list is no longer kept.
    pub fn next(&self, of: &str, token: &str, limit: Option<usize>) -> Result<Page, ApiError> {
        let (id, from) = read(token).ok_or_else(|| {
            ApiError::bad_request("continue key is not valid: it is none of this server's")
        })?;
        let mut kept = self.kept();
        let is_it = |list: &List| list.id == id && list.of == of && from <= list.entries.len();
        let found = kept.lists.iter().position(is_it);
        // It stays for a client that asks for the same page again.
        let list = found.and_then(|at| kept.lists.remove(at));
        let mut list = list.ok_or_else(|| {
            ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. \
                 You must start a new list without the continue parameter.",
            )
        })?;
        list.since = Instant::now();
        let page = list.page(from, limit.unwrap_or(usize::MAX));
        kept.keep(list);
        Ok(page)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget_old();
        kept
    }
}

impl List {
    /// So many from there on.
    fn page(&self, from: usize, limit: usize) -> Page {
        let rest = &self.entries[from..];
        let entries = rest[..limit.min(rest.len())].to_vec();
        let remaining = rest.len() - entries.len();
        let next = (remaining > 0).then(|| (self.token(from + entries.len()), remaining));
        Page {
            revision: self.revision,
            entries,
            next,
        }
    }

    fn token(&self, from: usize) -> String {
        let (revision, list) = (self.revision, self.id);
        let token = json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": [list, from] });
        URL_SAFE_NO_PAD.encode(token.to_string())
    }
}

impl Kept {
    fn forget_old(&mut self) {
        self.lists.retain(|list| list.since.elapsed() < KEPT_FOR);
    }

    /// The one that nobody has read for longest goes first.
    fn keep(&mut self, list: List) {
        self.lists.push_back(list);
        if self.lists.len() > KEPT {
            self.lists.pop_front();
        }
    }
}

/// Which list, and from where.
fn read(token: &str) -> Option<(u64, usize)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let token: Value = serde_json::from_slice(&bytes).ok()?;
    let from = usize::try_from(token["start"][1].as_u64()?).ok()?;
    Some((token["start"][0].as_u64()?, from))
}

#[cfg(test)]
mod tests {
    use sealane_store::{Attributes, Bucket, Key};

    use super::*;

    fn entries(names: &[&str]) -> Vec<Arc<Entry>> {
        let bucket = Bucket::new("", "pods");
        let entry = |name: &&str| Entry {
            key: Key::new(&bucket, "default", name),
            revision: 1,
            attributes: Attributes::default(),
            object: Default::default(),
        };
        names.iter().map(|name| Arc::new(entry(name))).collect()
    }

    fn names(page: &Page) -> Vec<&str> {
        page.entries.iter().map(|entry| entry.key.name()).collect()
    }

    #[test]
    fn pages_make_up_the_list() {
        let pages = Pages::default();
        let first = pages.first("pods", 7, entries(&["a", "b", "c", "d", "e"]), 2);
        assert_eq!(names(&first), ["a", "b"]);
        let (token, remaining) = first.next.unwrap();
        assert_eq!(remaining, 3);
        let second = pages.next("pods", &token, Some(2)).unwrap();
        assert_eq!((names(&second), second.revision), (vec!["c", "d"], 7));
        let third = pages.next("pods", &second.next.unwrap().0, None).unwrap();
        assert_eq!(names(&third), ["e"]);
        assert!(third.next.is_none());
        assert_eq!(
            names(&pages.next("pods", &token, Some(9)).unwrap()),
            ["c", "d", "e"]
        );
    }

    #[test]
    fn tokens_of_other_lists_and_old_ones_are_refused() {
        let pages = Pages::default();
        let (token, _) = pages.first("a", 1, entries(&["x", "y"]), 1).next.unwrap();
        assert_eq!(pages.next("b", &token, None).unwrap_err().code, 410);
        assert_eq!(pages.next("a", "nonsense!", None).unwrap_err().code, 400);
        // One that is read stays longer than those that are not.
        for _ in 1..KEPT {
            pages.first("a", 1, entries(&["x", "y"]), 1);
        }
        assert!(pages.next("a", &token, None).is_ok());
        for _ in 0..KEPT {
            pages.first("a", 1, entries(&["x", "y"]), 1);
        }
        assert_eq!(pages.next("a", &token, None).unwrap_err().code, 410);
        let beyond = json!({ "v": "meta.k8s.io/v1", "rv": 1, "start": [KEPT * 2, 3] });
        let beyond = URL_SAFE_NO_PAD.encode(beyond.to_string());
        assert_eq!(pages.next("a", &beyond, None).unwrap_err().code, 410);
    }
}
