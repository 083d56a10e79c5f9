//! Who has which address, in a file, under a lock.
//!
//! The file is written beside and renamed, so that a kill at any instruction
//! leaves the old one or the new one. It is not synced: a crash of the machine
//! ends every container, and a file of another boot only tells where to go on.
//! A file that is torn is set aside.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use sealane_ipam::{ClaimError, Pool};
use sealane_net::IpNet;
use sealane_netlink::{Batch, Direct};
use serde::{Deserialize, Serialize};

use super::{conf::BridgeConf, kernel, near_end};
use crate::types::{CniError, code};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The addresses of one attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
    pub addresses: Vec<IpNet>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    /// Links do not survive a boot, so leases of another one have none.
    #[serde(rename = "bootID")]
    boot_id: String,
    /// The address last given out of each subnet, so that reuse stays late.
    last: Vec<IpAddr>,
    leases: Vec<Lease>,
}

/// Opens a network's leases.
pub struct Leases;

/// A network's leases while this process alone may change them.
pub struct Locked {
    path: PathBuf,
    subnets: Vec<IpNet>,
    content: Content,
    _lock: Flock<File>,
}

impl Leases {
    /// Waits for the lock and reads the file.
    ///
    /// # Errors
    /// Code 5 when the folder cannot be made or read.
    pub fn open(conf: &BridgeConf, network: &str) -> Result<Locked, CniError> {
        let dir = conf.data_dir.join(network);
        let path = dir.join("leases.json");
        let lock = lock(&dir).map_err(|error| failed("lock", &path, &error))?;
        let content = read(&path).map_err(|error| failed("read", &path, &error))?;
        Ok(Locked {
            path,
            subnets: conf.subnets.clone(),
            content,
            _lock: lock,
        })
    }
}

fn lock(dir: &Path) -> io::Result<Flock<File>> {
    fs::create_dir_all(dir)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("lock"))?;
    Ok(Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?)
}

fn read(path: &Path) -> io::Result<Content> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
        Err(error) => return Err(error),
    };
    let Ok(mut content) = serde_json::from_slice::<Content>(&text) else {
        fs::rename(path, path.with_extension("json.unreadable"))?;
        return Ok(Content::default());
    };
    if content.boot_id != boot_id() {
        content.leases.clear();
    }
    Ok(content)
}

