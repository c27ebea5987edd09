//! A whole program in a few hundred bytes: an ELF file written by hand.
//!
//! ```text
//!   0    ELF header (64 bytes)           what kind of file, where the program starts
//!   64   one program header (56 bytes)   "map the whole file at 0x400000, read and execute"
//!   120  code (33 or 32 bytes)           write(1, text, length); exit(0)
//!   …    the text
//! ```
//!
//! No libc, no linker, no compiler: the kernel needs nothing more to run it,
//! see elf(5), execve(2), syscall(2).

/// A machine that the program can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Machine {
    /// The name in an image's configuration.
    #[must_use]
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name of this machine, for images that hold its programs.
    #[must_use]
    pub fn host() -> &'static str {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }

    /// `e_machine` of the ELF header.
    fn number(self) -> u16 {
        match self {
            Self::Amd64 => 62,
            Self::Arm64 => 183,
        }
    }
}

/// Where the file is mapped.
const BASE: u64 = 0x40_0000;
const FILE_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;
/// Where the code begins, in the file.
const ENTRY: u64 = 120;

/// A program that writes `text` to its standard output and ends with status 0.
/// Text beyond 65,535 bytes is cut: one instruction must hold the length.
#[must_use]
pub fn greeter(machine: Machine, text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let code = match machine {
        Machine::Amd64 => amd64(length),
        Machine::Arm64 => arm64(length),
    };
    let size = ENTRY + code.len() as u64 + u64::from(length);

    let mut file = Vec::new();
    // The identification: magic number, 64 bits, little-endian, version 1, System V.
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for half in [2, machine.number()] {
        file.extend(half.to_le_bytes()); // an executable, for this machine
    }
    file.extend(1_u32.to_le_bytes());
    for offset in [BASE + ENTRY, u64::from(FILE_HEADER), 0] {
        file.extend(offset.to_le_bytes()); // entry, program headers, no sections
    }
    file.extend(0_u32.to_le_bytes());
    for half in [FILE_HEADER, PROGRAM_HEADER, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable: the whole file, as it lies.
    for word in [1_u32, 5] {
        file.extend(word.to_le_bytes());
    }
    for offset in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(offset.to_le_bytes());
    }
    file.extend(code);
    file.extend(text);
    file
}

fn amd64(length: u16) -> Vec<u8> {
    let mut code = vec![0xb8, 1, 0, 0, 0]; // mov eax, 1 (write)
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1 (standard output)
    code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0]); // lea rsi, [rip+16]: the text behind the code
    code.push(0xba); // mov edx, length
    code.extend(u32::from(length).to_le_bytes());
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 60, 0, 0, 0]); // mov eax, 60 (exit)
    code.extend([0x31, 0xff]); // xor edi, edi
    code.extend([0x0f, 0x05]); // syscall
    code
}

fn arm64(length: u16) -> Vec<u8> {
    let instructions: [u32; 8] = [
        0xd280_0808,                            // mov x8, 64 (write)
        0xd280_0020,                            // mov x0, 1 (standard output)
        0x1000_00c1,                            // adr x1, +24: the text behind the code
        0xd280_0002 | (u32::from(length) << 5), // mov x2, length
        0xd400_0001,                            // svc 0
        0xd280_0ba8,                            // mov x8, 93 (exit)
        0xd280_0000,                            // mov x0, 0
        0xd400_0001,                            // svc 0
    ];
    instructions.iter().flat_map(|instruction| instruction.to_le_bytes()).collect()
}
