//! `--chmod`: a number, or what chmod(1) takes: `u=rwX,go=rX`, `a+x`, `-w`.

/// What a mode becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// This one.
    Is(u32),
    /// Changed, step by step.
    Change(Vec<Step>),
}

/// One change: whose bits, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bits of user (4), group (2) and others (1).
    who: u32,
    /// `+`, `-` or `=`.
    how: char,
    /// The bits, as they are of one of them.
    bits: u32,
    /// `X`: execution, where it is a folder or somebody may execute it.
    execute: bool,
    /// `s` and `t`.
    set_id: bool,
    sticky: bool,
    /// `u`, `g` or `o`: the bits that these have.
    copy: Option<char>,
}

impl Mode {
    /// Reads the flag's value; `None` if it makes no sense.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).map(Self::Is);
        }
        let mut steps = Vec::new();
        for clause in text.split(',') {
            let end = clause.find(['+', '-', '='])?;
            let (names, mut rest) = clause.split_at(end);
            let mut who = 0;
            for name in names.chars() {
                who |= match name {
                    'u' => 4,
                    'g' => 2,
                    'o' => 1,
                    'a' => 7,
                    _ => return None,
                };
            }
            let who = if names.is_empty() { 7 } else { who };
            while let Some(how) = rest.chars().next() {
                let after = rest.get(1..)?;
                let end = after.find(['+', '-', '=']).unwrap_or(after.len());
                let (permissions, next) = after.split_at(end);
                steps.push(step(who, how, permissions)?);
                rest = next;
            }
        }
        Some(Self::Change(steps))
    }

    /// The mode of something that has the mode `old`.
    #[must_use]
    pub fn of(&self, old: u32, is_folder: bool) -> u32 {
        match self {
            Self::Is(mode) => *mode,
            Self::Change(steps) => steps.iter().fold(old & 0o7777, |mode, step| step.apply(mode, is_folder)),
        }
    }
}

fn step(who: u32, how: char, permissions: &str) -> Option<Step> {
    let (mut bits, mut execute, mut set_id, mut sticky, mut copy) = (0, false, false, false, None);
    for one in permissions.chars() {
        match one {
            'r' => bits |= 4,
            'w' => bits |= 2,
            'x' => bits |= 1,
            'X' => execute = true,
            's' => set_id = true,
            't' => sticky = true,
            'u' | 'g' | 'o' if permissions.len() == 1 => copy = Some(one),
            _ => return None,
        }
    }
    Some(Step { who, how, bits, execute, set_id, sticky, copy })
}

impl Step {
    fn apply(self, mode: u32, is_folder: bool) -> u32 {
        let mut bits = match self.copy {
            Some('u') => mode >> 6 & 7,
            Some('g') => mode >> 3 & 7,
            Some(_) => mode & 7,
            None => self.bits,
        };
        if self.execute && (is_folder || mode & 0o111 != 0) {
            bits |= 1;
        }
        let (mut change, mut all) = (0, 0);
        for (one, shift, special) in [(4, 6, 0o4000), (2, 3, 0o2000), (1, 0, 0)] {
            if self.who & one != 0 {
                change |= bits << shift;
                all |= 7 << shift | special;
                change |= if self.set_id { special } else { 0 };
            }
        }
        if self.sticky {
            change |= 0o1000;
        }
        match self.how {
            '+' => mode | change,
            '-' => mode & !change,
            // chmod(1) leaves a folder's set-id bits, unless they are named.
            _ if is_folder && !self.set_id => mode & !(all & 0o777) | change,
            _ => mode & !all | change,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_chmod_s() {
        for (text, old, is_folder, wanted) in [
            ("755", 0o600, false, 0o755),
            ("04755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("a+x", 0o644, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("-w", 0o666, false, 0o444),
            ("go-rwx", 0o777, false, 0o700),
            ("g=u", 0o740, false, 0o770),
            ("u+s,o+t", 0o755, false, 0o5755),
            ("u=rw,u-w+x", 0o000, false, 0o500),
            ("a=", 0o777, false, 0),
            ("g=rx", 0o2770, true, 0o2750),
        ] {
            let mode = Mode::parse(text).unwrap_or_else(|| panic!("{text} is refused"));
            assert_eq!(mode.of(old, is_folder), wanted, "{text} of {old:o}");
        }
        for text in ["", "8", "99999", "rwx", "u", "z+x", "u+q", "u=gx", "u=rw,"] {
            assert_eq!(Mode::parse(text), None, "{text}");
        }
    }
}
