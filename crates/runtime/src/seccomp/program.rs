//! From a policy to a program of classic BPF (seccomp(2), `linux/filter.h`).
//!
//! ```text
//!   architecture? ── another ──> ENOSYS
//!        │
//!   number ── search tree over ranges with the same answer ──> answer
//!                                                          └─> rules: conditions on arguments
//! ```
//!
//! A program of another architecture (32-bit x86 on x86_64, or its x32 variant) has other numbers
//! for its calls, so all of them fail: such programs do not run in a confined container.

use std::io;

use super::policy::{Action, Compare, Condition, Policy, Rule, known, last};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const OWN_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN_ARCHITECTURE: u32 = 0xc000_00b7;

/// Longest program that the kernel takes, `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const IF_GREATER_OR_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u16,
    /// How many instructions are left out when the comparison holds, and when not.
    yes: u8,
    no: u8,
    operand: u32,
}

impl Instruction {
    const fn plain(code: u16, operand: u32) -> Self {
        Self {
            code,
            yes: 0,
            no: 0,
            operand,
        }
    }

    const fn branch(code: u16, operand: u32, yes: u8, no: u8) -> Self {
        Self {
            code,
            yes,
            no,
            operand,
        }
    }

    fn packed(self) -> u64 {
        let [a, b] = self.code.to_ne_bytes();
        let [c, d, e, f] = self.operand.to_ne_bytes();
        u64::from_ne_bytes([a, b, self.yes, self.no, c, d, e, f])
    }
}

/// The program that gives the policy's answers.
///
/// # Errors
/// When it would be longer than the kernel takes.
pub(super) fn compile(policy: &Policy) -> io::Result<Vec<u64>> {
    let foreign = answer(Action::Errno(libc::ENOSYS as u16));
    let mut code = vec![
        Instruction::plain(LOAD, ARCHITECTURE),
        Instruction::branch(IF_EQUAL, OWN_ARCHITECTURE, 1, 0),
        foreign,
        Instruction::plain(LOAD, NUMBER),
    ];
    code.extend(search(&ranges(policy), policy)?);
    if code.len() > MAX_INSTRUCTIONS {
        return Err(too_long());
    }
    Ok(code.into_iter().map(Instruction::packed).collect())
}

