//! What budgets asked of those who keep their pods and that no watch shows: custom kinds.
//!
//! ```text
//!  plan ──> somebody is not asked yet: AskScale, no plan ──Keeps, Gone, Refused──> plan anew, with the answers
//!                                                                                       └──> forgotten
//! ```
//!
//! An answer is good for one plan: the next one asks again, since nothing tells when it has changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::action::{Action, Key, Outcome};
use crate::facts::Controller;

/// Whom budgets asked, by uid, and what they said.
#[derive(Default)]
pub struct Scales(BTreeMap<Key, BTreeMap<String, Answer>>);

enum Answer {
    Awaited,
    Said(Result<Option<i32>, String>),
}

impl Scales {
    /// Asks those who were not asked yet; says whether all have answered.
    pub fn ask<'a>(
        &mut self,
        by: &Key,
        keepers: impl Iterator<Item = &'a Arc<Controller>>,
        actions: &mut Vec<Action>,
    ) -> bool {
        for keeper in keepers {
            let asked = self.0.entry(by.clone()).or_default();
            asked.entry(keeper.uid.clone()).or_insert_with(|| {
                actions.push(Action::AskScale {
                    by: by.clone(),
                    keeper: Arc::clone(keeper),
                });
                Answer::Awaited
            });
        }
        let asked = self.0.get(by).into_iter().flat_map(BTreeMap::values);
        !asked
            .into_iter()
            .any(|answer| matches!(answer, Answer::Awaited))
    }

    /// Takes in an answer.
    pub fn answered(&mut self, by: &Key, keeper: &Controller, outcome: &Outcome) {
        let asked = self.0.get_mut(by);
        if let Some(answer) = asked.and_then(|asked| asked.get_mut(&keeper.uid)) {
            *answer = Answer::Said(match outcome {
                Outcome::Keeps(count) => Ok(Some(*count)),
                Outcome::Refused(why) => Err(why.clone()),
                _ => Ok(None),
            });
        }
    }

    /// How many pods he keeps who was asked: his uid and the number.
    pub fn said(&self, by: &Key, keeper: &Controller) -> Result<Option<(String, i32)>, String> {
        match self.0.get(by).and_then(|asked| asked.get(&keeper.uid)) {
            Some(Answer::Said(said)) => {
                let count = said.clone()?;
                Ok(count.map(|count| (keeper.uid.clone(), count)))
            }
            _ => Ok(None),
        }
    }

    /// The answers went into a plan; says whether one of them was none.
    pub fn used(&mut self, by: &Key) -> bool {
        let asked = self.0.remove(by).unwrap_or_default();
        let mut answers = asked.into_values();
        answers.any(|answer| matches!(answer, Answer::Said(Err(_))))
    }

    /// Nobody asks any more.
    pub fn forget(&mut self, by: &Key) {
        self.0.remove(by);
    }
}
