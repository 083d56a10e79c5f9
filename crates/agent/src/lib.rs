//! Task: the network of one node.
