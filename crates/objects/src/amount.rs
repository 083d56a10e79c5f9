//! Amounts of resources: `500m`, `1Gi`, `1e3`.
//!
//! As `k8s.io/apimachinery/pkg/api/resource` in what a list of resources keeps: thousandths,
//! rounded up, written with the largest suffix that leaves a whole number.

use std::fmt;

/// An amount, in thousandths, and how it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// The amount in thousandths.
    pub milli: i128,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `k`, `M`, …: powers of 1000.
    Decimal,
    /// `Ki`, `Mi`, …: powers of 1024.
    Binary,
    /// `e3`, `E6`, ….
    Exponent,
}

const DECIMAL: [(&str, i32); 9] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Reads an amount; `None` if the text is none, or too large to reckon with.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, number) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits = number.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (amount, suffix) = number.split_at(digits.unwrap_or(number.len()));
        let (form, binary, decimal) = scale(suffix)?;
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        let places = i32::try_from(fraction.len()).ok()?;
        let scaled = mantissa.checked_mul(1i128.checked_shl(binary)?)?;
        let milli = shifted(scaled, decimal + 3 - places)?;
        let milli = if negative { -milli } else { milli };
        Some(Self { milli, form })
    }

    /// A whole number.
    pub fn whole(number: i128) -> Self {
        Self {
            milli: number.saturating_mul(1000),
            form: Form::Decimal,
        }
    }

    /// Another amount, written in the same way.
    #[must_use]
    pub fn with_milli(self, milli: i128) -> Self {
        Self { milli, ..self }
    }

    /// Both amounts together, written as this one; nothing takes the other's form.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let form = if self.milli == 0 {
            other.form
        } else {
            self.form
        };
        Self {
            milli: self.milli.saturating_add(other.milli),
            form,
        }
    }
}

/// The form of a suffix, its power of two and its power of ten.
fn scale(suffix: &str) -> Option<(Form, u32, i32)> {
    if suffix.is_empty() {
        return Some((Form::Decimal, 0, 0));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Form::Decimal, 0, *power));
    }
    if let Some(index) = BINARY.iter().position(|name| *name == suffix) {
        return Some((Form::Binary, 10 * (u32::try_from(index).ok()? + 1), 0));
    }
    let power = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-100..=100)
        .contains(&power)
        .then_some((Form::Exponent, 0, power))
}

/// A number times a power of ten, rounded up.
fn shifted(number: i128, power: i32) -> Option<i128> {
    let factor = |power: u32| 10i128.checked_pow(power);
    match u32::try_from(power) {
        Ok(power) => number.checked_mul(factor(power)?),
        Err(_) => match factor(power.unsigned_abs()) {
            Some(factor) => Some(number / factor + i128::from(number % factor > 0)),
            None => Some(i128::from(number > 0)),
        },
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli == 0 {
            return f.write_str("0");
        }
        let whole = self.milli / 1000;
        if self.form == Form::Binary && self.milli % 1000 == 0 && whole.abs() >= 1024 {
            let (mut rest, mut suffix) = (whole, "");
            let mut suffixes = BINARY.iter();
            while rest % 1024 == 0
                && let Some(next) = suffixes.next()
            {
                (rest, suffix) = (rest / 1024, next);
            }
            return write!(f, "{rest}{suffix}");
        }
        let (mut rest, mut power) = (self.milli, -3);
        while rest % 1000 == 0 && power < 18 {
            (rest, power) = (rest / 1000, power + 3);
        }
        match (self.form, power) {
            (_, 0) => write!(f, "{rest}"),
            (Form::Exponent, power) => write!(f, "{rest}e{power}"),
            (_, power) => {
                let known = DECIMAL.iter().find(|(_, known)| *known == power);
                write!(f, "{rest}{}", known.map_or("", |(name, _)| name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_have_one_form() {
        for (text, expected) in [
            ("0.5", "500m"),
            ("0", "0"),
            ("0Gi", "0"),
            ("1", "1"),
            ("1.0", "1"),
            ("+1", "1"),
            ("-1.5", "-1500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("2000", "2k"),
            ("1024", "1024"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("1.5Gi", "1536Mi"),
            ("512Ki", "512Ki"),
            ("0.5Ki", "512"),
            ("1.0005Ki", "1024512m"),
            ("100M", "100M"),
            ("1000M", "1G"),
            ("1e3", "1e3"),
            ("12E6", "12e6"),
            ("1e2", "100"),
            ("5e-1", "500e-3"),
            ("0.1m", "1m"),
            ("1n", "1m"),
            ("1Ei", "1Ei"),
            ("5E", "5E"),
        ] {
            let quantity = Quantity::parse(text).map(|quantity| quantity.to_string());
            assert_eq!(quantity.as_deref(), Some(expected), "{text}");
        }
        for wrong in [
            "", "x", "1Qi", "1 Gi", "1.2.3", "Gi", ".", "-", "1e", "1e999",
        ] {
            assert_eq!(Quantity::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_form_stays_and_so_does_the_amount(number in 0u64..1 << 40, suffix in "(m|k|M|G|Ki|Mi|Gi|e3)?") {
            let once = Quantity::parse(&format!("{number}{suffix}")).unwrap();
            let again = Quantity::parse(&once.to_string()).unwrap();
            prop_assert_eq!(again.milli, once.milli);
            prop_assert_eq!(again.to_string(), once.to_string());
        }
    }
}
