//! What was found, as records of a reply.

use std::net::IpAddr;

use sealane_message::{Age, Answer, Data, Full, Name, Question, Rcode, Section, Soa, Writer};

use crate::hosts::{Hosts, HostsFound};
use crate::rewrite::Back;
use crate::template::TemplateAnswer;

impl Hosts {
    /// Writes what was found for a question. Nothing is written for [`HostsFound::Pass`].
    ///
    /// # Errors
    ///
    /// Some did not fit; the reply says so.
    pub fn write(
        &self,
        question: &Question,
        found: &HostsFound<'_>,
        writer: &mut Writer<'_>,
    ) -> Result<(), Full> {
        let owner = &question.name;
        match found {
            HostsFound::Pass => return Ok(()),
            HostsFound::Fail => {
                writer.set_rcode(Rcode::SERVFAIL);
                return Ok(());
            }
            HostsFound::NoData => {}
            HostsFound::Addresses(addresses) => {
                let first = writer.first_of(addresses.len());
                let turned = addresses[first..].iter().chain(&addresses[..first]);
                for address in turned {
                    let data = match address {
                        IpAddr::V4(address) => Data::A(*address),
                        IpAddr::V6(address) => Data::Aaaa(*address),
                    };
                    writer.push(Section::Answer, owner, self.ttl, &data)?;
                }
            }
            HostsFound::Names(names) => {
                for name in *names {
                    writer.push(Section::Answer, owner, self.ttl, &Data::Ptr(*name))?;
                }
            }
        }
        writer.set_authoritative(true);
        Ok(())
    }
}

impl TemplateAnswer {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// Some did not fit; the reply says so.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.set_rcode(self.rcode);
        writer.set_authoritative(true);
        for (section, records) in [
            (Section::Answer, &self.answer),
            (Section::Authority, &self.authority),
            (Section::Additional, &self.additional),
        ] {
            for record in records {
                writer.push(section, &record.owner, record.ttl, &record.data())?;
            }
        }
        Ok(())
    }
}

impl Back {
    /// Writes the answer to the question that was asked instead, as one to the client's.
    ///
    /// # Errors
    ///
    /// Some did not fit; the reply says so.
    pub fn write(&self, answer: &Answer, age: Age, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.set_rcode(self.rcode(answer.rcode()));
        writer.set_authoritative(answer.is_authoritative());
        for record in answer.records() {
            let owner = self.owner(&record.owner).unwrap_or(record.owner);
            let ttl = self.ttl(age.of(record.ttl));
            writer.push(record.section, &owner, ttl, &self.data(record.data))?;
        }
        Ok(())
    }

    fn data<'a>(&self, data: Data<'a>) -> Data<'a> {
        let new = |name: Name| self.value(&name).unwrap_or(name);
        match data {
            Data::Cname(target) => Data::Cname(new(target)),
            Data::Ns(server) => Data::Ns(new(server)),
            Data::Ptr(target) => Data::Ptr(new(target)),
            Data::Srv {
                priority,
                weight,
                port,
                target,
            } => Data::Srv {
                priority,
                weight,
                port,
                target: new(target),
            },
            Data::Mx {
                preference,
                exchange,
            } => Data::Mx {
                preference,
                exchange: new(exchange),
            },
            Data::Soa(soa) => Data::Soa(Soa {
                primary: new(soa.primary),
                ..soa
            }),
            Data::A(_) | Data::Aaaa(_) | Data::Other(..) => data,
        }
    }
}
