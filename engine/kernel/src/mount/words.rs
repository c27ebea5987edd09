//! The words of mount(8), sorted out: what the kernel's calls take one by one, people write
//! as one list, `ro,nosuid,size=64m`.

use super::attach::{Attributes, Propagation};

/// The options of a mount.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// What the mount allows.
    pub attributes: Attributes,
    /// Whether it shows something that exists, instead of a file system of its own.
    pub bind: bool,
    /// Whether the mounts below the source come with it.
    pub recursive: bool,
    /// Who sees what is later mounted below; the second is whether that goes for all that is below.
    pub propagation: Option<(Propagation, bool)>,
    /// What only the file system itself understands, key and value; a flag has an empty value.
    pub data: Vec<(String, String)>,
}

impl Words {
    /// Sorts words out; a later one goes before an earlier one.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sorted = Self::default();
        for word in words {
            sorted.take(word);
        }
        sorted
    }

    /// The data, as the calls take it.
    #[must_use]
    pub fn data(&self) -> Vec<(&str, &str)> {
        self.data.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    fn take(&mut self, word: &str) {
        let attributes = &mut self.attributes;
        match word {
            "ro" => (attributes.read_only, attributes.read_only_below) = (true, false),
            "rro" => (attributes.read_only, attributes.read_only_below) = (true, true),
            "rw" | "rrw" => (attributes.read_only, attributes.read_only_below) = (false, false),
            "nosuid" => attributes.no_suid = true,
            "suid" => attributes.no_suid = false,
            "nodev" => attributes.no_dev = true,
            "dev" => attributes.no_dev = false,
            "noexec" => attributes.no_exec = true,
            "exec" => attributes.no_exec = false,
            // One choice of three; `relatime` is the kernel's own.
            "noatime" => (attributes.no_atime, attributes.strict_atime) = (true, false),
            "strictatime" => (attributes.no_atime, attributes.strict_atime) = (false, true),
            "relatime" => (attributes.no_atime, attributes.strict_atime) = (false, false),
            "atime" => attributes.no_atime = false,
            "nostrictatime" => attributes.strict_atime = false,
            "diratime" | "nodiratime" | "norelatime" => {}
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "private" => self.propagation = Some((Propagation::Private, false)),
            "rprivate" => self.propagation = Some((Propagation::Private, true)),
            "slave" => self.propagation = Some((Propagation::Slave, false)),
            "rslave" => self.propagation = Some((Propagation::Slave, true)),
            "shared" => self.propagation = Some((Propagation::Shared, false)),
            "rshared" => self.propagation = Some((Propagation::Shared, true)),
            "unbindable" => self.propagation = Some((Propagation::Unbindable, false)),
            "runbindable" => self.propagation = Some((Propagation::Unbindable, true)),
            "defaults" | "async" | "sync" | "" => {}
            data => {
                let (key, value) = data.split_once('=').unwrap_or((data, ""));
                self.data.push((key.to_owned(), value.to_owned()));
            }
        }
    }
}

/// An option as a trace or an error may show it: a password is not for them.
pub(super) fn shown(key: &str, value: &str) -> String {
    match value {
        "" => key.to_owned(),
        _ if key.starts_with("pass") => format!("{key}=********"),
        value => format!("{key}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_sorted_out() {
        let words = Words::parse(["rbind", "ro", "nosuid", "rslave", "size=64m", "newinstance", "relatime"]);
        let attributes = Attributes { read_only: true, no_suid: true, ..Attributes::default() };
        assert_eq!(words.attributes, attributes);
        assert!(words.recursive && words.bind);
        assert_eq!(words.propagation, Some((Propagation::Slave, true)));
        assert_eq!(words.data, [("size".into(), "64m".into()), ("newinstance".into(), String::new())]);
    }

    #[test]
    fn read_only_goes_down_only_if_it_is_said() {
        let read_only = |words: &[&str]| {
            let attributes = Words::parse(words.iter().copied()).attributes;
            (attributes.read_only, attributes.read_only_below)
        };
        assert_eq!(read_only(&["rbind", "ro"]), (true, false));
        assert_eq!(read_only(&["rbind", "rro"]), (true, true));
        assert_eq!(read_only(&["rro", "ro"]), (true, false));
        assert_eq!(read_only(&["rro", "rw"]), (false, false));
    }

    #[test]
    fn of_the_words_for_access_times_the_last_counts() {
        let times = |words: &[&str]| {
            let attributes = Words::parse(words.iter().copied()).attributes;
            (attributes.no_atime, attributes.strict_atime)
        };
        assert_eq!(times(&["noatime", "strictatime"]), (false, true));
        assert_eq!(times(&["strictatime", "noatime"]), (true, false));
        assert_eq!(times(&["strictatime", "relatime"]), (false, false));
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(shown("password", "otter"), "password=********");
        assert_eq!(shown("pass2", "otter"), "pass2=********");
        assert_eq!((shown("size", "1m"), shown("ro", "")), ("size=1m".to_owned(), "ro".to_owned()));
    }
}
