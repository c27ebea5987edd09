//! The compiler against a second reading of the same rules: the program is run here, by a
//! machine of a dozen lines, and must answer as the profile itself does.

use proptest::prelude::*;

use super::super::Rule;
use super::*;
use crate::capability;

/// Runs a program as the kernel does; gives its answer and how many steps it took.
fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> (u32, usize) {
    let load = |offset: u32| match offset {
        NUMBER => number,
        ARCHITECTURE => architecture,
        _ => {
            let word = arguments[(offset - ARGUMENTS) as usize / 8];
            if offset.is_multiple_of(8) { word as u32 } else { (word >> 32) as u32 }
        }
    };
    let (mut at, mut accumulator) = (0, 0_u32);
    for step in 1.. {
        let Instruction { code, jump_true, jump_false, number } = program[at];
        let jump = |holds: bool| usize::from(if holds { jump_true } else { jump_false });
        at += 1;
        match code {
            LOAD => accumulator = load(number),
            AND => accumulator &= number,
            JUMP => at += number as usize,
            JUMP_EQUAL => at += jump(accumulator == number),
            JUMP_GREATER => at += jump(accumulator > number),
            JUMP_GREATER_EQUAL => at += jump(accumulator >= number),
            RETURN => return (number, step),
            other => panic!("no such instruction: {other:#x}"),
        }
    }
    unreachable!("programs end")
}

/// What the profile says, read directly.
fn expected(profile: &Profile, name: &str, arguments: [u64; 6]) -> u32 {
    let holds = |condition: &Condition| {
        let argument = arguments[usize::from(condition.argument)];
        match condition.comparison {
            Comparison::NotEqual => argument != condition.value,
            Comparison::Less => argument < condition.value,
            Comparison::LessOrEqual => argument <= condition.value,
            Comparison::Equal => argument == condition.value,
            Comparison::GreaterOrEqual => argument >= condition.value,
            Comparison::Greater => argument > condition.value,
            Comparison::MaskedEqual(mask) => argument & mask == condition.value,
        }
    };
    let rule = profile
        .rules
        .iter()
        .find(|rule| rule.names.iter().any(|known| known == name) && rule.conditions.iter().all(holds));
    code(rule.map_or(profile.default_action, |rule| rule.action))
}

fn number(name: &str) -> u32 {
    table::find(name).and_then(|numbers| numbers.native).expect("a call of this machine")
}

const NAMES: [&str; 8] = ["read", "write", "open", "close", "stat", "clone", "personality", "mseal"];

/// Values near each other in both halves, so that comparisons meet their borders.
fn values() -> impl Strategy<Value = u64> {
    let half =
        prop_oneof![Just(0_u64), Just(1), Just(2), Just(0x7fff_ffff), Just(0xffff_fffe), Just(0xffff_ffff)];
    (half.clone(), half).prop_map(|(high, low)| high << 32 | low)
}

fn conditions() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Equal),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::Greater),
        values().prop_map(Comparison::MaskedEqual),
    ];
    (0..6_u8, comparison, values()).prop_map(|(argument, comparison, value)| Condition {
        argument,
        comparison,
        value,
    })
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), (1..200_u16).prop_map(Action::Errno), Just(Action::Log)]
}

fn profiles() -> impl Strategy<Value = Profile> {
    let names = proptest::sample::subsequence(NAMES.to_vec(), 1..4);
    let rule = (names, actions(), proptest::collection::vec(conditions(), 0..3)).prop_map(
        |(names, action, conditions)| Rule {
            names: names.into_iter().map(str::to_owned).collect(),
            action,
            conditions,
        },
    );
    (actions(), proptest::collection::vec(rule, 0..6)).prop_map(|(default_action, rules)| Profile {
        default_action,
        rules,
        compat: true,
    })
}

proptest! {
    #[test]
    fn the_program_answers_as_the_profile_does(
        profile in profiles(),
        arguments in proptest::array::uniform6(values()),
    ) {
        let filter = profile.compile().expect("it is small");
        for name in NAMES {
            let (answer, _) = run(&filter.program, NATIVE, number(name), arguments);
            prop_assert_eq!(answer, expected(&profile, name, arguments), "{}", name);
        }
    }
}

