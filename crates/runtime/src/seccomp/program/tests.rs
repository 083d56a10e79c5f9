use syscalls::Sysno;

use super::*;

/// Interprets a program as the kernel does: the answer to a call.
pub(in super::super) fn walk(code: &[u64], number: u32, arguments: [u64; 6]) -> u32 {
    run(code, OWN_ARCHITECTURE, number, arguments)
}

fn run(code: &[u64], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(architecture.to_ne_bytes());
    data.extend(0u64.to_ne_bytes());
    data.extend(arguments.iter().flat_map(|argument| argument.to_ne_bytes()));
    let (mut accumulator, mut at) = (0u32, 0);
    loop {
        let [a, b, yes, no, c, d, e, f] = code[at].to_ne_bytes();
        let (opcode, operand) = (u16::from_ne_bytes([a, b]), u32::from_ne_bytes([c, d, e, f]));
        let jump = |holds| usize::from(if holds { yes } else { no });
        at += 1;
        match opcode {
            LOAD => {
                let from = operand as usize;
                accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
            }
            AND => accumulator &= operand,
            JUMP => at += operand as usize,
            IF_EQUAL => at += jump(accumulator == operand),
            IF_GREATER => at += jump(accumulator > operand),
            IF_GREATER_OR_EQUAL => at += jump(accumulator >= operand),
            RETURN => return operand,
            other => panic!("opcode {other:#x}"),
        }
    }
}

const DENIED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

fn policy() -> Policy {
    Policy::new(
        Action::Errno(libc::EPERM as u16),
        Action::Errno(libc::ENOSYS as u16),
    )
}

#[test]
fn each_number_gets_its_answer() {
    let mut policy = policy();
    let allowed = [Sysno::read, Sysno::write, Sysno::exit_group, Sysno::last()];
    for call in allowed {
        policy.always(call, Action::Allow);
    }
    policy.always(Sysno::kexec_load, Action::KillProcess);
    let code = compile(&policy).unwrap();
    for number in 0..=last() + 10 {
        let expected = match Sysno::new(number as usize) {
            None => UNKNOWN,
            Some(call) if allowed.contains(&call) => ALLOWED,
            Some(Sysno::kexec_load) => libc::SECCOMP_RET_KILL_PROCESS,
            Some(_) => DENIED,
        };
        assert_eq!(walk(&code, number, [0; 6]), expected, "call {number}");
    }
}

#[test]
fn other_architectures_have_no_calls() {
    let mut policy = policy();
    policy.always(Sysno::read, Action::Allow);
    let code = compile(&policy).unwrap();
    let i386 = 0x4000_0003;
    assert_eq!(run(&code, i386, 0, [0; 6]), UNKNOWN);
    // x32 has the same architecture and a bit in the number.
    assert_eq!(walk(&code, 0x4000_0000, [0; 6]), UNKNOWN);
}

#[test]
fn arguments_are_compared_in_all_their_bits() {
    let big = 0x1_0000_0005;
    let table = [
        (Compare::Equal(5), vec![5], vec![4, big, u64::MAX]),
        (Compare::Equal(big), vec![big], vec![5, 1 << 32]),
        (Compare::NotEqual(5), vec![4, big], vec![5]),
        (Compare::NotEqual(big), vec![5, 1 << 32], vec![big]),
        (Compare::Less(big), vec![0, 5, 1 << 32], vec![big, u64::MAX]),
        (
            Compare::LessOrEqual(big),
            vec![0, big],
            vec![big + 1, 2 << 32],
        ),
        (Compare::Greater(5), vec![6, 1 << 32], vec![5, 0]),
        (
            Compare::GreaterOrEqual(big),
            vec![big, 2 << 32],
            vec![5, 1 << 32],
        ),
        (
            Compare::Masked {
                mask: 0xf0 | 3 << 32,
                value: 0x10 | 1 << 32,
            },
            vec![0x1f | 1 << 32, 0x10 | 5 << 32],
            vec![0x10, 0x20 | 1 << 32, 0x10 | 3 << 32],
        ),
    ];
    for (compare, holds, fails) in table {
        let mut policy = policy();
        let argument = Condition {
            argument: 3,
            compare,
        };
        policy.add(Sysno::read, vec![argument], Action::Allow);
        let code = compile(&policy).unwrap();
        let of = |value| walk(&code, 0, [9, 9, 9, value, 9, 9]);
        for value in holds {
            assert_eq!(of(value), ALLOWED, "{compare:?} of {value:#x}");
        }
        for value in fails {
            assert_eq!(of(value), DENIED, "{compare:?} of {value:#x}");
        }
    }
}

#[test]
fn all_conditions_of_a_rule_and_the_first_rule_count() {
    let mut policy = policy();
    let is = |argument, value| Condition {
        argument,
        compare: Compare::Equal(value),
    };
    policy.always(Sysno::read, Action::Log);
    policy.add(Sysno::read, vec![is(0, 1), is(1, 2)], Action::Allow);
    policy.add(Sysno::read, vec![is(0, 1)], Action::Trap);
    let code = compile(&policy).unwrap();
    let of = |a, b| walk(&code, 0, [a, b, 0, 0, 0, 0]);
    assert_eq!(of(1, 2), ALLOWED);
    assert_eq!(of(1, 3), libc::SECCOMP_RET_TRAP);
    assert_eq!(of(2, 2), libc::SECCOMP_RET_LOG);
}

#[test]
fn long_programs_jump_far_and_endless_ones_are_refused() {
    let mut policy = policy();
    let rules = |policy: &mut Policy, count: u64| {
        for number in (0..200).step_by(2) {
            let call = Sysno::new(number).unwrap();
            for value in 0..count {
                let compare = Compare::Equal(value);
                let condition = Condition {
                    argument: 0,
                    compare,
                };
                policy.add(call, vec![condition], Action::Allow);
            }
        }
    };
    rules(&mut policy, 5);
    let code = compile(&policy).unwrap();
    assert!(code.len() > 1000);
    for number in 0..200 {
        let expected = if number % 2 == 0 { ALLOWED } else { DENIED };
        assert_eq!(walk(&code, number, [4; 6]), expected, "call {number}");
        assert_eq!(walk(&code, number, [7; 6]), DENIED, "call {number}");
    }
    rules(&mut policy, 20);
    assert!(compile(&policy).is_err());
}
