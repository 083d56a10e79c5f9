//! Task: the CNI plugin, and the calls that a container runtime makes to a plugin.
