//! Words of the cluster: slim forms of the Kubernetes objects that decisions are made from.
