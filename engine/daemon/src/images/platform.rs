//! The platform that a client means: when it loads or saves a document in the query, since 1.48; else a few words.

use glassdock_image::Platform;

use crate::call::Call;
use crate::error::Error;

/// A document of a platform is at most this long, in bytes.
const LIMIT: usize = 4096;

/// The platform of a request; `None` if it names none.
///
/// # Errors
///
/// Invalid, for what is no platform.
pub(crate) fn of(call: &Call) -> Result<Option<Platform>, Error> {
    let mut texts = call.query_all("platform").filter(|text| !text.is_empty());
    let Some(text) = texts.next() else { return Ok(None) };
    if texts.next().is_some() {
        return Err(Error::invalid("only one platform can be given: this engine keeps one of each image"));
    }
    parse(text).map(Some)
}

fn parse(text: &str) -> Result<Platform, Error> {
    if text.len() > LIMIT {
        return Err(Error::invalid("failed to parse platform: the document is too long"));
    }
    let platform: Platform = serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("failed to parse platform: {error}")))?;
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(Error::invalid("both OS and Architecture must be provided"));
    }
    Ok(platform)
}

/// Whether an image is for a platform.
pub(crate) fn fits(own: &Platform, wanted: &Platform) -> bool {
    own.fit(wanted).is_some()
}

/// The systems and machines that a platform of one word may name.
const KNOWN: [&str; 20] = [
    "linux", "windows", "darwin", "freebsd", "amd64", "x86_64", "x86-64", "386", "i386", "arm64", "aarch64",
    "arm", "armhf", "armel", "ppc64le", "riscv64", "s390x", "mips64le", "loong64", "wasm",
];

/// `linux/arm64`, or only one of its words.
///
/// # Errors
///
/// Invalid, in the words of Docker.
pub(crate) fn named(text: &str) -> Result<Platform, Error> {
    if !text.contains('/') && !KNOWN.contains(&text.to_ascii_lowercase().as_str()) {
        return Err(Error::invalid(format!(
            "{text:?}: unknown operating system or architecture: invalid argument"
        )));
    }
    Platform::parse(text).ok_or_else(|| {
        Error::invalid(format!(
            "{text:?} is an invalid OS or architecture component of a platform: invalid argument"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_must_be_a_system_or_a_machine() {
        assert_eq!(named("arm64").expect("a machine").architecture, "arm64");
        assert_eq!(named("plan9/mips").expect("two words may be anything").os, "plan9");
        let error = named("foo").expect_err("neither");
        assert_eq!(error.message(), "\"foo\": unknown operating system or architecture: invalid argument");
        assert!(named("a/b/c/d").is_err());
    }

    #[test]
    fn platforms_are_documents() {
        let arm = parse(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#).expect("a platform");
        assert_eq!(arm.to_string(), "linux/arm64/v8");
        let bare = Platform { variant: None, ..arm.clone() };
        assert!(fits(&arm, &bare) && fits(&bare, &arm));
        assert!(!fits(&arm, &parse(r#"{"os":"linux","architecture":"amd64"}"#).expect("a platform")));
        for wrong in ["", "linux/arm64", "{}", r#"{"os":"linux"}"#, "[]", "null", &"{".repeat(5000)] {
            assert!(parse(wrong).is_err(), "{wrong} was taken");
        }
    }
}
