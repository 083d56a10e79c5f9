//! The form of a script.
//!
//! ```text
//! # Prose, between commands.
//!
//! $ kubectl get configmap settings          a command; bash reads it
//! > -o name                                 further lines of it
//!   configmap/settings                      what it prints to standard output, indented by two
//! ! Warning: …                              what it prints to standard error
//! ? 1                                       its exit code, unless that is 0
//!
//! ~ kubectl get pods                        a command that is repeated until it prints this
//!
//! $ kubectl exec web -- true
//! @ 1.28                                    what only this generation prints
//! ! error: …
//! ? 1
//! @ 1.32 1.36                               what only these do
//! ```
//!
//! A generation that no `@` names must print what one of them does.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What a command did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
    pub code: i32,
}

/// What a command should do, with these minor versions of kubectl; with all if there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variant {
    pub minors: Vec<u32>,
    pub wanted: Seen,
}

/// A command.
#[derive(Debug, Default)]
pub struct Step {
    /// Comments and empty lines before it.
    before: Vec<String>,
    pub lines: Vec<String>,
    /// Whether it is repeated until it prints what it should.
    pub repeated: bool,
    pub variants: Vec<Variant>,
}

#[derive(Debug, Default)]
pub struct Script {
    pub steps: Vec<Step>,
    after: Vec<String>,
}

/// `apply` of `scripts/10-apply.txt`.
pub fn topic(path: &Path) -> String {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem.split_once('-').unwrap_or(("", stem)).1.to_owned()
}

impl Script {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        Self::parse(&text).unwrap_or_else(|reason| panic!("{}: {reason}", path.display()))
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.render()).unwrap();
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        for (number, line) in text.lines().enumerate() {
            script
                .take(line)
                .map_err(|reason| format!("line {}: {reason}: {line}", number + 1))?;
        }
        for step in &mut script.steps {
            for variant in &mut step.variants {
                trim(&mut variant.wanted.stdout);
            }
        }
        Ok(script)
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let (mark, rest) = line.split_at(line.len().min(2));
        match mark {
            "$ " | "~ " => self.steps.push(Step {
                before: std::mem::take(&mut self.after),
                lines: vec![rest.to_owned()],
                repeated: mark == "~ ",
                variants: Vec::new(),
            }),
            "> " | ">" => self.step()?.lines.push(rest.to_owned()),
            "@ " => {
                let minors: Result<Vec<u32>, String> = rest.split(' ').map(minor).collect();
                let variant = Variant {
                    minors: minors?,
                    wanted: Seen::default(),
                };
                self.step()?.variants.push(variant);
            }
            "  " => {
                // Empty lines within the output were taken for those that follow it.
                let empty = std::mem::take(&mut self.after);
                let wanted = self.wanted()?;
                wanted.stdout.extend(empty);
                wanted.stdout.push(rest.to_owned());
            }
            "! " | "!" => self.wanted()?.stderr.push(rest.to_owned()),
            "? " => self.wanted()?.code = rest.parse().map_err(|_| "no exit code")?,
            "" => self.after.push(String::new()),
            _ if line.starts_with('#') => self.after.push(line.to_owned()),
            _ => return Err("neither command nor output nor comment".into()),
        }
        Ok(())
    }

    fn step(&mut self) -> Result<&mut Step, String> {
        self.steps
            .last_mut()
            .ok_or_else(|| "no command before".into())
    }

    fn wanted(&mut self) -> Result<&mut Seen, String> {
        let variants = &mut self.step()?.variants;
        if variants.is_empty() {
            variants.push(Variant::default());
        }
        let last = variants.last_mut().ok_or("no command before")?;
        Ok(&mut last.wanted)
    }

    fn render(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            step.render(&mut text);
        }
        for line in &self.after {
            let _ = writeln!(text, "{line}");
        }
        format!("{}\n", text.trim_end())
    }
}

fn minor(version: &str) -> Result<u32, String> {
    version
        .strip_prefix("1.")
        .and_then(|minor| minor.parse().ok())
        .ok_or_else(|| format!("no version of kubectl: {version}"))
}

fn trim(lines: &mut Vec<String>) {
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
}

impl Step {
    pub fn command(&self) -> String {
        self.lines.join("\n")
    }

