//! The chains by which packets come into a table of Services: the last that it gets, and the first that it loses.
//!
//! A packet keeps the rules that it has begun with, but each of its lookups finds what a map or set holds at that
//! moment. If a transaction fills or deletes a table that packets are in, one of them may find that no frontend has
//! its port just before, and that its address is a cluster IP just after: it would be refused. So a table is filled
//! before a packet can come in, and emptied when none is in it any more.

use std::time::Duration;

use sealane_ruleset::{Chain, Loaded, Table};

use super::answer::{find, text, u32_at};
use super::batch::Batch;
use super::encode::{
    self, NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE,
    NFTA_HOOK_HOOKNUM,
};
use super::intact::body;
use super::socket::Socket;
use crate::error::Result;
use crate::netlink::{Failure, Netlink};

impl Netlink {
    /// Lets packets into a table that [`Netlink::replace_services`] has made.
    ///
    /// # Errors
    /// Names what the kernel refused; nothing has changed then.
    pub fn open_services(&self, table: &Table) -> Result<()> {
        let mut batch = Batch::new();
        let entrances = table.chains.iter().filter(|chain| chain.is_entrance());
        encode::add_chains(&mut batch, table, entrances);
        self.commit_services(batch)
    }

    /// Takes away by what packets come into a table, whoever has made it. Those that are in it go on.
    ///
    /// # Errors
    /// Names what the kernel refused; nothing has changed then.
    pub fn close_services(&self, table: &Loaded) -> Result<()> {
        let listed = self.nft().entrances(table);
        let action = || format!("list chains of {} {}", table.family.word(), table.name);
        let entrances = listed.map_err(self.failed(action))?;
        if entrances.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        encode::delete_chains(&mut batch, table, &entrances);
        self.commit_services(batch)
    }

    /// Waits until no packet is under way any more that has met the rules before the last transaction.
    pub fn await_packets(&self) {
        /// Longer than a packet is in the rules, unless its processor is taken away.
        const OTHERWISE: Duration = Duration::from_millis(20);
        /// `MEMBARRIER_CMD_GLOBAL`: waits for a grace period of RCU, under which packets meet rules.
        const GLOBAL: nix::libc::c_int = 1;
        // SAFETY: takes numbers and touches no memory.
        let done = unsafe { nix::libc::syscall(nix::libc::SYS_membarrier, GLOBAL, 0, 0) };
        if done != 0 {
            std::thread::sleep(OTHERWISE);
        }
    }
}

impl Socket {
    /// The names of a table's chains that packets meet first.
    fn entrances(&self, table: &Loaded) -> std::result::Result<Vec<String>, Failure> {
        const PREROUTING: u32 = 0;
        const OUTPUT: u32 = 3;
        let mut found = Vec::new();
        let of_table = |m: &mut super::message::Messages| m.put_str(NFTA_CHAIN_TABLE, &table.name);
        self.each(NFT_MSG_GETCHAIN, table.family, of_table, |message| {
            let Some(body) = body(message, NFT_MSG_NEWCHAIN) else {
                return;
            };
            let is_of_table = find(body, NFTA_CHAIN_TABLE).map(text).as_ref() == Some(&table.name);
            let hook = find(body, NFTA_CHAIN_HOOK).and_then(|hook| find(hook, NFTA_HOOK_HOOKNUM));
            let hook = hook.and_then(|number| u32_at(number, 0)).map(u32::from_be);
            if is_of_table && matches!(hook, Some(PREROUTING | OUTPUT)) {
                found.extend(find(body, NFTA_CHAIN_NAME).map(text));
            }
        })?;
        Ok(found)
    }
}

/// The chains that a table has before packets may come in.
pub(super) fn inner(table: &Table) -> impl Iterator<Item = &Chain> + Clone {
    table.chains.iter().filter(|chain| !chain.is_entrance())
}
