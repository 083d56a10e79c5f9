//! Carrying out: each answer changes what is known.

use sealane_cloud::Action;
use sealane_ec2::{Ec2, Error};
use sealane_net::Ipv4Net;
use sealane_net::ec2::{Attachment, Observed, size};

/// Asks EC2 for one action and takes up its answer.
pub async fn carry_out(ec2: &Ec2, observed: &mut Observed, action: &Action) -> Result<(), Error> {
    match action {
        Action::Assign {
            interface,
            unit,
            count,
        } => {
            let given = ec2.assign(interface, *unit, *count).await?;
            given_to(observed, interface, given);
        }
        Action::Release { interface, ranges } => {
            ec2.unassign(interface, ranges).await?;
            if let Some(interface) = observed.interface_mut(interface) {
                interface.ranges.retain(|range| !ranges.contains(range));
            }
        }
        Action::Create {
            subnet,
            groups,
            unit,
            count,
        } => {
            let made = ec2.create_interface(subnet, groups, *unit, *count).await?;
            let taken = made.size() + 1;
            observed.interfaces.push(made);
            use_up(observed, subnet, taken);
        }
        Action::Attach { interface, device } => {
            let id = ec2.attach(interface, *device).await?;
            if let Some(interface) = observed.interface_mut(interface) {
                interface.attachment = Some(Attachment {
                    id,
                    device: *device,
                    ends_with_instance: false,
                });
            }
        }
        Action::EndWithInstance {
            interface,
            attachment,
        } => {
            ec2.end_with_instance(interface, attachment).await?;
            let interface = observed.interface_mut(interface);
            if let Some(attachment) = interface.and_then(|i| i.attachment.as_mut()) {
                attachment.ends_with_instance = true;
            }
        }
        Action::Detach {
            interface,
            attachment,
            ..
        } => {
            ec2.detach(attachment).await?;
            if let Some(interface) = observed.interface_mut(interface) {
                interface.attachment = None;
            }
        }
        Action::Delete { interface } => {
            ec2.delete_interface(interface).await?;
            observed.interfaces.retain(|known| known.id != *interface);
        }
    }
    Ok(())
}

fn given_to(observed: &mut Observed, id: &str, given: Vec<Ipv4Net>) {
    let taken = given.iter().map(size).sum();
    let Some(interface) = observed.interface_mut(id) else {
        return;
    };
    interface.ranges.extend(given);
    let subnet = interface.subnet.clone();
    use_up(observed, &subnet, taken);
}

fn use_up(observed: &mut Observed, subnet: &str, taken: usize) {
    if let Some(subnet) = observed.subnets.get_mut(subnet) {
        subnet.free = subnet.free.saturating_sub(taken);
    }
}

/// The subnet that an action takes addresses of.
pub fn subnet_of<'a>(observed: &'a Observed, action: &'a Action) -> &'a str {
    match action {
        Action::Assign { interface, .. } => {
            let mut interfaces = observed.interfaces.iter();
            let found = interfaces.find(|known| known.id == *interface);
            found.map_or("", |known| &known.subnet)
        }
        Action::Create { subnet, .. } => subnet,
        _ => "",
    }
}

/// What EC2 calls an action, for a metric.
pub fn request_of(action: &Action) -> &'static str {
    match action {
        Action::Assign { .. } => "AssignPrivateIpAddresses",
        Action::Release { .. } => "UnassignPrivateIpAddresses",
        Action::Create { .. } => "CreateNetworkInterface",
        Action::Attach { .. } => "AttachNetworkInterface",
        Action::EndWithInstance { .. } => "ModifyNetworkInterfaceAttribute",
        Action::Detach { .. } => "DetachNetworkInterface",
        Action::Delete { .. } => "DeleteNetworkInterface",
    }
}
