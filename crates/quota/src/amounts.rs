//! Amounts by the name of their resource.

use std::collections::BTreeMap;
use std::fmt;

use sealane_objects::Quantity;
use serde_json::{Map, Value};

/// Amounts by name, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(pub BTreeMap<String, Quantity>);

impl Amounts {
    /// A list of resources of the API; what cannot be read is left out.
    pub fn of(list: &Value) -> Self {
        let all = list.as_object().into_iter().flatten();
        let read = all
            .filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(amount.as_str()?)?)));
        Self(read.collect())
    }

    /// As the API writes it.
    pub fn value(&self) -> Value {
        let all = self.0.iter();
        let all = all.map(|(name, amount)| (name.clone(), amount.to_string().into()));
        Value::Object(all.collect::<Map<_, _>>())
    }

    /// The amount of this name.
    pub fn get(&self, name: &str) -> Option<Quantity> {
        self.0.get(name).copied()
    }

    /// The amount of this name in thousandths; 0 without one.
    pub fn milli(&self, name: &str) -> i128 {
        self.get(name).map_or(0, |amount| amount.milli)
    }

    /// Adds an amount.
    pub fn add(&mut self, name: &str, amount: Quantity) {
        let sum = self.get(name).map_or(amount, |own| own.plus(amount));
        self.0.insert(name.to_owned(), sum);
    }

    /// Adds all of another's.
    pub fn add_all(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            self.add(name, *amount);
        }
    }

    /// Takes the greater of each.
    pub fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            if self.get(name).is_none_or(|own| own.milli < amount.milli) {
                self.0.insert(name.clone(), *amount);
            }
        }
    }

    /// What is left of this after another is taken away.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = self.clone();
        for (name, amount) in &other.0 {
            left.add(name, amount.with_milli(-amount.milli));
        }
        left
    }

    /// Those whose name another has too.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        self.only(|name, _| other.0.contains_key(name))
    }

    /// Those that are wanted.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&str, &Quantity) -> bool) -> Self {
        let all = self.0.iter().filter(|(name, amount)| wanted(name, amount));
        Self(all.map(|(name, amount)| (name.clone(), *amount)).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `pods=1,requests.cpu=500m`
impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, amount)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{name}={amount}")?;
        }
        Ok(())
    }
}