    /// Whether the command did what this generation should make it do.
    pub fn check(&self, minor: u32, seen: &Seen) -> Result<(), String> {
        let own = self
            .variants
            .iter()
            .find(|variant| variant.minors.contains(&minor));
        let silent = Seen::default();
        let allowed: Vec<&Seen> = match own {
            Some(variant) => vec![&variant.wanted],
            None if self.variants.is_empty() => vec![&silent],
            None => self
                .variants
                .iter()
                .map(|variant| &variant.wanted)
                .collect(),
        };
        if allowed.contains(&seen) {
            return Ok(());
        }
        let mut text = format!("$ {}\n--- wanted\n", self.command());
        allowed[0].render(&mut text);
        text.push_str("--- printed\n");
        seen.render(&mut text);
        Err(text)
    }

    /// Takes what the command did as what it should do with this generation.
    pub fn record(&mut self, minor: u32, seen: Seen) {
        let mut by_minor: Vec<(u32, Seen)> = Vec::new();
        for variant in &self.variants {
            for known in &variant.minors {
                by_minor.push((*known, variant.wanted.clone()));
            }
        }
        by_minor.retain(|(known, _)| *known != minor);
        by_minor.push((minor, seen));
        by_minor.sort_by_key(|(minor, _)| *minor);
        self.variants.clear();
        for (minor, wanted) in by_minor {
            match self.variants.iter_mut().find(|one| one.wanted == wanted) {
                Some(variant) => variant.minors.push(minor),
                None => self.variants.push(Variant {
                    minors: vec![minor],
                    wanted,
                }),
            }
        }
    }

    fn render(&self, text: &mut String) {
        for line in &self.before {
            let _ = writeln!(text, "{line}");
        }
        for (at, line) in self.lines.iter().enumerate() {
            let mark = match (at, self.repeated) {
                (0, false) => "$",
                (0, true) => "~",
                _ => ">",
            };
            let _ = writeln!(text, "{}", format!("{mark} {line}").trim_end());
        }
        for variant in &self.variants {
            if self.variants.len() > 1 {
                let names: Vec<String> = variant
                    .minors
                    .iter()
                    .map(|minor| format!("1.{minor}"))
                    .collect();
                let _ = writeln!(text, "@ {}", names.join(" "));
            }
            variant.wanted.render(text);
        }
    }
}

impl Seen {
    fn render(&self, text: &mut String) {
        for line in &self.stdout {
            let _ = writeln!(text, "{}", format!("  {line}").trim_end());
        }
        for line in &self.stderr {
            let _ = writeln!(text, "{}", format!("! {line}").trim_end());
        }
        if self.code != 0 {
            let _ = writeln!(text, "? {}", self.code);
        }
    }

    /// What was printed, without empty lines at the end.
    pub fn new(stdout: &str, stderr: &str, code: i32) -> Self {
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            trim(&mut lines);
            lines
        };
        Self {
            stdout: lines(stdout),
            stderr: lines(stderr),
            code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A story.

$ kubectl get a \\
> -o b
  one

  two
! Warning: three
? 1

# Of which there is more.
~ kubectl exec
@ 1.28
! no
? 1
@ 1.32 1.36
  yes
";

    #[test]
    fn a_script_is_read_and_written_alike() {
        let script = Script::parse(TEXT).unwrap();
        assert_eq!(script.steps.len(), 2);
        assert_eq!(script.steps[0].command(), "kubectl get a \\\n-o b");
        let wanted = Seen::new("one\n\ntwo\n", "Warning: three\n", 1);
        assert_eq!(script.steps[0].check(30, &wanted), Ok(()));
        assert!(script.steps[1].repeated);
        assert_eq!(script.render(), TEXT);
        assert!(Script::parse("  output of nothing").is_err());
    }

    #[test]
    fn a_generation_prints_its_own_variant_and_an_unknown_one_any() {
        let script = Script::parse(TEXT).unwrap();
        let (yes, no) = (Seen::new("yes\n", "", 0), Seen::new("", "no\n", 1));
        let step = &script.steps[1];
        assert!(step.check(28, &no).is_ok() && step.check(36, &yes).is_ok());
        assert!(step.check(28, &yes).is_err() && step.check(36, &no).is_err());
        assert!(step.check(30, &yes).is_ok() && step.check(30, &no).is_ok());
        assert!(step.check(30, &Seen::default()).is_err());
    }

    #[test]
    fn equal_outputs_of_generations_are_written_once() {
        let mut step = Step::default();
        step.record(36, Seen::new("a", "", 0));
        step.record(28, Seen::new("a", "", 0));
        assert_eq!(step.variants.len(), 1);
        step.record(28, Seen::new("b", "", 0));
        let minors: Vec<&[u32]> = step.variants.iter().map(|one| &one.minors[..]).collect();
        assert_eq!(minors, [&[28][..], &[36]]);
    }
}