fn too_long() -> io::Error {
    let text = format!("the filter would be longer than {MAX_INSTRUCTIONS} instructions");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// What is answered from a number on, up to the next range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict<'a> {
    Same(Action),
    Depends(&'a [Rule]),
}

fn ranges(policy: &Policy) -> Vec<(u32, Verdict<'_>)> {
    let verdict = |number| match policy.rules.get(&number).map(Vec::as_slice) {
        _ if !known(number) => Verdict::Same(policy.unknown),
        None => Verdict::Same(policy.default),
        Some([only]) if only.conditions.is_empty() => Verdict::Same(only.action),
        Some(rules) => Verdict::Depends(rules),
    };
    let mut ranges: Vec<(u32, Verdict<'_>)> = Vec::new();
    for number in 0..=last() + 1 {
        let verdict = verdict(number);
        if ranges.last().is_none_or(|(_, before)| *before != verdict) {
            ranges.push((number, verdict));
        }
    }
    ranges
}

/// Finds the range of the number that is loaded.
fn search(ranges: &[(u32, Verdict<'_>)], policy: &Policy) -> io::Result<Vec<Instruction>> {
    if let [(_, verdict)] = ranges {
        return leaf(*verdict, policy);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let from = upper.first().map_or(0, |(number, _)| *number);
    let (lower, upper) = (search(lower, policy)?, search(upper, policy)?);
    let mut code = match u8::try_from(lower.len()) {
        Ok(over) => vec![Instruction::branch(IF_GREATER_OR_EQUAL, from, over, 0)],
        Err(_) => vec![
            Instruction::branch(IF_GREATER_OR_EQUAL, from, 0, 1),
            Instruction::plain(JUMP, u32::try_from(lower.len()).map_err(|_| too_long())?),
        ],
    };
    code.extend(lower);
    code.extend(upper);
    Ok(code)
}

fn leaf(verdict: Verdict<'_>, policy: &Policy) -> io::Result<Vec<Instruction>> {
    let rules = match verdict {
        Verdict::Same(action) => return Ok(vec![answer(action)]),
        Verdict::Depends(rules) => rules,
    };
    let mut code = Vec::new();
    for rule in rules {
        code.extend(conditional(rule)?);
    }
    code.push(answer(policy.default));
    Ok(code)
}

/// Where a comparison of a rule leads.
#[derive(Clone, Copy)]
enum Next {
    /// To the instruction behind it.
    On,
    /// Behind the condition, which holds.
    Holds,
    /// Behind the rule, which does not apply.
    Fails,
}

/// An instruction of a condition, before its targets are known.
struct Step(u16, u32, Next, Next);

/// Gives the rule's answer, or goes on behind it.
fn conditional(rule: &Rule) -> io::Result<Vec<Instruction>> {
    let conditions: Vec<Vec<Step>> = rule.conditions.iter().map(steps).collect();
    let total: usize = conditions.iter().map(Vec::len).sum();
    let mut code = Vec::with_capacity(total + 1);
    for steps in conditions {
        let end = code.len() + steps.len();
        for Step(opcode, operand, yes, no) in steps {
            let here = code.len() + 1;
            let distance = |next| match next {
                Next::On => Ok(0),
                Next::Holds => u8::try_from(end - here),
                Next::Fails => u8::try_from(total + 1 - here),
            };
            let (yes, no) = (distance(yes), distance(no));
            let (yes, no) = (yes.map_err(|_| too_long())?, no.map_err(|_| too_long())?);
            code.push(Instruction::branch(opcode, operand, yes, no));
        }
    }
    code.push(answer(rule.action));
    Ok(code)
}

fn steps(condition: &Condition) -> Vec<Step> {
    use Next::{Fails, Holds, On};
    let load = |offset| Step(LOAD, offset, On, On);
    let argument = ARGUMENTS + 8 * u32::from(condition.argument);
    // Both architectures are little-endian.
    let (low, high) = (load(argument), load(argument + 4));
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let is = |half, yes, no| Step(IF_EQUAL, half, yes, no);
    let order = |value: u64, opcode, yes, no| {
        let (value_low, value_high) = halves(value);
        let above = Step(IF_GREATER, value_high, yes, On);
        let level = is(value_high, On, no);
        vec![
            high_of(argument),
            above,
            level,
            low_of(argument),
            Step(opcode, value_low, yes, no),
        ]
    };
    match condition.compare {
        Compare::Equal(value) => {
            let (value_low, value_high) = halves(value);
            vec![
                high,
                is(value_high, On, Fails),
                low,
                is(value_low, On, Fails),
            ]
        }
        Compare::NotEqual(value) => {
            let (value_low, value_high) = halves(value);
            vec![
                high,
                is(value_high, On, Holds),
                low,
                is(value_low, Fails, On),
            ]
        }
        Compare::Masked { mask, value } => {
            let ((mask_low, mask_high), (value_low, value_high)) = (halves(mask), halves(value));
            let and = |mask| Step(AND, mask, On, On);
            let upper = [high, and(mask_high), is(value_high, On, Fails)];
            let lower = [low, and(mask_low), is(value_low, On, Fails)];
            upper.into_iter().chain(lower).collect()
        }
        Compare::Greater(value) => order(value, IF_GREATER, Holds, Fails),
        Compare::GreaterOrEqual(value) => order(value, IF_GREATER_OR_EQUAL, Holds, Fails),
        Compare::LessOrEqual(value) => order(value, IF_GREATER, Fails, Holds),
        Compare::Less(value) => order(value, IF_GREATER_OR_EQUAL, Fails, Holds),
    }
}

fn low_of(argument: u32) -> Step {
    Step(LOAD, argument, Next::On, Next::On)
}

fn high_of(argument: u32) -> Step {
    low_of(argument + 4)
}

fn answer(action: Action) -> Instruction {
    let value = match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Action::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
    };
    Instruction::plain(RETURN, value)
}

/// Hands a program to the kernel, for the calling process and all that it becomes.
pub(super) fn load(code: &[u64], flags: u64) -> io::Result<()> {
    let too_long = |_| too_long();
    let program = libc::sock_fprog {
        len: u16::try_from(code.len()).map_err(too_long)?,
        filter: code.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `program` and what it points to live through the call. A packed instruction has the
    // size and layout of a `sock_filter` (see `packed`), and at least its alignment.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
pub(super) mod tests;
