//! Task: the embedded Kubernetes API of the single-machine cluster.
