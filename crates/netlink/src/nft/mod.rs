//! Tables of nftables: loaded as one transaction, by an encoder of our own.
//!
//! ```text
//! ruleset::Table ── encode ──► batch of messages ── one sendmsg ──► kernel commits all or nothing
//!                                                 ◄── errors by message number, or one acknowledgement
//! ```
//!
//! The kernel works on the batch inside `sendmsg`, so its answers are there
//! when that returns and nothing has to be waited for; our tables take well
//! below a millisecond. A program with tens of thousands of elements belongs
//! on a thread that may block.

pub(crate) mod answer;
mod batch;
mod encode;
mod entrances;
mod expr;
mod intact;
mod known;
mod listing;
pub(crate) mod message;
pub(crate) mod monitor;
mod ports;
mod rule_trace;
mod services;
mod socket;

use sealane_ruleset::{Change, Loaded, Table, TableFamily};

use crate::error::{Error, Result};
use crate::netlink::{Failure, Netlink};
use batch::Batch;

pub use rule_trace::{MetRule, RuleTrace, Sign};
pub(crate) use socket::Socket;

/// As [`Netlink::sync_tables`], in the namespace of the calling thread and without a runtime.
///
/// # Errors
/// When the socket cannot be opened; otherwise as [`Netlink::load_tables`].
pub fn sync_tables(name: &str, desired: &[Table]) -> Result<bool> {
    let socket = Socket::open().map_err(|error| Error::system("open netlink", error))?;
    let observed = socket
        .tables()
        .map_err(|failure| failure.during("list nft tables".into()))?;
    let changes = sealane_ruleset::diff(&observed, name, desired);
    if changes.is_empty() {
        return Ok(false);
    }
    socket
        .commit(batch_of(&changes))
        .map_err(|(object, failure)| failure.during(object))?;
    Ok(true)
}

/// nftables from a thread that may wait, in the namespace in which it was opened.
pub struct Nft(Socket);

impl Nft {
    /// Opens the socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Self> {
        let socket = Socket::open().map_err(|error| Error::system("open netlink", error))?;
        Ok(Self(socket))
    }

    /// As [`Netlink::change_tables`].
    ///
    /// # Errors
    /// As [`Netlink::change_tables`].
    pub fn change(&mut self, changes: &[Change<'_>]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let committed = self.0.commit(batch_of(changes));
        committed.map_err(|(object, failure)| failure.during(object))
    }

    /// Makes the tables called `name` those desired, and loads those again that somebody has edited. Returns whether
    /// anything had to change.
    ///
    /// # Errors
    /// When the kernel does not answer; otherwise as [`Netlink::load_tables`].
    pub fn keep(&mut self, name: &str, desired: &[Table]) -> Result<bool> {
        let listed = self.0.tables();
        let mut observed = listed.map_err(|f| f.during("list nft tables".into()))?;
        for loaded in observed.iter_mut().filter(|loaded| loaded.name == name) {
            let meant = desired.iter().find(|table| table.as_loaded() == *loaded);
            let Some(meant) = meant else { continue };
            let intact = self.0.is_intact(meant);
            let intact = intact.or_else(Failure::unless_absent);
            if !intact.map_err(|f| f.during(format!("list {}", meant.title())))? {
                loaded.comment = None;
            }
        }
        let changes = sealane_ruleset::diff(&observed, name, desired);
        self.change(&changes)?;
        Ok(!changes.is_empty())
    }
}

fn batch_of<'a>(changes: &[Change<'a>]) -> Batch<'a> {
    let mut batch = Batch::new();
    for change in changes {
        match change {
            Change::Load(table) => encode::replace_table(&mut batch, table),
            Change::Delete(table) => encode::delete_table(&mut batch, table.family, &table.name),
            Change::Add(element) => encode::add_element(&mut batch, element),
            Change::Remove(element) => encode::delete_element(&mut batch, element),
        }
    }
    batch
}

impl Netlink {
    /// Puts tables in the place of those with their names, all in one transaction: no packet meets half of it.
    ///
    /// # Errors
    /// Names the object that the kernel refused; nothing has changed then.
    pub async fn load_tables(&self, tables: &[Table]) -> Result<()> {
        let changes: Vec<Change<'_>> = tables.iter().map(Change::Load).collect();
        self.change_tables(&changes).await
    }

    /// As [`Netlink::load_tables`] for one table.
    ///
    /// # Errors
    /// As [`Netlink::load_tables`].
    pub async fn load_table(&self, table: &Table) -> Result<()> {
        self.change_tables(&[Change::Load(table)]).await
    }

    /// Makes the tables called `name` those desired, see [`sealane_ruleset::diff`]. Returns whether anything had to change.
    ///
    /// # Errors
    /// As [`Netlink::load_tables`].
    pub async fn sync_tables(&self, name: &str, desired: &[Table]) -> Result<bool> {
        let observed = self.tables().await?;
        let changes = sealane_ruleset::diff(&observed, name, desired);
        for change in &changes {
            tracing::debug!("{change}{}", self.place);
        }
        if !changes.is_empty() {
            self.change_tables(&changes).await?;
        }
        Ok(!changes.is_empty())
    }

    /// Applies changes in one transaction.
    ///
    /// # Errors
    /// As [`Netlink::load_tables`]; unlike [`Netlink::delete_table`], a table that is to be deleted must be there.
    pub async fn change_tables(&self, changes: &[Change<'_>]) -> Result<()> {
        self.change_tables_now(changes)
    }

    /// As [`Netlink::change_tables`]; the kernel works while the caller waits in any case.
    ///
    /// # Errors
    /// As [`Netlink::change_tables`].
    pub fn change_tables_now(&self, changes: &[Change<'_>]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.commit(batch_of(changes))
            .map_err(|(object, failure)| failure.during(format!("{object}{}", self.place)))
    }

    /// Deletes a table with all that is in it. Returns whether it was there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn delete_table(&self, family: impl Into<TableFamily>, name: &str) -> Result<bool> {
        let family = family.into();
        let mut batch = Batch::new();
        encode::delete_table(&mut batch, family, name);
        match self.commit(batch) {
            Ok(()) => Ok(true),
            Err((object, failure)) => failure.unless_absent().map_err(self.failed(|| object)),
        }
    }

    /// The tables of the families that we know, ours and others', without what is in them.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn tables(&self) -> Result<Vec<Loaded>> {
        self.tables_now()
    }

    /// The keys of a keyed set.
    ///
    /// # Errors
    /// When the kernel does not answer, or has no such set.
    pub fn keys(&self, family: TableFamily, table: &str, set: &str) -> Result<Vec<Vec<u8>>> {
        let answer = self.nft().keys(family, table, set);
        let action = || format!("list set {set} of table {} {table}", family.word());
        answer.map_err(self.failed(action))
    }

    /// The counters of a table by name, and how many packets they have counted.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn counters(&self, family: TableFamily, table: &str) -> Result<Vec<(String, u64)>> {
        let answer = self.nft().counters(family, table);
        let action = || format!("list counters of table {} {table}", family.word());
        answer.map_err(self.failed(action))
    }

    /// As [`Netlink::tables`].
    ///
    /// # Errors
    /// As [`Netlink::tables`].
    pub fn tables_now(&self) -> Result<Vec<Loaded>> {
        let answer = self.nft().tables();
        answer.map_err(self.failed(|| "list nft tables"))
    }

    fn commit(&self, batch: Batch<'_>) -> Result<(), (String, Failure)> {
        self.nft().commit(batch)
    }
}
