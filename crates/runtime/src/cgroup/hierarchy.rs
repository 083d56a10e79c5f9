//! Which hierarchies this machine mounts.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The v1 controllers that we count or limit with.
const USED: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];

/// The interface of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    pub(crate) mount: PathBuf,
    /// The v1 controllers of it; empty for v2, where each directory has its own.
    pub(crate) controllers: Vec<String>,
}

/// Every hierarchy that we use, as this process sees it.
pub(crate) fn mounted() -> io::Result<Vec<Hierarchy>> {
    Ok(parse(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// Reads proc_pid_mountinfo(5). A hierarchy that is mounted twice counts once.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((device, hierarchy)) = parse_line(line) else {
            continue;
        };
        if !seen.contains(&device) {
            seen.push(device);
            found.push(hierarchy);
        }
    }
    found
}

fn parse_line(line: &str) -> Option<(&str, Hierarchy)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let device = mount.next()?;
    let point = PathBuf::from(unescape(mount.nth(1)?));
    let mut filesystem = filesystem.split(' ');
    let kind = filesystem.next()?;
    let options = filesystem.nth(1)?;
    let hierarchy = match kind {
        "cgroup2" => Hierarchy {
            version: Version::V2,
            mount: point,
            controllers: Vec::new(),
        },
        "cgroup" => Hierarchy {
            version: Version::V1,
            mount: point,
            controllers: used(options)?,
        },
        _ => return None,
    };
    Some((device, hierarchy))
}

/// All controllers of a v1 hierarchy, if one of them is of use.
fn used(options: &str) -> Option<Vec<String>> {
    let all = options.split(',');
    let known: Vec<String> = all.filter(|o| USED.contains(o)).map(String::from).collect();
    (!known.is_empty()).then_some(known)
}

/// Undoes the octal escapes of space, tab, newline and backslash.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(mount: &str, controllers: &[&str]) -> Hierarchy {
        Hierarchy {
            version: Version::V1,
            mount: mount.into(),
            controllers: controllers.iter().map(ToString::to_string).collect(),
        }
    }

    fn v2(mount: &str) -> Hierarchy {
        Hierarchy {
            version: Version::V2,
            mount: mount.into(),
            controllers: vec![],
        }
    }

    #[test]
    fn hybrid_has_v1_controllers_and_v2() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:32 / /mnt/a\\040copy rw,relatime - cgroup cgroup rw,memory
";
        assert_eq!(
            parse(text),
            [
                v1("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]),
                v1("/sys/fs/cgroup/memory", &["memory"]),
                v2("/sys/fs/cgroup/unified"),
            ]
        );
    }

    #[test]
    fn unified_is_one() {
        let text = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        assert_eq!(parse(text), [v2("/sys/fs/cgroup")]);
    }
}
