//! Programs: nftables rulesets as values that can be printed and compared.
