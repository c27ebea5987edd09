//! The platform that a client means when it loads or saves: a document in the query, since 1.48.

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

#[cfg(test)]
mod tests {
    use super::*;

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
