//! Resource quantities (`100m`, `1Gi`, `1.5`) as whole numbers.
//!
//! Kubernetes keeps quantities as exact decimals with a suffix. Only two
//! readings of them are needed, whole units (bytes) and thousandths (CPU), both
//! rounded up as `Quantity.Value()` and `Quantity.MilliValue()` do.

/// A quantity in whole units, rounded up; `None` when it cannot be read.
pub fn units(text: &str) -> Option<u64> {
    scaled(text, 1)
}

/// A quantity in thousandths, rounded up; `None` when it cannot be read.
pub fn millis(text: &str) -> Option<u64> {
    scaled(text, 1000)
}

/// `text * factor`, rounded up.
fn scaled(text: &str, factor: u128) -> Option<u64> {
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() + fraction.len() > 24 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (multiplier, divisor) = multiplier(suffix)?;
    let dividend = digits.checked_mul(multiplier)?.checked_mul(factor)?;
    let divisor = divisor.checked_mul(10u128.checked_pow(fraction.len() as u32)?)?;
    u64::try_from(dividend.div_ceil(divisor)).ok()
}

/// A suffix as a fraction. Kubernetes API: `resource.Quantity` serialization format.
fn multiplier(suffix: &str) -> Option<(u128, u128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => return power(exponent),
    })
}

fn power(exponent: &str) -> Option<(u128, u128)> {
    let digits: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
    let ten = 10u128.checked_pow(digits.unsigned_abs())?;
    Some(if digits < 0 { (1, ten) } else { (ten, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_rounded_up() {
        let cases = [
            ("0", Some(0), Some(0)),
            ("100m", Some(1), Some(100)),
            ("1", Some(1), Some(1000)),
            ("1.5", Some(2), Some(1500)),
            (".5", Some(1), Some(500)),
            ("128Mi", Some(134_217_728), Some(134_217_728_000)),
            ("1Gi", Some(1 << 30), Some(1000 << 30)),
            ("1e3", Some(1000), Some(1_000_000)),
            ("12E-1", Some(2), Some(1200)),
            ("1E", Some(1_000_000_000_000_000_000), None),
            ("100n", Some(1), Some(1)),
            ("", None, None),
            ("one", None, None),
            ("1Zi", None, None),
            ("-1", None, None),
        ];
        for (text, whole, thousandths) in cases {
            assert_eq!(units(text), whole, "{text} in units");
            assert_eq!(millis(text), thousandths, "{text} in thousandths");
        }
    }
}
