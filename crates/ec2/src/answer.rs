//! Answers of EC2, which are XML, as words.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;

use roxmltree::{Document, Node};
use sealane_net::Ipv4Net;
use sealane_net::ec2::{Attachment, Instance, Limits, NetworkInterface, Subnet};

use crate::Error;

/// One element, read by the names of those in it.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a, 'i>(Node<'a, 'i>);

impl<'a, 'i> Answer<'a, 'i> {
    /// Reads a whole answer.
    pub fn read<T>(
        text: &str,
        read: impl FnOnce(&Answer<'_, '_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let document = Document::parse(text).map_err(|error| error.to_string())?;
        read(&Answer(document.root_element()))
    }

    /// What is at a path, names with `/` between.
    pub fn at(&self, path: &str) -> Option<Answer<'a, 'i>> {
        path.split('/').try_fold(*self, |answer, name| {
            let mut children = answer.0.children();
            let found = children.find(|child| child.tag_name().name() == name);
            found.map(Answer)
        })
    }

    pub fn required(&self, path: &str) -> Result<Answer<'a, 'i>, String> {
        let missing = || format!("{path} is missing in {}", self.0.tag_name().name());
        self.at(path).ok_or_else(missing)
    }

    pub fn text(&self, path: &str) -> Option<&'a str> {
        self.at(path)?.0.text().map(str::trim)
    }

    /// A value of a kind that its text says.
    pub fn value<T: FromStr>(&self, path: &str) -> Result<T, String> {
        let text = self.required(path)?.0.text().unwrap_or_default().trim();
        let wrong = || format!("{path} is {text:?}");
        text.parse().map_err(|_| wrong())
    }

    /// The items of a list; none when it is not there.
    pub fn items(&self, path: &str) -> impl Iterator<Item = Answer<'a, 'i>> {
        let list = self.at(path).map(|list| list.0.children());
        let items = list.into_iter().flatten().filter(Node::is_element);
        items.map(Answer)
    }
}

/// Why EC2 has refused; the text may be of a proxy that knows nothing of EC2.
pub(crate) fn refusal(action: &'static str, status: u16, text: &str) -> Error {
    let read = Answer::read(text, |answer| {
        let error = answer.required("Errors/Error")?;
        Ok((
            error.value::<String>("Code")?,
            error.text("Message").unwrap_or_default().to_owned(),
        ))
    });
    let (code, message) = read.unwrap_or_else(|_| {
        let start: String = text.chars().take(100).collect();
        (format!("HTTP {status}"), start)
    });
    Error::Refused {
        action,
        code,
        message,
    }
}

pub(crate) fn instance(answer: &Answer<'_, '_>) -> Result<Instance, String> {
    let reservation = answer.items("reservationSet").next();
    let reservation = reservation.ok_or("there is no such instance")?;
    let item = reservation.items("instancesSet").next();
    let item = item.ok_or("there is no such instance")?;
    Ok(Instance {
        id: item.value("instanceId")?,
        kind: item.value("instanceType")?,
        vpc: item.value("vpcId")?,
    })
}

pub(crate) fn limits(answer: &Answer<'_, '_>) -> Result<Limits, String> {
    let item = answer.items("instanceTypeSet").next();
    let item = item.ok_or("there is no such type")?;
    Ok(Limits {
        interfaces: item.value("networkInfo/maximumNetworkInterfaces")?,
        addresses: item.value("networkInfo/ipv4AddressesPerInterface")?,
    })
}

pub(crate) fn subnets(answer: &Answer<'_, '_>) -> Result<Vec<(String, Subnet)>, String> {
    let items = answer.items("subnetSet").map(|item| {
        let subnet = Subnet {
            range: item.value("cidrBlock")?,
            free: item.value::<i64>("availableIpAddressCount")?.max(0) as usize,
        };
        Ok((item.value("subnetId")?, subnet))
    });
    items.collect()
}

pub(crate) fn vpc_ranges(answer: &Answer<'_, '_>) -> Result<Vec<Ipv4Net>, String> {
    let vpc = answer
        .items("vpcSet")
        .next()
        .ok_or("there is no such VPC")?;
    let first = vpc.value("cidrBlock")?;
    let associated = vpc.items("cidrBlockAssociationSet").filter(|item| {
        item.text("cidrBlockState/state")
            .is_none_or(|state| state == "associated")
    });
    let associated = associated.map(|item| item.value("cidrBlock"));
    let all: Result<BTreeSet<Ipv4Net>, String> = associated.chain([Ok(first)]).collect();
    Ok(all?.into_iter().collect())
}

/// An interface; `ours` when its tag says that it was made for `instance`.
pub(crate) fn interface(
    item: &Answer<'_, '_>,
    tag: &str,
    instance: &str,
) -> Result<NetworkInterface, String> {
    let is_ours = |item: Answer<'_, '_>| {
        item.text("key") == Some(tag) && item.text("value") == Some(instance)
    };
    Ok(NetworkInterface {
        id: item.value("networkInterfaceId")?,
        subnet: item.value("subnetId")?,
        mac: item.value("macAddress")?,
        primary: item.value("privateIpAddress")?,
        ranges: ranges(item)?,
        groups: item
            .items("groupSet")
            .map(|group| group.value("groupId"))
            .collect::<Result<_, _>>()?,
        ours: item.items("tagSet").any(is_ours),
        attachment: attachment(item)?,
    })
}

fn ranges(item: &Answer<'_, '_>) -> Result<BTreeSet<Ipv4Net>, String> {
    let secondary = item
        .items("privateIpAddressesSet")
        .filter(|address| address.text("primary") != Some("true"));
    let secondary = secondary.map(|address| single(&address));
    let prefixes = item
        .items("ipv4PrefixSet")
        .map(|item| item.value("ipv4Prefix"));
    secondary.chain(prefixes).collect()
}

fn single(address: &Answer<'_, '_>) -> Result<Ipv4Net, String> {
    address
        .value::<Ipv4Addr>("privateIpAddress")
        .map(Ipv4Net::from)
}

fn attachment(item: &Answer<'_, '_>) -> Result<Option<Attachment>, String> {
    let Some(found) = item.at("attachment") else {
        return Ok(None);
    };
    // While it is being taken away, it is of no use and still counts at EC2.
    if found.text("attachmentId").is_none_or(str::is_empty) {
        return Ok(None);
    }
    Ok(Some(Attachment {
        id: found.value("attachmentId")?,
        device: found.value("deviceIndex")?,
        ends_with_instance: found.text("deleteOnTermination") == Some("true"),
    }))
}

pub(crate) fn assigned(answer: &Answer<'_, '_>) -> Result<Vec<Ipv4Net>, String> {
    let single = answer
        .items("assignedPrivateIpAddressesSet")
        .map(|item| single(&item));
    let prefixes = answer
        .items("assignedIpv4PrefixSet")
        .map(|item| item.value("ipv4Prefix"));
    single.chain(prefixes).collect()
}

pub(crate) fn attachment_of(answer: &Answer<'_, '_>) -> Result<String, String> {
    answer.value("attachmentId")
}

#[cfg(test)]
mod tests;
