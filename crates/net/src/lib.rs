//! Words of the network: address families, ranges, MTU, and the names of the kernel objects that Sealane owns.
