//! A profile becomes a program.
//!
//! For each architecture, the numbers of all calls are cut into ranges in which the same thing
//! happens, and the ranges become a binary search. BPF jumps only forward, so a node stands before
//! its two halves: `if number >= middle, skip the lower half`.

use super::{Action, Comparison, Condition, Filter, Profile, Rule, table};
use crate::{Error, Result};

/// `struct sock_filter` of `linux/filter.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    number: u32,
}

/// The most instructions that the kernel takes, `BPF_MAXINSNS`.
const PROGRAM_LIMIT: usize = 4096;

// Codes of `linux/bpf_common.h`.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

// Where the call's data lies, `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

// `AUDIT_ARCH_…` of `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
const COMPAT: u32 = 0x4000_0003;

/// The bit of x32, a third way to call an x86-64 kernel. Such calls don't exist for a container.
const X32: u32 = 0x4000_0000;

/// No such call; errno(3).
const ENOSYS: u16 = 38;

pub(super) fn compile(profile: &Profile) -> Result<Filter> {
    check(profile)?;
    // Each name is looked up once, whatever the architectures are.
    let numbers_of = |rule| move |name: &String| table::find(name).map(|numbers| (numbers, rule));
    let named: Vec<_> =
        profile.rules.iter().flat_map(|rule| rule.names.iter().filter_map(numbers_of(rule))).collect();
    let mut native = calls(&named, |numbers| numbers.native);
    let syscalls = u32::try_from(native.len()).unwrap_or(u32::MAX);
    if cfg!(target_arch = "x86_64") {
        native.push((X32, Leaf::always(Action::Errno(ENOSYS))));
    }
    let mut program = vec![instruction(LOAD, ARCHITECTURE)];
    only_if(NATIVE, &ranges(native, profile.default_action, X32), &mut program);
    if profile.compat && cfg!(target_arch = "x86_64") {
        let compat = calls(&named, |numbers| numbers.compat);
        only_if(COMPAT, &ranges(compat, profile.default_action, u32::MAX), &mut program);
    }
    program.push(instruction(RETURN, code(Action::KillProcess)));
    if program.len() > PROGRAM_LIMIT {
        return Err(Error::Invalid {
            what: "seccomp profile",
            value: format!("{} instructions", program.len()),
            reason: "the kernel takes at most 4096",
        });
    }
    Ok(Filter { program, default_action: profile.default_action, syscalls })
}

fn check(profile: &Profile) -> Result<()> {
    let conditions = profile.rules.iter().flat_map(|rule| &rule.conditions);
    match conditions.into_iter().find(|condition| condition.argument > 5) {
        None => Ok(()),
        Some(condition) => Err(Error::Invalid {
            what: "seccomp condition",
            value: format!("argument {}", condition.argument),
            reason: "a system call has six, from 0 to 5",
        }),
    }
}

/// What happens at one number: the first choice whose conditions hold, or else the last word.
#[derive(Clone, Debug, PartialEq)]
struct Leaf<'p> {
    choices: Vec<(&'p [Condition], Action)>,
    /// `None` is the profile's default.
    otherwise: Option<Action>,
}

impl<'p> Leaf<'p> {
    fn always(action: Action) -> Self {
        Self { choices: Vec::new(), otherwise: Some(action) }
    }

    /// Takes in the next rule for the number.
    fn add(&mut self, rule: &'p Rule) {
        match self.otherwise {
            // An earlier rule decides always.
            Some(_) => {}
            None if rule.conditions.is_empty() => self.otherwise = Some(rule.action),
            None => self.choices.push((&rule.conditions, rule.action)),
        }
    }
}