fn boot_id() -> String {
    let id = fs::read_to_string(BOOT_ID).unwrap_or_default();
    id.trim().to_owned()
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> CniError {
    CniError::new(
        code::IO_FAILURE,
        format!("{verb} leases in {}: {error}", path.display()),
    )
    .with_details(
        "is the disk full or read-only? The configuration's dataDir chooses another folder",
    )
}

impl Locked {
    pub fn all(&self) -> &[Lease] {
        &self.content.leases
    }

    pub fn get(&self, container_id: &str, ifname: &str) -> Option<&Lease> {
        let mut all = self.content.leases.iter();
        all.find(|lease| lease.container_id == container_id && lease.ifname == ifname)
    }

    /// Releases what has no link: its container went without DEL, or an ADD was killed.
    ///
    /// Nobody else is between lease and link, since whoever is holds the lock.
    pub fn drop_leaked(&mut self, node: &mut Direct) -> Result<(), CniError> {
        let mut batch = Batch::new();
        for lease in &self.content.leases {
            batch.link(&near_end(&lease.container_id, &lease.ifname));
        }
        let found = node.run(batch).map_err(kernel)?;
        let mut gone = found
            .into_iter()
            .map(|link| matches!(link, Err(error) if error.is_absent()));
        let before = self.content.leases.len();
        self.content
            .leases
            .retain(|_| !gone.next().unwrap_or(false));
        if self.content.leases.len() < before {
            self.write()?;
        }
        Ok(())
    }

    /// Leases an address of each subnet, those that were asked for where they are free.
    ///
    /// # Errors
    /// Code 101 when a subnet is used up, 7 or 11 for an address that cannot be had, 5 when the file cannot be written.
    pub fn lease(
        &mut self,
        container_id: &str,
        ifname: &str,
        asked: &[IpAddr],
    ) -> Result<Lease, CniError> {
        let outside = asked
            .iter()
            .find(|ip| !self.subnets.iter().any(|subnet| subnet.contains(*ip)));
        if let Some(ip) = outside {
            return Err(CniError::new(
                code::INVALID_CONFIG,
                format!("lease address {ip}: not in {}", shown(&self.subnets)),
            ));
        }
        let mut addresses = Vec::new();
        for subnet in &self.subnets {
            let mut pool = self.pool(*subnet)?;
            let address = match asked.iter().find(|ip| subnet.contains(*ip)) {
                Some(ip) => pool.claim(*ip).map(|()| *ip).map_err(|e| unclaimed(&e))?,
                None => pool
                    .allocate()
                    .map_err(|error| used_up(&error.to_string()))?,
            };
            addresses.push(IpNet::new_assert(address, subnet.prefix_len()));
        }
        if asked.is_empty() {
            self.content.last = addresses.iter().map(IpNet::addr).collect();
        }
        let lease = Lease {
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
            addresses,
        };
        self.content.leases.push(lease.clone());
        self.write()?;
        Ok(lease)
    }

    /// Ends a lease; an absent one is success.
    ///
    /// # Errors
    /// Code 5 when the file cannot be written.
    pub fn release(&mut self, container_id: &str, ifname: &str) -> Result<(), CniError> {
        let before = self.content.leases.len();
        self.content
            .leases
            .retain(|lease| lease.container_id != container_id || lease.ifname != ifname);
        if self.content.leases.len() == before {
            return Ok(());
        }
        self.write()
    }

    /// Whether another container could be added.
    ///
    /// # Errors
    /// Code 101 with the subnet that is used up.
    pub fn room(&self) -> Result<(), CniError> {
        for subnet in &self.subnets {
            let mut pool = self.pool(*subnet)?;
            pool.allocate()
                .map_err(|error| used_up(&error.to_string()))?;
        }
        Ok(())
    }

    fn pool(&self, subnet: IpNet) -> Result<Pool, CniError> {
        let leases = self.content.leases.iter();
        let taken = leases.flat_map(|lease| lease.addresses.iter().map(IpNet::addr));
        let pool = Pool::new(subnet, taken)
            .map_err(|error| CniError::new(code::INVALID_CONFIG, error.to_string()))?;
        let last = self.content.last.iter().find(|last| subnet.contains(*last));
        Ok(match last {
            Some(last) => pool.resumed_after(*last),
            None => pool,
        })
    }

    fn write(&mut self) -> Result<(), CniError> {
        self.content.boot_id = boot_id();
        let text = serde_json::to_vec_pretty(&self.content).expect("leases have only text keys");
        let beside = self.path.with_extension("json.new");
        let write = || -> io::Result<()> {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(&text)?;
            fs::rename(&beside, &self.path)
        };
        write().map_err(|error| failed("write", &self.path, &error))
    }
}

fn shown(subnets: &[IpNet]) -> String {
    let all: Vec<String> = subnets.iter().map(ToString::to_string).collect();
    all.join(" and ")
}

fn used_up(why: &str) -> CniError {
    CniError::new(code::ADDRESSES_USED_UP, why)
        .with_details("remove containers of this network, or give it a larger subnet under another name and bridge")
}

fn unclaimed(error: &ClaimError) -> CniError {
    match error {
        ClaimError::Leased { .. } => {
            CniError::new(code::TRY_AGAIN_LATER, format!("{error}; try again later"))
                .with_details("it is free when that container's network has been taken away")
        }
        _ => CniError::new(code::INVALID_CONFIG, error.to_string())
            .with_details("ask for another address, or for none"),
    }
}
