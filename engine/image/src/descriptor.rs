//! Descriptors (OCI image-spec `descriptor.md`): what points from one document to
//! another; and platforms, by which an index is chosen from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Media types, Docker's and OCI's; the two families differ in little but these names.
pub mod media {
    /// Docker's manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer, gzip.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's manifest, schema 1, which is too old to be understood.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    /// Docker's manifest, schema 1, signed.
    pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// OCI's manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI's index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI's image config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI's layer, not compressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI's layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI's layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
}

/// Points to content: what it is, which, and how large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of document or layer it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// For which platform it is; in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Where else it may be fetched from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Notes for programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What kind of artefact a manifest without an image is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor of content with nothing beside the three required fields.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
        }
    }

    /// Describes `bytes`.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}

/// An operating system on a processor, in Go's words: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, `linux`.
    #[serde(default)]
    pub os: String,
    /// The processor, `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// The processor's variant, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system; Windows only.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

impl Platform {
    /// The platform that this program was built for.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
        }
    }

    /// Reads `os/arch[/variant]`, `arch` or `os`, with the usual other names
    /// (`x86_64`, `aarch64`, `armhf`); `None` if it is none of those.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| plain(part)) {
            return None;
        }
        let host = Self::host();
        let (os, architecture, variant) = match parts.as_slice() {
            ["linux"] => ("linux", host.architecture.as_str(), host.variant.as_deref()),
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some(*variant)),
            _ => return None,
        };
        let platform = Self {
            os: os.to_ascii_lowercase(),
            architecture: architecture.to_ascii_lowercase(),
            variant: variant.map(str::to_ascii_lowercase),
            os_version: None,
        };
        Some(platform.normal())
    }

    /// The same platform under its usual name.
    #[must_use]
    pub fn normal(&self) -> Self {
        let mut normal = self.clone();
        let (architecture, variant) = match (self.architecture.as_str(), self.variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant.filter(|variant| *variant != "v1")),
            ("i386" | "i686", _) => ("386", None),
            ("aarch64" | "arm64", variant) => {
                ("arm64", variant.filter(|variant| !matches!(*variant, "8" | "v8")))
            }
            ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            (architecture, variant) => (architecture, variant),
        };
        let (architecture, variant) = (architecture.to_owned(), variant.map(str::to_owned));
        normal.architecture = architecture;
        normal.variant = variant;
        normal
    }

    /// How well content for `self` serves a wish for `wish`: `None` if it can't
    /// run there, else a number that is smaller the better it fits. An older
    /// variant of a processor runs on a newer one; 32-bit x86 programs run on amd64.
    #[must_use]
    pub fn fit(&self, wish: &Platform) -> Option<u32> {
        let (have, wish) = (self.normal(), wish.normal());
        if have.os != wish.os {
            return None;
        }
        let level = |platform: &Platform, none: u32| {
            platform
                .variant
                .as_deref()
                .map_or(Some(none), |variant| variant.trim_start_matches('v').parse::<u32>().ok())
        };
        if have.architecture == wish.architecture {
            let none = match wish.architecture.as_str() {
                "arm64" => 8,
                "arm" => 7,
                _ => 1,
            };
            let (have, wish) = (level(&have, none)?, level(&wish, none)?);
            return wish.checked_sub(have);
        }
        (have.architecture == "386" && wish.architecture == "amd64").then_some(100)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        Platform::parse(text).expect("a platform")
    }

    #[test]
    fn platforms_are_read_and_named_as_usual() {
        assert_eq!(platform("linux/x86_64").to_string(), "linux/amd64");
        assert_eq!(platform("linux/arm64/v8").to_string(), "linux/arm64");
        assert_eq!(platform("armhf").to_string(), "linux/arm/v7");
        assert_eq!(Platform::parse("linux/"), None);
        assert_eq!(Platform::parse("a/b/c/d"), None);
        assert_eq!(Platform::parse("../etc"), None);
    }

    #[test]
    fn the_best_fit_is_the_newest_variant_that_still_runs() {
        assert_eq!(platform("linux/amd64").fit(&platform("linux/amd64")), Some(0));
        assert_eq!(platform("linux/arm/v6").fit(&platform("linux/arm/v7")), Some(1));
        assert_eq!(platform("linux/arm/v7").fit(&platform("linux/arm/v6")), None);
        assert_eq!(platform("linux/386").fit(&platform("linux/amd64")), Some(100));
        assert_eq!(platform("linux/arm64").fit(&platform("linux/amd64")), None);
        assert_eq!(platform("windows/amd64").fit(&platform("linux/amd64")), None);
    }
}
