//! Figures and how they are shown.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// Times of one thing done several times.
#[derive(Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
        self.0.sort_unstable();
    }

    /// The smallest sample that at least that share (0 to 1) of all does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    fn row(&self) -> Value {
        let ms = |time: Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
        json!({
            "samples": self.0.len(),
            "min_ms": ms(self.quantile(0.0)),
            "p50_ms": ms(self.quantile(0.5)),
            "p90_ms": ms(self.quantile(0.9)),
            "p99_ms": ms(self.quantile(0.99)),
            "max_ms": ms(self.quantile(1.0)),
        })
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut samples = Self::default();
        times.into_iter().for_each(|time| samples.push(time));
        samples
    }
}

/// All figures of one run.
pub struct Report {
    machine: String,
    rows: Vec<(String, Value)>,
}

impl Report {
    /// An empty report.
    pub fn new(machine: String) -> Self {
        Self {
            machine,
            rows: Vec::new(),
        }
    }

    /// Adds times.
    pub fn times(&mut self, what: &str, samples: &Samples) {
        self.row(what, samples.row());
    }

    /// Adds a row of named numbers.
    pub fn row(&mut self, what: &str, numbers: Value) {
        eprintln!("{what}: {numbers}");
        self.rows.push((what.to_owned(), numbers));
    }

    /// All in one line, for programs.
    pub fn json(&self) -> Value {
        let rows: serde_json::Map<String, Value> = self.rows.iter().cloned().collect();
        json!({"machine": self.machine, "figures": rows})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .rows
            .iter()
            .map(|(what, _)| what.len())
            .max()
            .unwrap_or_default();
        writeln!(to, "{}\n", self.machine)?;
        for (what, numbers) in &self.rows {
            write!(to, "{what:width$}")?;
            for (name, number) in numbers.as_object().into_iter().flatten() {
                write!(to, "  {name} {number:>8}", number = number.to_string())?;
            }
            writeln!(to)?;
        }
        Ok(())
    }
}
