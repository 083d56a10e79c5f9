//! Who a container's processes are, looked up in the files of its own image.
//!
//! An image says `USER`, `UID`, `USER:GROUP` or `UID:GID`; a pod may say numbers.
//! Groups that `/etc/group` gives a user are the process's too. The files are
//! read once, when the image's root has become the root and nothing is mounted
//! over it: so a link in them leads nowhere else, and what a container writes
//! into them later changes nobody's identity.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Longest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// Who is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What the image says.
    pub(crate) image: String,
    /// What the pod says.
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) groups: Vec<u32>,
    /// The image's groups do not count.
    pub(crate) strict: bool,
}

/// Who that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct Account<'a> {
    name: &'a str,
    id: u32,
    group: u32,
    home: &'a str,
}

impl Wanted {
    /// Looks it up in `/etc` of the present root.
    pub(super) fn look_up(&self) -> Result<Identity, Failure> {
        self.find(
            &read(Path::new("/etc/passwd")),
            &read(Path::new("/etc/group")),
        )
    }

    fn find(&self, passwd: &str, group: &str) -> Result<Identity, Failure> {
        let (user_word, group_word) = self.image.split_once(':').unwrap_or((&self.image, ""));
        let (user_word, group_word) = match self.user {
            // The pod's user is another one: the image's group is not theirs.
            Some(_) => ("", ""),
            None => (user_word, group_word),
        };
        let wanted = self.user.or_else(|| user_word.parse().ok());
        let account = match wanted {
            Some(id) => accounts(passwd).find(|account| account.id == id),
            None if user_word.is_empty() => accounts(passwd).find(|account| account.id == 0),
            None => Some(
                accounts(passwd)
                    .find(|account| account.name == user_word)
                    .ok_or_else(|| {
                        Failure::new(format!(
                            "unable to find user {user_word}: no matching entries in passwd file"
                        ))
                    })?,
            ),
        };
        let account = account.as_ref();
        let user = wanted.or(account.map(|account| account.id)).unwrap_or(0);
        let named = match group_word {
            "" => None,
            word => Some(group_id(group, word)?),
        };
        let own = account.map_or(0, |account| account.group);
        let primary = self.group.or(named).unwrap_or(own);
        let mut groups = self.groups.clone();
        if let Some(account) = account.filter(|_| !self.strict && named.is_none()) {
            groups.extend(groups_of(group, account.name));
        }
        let mut seen = std::collections::BTreeSet::new();
        groups.retain(|group| seen.insert(*group));
        let home = account.map(|account| account.home);
        Ok(Identity {
            user,
            group: primary,
            groups,
            home: home
                .filter(|home| !home.is_empty())
                .unwrap_or("/")
                .to_owned(),
        })
    }
}

/// passwd(5)
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some(Account {
            name: fields.next()?,
            id: fields.nth(1)?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

/// group(5): name, id, members.
fn group_entries(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?.parse().ok()?;
        Some((name, id, fields.next().unwrap_or_default()))
    })
}

fn group_id(group: &str, word: &str) -> Result<u32, Failure> {
    if let Ok(id) = word.parse() {
        return Ok(id);
    }
    let found = group_entries(group).find(|(name, ..)| *name == word);
    found.map(|(_, id, _)| id).ok_or_else(|| {
        Failure::new(format!(
            "unable to find group {word}: no matching entries in group file"
        ))
    })
}

fn groups_of<'a>(group: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    group_entries(group)
        .filter(move |(.., members)| members.split(',').any(|member| member == user))
        .map(|(_, id, _)| id)
}

/// A file that is none, or cannot be read, has no entries.
fn read(path: &Path) -> String {
    let mut text = Vec::new();
    let opened = OpenOptions::new()
        .read(true)
        // What an image has there may be a pipe, which nobody would ever write to.
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    if let Ok(file) = opened
        && file.metadata().is_ok_and(|file| file.is_file())
    {
        let _ = file.take(MAX_BYTES).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a remark\n\
        web:x:33:33::/var/www:/bin/false\nbroken\nodd:x:40:41\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nlogs:x:4:syslog,web\nstaff:x:50:web,root\n";

    fn told(wanted: &Wanted) -> Result<String, String> {
        let text =
            |who: Identity| format!("{}:{} {:?} {}", who.user, who.group, who.groups, who.home);
        let found = wanted.find(PASSWD, GROUP);
        found.map(text).map_err(|failure| failure.reason)
    }

    fn who(image: &str) -> Result<String, String> {
        told(&Wanted {
            image: image.into(),
            ..Wanted::default()
        })
    }

    #[test]
    fn an_image_names_its_user_in_any_way() {
        for (image, expected) in [
            ("", "0:0 [50] /root"),
            ("0", "0:0 [50] /root"),
            ("web", "33:33 [4, 50] /var/www"),
            ("33", "33:33 [4, 50] /var/www"),
            ("web:logs", "33:4 [] /var/www"),
            ("web:7", "33:7 [] /var/www"),
            ("1000", "1000:0 [] /"),
            ("1000:1000", "1000:1000 [] /"),
            ("odd", "40:41 [] /"),
        ] {
            assert_eq!(who(image), Ok(expected.into()), "{image:?}");
        }
    }

    #[test]
    fn a_pods_numbers_go_before_the_images_words() {
        let numbers = |user, group, groups: &[u32], strict| Wanted {
            image: "web".into(),
            user,
            group,
            groups: groups.to_vec(),
            strict,
        };
        for (wanted, expected) in [
            (
                numbers(Some(33), None, &[], false),
                "33:33 [4, 50] /var/www",
            ),
            (numbers(Some(1), None, &[], false), "1:0 [] /"),
            (numbers(None, Some(9), &[], false), "33:9 [4, 50] /var/www"),
            (
                numbers(None, None, &[7, 4], false),
                "33:33 [7, 4, 50] /var/www",
            ),
            (numbers(None, None, &[7], true), "33:33 [7] /var/www"),
        ] {
            assert_eq!(told(&wanted), Ok(expected.into()), "{wanted:?}");
        }
    }

    #[test]
    fn who_does_not_exist_is_named() {
        assert_eq!(
            who("ghost"),
            Err("unable to find user ghost: no matching entries in passwd file".into())
        );
        assert_eq!(
            who("web:ghosts"),
            Err("unable to find group ghosts: no matching entries in group file".into())
        );
    }
}
