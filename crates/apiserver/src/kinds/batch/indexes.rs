//! Sets of indexes as text: `1,3-5,7`.

/// How many indexes a text names.
///
/// # Errors
///
/// What is wrong with it: it has to rise, without gaps that are none, and to stay below `limit`.
pub fn count(text: &str, limit: i64) -> Result<i64, String> {
    let (mut count, mut last) = (0, -1);
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let read = |number: &str| {
            let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let read = number.parse::<i64>().ok().filter(|_| plain);
            read.ok_or_else(|| format!("cannot convert string to integer for index: {number:?}"))
        };
        let (low, high) = (read(low)?, read(high)?);
        if low <= last || (part.contains('-') && high <= low) {
            return Err(format!(
                "non-increasing order, previous: {last}, current: {low}"
            ));
        }
        if high >= limit {
            return Err(format!("too large index: {high:?}"));
        }
        count += high - low + 1;
        last = high;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted() {
        for (text, expected) in [
            ("0", Some(1)),
            ("0,2-4,9", Some(5)),
            ("3,1", None),
            ("2-2", None),
            ("10", None),
            ("", None),
            ("-1", None),
            ("a", None),
        ] {
            assert_eq!(count(text, 10).ok(), expected, "{text}");
        }
    }
}
