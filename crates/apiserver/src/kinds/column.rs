//! Columns that kubectl prints.

use jiff::Timestamp;
use serde_json::Value;

use crate::check::FieldPath;

/// A column of a table.
#[derive(Debug)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// Whether it is shown only by `-o wide`.
    pub wide: bool,
    /// What it shows, in words.
    pub description: &'static str,
    /// What it shows.
    pub cell: Cell,
}

/// What a column shows of an object.
#[derive(Debug)]
pub enum Cell {
    /// The object's name.
    Name,
    /// What is at a path; `<none>` if nothing is.
    Path(&'static str),
    /// The number at a path; 0 if none is.
    Number(&'static str),
    /// The number of members of the map or list at a path.
    Count(&'static str),
    /// How long ago the time at a path was.
    Since(&'static str),
    /// Something that has to be worked out, at this time.
    Of(fn(&Value, Timestamp) -> Value),
}

/// A column that is always shown.
pub const fn column(name: &'static str, cell: Cell, description: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        wide: false,
        description,
        cell,
    }
}

/// A column that `-o wide` adds.
pub const fn wide(name: &'static str, cell: Cell, description: &'static str) -> Column {
    Column {
        wide: true,
        ..column(name, cell, description)
    }
}

/// A column of numbers.
pub const fn number(name: &'static str, cell: Cell, description: &'static str) -> Column {
    Column {
        kind: "integer",
        ..column(name, cell, description)
    }
}

/// The name of each object.
pub const NAME: Column = column("Name", Cell::Name, "Name, unique within a namespace.");

/// The time since each object was made.
pub const AGE: Column = column(
    "Age",
    Cell::Since("metadata.creationTimestamp"),
    "Time since the object was made.",
);

/// The columns of kinds that say no others.
pub const NAME_AND_AGE: &[Column] = &[
    NAME,
    column(
        "Created At",
        Cell::Path("metadata.creationTimestamp"),
        "When the object was made.",
    ),
];

impl Cell {
    /// What the column shows of `object` at the time `now`.
    pub fn show(&self, object: &Value, now: Timestamp) -> Value {
        match self {
            Self::Name => object["metadata"]["name"].clone(),
            Self::Path(path) => match FieldPath::of(path).get(object) {
                Some(value) => value.clone(),
                None => NONE.into(),
            },
            Self::Number(path) => {
                let number = FieldPath::of(path).get(object).and_then(Value::as_i64);
                number.unwrap_or(0).into()
            }
            Self::Count(path) => match FieldPath::of(path).get(object) {
                Some(Value::Array(items)) => items.len().into(),
                Some(Value::Object(map)) => map.len().into(),
                _ => 0.into(),
            },
            Self::Since(path) => {
                let time = FieldPath::of(path).get(object).and_then(Value::as_str);
                since(time, now).into()
            }
            Self::Of(work) => work(object, now),
        }
    }
}

/// What stands for nothing.
pub const NONE: &str = "<none>";

/// How long ago `time` was, as kubectl writes it: `45s`, `3m10s`, `5h`, `2d3h`.
pub fn since(time: Option<&str>, now: Timestamp) -> String {
    let Some(time) = time.and_then(|time| time.parse::<Timestamp>().ok()) else {
        return "<unknown>".into();
    };
    duration(now.as_second() - time.as_second())
}

/// A number of seconds for people, as `k8s.io/apimachinery/pkg/util/duration`.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..=-2 => "<invalid>".into(),
        -1 => "0s".into(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{days}d"),
        _ if hours < 24 * 365 * 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_in_kubectl() {
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (700_000, "8d"),
            (86_400 * 800, "2y70d"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }
}