/// What happens at each number that a rule names, by number.
fn calls<'p>(
    named: &[(table::Numbers, &'p Rule)],
    number: impl Fn(&table::Numbers) -> Option<u32>,
) -> Vec<(u32, Leaf<'p>)> {
    let mut rules: Vec<_> =
        named.iter().filter_map(|(numbers, rule)| Some((number(numbers)?, *rule))).collect();
    // Rules for the same number stay in their order.
    rules.sort_by_key(|(number, _)| *number);
    let mut calls: Vec<(u32, Leaf<'_>)> = Vec::with_capacity(rules.len() + 1);
    for (number, rule) in rules {
        match calls.last_mut() {
            Some((same, leaf)) if *same == number => leaf.add(rule),
            _ => {
                let mut leaf = Leaf { choices: Vec::new(), otherwise: None };
                leaf.add(rule);
                calls.push((number, leaf));
            }
        }
    }
    calls
}

/// Where each range of numbers begins, and what happens in it. From `endless` on, the last range
/// goes on to the largest number.
fn ranges<'p>(calls: Vec<(u32, Leaf<'p>)>, default: Action, endless: u32) -> Vec<(u32, Leaf<'p>)> {
    let default = Leaf::always(default);
    let mut ranges = Vec::with_capacity(calls.len());
    ranges.push((0, default.clone()));
    let mut next = 0;
    for (number, mut leaf) in calls {
        leaf.otherwise = leaf.otherwise.or(default.otherwise);
        if number > next {
            push(&mut ranges, next, default.clone());
        }
        push(&mut ranges, number, leaf);
        next = number.saturating_add(1);
    }
    if next <= endless {
        push(&mut ranges, next, default);
    }
    ranges
}

/// Adds a range, unless it goes on as the last one does; an empty one before it goes.
fn push<'p>(ranges: &mut Vec<(u32, Leaf<'p>)>, start: u32, leaf: Leaf<'p>) {
    if ranges.last().is_some_and(|(last, _)| *last == start) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|(_, last)| *last != leaf) {
        ranges.push((start, leaf));
    }
}

