//! Numbers with check digits: ISBN, cards.

/// Ten digits, the last of which may be `X`, whose weighted sum is a multiple of eleven.
pub(super) fn isbn10(text: &str) -> bool {
    let digits = bare(text);
    let value = |(at, c): (usize, char)| match c {
        'X' | 'x' if at == 9 => Some(10),
        c => c.to_digit(10),
    };
    let values: Option<Vec<u32>> = digits.chars().enumerate().map(value).collect();
    values.is_some_and(|values| {
        values.len() == 10
            && (1..)
                .zip(&values)
                .map(|(weight, v)| weight * v)
                .sum::<u32>()
                % 11
                == 0
    })
}

/// Thirteen digits whose sum, weighted 1 and 3 by turns, is a multiple of ten.
pub(super) fn isbn13(text: &str) -> bool {
    let values: Option<Vec<u32>> = bare(text).chars().map(|c| c.to_digit(10)).collect();
    values.is_some_and(|values| {
        let weighted = values.iter().zip([1, 3].into_iter().cycle());
        values.len() == 13 && weighted.map(|(v, weight)| v * weight).sum::<u32>() % 10 == 0
    })
}

/// A number of one of the large issuers, with the right check digit (Luhn).
pub(super) fn credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let starts = |prefixes: &[&str]| {
        let number: String = digits.iter().map(u32::to_string).collect();
        prefixes.iter().any(|prefix| number.starts_with(prefix))
    };
    let issued = match digits.len() {
        13 => starts(&["4"]),
        14 => starts(&["30", "36", "38"]),
        15 => starts(&["34", "37", "2131", "1800"]),
        16 => starts(&["4", "51", "52", "53", "54", "55", "6011", "65", "35"]),
        _ => false,
    };
    let doubled = |(at, digit): (usize, &u32)| match at % 2 {
        0 => *digit,
        _ if *digit > 4 => digit * 2 - 9,
        _ => digit * 2,
    };
    issued && digits.iter().rev().enumerate().map(doubled).sum::<u32>() % 10 == 0
}

fn bare(text: &str) -> String {
    text.replace(['-', ' '], "")
}
