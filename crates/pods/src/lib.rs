//! Task: the kubelet's part on one node of the single-machine cluster.
