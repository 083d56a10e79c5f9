//! Which of the two programs that are called iptables this node uses.

/// Where rules are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// In nftables.
    Nft,
    /// Where they were before that.
    Legacy,
}

/// Chains that a kubelet makes in the variant that its node uses.
const HINTS: [&str; 2] = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"];

/// As the images of kube-proxy choose: where the kubelet left its hint; else where there are more rules; else nftables.
///
/// `nft` and `legacy` are what the two programs list, `None` for one that is not there.
pub fn choose(nft: Option<&str>, legacy: Option<&str>) -> Variant {
    let (Some(nft), Some(legacy)) = (nft, legacy) else {
        return if nft.is_none() && legacy.is_some() {
            Variant::Legacy
        } else {
            Variant::Nft
        };
    };
    let hinted = |text: &str| {
        HINTS
            .iter()
            .any(|chain| text.contains(&format!(":{chain} ")))
    };
    let rules = |text: &str| text.lines().filter(|line| line.starts_with("-A ")).count();
    match (hinted(nft), hinted(legacy)) {
        (true, _) => Variant::Nft,
        (false, true) => Variant::Legacy,
        (false, false) if rules(legacy) > rules(nft) => Variant::Legacy,
        (false, false) => Variant::Nft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_come_before_numbers_and_numbers_before_the_default() {
        let hint = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n";
        let rules = "*filter\n-A INPUT -j ACCEPT\n-A INPUT -j DROP\nCOMMIT\n";
        for (nft, legacy, expected) in [
            (Some(""), Some(""), Variant::Nft),
            (Some(hint), Some(rules), Variant::Nft),
            (Some(rules), Some(hint), Variant::Legacy),
            (Some(""), Some(rules), Variant::Legacy),
            (None, Some(""), Variant::Legacy),
            (None, None, Variant::Nft),
        ] {
            assert_eq!(choose(nft, legacy), expected, "{nft:?} {legacy:?}");
        }
    }
}
