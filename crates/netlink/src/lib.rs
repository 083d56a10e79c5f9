//! Edge: network namespaces, links, addresses, routes, sysctls and nftables over netlink.
