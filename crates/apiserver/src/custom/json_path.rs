//! JSONPath, as `additionalPrinterColumns` write it: `.spec.ports[0].name`,
//! `.status.conditions[?(@.type=="Ready")].status`.
//!
//! The dialect is that of `k8s.io/client-go/util/jsonpath`: names by dots, with `\.` for a dot in a
//! name, or in brackets and quotes; `*`, `..`, indices, slices and filters. What is absent has no result.

use std::cmp::Ordering;

use serde_json::Value;

/// A path that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Box<[Step]>);

/// A path that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PathError(String);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Members with these names.
    Names(Vec<String>),
    /// Elements at these places, from the end if negative.
    Indices(Vec<i64>),
    /// Elements from one place to before another, by steps.
    Slice(Option<i64>, Option<i64>, i64),
    /// All members or elements.
    All,
    /// This value and all within it.
    Deep,
    /// Elements of which something holds.
    Where(Operand, Option<(Comparison, Operand)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    /// What is at a path within the element.
    Path(JsonPath),
    /// A text, number or boolean.
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// By length, so that `<=` is not taken for `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// Filters within filters at most.
const DEPTH_MAX: usize = 8;

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        parse(text, 0)
    }

    /// All values that it leads to in `object`.
    pub fn find<'v>(&self, object: &'v Value) -> Vec<&'v Value> {
        self.0.iter().fold(vec![object], |found, step| {
            found
                .into_iter()
                .flat_map(|value| step.next(value))
                .collect()
        })
    }
}

fn parse(text: &str, depth: usize) -> Result<JsonPath, PathError> {
    if depth > DEPTH_MAX {
        return Err(PathError(format!(
            "filters stand within each other: {text}"
        )));
    }
    let mut steps = Vec::new();
    let mut rest = text.trim();
    rest = rest.strip_prefix(['@', '$']).unwrap_or(rest);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Deep);
            rest = after;
            if !rest.is_empty() && !rest.starts_with('[') {
                let (step, after) = member(rest);
                steps.extend(step);
                rest = after;
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            let (step, after) = member(after);
            steps.extend(step);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after)
                .ok_or_else(|| PathError(format!("unterminated array in {text:?}")))?;
            steps.push(bracket(&after[..end], depth)?);
            rest = &after[end + 1..];
        } else {
            let (step, after) = member(rest);
            if step.is_none() {
                return Err(PathError(format!("unrecognized character in {rest:?}")));
            }
            steps.extend(step);
            rest = after;
        }
    }
    Ok(JsonPath(steps.into()))
}

/// A name up to the next dot or bracket, and what follows it.
fn member(text: &str) -> (Option<Step>, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => {
                end = at;
                break;
            }
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            c => name.push(c),
        }
    }
    let step = match name.as_str() {
        "" => None,
        "*" => Some(Step::All),
        _ => Some(Step::Names(vec![name])),
    };
    (step, &text[end..])
}

/// Where the bracket that is open ends; quotes hide brackets.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(begin), c) if begin == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => open += 1,
            (None, ']') => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            (None, _) => {}
        }
    }
    None
}

/// What stands in brackets.
fn bracket(text: &str, depth: usize) -> Result<Step, PathError> {
    let text = text.trim();
    let invalid = || PathError(format!("invalid array index {text}"));
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(filter) = text.strip_prefix("?(") {
        let filter = filter.strip_suffix(')').ok_or_else(invalid)?;
        return filtered(filter, depth);
    }
    if text.starts_with(['\'', '"']) {
        let names = text.split(',').map(|part| quoted(part.trim()));
        return Ok(Step::Names(
            names.collect::<Option<_>>().ok_or_else(invalid)?,
        ));
    }
    let number = |part: &str| part.trim().parse::<i64>().map_err(|_| invalid());
    if text.contains(':') {
        let mut parts = text.split(':').map(|part| match part.trim() {
            "" => Ok(None),
            part => number(part).map(Some),
        });
        let mut next = || parts.next().transpose().map(Option::flatten);
        let (from, to, by) = (next()?, next()?, next()?.unwrap_or(1));
        return if by > 0 {
            Ok(Step::Slice(from, to, by))
        } else {
            Err(invalid())
        };
    }
    let indices = text.split(',').map(number).collect::<Result<_, _>>()?;
    Ok(Step::Indices(indices))
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inner.replace("\\", ""))
}

fn filtered(text: &str, depth: usize) -> Result<Step, PathError> {
    for (at, _) in unquoted(text) {
        for (sign, comparison) in COMPARISONS {
            if let Some(right) = text[at..].strip_prefix(sign) {
                let left = operand(&text[..at], depth)?;
                let right = operand(right, depth)?;
                return Ok(Step::Where(left, Some((comparison, right))));
            }
        }
    }
    Ok(Step::Where(operand(text, depth)?, None))
}

