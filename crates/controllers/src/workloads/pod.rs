//! A pod made from a template.

use sealane_objects::ObjectName;
use serde_json::{Map, Value, json};

use super::head::Head;

/// What Kubernetes makes generated names of: no vowels, so no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// Longest start of a generated name.
pub const LONGEST_START: usize = 63 - SUFFIX;

/// Randomness for names, from a seed.
pub struct Names {
    state: u64,
}

impl Names {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A name that starts so, as the API server makes from `generateName`.
    ///
    /// It is made here so that asking again for a pod whose creation was not
    /// answered asks for the same pod.
    pub fn next(&mut self, start: &str) -> String {
        let start: String = start.chars().take(LONGEST_START).collect();
        let mut number = self.number();
        let mut name = start;
        for _ in 0..SUFFIX {
            let letters = ALPHABET.len() as u64;
            let index = usize::try_from(number % letters).unwrap_or_default();
            name.push(char::from(ALPHABET[index]));
            number /= letters;
        }
        name
    }

    /// splitmix64.
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A number as text that can be part of a name (`rand.SafeEncodeString` of apimachinery).
pub fn safe_text(number: u32) -> String {
    let digits = number.to_string().into_bytes();
    let letter = |digit: u8| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]);
    digits.into_iter().map(letter).collect()
}

/// A pod of this name as the template says, owned by `owner`.
///
/// `start` is what its name was made from, if it was.
pub fn from_template(
    template: &Value,
    owner: &Head,
    name: &ObjectName,
    start: Option<&str>,
) -> Value {
    let given = &template["metadata"];
    let mut metadata = Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = given.get(field).filter(|value| !value.is_null()) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(start) = start {
        metadata.insert("generateName".to_owned(), json!(start));
    }
    metadata.insert("name".to_owned(), json!(name.name));
    metadata.insert("namespace".to_owned(), json!(name.namespace));
    metadata.insert("ownerReferences".to_owned(), json!([owner.reference()]));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_random_end_and_fit_into_a_label() {
        let mut names = Names::new(1);
        let (first, second) = (names.next("web-"), names.next("web-"));
        assert_ne!(first, second);
        assert_eq!((first.len(), &first[..4]), (9, "web-"));
        assert_eq!(names.next(&"x".repeat(80)).len(), 63);
        assert_eq!(Names::new(1).next("web-"), first);
    }

    #[test]
    fn a_number_becomes_letters_as_in_kubernetes() {
        // '0' is 48, and 48 % 27 is 21: the alphabet's "2".
        assert_eq!(safe_text(0), "4");
        assert_eq!(safe_text(123).len(), 3);
    }
}
