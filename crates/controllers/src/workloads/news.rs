//! What watches tell of workloads and Services.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DynamicObject;
use kube::{Api, Client};
use sealane_kube::{Change, Filter, watch_as, watch_objects};

use super::deployment::Deployment;
use super::replica_set::ReplicaSet;
use super::{Budget, CronJob, DaemonSet, Job, Revision, StatefulSet};
use crate::act::resource;
use crate::action::Kind;
use crate::endpoints::{EndpointsView, Service, Slice};

pub type Labels = BTreeMap<String, String>;

/// A change of one of the kinds that keep pods, or send traffic to them.
#[derive(Clone, Debug)]
pub enum News {
    Controllers(Change<Arc<ReplicaSet>>),
    ReplicaSets(Change<Arc<ReplicaSet>>),
    Deployments(Change<Arc<Deployment>>),
    StatefulSets(Change<Arc<StatefulSet>>),
    DaemonSets(Change<Arc<DaemonSet>>),
    Revisions(Change<Arc<Revision>>),
    Jobs(Change<Arc<Job>>),
    CronJobs(Change<Arc<CronJob>>),
    Budgets(Change<Arc<Budget>>),
    Services(Change<Arc<Service>>),
    Slices(Change<Arc<Slice>>),
    Endpoints(Change<Arc<EndpointsView>>),
    /// Labels of namespaces.
    Namespaces(Change<Arc<Labels>>),
}

/// Watches all of them.
pub fn watches(client: &Client) -> Vec<BoxStream<'static, News>> {
    vec![
        watch(
            client,
            Kind::ReplicationController,
            News::Controllers,
            |object| ReplicaSet::of(Kind::ReplicationController, object),
        ),
        watch(client, Kind::ReplicaSet, News::ReplicaSets, |object| {
            ReplicaSet::of(Kind::ReplicaSet, object)
        }),
        watch(client, Kind::Deployment, News::Deployments, Deployment::of),
        watch(
            client,
            Kind::StatefulSet,
            News::StatefulSets,
            StatefulSet::of,
        ),
        watch(client, Kind::DaemonSet, News::DaemonSets, DaemonSet::of),
        watch(
            client,
            Kind::ControllerRevision,
            News::Revisions,
            Revision::of,
        ),
        watch(client, Kind::Job, News::Jobs, Job::of),
        watch(client, Kind::CronJob, News::CronJobs, CronJob::of),
        watch(client, Kind::PodDisruptionBudget, News::Budgets, Budget::of),
        watch(client, Kind::Service, News::Services, Service::of),
        watch(client, Kind::EndpointSlice, News::Slices, Slice::of),
        watch(client, Kind::Endpoints, News::Endpoints, EndpointsView::of),
        namespaces(client),
    ]
}

fn namespaces(client: &Client) -> BoxStream<'static, News> {
    let labels = |namespace: Namespace| Arc::new(namespace.metadata.labels.unwrap_or_default());
    watch_as(Api::all(client.clone()), &Filter::all(), labels)
        .map(News::Namespaces)
        .boxed()
}

fn watch<T: Send + Sync + 'static>(
    client: &Client,
    kind: Kind,
    news: fn(Change<Arc<T>>) -> News,
    slim: fn(DynamicObject) -> T,
) -> BoxStream<'static, News> {
    let slim = move |object| Arc::new(slim(object));
    watch_objects(client.clone(), &resource(kind), slim)
        .map(news)
        .boxed()
}