/// Adds the code for one architecture, skipped for others. The number is loaded before the search.
fn only_if(architecture: u32, ranges: &[(u32, Leaf<'_>)], program: &mut Vec<Instruction>) {
    // Equal: on to the search. Not equal: over it; the jump in between is for distances that a test can't jump.
    program.push(Instruction { code: JUMP_EQUAL, jump_true: 1, jump_false: 0, number: architecture });
    let jump = program.len();
    program.push(instruction(LOAD, NUMBER));
    search(ranges, program);
    program.insert(jump, instruction(JUMP, distance(program, jump)));
}

/// Adds the binary search over ranges, with what happens in each at its leaves.
fn search(ranges: &[(u32, Leaf<'_>)], program: &mut Vec<Instruction>) {
    match ranges {
        [] => {}
        [(_, leaf)] => leaf_code(leaf, program),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let middle = upper.first().map_or(0, |(start, _)| *start);
            let test = program.len();
            search(lower, program);
            // How far a test jumps is known when what it skips is there. It can jump 255 far, a plain jump any distance.
            match u8::try_from(program.len() - test) {
                Ok(jump_true) => program.insert(
                    test,
                    Instruction { code: JUMP_GREATER_EQUAL, jump_true, jump_false: 0, number: middle },
                ),
                Err(_) => {
                    let jump = instruction(JUMP, distance(program, test));
                    let over =
                        Instruction { code: JUMP_GREATER_EQUAL, jump_true: 0, jump_false: 1, number: middle };
                    program.splice(test..test, [over, jump]);
                }
            }
            search(upper, program);
        }
    }
}

/// How many instructions there are from a place to the end.
fn distance(program: &[Instruction], from: usize) -> u32 {
    u32::try_from(program.len() - from).unwrap_or(u32::MAX)
}

fn instruction(code: u16, number: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, number }
}

fn leaf_code(leaf: &Leaf<'_>, program: &mut Vec<Instruction>) {
    for (conditions, action) in &leaf.choices {
        program.extend(choice_code(conditions, *action));
    }
    program.push(instruction(RETURN, code(leaf.otherwise.unwrap_or(Action::KillProcess))));
}

/// Where a test of a condition leads.
#[derive(Clone, Copy)]
enum To {
    /// To the next test of the same condition.
    Next,
    /// The condition holds.
    Holds,
    /// It does not, and so the choice is out.
    Fails,
}

/// One step of a condition.
enum Step {
    Load(u32),
    And(u32),
    Test { code: u16, number: u32, yes: To, no: To },
}

/// All conditions, and the action if they hold; else on to what follows.
fn choice_code(conditions: &[Condition], action: Action) -> Vec<Instruction> {
    let steps: Vec<_> = conditions.iter().map(steps).collect();
    let total: usize = steps.iter().map(Vec::len).sum::<usize>() + 1;
    let mut program: Vec<Instruction> = Vec::new();
    for condition in steps {
        let end = program.len() + condition.len();
        for step in condition {
            let here = program.len() + 1;
            // At most 32 instructions a condition and six conditions: every distance fits.
            let distance = |to| {
                u8::try_from(match to {
                    To::Next => 0,
                    To::Holds => end - here,
                    To::Fails => total - here,
                })
                .unwrap_or(u8::MAX)
            };
            program.push(match step {
                Step::Load(offset) => instruction(LOAD, offset),
                Step::And(mask) => instruction(AND, mask),
                Step::Test { code, number, yes, no } => {
                    Instruction { code, jump_true: distance(yes), jump_false: distance(no), number }
                }
            });
        }
    }
    program.push(instruction(RETURN, code(action)));
    program
}

/// A comparison of 64 bits, from two of 32: the machine's words are half as long as the arguments.
fn steps(condition: &Condition) -> Vec<Step> {
    use To::{Fails, Holds, Next};
    let low_at = ARGUMENTS + 8 * u32::from(condition.argument);
    // Both architectures here store the low half first.
    let high_at = low_at + 4;
    let halves = |value: u64| ((value >> 32) as u32, (value & 0xffff_ffff) as u32);
    let (high, low) = halves(condition.value);
    let test = |code, number, yes, no| Step::Test { code, number, yes, no };
    match condition.comparison {
        Comparison::Equal => vec![
            Step::Load(high_at),
            test(JUMP_EQUAL, high, Next, Fails),
            Step::Load(low_at),
            test(JUMP_EQUAL, low, Holds, Fails),
        ],
        Comparison::NotEqual => vec![
            Step::Load(high_at),
            test(JUMP_EQUAL, high, Next, Holds),
            Step::Load(low_at),
            test(JUMP_EQUAL, low, Fails, Holds),
        ],
        Comparison::MaskedEqual(mask) => {
            let (high_mask, low_mask) = halves(mask);
            vec![
                Step::Load(high_at),
                Step::And(high_mask),
                test(JUMP_EQUAL, high, Next, Fails),
                Step::Load(low_at),
                Step::And(low_mask),
                test(JUMP_EQUAL, low, Holds, Fails),
            ]
        }
        Comparison::Greater => ordered(high_at, high, low, JUMP_GREATER, Holds, Fails),
        Comparison::GreaterOrEqual => ordered(high_at, high, low, JUMP_GREATER_EQUAL, Holds, Fails),
        Comparison::Less => ordered(high_at, high, low, JUMP_GREATER_EQUAL, Fails, Holds),
        Comparison::LessOrEqual => ordered(high_at, high, low, JUMP_GREATER, Fails, Holds),
    }
}

/// The high half decides unless it is equal; then the low half does, by `test`.
fn ordered(high_at: u32, high: u32, low: u32, test: u16, above: To, below: To) -> Vec<Step> {
    vec![
        Step::Load(high_at),
        Step::Test { code: JUMP_GREATER, number: high, yes: above, no: To::Next },
        Step::Test { code: JUMP_EQUAL, number: high, yes: To::Next, no: below },
        Step::Load(high_at - 4),
        Step::Test { code: test, number: low, yes: above, no: below },
    ]
}

/// The number that stands for an action, `SECCOMP_RET_…`.
fn code(action: Action) -> u32 {
    match action {
        Action::KillProcess => 0x8000_0000,
        Action::KillThread => 0,
        Action::Trap => 0x0003_0000,
        Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
        Action::Trace(number) => 0x7ff0_0000 | u32::from(number),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    }
}

#[cfg(test)]
mod tests;
