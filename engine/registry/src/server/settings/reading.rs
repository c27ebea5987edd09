//! From texts to settings: the file, and what is said on top of it.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::{Error, Settings};

impl Settings {
    /// Reads the file, if there is one, and then what is said on top of it: keys of [`KEYS`](super::KEYS),
    /// and values as they would stand in the file.
    ///
    /// # Errors
    ///
    /// If the file can't be read, a key is unknown or a value makes no sense.
    pub fn read(file: Option<&Path>, over: &[(&str, String)]) -> Result<Self, Error> {
        let mut tree = Value::Mapping(Mapping::new());
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Error::Read { path: path.to_owned(), source })?;
            let failed = |source| Error::File { path: path.to_owned(), source };
            // Read as what it is to be first: these errors tell the line.
            if !text.trim().is_empty() {
                serde_yaml::from_str::<Option<Self>>(&text).map_err(failed)?;
                tree = serde_yaml::from_str(&text).map_err(failed)?;
            }
            if tree.is_null() {
                tree = Value::Mapping(Mapping::new());
            }
        }
        for (key, text) in over {
            let wrong = |reason: String| Error::Value { key: (*key).to_owned(), reason };
            put(&mut tree, key, scalar(text)).ok_or_else(|| wrong("the file has no such part".to_owned()))?;
            serde_yaml::from_value::<Self>(tree.clone()).map_err(|error| wrong(error.to_string()))?;
        }
        serde_yaml::from_value(tree)
            .map_err(|error| Error::Value { key: "the settings".to_owned(), reason: error.to_string() })
    }

    /// As a file would say it, with all defaults.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        // Plain data can be written.
        serde_yaml::to_string(self).unwrap_or_default()
    }
}

/// What a flag says, as it would stand in the file. Only what can be nothing else is no text.
fn scalar(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" | "on" => Value::Bool(true),
        "false" | "off" => Value::Bool(false),
        _ => text.parse::<u64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}

fn put(tree: &mut Value, key: &str, value: Value) -> Option<()> {
    let mut place = tree;
    for part in key.split('.') {
        if place.is_null() {
            *place = Value::Mapping(Mapping::new());
        }
        place = place.as_mapping_mut()?.entry(part.into()).or_insert(Value::Null);
    }
    *place = value;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{KEYS, Size};
    use super::*;

    fn read(text: &str, over: &[(&str, &str)]) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let over: Vec<_> = over.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Settings::read(Some(file.path()), &over).map_err(|error| error.to_string())
    }

    #[test]
    fn each_key_can_be_given_on_top_and_is_printed() {
        let printed: Value = serde_yaml::from_str(&Settings::default().to_yaml()).expect("its own output");
        for key in KEYS {
            let there = key.path.split('.').try_fold(&printed, |part, name| part.get(name));
            assert!(there.is_some(), "{} is no key of the file", key.path);
            assert!(key.value.is_empty() || !key.help.is_empty());
        }
        let settings = read(
            "storage: {root: /data/registry}\nworkers: 4\n",
            &[("workers", "2"), ("limits.blob", "1GiB"), ("auth.service", "a b"), ("seed", "true")],
        )
        .expect("settings");
        assert_eq!(settings.storage.root, Path::new("/data/registry"));
        assert_eq!((settings.workers, settings.seed), (2, true));
        assert_eq!(settings.limits.blob, Some(Size(1 << 30)));
        let again = read(&settings.to_yaml(), &[]).expect("what is printed can be read");
        assert_eq!(again.to_yaml(), settings.to_yaml());
    }

    #[test]
    fn mistakes_say_where() {
        let unknown = read("listen: ':1'\nstorage:\n  rot: /x\n", &[]).expect_err("an unknown key");
        assert!(unknown.contains("rot") && unknown.contains("line 3"), "{unknown}");
        let time = read("grace: soon\n", &[]).expect_err("no time");
        assert!(time.contains("soon") && time.contains("line 1"), "{time}");
        let flag = read("", &[("limits.idle", "never")]).expect_err("no time");
        assert!(flag.starts_with("limits.idle: ") && flag.contains("never"), "{flag}");
        let half = read("tls: {key: /k}\n", &[]).expect("readable").config().expect_err("half of TLS");
        assert_eq!(half.to_string(), "tls.certificate: a key needs its certificate");
    }
}
