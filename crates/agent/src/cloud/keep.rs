//! The task that keeps as many addresses as are wanted.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use sealane_cloud::{Action, Barrier, Memory, Plan, Usage, plan};
use sealane_ec2::{Ec2, Error};
use sealane_introspect::Introspect;
use sealane_kube::Backoff;
use sealane_net::ec2::Observed;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{CloudSettings, News, Standing, act, observe, offered};
use crate::core::Message;

/// Pods come and go in bursts: what nobody waits for is asked for once for all of them.
const PAUSE: Duration = Duration::from_millis(500);
/// How often everything is asked for, subnets, VPC and interfaces that are with no machine included.
const ALL_EVERY: Duration = Duration::from_secs(600);

/// Keeps the machine's addresses until the core has gone.
pub async fn keep(
    settings: CloudSettings,
    inbox: mpsc::Sender<Message>,
    usage: watch::Receiver<Usage>,
    introspect: Introspect,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let ec2 = loop {
        match Ec2::connect(&settings.place).await {
            Ok(ec2) => break ec2,
            Err(error) => {
                tracing::warn!("{error}; trying again");
                if tell_trouble(&inbox, &error).await.is_none() {
                    return;
                }
                sleep(backoff.next_delay()).await;
            }
        }
    };
    tracing::info!(
        "pod addresses come from EC2, instance {}",
        ec2.instance_id()
    );
    let now = Instant::now();
    let keeper = Keeper {
        ec2,
        settings,
        inbox,
        usage,
        introspect,
        began: now,
        observed: None,
        memory: Memory::default(),
        look_at: now,
        all_at: now,
        shown: None,
    };
    keeper.run().await;
}

/// For when nothing is known yet.
async fn tell_trouble(inbox: &mpsc::Sender<Message>, error: &Error) -> Option<Usage> {
    let standing = Standing {
        trouble: Some(error.to_string()),
        ..Standing::default()
    };
    tell(inbox, None, standing).await
}

/// `None` when the core has gone.
async fn tell(
    inbox: &mpsc::Sender<Message>,
    net: Option<crate::node::CloudNet>,
    standing: Standing,
) -> Option<Usage> {
    let (leased, answer) = oneshot::channel();
    let news = News {
        net,
        standing,
        leased,
    };
    inbox.send(Message::Cloud(Box::new(news))).await.ok()?;
    answer.await.ok()
}