/// The characters that stand in no quotes.
fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote = None;
    text.char_indices().filter(move |(_, c)| {
        match quote {
            None if ['\'', '"'].contains(c) => quote = Some(*c),
            None => return true,
            Some(begin) if begin == *c => quote = None,
            Some(_) => {}
        }
        false
    })
}

fn operand(text: &str, depth: usize) -> Result<Operand, PathError> {
    let text = text.trim();
    if let Some(text) = quoted(text) {
        return Ok(Operand::Literal(text.into()));
    }
    if let Ok(literal @ (Value::Bool(_) | Value::Number(_))) = serde_json::from_str(text) {
        return Ok(Operand::Literal(literal));
    }
    parse(text, depth + 1).map(Operand::Path)
}

impl Step {
    fn next<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Names(names) => names.iter().filter_map(|name| value.get(name)).collect(),
            Self::Indices(indices) => {
                let elements = elements(value);
                let places = indices.iter().filter_map(|index| place(*index, elements));
                places.filter_map(|place| elements.get(place)).collect()
            }
            Self::Slice(from, to, by) => slice(elements(value), *from, *to, *by),
            Self::All => children(value).collect(),
            Self::Deep => {
                let mut all = vec![value];
                let mut at = 0;
                while let Some(value) = all.get(at) {
                    all.extend(children(value));
                    at += 1;
                }
                all
            }
            Self::Where(left, test) => {
                let holds = |element: &&Value| holds(element, left, test.as_ref());
                children(value).filter(holds).collect()
            }
        }
    }
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The members of a map, or the elements of a list.
fn children(value: &Value) -> impl Iterator<Item = &Value> {
    let members = value.as_object().into_iter().flat_map(|map| map.values());
    members.chain(elements(value))
}

fn place(index: i64, elements: &[Value]) -> Option<usize> {
    let count = i64::try_from(elements.len()).ok()?;
    let index = if index < 0 { index + count } else { index };
    usize::try_from(index).ok()
}

fn slice(elements: &[Value], from: Option<i64>, to: Option<i64>, by: i64) -> Vec<&Value> {
    let bound = |index: Option<i64>, otherwise: usize| match index {
        Some(index) => place(index, elements).unwrap_or(0).min(elements.len()),
        None => otherwise,
    };
    let (from, to) = (bound(from, 0), bound(to, elements.len()));
    let by = usize::try_from(by).unwrap_or(usize::MAX);
    elements
        .get(from..to)
        .into_iter()
        .flatten()
        .step_by(by)
        .collect()
}

fn holds(element: &Value, left: &Operand, test: Option<&(Comparison, Operand)>) -> bool {
    let value = |operand: &Operand| match operand {
        Operand::Literal(value) => Some(value.clone()),
        Operand::Path(path) => path.find(element).first().copied().cloned(),
    };
    let Some(left) = value(left) else {
        return false;
    };
    let Some((comparison, right)) = test else {
        return true;
    };
    let Some(right) = value(right) else {
        return false;
    };
    let order = compare(&left, &right);
    match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// How two values of the same type stand to each other.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (left, right) => (left == right).then_some(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(path: &str) -> Value {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "dotted"}},
            "spec": {"ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Bad]", "status": "False"},
            ], "deep": {"name": "inner"}},
        });
        let path = JsonPath::parse(path).unwrap();
        json!(path.find(&object))
    }

    #[test]
    fn paths_lead_to_what_they_name() {
        for (path, expected) in [
            (".spec.ports[0].name", json!(["http"])),
            ("spec.ports[-1].port", json!([443])),
            (".spec.ports[*].port", json!([80, 443])),
            (".spec.ports[0,1].name", json!(["http", "https"])),
            (".spec.ports[1:].name", json!(["https"])),
            (".spec.ports[:1].name", json!(["http"])),
            (".spec.ports[9].name", json!([])),
            (".spec.absent.name", json!([])),
            (".metadata.annotations.a\\.b/c", json!(["dotted"])),
            (".metadata.annotations['a\\.b/c']", json!(["dotted"])),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!(["True"]),
            ),
            (
                ".status.conditions[?(@.type == 'Bad]')].status",
                json!(["False"]),
            ),
            (".spec.ports[?(@.port>80)].name", json!(["https"])),
            (".spec.ports[?(@.port<=80)].name", json!(["http"])),
            (".spec.ports[?(@.name!=\"http\")].port", json!([443])),
            (".spec.ports[?(@.absent)].port", json!([])),
            (".spec.ports[?(@.name)].port", json!([80, 443])),
            (".status.deep.*", json!(["inner"])),
            (".status..name", json!(["inner"])),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in [".a[", ".a[x]", ".a[?(@.b==", ".a[0:1:-1]", ".a['x]"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
        let deep = "[?(@".repeat(1000);
        assert!(JsonPath::parse(&(deep + &")]".repeat(1000))).is_err());
    }
}