#[test]
fn dockers_profile_allows_and_refuses() {
    let filter = Profile::docker_default(capability::Set::docker_default()).compile().expect("it fits");
    let answer = |name, first| run(&filter.program, NATIVE, number(name), [first, 0, 0, 0, 0, 0]).0;
    let refused = code(Action::Errno(1));
    for name in ["read", "openat", "execve", "mseal", "chroot", "io_pgetevents"] {
        assert_eq!(answer(name, 0), code(Action::Allow), "{name}");
    }
    for name in
        ["mount", "unshare", "bpf", "keyctl", "io_uring_setup", "kexec_load", "pivot_root", "userfaultfd"]
    {
        assert_eq!(answer(name, 0), refused, "{name}");
    }
    assert_eq!(answer("clone3", 0), code(Action::Errno(38)));
    assert_eq!(answer("clone", libc::CLONE_NEWUSER as u64), refused);
    assert_eq!(answer("clone", libc::CLONE_VM as u64), code(Action::Allow));
    assert_eq!(answer("socket", 40), refused);
    assert_eq!(answer("socket", 2), code(Action::Allow));
    assert_eq!(answer("personality", 8), code(Action::Allow));
    assert_eq!(answer("personality", 0x0040_0000), refused);
}

#[test]
fn capabilities_allow_more() {
    let all = Profile::docker_default(capability::Set::all()).compile().expect("it fits");
    for name in ["mount", "clone3", "clone", "reboot", "bpf"] {
        let (answer, _) = run(&all.program, NATIVE, number(name), [u64::MAX; 6]);
        assert_eq!(answer, code(Action::Allow), "{name}");
    }
}

#[test]
fn strange_numbers_and_architectures() {
    let filter = Profile::docker_default(capability::Set::docker_default()).compile().expect("it fits");
    let answer = |architecture, number| run(&filter.program, architecture, number, [0; 6]).0;
    assert_eq!(answer(NATIVE, 0x3fff_ffff), code(Action::Errno(1)));
    assert_eq!(answer(NATIVE, 9999), code(Action::Errno(1)));
    assert_eq!(answer(0x1234, 0), code(Action::KillProcess));
    #[cfg(target_arch = "x86_64")]
    {
        // Every number with the x32 bit; and 32-bit x86, where read is 3 and mount is 21.
        for number in [X32, X32 + 1, X32 + 500, u32::MAX] {
            assert_eq!(answer(NATIVE, number), code(Action::Errno(ENOSYS)), "{number:#x}");
        }
        assert_eq!(answer(COMPAT, 3), code(Action::Allow));
        assert_eq!(answer(COMPAT, 21), code(Action::Errno(1)));
        let strict = Profile { compat: false, ..Profile::docker_default(capability::Set::EMPTY) };
        let strict = strict.compile().expect("it fits");
        assert_eq!(run(&strict.program, COMPAT, 3, [0; 6]).0, code(Action::KillProcess));
    }
}

#[test]
fn no_call_costs_more_than_a_search() {
    let filter = Profile::docker_default(capability::Set::docker_default()).compile().expect("it fits");
    let most = (0..600).map(|number| run(&filter.program, NATIVE, number, [0; 6]).1).max();
    assert!(most.is_some_and(|steps| steps <= 24), "{most:?} of {}", filter.len());
}

#[test]
fn what_cant_be_compiled_is_refused() {
    let condition = Condition { argument: 6, comparison: Comparison::Equal, value: 0 };
    let rule = Rule { names: vec!["read".into()], action: Action::Allow, conditions: vec![condition] };
    let profile = Profile { default_action: Action::Allow, rules: vec![rule], compat: false };
    assert!(matches!(profile.compile(), Err(Error::Invalid { .. })));

    let mut long = Profile { default_action: Action::Allow, rules: Vec::new(), compat: false };
    for value in 0..2000 {
        let condition = Condition { argument: 0, comparison: Comparison::Equal, value };
        long.rules.push(Rule {
            names: vec!["read".into()],
            action: Action::Log,
            conditions: vec![condition],
        });
    }
    assert!(matches!(long.compile(), Err(Error::Invalid { .. })));
}

#[test]
fn unknown_names_are_warned_of() {
    let rule = Rule { names: vec!["no_such_call".into()], action: Action::Allow, conditions: Vec::new() };
    let profile = Profile { default_action: Action::Allow, rules: vec![rule], compat: false };
    assert_eq!(profile.warnings().len(), 1);
    let docker = Profile::docker_default(capability::Set::all());
    assert_eq!(docker.warnings(), []);
}
