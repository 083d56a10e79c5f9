//! What a function takes and gives: `list<A>.indexOf(A): int`.

use super::super::types::Ty;
use super::super::value::Val;
use super::Run;

/// One form of a function.
pub(in super::super) struct Overload {
    pub name: String,
    /// Whether the first argument stands before the name: `a.f(b)`.
    pub member: bool,
    pub params: Vec<Pattern>,
    pub result: Pattern,
    pub run: Run,
    /// Whether it looks at every member of its arguments.
    pub traverses: bool,
}

impl std::fmt::Debug for Overload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// A type, or the form of one.
#[derive(Clone, Debug)]
pub(in super::super) enum Pattern {
    Is(Ty),
    List(Box<Pattern>),
    Map(Box<Pattern>, Box<Pattern>),
    Optional(Box<Pattern>),
    /// Any type; the same letter is the same type.
    Any(usize),
    /// Any type whose values have an order; the same one throughout.
    Ordered,
}

/// What the letters of a signature stand for.
pub(in super::super) type Letters = [Option<Ty>; 2];

/// Functions whose cost does not grow with the lists and maps that they are given.
const CHEAP: [&str; 10] = [
    "size",
    "type",
    "dyn",
    "first",
    "last",
    "hasValue",
    "value",
    "or",
    "orValue",
    "optional.of",
];

impl Overload {
    /// Reads a signature.
    ///
    /// # Panics
    ///
    /// If it is none: they are written in this crate, and a test reads them all.
    pub fn read(signature: &str, run: Run) -> Self {
        let (head, result) = signature
            .rsplit_once("): ")
            .expect("a signature ends with a result");
        let (name, params) = head.split_once('(').expect("a signature has parameters");
        let split = split_target(name);
        let target = split.map(|(target, _)| target);
        let params = split_params(params);
        let name = split.map_or(name, |(_, name)| name).to_owned();
        Self {
            member: target.is_some(),
            params: target
                .into_iter()
                .chain(params)
                .map(Pattern::read)
                .collect(),
            result: Pattern::read(result),
            traverses: !CHEAP.contains(&name.as_str()),
            name,
            run,
        }
    }
}

/// `string.size` is a member; `sets.contains` is a name with a dot.
fn split_target(name: &str) -> Option<(&str, &str)> {
    let (target, short) = name.rsplit_once('.')?;
    let space = ["sets", "format", "optional", "ip", "lists", "strings"].contains(&target);
    // A function of a space is written with a colon where a type has the same name.
    (!space).then_some((target.trim_end_matches(':'), short))
}

fn split_params(params: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in params.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(params[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = params[start..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

impl Pattern {
    fn read(text: &str) -> Self {
        let text = text.trim();
        if let Some((outer, inner)) = text.strip_suffix('>').and_then(|text| text.split_once('<')) {
            let parts = split_params(inner);
            let one = |at: usize| Box::new(Self::read(parts[at]));
            return match outer {
                "list" => Self::List(one(0)),
                "map" => Self::Map(one(0), one(1)),
                "optional" => Self::Optional(one(0)),
                other => unreachable!("{other} is no type with parameters"),
            };
        }
        Self::Is(match text {
            "A" => return Self::Any(0),
            "B" => return Self::Any(1),
            "O" => return Self::Ordered,
            "dyn" => Ty::Dyn,
            "bool" => Ty::Bool,
            "int" => Ty::Int,
            "uint" => Ty::Uint,
            "double" => Ty::Double,
            "string" => Ty::Text,
            "bytes" => Ty::Bytes,
            "timestamp" => Ty::Timestamp,
            "duration" => Ty::Duration,
            "type" => Ty::Type,
            "url" => Ty::Url,
            "ip" => Ty::Ip,
            "cidr" => Ty::Cidr,
            "quantity" => Ty::Quantity,
            "format" => Ty::Format,
            "semver" => Ty::Semver,
            other => unreachable!("{other} is no type"),
        })
    }

    /// Whether a type has this form; letters take what they meet first.
    pub fn takes(&self, ty: &Ty, letters: &mut Letters) -> bool {
        match (self, ty) {
            (Self::Any(letter), ty) => match &letters[*letter] {
                None | Some(Ty::Dyn) => {
                    letters[*letter] = Some(ty.clone());
                    true
                }
                Some(known) => known.agrees(ty),
            },
            (Self::Ordered, ty) => ty.is_ordered() && Self::Any(0).takes(ty, letters),
            (_, Ty::Dyn) => true,
            (Self::Is(expected), ty) => expected.agrees(ty),
            (Self::List(inner), Ty::List(ty)) | (Self::Optional(inner), Ty::Optional(ty)) => {
                inner.takes(ty, letters)
            }
            (Self::Map(key, value), Ty::Map(ty_key, ty_value)) => {
                key.takes(ty_key, letters) && value.takes(ty_value, letters)
            }
            // A structure is a map to functions that look at no member.
            (Self::Map(..), Ty::Node(_)) => true,
            _ => false,
        }
    }

    /// The type that the form is once the letters are known.
    pub fn filled(&self, letters: &Letters) -> Ty {
        match self {
            Self::Is(ty) => ty.clone(),
            Self::List(inner) => Ty::list(inner.filled(letters)),
            Self::Optional(inner) => Ty::optional(inner.filled(letters)),
            Self::Map(key, value) => {
                Ty::Map(key.filled(letters).into(), value.filled(letters).into())
            }
            Self::Ordered => Self::Any(0).filled(letters),
            Self::Any(letter) => letters[*letter].clone().unwrap_or(Ty::Dyn),
        }
    }

    /// Whether a value has this form, without looking at its members.
    pub fn fits(&self, value: &Val<'_>) -> bool {
        match (self, value) {
            (Self::Any(_) | Self::Ordered, _)
            | (Self::Is(Ty::Dyn), _)
            | (Self::Is(Ty::Text), Val::Pattern(_)) => true,
            (Self::List(_), value) => value.is_list(),
            (Self::Map(..), value) => value.is_map(),
            (Self::Optional(_), value) => matches!(value, Val::Optional(_)),
            (Self::Is(Ty::Timestamp), value) => matches!(value, Val::Timestamp(_)),
            (Self::Is(Ty::Duration), value) => matches!(value, Val::Duration(_)),
            (Self::Is(ty), value) => ty.name() == value.type_name(),
        }
    }
}
