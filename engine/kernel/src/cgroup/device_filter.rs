//! Which devices a v2 group may use: a small program in the kernel, asked at each open(2) and
//! mknod(2) of a device.
//!
//! v1 had a controller with a list for this; v2 runs an eBPF program of type
//! `BPF_PROG_TYPE_CGROUP_DEVICE`. The rules become its instructions, the last rule first:
//!
//! ```text
//!   r2 = kind (1 block, 2 character)  r3 = access  r4 = major  r5 = minor
//!   for each rule:   if it does not fit, go to the next
//!                    r0 = 1 (allow) or 0 (deny); exit
//!   r0 = 0; exit
//! ```
//!
//! See bpf(2), the kernel's `admin-guide/cgroup-v2`, "Device controller", and `linux/bpf.h`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use glassdock_trace::{Body, Trace};

use super::limits::DeviceRule;
use crate::process::check;
use crate::{Result, Warning};

/// Bits of an access; `linux/bpf.h`.
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

/// Puts a group's devices under rules. Where the kernel has no such programs, that is a warning.
pub(super) fn set(
    trace: &Trace,
    name: &str,
    directory: BorrowedFd<'_>,
    rules: &[DeviceRule],
) -> Result<Option<Warning>> {
    let lines: Vec<_> = rules
        .iter()
        .map(|rule| format!("{} {}", if rule.allow { "allow" } else { "deny" }, rule.line()))
        .collect();
    let body = Body::CgroupSet {
        path: name.to_owned(),
        file: "BPF_CGROUP_DEVICE".to_owned(),
        value: lines.join("; "),
    };
    let attached = trace.step(body, |_| attach(directory, &load(&program(rules))?));
    match attached {
        // Not EINVAL: a program that the kernel refuses is our mistake, and must not leave devices open.
        Err(error) if matches!(error.errno(), Some(libc::ENOSYS | libc::EPERM)) => {
            Ok(Some(Warning(format!("access to devices is not limited: {error}"))))
        }
        result => result.map(|()| None),
    }
}

/// One instruction of eBPF: code, registers, jump offset, number.
fn instruction(code: u8, target: u8, source: u8, offset: i16, number: i32) -> u64 {
    u64::from(code)
        | u64::from(target & 0xf) << 8
        | u64::from(source & 0xf) << 12
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(number.cast_unsigned()) << 32
}

const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE_NUMBER: u8 = 0xb7;
const MOVE: u8 = 0xbf;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const JUMP_EQUAL: u8 = 0x15;
const EXIT: u8 = 0x95;

fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut code = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(MOVE, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        code.extend(block(rule));
        if fits_everything(rule) {
            // Nothing comes behind it: the kernel refuses a program with instructions that are never reached.
            return code;
        }
    }
    code.extend([instruction(MOVE_NUMBER, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    code
}

/// Whether a rule's block has no test, so that it always decides.
fn fits_everything(rule: &DeviceRule) -> bool {
    let all = ['r', 'w', 'm'].iter().all(|access| rule.access.contains(*access));
    all && !matches!(rule.kind, 'b' | 'c') && rule.major.is_none() && rule.minor.is_none()
}

/// The instructions of one rule; each test that fails jumps behind the last of them.
fn block(rule: &DeviceRule) -> Vec<u64> {
    let mask = rule.access.chars().fold(0, |mask, access| {
        mask | match access {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => 0,
        }
    });
    // Code, registers and number of each test; the jump is filled in below.
    let mut tests: Vec<(u8, u8, u8, u32)> = Vec::new();
    match rule.kind {
        'b' => tests.push((JUMP_NOT_EQUAL, 2, 0, 1)),
        'c' => tests.push((JUMP_NOT_EQUAL, 2, 0, 2)),
        _ => {}
    }
    if mask != READ | WRITE | MKNOD {
        tests.push((MOVE, 1, 3, 0));
        tests.push((AND, 1, 0, mask));
        // Allowed is what asks for nothing else; denied is what asks for any of it.
        tests.push(if rule.allow { (JUMP_NOT_EQUAL_REGISTER, 1, 3, 0) } else { (JUMP_EQUAL, 1, 0, 0) });
    }
    tests.extend(rule.major.map(|major| (JUMP_NOT_EQUAL, 4, 0, major)));
    tests.extend(rule.minor.map(|minor| (JUMP_NOT_EQUAL, 5, 0, minor)));
    let length = tests.len();
    let mut code: Vec<_> = tests
        .into_iter()
        .enumerate()
        .map(|(at, (code, target, source, number))| {
            let jumps = matches!(code, JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER | JUMP_EQUAL);
            // Over the tests that follow, and the two instructions of the verdict.
            let offset = if jumps { i16::try_from(length - at + 1).unwrap_or(0) } else { 0 };
            instruction(code, target, source, offset, number.cast_signed())
        })
        .collect();
    code.extend([instruction(MOVE_NUMBER, 0, 0, 0, rule.allow.into()), instruction(EXIT, 0, 0, 0, 0)]);
    code
}

/// What bpf(2) takes to load a program; the first fields of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct LoadArguments {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// What bpf(2) takes to attach a program.
#[repr(C)]
#[derive(Default)]
struct AttachArguments {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// With the programs of groups above and below, all must allow.
const BPF_F_ALLOW_MULTI: u32 = 2;

fn load(program: &[u64]) -> Result<OwnedFd> {
    let mut arguments = LoadArguments {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).unwrap_or(0),
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name: *b"glassdock_dev\0\0\0",
        ..LoadArguments::default()
    };
    // SAFETY: arguments is the start of a bpf_attr of the size given; the instructions and the license it points to
    // outlive the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw mut arguments, size_of::<LoadArguments>())
    };
    let number = check("bpf", "BPF_PROG_LOAD of a device filter", answer)?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(number).unwrap_or(-1)) })
}

fn attach(directory: BorrowedFd<'_>, program: &OwnedFd) -> Result<()> {
    let mut arguments = AttachArguments {
        target_fd: directory.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: arguments is the start of a bpf_attr of the size given, and both descriptors are open.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw mut arguments, size_of::<AttachArguments>())
    };
    check("bpf", "BPF_PROG_ATTACH of a device filter", answer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_lands_behind_its_rule() {
        let rules = [
            DeviceRule { allow: true, kind: 'c', major: Some(1), minor: Some(3), access: "rw".into() },
            DeviceRule { allow: false, kind: 'a', major: None, minor: None, access: "m".into() },
        ];
        for rule in &rules {
            let code = block(rule);
            for (at, instruction) in code.iter().enumerate() {
                let offset = usize::from(u16::try_from(instruction >> 16 & 0xffff).expect("16 bits"));
                if offset > 0 {
                    assert_eq!(at + 1 + offset, code.len());
                }
            }
        }
        assert_eq!(program(&rules).len(), 6 + block(&rules[0]).len() + block(&rules[1]).len() + 2);
    }

    #[test]
    fn nothing_stands_behind_a_rule_that_fits_everything() {
        let deny_all = DeviceRule { allow: false, kind: 'a', major: None, minor: None, access: "rwm".into() };
        let null =
            DeviceRule { allow: true, kind: 'c', major: Some(1), minor: Some(3), access: "rwm".into() };
        let rules = [null.clone(), deny_all.clone(), null.clone()];
        let code = program(&rules);
        assert_eq!(code.len(), 6 + block(&null).len() + block(&deny_all).len());
        assert_eq!(*code.last().expect("an exit"), instruction(EXIT, 0, 0, 0, 0));
    }
}
