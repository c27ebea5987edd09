//! The grammar of references, rule by rule (`distribution/reference`):
//!
//! ```text
//!   reference        = domain "/" path [":" tag] ["@" digest]
//!   domain           = host [":" digits]      host: name parts joined by ".", or "[" ipv6 "]"
//!   path             = component {"/" component}
//!   component        = alphanumeric {separator alphanumeric}
//!   separator        = "." | "_" | "__" | "-"+
//!   tag              = word [word "." "-"]{0,127}
//!   digest           = algorithm ":" hex{32,}
//! ```

pub(super) fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            let fits =
                !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            return fits && (after.is_empty() || after.strip_prefix(':').is_some_and(is_digits));
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let name_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(name_part) && port.is_none_or(is_digits)
}

pub(super) fn is_path(text: &str) -> bool {
    text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !plain(*first) || !plain(*last) {
        return false;
    }
    let separators = bytes.split(|byte| plain(*byte)).filter(|separator| !separator.is_empty());
    separators.into_iter().all(|separator| {
        matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
    })
}

pub(super) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let Some(first) = text.bytes().next() else { return false };
    text.len() <= 128 && word(first) && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

pub(super) fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let part = |part: &str| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(part)
        && hex.len() >= 32
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
