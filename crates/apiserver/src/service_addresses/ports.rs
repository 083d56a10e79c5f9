//! The node ports of one Service: those that it asks for, those that it gets.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    numbers::Refused,
    pools::Pools,
    spec::{needs_health_check, needs_node_port, node_ports, port_number, ports},
};
use crate::{check::Findings, object::elements_mut, options::PortRange, status::ApiError};

/// One Service's ask for ports.
pub struct Asked<'a> {
    pub pools: &'a mut Pools,
    pub range: &'a PortRange,
    /// What was taken for it.
    pub taken: &'a mut Vec<u16>,
    pub findings: &'a mut Findings,
}

impl Asked<'_> {
    /// A new Service: the same port in two protocols is the same node port.
    pub fn first(&mut self, spec: &mut Value) -> Result<(), ApiError> {
        let wanted = needs_node_port(spec);
        let mut asked_for = BTreeMap::new();
        for port in ports(spec).iter().rev() {
            if let Some(number) = port_number(&port["nodePort"]) {
                asked_for.insert(port["port"].as_u64(), number);
            }
        }
        let mut given: BTreeMap<Option<u64>, u16> = BTreeMap::new();
        for (index, port) in elements_mut(spec, "ports").enumerate() {
            let (number, own) = (port["port"].as_u64(), port_number(&port["nodePort"]));
            if own.is_none() && !wanted {
                continue;
            }
            let node_port = match (given.get(&number), own, asked_for.get(&number)) {
                (Some(shared), None, _) => *shared,
                (Some(shared), Some(own), _) if own == *shared => own,
                (Some(_), Some(own), _) | (None, _, Some(&own)) => {
                    self.take(index, own);
                    own
                }
                (None, _, None) => self.any()?,
            };
            given.entry(number).or_insert(node_port);
            port["nodePort"] = node_port.into();
        }
        Ok(())
    }

    /// A Service that is changed: what it has it keeps, what it has not it gets.
    pub fn again(&mut self, spec: &mut Value, old: &Value) -> Result<(), ApiError> {
        let wanted = needs_node_port(spec);
        let had = node_ports(old);
        for (index, port) in elements_mut(spec, "ports").enumerate() {
            match port_number(&port["nodePort"]) {
                None if wanted => port["nodePort"] = self.any()?.into(),
                None => {}
                Some(own) if had.contains(&own) || self.taken.contains(&own) => {}
                Some(own) => self.take(index, own),
            }
        }
        Ok(())
    }

    /// The port at which nodes say whether they have endpoints.
    pub fn health_check(&mut self, spec: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        if !needs_health_check(spec) {
            return Ok(());
        }
        let field = "healthCheckNodePort";
        let (is, was) = (
            port_number(&spec[field]),
            old.filter(|old| needs_health_check(old))
                .and_then(|old| port_number(&old[field])),
        );
        match (is, was) {
            (Some(is), Some(was)) if is != was => {
                let why = "field is immutable";
                self.findings
                    .invalid("spec.healthCheckNodePort", &json!(is), why);
            }
            (Some(_), Some(_)) => {}
            (Some(is), None) => {
                let refused = self.pools.take_port(is).err();
                if let Some(refused) = refused {
                    let why = self.words(&refused);
                    return Err(ApiError::internal(format!(
                        "failed to allocate requested HealthCheck NodePort {is}: {why}"
                    )));
                }
                self.taken.push(is);
            }
            (None, _) => {
                let port = self.pools.hand_out_port().ok_or_else(|| {
                    ApiError::internal("failed to allocate a HealthCheck NodePort 0: range is full")
                })?;
                self.taken.push(port);
                spec[field] = port.into();
            }
        }
        Ok(())
    }

    fn any(&mut self) -> Result<u16, ApiError> {
        let port = self
            .pools
            .hand_out_port()
            .ok_or_else(|| ApiError::internal("failed to allocate a nodePort: range is full"))?;
        self.taken.push(port);
        Ok(port)
    }

    fn take(&mut self, index: usize, port: u16) {
        match self.pools.take_port(port) {
            Ok(()) => self.taken.push(port),
            Err(refused) => {
                let field = format!("spec.ports[{index}].nodePort");
                let why = self.words(&refused);
                self.findings.invalid(field, &json!(port), why);
            }
        }
    }

    fn words(&self, refused: &Refused) -> String {
        match refused {
            Refused::Taken => "provided port is already allocated".into(),
            Refused::Outside => {
                let (first, last) = (self.range.start(), self.range.end());
                format!(
                    "provided port is not in the valid range. The range of valid ports is \
                     {first}-{last}"
                )
            }
        }
    }
}