struct Keeper {
    ec2: Ec2,
    settings: CloudSettings,
    inbox: mpsc::Sender<Message>,
    usage: watch::Receiver<Usage>,
    introspect: Introspect,
    /// Where the memory's clock begins.
    began: Instant,
    observed: Option<Observed>,
    memory: Memory,
    look_at: Instant,
    all_at: Instant,
    /// The limit that was logged last.
    shown: Option<String>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let Some(again_at) = self.round().await else {
                return;
            };
            let waiting = self.usage.borrow().waiting;
            match timeout_at(again_at, self.usage.changed()).await {
                Ok(Ok(())) => {
                    let more_wait = self.usage.borrow().waiting > waiting;
                    if !more_wait {
                        sleep_until(again_at.min(Instant::now() + PAUSE)).await;
                    }
                }
                Ok(Err(_)) => return,
                Err(_) => {}
            }
        }
    }

    fn clock(&self) -> Duration {
        self.began.elapsed()
    }

    /// Looks where that is due, plans and carries out; when to do it again. `None` when the core has gone.
    async fn round(&mut self) -> Option<Instant> {
        let barriers = &self.memory.barriers;
        let held_off = barriers.stands(&Barrier::Looking, self.clock());
        if held_off.is_none() && Instant::now() >= self.look_at {
            self.look().await?;
        }
        let Some(observed) = &self.observed else {
            return Some(self.next(None));
        };
        let usage = self.usage.borrow_and_update().clone();
        let now = self.clock();
        self.memory.look(observed, &usage, now);
        let plan = plan(observed, &usage, &self.settings.targets, &self.memory, now);
        let net = offered(observed, &plan.withdrawn());
        self.log(&plan);
        let leased = tell(&self.inbox, Some(net), self.standing(&plan)).await?;
        let mut asked = false;
        for action in &plan.actions {
            // A pod was quicker.
            let taken = |range: &sealane_net::Ipv4Net| {
                let inside = range.network()..=range.broadcast();
                leased.leased.range(inside).next().is_some()
            };
            if action.withdraws().iter().any(taken) {
                continue;
            }
            asked = true;
            if let Err(Barrier::Everything) = self.act(action).await {
                break;
            }
        }
        // The answers are planned with at once: pods may wait for what was given, or for what a refusal means.
        Some(match asked {
            true => Instant::now(),
            false => self.next(plan.next),
        })
    }

    /// When something is due although nothing happens.
    fn next(&self, planned: Option<Duration>) -> Instant {
        let now = self.clock();
        let barrier = self.memory.barriers.next(now);
        let held_off = self.memory.barriers.stands(&Barrier::Looking, now);
        // What holds off looking is a barrier that falls.
        let look_at = held_off.is_none().then_some(self.look_at);
        let first = planned.into_iter().chain(barrier);
        let first = first.map(|at| self.began + at).chain(look_at).min();
        first.unwrap_or(self.look_at)
    }

    /// Asks EC2 what there is.
    async fn look(&mut self) -> Option<()> {
        let now = Instant::now();
        let looked = match &mut self.observed {
            Some(observed) if now < self.all_at => {
                let mut looked = observe::interfaces(&self.ec2, observed).await;
                if looked.is_ok() {
                    looked = observe::subnets(&self.ec2, observed).await;
                }
                looked
            }
            _ => {
                let all = observe::all(&self.ec2).await;
                all.map(|all| {
                    self.observed = Some(all);
                    self.all_at = now + ALL_EVERY;
                })
            }
        };
        self.count("Describe", looked.as_ref().err());
        match looked {
            Ok(()) => {
                self.look_at = Instant::now() + self.settings.look_every;
                self.memory.barriers.looked();
            }
            Err(error) => {
                tracing::warn!("look at the interfaces: {error}; trying again");
                self.refused(Barrier::Looking, &error);
                if self.observed.is_none() {
                    tell_trouble(&self.inbox, &error).await?;
                }
            }
        }
        Some(())
    }

    async fn act(&mut self, action: &Action) -> Result<(), Barrier> {
        let Some(observed) = &mut self.observed else {
            return Ok(());
        };
        let result = act::carry_out(&self.ec2, observed, action).await;
        let error = result.as_ref().err();
        let subnet = act::subnet_of(observed, action).to_owned();
        self.count(act::request_of(action), error);
        match result {
            Ok(()) => {
                tracing::info!("{action}: done");
                self.memory.barriers.passed(action, &subnet);
                self.look_at = self.look_at.max(Instant::now() + observe::SETTLE);
                Ok(())
            }
            Err(error) => {
                tracing::warn!("{action}: {error}; trying again");
                let barrier = Barrier::of(action, error.code(), &subnet);
                self.refused(barrier.clone(), &error);
                // EC2 knows more than we do.
                self.look_at = Instant::now() + observe::SETTLE;
                Err(barrier)
            }
        }
    }

    fn refused(&mut self, barrier: Barrier, error: &Error) {
        let now = self.clock();
        let barriers = &mut self.memory.barriers;
        barriers.refused(barrier, error.to_string(), now, random_unit());
    }

    fn standing(&self, plan: &Plan) -> Standing {
        Standing {
            observed: self.observed.clone(),
            lost: plan.lost.clone(),
            actions: plan.actions.iter().map(ToString::to_string).collect(),
            trouble: plan.limit.as_ref().map(ToString::to_string),
            limit: plan.limit.clone(),
        }
    }

    fn log(&mut self, plan: &Plan) {
        let limit = plan.limit.as_ref().map(ToString::to_string);
        if limit != self.shown {
            match &limit {
                Some(limit) => tracing::warn!("no more pod addresses: {limit}"),
                None => tracing::info!("pod addresses can be had again"),
            }
            self.shown = limit;
        }
    }

    fn count(&self, request: &str, error: Option<&Error>) {
        let result = match error {
            None => "ok",
            Some(Error::Refused { code, .. }) => code,
            Some(_) => "no-answer",
        };
        let labels = [("request", request), ("result", result)];
        self.introspect
            .counter("sealane_ec2_requests_total", "Requests to EC2.", &labels)
            .inc();
    }
}

/// A number in 0..1: every `RandomState` has fresh keys.
fn random_unit() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}
