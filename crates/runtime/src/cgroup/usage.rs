//! What a group has taken: processor time and memory.

use std::fs;
use std::io;
use std::path::Path;

use super::counter;
use super::hierarchy::{Hierarchy, Version, mounted};

/// What a group and the groups below it have taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the group was made, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory, the page cache included.
    pub memory_bytes: u64,
    /// Memory without what the kernel would drop first: pages of files that nobody used lately.
    pub working_set_bytes: u64,
}

/// Reads what groups have taken.
#[derive(Debug)]
pub struct Meters {
    hierarchies: Vec<Hierarchy>,
}

impl Meters {
    /// Meters of the hierarchies that this machine mounts.
    ///
    /// # Errors
    /// When the mounts cannot be read.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            hierarchies: mounted()?,
        })
    }

    /// What the group `path` has taken; `None` if there is no such group, or nothing counts.
    pub fn usage(&self, path: &Path) -> Option<Usage> {
        let (memory_bytes, inactive) = self.memory(path)?;
        Some(Usage {
            cpu_nanos: self.cpu_nanos(path)?,
            memory_bytes,
            working_set_bytes: memory_bytes.saturating_sub(inactive),
        })
    }

    /// A v1 controller counts if there is one, since v2 then has only the name of it.
    fn cpu_nanos(&self, path: &Path) -> Option<u64> {
        if let Some(v1) = self.v1("cpuacct") {
            return number(&read(v1, path, "cpuacct.usage")?);
        }
        let text = read(self.v2()?, path, "cpu.stat")?;
        counter(&text, "usage_usec")?.checked_mul(1000)
    }

    /// Memory in use, and the part of it that is cache which nobody used lately.
    fn memory(&self, path: &Path) -> Option<(u64, u64)> {
        let (hierarchy, usage, inactive) = match self.v1("memory") {
            Some(v1) => (v1, "memory.usage_in_bytes", "total_inactive_file"),
            None => (self.v2()?, "memory.current", "inactive_file"),
        };
        let used = number(&read(hierarchy, path, usage)?)?;
        let text = read(hierarchy, path, "memory.stat")?;
        Some((used, counter(&text, inactive).unwrap_or(0)))
    }

    fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.controllers.iter().any(|one| one == controller))
    }

    fn v2(&self) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.version == Version::V2)
    }
}

fn read(hierarchy: &Hierarchy, path: &Path, file: &str) -> Option<String> {
    fs::read_to_string(hierarchy.mount.join(path).join(file)).ok()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn write(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn hierarchy(version: Version, mount: PathBuf, controllers: &[&str]) -> Hierarchy {
        Hierarchy {
            version,
            mount,
            controllers: controllers.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn both_versions_tell_what_a_group_has_taken() {
        let dir = tempfile::tempdir().unwrap();
        let [cpu, memory, unified] = ["cpu", "memory", "unified"].map(|name| dir.path().join(name));
        write(&cpu, "a/b/cpuacct.usage", "1234567\n");
        write(&memory, "a/b/memory.usage_in_bytes", "5000\n");
        write(
            &memory,
            "a/b/memory.stat",
            "inactive_file 1\ntotal_inactive_file 2000\n",
        );
        write(
            &unified,
            "a/b/cpu.stat",
            "usage_usec 700\nuser_usec 600\nsystem_usec 100\n",
        );
        let v2 = hierarchy(Version::V2, unified.clone(), &[]);
        let hybrid = Meters {
            hierarchies: vec![
                hierarchy(Version::V1, cpu, &["cpu", "cpuacct"]),
                hierarchy(Version::V1, memory, &["memory"]),
                v2.clone(),
            ],
        };
        let usage = |cpu_nanos, memory_bytes, working_set_bytes| Usage {
            cpu_nanos,
            memory_bytes,
            working_set_bytes,
        };
        let path = Path::new("a/b");
        assert_eq!(hybrid.usage(path), Some(usage(1_234_567, 5000, 3000)));
        assert_eq!(hybrid.usage(Path::new("a/c")), None);

        let alone = Meters {
            hierarchies: vec![v2],
        };
        assert_eq!(alone.usage(path), None, "nothing counts memory");
        write(&unified, "a/b/memory.current", "4096\n");
        write(&unified, "a/b/memory.stat", "anon 1\ninactive_file 96\n");
        assert_eq!(alone.usage(path), Some(usage(700_000, 4096, 4000)));
    }
}
