//! What EC2 says there is.

use std::{collections::BTreeSet, time::Duration};

use sealane_ec2::{Ec2, Error};
use sealane_net::ec2::{Limits, Observed};

/// How long EC2 may need until all of it knows of a change.
pub const SETTLE: Duration = Duration::from_secs(5);

/// The machine, its type's limits, its VPC: what does not change, or hardly ever.
pub async fn all(ec2: &Ec2) -> Result<Observed, Error> {
    let instance = ec2.instance().await?;
    let limits = match ec2.limits(&instance.kind).await {
        Ok(limits) => limits,
        // Of a type that is new, or without permission: EC2's refusals tell.
        Err(error @ Error::Refused { .. }) => {
            tracing::warn!("{error}; going by what EC2 refuses");
            Limits::default()
        }
        Err(error) => return Err(error),
    };
    let mut observed = Observed {
        limits,
        vpc: ec2.vpc_ranges(&instance.vpc).await?,
        instance,
        ..Observed::default()
    };
    interfaces(ec2, &mut observed).await?;
    observed.interfaces.extend(ec2.loose_interfaces().await?);
    subnets(ec2, &mut observed).await?;
    Ok(observed)
}

/// The interfaces of the machine. Those of ours that are with none stay as they are known.
pub async fn interfaces(ec2: &Ec2, observed: &mut Observed) -> Result<(), Error> {
    let attached = ec2.attached_interfaces().await?;
    let here = |id: &String| attached.iter().any(|interface| interface.id == *id);
    observed
        .interfaces
        .retain(|known| known.ours && known.attachment.is_none() && !here(&known.id));
    observed.interfaces.splice(0..0, attached);
    Ok(())
}

/// How much is free in the subnets.
pub async fn subnets(ec2: &Ec2, observed: &mut Observed) -> Result<(), Error> {
    let ids = observed.interfaces.iter().map(|i| i.subnet.clone());
    let ids: BTreeSet<String> = ids.collect();
    observed.subnets = ec2.subnets(&ids).await?.into_iter().collect();
    Ok(())
}
