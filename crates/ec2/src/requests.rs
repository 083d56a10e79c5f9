//! The requests, as the reference of the EC2 API has them.

use std::collections::BTreeSet;

use sealane_net::Ipv4Net;
use sealane_net::ec2::{Instance, Limits, NetworkInterface, Subnet, Unit};

use crate::answer::{
    Answer, assigned, attachment_of, instance, interface, limits, subnets, vpc_ranges,
};
use crate::signed::Query;
use crate::{Ec2, Error};

/// Says for which machine we made an interface.
const TAG: &str = "sealane.io/instance";

impl Ec2 {
    /// This machine. DescribeInstances.
    ///
    /// # Errors
    /// As all of them: [`Error::Refused`], [`Error::Unreachable`], [`Error::Credentials`], [`Error::Answer`].
    pub async fn instance(&self) -> Result<Instance, Error> {
        let query = Query::new("DescribeInstances").with("InstanceId.1", &self.instance);
        self.answer(query, instance).await
    }

    /// What a type of machine allows. DescribeInstanceTypes.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn limits(&self, kind: &str) -> Result<Limits, Error> {
        let query = Query::new("DescribeInstanceTypes").with("InstanceType.1", kind);
        self.answer(query, limits).await
    }

    /// The interfaces that are with this machine. DescribeNetworkInterfaces.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn attached_interfaces(&self) -> Result<Vec<NetworkInterface>, Error> {
        self.interfaces_with("attachment.instance-id").await
    }

    /// Those that we made for this machine and that are with none. DescribeNetworkInterfaces.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn loose_interfaces(&self) -> Result<Vec<NetworkInterface>, Error> {
        let mut ours = self.interfaces_with(&format!("tag:{TAG}")).await?;
        ours.retain(|interface| interface.attachment.is_none());
        Ok(ours)
    }

    async fn interfaces_with(&self, filter: &str) -> Result<Vec<NetworkInterface>, Error> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut query = Query::new("DescribeNetworkInterfaces")
                .with("Filter.1.Name", filter)
                .with("Filter.1.Value.1", &self.instance);
            if let Some(token) = &next {
                query = query.with("NextToken", token);
            }
            let read = |answer: &Answer<'_, '_>| {
                let items = answer.items("networkInterfaceSet");
                let page: Result<Vec<_>, _> = items
                    .map(|item| interface(&item, TAG, &self.instance))
                    .collect();
                Ok((page?, answer.text("nextToken").map(str::to_owned)))
            };
            let (page, token) = self.answer(query, read).await?;
            found.extend(page);
            match token.filter(|token| !token.is_empty()) {
                Some(token) => next = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Subnets by id. DescribeSubnets.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn subnets(&self, ids: &BTreeSet<String>) -> Result<Vec<(String, Subnet)>, Error> {
        let query = Query::new("DescribeSubnets").with_each("SubnetId", ids);
        self.answer(query, subnets).await
    }

    /// The ranges of a VPC. DescribeVpcs.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn vpc_ranges(&self, vpc: &str) -> Result<Vec<Ipv4Net>, Error> {
        let query = Query::new("DescribeVpcs").with("VpcId.1", vpc);
        self.answer(query, vpc_ranges).await
    }

    /// More for an interface; what it got. AssignPrivateIpAddresses.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn assign(
        &self,
        interface: &str,
        unit: Unit,
        count: usize,
    ) -> Result<Vec<Ipv4Net>, Error> {
        let query = Query::new("AssignPrivateIpAddresses")
            .with("NetworkInterfaceId", interface)
            .with(count_key(unit), count);
        self.answer(query, assigned).await
    }

    /// Less for an interface. UnassignPrivateIpAddresses.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn unassign(&self, interface: &str, ranges: &[Ipv4Net]) -> Result<(), Error> {
        let (single, prefixes): (Vec<&Ipv4Net>, Vec<_>) =
            ranges.iter().partition(|range| range.prefix_len() == 32);
        let query = Query::new("UnassignPrivateIpAddresses")
            .with("NetworkInterfaceId", interface)
            .with_each("PrivateIpAddress", single.iter().map(|range| range.addr()))
            .with_each("Ipv4Prefix", prefixes);
        self.ask(query).await.map(drop)
    }

    /// A new interface, which is with no machine yet. CreateNetworkInterface.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn create_interface(
        &self,
        subnet: &str,
        groups: &[String],
        unit: Unit,
        count: usize,
    ) -> Result<NetworkInterface, Error> {
        let description = format!("pods of {}, made by sealane agent", self.instance);
        let query = Query::new("CreateNetworkInterface")
            .with("SubnetId", subnet)
            .with("Description", description)
            .with_each("SecurityGroupId", groups)
            .with(count_key(unit), count)
            .with("TagSpecification.1.ResourceType", "network-interface")
            .with("TagSpecification.1.Tag.1.Key", TAG)
            .with("TagSpecification.1.Tag.1.Value", &self.instance);
        let read = |answer: &Answer<'_, '_>| {
            let made = answer.required("networkInterface")?;
            interface(&made, TAG, &self.instance)
        };
        let made = self.answer(query, read).await?;
        // Whether or not the answer has the tags.
        Ok(NetworkInterface { ours: true, ..made })
    }

    /// Brings an interface to this machine; the attachment's id. AttachNetworkInterface.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn attach(&self, interface: &str, device: u8) -> Result<String, Error> {
        let query = Query::new("AttachNetworkInterface")
            .with("NetworkInterfaceId", interface)
            .with("InstanceId", &self.instance)
            .with("DeviceIndex", device);
        self.answer(query, attachment_of).await
    }

    /// Lets an interface be deleted with its machine. ModifyNetworkInterfaceAttribute.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn end_with_instance(&self, interface: &str, attachment: &str) -> Result<(), Error> {
        let query = Query::new("ModifyNetworkInterfaceAttribute")
            .with("NetworkInterfaceId", interface)
            .with("Attachment.AttachmentId", attachment)
            .with("Attachment.DeleteOnTermination", true);
        self.ask(query).await.map(drop)
    }

    /// Takes an interface from its machine. DetachNetworkInterface.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn detach(&self, attachment: &str) -> Result<(), Error> {
        let query = Query::new("DetachNetworkInterface").with("AttachmentId", attachment);
        self.ask(query).await.map(drop)
    }

    /// Deletes an interface that is with no machine. DeleteNetworkInterface.
    ///
    /// # Errors
    /// As [`Ec2::instance`].
    pub async fn delete_interface(&self, interface: &str) -> Result<(), Error> {
        let query = Query::new("DeleteNetworkInterface").with("NetworkInterfaceId", interface);
        self.ask(query).await.map(drop)
    }

    async fn answer<T>(
        &self,
        query: Query,
        read: impl FnOnce(&Answer<'_, '_>) -> Result<T, String>,
    ) -> Result<T, Error> {
        let action = query.action;
        let text = self.ask(query).await?;
        Answer::read(&text, read).map_err(|cause| Error::Answer { action, cause })
    }
}

fn count_key(unit: Unit) -> &'static str {
    match unit {
        Unit::Address => "SecondaryPrivateIpAddressCount",
        Unit::Prefix => "Ipv4PrefixCount",
    }
}
